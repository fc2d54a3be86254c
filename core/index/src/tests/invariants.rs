//! What must hold of the tree after every step.

use crate::crowd::bits;
use crate::cube::{Cell, Spot};
use crate::parts::{Below, CHUNK, CROWD_MIN, LEAF_MAX, Link, MERGE_MAX, PILE};
use crate::slab::NONE;
use crate::tree::Tree;
use crate::{Index, Key};

#[derive(Default)]
struct Seen {
    nodes: usize,
    leaves: usize,
    chunks: usize,
    crowds: usize,
    piles: usize,
    entries: usize,
    depth: usize,
}

/// Panics unless the index is whole.
pub(super) fn check<K: Key>(index: &Index<K>) {
    let tree = &index.tree;
    let mut seen = Seen::default();
    if let Some(root) = tree.root {
        below(tree, root, Cell::WHOLE, NONE, 0, &mut seen);
    }
    assert_eq!(seen.entries, index.len());
    assert_eq!(seen.nodes, tree.nodes.live(), "nodes are lost");
    assert_eq!(seen.leaves, tree.leaves.live(), "leaves are lost");
    assert_eq!(seen.chunks, tree.chunks.live(), "chunks are lost");
    assert_eq!(seen.crowds, tree.crowds.live(), "crowds are lost");
    assert_eq!(seen.piles, tree.piles.live(), "piles are lost");
    assert!(seen.depth <= 96, "{} deep", seen.depth);
}

fn below<K: Key>(
    tree: &Tree<K>,
    link: Link,
    region: Cell,
    above: u32,
    depth: usize,
    seen: &mut Seen,
) {
    seen.depth = seen.depth.max(depth);
    match link.below() {
        Below::Node(at) => {
            seen.nodes += 1;
            let node = &tree.nodes[at];
            assert_eq!(node.above, above);
            assert_eq!(region.around(node.cell.corner()), region, "a cell leaves its region");
            let parts = node.halves.map(|half| count(tree, half));
            assert!(parts[0] > 0 && parts[1] > 0, "an empty half");
            if let [Below::Leaf(a), Below::Leaf(b)] = node.halves.map(Link::below) {
                let both = tree.leaves[a].len + tree.leaves[b].len;
                assert!(both > MERGE_MAX, "two leaves of {both} are not merged");
            }
            for side in [0, 1] {
                assert_eq!(tree.region(at, node.halves[side]), node.half(side));
                below(tree, node.halves[side], node.half(side), at, depth + 1, seen);
            }
        }
        Below::Leaf(at) => {
            seen.leaves += 1;
            let leaf = &tree.leaves[at];
            assert_eq!((leaf.cell, leaf.above), (region, above));
            assert!((1..=LEAF_MAX).contains(&leaf.len));
            seen.chunks += leaf.chunks().len();
            let entries = tree.entries(leaf);
            for (&chunk, entries) in leaf.chunks().iter().zip(entries) {
                assert_eq!(tree.leaf_of.get(chunk), at);
                for (lane, entry) in (0..).zip(entries) {
                    seen.entries += 1;
                    assert!(region.contains(entry.spot));
                    assert_eq!(entry.spot, Spot::from(entry.point));
                    assert_eq!(tree.places.get(entry.key.slot()), chunk * CHUNK + lane);
                }
            }
        }
        Below::Crowd(at) => {
            seen.crowds += 1;
            let crowd = &tree.crowds[at];
            assert_eq!(crowd.above, above);
            assert!(region.contains(crowd.spot));
            assert!(crowd.len > CROWD_MIN, "a crowd of {}", crowd.len);
            let mut len = 0;
            for (&point, &pile_at) in &crowd.piles {
                seen.piles += 1;
                let pile = &tree.piles[pile_at];
                assert_eq!((bits(pile.point), pile.crowd), (point, at));
                assert_eq!(Spot::from(pile.point), crowd.spot);
                assert!(!pile.keys.is_empty());
                len += pile.keys.len();
                for key in &pile.keys {
                    assert_eq!(tree.places.get(key.slot()), PILE | pile_at);
                }
            }
            assert_eq!(len, crowd.len);
            seen.entries += len;
        }
    }
}

fn count<K: Key>(tree: &Tree<K>, link: Link) -> usize {
    match link.below() {
        // At least one on either side, as is checked there.
        Below::Node(_) => 2,
        Below::Leaf(at) => tree.leaves[at].len as usize,
        Below::Crowd(at) => tree.crowds[at].len,
    }
}
