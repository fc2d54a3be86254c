//! Malta from OpenStreetMap, by way of the crate osm-io: what people go to, and the roads there.
//!
//! A place without a name is left out, since every reader of a result expects one: of Malta's benches,
//! bins and car parks there are more than of all else. Where the brand or the operator is what people
//! call it (a bank's cash machine, a filling station), that is its name.
//!
//! Source: <https://wiki.openstreetmap.org/wiki/Map_features>.

use crate::Outcome;
use crate::road_table::{CYCLE, CYCLE_BACK, DRIVE, DRIVE_BACK, RoadTable, WALK, WayRecord};
use crate::towns::Grid;
use herd_geo::Point;
use herd_places_bare::dataset::{Place, Source};
use osmpbf::{Element, ElementReader};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Default)]
pub(crate) struct Malta {
    pub(crate) places: Vec<Place>,
    pub(crate) roads: RoadTable,
}

/// Reads an extract in one pass: nodes come before ways.
pub(crate) fn read(path: &Path, towns: &Grid<'_>) -> Outcome<Malta> {
    let mut places = Vec::new();
    let mut roads = Roads::default();
    // 1e-7 degrees, by node.
    let mut nodes: BTreeMap<i64, (i32, i32)> = BTreeMap::new();
    ElementReader::from_path(path)?.for_each(|element| match element {
        Element::DenseNode(node) => {
            let at = (node.decimicro_lat(), node.decimicro_lon());
            nodes.insert(node.id(), at);
            let tags = Tags(node.tags().collect());
            places.extend(place(&format!("osm:n{}", node.id()), at, &tags, towns));
        }
        Element::Node(node) => {
            let at = (node.decimicro_lat(), node.decimicro_lon());
            nodes.insert(node.id(), at);
            let tags = Tags(node.tags().collect());
            places.extend(place(&format!("osm:n{}", node.id()), at, &tags, towns));
        }
        Element::Way(way) => {
            let tags = Tags(way.tags().collect());
            let refs: Vec<i64> = way.refs().collect();
            roads.add(&tags, &refs, &nodes);
            if let Some(at) = mean(&refs, &nodes) {
                places.extend(place(&format!("osm:w{}", way.id()), at, &tags, towns));
            }
        }
        // A handful of large areas, whose middle says little about where one would go.
        Element::Relation(_) => {}
    })?;
    Ok(Malta { places, roads: roads.table })
}

struct Tags<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Tags<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(k, _)| *k == key).map(|(_, value)| value.trim())
    }

    fn is(&self, key: &str, values: &[&str]) -> bool {
        self.get(key).is_some_and(|value| values.contains(&value))
    }
}

fn place(id: &str, at_e7: (i32, i32), tags: &Tags<'_>, towns: &Grid<'_>) -> Option<Place> {
    let types = types(tags)?;
    let name = ["name", "name:en", "brand", "operator"].iter().find_map(|key| tags.get(key))?;
    let point = Point::new(f64::from(at_e7.0) / 1e7, f64::from(at_e7.1) / 1e7).ok()?;
    let town = towns.nearest(point);
    let street = tags.get("addr:street").unwrap_or_default();
    let number = tags.get("addr:housenumber").filter(|_| !street.is_empty()).unwrap_or_default();
    Some(Place {
        point,
        source: Source::OpenStreetMap,
        id: id.to_owned(),
        name: name.to_owned(),
        types: types.iter().map(|word| (*word).to_owned()).collect(),
        address: [number, street].join(" ").trim().to_owned(),
        town: tags
            .get("addr:city")
            .or(town.map(|town| town.name.as_str()))
            .unwrap_or_default()
            .to_owned(),
        region: town.map(|town| town.region.clone()).unwrap_or_default(),
        opening_hours: tags.get("opening_hours").unwrap_or_default().to_owned(),
    })
}

