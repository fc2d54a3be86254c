//! The nearest few: down the nearer half first, and into the farther one only if it may hold better.
//!
//! Candidates are kept by the distance of their spots, together with all that the rounding of spots
//! may have put behind; the exact distance is calculated only of what is left in the end.

use crate::crowd::Crowd;
use crate::cube::{Cell, Centre, MARGIN, chord};
use crate::index::Key;
use crate::parts::{Below, Link};
use crate::tree::Tree;
use herd_geo::{Point, distance_m};

/// One of the nearest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near<K> {
    /// Who.
    pub key: K,
    /// Where, exactly as given.
    pub point: Point,
    /// How far away, as [`distance_m`] says.
    pub distance_m: f64,
}

struct Candidate<K> {
    squared: f64,
    key: K,
    point: Point,
}

/// The best that were found so far.
struct Best<K> {
    centre: Centre,
    count: usize,
    /// Farther spots, squared, are no candidates.
    limit: f64,
    candidates: Vec<Candidate<K>>,
    /// With so many candidates it is worth while to look for a lower limit.
    sift_at: usize,
}

impl<K: Key> Best<K> {
    /// Beyond what is asked for, candidates that are gathered before they are sifted again: sifting
    /// costs some hundred nanoseconds, looking at a leaf in vain as much.
    const SPARE: usize = 16;

    fn offer(&mut self, squared: f64, key: K, point: Point) {
        if squared <= self.limit {
            self.candidates.push(Candidate { squared, key, point });
        }
    }

    /// Lowers the limit if there are enough candidates. What is farther than the last one wanted by
    /// more than the rounding of two spots cannot be nearer in truth.
    fn sift(&mut self) {
        if self.candidates.len() < self.sift_at {
            return;
        }
        let by_distance = |a: &Candidate<K>, b: &Candidate<K>| a.squared.total_cmp(&b.squared);
        let (_, last, _) = self.candidates.select_nth_unstable_by(self.count - 1, by_distance);
        self.limit = self.limit.min((last.squared.sqrt() + 2.0 * MARGIN).powi(2));
        let limit = self.limit;
        self.candidates.retain(|candidate| candidate.squared <= limit);
        // A share of all, so that many at one distance are not sifted for each of them.
        self.sift_at = self.candidates.len() + self.candidates.len() / 4 + Self::SPARE;
    }

    fn finish(self, from: Point, radius_m: f64) -> Vec<Near<K>> {
        let near =
            |Candidate { key, point, .. }| Near { key, point, distance_m: distance_m(from, point) };
        let mut found: Vec<_> = self.candidates.into_iter().map(near).collect();
        found.retain(|near| near.distance_m <= radius_m);
        found.sort_unstable_by(|a, b| {
            a.distance_m.total_cmp(&b.distance_m).then_with(|| a.key.cmp(&b.key))
        });
        found.truncate(self.count);
        found
    }
}

impl<K: Key> Tree<K> {
    pub(crate) fn nearest(&self, from: Point, radius_m: f64, count: usize) -> Vec<Near<K>> {
        let Some(root) = self.root else { return Vec::new() };
        if count == 0 || radius_m < 0.0 || radius_m.is_nan() {
            return Vec::new();
        }
        let centre = Centre::from(from);
        let mut best = Best {
            centre,
            count,
            limit: (chord(radius_m) + MARGIN).powi(2),
            candidates: Vec::new(),
            sift_at: count,
        };
        let mut later: Vec<(f64, Link)> = vec![(Cell::WHOLE.nearest_squared(centre), root)];
        while let Some((squared, link)) = later.pop() {
            if squared <= best.limit {
                self.look(link, &mut best, &mut later);
            }
        }
        // More than wanted may be left, of which only the nearest need an exact distance.
        best.sift_at = best.count;
        best.sift();
        best.finish(from, radius_m)
    }

    /// Goes down to the nearest leaf below `link`; what it passes by is for later, the nearest last.
    fn look(&self, mut link: Link, best: &mut Best<K>, later: &mut Vec<(f64, Link)>) {
        loop {
            match link.below() {
                Below::Node(at) => {
                    let node = &self.nodes[at];
                    let [low, high] =
                        [0, 1].map(|side| node.half(side).nearest_squared(best.centre));
                    let nearer = usize::from(high < low);
                    let (near, far) = if nearer == 0 { (low, high) } else { (high, low) };
                    if far <= best.limit {
                        later.push((far, node.halves[1 - nearer]));
                    }
                    if near > best.limit {
                        return;
                    }
                    link = node.halves[nearer];
                }
                Below::Leaf(at) => {
                    self.touch(&self.leaves[at]);
                    for entries in self.entries(&self.leaves[at]) {
                        for entry in entries {
                            best.offer(best.centre.squared(entry.spot), entry.key, entry.point);
                        }
                    }
                    return best.sift();
                }
                Below::Crowd(at) => {
                    self.offer_crowd(&self.crowds[at], best);
                    return best.sift();
                }
            }
        }
    }

    /// Of each pile only the first few can be among the nearest few, as its keys are in order.
    fn offer_crowd(&self, crowd: &Crowd, best: &mut Best<K>) {
        let squared = best.centre.squared(crowd.spot);
        for pile in crowd.piles.values().map(|&pile| &self.piles[pile]) {
            for &key in pile.keys.iter().take(best.count) {
                best.offer(squared, key, pile.point);
            }
        }
    }
}
