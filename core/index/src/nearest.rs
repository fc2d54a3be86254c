//! The nearest few: the nearer half first, and the farther one only if it may hold something better.
//!
//! Candidates are kept by the distance of their spots, together with all that the rounding of spots may have put
//! behind; the exact distance is calculated only of what is left in the end.
//!
//! A [search](Search) can be carried out in steps between which the tree changes. What is left for later steps is
//! therefore kept as cells of space, which do not change, and never as numbers of nodes.

use crate::crowd::{Crowd, Pile, bits};
use crate::cube::{Cell, Center, MARGIN, chord};
use crate::index::Key;
use crate::parts::{Below, CHUNK, Entry, Link};
use crate::tree::Tree;
use herd_geo::{Point, distance_m};
use std::cmp::Ordering;
use std::ops::Bound;

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

/// Decides which keys a [search](Search) may find.
pub trait Filter<K> {
    /// Prefetches what [`accepts`](Self::accepts) will read about these keys. A hint; no effect on results.
    fn prefetch(&self, keys: &[K]);

    /// Whether the search may find a key. A search asks at most once about each entry that it visits.
    fn accepts(&self, key: K) -> bool;
}

/// Accepts every key.
#[derive(Clone, Copy, Debug)]
pub struct Everyone;

impl<K> Filter<K> for Everyone {
    fn prefetch(&self, _: &[K]) {}

    fn accepts(&self, _: K) -> bool {
        true
    }
}

/// A search for the nearest keys, carried out in steps by [`Index::advance`](crate::Index::advance).
///
/// The index may change between two steps. A key that keeps its point meanwhile is visited at most once, and is found
/// exactly if it is among the nearest. Of a key that moves, each of its points may be visited, or none.
#[derive(Clone, Debug)]
pub struct Search<K> {
    from: Point,
    radius_m: f64,
    best: Best<K>,
    /// Disjoint parts of space that remain to be searched, mostly the nearest last.
    rest: Vec<Part<K>>,
    steps: usize,
}

/// The result of a [search](Search).
#[derive(Clone, Debug, PartialEq)]
pub struct Found<K> {
    /// The keys found, at their present points, by distance and then by key.
    pub near: Vec<Near<K>>,
    /// Distance and key of the last key met, if as many were met as were asked for; none if the search reached its
    /// radius. Every accepted key up to there that did not move during the search is among those found.
    pub end: Option<(f64, K)>,
}

impl<K: Key> Search<K> {
    /// A search for the `count` nearest within `radius_m` meters, of which nothing is done yet. It finds nothing if
    /// the radius is negative or not a number.
    pub fn new(from: Point, radius_m: f64, count: usize) -> Self {
        let is_possible = count > 0 && radius_m >= 0.0;
        let best = Best {
            center: Center::from(from),
            from,
            count,
            limit: if is_possible { (chord(radius_m) + MARGIN).powi(2) } else { -1.0 },
            candidates: Vec::new(),
            sift_at: count,
        };
        let whole = Part { cell: Cell::WHOLE, beyond: None };
        let rest = if is_possible { vec![whole] } else { Vec::new() };
        Self { from, radius_m, best, rest, steps: 0 }
    }

    /// The keys found, at the points that `get` says they have now. The search must be complete.
    pub(crate) fn found(self, get: impl Fn(K) -> Option<Point>) -> Found<K> {
        let Self { from, radius_m, mut best, steps, .. } = self;
        let count = best.count;
        // More than wanted may be left, of which only the nearest need an exact distance.
        best.sift_at = count.max(1);
        best.sift();
        let mut near: Vec<_> =
            best.candidates.iter().map(|candidate| candidate.near(from)).collect();
        near.retain(|near| near.distance_m <= radius_m);
        near.sort_unstable_by(in_order);
        near.truncate(count);
        let last = near.last().filter(|_| near.len() == count).copied();
        if steps > 1 {
            near.sort_unstable_by_key(|near| near.key);
            near.dedup_by_key(|near| near.key);
            near.retain_mut(|near| {
                let Some(point) = get(near.key) else { return false };
                if bits(point) != bits(near.point) {
                    *near = Near { point, distance_m: distance_m(from, point), ..*near };
                }
                let is_before_end = last.as_ref().is_none_or(|last| in_order(near, last).is_le());
                near.distance_m <= radius_m && is_before_end
            });
            near.sort_unstable_by(in_order);
        }
        Found { near, end: last.map(|last| (last.distance_m, last.key)) }
    }
}

