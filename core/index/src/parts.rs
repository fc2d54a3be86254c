//! What the tree is made of: entries, chunks of them, leaves and nodes, and the numbers that lead
//! from one to another.

use crate::cube::{Cell, Spot};
use crate::slab::NONE;
use herd_geo::Point;

/// Entries in a chunk: 512 bytes, eight lines of the cache, which a processor fetches one after
/// another unasked. Half as many would waste less in small leaves, but cost a fifth more to search.
pub(crate) const CHUNK: u32 = 16;

/// Chunks of a leaf: so many that its head fills one line of the cache, and a move seldom leaves it.
pub(crate) const CHUNKS: u32 = 8;

/// A leaf with more entries is split.
pub(crate) const LEAF_MAX: u32 = CHUNK * CHUNKS;

/// Sibling leaves with no more entries together are merged. Half of a leaf, so that many must come
/// before the merged one is split again.
pub(crate) const MERGE_MAX: u32 = LEAF_MAX / 2;

/// A crowd with no more entries becomes a leaf.
pub(crate) const CROWD_MIN: usize = MERGE_MAX as usize;

/// Numbers of chunks leave four bits for the entry and one that says whether it is a chunk: 2^31
/// entries, 64 GB.
pub(crate) const CHUNKS_LIMIT: u32 = PILE / CHUNK;

/// Numbers of nodes, leaves, crowds and piles leave two bits for what they are a number of.
pub(crate) const LIMIT: u32 = 1 << 30;

/// In a place: the rest is the number of a pile, not of a chunk and an entry in it.
pub(crate) const PILE: u32 = 1 << 31;

/// One point. Half a line of the cache, never across two.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(crate) struct Entry<K> {
    pub(crate) spot: Spot,
    pub(crate) key: K,
    pub(crate) point: Point,
}

/// A number with what it is a number of, as a node keeps it of what is below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link(u32);

/// A [`Link`], taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Below {
    Node(u32),
    Leaf(u32),
    Crowd(u32),
}

impl From<Below> for Link {
    fn from(below: Below) -> Self {
        Self(match below {
            Below::Node(at) => at,
            Below::Leaf(at) => at | 1 << 30,
            Below::Crowd(at) => at | 2 << 30,
        })
    }
}

impl Link {
    #[inline]
    pub(crate) fn below(self) -> Below {
        let at = self.0 & (LIMIT - 1);
        match self.0 >> 30 {
            0 => Below::Node(at),
            1 => Below::Leaf(at),
            _ => Below::Crowd(at),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) cell: Cell,
    pub(crate) halves: [Link; 2],
    /// The node above, [`NONE`] at the root.
    pub(crate) above: u32,
    pub(crate) axis: u8,
}

impl Node {
    #[inline]
    pub(crate) fn axis(&self) -> usize {
        usize::from(self.axis)
    }

    /// The cell of everything on one side.
    #[inline]
    pub(crate) fn half(&self, side: usize) -> Cell {
        self.cell.half(self.axis(), side)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) cell: Cell,
    pub(crate) above: u32,
    pub(crate) len: u32,
    pub(crate) chunks: [u32; CHUNKS as usize],
}

impl Leaf {
    pub(crate) fn new(cell: Cell, above: u32) -> Self {
        Self { cell, above, len: 0, chunks: [NONE; CHUNKS as usize] }
    }

    /// The numbers of its chunks.
    #[inline]
    pub(crate) fn chunks(&self) -> &[u32] {
        &self.chunks[..self.len.div_ceil(CHUNK) as usize]
    }
}
