//! A place on the globe, in range by construction. Altitude is left out: no client of ours sends it.

use crate::iso6709::{ParsePointError, parse_iso6709};

/// A point on the globe (WGS 84 degrees).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    lat_deg: f64,
    lon_deg: f64,
}

impl Point {
    /// A point from degrees north (-90 to 90) and degrees east (-180 to 180), both inclusive.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if an angle lies beyond its limits or is not a number.
    pub fn new(lat_deg: f64, lon_deg: f64) -> Result<Self, OutOfRange> {
        // Written so that NaN fails: it compares false with everything.
        if lat_deg.abs() <= 90.0 && lon_deg.abs() <= 180.0 {
            Ok(Self { lat_deg, lon_deg })
        } else {
            Err(OutOfRange)
        }
    }

    /// Degrees north of the equator, -90 to 90.
    pub fn lat_deg(self) -> f64 {
        self.lat_deg
    }

    /// Degrees east of Greenwich, -180 to 180. Both -180 and 180 occur; they are the same meridian.
    pub fn lon_deg(self) -> f64 {
        self.lon_deg
    }
}

impl std::str::FromStr for Point {
    type Err = ParsePointError;

    /// As [`parse_iso6709`].
    fn from_str(text: &str) -> Result<Self, ParsePointError> {
        parse_iso6709(text.as_bytes())
    }
}

/// An angle is beyond its axis: latitude ±90, longitude ±180 degrees; or it is not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("latitude must be within ±90 and longitude within ±180 degrees")]
pub struct OutOfRange;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_inclusive_and_nothing_beyond_them_is_a_point() {
        for (lat, lon) in [(90.0, 180.0), (-90.0, -180.0), (0.0, 0.0), (-0.0, 0.0)] {
            assert!(Point::new(lat, lon).is_ok(), "{lat} {lon}");
        }
        for (lat, lon) in
            [(90.000_001, 0.0), (0.0, -180.000_001), (f64::NAN, 0.0), (0.0, f64::INFINITY)]
        {
            assert_eq!(Point::new(lat, lon), Err(OutOfRange), "{lat} {lon}");
        }
    }
}
