//! A circle on the globe, up to all of it.

use crate::area::{Shape, Side};
use crate::cube::{Cell, Center, MARGIN, Spot, chord};
use herd_geo::{Point, distance_m};

/// All within some meters of a point, along the earth's surface.
#[derive(Clone, Copy, Debug)]
pub struct Circle {
    point: Point,
    radius_m: f64,
    center: Center,
    /// Squared distances: a spot no farther than the first is surely inside, one farther than the
    /// second is surely not. The first is negative where nothing is sure.
    surely: f64,
    perhaps: f64,
}

impl Circle {
    /// All whose [`distance_m`] to `center` is at most `radius_m`: nobody if that is negative or not
    /// a number, everybody if it is half the circumference.
    pub fn new(center: Point, radius_m: f64) -> Self {
        let (surely, perhaps) = if radius_m >= 0.0 {
            let chord = chord(radius_m);
            let inner = chord - MARGIN;
            (if inner < 0.0 { -1.0 } else { inner * inner }, (chord + MARGIN).powi(2))
        } else {
            (-1.0, -1.0)
        };
        Self { point: center, radius_m, center: center.into(), surely, perhaps }
    }

    /// Whether a point lies in it.
    pub fn contains(&self, point: Point) -> bool {
        distance_m(self.point, point) <= self.radius_m
    }
}

impl Shape for Circle {
    #[inline]
    fn side(&self, cell: &Cell) -> Side {
        if cell.nearest_squared(self.center) > self.perhaps {
            Side::Outside
        } else if cell.farthest_squared(self.center) <= self.surely {
            Side::Inside
        } else {
            Side::Either
        }
    }

    #[inline]
    fn may_hold(&self, spot: Spot) -> bool {
        self.center.squared(spot) <= self.perhaps
    }

    #[inline]
    fn holds(&self, spot: Spot, point: Point) -> bool {
        let squared = self.center.squared(spot);
        squared <= self.surely || squared <= self.perhaps && self.contains(point)
    }
}
