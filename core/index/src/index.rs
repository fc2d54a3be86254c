//! The index as its owner sees it.

use crate::area::{Area, Everywhere, Walk};
use crate::cube::Spot;
use crate::nearest::{Everyone, Filter, Found, Near, Search};
use crate::parts::{CHUNK, CROWD_MIN, Entry, PILE};
use crate::slab::NONE;
use crate::tree::Tree;
use herd_geo::Point;
use std::fmt;
use std::ops::ControlFlow;

/// More than memory can look for at once.
const EXPECTED_TOGETHER: usize = 64;

/// Whoever is somewhere: small, and numbered densely.
pub trait Key: Copy + Ord {
    /// Its number, another for each key. Four bytes are taken for each number up to the greatest,
    /// in pages of 4096, so owners use freed numbers again.
    fn slot(self) -> u32;
}

impl Key for u32 {
    fn slot(self) -> u32 {
        self
    }
}

/// Points by key, found by place.
///
/// What it answers does not depend on the order in which points came, and neither does any bound
/// on what it costs. With a key of four bytes a point takes about 41 bytes in all.
#[derive(Clone)]
pub struct Index<K> {
    pub(crate) tree: Tree<K>,
    len: usize,
}

impl<K: Key> Default for Index<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> fmt::Debug for Index<K> {
    /// Only how many there are: where somebody is is nobody's business in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("len", &self.len).finish_non_exhaustive()
    }
}

impl<K: Key> Index<K> {
    /// An index of nobody, which takes no memory.
    pub fn new() -> Self {
        Self { tree: Tree::new(), len: 0 }
    }

    /// How many keys have a point.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The point of a key, exactly as given.
    pub fn get(&self, key: K) -> Option<Point> {
        match self.tree.places.get(key.slot()) {
            NONE => None,
            place if place & PILE != 0 => Some(self.tree.piles[place ^ PILE].point),
            place => Some(self.tree.entry(place).point),
        }
    }

    /// Puts a key at a point, wherever it was; returns where that was.
    ///
    /// A move of some meters overwrites what was there. Any other walks up as far as it must and down
    /// again, which depends on how many there are as their logarithm does.
    pub fn put(&mut self, key: K, point: Point) -> Option<Point> {
        let tree = &mut self.tree;
        let entry = Entry { spot: Spot::from(point), key, point };
        let place = tree.places.get(key.slot());
        if place == NONE {
            self.len += 1;
            tree.insert(tree.root, entry);
            return None;
        }
        if place & PILE != 0 {
            let pile = &tree.piles[place ^ PILE];
            let before = pile.point;
            if crate::crowd::bits(before) != crate::crowd::bits(point) {
                let above = tree.crowds[pile.crowd].above;
                let crowd = tree.leave(place ^ PILE, key);
                tree.insert(tree.climb(above, entry.spot), entry);
                self.settle_crowd(crowd);
            }
            return Some(before);
        }
        let leaf_at = tree.leaf_of.get(place / CHUNK);
        let leaf = &tree.leaves[leaf_at];
        if leaf.cell.contains(entry.spot) {
            return Some(std::mem::replace(tree.entry_mut(place), entry).point);
        }
        let above = leaf.above;
        let before = tree.entry(place).point;
        tree.pull(place);
        tree.insert(tree.climb(above, entry.spot), entry);
        tree.settle(leaf_at);
        Some(before)
    }

