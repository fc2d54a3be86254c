//! Searches in steps, between which points move.

use super::model::{Both, Step};
use super::points::{around_city, point, radius, shifted};
use crate::{Filter, Found, Index, Near, Search};
use herd_geo::{Point, distance_m};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Accepts one key in so many.
struct OneIn(u32);

impl Filter<u32> for OneIn {
    fn prefetch(&self, _: &[u32]) {}

    fn accepts(&self, key: u32) -> bool {
        key.is_multiple_of(self.0)
    }
}

fn run(index: &Index<u32>, mut search: Search<u32>, filter: &OneIn, visits: usize) -> Found<u32> {
    while !index.advance(&mut search, filter, visits) {}
    index.found(search)
}

/// Puts keys so that all kinds of parts come about: far apart, close together, within one quantum, at one point.
fn puts() -> impl Strategy<Value = Vec<(u32, Point)>> {
    let cluster = (around_city(), prop::sample::select(vec![0.0, 1e-13, 1e-9, 1e-7, 1e-5]));
    let places = prop::collection::vec(cluster, 1..4);
    let put = (0..2000_u32, any::<prop::sample::Index>(), 0..12_i8, 0..12_i8);
    (places, prop::collection::vec(put, 0..3000)).prop_map(|(places, puts)| {
        let put = |(key, place, north, east): (u32, prop::sample::Index, i8, i8)| {
            let (at, scale) = place.get(&places);
            let (north, east) = (f64::from(north) * scale, f64::from(east) * scale);
            (key, shifted(at.lat_deg(), at.lon_deg(), north, east))
        };
        puts.into_iter().map(put).collect()
    })
}

fn index_of(puts: &[(u32, Point)]) -> Both {
    let mut both = Both::default();
    for &(key, at) in puts {
        both.step(&Step::Put(key, at));
    }
    both
}

/// The keys that a filter accepts, by distance and then by key.
fn in_order(both: &Both, from: Point, filter: &OneIn) -> Vec<Near<u32>> {
    let near = |(&key, &point)| Near { key, point, distance_m: distance_m(from, point) };
    let accepted = both.list().iter().filter(|&(&key, _)| filter.accepts(key));
    let mut all: Vec<_> = accepted.map(near).collect();
    all.sort_by(|a, b| a.distance_m.total_cmp(&b.distance_m));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn steps_of_any_size_find_what_a_list_says(
        puts in prop_oneof![puts(), prop::collection::vec((0..2000_u32, point()), 0..1500)],
        searches in prop::collection::vec((point(), radius(), 0..70_usize, 1..9_u32, 1..700_usize), 8),
    ) {
        let both = index_of(&puts);
        let from_a_point = puts.iter().take(4).map(|&(_, at)| (at, f64::INFINITY, 20, 3, 100));
        for (from, radius_m, count, one_in, visits) in searches.into_iter().chain(from_a_point) {
            let filter = OneIn(one_in);
            let mut expected = in_order(&both, from, &filter);
            expected.retain(|near| near.distance_m <= radius_m);
            expected.truncate(count);
            let found = run(&both.index, Search::new(from, radius_m, count), &filter, visits);
            prop_assert_eq!(found.near, expected);
        }
    }

    /// Whatever moves, comes and goes between two steps, and however the tree changes by that.
    #[test]
    fn keys_that_stand_still_are_found_exactly(
        puts in puts(),
        moves in prop::collection::vec((0..2000_u32, prop::option::of((any::<prop::sample::Index>(), point(), any::<bool>()))), 0..1500),
        from in prop_oneof![around_city(), point()],
        (count, one_in, visits, moves_a_step) in (1..100_usize, 1..4_u32, 1..300_usize, 1..200_usize),
    ) {
        let mut both = index_of(&puts);
        let (filter, mut search) = (OneIn(one_in), Search::new(from, f64::INFINITY, count));
        let mut moved = BTreeSet::new();
        let mut moves = moves.into_iter();
        while !both.index.advance(&mut search, &filter, visits) {
            for (key, to) in moves.by_ref().take(moves_a_step) {
                moved.insert(key);
                both.step(&match to {
                    // Many go to where others are, so that leaves split, merge and become crowds.
                    Some((other, elsewhere, is_new)) => {
                        let (_, at) = *other.get(&puts_or(&puts, elsewhere));
                        Step::Put(key, if is_new { elsewhere } else { at })
                    }
                    None => Step::Remove(key),
                });
            }
        }
        let Found { near, end } = both.index.found(search);
        let present = in_order(&both, from, &filter);
        let still = |near: &&Near<u32>| !moved.contains(&near.key);
        let is_complete =
            |near: &&Near<u32>| end.is_none_or(|end| (near.distance_m, near.key) <= end);
        let expected: Vec<_> = present.iter().filter(still).filter(is_complete).collect();
        prop_assert_eq!(near.iter().filter(still).collect::<Vec<_>>(), expected);
        // What moved is told as it is now, in its place, and once.
        let mut rest = present.iter();
        prop_assert!(near.iter().all(|near| rest.any(|present| present == near)));
    }
}

fn puts_or(puts: &[(u32, Point)], otherwise: Point) -> Vec<(u32, Point)> {
    if puts.is_empty() { vec![(0, otherwise)] } else { puts.to_vec() }
}

/// Counts what it is asked about.
#[derive(Default)]
struct Counting(std::cell::Cell<usize>);

impl Filter<u32> for Counting {
    fn prefetch(&self, _: &[u32]) {}

    fn accepts(&self, _: u32) -> bool {
        self.0.set(self.0.get() + 1);
        false
    }
}

#[test]
fn a_step_is_bounded_and_all_steps_together_visit_each_key_once() {
    /// Of one leaf; see [`crate::parts::LEAF_MAX`].
    const BEYOND: usize = crate::parts::LEAF_MAX as usize;
    let spread =
        |key: u32| shifted(35.9, 14.5, f64::from(key % 199) * 1e-3, f64::from(key / 199) * 1e-3);
    let places: [&dyn Fn(u32) -> Point; 3] =
        [&spread, &|_| Point::new(35.9, 14.5).unwrap(), &|key| {
            shifted(35.9, 14.5, f64::from(key % 7) * 1e-12, 0.0)
        }];
    for place in places {
        let mut index = Index::new();
        for key in 0..30_000 {
            index.put(key, place(key));
        }
        let (visits, filter) = (1000, Counting::default());
        let mut search = Search::new(Point::new(35.95, 14.55).unwrap(), f64::INFINITY, 20);
        let (mut steps, mut asked) = (0, 0);
        while !index.advance(&mut search, &filter, visits) {
            assert!(filter.0.get() - asked <= visits + BEYOND);
            asked = filter.0.get();
            steps += 1;
        }
        assert_eq!(filter.0.get(), 30_000);
        assert!((25..100).contains(&steps), "{steps} steps");
        assert_eq!(index.found(search).near, []);
    }
}
