//! Areas, and the walk over all that lies in one.

use crate::circle::Circle;
use crate::cube::{Cell, Spot};
use crate::index::Key;
use crate::parts::{Below, Entry, Link};
use crate::polygon::Polygon;
use crate::rect::Rect;
use crate::tree::Tree;
use herd_geo::Point;
use std::ops::ControlFlow;

/// A part of the earth's surface, its edge included.
#[derive(Clone, Debug)]
pub enum Area {
    /// All within some meters of a point.
    Circle(Circle),
    /// All between two latitudes and two longitudes.
    Rect(Rect),
    /// All within edges that are parts of great circles.
    Polygon(Polygon),
}

impl Area {
    /// Whether a point lies in it: exactly what [`Index::visit`](crate::Index::visit) shows.
    pub fn contains(&self, point: Point) -> bool {
        match self {
            Self::Circle(circle) => circle.contains(point),
            Self::Rect(rect) => rect.contains(point),
            Self::Polygon(polygon) => polygon.contains(point),
        }
    }
}

impl From<Circle> for Area {
    fn from(circle: Circle) -> Self {
        Self::Circle(circle)
    }
}

impl From<Rect> for Area {
    fn from(rect: Rect) -> Self {
        Self::Rect(rect)
    }
}

impl From<Polygon> for Area {
    fn from(polygon: Polygon) -> Self {
        Self::Polygon(polygon)
    }
}

/// Where the points of a cell may lie, seen from an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// All outside.
    Outside,
    /// All inside.
    Inside,
    /// Nobody knows without looking.
    Either,
}

/// What the walk asks of an area.
pub(crate) trait Shape {
    /// On which side lie all points whose spots are in a cell.
    fn side(&self, cell: &Cell) -> Side;

    /// Whether a point with that spot may lie inside, as far as can be told quickly.
    fn may_hold(&self, _: Spot) -> bool {
        true
    }

    /// Whether a point lies inside, given its spot too: that decides most for less.
    fn holds(&self, spot: Spot, point: Point) -> bool;
}

/// The whole surface.
pub(crate) struct Everywhere;

impl Shape for Everywhere {
    fn side(&self, _: &Cell) -> Side {
        Side::Inside
    }

    fn holds(&self, _: Spot, _: Point) -> bool {
        true
    }
}

/// Leaves that are fetched together: a processor waits for many lines of memory as long as for one.
const BATCH: usize = 16;

/// One walk over all that lies in a shape.
pub(crate) struct Walk<'a, K, S, V> {
    pub(crate) tree: &'a Tree<K>,
    pub(crate) shape: &'a S,
    pub(crate) visit: V,
    /// Leaves to be shown, and whether they lie wholly in the shape.
    batch: Vec<(u32, Side)>,
}

impl<'a, K: Key, S: Shape, B, V: FnMut(K, Point) -> ControlFlow<B>> Walk<'a, K, S, V> {
    /// Shows all that lies in the shape.
    pub(crate) fn run(tree: &'a Tree<K>, shape: &'a S, visit: V) -> ControlFlow<B> {
        let Some(root) = tree.root else { return ControlFlow::Continue(()) };
        let mut walk = Self { tree, shape, visit, batch: Vec::with_capacity(BATCH) };
        walk.go(root, &Cell::WHOLE, Side::Either)?;
        walk.show()
    }

    /// Goes through all below `link`. At most as deep as the tree.
    fn go(&mut self, link: Link, region: &Cell, above: Side) -> ControlFlow<B> {
        // By the region, which is known, so that what is outside is never fetched.
        let side = if above == Side::Either { self.shape.side(region) } else { above };
        if side == Side::Outside {
            return ControlFlow::Continue(());
        }
        match link.below() {
            Below::Node(at) => {
                let node = &self.tree.nodes[at];
                let known = side == Side::Inside || node.cell == *region;
                let side = if known { side } else { self.shape.side(&node.cell) };
                if side == Side::Outside {
                    return ControlFlow::Continue(());
                }
                let [low, high] = node.halves;
                self.go(low, &node.half(0), side)?;
                self.go(high, &node.half(1), side)
            }
            Below::Leaf(at) => {
                self.batch.push((at, side));
                if self.batch.len() == BATCH { self.show() } else { ControlFlow::Continue(()) }
            }
            Below::Crowd(at) => {
                let crowd = &self.tree.crowds[at];
                for pile in crowd.piles.values().map(|&pile| &self.tree.piles[pile]) {
                    if side == Side::Inside || self.shape.holds(crowd.spot, pile.point) {
                        pile.keys.iter().try_for_each(|&key| (self.visit)(key, pile.point))?;
                    }
                }
                ControlFlow::Continue(())
            }
        }
    }

    /// Shows what lies in the leaves of the batch.
    fn show(&mut self) -> ControlFlow<B> {
        let Self { tree, shape, visit, batch } = self;
        for &(leaf, _) in batch.iter() {
            tree.touch(&tree.leaves[leaf]);
        }
        for (leaf, side) in batch.drain(..) {
            for entries in tree.entries(&tree.leaves[leaf]) {
                if side == Side::Inside {
                    entries.iter().try_for_each(|entry| visit(entry.key, entry.point))?;
                    continue;
                }
                // First a bit for each, since a processor guesses badly who is inside.
                let bit =
                    |(lane, entry): (u32, &Entry<K>)| u32::from(shape.may_hold(entry.spot)) << lane;
                let mut bits = (0..).zip(entries).map(bit).fold(0, |all, bit| all | bit);
                while bits != 0 {
                    let entry = &entries[bits.trailing_zeros() as usize];
                    bits &= bits - 1;
                    if shape.holds(entry.spot, entry.point) {
                        visit(entry.key, entry.point)?;
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }
}