    /// These keys are about to move, some [`EXPECTED_TOGETHER`]: what their moves will look at is brought near, of all
    /// at once, since memory answers many as fast as one. Changes nothing.
    pub fn expect(&self, keys: impl Iterator<Item = K>) {
        let tree = &self.tree;
        let mut places = [NONE; EXPECTED_TOGETHER];
        for (place, key) in places.iter_mut().zip(keys) {
            *place = tree.places.get(key.slot());
        }
        // Piles are few: only one place has one.
        places.iter_mut().filter(|place| **place & PILE != 0).for_each(|place| *place = NONE);
        let mut leaves = [NONE; EXPECTED_TOGETHER];
        let mut seen = 0;
        for (leaf, &place) in leaves.iter_mut().zip(&places).filter(|(_, place)| **place != NONE) {
            *leaf = tree.leaf_of.get(place / CHUNK);
            seen ^= tree.entry(place).spot.0[0];
        }
        for &leaf in leaves.iter().filter(|leaf| **leaf != NONE) {
            seen ^= tree.leaves[leaf].len;
        }
        std::hint::black_box(seen);
    }

    /// Forgets a key; returns where it was.
    pub fn remove(&mut self, key: K) -> Option<Point> {
        let before = self.get(key)?;
        let tree = &mut self.tree;
        let place = tree.places.get(key.slot());
        tree.places.set(key.slot(), NONE);
        self.len -= 1;
        if place & PILE != 0 {
            let crowd = tree.leave(place ^ PILE, key);
            self.settle_crowd(crowd);
        } else {
            let leaf = tree.leaf_of.get(place / CHUNK);
            tree.pull(place);
            tree.settle(leaf);
        }
        Some(before)
    }

    fn settle_crowd(&mut self, crowd: u32) {
        if self.tree.crowds[crowd].len <= CROWD_MIN {
            let leaf = self.tree.disperse(crowd);
            self.tree.settle(leaf);
        }
    }

    /// The `count` nearest within `radius_m` meters along the earth's surface, by distance and then
    /// by key. None if the radius is negative or not a number; any size of radius costs the same.
    pub fn nearest(&self, center: Point, radius_m: f64, count: usize) -> Vec<Near<K>> {
        let mut search = Search::new(center, radius_m, count);
        self.advance(&mut search, &Everyone, usize::MAX);
        self.found(search).near
    }

    /// Continues a search among the keys that `filter` accepts, until it has visited some `visits` entries more: up to
    /// a leaf (128) beyond. True if the search is complete.
    ///
    /// All steps together visit each entry at most once, and none that is certainly too far away when its turn comes,
    /// so their cost is linear in what lies around the point.
    pub fn advance(&self, search: &mut Search<K>, filter: &impl Filter<K>, visits: usize) -> bool {
        self.tree.advance(search, filter, visits)
    }

    /// The result of a search that is complete. Keys that moved during the search are found at their present points,
    /// or not at all if they are gone or now lie beyond [`Found::end`].
    pub fn found(&self, search: Search<K>) -> Found<K> {
        search.found(|key| self.get(key))
    }

    /// Shows `visit` every key in an area with its point, in no order, until it breaks.
    ///
    /// What lies wholly within the area is shown without looking at its points.
    pub fn visit<B>(
        &self,
        area: &Area,
        visit: impl FnMut(K, Point) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        match area {
            Area::Circle(circle) => Walk::run(&self.tree, circle, visit),
            Area::Rect(rect) => Walk::run(&self.tree, rect, visit),
            Area::Polygon(polygon) => Walk::run(&self.tree, polygon, visit),
        }
    }

    /// Shows `visit` every key with its point, in no order, until it breaks.
    pub fn visit_all<B>(&self, visit: impl FnMut(K, Point) -> ControlFlow<B>) -> ControlFlow<B> {
        Walk::run(&self.tree, &Everywhere, visit)
    }

    /// Bytes taken, whether used or kept for later. What piles of equal points take is an estimate.
    pub fn bytes(&self) -> usize {
        let Tree { nodes, leaves, chunks, leaf_of, crowds, piles, places, .. } = &self.tree;
        nodes.bytes()
            + leaves.bytes()
            + chunks.bytes()
            + leaf_of.bytes()
            + crowds.bytes()
            + piles.bytes()
            + places.bytes()
            + self.tree.crowd_bytes()
    }
}
