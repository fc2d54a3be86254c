//! All between two latitudes and two longitudes.

use crate::area::{Shape, Side};
use crate::cube::{Cell, MARGIN, RADIUS, Spot};
use herd_geo::{OutOfRange, Point};

/// All between two latitudes and two longitudes, edges included. It may cross the date line, go all
/// around, and reach a pole, which lies on every meridian.
#[derive(Clone, Copy, Debug)]
pub struct Rect {
    south_deg: f64,
    west_deg: f64,
    north_deg: f64,
    east_deg: f64,
    /// Heights above the equator's plane of both latitudes, in quanta.
    bottom: f64,
    top: f64,
    longitudes: Longitudes,
}

/// Two half-planes by their upright vectors: one east of `west`, one west of `east`.
#[derive(Clone, Copy, Debug)]
enum Longitudes {
    All,
    /// Half a turn or less: in both half-planes.
    Narrow([[f64; 3]; 2]),
    /// More: in either.
    Wide([[f64; 3]; 2]),
}

impl Rect {
    /// From the south-western corner to the north-eastern one. If the western longitude is the
    /// greater, the rectangle crosses the date line; from -180 to 180 it goes all around.
    ///
    /// # Errors
    ///
    /// [`Upside`](RectError::Upside) if the northern corner lies further south.
    pub fn new(south_west: Point, north_east: Point) -> Result<Self, RectError> {
        let (south_deg, west_deg) = (south_west.lat_deg(), south_west.lon_deg());
        let (north_deg, east_deg) = (north_east.lat_deg(), north_east.lon_deg());
        if south_deg > north_deg {
            return Err(RectError::Upside);
        }
        let (sin_west, cos_west) = west_deg.to_radians().sin_cos();
        let (sin_east, cos_east) = east_deg.to_radians().sin_cos();
        let planes = [[-sin_west, cos_west, 0.0], [sin_east, -cos_east, 0.0]];
        let turn_deg = if west_deg <= east_deg { 0.0 } else { 360.0 };
        let width_deg = east_deg - west_deg + turn_deg;
        let longitudes = if width_deg >= 360.0 {
            Longitudes::All
        } else if width_deg <= 180.0 {
            Longitudes::Narrow(planes)
        } else {
            Longitudes::Wide(planes)
        };
        let height = |lat_deg: f64| lat_deg.to_radians().sin() * RADIUS;
        let (bottom, top) = (height(south_deg), height(north_deg));
        Ok(Self { south_deg, west_deg, north_deg, east_deg, bottom, top, longitudes })
    }

    /// As [`Rect::new`], from degrees.
    ///
    /// # Errors
    ///
    /// As [`Rect::new`], and [`OutOfRange`](RectError::OutOfRange) if a corner is no point.
    pub fn from_degrees(south: f64, west: f64, north: f64, east: f64) -> Result<Self, RectError> {
        Self::new(Point::new(south, west)?, Point::new(north, east)?)
    }

    /// Whether a point lies in it.
    pub fn contains(&self, point: Point) -> bool {
        let (lat_deg, lon_deg) = (point.lat_deg(), point.lon_deg());
        if lat_deg < self.south_deg || lat_deg > self.north_deg {
            return false;
        }
        let between = |lon_deg: f64| {
            if self.west_deg <= self.east_deg {
                self.west_deg <= lon_deg && lon_deg <= self.east_deg
            } else {
                self.west_deg <= lon_deg || lon_deg <= self.east_deg
            }
        };
        between(lon_deg) || lat_deg.abs() >= 90.0 || lon_deg.abs() >= 180.0 && between(-lon_deg)
    }
}

impl Shape for Rect {
    fn side(&self, cell: &Cell) -> Side {
        let (low, high) = cell.products([0.0, 0.0, 1.0]);
        if high < self.bottom - MARGIN || low > self.top + MARGIN {
            return Side::Outside;
        }
        let (outside, inside) = match self.longitudes {
            Longitudes::All => (false, true),
            Longitudes::Narrow(planes) => {
                let [a, b] = planes.map(|plane| cell.products(plane));
                (a.1 < -MARGIN || b.1 < -MARGIN, a.0 > MARGIN && b.0 > MARGIN)
            }
            Longitudes::Wide(planes) => {
                let [a, b] = planes.map(|plane| cell.products(plane));
                (a.1 < -MARGIN && b.1 < -MARGIN, a.0 > MARGIN || b.0 > MARGIN)
            }
        };
        // Whatever is between the heights of the poles is between their latitudes.
        let above = self.south_deg <= -90.0 || low > self.bottom + MARGIN;
        let below = self.north_deg >= 90.0 || high < self.top - MARGIN;
        if outside {
            Side::Outside
        } else if inside && above && below {
            Side::Inside
        } else {
            Side::Either
        }
    }

    fn holds(&self, _: Spot, point: Point) -> bool {
        self.contains(point)
    }
}

/// Why four angles are no [`Rect`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RectError {
    /// The northern corner lies further south than the southern one.
    #[error("the northern corner lies south of the southern one")]
    Upside,
    /// A corner is no point.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_line_and_poles_are_nothing_special() {
        let crossing = Rect::from_degrees(-10.0, 170.0, 10.0, -170.0).unwrap();
        check(&crossing, [(0.0, 180.0), (0.0, -180.0), (10.0, 170.0), (-10.0, -170.0)], true);
        check(&crossing, [(0.0, 169.9), (0.0, 0.0), (10.1, 180.0), (0.0, -169.9)], false);
        let polar = Rect::from_degrees(80.0, 10.0, 90.0, 20.0).unwrap();
        check(&polar, [(90.0, 15.0), (90.0, -100.0), (80.0, 10.0), (89.0, 20.0)], true);
        check(&polar, [(89.999, 21.0), (79.9, 15.0), (-90.0, 15.0), (85.0, -15.0)], false);
        let line = Rect::from_degrees(-90.0, -180.0, 90.0, -180.0).unwrap();
        check(&line, [(0.0, 180.0), (0.0, -180.0), (-90.0, 0.0), (90.0, 90.0)], true);
        check(&line, [(0.0, 179.0), (0.0, 0.0), (1.0, -179.0), (-1.0, 90.0)], false);
    }

    #[test]
    fn corners_must_be_points_in_order() {
        assert_eq!(Rect::from_degrees(1.0, 0.0, 0.0, 1.0).unwrap_err(), RectError::Upside);
        let far = Rect::from_degrees(0.0, 0.0, 91.0, 1.0).unwrap_err();
        assert_eq!(far, RectError::OutOfRange(OutOfRange));
    }

    #[track_caller]
    fn check(rect: &Rect, points: [(f64, f64); 4], inside: bool) {
        for (lat, lon) in points {
            assert_eq!(rect.contains(Point::new(lat, lon).unwrap()), inside, "{lat} {lon}");
        }
    }
}
