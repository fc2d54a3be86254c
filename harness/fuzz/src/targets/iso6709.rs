//! Locations as clients send them: [`herd_geo::parse_iso6709`].

use herd_geo::{distance_m, parse_iso6709, write_iso6709};

/// Half of the sixth decimal of a degree in both directions is less than this.
const ROUNDING_M: f64 = 0.1;

/// Pieces of the language.
pub const DICTIONARY: &[&str] = &[
    "+90",
    "-90",
    "+180",
    "-180",
    "+9000.0",
    "-18000.0",
    "+900000.0",
    "+18000000.0",
    ".",
    "60",
    "/",
];

/// What is read lies on the globe, and is the same place when it was written and read again.
///
/// # Panics
///
/// When that does not hold.
pub fn target(data: &[u8]) {
    let Ok(point) = parse_iso6709(data) else { return };
    assert!((-90.0..=90.0).contains(&point.lat_deg()), "{point:?}");
    assert!((-180.0..=180.0).contains(&point.lon_deg()), "{point:?}");
    let mut text = String::new();
    write_iso6709(point, 6, &mut text);
    let again = parse_iso6709(text.as_bytes()).expect("what we write we read");
    assert!(distance_m(point, again) < ROUNDING_M, "{text}: {point:?} became {again:?}");
    let mut text_again = String::new();
    write_iso6709(again, 6, &mut text_again);
    assert_eq!(text, text_again);
}
