//! Cases with a name: everybody at one place, in a row, on the other side of the globe.

use super::invariants;
use super::model::{Both, Step};
use super::points::shifted;
use crate::{Circle, Index, Key, Near, Rect};
use herd_geo::Point;

#[test]
fn nobody_is_near_in_an_empty_index() {
    let both = Both::default();
    let at = Point::new(0.0, 0.0).unwrap();
    both.check();
    both.ask_nearest(at, f64::INFINITY, 5);
    both.ask_area(&Circle::new(at, f64::INFINITY).into());
    assert_eq!(both.index.bytes(), 0);
}

#[test]
fn of_many_at_one_point_the_first_keys_are_nearest() {
    let mut index = Index::new();
    let at = Point::new(35.9, 14.5).unwrap();
    for key in (0..20_000_u32).rev() {
        index.put(key, at);
    }
    invariants::check(&index);
    for from in [at, Point::new(-35.9, -165.5).unwrap(), Point::new(36.0, 14.0).unwrap()] {
        let keys: Vec<u32> =
            index.nearest(from, f64::INFINITY, 20).iter().map(|near| near.key).collect();
        assert_eq!(keys, (0..20).collect::<Vec<_>>());
    }
    // One that leaves, and one that is nearer.
    index.put(3, Point::new(35.9, 14.6).unwrap());
    index.put(70_000, shifted(35.9, 14.5, 1e-5, 0.0));
    let near = index.nearest(Point::new(35.901, 14.5).unwrap(), 1000.0, 5);
    assert_eq!(near.iter().map(|near| near.key).collect::<Vec<_>>(), [70_000, 0, 1, 2, 4]);
    invariants::check(&index);
}

#[test]
fn rows_in_order_do_not_make_the_tree_deep() {
    // In order along a meridian, nearer and nearer to a point, and as a cloud at every scale.
    let mut both = Both::default();
    for key in 0..3000_u32 {
        both.step(&Step::Put(key, shifted(0.0, 10.0, f64::from(key) * 1e-6, 0.0)));
    }
    for key in 3000..4000_u32 {
        let away = 0.97_f64.powi(i32::try_from(key - 3000).unwrap());
        both.step(&Step::Put(key, shifted(50.0, -20.0, 0.0, away)));
    }
    both.check();
    both.ask_nearest(Point::new(50.0, -20.0).unwrap(), 1000.0, 100);
    both.ask_area(&Rect::from_degrees(0.001, 9.0, 0.002, 11.0).unwrap().into());
}

#[test]
fn the_other_side_of_the_globe_is_in_order_too() {
    let mut both = Both::default();
    for key in 0..500_u32 {
        let (north, east) = (f64::from(key % 23) * 1e-5, f64::from(key % 19) * 1e-5);
        both.step(&Step::Put(key, shifted(0.0, 180.0, north, east)));
    }
    let antipode = Point::new(0.0, 0.0).unwrap();
    both.ask_nearest(antipode, f64::INFINITY, 20);
    both.ask_nearest(antipode, 20_015_100.0, 20);
    both.ask_area(&Circle::new(antipode, 20_015_100.0).into());
}

#[test]
fn keys_may_be_more_than_numbers() {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Backwards(std::cmp::Reverse<u32>);
    impl Key for Backwards {
        fn slot(self) -> u32 {
            self.0.0
        }
    }
    let mut index = Index::new();
    let at = Point::new(1.0, 2.0).unwrap();
    for number in 0..100 {
        index.put(Backwards(std::cmp::Reverse(number)), at);
    }
    let first = index.nearest(at, 0.0, 1);
    let key = Backwards(std::cmp::Reverse(99));
    assert_eq!(first, [Near { key, point: at, distance_m: 0.0 }]);
}
