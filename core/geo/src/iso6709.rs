//! Points as ISO 6709 text, the form in which every report arrives.
//!
//! Read are decimal degrees, degrees and minutes, degrees, minutes and seconds; the number of digits
//! before the point tells which. Altitude and a reference system are refused: a report that carries
//! them means more than we would keep. Where the standard asks for exactly two and three digits of
//! degrees, fewer are read too, because phones send them.
//!
//! Source: ISO 6709:2008, annex H, and the project's line protocol.

use crate::point::Point;
use std::fmt::Write as _;

/// The longest text that is read. The standard's longest sensible form has about 30 bytes; twice that
/// leaves room for needless digits and keeps what one client can make us hold small.
pub const ISO6709_BYTES_MAX: usize = 64;

/// Parses `±DD[.D…]±DDD[.D…][/]`, `±DDMM[.M…]±DDDMM[.M…][/]` or `±DDMMSS[.S…]±DDDMMSS[.S…][/]`:
/// latitude, then longitude. Decimal degrees may have fewer digits (1–2 and 1–3); both angles must
/// have the same form. ASCII only; at most [`ISO6709_BYTES_MAX`] bytes.
///
/// # Errors
///
/// [`Shape`](ParsePointError::Shape) if the text has another form;
/// [`OutOfRange`](ParsePointError::OutOfRange) if it has this one but lies off the globe, or has
/// sixty or more minutes or seconds.
pub fn parse_iso6709(text: &[u8]) -> Result<Point, ParsePointError> {
    if text.len() > ISO6709_BYTES_MAX {
        return Err(ParsePointError::Shape);
    }
    let (lat_deg, lat_form, rest) = parse_angle(text, 2, 90)?;
    let (lon_deg, lon_form, rest) = parse_angle(rest, 3, 180)?;
    if lat_form != lon_form || !matches!(rest, b"" | b"/") {
        return Err(ParsePointError::Shape);
    }
    Point::new(lat_deg, lon_deg).map_err(|_| ParsePointError::OutOfRange)
}

/// Writes `point` as decimal degrees with `decimals` digits after the point (six: 0.1 m), in the
/// form that [`parse_iso6709`] reads: `+34.068930-118.445127`.
pub fn write_iso6709(point: Point, decimals: usize, out: &mut String) {
    let (lat, lon) = (point.lat_deg(), point.lon_deg());
    let point_width = usize::from(decimals > 0) + decimals;
    // Writing to a String cannot fail.
    let _infallible = write!(out, "{lat:+0w$.decimals$}", w = 3 + point_width);
    let _infallible = write!(out, "{lon:+0w$.decimals$}", w = 4 + point_width);
}

/// Why a text is not a [`Point`]. Safe to send back: it never quotes the text.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePointError {
    /// The text does not have one of the three forms.
    #[error("not an ISO 6709 point such as +34.068930-118.445127")]
    Shape,
    /// An angle is larger than its axis allows.
    #[error("latitude must be within ±90 and longitude within ±180 degrees")]
    OutOfRange,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Degrees,
    Minutes,
    Seconds,
}

/// The angle that a text begins with: sign, digits, optional fraction; and what follows it. `degree_digits` is 2
/// for latitude, 3 for longitude.
fn parse_angle(
    text: &[u8],
    degree_digits: usize,
    max_deg: u32,
) -> Result<(f64, Form, &[u8]), ParsePointError> {
    let (sign, digits) = match text.split_first() {
        Some((b'+', rest)) => (1.0, rest),
        Some((b'-', rest)) => (-1.0, rest),
        _ => return Err(ParsePointError::Shape),
    };
    // More digits than any form has are none of them, and need not be counted to the end.
    let (whole, whole_len) = number(digits, WHOLE_DIGITS_MAX);
    let rest = digits.get(whole_len..).unwrap_or_default();
    let (fraction, fraction_number, rest) = match rest.split_first() {
        Some((b'.', rest)) => {
            let (exact, mut len) = number(rest, EXACT_FRACTION_DIGITS);
            if len == EXACT_FRACTION_DIGITS {
                len = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
            }
            if len == 0 {
                return Err(ParsePointError::Shape);
            }
            let (fraction, rest) = rest.split_at(len);
            (fraction, exact, rest)
        }
        _ => (&[][..], 0, rest),
    };
    let form = match whole_len {
        n if (1..=degree_digits).contains(&n) => Form::Degrees,
        n if n == degree_digits + 2 => Form::Minutes,
        n if n == degree_digits + 4 => Form::Seconds,
        _ => return Err(ParsePointError::Shape),
    };
    let (degrees, minutes, last) = match form {
        Form::Degrees => (whole, 0, whole),
        Form::Minutes => (whole / 100, whole % 100, whole % 100),
        Form::Seconds => (whole / 10_000, whole / 100 % 100, whole % 100),
    };
    if minutes >= 60 || form != Form::Degrees && last >= 60 || degrees > max_deg {
        return Err(ParsePointError::OutOfRange);
    }
    // Exactly on the limit nothing may follow, not even what rounding would swallow.
    let something_follows = fraction_number != 0
        || fraction.iter().skip(EXACT_FRACTION_DIGITS).any(|&b| b != b'0')
        || form != Form::Degrees && (minutes > 0 || last > 0);
    if degrees == max_deg && something_follows {
        return Err(ParsePointError::OutOfRange);
    }
    let last = match POWERS.get(fraction.len()) {
        // Both are exact, so that one division rounds once, as a full parser would.
        Some(&power) => {
            (u64::from(last) * power + u64::from(fraction_number)) as f64 / power as f64
        }
        None => decimal(last, fraction),
    };
    let angle = match form {
        Form::Degrees => last,
        Form::Minutes => f64::from(degrees) + last / 60.0,
        Form::Seconds => f64::from(degrees) + f64::from(minutes) / 60.0 + last / 3600.0,
    };
    Ok((sign * angle, form, rest))
}

