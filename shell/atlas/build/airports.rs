//! The airports of the world, from the crate airport-data. Its names, codes and positions are good; its
//! elevations and types are not, and left out.

use crate::Outcome;
use crate::towns::Grid;
use herd_geo::Point;
use herd_places_bare::dataset::{Place, Source};
use serde_json::Value;
use std::path::Path;

/// Reads `airports.json`: a list of objects.
pub(crate) fn read(path: &Path, towns: &Grid<'_>) -> Outcome<Vec<Place>> {
    let list: Vec<Value> = serde_json::from_slice(&std::fs::read(path)?)?;
    let mut airports = Vec::with_capacity(list.len());
    for airport in &list {
        let text = |key| airport.get(key).and_then(Value::as_str).unwrap_or_default();
        let angle = |key| airport.get(key).and_then(Value::as_f64).ok_or("no position");
        let point = Point::new(angle("latitude")?, angle("longitude")?)?;
        let town = towns.nearest(point);
        airports.push(Place {
            point,
            source: Source::Airports,
            // One or the other is there, and both name one airport only.
            id: match (text("iata"), text("icao")) {
                ("", icao) => format!("icao:{icao}"),
                (iata, _) => format!("iata:{iata}"),
            },
            name: text("airport").to_owned(),
            types: ["airport", "point_of_interest", "establishment"].map(str::to_owned).to_vec(),
            address: String::new(),
            town: town.map(|town| town.name.clone()).unwrap_or_default(),
            region: town.map(|town| town.region.clone()).unwrap_or_default(),
            opening_hours: String::new(),
        });
    }
    Ok(airports)
}
