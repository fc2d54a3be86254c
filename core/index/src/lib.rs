//! Where everyone is: points that move, found by nearness, circle, box and polygon.
//!
//! A point is kept as given and as a [spot](cube::Spot), its unit vector in whole quanta of 3 mm. A
//! [tree] halves the cube of all spots again and again, always in the middle of a cell, until a
//! leaf holds few enough. Spots only filter, with a margin; what is answered is decided by the points
//! as given. Distances through the earth order as those along its surface, so nothing here is special
//! at the poles or the date line.
//!
//! ```
//! use herd_index::{Circle, Index};
//! use std::ops::ControlFlow;
//!
//! let mut index = Index::new();
//! index.put(7_u32, "+34.0689-118.4451".parse()?);
//! index.put(8, "+34.0690-118.4452".parse()?);
//! let here = "+34.0689-118.4450".parse()?;
//!
//! let near = index.nearest(here, 100.0, 1);
//! assert_eq!(near[0].key, 7);
//!
//! // Whoever has enough breaks.
//! let first = index.visit(&Circle::new(here, 100.0).into(), |key, _| ControlFlow::Break(key));
//! assert!(first.is_break());
//! # Ok::<(), herd_geo::ParsePointError>(())
//! ```
//!
//! Absent on purpose: what a key means, threads, clocks, and any order of insertion that makes the
//! tree deep: it has at most 97 levels, whatever came when.

mod area;
mod circle;
mod crowd;
mod cube;
mod index;
mod nearest;
mod parts;
mod polygon;
mod rect;
mod slab;
#[cfg(test)]
mod tests;
mod tree;

pub use area::Area;
pub use circle::Circle;
pub use index::{Index, Key};
pub use nearest::{Everyone, Filter, Found, Near, Search};
pub use polygon::{Polygon, PolygonError, VERTICES_MAX};
pub use rect::{Rect, RectError};
