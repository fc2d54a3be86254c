//! The embedded map data: places of the world, roads of Malta.
//!
//! The data comes from crates that carry it and is extracted by the build script; nothing of it lies
//! in this repository. A build that could not find some of it embeds less and has said so: every
//! function here works then too, with fewer results. Attribution is owed to the sources, see NOTICE.

mod road_table;
mod roads;

pub use roads::{Edge, RoadClass, RoadNet, Travel};

use flate2::read::DeflateDecoder;
use herd_places_bare::Gazetteer;
use std::fmt;
use std::io::Read as _;

/// The embedded places. Unpacks and indexes them, which takes some tens of milliseconds and, as long
/// as the gazetteer lives, some twenty megabytes: do it once.
///
/// # Errors
///
/// [`AtlasError`] if what was embedded is damaged, which a build does not do.
pub fn gazetteer() -> Result<Gazetteer, AtlasError> {
    let table = inflate(include_bytes!(concat!(env!("OUT_DIR"), "/places.deflate")))?;
    Gazetteer::decode(&table).map_err(|_| AtlasError)
}

/// The embedded roads. Unpacks them, which takes some tens of milliseconds: do it once, and only if
/// they are wanted.
///
/// # Errors
///
/// [`AtlasError`] if what was embedded is damaged, which a build does not do.
pub fn roads() -> Result<RoadNet, AtlasError> {
    let table = inflate(include_bytes!(concat!(env!("OUT_DIR"), "/roads.deflate")))?;
    RoadNet::decode(&table).ok_or(AtlasError)
}

/// What this build has embedded.
pub fn summary() -> Summary {
    include!(concat!(env!("OUT_DIR"), "/summary.rs"))
}

/// Counts of what is embedded; zero for what the build could not find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Places of Malta from OpenStreetMap.
    pub osm_places: usize,
    /// Towns of the world from GeoNames.
    pub towns: usize,
    /// Airports of the world.
    pub airports: usize,
    /// Roads of Malta.
    pub roads: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { osm_places, towns, airports, roads } = self;
        write!(
            f,
            "{towns} towns and {airports} airports of the world, {osm_places} places and {roads} roads \
             of Malta"
        )
    }
}

/// The embedded data is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the embedded map data is damaged")]
pub struct AtlasError;

fn inflate(compressed: &[u8]) -> Result<Vec<u8>, AtlasError> {
    // Ours, so of a size that is known; the cap is what vigilance costs.
    const BYTES_MAX: u64 = 64 << 20;
    let mut bytes = Vec::with_capacity(compressed.len() * 4);
    let mut decoder = DeflateDecoder::new(compressed).take(BYTES_MAX);
    decoder.read_to_end(&mut bytes).map_err(|_| AtlasError)?;
    Ok(bytes)
}
