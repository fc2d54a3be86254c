//! An area within edges that are parts of great circles.
//!
//! Great circles, not straight lines of latitude and longitude: the shortest way between two corners
//! is the same wherever they are, also over a pole or the date line, and is what distances mean here.
//! Between corners 10 km apart the two differ by a few meters in the middle latitudes.
//!
//! Seen from the earth's center, great circles are straight on a plane that touches the globe amid
//! the corners (the gnomonic projection), so what is inside is a question of plane geometry.

use crate::area::{Shape, Side};
use crate::cube::{AXES, Cell, MARGIN, Spot};
use herd_geo::{Point, UnitVector};

/// Corners of a polygon. So many take a hundred kilobytes at most, in the bands that edges lie in.
pub const VERTICES_MAX: usize = 1000;

/// Bands that the plane is cut into, from below upwards. Only edges in a point's band are tried for it.
const BANDS_MAX: usize = 64;

/// All within edges that are parts of great circles; where they cross one another, all that is
/// within an odd number of rounds. It may hold a pole and cross the date line. Points on an edge are
/// in or out as rounding has it.
#[derive(Clone, Debug)]
pub struct Polygon {
    /// The vector amid the corners, and two that are upright to it and to each other.
    basis: [[f64; 3]; 3],
    /// The edges of each band, in all of which a long one lies.
    bands: Vec<Vec<Edge>>,
    /// Where the lowest band begins on the plane, and how many there are in a unit of it.
    bottom: f64,
    density: f64,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    /// Both ends on the plane.
    ends: [[f64; 2]; 2],
    /// Upright to the edge's plane.
    upright: [f64; 3],
    /// From the first end along the edge, and from the second end back.
    along: [[f64; 3]; 2],
}

impl Polygon {
    /// The cosine of how far corners may lie from their middle, 84 degrees: beyond 90 they would have
    /// no place on the plane, and close to it rounding grows without bound.
    const COS_REACH: f64 = 0.1;

    /// From its corners in order, either way around; the last is joined to the first. Equal
    /// neighbors count once.
    ///
    /// # Errors
    ///
    /// [`TooFew`](PolygonError::TooFew) for less than three corners, [`TooMany`](PolygonError::TooMany)
    /// for more than [`VERTICES_MAX`], [`TooWide`](PolygonError::TooWide) if one of them is more than
    /// 84 degrees away from their mean.
    pub fn new(corners: &[Point]) -> Result<Self, PolygonError> {
        if corners.len() > VERTICES_MAX {
            return Err(PolygonError::TooMany);
        }
        let mut corners: Vec<[f64; 3]> =
            corners.iter().map(|&corner| UnitVector::from(corner).0).collect();
        corners.dedup();
        while corners.len() > 1 && corners.first() == corners.last() {
            corners.pop();
        }
        if corners.len() < 3 {
            return Err(PolygonError::TooFew);
        }
        let sum = corners.iter().fold([0.0; 3], |sum, corner| AXES.map(|i| sum[i] + corner[i]));
        let middle = unit(sum).ok_or(PolygonError::TooWide)?;
        if corners.iter().any(|&corner| dot(corner, middle) < Self::COS_REACH) {
            return Err(PolygonError::TooWide);
        }
        // Any direction but the middle's own will do; the axis farthest from it is best.
        let axis = AXES.into_iter().min_by(|&a, &b| middle[a].abs().total_cmp(&middle[b].abs()));
        let right = AXES.map(|i| if Some(i) == axis { 1.0 } else { 0.0 });
        let right = unit(cross(right, middle)).ok_or(PolygonError::TooWide)?;
        let basis = [middle, right, cross(middle, right)];
        let next = corners.iter().cycle().skip(1);
        let edges = corners.iter().zip(next).filter_map(|(&from, &to)| Edge::new(basis, from, to));
        let edges: Vec<Edge> = edges.collect();
        let ups = || edges.iter().map(|edge| edge.ends[0][1]);
        let bottom = ups().fold(f64::INFINITY, f64::min);
        let height = ups().fold(f64::NEG_INFINITY, f64::max) - bottom;
        let count = edges.len().clamp(1, BANDS_MAX);
        // All in one band where they have no height.
        let density = if height > 0.0 { count as f64 / height } else { 0.0 };
        let mut polygon = Self { basis, bands: vec![Vec::new(); count], bottom, density };
        for edge in edges {
            let [low, high] = edge.span(1).map(|up| polygon.band(up));
            polygon.bands[low..=high].iter_mut().for_each(|band| band.push(edge));
        }
        Ok(polygon)
    }

