//! Points on the earth: ISO 6709 text, range checks, great-circle distance.
//!
//! Useful with the rest of the project deleted: it knows neither clients nor servers. The earth is a
//! sphere here; an ellipsoid would move a distance by at most 0.56 %, which nobody asking "within
//! 10 km" can notice, and would make every comparison of two distances some fifty times dearer.

mod iso6709;
mod point;
mod sphere;

pub use iso6709::{ISO6709_BYTES_MAX, ParsePointError, parse_iso6709, write_iso6709};
pub use point::{OutOfRange, Point};
pub use sphere::{EARTH_RADIUS_M, UnitVector, chord_squared, distance_m};