/// A part of space that is still to be searched.
#[derive(Clone, Debug)]
struct Part<K> {
    cell: Cell,
    /// Where to resume within a crowd, whose spot is then the whole cell.
    beyond: Option<CrowdPosition<K>>,
}

impl<K: Key> Part<K> {
    /// Whether an entry lies in this part.
    fn holds(&self, entry: &Entry<K>) -> bool {
        let is_beyond = |beyond: &CrowdPosition<K>| {
            let order = bits(entry.point).cmp(&beyond.pile);
            order.then_with(|| Some(entry.key).cmp(&beyond.key)).is_gt()
        };
        self.cell.contains(entry.spot) && self.beyond.as_ref().is_none_or(is_beyond)
    }
}

/// How far a crowd has been searched: all piles before `pile`, and of that all keys up to `key`.
#[derive(Clone, Debug)]
struct CrowdPosition<K> {
    pile: [u64; 2],
    key: Option<K>,
    /// Keys of that pile that were accepted.
    accepted: usize,
}

#[derive(Clone, Debug)]
struct Candidate<K> {
    squared: f64,
    key: K,
    point: Point,
}

impl<K: Key> Candidate<K> {
    fn near(&self, from: Point) -> Near<K> {
        let Self { key, point, .. } = *self;
        Near { key, point, distance_m: distance_m(from, point) }
    }
}

/// The best that were found so far.
#[derive(Clone, Debug)]
struct Best<K> {
    center: Center,
    from: Point,
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
        if self.candidates.len() > 2 * self.count + Self::SPARE {
            self.sift_exactly();
        }
        // A share of all, so that many at one distance are not sifted for each of them.
        self.sift_at = self.candidates.len() + self.candidates.len() / 4 + Self::SPARE;
    }

    /// Keeps only as many candidates as are asked for. Rounding cannot separate those of a crowd, however many they
    /// are, so this bounds the memory of a search.
    fn sift_exactly(&mut self) {
        let with_distance = |candidate: Candidate<K>| {
            let distance_m = distance_m(self.from, candidate.point);
            (distance_m, candidate)
        };
        let mut exact: Vec<_> = self.candidates.drain(..).map(with_distance).collect();
        exact.select_nth_unstable_by(self.count - 1, |(a_m, a), (b_m, b)| {
            a_m.total_cmp(b_m).then_with(|| a.key.cmp(&b.key))
        });
        exact.truncate(self.count);
        self.candidates.extend(exact.into_iter().map(|(_, candidate)| candidate));
    }
}

/// By distance and then by key.
fn in_order<K: Key>(a: &Near<K>, b: &Near<K>) -> Ordering {
    a.distance_m.total_cmp(&b.distance_m).then_with(|| a.key.cmp(&b.key))
}

/// One step of a search.
struct Step<'a, K, F> {
    best: &'a mut Best<K>,
    filter: &'a F,
    /// The part that is searched; none for all of space.
    part: Option<Part<K>>,
    /// What lies in that part and remains to be searched, the nearest last.
    later: Vec<(f64, Link)>,
    /// Visits that are left. A leaf is visited whole.
    visits: usize,
    keys: Vec<K>,
}

impl<K: Key, F: Filter<K>> Step<'_, K, F> {
    fn visit(&mut self, entries: usize) {
        self.visits = self.visits.saturating_sub(entries);
    }

    /// Drops those of the candidates from `start` on that the filter refuses; returns how many stay.
    fn filter(&mut self, start: usize) -> usize {
        let Self { best, filter, keys, .. } = self;
        let candidates = &mut best.candidates;
        keys.clear();
        keys.extend(candidates.iter().skip(start).map(|candidate| candidate.key));
        filter.prefetch(keys);
        let mut at = start;
        while let Some(candidate) = candidates.get(at) {
            if filter.accepts(candidate.key) {
                at += 1;
            } else {
                candidates.swap_remove(at);
            }
        }
        at - start
    }
}

