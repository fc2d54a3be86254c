//! Random histories and random questions.

use super::model::{Both, Step};
use super::points::{area, around_city, exact_circle, point, radius};
use herd_geo::Point;
use proptest::prelude::*;

/// Few keys, so that they move and go and come again.
fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..KEYS, point()).prop_map(|(key, at)| Step::Put(key, at)),
        2 => (0..KEYS).prop_map(Step::Remove),
    ]
}

/// Enough for a tree of some levels.
const KEYS: u32 = 1000;

/// Some who are there from the beginning, then steps.
fn history() -> impl Strategy<Value = (Vec<Step>, Vec<Step>)> {
    let first = prop::collection::vec(point(), 0..KEYS as usize);
    let first =
        first.prop_map(|first| (0..).zip(first).map(|(key, at)| Step::Put(key, at)).collect());
    (first, prop::collection::vec(step(), 1..500))
}

/// Many that come, stay around few places, and move a bit.
fn dense() -> impl Strategy<Value = Vec<Step>> {
    let places = prop::collection::vec(around_city(), 1..4);
    let steps = prop::collection::vec(
        (0..600_u32, any::<prop::sample::Index>(), 0..12_i8, 0..12_i8, 0..8_u8),
        1..1500,
    );
    let scale = prop::sample::select(vec![0.0, 1e-13, 1e-9, 3e-8, 1e-5]);
    (places, scale, steps).prop_map(|(places, scale, steps)| {
        let step = |(key, place, north, east, kind): (u32, prop::sample::Index, i8, i8, u8)| {
            let at: &Point = place.get(&places);
            let (north, east) = (f64::from(north) * scale, f64::from(east) * scale);
            match kind {
                0 => Step::Remove(key),
                _ => {
                    Step::Put(key, super::points::shifted(at.lat_deg(), at.lon_deg(), north, east))
                }
            }
        };
        steps.into_iter().map(step).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_history_leaves_what_it_says((first, steps) in history()) {
        let mut both = Both::default();
        for step in &first {
            both.step(step);
        }
        for step in &steps {
            both.step(step);
            super::invariants::check(&both.index);
        }
        both.check();
        // The other half of all histories: everybody goes, one after another.
        for key in 0..KEYS {
            both.step(&Step::Remove(key));
            super::invariants::check(&both.index);
        }
        prop_assert!(both.index.tree.root.is_none());
    }

    #[test]
    fn crowds_form_and_break_up(steps in dense()) {
        let mut both = Both::default();
        for (number, step) in steps.iter().enumerate() {
            both.step(step);
            if number % 8 == 0 {
                super::invariants::check(&both.index);
            }
        }
        both.check();
        for step in &steps {
            let (Step::Put(key, _) | Step::Remove(key)) = *step;
            both.step(&Step::Remove(key));
        }
        both.check();
        prop_assert!(both.index.is_empty() && both.index.tree.root.is_none());
    }

    #[test]
    fn answers_are_those_of_a_list(
        steps in prop_oneof![
            history().prop_map(|(first, steps)| [first, steps].concat()),
            dense(),
        ],
        nearest in prop::collection::vec((point(), radius(), 0..70_usize), 12),
        exact in prop::collection::vec((exact_circle(), 0..70_usize), 6),
        areas in prop::collection::vec(area(), 16),
    ) {
        let mut both = Both::default();
        for step in &steps {
            both.step(step);
        }
        for (center, radius_m, count) in nearest {
            both.ask_nearest(center, radius_m, count);
        }
        for ((center, radius_m), count) in exact {
            both.ask_nearest(center, radius_m, count);
        }
        for area in &areas {
            both.ask_area(area);
        }
        // Radii that end exactly at one of the points, and questions asked from one.
        for step in steps.iter().take(8) {
            let Step::Put(_, at) = *step else { continue };
            for other in steps.iter().rev().take(8) {
                let Step::Put(_, other) = *other else { continue };
                let radius_m = herd_geo::distance_m(at, other);
                both.ask_nearest(at, radius_m, 40);
                both.ask_area(&crate::Circle::new(at, radius_m).into());
            }
        }
    }
}
