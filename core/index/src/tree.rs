//! The tree of cells: how it grows, splits, merges and shrinks.
//!
//! A node halves its cell, the smallest around all that was below it when it was made. A leaf takes
//! whatever lies in its half of the node above it, so that a point that moves a little is only
//! overwritten. Entries of a leaf lie in chunks, in no order; a chunk knows its leaf, so nobody walks
//! down from the root to find where an entry is. What cannot be parted by halving, because too many
//! are within one quantum, is a [crowd](crate::crowd).
//!
//! Two leaves that are halves of one node hold more than [`MERGE_MAX`] together, so the room that is
//! taken follows how many there are, not how many there were.

use crate::crowd::{Crowd, Pile};
use crate::cube::{AXES, Cell, Spot};
use crate::index::Key;
use crate::parts::{
    Below, CHUNK, CHUNKS_LIMIT, Entry, LEAF_MAX, LIMIT, Leaf, Link, MERGE_MAX, Node,
};
use crate::slab::{NONE, Slab, Table};

#[derive(Clone, Debug)]
pub(crate) struct Tree<K> {
    pub(crate) root: Option<Link>,
    pub(crate) nodes: Slab<Node, 8>,
    pub(crate) leaves: Slab<Leaf, 8>,
    pub(crate) chunks: Slab<[Entry<K>; CHUNK as usize], 8>,
    /// The leaf of each chunk.
    pub(crate) leaf_of: Table,
    pub(crate) crowds: Slab<Crowd, 4>,
    pub(crate) piles: Slab<Pile<K>, 4>,
    /// Where the entry of each slot is: chunk and number in it, or
    /// [`PILE`](crate::parts::PILE) and pile.
    pub(crate) places: Table,
}

impl<K: Key> Tree<K> {
    pub(crate) fn new() -> Self {
        Self {
            root: None,
            nodes: Slab::new(),
            leaves: Slab::new(),
            chunks: Slab::new(),
            leaf_of: Table::default(),
            crowds: Slab::new(),
            piles: Slab::new(),
            places: Table::default(),
        }
    }

    pub(crate) fn entry(&self, place: u32) -> &Entry<K> {
        &self.chunks[place / CHUNK][(place % CHUNK) as usize]
    }

    pub(crate) fn entry_mut(&mut self, place: u32) -> &mut Entry<K> {
        &mut self.chunks[place / CHUNK][(place % CHUNK) as usize]
    }

