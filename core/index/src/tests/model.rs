//! A list of points, and the same questions asked of it and of an index.

use super::invariants;
use crate::{Area, Index, Near};
use herd_geo::{Point, distance_m};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Put(u32, Point),
    Remove(u32),
}

/// An index and the list that it must agree with.
#[derive(Default)]
pub(super) struct Both {
    pub(super) index: Index<u32>,
    list: BTreeMap<u32, Point>,
}

impl Both {
    pub(super) fn step(&mut self, step: &Step) {
        match *step {
            Step::Put(key, point) => {
                assert_eq!(self.index.put(key, point), self.list.insert(key, point));
                assert_eq!(self.index.get(key), Some(point));
            }
            Step::Remove(key) => {
                assert_eq!(self.index.remove(key), self.list.remove(&key));
                assert_eq!(self.index.get(key), None);
            }
        }
        assert_eq!(self.index.len(), self.list.len());
    }

    pub(super) fn list(&self) -> &BTreeMap<u32, Point> {
        &self.list
    }

    pub(super) fn check(&self) {
        invariants::check(&self.index);
        for (&key, &point) in &self.list {
            assert_eq!(self.index.get(key), Some(point));
        }
        let mut all = Vec::new();
        let _whole: ControlFlow<()> = self.index.visit_all(|key, point| {
            all.push((key, point));
            ControlFlow::Continue(())
        });
        all.sort_by_key(|&(key, _)| key);
        assert_eq!(all, self.list.iter().map(|(&key, &at)| (key, at)).collect::<Vec<_>>());
    }

    #[track_caller]
    pub(super) fn ask_nearest(&self, center: Point, radius_m: f64, count: usize) {
        let near = |(&key, &point)| Near { key, point, distance_m: distance_m(center, point) };
        let mut expected: Vec<Near<u32>> = self.list.iter().map(near).collect();
        expected.retain(|near| near.distance_m <= radius_m);
        // The list is in the order of keys, and the sort is stable.
        expected.sort_by(|a, b| a.distance_m.total_cmp(&b.distance_m));
        expected.truncate(count);
        let got = self.index.nearest(center, radius_m, count);
        assert_eq!(got, expected, "{count} nearest {center:?} within {radius_m}");
    }

    #[track_caller]
    pub(super) fn ask_area(&self, area: &Area) {
        let inside = |&(_, point): &(&u32, &Point)| area.contains(*point);
        let expected: Vec<_> =
            self.list.iter().filter(inside).map(|(&key, &point)| (key, point)).collect();
        let mut got = Vec::new();
        let _whole: ControlFlow<()> = self.index.visit(area, |key, point| {
            got.push((key, point));
            ControlFlow::Continue(())
        });
        got.sort_by_key(|&(key, _)| key);
        assert_eq!(got, expected, "within {area:?}");
        // Whoever has enough is shown no more.
        let mut left = expected.len() / 2;
        let stopped = self.index.visit(area, |key, _| {
            if left == 0 {
                return ControlFlow::Break(key);
            }
            left -= 1;
            ControlFlow::Continue(())
        });
        assert_eq!(stopped.is_break(), !expected.is_empty());
        assert_eq!(left, 0);
    }
}
