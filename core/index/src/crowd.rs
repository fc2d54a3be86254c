//! A crowd: so many within one quantum that no halving of cells can part them.
//!
//! It is made of piles, one for each exact point, whose keys are in order: the nearest few of a
//! million at one point are the first few of one pile. Where many different points lie within one
//! quantum (less than the width of a finger, so nobody's receiver tells them apart) a search looks at
//! each of these points.

use crate::cube::Spot;
use crate::index::Key;
use crate::parts::{Entry, LIMIT, PILE};
use crate::tree::Tree;
use herd_geo::Point;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
pub(crate) struct Crowd {
    pub(crate) spot: Spot,
    pub(crate) above: u32,
    pub(crate) len: usize,
    /// The number of the pile of each point.
    pub(crate) piles: BTreeMap<[u64; 2], u32>,
}

impl Crowd {
    pub(crate) fn new(spot: Spot, above: u32) -> Self {
        Self { spot, above, len: 0, piles: BTreeMap::new() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Pile<K> {
    pub(crate) point: Point,
    pub(crate) crowd: u32,
    pub(crate) keys: BTreeSet<K>,
}

/// What tells two points apart: minus zero is another point than zero, as it is given back as given.
pub(crate) fn bits(point: Point) -> [u64; 2] {
    [point.lat_deg().to_bits(), point.lon_deg().to_bits()]
}

impl<K: Key> Tree<K> {
    /// Adds an entry to the crowd at its spot.
    pub(crate) fn join(&mut self, crowd_at: u32, entry: Entry<K>) {
        let Self { crowds, piles, places, .. } = self;
        let crowd = &mut crowds[crowd_at];
        crowd.len += 1;
        let pile = *crowd.piles.entry(bits(entry.point)).or_insert_with(|| {
            let keys = BTreeSet::new();
            piles.insert(Pile { point: entry.point, crowd: crowd_at, keys }, LIMIT)
        });
        piles[pile].keys.insert(entry.key);
        places.set(entry.key.slot(), PILE | pile);
    }

    /// Takes a key out of a pile; returns the crowd.
    pub(crate) fn leave(&mut self, pile_at: u32, key: K) -> u32 {
        let pile = &mut self.piles[pile_at];
        pile.keys.remove(&key);
        let crowd_at = pile.crowd;
        let crowd = &mut self.crowds[crowd_at];
        crowd.len -= 1;
        if pile.keys.is_empty() {
            crowd.piles.remove(&bits(pile.point));
            self.piles.free(pile_at);
        }
        crowd_at
    }

    /// All entries of a crowd, which is freed with its piles.
    pub(crate) fn break_up(&mut self, crowd_at: u32) -> Vec<Entry<K>> {
        let crowd = &mut self.crowds[crowd_at];
        let spot = crowd.spot;
        let mut entries = Vec::with_capacity(crowd.len);
        for (_, at) in std::mem::take(&mut crowd.piles) {
            let point = self.piles[at].point;
            let keys = std::mem::take(&mut self.piles[at].keys);
            entries.extend(keys.into_iter().map(|key| Entry { spot, key, point }));
            self.piles.free(at);
        }
        self.crowds.free(crowd_at);
        entries
    }

    /// Bytes that the trees of keys and piles take, as far as can be told from outside: a node of
    /// the standard library's has room for eleven, of which about seven are taken, and a head.
    pub(crate) fn crowd_bytes(&self) -> usize {
        const USED: usize = 7;
        const HEAD: usize = 16;
        let node = |entry: usize| 11 * entry + HEAD;
        let root = self.crowds.live() + self.piles.live();
        if root == 0 {
            return 0;
        }
        let (mut keys, mut piles) = (0, 0);
        for at in 0..self.piles.slots() {
            keys += self.piles[at].keys.len().div_ceil(USED);
        }
        for at in 0..self.crowds.slots() {
            piles += self.crowds[at].piles.len().div_ceil(USED);
        }
        keys * node(size_of::<K>()) + piles * node(size_of::<([u64; 2], u32)>())
    }
}