    /// The entries of a leaf, a chunk at a time.
    pub(crate) fn entries<'a>(
        &'a self,
        leaf: &'a Leaf,
    ) -> impl Iterator<Item = &'a [Entry<K>]> + use<'a, K> {
        let mut left = leaf.len as usize;
        leaf.chunks().iter().map(move |&chunk| {
            let entries = &self.chunks[chunk];
            let entries = &entries[..left.min(entries.len())];
            left -= entries.len();
            entries
        })
    }

    /// Reads a bit of every line of memory of a leaf. None of these reads waits for another, so all
    /// together take as long as the first, and what reads the entries in turn then finds them near.
    pub(crate) fn touch(&self, leaf: &Leaf) {
        let mut all = 0;
        for &chunk in leaf.chunks() {
            // Two entries share a line.
            for entry in self.chunks[chunk].iter().step_by(2) {
                all ^= entry.spot.0[0];
            }
        }
        std::hint::black_box(all);
    }

    /// The lowest of a node and those above it whose cell has the spot, else the root: where to
    /// begin to insert what was below that node.
    pub(crate) fn climb(&self, mut above: u32, spot: Spot) -> Option<Link> {
        while above != NONE {
            let node = &self.nodes[above];
            if node.cell.contains(spot) {
                return Some(Below::Node(above).into());
            }
            above = node.above;
        }
        self.root
    }

    /// Puts an entry below `link`, or anywhere if that is none. Its key must have no place.
    pub(crate) fn insert(&mut self, link: Option<Link>, entry: Entry<K>) {
        let Some(mut link) = link else {
            let leaf = self.leaves.insert(Leaf::new(Cell::WHOLE, NONE), LIMIT);
            self.root = Some(Below::Leaf(leaf).into());
            return self.push(leaf, entry);
        };
        loop {
            link = match link.below() {
                Below::Node(at) => {
                    let node = &self.nodes[at];
                    if !node.cell.contains(entry.spot) {
                        return self.insert_beside(link, node.cell, node.above, entry);
                    }
                    node.halves[node.cell.side(node.axis(), entry.spot)]
                }
                Below::Leaf(at) if self.leaves[at].len < LEAF_MAX => return self.push(at, entry),
                Below::Leaf(at) => self.split(at),
                Below::Crowd(at) => {
                    let crowd = &self.crowds[at];
                    if crowd.spot != entry.spot {
                        let (cell, above) = (crowd.spot.into(), crowd.above);
                        return self.insert_beside(link, cell, above, entry);
                    }
                    return self.join(at, entry);
                }
            };
        }
    }

    /// Puts a node in the place of `link`, with that on one side and a leaf of one entry on the other.
    fn insert_beside(&mut self, link: Link, cell: Cell, above: u32, entry: Entry<K>) {
        let around = cell.around(entry.spot);
        let axis = around.parts(&cell, entry.spot).expect("the spot lies outside of the cell");
        let side = around.side(axis, entry.spot);
        let leaf = self.leaves.insert(Leaf::new(around.half(axis, side), NONE), LIMIT);
        let new = Below::Leaf(leaf).into();
        let halves = if side == 0 { [new, link] } else { [link, new] };
        let node = self.add_node(around, axis, halves, above);
        self.hang(Below::Node(node).into(), above, link);
        self.set_above(new, node);
        self.set_above(link, node);
        self.push(leaf, entry);
    }

    fn add_node(&mut self, cell: Cell, axis: usize, halves: [Link; 2], above: u32) -> u32 {
        // Axes are 0, 1 and 2.
        let axis = u8::try_from(axis).unwrap_or_default();
        self.nodes.insert(Node { cell, halves, above, axis }, LIMIT)
    }

    /// Lets what is above `old` lead to `new`.
    fn hang(&mut self, new: Link, above: u32, old: Link) {
        if above == NONE {
            self.root = Some(new);
            return;
        }
        let halves = &mut self.nodes[above].halves;
        halves[usize::from(halves[1] == old)] = new;
    }

    fn set_above(&mut self, link: Link, above: u32) {
        match link.below() {
            Below::Node(at) => self.nodes[at].above = above,
            Below::Leaf(at) => self.leaves[at].above = above,
            Below::Crowd(at) => self.crowds[at].above = above,
        }
    }

    /// The cell of whatever may come below a link.
    pub(crate) fn region(&self, above: u32, link: Link) -> Cell {
        if above == NONE {
            return Cell::WHOLE;
        }
        let node = &self.nodes[above];
        node.half(usize::from(node.halves[1] == link))
    }

    /// The cell of all that may be below a link, whatever it leads to.
    pub(crate) fn region_of(&self, link: Link) -> Cell {
        let above = match link.below() {
            Below::Node(at) => self.nodes[at].above,
            Below::Leaf(at) => self.leaves[at].above,
            Below::Crowd(at) => self.crowds[at].above,
        };
        self.region(above, link)
    }

    /// Adds an entry to a leaf that has room.
    fn push(&mut self, leaf_at: u32, entry: Entry<K>) {
        let leaf = &mut self.leaves[leaf_at];
        let (chunk, lane) = ((leaf.len / CHUNK) as usize, leaf.len % CHUNK);
        leaf.len += 1;
        if lane == 0 {
            let number = self.chunks.insert([entry; CHUNK as usize], CHUNKS_LIMIT);
            leaf.chunks[chunk] = number;
            self.leaf_of.set(number, leaf_at);
            self.places.set(entry.key.slot(), number * CHUNK);
        } else {
            let number = leaf.chunks[chunk];
            self.chunks[number][lane as usize] = entry;
            self.places.set(entry.key.slot(), number * CHUNK + lane);
        }
    }

    /// Takes an entry out of its leaf; the last one of the leaf takes its room.
    pub(crate) fn pull(&mut self, place: u32) {
        let leaf = &mut self.leaves[self.leaf_of.get(place / CHUNK)];
        leaf.len -= 1;
        let last_chunk = leaf.chunks[(leaf.len / CHUNK) as usize];
        let last = last_chunk * CHUNK + leaf.len % CHUNK;
        if last != place {
            let moved = *self.entry(last);
            *self.entry_mut(place) = moved;
            self.places.set(moved.key.slot(), place);
        }
        if last.is_multiple_of(CHUNK) {
            self.chunks.free(last_chunk);
        }
    }

    /// All entries of a leaf, whose chunks are free then.
    fn empty(&mut self, leaf: u32) -> Vec<Entry<K>> {
        let leaf = &self.leaves[leaf];
        let entries: Vec<_> = self.entries(leaf).flatten().copied().collect();
        for &chunk in leaf.chunks() {
            self.chunks.free(chunk);
        }
        entries
    }

    /// Makes a node with two leaves out of a full leaf, or a crowd; returns what stands in its place.
    fn split(&mut self, leaf_at: u32) -> Link {
        let old = Below::Leaf(leaf_at).into();
        let entries = self.empty(leaf_at);
        let above = self.leaves[leaf_at].above;
        let cell = Cell::around_all(entries.iter().map(|entry| entry.spot)).unwrap_or(Cell::WHOLE);
        if cell.is_quantum() {
            self.leaves.free(leaf_at);
            let crowd = self.crowds.insert(Crowd::new(cell.corner(), above), LIMIT);
            self.hang(Below::Crowd(crowd).into(), above, old);
            for entry in entries {
                self.join(crowd, entry);
            }
            return Below::Crowd(crowd).into();
        }
        let axis = best_axis(&cell, &entries);
        let other_at = self.leaves.insert(Leaf::new(cell.half(axis, 1), NONE), LIMIT);
        let node = self.add_node(cell, axis, [old, Below::Leaf(other_at).into()], above);
        self.hang(Below::Node(node).into(), above, old);
        self.leaves[leaf_at] = Leaf::new(cell.half(axis, 0), node);
        self.leaves[other_at].above = node;
        for entry in entries {
            self.push([leaf_at, other_at][cell.side(axis, entry.spot)], entry);
        }
        Below::Node(node).into()
    }

    /// Makes a leaf out of a crowd, which has few enough; returns the leaf.
    pub(crate) fn disperse(&mut self, crowd_at: u32) -> u32 {
        let old = Below::Crowd(crowd_at).into();
        let above = self.crowds[crowd_at].above;
        let region = self.region(above, old);
        let entries = self.break_up(crowd_at);
        let leaf = self.leaves.insert(Leaf::new(region, above), LIMIT);
        self.hang(Below::Leaf(leaf).into(), above, old);
        for entry in entries {
            self.push(leaf, entry);
        }
        leaf
    }

    /// Merges a leaf that lost an entry with the one beside it if both are small, and so on upwards.
    pub(crate) fn settle(&mut self, mut leaf: u32) {
        loop {
            let Leaf { above, len, .. } = self.leaves[leaf];
            if above == NONE {
                if len == 0 {
                    self.leaves.free(leaf);
                    self.root = None;
                }
                return;
            }
            let [a, b] = self.nodes[above].halves;
            let beside = if a == Below::Leaf(leaf).into() { b } else { a };
            if len == 0 {
                self.leaves.free(leaf);
                self.lift(above, beside);
                let Below::Leaf(at) = beside.below() else { return };
                leaf = at;
                continue;
            }
            let Below::Leaf(other) = beside.below() else { return };
            if len + self.leaves[other].len > MERGE_MAX {
                return;
            }
            for entry in self.empty(other) {
                self.push(leaf, entry);
            }
            self.leaves.free(other);
            self.lift(above, Below::Leaf(leaf).into());
        }
    }

    /// Lets `link` take the place of the node above it, which is freed.
    fn lift(&mut self, node: u32, link: Link) {
        let (above, old) = (self.nodes[node].above, Below::Node(node).into());
        let region = self.region(above, old);
        self.hang(link, above, old);
        self.set_above(link, above);
        if let Below::Leaf(at) = link.below() {
            self.leaves[at].cell = region;
        }
        self.nodes.free(node);
    }
}

/// Where to halve a cell: along its longest side, unless that would leave nearly all on one side.
/// Every side longer than a quantum parts the entries, since no smaller cell is around them.
fn best_axis<K>(cell: &Cell, entries: &[Entry<K>]) -> usize {
    let worth = |axis: usize| {
        let along = || entries.iter().map(|entry| entry.spot.0[axis]);
        let extent = along().max().unwrap_or(0) - along().min().unwrap_or(0);
        let above = entries.iter().filter(|entry| cell.side(axis, entry.spot) == 1).count();
        u64::from(extent) * above.min(entries.len() - above) as u64
    };
    AXES.into_iter().max_by_key(|&axis| worth(axis)).unwrap_or(0)
}
