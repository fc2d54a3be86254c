//! What is embedded is what the sources hold. Where they were not found, as on a machine that never
//! fetched them, there is nothing to test.

#![expect(clippy::unwrap_used, reason = "the helpers of tests may, as tests may")]

use herd_atlas::{RoadNet, Summary, Travel};
use herd_geo::Point;
use herd_places_bare::dataset::Source;
use herd_places_bare::{Document, Gazetteer, Query, Status};
use serde_json::Value;
use std::collections::BTreeSet;

#[test]
fn counts_are_those_of_the_sources() {
    let Some(gazetteer) = gazetteer() else { return };
    let Summary { osm_places, towns, airports, roads } = herd_atlas::summary();
    assert_eq!((towns, airports), (144_563, 18_776));
    assert!((5_000..7_000).contains(&osm_places), "{osm_places}");
    assert!((25_000..=32_862).contains(&roads), "{roads}");
    let count = |source| gazetteer.iter().filter(|place| place.source == source).count();
    let counts = Source::ALL.map(count);
    assert_eq!(counts, [osm_places, towns, airports]);
}

#[test]
fn westwood_is_near_ucla() {
    let Some(gazetteer) = gazetteer() else { return };
    let results = results(&gazetteer.nearby(&query("+34.068930-118.445127", 10_000.0, 20), 0));
    assert_eq!(results[0]["name"], "Westwood, Los Angeles");
    assert_eq!(
        results[0]["plus_code"]["compound_code"],
        "3H49+CP Westwood, Los Angeles, California, US"
    );
    assert!(results.iter().any(|result| result["types"][0] == "airport"));
}

#[test]
fn malta_has_places_to_go_to() {
    let Some(gazetteer) = gazetteer() else { return };
    for (at, town) in [("+35.8989+14.5146", "Valletta"), ("+35.9122+14.5042", "Sliema")] {
        let document = gazetteer.nearby(&query(at, 5_000.0, 20), 1_700_000_000);
        assert!(document.as_str().contains("openstreetmap.org/copyright"));
        let results = results(&document);
        assert_eq!(results.len(), 20);
        for result in &results {
            assert!(result["name"].as_str().is_some_and(|name| !name.is_empty()), "{result}");
            assert!(result["place_id"].as_str().is_some_and(|id| id.contains(':')), "{result}");
        }
        assert!(results.iter().any(|r| r["vicinity"].as_str().is_some_and(|v| v.contains(town))));
    }
}

#[test]
fn ids_name_one_place_each() {
    let Some(gazetteer) = gazetteer() else { return };
    let ids: Vec<_> = gazetteer.iter().map(|place| place.id).filter(|id| !id.is_empty()).collect();
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
}

#[test]
fn every_opening_hours_expression_can_be_asked() {
    let Some(gazetteer) = gazetteer() else { return };
    let with_hours: Vec<_> =
        gazetteer.iter().filter(|place| !place.opening_hours.is_empty()).collect();
    let mut decided = 0;
    for place in &with_hours {
        for unix_s in [0, 1_700_000_000, 1_711_846_800, 1_735_689_600, 4_000_000_000] {
            let query = Query { center: place.point(), radius_m: 0.0, bound: 20 };
            let results = results(&gazetteer.nearby(&query, unix_s));
            let result = results.iter().find(|result| result["place_id"] == place.id).unwrap();
            decided += usize::from(result["opening_hours"]["open_now"].is_boolean());
        }
    }
    assert!(with_hours.len() > 500, "{}", with_hours.len());
    assert!(decided > with_hours.len() * 4, "{decided} of {}", with_hours.len() * 5);
}

#[test]
fn one_can_walk_from_nearly_anywhere_to_nearly_anywhere_on_the_island() {
    let net = herd_atlas::roads().unwrap();
    if net.nodes().is_empty() {
        return;
    }
    for travel in [Travel::Walk, Travel::Cycle, Travel::Drive] {
        let usable = |n: &u32| net.edges_at(*n).iter().any(|edge| edge.allows(travel));
        let usable = (0..u32::try_from(net.nodes().len()).unwrap()).filter(usable).count();
        // From a street in the middle of the main island. Gozo and Comino are reached by ferry only.
        let start = nearest_node(&net, Point::new(35.8885, 14.4555).unwrap(), travel);
        let reached = reachable(&net, start, travel);
        assert!(reached * 10 > usable * 6, "{travel:?}: {reached} of {usable}");
    }
    assert!(
        (0..u32::try_from(net.way_count()).unwrap())
            .any(|way| net.name(way) == "Triq ir-Repubblika")
    );
}

fn reachable(net: &RoadNet, start: u32, travel: Travel) -> usize {
    let mut seen = vec![false; net.nodes().len()];
    seen[start as usize] = true;
    let mut open = vec![start];
    let mut count = 0;
    while let Some(node) = open.pop() {
        count += 1;
        for edge in net.edges_at(node).iter().filter(|edge| edge.allows(travel)) {
            if !std::mem::replace(&mut seen[edge.to as usize], true) {
                open.push(edge.to);
            }
        }
    }
    count
}

fn nearest_node(net: &RoadNet, to: Point, travel: Travel) -> u32 {
    let away = |node: &u32| herd_geo::distance_m(net.nodes()[*node as usize], to);
    (0..u32::try_from(net.nodes().len()).unwrap())
        .filter(|node| net.edges_at(*node).iter().any(|edge| edge.allows(travel)))
        .min_by(|a, b| away(a).total_cmp(&away(b)))
        .unwrap()
}

/// The embedded places, if all sources were there when this was built.
fn gazetteer() -> Option<Gazetteer> {
    let Summary { osm_places, towns, airports, .. } = herd_atlas::summary();
    let complete = osm_places > 0 && towns > 0 && airports > 0;
    complete.then(|| herd_atlas::gazetteer().unwrap())
}

fn query(at: &str, radius_m: f64, bound: u8) -> Query {
    Query { center: at.parse().unwrap(), radius_m, bound }
}

fn results(document: &Document) -> Vec<Value> {
    assert_eq!(document.status(), Status::Ok);
    let read: Value = serde_json::from_str(document.as_str()).unwrap();
    read["results"].as_array().unwrap().clone()
}
