//! Great-circle geometry, without special cases for the poles or the date line.

use crate::point::Point;

/// Mean radius of the earth (IUGG, 2a+b over three), meters.
pub const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// Great-circle distance in meters, 0 to half the circumference; exact to about a nanometer when the
/// points are near (haversine formula).
pub fn distance_m(a: Point, b: Point) -> f64 {
    let (lat_a, lat_b) = (a.lat_deg().to_radians(), b.lat_deg().to_radians());
    let half_lat = (lat_b - lat_a) / 2.0;
    let half_lon = (b.lon_deg() - a.lon_deg()).to_radians() / 2.0;
    let h = half_lat.sin().powi(2) + lat_a.cos() * lat_b.cos() * half_lon.sin().powi(2);
    // Rounding may carry opposite points a hair past 1.
    2.0 * EARTH_RADIUS_M * h.min(1.0).sqrt().asin()
}

/// A point as a vector of length one: x toward 0°N 0°E, y toward 0°N 90°E, z toward the north
/// pole. The order of straight-line distances between such vectors is the order of great-circle
/// distances, so an index over them needs no care at the poles and the date line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnitVector(pub [f64; 3]);

impl From<Point> for UnitVector {
    fn from(point: Point) -> Self {
        let (sin_lat, cos_lat) = point.lat_deg().to_radians().sin_cos();
        let (sin_lon, cos_lon) = point.lon_deg().to_radians().sin_cos();
        Self([cos_lat * cos_lon, cos_lat * sin_lon, sin_lat])
    }
}

/// The squared straight-line distance of two unit vectors whose great-circle distance is
/// `distance_m` meters; 4 (opposite points) for anything farther than that.
pub fn chord_squared(distance_m: f64) -> f64 {
    let half_angle = (distance_m / EARTH_RADIUS_M / 2.0).clamp(0.0, std::f64::consts::FRAC_PI_2);
    (2.0 * half_angle.sin()).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_distances_across_the_date_line_and_at_the_poles() {
        let degree_m = EARTH_RADIUS_M.to_radians();
        check((0.0, 179.5), (0.0, -179.5), degree_m);
        check((90.0, 0.0), (90.0, 123.0), 0.0);
        check((89.5, 0.0), (89.5, 180.0), degree_m);
        check((0.0, 0.0), (0.0, 180.0), 180.0 * degree_m);
        check((0.0, 180.0), (0.0, -180.0), 0.0);
        // Paris to London, a published great-circle distance of 343.5 km.
        check((48.8566, 2.3522), (51.5074, -0.1278), 343_556.0);
    }

    #[test]
    fn chords_order_as_distances_do() {
        let center = Point::new(35.9, 14.5).unwrap();
        let mut last = (0.0, 0.0);
        for step in 1..=1000 {
            let other = Point::new(35.9 + f64::from(step) * 0.05, 14.5).unwrap();
            let (UnitVector(a), UnitVector(b)) = (center.into(), other.into());
            let chord: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
            let meters = distance_m(center, other);
            assert!(chord > last.0 && meters > last.1);
            assert!((chord_squared(meters) - chord).abs() < 1e-12);
            last = (chord, meters);
        }
    }

    #[track_caller]
    fn check(a: (f64, f64), b: (f64, f64), expected_m: f64) {
        let point = |(lat, lon)| Point::new(lat, lon).unwrap();
        let got = distance_m(point(a), point(b));
        assert!((got - expected_m).abs() < 5.0, "{a:?} {b:?}: {got} m, expected {expected_m}");
    }
}