impl<K: Key> Tree<K> {
    /// Continues a search until some `visits` entries have been visited. True if it is complete.
    pub(crate) fn advance<F: Filter<K>>(
        &self,
        search: &mut Search<K>,
        filter: &F,
        visits: usize,
    ) -> bool {
        search.steps += 1;
        let Search { best, rest, .. } = search;
        let (later, keys) = (Vec::new(), Vec::new());
        let mut step = Step { best, filter, part: None, later, visits, keys };
        while let Some(part) = rest.pop() {
            let nearest = part.cell.nearest_squared(step.best.center);
            let Some(root) = self.root.filter(|_| nearest <= step.best.limit) else { continue };
            if step.visits == 0 {
                rest.push(part);
                return false;
            }
            step.part = (part.cell != Cell::WHOLE).then(|| part.clone());
            step.later.push((nearest, root));
            let mut resume = None;
            while step.visits > 0
                && let Some((squared, link)) = step.later.pop()
            {
                if squared <= step.best.limit {
                    resume = self.look(link, &mut step);
                }
            }
            let unsearched = |&(_, link): &(f64, Link)| self.region_of(link).common(&part.cell);
            let cells = step.later.iter().filter_map(unsearched);
            rest.extend(cells.map(|cell| Part { cell, beyond: None }));
            rest.extend(resume);
            step.later.clear();
        }
        true
    }

    /// Goes down to the nearest leaf below `link`; what it passes by is for later, the nearest last. Returns where to
    /// resume in a crowd that is too large for this step.
    fn look<F: Filter<K>>(&self, mut link: Link, step: &mut Step<'_, K, F>) -> Option<Part<K>> {
        loop {
            match link.below() {
                Below::Node(at) => {
                    let node = &self.nodes[at];
                    let [low, high] = [0, 1].map(|side| {
                        let half = node.half(side);
                        if step.part.as_ref().is_some_and(|part| half.common(&part.cell).is_none())
                        {
                            return f64::INFINITY;
                        }
                        half.nearest_squared(step.best.center)
                    });
                    let nearer = usize::from(high < low);
                    let (near, far) = if nearer == 0 { (low, high) } else { (high, low) };
                    if far <= step.best.limit {
                        step.later.push((far, node.halves[1 - nearer]));
                    }
                    if near > step.best.limit {
                        return None;
                    }
                    link = node.halves[nearer];
                }
                Below::Leaf(at) => {
                    let leaf = &self.leaves[at];
                    self.touch(leaf);
                    let Step { part, best, .. } = step;
                    let (part, start) = (part.as_ref(), best.candidates.len());
                    for entries in self.entries(leaf) {
                        for entry in entries {
                            if part.is_none_or(|part| part.holds(entry)) {
                                best.offer(best.center.squared(entry.spot), entry.key, entry.point);
                            }
                        }
                    }
                    // Memory is fetched by the chunk.
                    step.visit(leaf.chunks().len() * CHUNK as usize);
                    step.filter(start);
                    step.best.sift();
                    return None;
                }
                Below::Crowd(at) => return self.look_at_crowd(&self.crowds[at], step),
            }
        }
    }

    /// Of each pile only the first few can be among the nearest few, as its keys are in order.
    fn look_at_crowd<F: Filter<K>>(
        &self,
        crowd: &Crowd,
        step: &mut Step<'_, K, F>,
    ) -> Option<Part<K>> {
        /// Keys that are filtered together.
        const TOGETHER: usize = 64;
        let cell = Cell::from(crowd.spot);
        if step.part.as_ref().is_some_and(|part| !part.cell.contains(crowd.spot)) {
            return None;
        }
        let mut resumed = step.part.as_ref().and_then(|part| part.beyond.clone());
        let squared = step.best.center.squared(crowd.spot);
        let first = resumed.as_ref().map_or(Bound::Unbounded, |at| Bound::Included(at.pile));
        for (&pile, &at) in crowd.piles.range((first, Bound::Unbounded)) {
            let fresh = CrowdPosition { pile, key: None, accepted: 0 };
            let mut position = resumed.take().filter(|at| at.pile == pile).unwrap_or(fresh);
            let Pile { point, keys, .. } = &self.piles[at];
            let beyond = position.key.map_or(Bound::Unbounded, Bound::Excluded);
            let mut keys = keys.range((beyond, Bound::Unbounded));
            while position.accepted < step.best.count {
                if squared > step.best.limit {
                    return None;
                }
                if step.visits == 0 {
                    return Some(Part { cell, beyond: Some(position) });
                }
                let start = step.best.candidates.len();
                let wanted = TOGETHER.min(step.best.count - position.accepted);
                for &key in keys.by_ref().take(wanted) {
                    step.best.offer(squared, key, *point);
                    position.key = Some(key);
                }
                let visited = step.best.candidates.len() - start;
                if visited == 0 {
                    break;
                }
                step.visit(visited);
                position.accepted += step.filter(start);
                step.best.sift();
            }
        }
        None
    }
}
