//! Memory follows how many there are, wave after wave. Slots are counted, not bytes of a process.

use super::invariants;
use super::points::shifted;
use crate::Index;
use herd_geo::Point;

const CLIENTS: u32 = 20_000;

/// Somewhere in a city, spread evenly and without chance.
fn home(key: u32, city: u32) -> Point {
    // Fractions of multiples of two irrational numbers fill a square evenly.
    let part = |ratio: f64| (f64::from(key + 1) * ratio).fract();
    let (north, east) = (part(0.754_877_666_246_7) * 0.2, part(0.569_840_290_998) * 0.2);
    shifted(f64::from(city % 7) * 13.0 - 40.0, f64::from(city % 11) * 29.0 - 170.0, north, east)
}

fn slots(index: &Index<u32>) -> [u32; 5] {
    let tree = &index.tree;
    [
        tree.nodes.slots(),
        tree.leaves.slots(),
        tree.chunks.slots(),
        tree.crowds.slots(),
        tree.piles.slots(),
    ]
}

#[test]
fn waves_leave_nothing_behind() {
    let mut index = Index::new();
    let mut after_first = None;
    for wave in 0..12 {
        for key in 0..CLIENTS {
            index.put(key, home(key, wave));
        }
        if wave % 3 == 0 {
            for key in 0..CLIENTS {
                index.remove(key);
            }
            assert!(index.tree.root.is_none());
            assert_eq!(index.tree.leaves.live() + index.tree.chunks.live(), 0);
        }
        if wave % 4 == 1 {
            for key in 0..CLIENTS {
                index.put(key, Point::new(1.0, 1.0).unwrap());
            }
            assert_eq!(index.tree.chunks.live(), 0, "all are in one pile");
        }
        invariants::check(&index);
        // The first three make all shapes that there will be.
        if wave == 3 {
            after_first = Some((slots(&index), index.bytes()));
        }
    }
    let (slots_before, bytes_before) = after_first.unwrap();
    for (now, before) in slots(&index).into_iter().zip(slots_before) {
        assert!(now <= before + before / 8 + 64, "{now} slots, {before} before");
    }
    assert!(index.bytes() <= bytes_before + bytes_before / 8);
}

#[test]
fn wanderers_take_no_more_than_those_who_came() {
    let mut index = Index::new();
    for key in 0..CLIENTS {
        index.put(key, home(key, 0));
    }
    let fresh = index.tree.chunks.live();
    for round in 1..40_u32 {
        for key in 0..CLIENTS {
            // Each in its own direction, together over the whole globe and back.
            let way = f64::from(key % 360) * f64::from(round.min(40 - round)) / 40.0;
            let at = home(key, 0);
            index.put(key, shifted(at.lat_deg(), at.lon_deg(), way / 4.0, way));
        }
    }
    invariants::check(&index);
    for key in 0..CLIENTS {
        index.put(key, home(key, 0));
    }
    invariants::check(&index);
    let now = index.tree.chunks.live();
    assert!(now <= fresh + fresh / 4, "{now} chunks, {fresh} when they were new");
}

#[test]
fn a_point_takes_less_than_48_bytes() {
    let mut index = Index::new();
    for key in 0..CLIENTS * 5 {
        index.put(key, home(key, 0));
    }
    let each = index.bytes() as f64 / index.len() as f64;
    assert!(each < 48.0, "{each} bytes a point");
}
