//! The provider that needs no network: places in memory, answered in the form of Google's legacy
//! Nearby Search.
//!
//! A result has the members that the data really has. There are no ratings, prices or photos, because
//! there is no source for them, and nothing is invented.

use crate::dataset::{DecodeError, Place, PlaceRef, Source, Table};
use crate::hours::HoursBook;
use crate::plus_code::{global_code, short_code};
use crate::print::Printer;
use crate::printed::{Printed, Shelf};
use crate::query::{BOUND_MAX, RADIUS_M_MAX};
use crate::{Document, Query, Status};
use herd_index::Index;
use std::fmt::Write as _;

/// Places in memory, with an index by position. Immutable, so that it can be shared.
#[derive(Debug)]
pub struct Gazetteer {
    table: Table,
    /// By number in the table.
    index: Index<u32>,
    hours: HoursBook,
    printed: Shelf,
}

impl Gazetteer {
    /// A gazetteer of `places`. Among equally near ones, those given first are listed first.
    ///
    /// Costs less than half a microsecond a place.
    pub fn new(places: &[Place]) -> Self {
        Self::from_table(Table::new(places))
    }

    /// A gazetteer of the places in a table that [`dataset::encode`](crate::dataset::encode) wrote.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the bytes are no table, of another version, or damaged.
    pub fn decode(table: &[u8]) -> Result<Self, DecodeError> {
        Table::decode(table).map(Self::from_table)
    }

    /// How many places there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// All places, in the order in which they were given.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = PlaceRef<'_>> {
        self.table.iter()
    }

    /// The places within the radius, by great-circle distance, nearest first, at most as many as the
    /// query's bound. `unix_s` decides which of them are open.
    ///
    /// Costs some microseconds; the size of the radius does not matter. A result that nobody has asked for yet costs
    /// about three more.
    pub fn nearby(&self, query: &Query, unix_s: i64) -> Document {
        /// A place takes some 900 bytes; with this many there is nearly always room from the start.
        const PLACE_BYTES: usize = 1024;
        let nearest = self.nearest(query);
        if nearest.is_empty() {
            return Document::empty();
        }
        let places = nearest.iter().filter_map(|&at| Some((at, self.table.get(at as usize)?)));
        let places: Vec<_> = places.collect();
        let is_met = |source: &Source| places.iter().any(|(_, place)| place.source == *source);
        let attributions = Source::ALL.into_iter().filter(is_met).map(attribution);
        let mut printer = Printer::with_capacity(PLACE_BYTES * (nearest.len() + 1));
        printer.begin_object();
        printer.key("html_attributions");
        printer.strings(attributions);
        printer.key("results");
        printer.begin_array();
        for (at, place) in &places {
            printer.item();
            let is_open = self.hours.is_open(place.opening_hours, unix_s);
            let print = || {
                Printed::new(
                    RESULT_DEPTH,
                    |printer| print_before_hours(place, printer),
                    |printer| print_after_hours(place, printer),
                )
            };
            self.printed.with(*at, print, |printed| printed.write(is_open, &mut printer));
        }
        printer.end_array();
        printer.key("status");
        printer.string(Status::Ok.as_str());
        printer.end_object();
        Document::from_parts(printer.finish(), Status::Ok)
    }

    fn from_table(table: Table) -> Self {
        let mut index = Index::new();
        for (number, place) in (0..).zip(table.iter()) {
            index.put(number, place.point());
        }
        let hours = HoursBook::new(table.iter().map(|place| place.opening_hours));
        let printed = Shelf::new(table.len());
        Self { table, index, hours, printed }
    }

    /// Numbers of the places that answer `query`, in the order of the answer.
    fn nearest(&self, query: &Query) -> Vec<u32> {
        /// Beyond what is asked for, so that it shows at once that what follows is farther.
        const SPARE: usize = 4;
        /// Of rounding to whole micrometers, and more than enough.
        const SLACK_M: f64 = 1e-6;
        let bound = usize::from(query.bound.min(BOUND_MAX));
        let radius_m = query.radius_m.min(RADIUS_M_MAX);
        if bound == 0 || query.radius_m < 0.0 || query.radius_m.is_nan() {
            return Vec::new();
        }
        let mut asked = bound + SPARE;
        loop {
            let found = self.index.nearest(query.center, radius_m + SLACK_M, asked);
            let away = found.iter().map(|near| (micrometers(near.distance_m), near.key));
            let mut near: Vec<(u64, u32)> = away.collect();
            let farthest = near.get(bound - 1).zip(near.last());
            // Whatever is as near as the last that is wanted, and belongs before it, is among them.
            if found.len() < asked || farthest.is_none_or(|(wanted, last)| last.0 > wanted.0) {
                near.retain(|&(away, _)| away <= micrometers(radius_m));
                near.sort_unstable();
                near.truncate(bound);
                return near.into_iter().map(|(_, number)| number).collect();
            }
            asked *= 2;
        }
    }
}

/// How many objects and arrays are open around a result.
const RESULT_DEPTH: usize = 2;