    /// The band of a height, the nearest one beyond all edges. It never falls as the height grows,
    /// so an edge is in the bands of all heights between those of its ends.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "cuts off the fraction on purpose; what is beyond all bands saturates"
    )]
    fn band(&self, up: f64) -> usize {
        (((up - self.bottom) * self.density) as usize).min(self.bands.len() - 1)
    }

    /// Whether a point lies in it.
    pub fn contains(&self, point: Point) -> bool {
        self.contains_direction(UnitVector::from(point).0)
    }

    fn contains_direction(&self, vector: [f64; 3]) -> bool {
        let Some([x, y]) = project(self.basis, vector) else { return false };
        // A ray to the right crosses an odd number of edges.
        let crossed = self.bands[self.band(y)].iter().filter(|edge| {
            let [[x1, y1], [x2, y2]] = edge.ends;
            (y1 > y) != (y2 > y) && x < (x2 - x1) * (y - y1) / (y2 - y1) + x1
        });
        !crossed.count().is_multiple_of(2)
    }

    /// What a cell covers on the plane, and a bit more: lowest and highest of both coordinates. None
    /// for one that is partly beyond the plane's horizon.
    fn covers(&self, cell: &Cell) -> Option<[[f64; 2]; 2]> {
        let [depths, rights, ups] = self.basis.map(|vector| cell.products(vector));
        let (near, far) = (depths.0 - MARGIN, depths.1 + MARGIN);
        let quotient = |(low, high): (f64, f64)| {
            let (low, high) = (low - MARGIN, high + MARGIN);
            [low / if low < 0.0 { near } else { far }, high / if high < 0.0 { far } else { near }]
        };
        (near > 0.0).then(|| [quotient(rights), quotient(ups)])
    }

    /// Whether a cell may touch an edge.
    fn touches(&self, cell: &Cell) -> bool {
        let Some([x, y]) = self.covers(cell) else {
            return self.bands.iter().flatten().any(|edge| !edge.misses(cell));
        };
        let apart = |a: [f64; 2], b: [f64; 2]| a[1] < b[0] || b[1] < a[0];
        self.bands[self.band(y[0])..=self.band(y[1])]
            .iter()
            .flatten()
            .any(|edge| !apart(edge.span(0), x) && !apart(edge.span(1), y) && !edge.misses(cell))
    }
}

impl Edge {
    /// None for one so short that it has no direction.
    fn new(basis: [[f64; 3]; 3], from: [f64; 3], to: [f64; 3]) -> Option<Self> {
        // From the difference, which is exact where both ends are near: their product is not.
        let upright = unit(cross(from, AXES.map(|i| to[i] - from[i])))?;
        let along = [unit(cross(upright, from))?, unit(cross(to, upright))?];
        Some(Self { ends: [project(basis, from)?, project(basis, to)?], upright, along })
    }

    /// Its lower and its higher end along an axis of the plane.
    fn span(&self, axis: usize) -> [f64; 2] {
        let [from, to] = self.ends.map(|end| end[axis]);
        [from.min(to), from.max(to)]
    }

    /// Whether the earth's center and this edge span a sector that a cell, and all that its spots
    /// stand for, surely does not touch.
    fn misses(&self, cell: &Cell) -> bool {
        let (least, greatest) = cell.products(self.upright);
        least > MARGIN
            || greatest < -MARGIN
            || self.along.iter().any(|&along| cell.products(along).1 < -MARGIN)
    }
}