/// Google's words for what is tagged; `None` for what is no place to go to.
fn types(tags: &Tags<'_>) -> Option<Vec<&'static str>> {
    const ESTABLISHMENT: [&str; 2] = ["point_of_interest", "establishment"];
    /// What nobody looks for by name, even where it has one.
    const FURNITURE: &[&str] = &[
        "bench",
        "waste_basket",
        "waste_disposal",
        "recycling",
        "parking_space",
        "parking_entrance",
        "grit_bin",
        "hunting_stand",
        "vending_machine",
        "shelter",
        "clock",
        "telephone",
        "no",
        "yes",
    ];
    let (key, value) = KEYS.iter().find_map(|key| tags.get(key).map(|value| (*key, value)))?;
    if key == "amenity" && FURNITURE.contains(&value) {
        return None;
    }
    if key == "natural" && value != "beach" || key == "historic" && value == "boundary_stone" {
        return None;
    }
    let row = TYPES.iter().find(|(k, values, _)| *k == key && values.contains(&value));
    let special: &[&str] = match (row, key) {
        (Some((_, _, types)), _) => types,
        (None, "shop") => &["store"],
        (None, "tourism") => &["tourist_attraction"],
        (None, "healthcare") => &["health"],
        (None, _) => &[],
    };
    Some(special.iter().copied().chain(ESTABLISHMENT).collect())
}

/// Keys that make a place; the first that is there decides.
const KEYS: [&str; 9] = [
    "amenity",
    "shop",
    "tourism",
    "leisure",
    "historic",
    "healthcare",
    "office",
    "craft",
    "natural",
];

/// Key, values, Google's words, most special first. Those words are table 1 and 2 of the legacy place
/// types: <https://developers.google.com/maps/documentation/places/web-service/legacy/supported_types>.
const TYPES: &[(&str, &[&str], &[&str])] = &[
    ("amenity", &["restaurant", "food_court"], &["restaurant", "food"]),
    ("amenity", &["fast_food"], &["meal_takeaway", "restaurant", "food"]),
    ("amenity", &["cafe", "ice_cream"], &["cafe", "food"]),
    ("amenity", &["bar", "pub", "biergarten"], &["bar"]),
    ("amenity", &["nightclub"], &["night_club"]),
    ("amenity", &["casino", "gambling"], &["casino"]),
    ("amenity", &["cinema"], &["movie_theater"]),
    ("amenity", &["library"], &["library"]),
    ("amenity", &["bank"], &["bank", "finance"]),
    ("amenity", &["atm"], &["atm", "finance"]),
    ("amenity", &["bureau_de_change"], &["finance"]),
    ("amenity", &["pharmacy"], &["pharmacy", "health", "store"]),
    ("amenity", &["hospital"], &["hospital", "health"]),
    ("amenity", &["doctors", "clinic"], &["doctor", "health"]),
    ("amenity", &["dentist"], &["dentist", "health"]),
    ("amenity", &["veterinary"], &["veterinary_care"]),
    ("amenity", &["school", "kindergarten"], &["school"]),
    ("amenity", &["university", "college"], &["university"]),
    ("amenity", &["place_of_worship"], &["place_of_worship"]),
    ("amenity", &["post_office"], &["post_office"]),
    ("amenity", &["police"], &["police"]),
    ("amenity", &["fire_station"], &["fire_station"]),
    ("amenity", &["townhall"], &["city_hall", "local_government_office"]),
    ("amenity", &["courthouse"], &["courthouse"]),
    ("amenity", &["embassy"], &["embassy"]),
    ("amenity", &["fuel"], &["gas_station"]),
    ("amenity", &["parking"], &["parking"]),
    ("amenity", &["car_rental"], &["car_rental"]),
    ("amenity", &["car_wash"], &["car_wash"]),
    ("amenity", &["taxi"], &["taxi_stand"]),
    ("amenity", &["bus_station"], &["bus_station", "transit_station"]),
    ("amenity", &["ferry_terminal"], &["transit_station"]),
    ("amenity", &["grave_yard"], &["cemetery"]),
    ("shop", &["supermarket"], &["supermarket", "grocery_or_supermarket", "food", "store"]),
    ("shop", &["convenience"], &["convenience_store", "food", "store"]),
    ("shop", &["bakery", "pastry"], &["bakery", "food", "store"]),
    ("shop", &["alcohol", "wine"], &["liquor_store", "store"]),
    ("shop", &["butcher", "greengrocer", "seafood", "deli", "confectionery"], &["food", "store"]),
    ("shop", &["books"], &["book_store", "store"]),
    ("shop", &["clothes", "boutique", "fashion"], &["clothing_store", "store"]),
    ("shop", &["shoes"], &["shoe_store", "store"]),
    ("shop", &["jewelry"], &["jewelry_store", "store"]),
    ("shop", &["electronics", "computer", "mobile_phone"], &["electronics_store", "store"]),
    ("shop", &["furniture"], &["furniture_store", "home_goods_store", "store"]),
    (
        "shop",
        &["houseware", "interior_decoration", "bed", "kitchen"],
        &["home_goods_store", "store"],
    ),
    ("shop", &["hardware", "doityourself", "paint"], &["hardware_store", "store"]),
    ("shop", &["florist"], &["florist", "store"]),
    ("shop", &["pet"], &["pet_store", "store"]),
    ("shop", &["bicycle"], &["bicycle_store", "store"]),
    ("shop", &["car"], &["car_dealer", "store"]),
    ("shop", &["car_repair"], &["car_repair"]),
    ("shop", &["chemist"], &["drugstore", "store"]),
    ("shop", &["department_store"], &["department_store", "store"]),
    ("shop", &["mall"], &["shopping_mall"]),
    ("shop", &["hairdresser"], &["hair_care"]),
    ("shop", &["beauty"], &["beauty_salon"]),
    ("shop", &["laundry", "dry_cleaning"], &["laundry"]),
    ("shop", &["travel_agency"], &["travel_agency"]),
    ("shop", &["funeral_directors"], &["funeral_home"]),
    ("shop", &["estate_agent"], &["real_estate_agency"]),
    ("tourism", &["hotel", "hostel", "guest_house", "motel", "apartment", "chalet"], &["lodging"]),
    ("tourism", &["museum"], &["museum", "tourist_attraction"]),
    ("tourism", &["gallery"], &["art_gallery"]),
    ("tourism", &["aquarium"], &["aquarium", "tourist_attraction"]),
    ("tourism", &["zoo"], &["zoo", "tourist_attraction"]),
    ("tourism", &["theme_park"], &["amusement_park", "tourist_attraction"]),
    ("tourism", &["camp_site", "caravan_site"], &["campground", "lodging"]),
    ("tourism", &["information"], &[]),
    ("leisure", &["park", "garden", "nature_reserve", "playground"], &["park"]),
    ("leisure", &["stadium"], &["stadium"]),
    ("leisure", &["fitness_centre", "sports_centre"], &["gym", "health"]),
    ("leisure", &["bowling_alley"], &["bowling_alley"]),
    ("leisure", &["amusement_arcade"], &["amusement_center"]),
    (
        "historic",
        &["archaeological_site", "castle", "fort", "monument", "ruins", "city_gate"],
        &["tourist_attraction"],
    ),
    ("healthcare", &["doctor", "clinic"], &["doctor", "health"]),
    ("healthcare", &["dentist"], &["dentist", "health"]),
    ("healthcare", &["pharmacy"], &["pharmacy", "health", "store"]),
    ("healthcare", &["physiotherapist"], &["physiotherapist", "health"]),
    ("office", &["lawyer"], &["lawyer"]),
    ("office", &["accountant", "tax_advisor"], &["accounting", "finance"]),
    ("office", &["insurance"], &["insurance_agency"]),
    ("office", &["estate_agent"], &["real_estate_agency"]),
    ("office", &["travel_agent"], &["travel_agency"]),
    ("office", &["government"], &["local_government_office"]),
    ("office", &["diplomatic"], &["embassy"]),
    ("craft", &["electrician"], &["electrician"]),
    ("craft", &["plumber"], &["plumber"]),
    ("craft", &["painter"], &["painter"]),
    ("natural", &["beach"], &["natural_feature"]),
];

/// The middle of a way's nodes, 1e-7 degrees; the node that closes a ring counts once.
fn mean(refs: &[i64], nodes: &BTreeMap<i64, (i32, i32)>) -> Option<(i32, i32)> {
    let ring = refs.len() > 1 && refs.first() == refs.last();
    let refs = refs.get(usize::from(ring)..)?;
    let points: Vec<_> = refs.iter().filter_map(|id| nodes.get(id)).collect();
    let count = i64::try_from(points.len()).ok().filter(|&count| count > 0)?;
    let mean = |axis: fn(&(i32, i32)) -> i32| {
        let sum: i64 = points.iter().map(|point| i64::from(axis(point))).sum();
        i32::try_from(sum / count).ok()
    };
    Some((mean(|point| point.0)?, mean(|point| point.1)?))
}

/// Collects ways over shared nodes: ways that meet in OpenStreetMap meet in the table.
struct Roads {
    table: RoadTable,
    numbers: BTreeMap<i64, u32>,
    names: BTreeMap<String, u32>,
}

impl Default for Roads {
    fn default() -> Self {
        let table = RoadTable { names: vec![String::new()], ..RoadTable::default() };
        Self { table, numbers: BTreeMap::new(), names: BTreeMap::from([(String::new(), 0)]) }
    }
}

impl Roads {
    fn add(&mut self, tags: &Tags<'_>, refs: &[i64], nodes: &BTreeMap<i64, (i32, i32)>) {
        let Some((class, mut travel)) = class_and_travel(tags) else { return };
        let mut refs: Vec<i64> = refs.iter().copied().filter(|id| nodes.contains_key(id)).collect();
        // The outline of a square is walked, but not around its edge only; still better than nothing.
        if refs.len() < 2 || travel == 0 {
            return;
        }
        if tags.is("oneway", &["yes", "true", "1", "-1"]) || tags.is("junction", &["roundabout"]) {
            if tags.is("oneway", &["-1"]) {
                refs.reverse();
            }
            travel &= !DRIVE_BACK;
            if !tags.is("oneway:bicycle", &["no"]) {
                travel &= !CYCLE_BACK;
            }
        }
        let name = tags.get("name").unwrap_or_default();
        let next = u32::try_from(self.table.names.len()).unwrap_or_default();
        let name = *self.names.entry(name.to_owned()).or_insert_with_key(|name| {
            self.table.names.push(name.clone());
            next
        });
        let nodes = refs.iter().filter_map(|id| Some(self.number(*id, *nodes.get(id)?))).collect();
        self.table.ways.push(WayRecord { class, travel, name, nodes });
    }

    fn number(&mut self, id: i64, (lat_e7, lon_e7): (i32, i32)) -> u32 {
        let next = u32::try_from(self.table.nodes.len()).unwrap_or_default();
        *self.numbers.entry(id).or_insert_with(|| {
            self.table.nodes.push((rounded_tenth(lat_e7), rounded_tenth(lon_e7)));
            next
        })
    }
}

fn rounded_tenth(e7: i32) -> i32 {
    (e7 + if e7 < 0 { -5 } else { 5 }) / 10
}

/// The number of the road's class, as in `RoadClass::ALL`, and who may use it in both directions;
/// `None` if it is no road that exists.
///
/// Source: <https://wiki.openstreetmap.org/wiki/OSM_tags_for_routing/Access_restrictions>, simplified.
fn class_and_travel(tags: &Tags<'_>) -> Option<(u8, u8)> {
    const CYCLES: u8 = CYCLE | CYCLE_BACK;
    const DRIVES: u8 = DRIVE | DRIVE_BACK;
    let (class, mut travel) = match tags.get("highway")?.trim_end_matches("_link") {
        "motorway" => (0, DRIVES),
        "trunk" | "primary" | "secondary" | "tertiary" => (0, WALK | CYCLES | DRIVES),
        "residential" | "living_street" | "unclassified" | "road" => (1, WALK | CYCLES | DRIVES),
        "service" => (2, WALK | CYCLES | DRIVES),
        "track" => (3, WALK | CYCLES),
        "cycleway" => (4, WALK | CYCLES),
        "path" => (5, WALK | CYCLES),
        "footway" | "pedestrian" | "bridleway" => (5, WALK),
        "steps" => (6, WALK),
        _ => return None,
    };
    for (key, bits) in [
        ("access", WALK | CYCLES | DRIVES),
        ("foot", WALK),
        ("vehicle", CYCLES | DRIVES),
        ("bicycle", CYCLES),
        ("motor_vehicle", DRIVES),
        ("motorcar", DRIVES),
    ] {
        if tags.is(key, &["no", "private"]) {
            travel &= !bits;
        } else if key != "access" && tags.is(key, &["yes", "designated", "permissive", "official"])
        {
            travel |= bits;
        }
    }
    Some((class, travel))
}