/// Writes one result up to its opening hours, with Google's order of members; its object stays open.
fn print_before_hours(place: &PlaceRef<'_>, printer: &mut Printer) {
    printer.begin_object();
    let is_establishment = place.types.split(' ').any(|word| word == "establishment");
    if is_establishment {
        // What has closed for good is tagged otherwise or taken out.
        printer.key("business_status");
        printer.string("OPERATIONAL");
    }
    printer.key("geometry");
    printer.begin_object();
    print_corner("location", place.lat_e7, place.lon_e7, printer);
    printer.key("viewport");
    printer.begin_object();
    let (lat_e7, lon_e7) = (place.lat_e7, place.lon_e7);
    print_corner("northeast", north(lat_e7, VIEW_E7), east(lon_e7, VIEW_E7), printer);
    print_corner("southwest", north(lat_e7, -VIEW_E7), east(lon_e7, -VIEW_E7), printer);
    printer.end_object();
    printer.end_object();
    if !place.name.is_empty() {
        printer.key("name");
        printer.string(place.name);
    }
}

/// Writes the rest of it.
fn print_after_hours(place: &PlaceRef<'_>, printer: &mut Printer) {
    let derived_id;
    let id = if place.id.is_empty() {
        derived_id = derive_id(place);
        &derived_id
    } else {
        place.id
    };
    printer.key("place_id");
    printer.string(id);
    let global_code = global_code(place.lat_e7, place.lon_e7);
    printer.key("plus_code");
    printer.begin_object();
    if !place.town.is_empty() {
        let mut compound_code = format!("{} {}", short_code(&global_code), place.town);
        if !place.region.is_empty() {
            compound_code.push_str(", ");
            compound_code.push_str(place.region);
        }
        printer.key("compound_code");
        printer.string(&compound_code);
    }
    printer.key("global_code");
    printer.string(&global_code);
    printer.end_object();
    printer.key("reference");
    printer.string(id);
    printer.key("scope");
    printer.string(scope(place.source));
    printer.key("types");
    printer.strings(place.types.split(' ').filter(|word| !word.is_empty()));
    let vicinity = match (place.address, place.town) {
        (address, town) if !address.is_empty() && !town.is_empty() => &format!("{address}, {town}"),
        (address, "") => address,
        (_, town) => town,
    };
    if !vicinity.is_empty() {
        printer.key("vicinity");
        printer.string(vicinity);
    }
    printer.end_object();
}

/// Half the height and width of a viewport, 1e-7 degrees: what Google gives to a single building.
const VIEW_E7: i32 = 13_000;

/// Distances are compared in these: two places as far away as that from one another are equally near,
/// and a circle of zero radius is as wide, so that rounding at the poles and the date line, which is
/// a nanometer, neither hides a place nor decides between two.
fn micrometers(distance_m: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and half the circumference has 2e13"
    )]
    let micrometers = (distance_m * 1e6).round() as u64;
    micrometers
}

fn north(lat_e7: i32, by_e7: i32) -> i32 {
    (lat_e7 + by_e7).clamp(-900_000_000, 900_000_000)
}

fn east(lon_e7: i32, by_e7: i32) -> i32 {
    let moved = lon_e7 + by_e7;
    if moved > 1_800_000_000 {
        moved - 1_800_000_000 - 1_800_000_000
    } else if moved < -1_800_000_000 {
        moved + 1_800_000_000 + 1_800_000_000
    } else {
        moved
    }
}

fn print_corner(key: &str, lat_e7: i32, lon_e7: i32, printer: &mut Printer) {
    printer.key(key);
    printer.begin_object();
    printer.key("lat");
    printer.e7(lat_e7);
    printer.key("lng");
    printer.e7(lon_e7);
    printer.end_object();
}

/// An id for a place that has none: the same for the same name and position, in every version.
fn derive_id(place: &PlaceRef<'_>) -> String {
    // FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let position = [place.lat_e7.to_le_bytes(), place.lon_e7.to_le_bytes()];
    for &byte in position.as_flattened().iter().chain(place.name.as_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut id = scope(place.source).to_ascii_lowercase();
    // Writing to a String cannot fail.
    let _infallible = write!(id, ":{hash:016x}");
    id
}

fn scope(source: Source) -> &'static str {
    match source {
        Source::OpenStreetMap => "OSM",
        Source::GeoNames => "GEONAMES",
        Source::Airports => "AIRPORTS",
    }
}

/// What the license of a source asks to be shown.
fn attribution(source: Source) -> &'static str {
    match source {
        Source::OpenStreetMap => {
            "© <a href=\"https://www.openstreetmap.org/copyright\">OpenStreetMap contributors</a>, ODbL"
        }
        Source::GeoNames => "<a href=\"https://www.geonames.org/\">GeoNames</a>, CC BY 4.0",
        Source::Airports => {
            "<a href=\"https://crates.io/crates/airport-data\">airport-data</a>, CC BY 4.0"
        }
    }
}

#[cfg(test)]
mod tests;