/// Digits before the point at most: of seconds of longitude.
const WHOLE_DIGITS_MAX: usize = 7;
/// With at most this many fraction digits and seven before the point both the digits and the power of ten are
/// exact doubles.
const EXACT_FRACTION_DIGITS: usize = 8;
const POWERS: [u64; EXACT_FRACTION_DIGITS + 1] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The number that `text` begins with, and how many digits it has; at most `digits_max` are read, nine or
/// fewer.
fn number(text: &[u8], digits_max: usize) -> (u32, usize) {
    let mut number = 0;
    let mut digits = 0;
    let text = text.get(..digits_max).unwrap_or(text);
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number * 10 + u32::from(digit);
        digits += 1;
    }
    (number, digits)
}

/// The number `whole.fraction`, correctly rounded; `fraction` is ASCII digits, any number of them.
fn decimal(whole: u32, fraction: &[u8]) -> f64 {
    let fraction = String::from_utf8_lossy(fraction);
    format!("{whole}.{fraction}").parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParsePointError::{OutOfRange, Shape};

    #[test]
    fn reads_decimal_degrees() {
        check("+34.068930-118.445127", Ok((34.068_930, -118.445_127)));
        check("-0.5+0.5/", Ok((-0.5, 0.5)));
        check("+1+2", Ok((1.0, 2.0)));
        check("+01-002", Ok((1.0, -2.0)));
        check("+90+180", Ok((90.0, 180.0)));
        check("-90.000-180.0", Ok((-90.0, -180.0)));
        check("+0.123456789012345678-0.1", Ok((0.123_456_789_012_345_68, -0.1)));
    }

    #[test]
    fn reads_degrees_with_minutes_and_seconds() {
        check("+3404.136-11826.708/", Ok((34.0 + 4.136 / 60.0, -(118.0 + 26.708 / 60.0))));
        check("+3404-11826", Ok((34.0 + 4.0 / 60.0, -(118.0 + 26.0 / 60.0))));
        check(
            "+340408.1-1182642.4",
            Ok((34.0 + 4.0 / 60.0 + 8.1 / 3600.0, -(118.0 + 26.0 / 60.0 + 42.4 / 3600.0))),
        );
        check("+9000+18000", Ok((90.0, 180.0)));
    }

    #[test]
    fn refuses_every_other_form() {
        for text in [
            "",
            "/",
            "+",
            "+-",
            "34.0-118.4",
            "+34.-118",
            "+.5-118",
            "+nan-inf",
            "+1e1-2",
            "+1,5-2",
            "+1_0-2",
            "+34.0",
            "+34-118//",
            "+34-118/x",
            "+123-118",
            "+34-1234",
            "+3404-118.5",
            "+34.0-11826",
            "+34-118+10/",
            "+34-118CRSWGS_84/",
            "+34 -118",
            "++34-118",
            "+٣٤-118",
        ] {
            check(text, Err(Shape));
        }
        check(&format!("+1.{}-2", "0".repeat(64)), Err(Shape));
    }

    #[test]
    fn refuses_what_lies_off_the_globe() {
        for text in [
            "+90.1+0",
            "+91+0",
            "+0+180.1",
            "+0-181",
            "+9000.1+00000",
            "+3460-11826",
            "+340460-1182642",
            "+340400-1186000",
            "+90.0000000000000000000000000001+0",
            "+0+180.00000000000000000000001",
        ] {
            check(text, Err(OutOfRange));
        }
    }

    #[test]
    fn written_text_is_read_back() {
        let mut text = String::new();
        write_iso6709(Point::new(34.068_93, -118.445_127).unwrap(), 6, &mut text);
        assert_eq!(text, "+34.068930-118.445127");
        text.clear();
        write_iso6709(Point::new(-0.5, 7.25).unwrap(), 6, &mut text);
        assert_eq!(text, "-00.500000+007.250000");
    }

    #[track_caller]
    fn check(text: &str, expected: Result<(f64, f64), ParsePointError>) {
        let got = parse_iso6709(text.as_bytes()).map(|p| (p.lat_deg(), p.lon_deg()));
        assert_eq!(got, expected, "{text:?}");
    }
}