impl Shape for Polygon {
    fn side(&self, cell: &Cell) -> Side {
        // On the far side of the globe from all corners.
        if cell.products(self.basis[0]).1 < -MARGIN {
            return Side::Outside;
        }
        // A box that no sector touches is all on one side of them, and so is its middle.
        if self.touches(cell) {
            Side::Either
        } else if self.contains_direction(cell.middle()) {
            Side::Inside
        } else {
            Side::Outside
        }
    }

    fn holds(&self, _: Spot, point: Point) -> bool {
        self.contains(point)
    }
}

/// Where a vector's line through the earth's center meets the plane; nowhere on its far side.
fn project([middle, right, up]: [[f64; 3]; 3], vector: [f64; 3]) -> Option<[f64; 2]> {
    let depth = dot(vector, middle);
    (depth > 0.0).then(|| [dot(vector, right) / depth, dot(vector, up) / depth])
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// The vector of length one in a direction; none for one without length.
fn unit(vector: [f64; 3]) -> Option<[f64; 3]> {
    let length = dot(vector, vector).sqrt();
    (length > 0.0).then(|| vector.map(|component| component / length))
}

/// Why some corners are no [`Polygon`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolygonError {
    /// Less than three different ones.
    #[error("a polygon has three corners or more")]
    TooFew,
    /// More than [`VERTICES_MAX`].
    #[error("more than {VERTICES_MAX} corners")]
    TooMany,
    /// They do not lie within one hemisphere, so nobody can tell inside from outside.
    #[error("a corner is more than 84 degrees away from the middle of all")]
    TooWide,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_around_a_pole_holds_it() {
        let polygon = polygon(&[(80.0, 0.0), (80.0, 90.0), (80.0, 180.0), (80.0, -90.0)]).unwrap();
        check(&polygon, &[(90.0, 0.0), (90.0, 77.0), (85.0, 45.0), (81.0, 180.0)], true);
        // Between two corners the great circle passes nearer to the pole than 80 degrees.
        check(&polygon, &[(81.0, 45.0), (79.9, 0.0), (-90.0, 0.0), (-85.0, 10.0)], false);
    }

    #[test]
    fn a_horseshoe_over_the_date_line_is_hollow() {
        let polygon = polygon(&[
            (-10.0, 170.0),
            (-10.0, -170.0),
            (10.0, -170.0),
            (10.0, -175.0),
            (-5.0, -175.0),
            (-5.0, 175.0),
            (10.0, 175.0),
            (10.0, 170.0),
        ])
        .unwrap();
        check(&polygon, &[(0.0, 172.0), (0.0, -172.0), (-8.0, 180.0), (-8.0, -180.0)], true);
        check(&polygon, &[(0.0, 180.0), (0.0, -180.0), (0.0, 165.0), (0.0, 0.0)], false);
    }

    #[test]
    fn what_is_no_polygon_is_refused() {
        let one = (1.0, 2.0);
        assert_eq!(polygon(&[one, one, (3.0, 4.0), one]).unwrap_err(), PolygonError::TooFew);
        let around = [(0.0, 0.0), (0.0, 120.0), (0.0, -120.0)];
        assert_eq!(polygon(&around).unwrap_err(), PolygonError::TooWide);
        assert_eq!(polygon(&vec![one; 1001]).unwrap_err(), PolygonError::TooMany);
    }

    fn polygon(corners: &[(f64, f64)]) -> Result<Polygon, PolygonError> {
        let corners: Vec<_> =
            corners.iter().map(|&(lat, lon)| Point::new(lat, lon).unwrap()).collect();
        Polygon::new(&corners)
    }

    #[track_caller]
    fn check(polygon: &Polygon, points: &[(f64, f64)], inside: bool) {
        for &(lat, lon) in points {
            assert_eq!(polygon.contains(Point::new(lat, lon).unwrap()), inside, "{lat} {lon}");
        }
    }
}
