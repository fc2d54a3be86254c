//! Areas, and the walk over all that lies in one.

use crate::circle::Circle;
use crate::cube::{Cell, Spot};
use crate::index::Key;
use crate::polygon::Polygon;
use crate::rect::Rect;
use crate::tree::{Below, Link, Tree};
use herd_geo::Point;
use std::ops::ControlFlow;

/// A part of the earth's surface, its edge included.
#[derive(Clone, Debug)]
pub enum Area {
    /// All within some metres of a point.
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

    /// Whether a point lies inside, given its spot too: that decides most for less.
    fn holds(&self, spot: Spot, point: Point) -> bool;
}

impl<K: Key> Tree<K> {
    /// Shows all below `link` that lies in a shape. At most as deep as the tree.
    pub(crate) fn walk<B>(
        &self,
        link: Link,
        region: Cell,
        shape: &impl Shape,
        visit: &mut impl FnMut(K, Point) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        // Looks at what is above first, so that what is outside is never fetched.
        match shape.side(&region) {
            Side::Outside => return ControlFlow::Continue(()),
            Side::Inside => return self.show_all(link, visit),
            Side::Either => {}
        }
        match link.below() {
            Below::Node(at) => {
                let node = &self.nodes[at];
                if node.cell != region {
                    match shape.side(&node.cell) {
                        Side::Outside => return ControlFlow::Continue(()),
                        Side::Inside => return self.show_all(link, visit),
                        Side::Either => {}
                    }
                }
                for side in [0, 1] {
                    self.walk(node.halves[side], node.half(side), shape, visit)?;
                }
            }
            Below::Leaf(at) => {
                for entries in self.entries(&self.leaves[at]) {
                    for entry in entries.iter().filter(|e| shape.holds(e.spot, e.point)) {
                        visit(entry.key, entry.point)?;
                    }
                }
            }
            Below::Crowd(at) => {
                let crowd = &self.crowds[at];
                for pile in crowd.piles.values().map(|&pile| &self.piles[pile]) {
                    if shape.holds(crowd.spot, pile.point) {
                        pile.keys.iter().try_for_each(|&key| visit(key, pile.point))?;
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Shows all below `link`.
    pub(crate) fn show_all<B>(
        &self,
        link: Link,
        visit: &mut impl FnMut(K, Point) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        match link.below() {
            Below::Node(at) => {
                let [low, high] = self.nodes[at].halves;
                self.show_all(low, visit)?;
                self.show_all(high, visit)
            }
            Below::Leaf(at) => self
                .entries(&self.leaves[at])
                .flatten()
                .try_for_each(|entry| visit(entry.key, entry.point)),
            Below::Crowd(at) => {
                let mut piles = self.crowds[at].piles.values().map(|&pile| &self.piles[pile]);
                piles.try_for_each(|pile| {
                    pile.keys.iter().try_for_each(|&key| visit(key, pile.point))
                })
            }
        }
    }
}
