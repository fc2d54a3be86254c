//! Prints how long the embedded data takes to load and to ask. Run it with `--release`.
#![expect(clippy::print_stdout, reason = "that is its purpose")]

use herd_places_bare::Query;
use std::error::Error;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    println!("{}", herd_atlas::summary());
    let (gazetteer, took) = timed(herd_atlas::gazetteer);
    let gazetteer = gazetteer?;
    println!("places: {} loaded in {took:?}", gazetteer.len());
    let (roads, took) = timed(herd_atlas::roads);
    let roads = roads?;
    let (nodes, edges, ways) = (roads.nodes().len(), roads.edge_count(), roads.way_count());
    println!("roads: {nodes} nodes, {edges} edges, {ways} ways loaded in {took:?}");
    for (name, at, radius_m, bound) in [
        ("Valletta 0.5 km, 20", "+35.8989+14.5146", 500.0, 20),
        ("Sliema 5 km, 20", "+35.9122+14.5042", 5_000.0, 20),
        ("Malta 50 km, 20", "+35.8885+14.4555", 50_000.0, 20),
        ("UCLA 10 km, 20", "+34.068930-118.445127", 10_000.0, 20),
        ("UCLA 10 km, 5", "+34.068930-118.445127", 10_000.0, 5),
        ("south pole 50 km, 20", "-90+000", 50_000.0, 20),
        ("middle of the Pacific 50 km, 20", "+00-150", 50_000.0, 20),
    ] {
        const ROUNDS: u32 = 2_000;
        let query = Query { center: at.parse()?, radius_m, bound };
        let unix_s = 1_700_000_000;
        let (document, first) = timed(|| gazetteer.nearby(&query, unix_s));
        let ((), all) = timed(|| {
            for _ in 0..ROUNDS {
                std::hint::black_box(gazetteer.nearby(std::hint::black_box(&query), unix_s));
            }
        });
        let bytes = document.as_str().len();
        println!("{name}: {:?} (first time {first:?}), {bytes} bytes", all / ROUNDS);
    }
    Ok(())
}

fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = what();
    (result, start.elapsed())
}
