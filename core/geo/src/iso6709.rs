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
    let body = text.strip_suffix(b"/").unwrap_or(text);
    let lon_at =
        body.iter().rposition(|b| matches!(b, b'+' | b'-')).ok_or(ParsePointError::Shape)?;
    let (lat, lon) = body.split_at(lon_at);
    let (lat_deg, lat_form) = parse_angle(lat, 2, 90)?;
    let (lon_deg, lon_form) = parse_angle(lon, 3, 180)?;
    if lat_form != lon_form {
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

/// One angle: sign, digits, optional fraction. `degree_digits` is 2 for latitude, 3 for longitude.
fn parse_angle(
    text: &[u8],
    degree_digits: usize,
    max_deg: u32,
) -> Result<(f64, Form), ParsePointError> {
    let (sign, digits) = match text.split_first() {
        Some((b'+', rest)) => (1.0, rest),
        Some((b'-', rest)) => (-1.0, rest),
        _ => return Err(ParsePointError::Shape),
    };
    let point_at = digits.iter().position(|&b| b == b'.');
    let (whole, fraction) = match point_at {
        Some(at) => (digits.get(..at).unwrap_or_default(), digits.get(at + 1..)),
        None => (digits, None),
    };
    let all_digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    if !all_digits(whole) || fraction.is_some_and(|f| f.is_empty() || !all_digits(f)) {
        return Err(ParsePointError::Shape);
    }
    let fraction = fraction.unwrap_or_default();
    let form = match whole.len() {
        n if (1..=degree_digits).contains(&n) => Form::Degrees,
        n if n == degree_digits + 2 => Form::Minutes,
        n if n == degree_digits + 4 => Form::Seconds,
        _ => return Err(ParsePointError::Shape),
    };
    // At most seven digits: fits.
    let whole = whole.iter().fold(0_u32, |n, b| n * 10 + u32::from(b - b'0'));
    let (degrees, minutes, last) = match form {
        Form::Degrees => (whole, 0, whole),
        Form::Minutes => (whole / 100, whole % 100, whole % 100),
        Form::Seconds => (whole / 10_000, whole / 100 % 100, whole % 100),
    };
    if minutes >= 60 || form != Form::Degrees && last >= 60 || degrees > max_deg {
        return Err(ParsePointError::OutOfRange);
    }
    // Exactly on the limit nothing may follow, not even what rounding would swallow.
    let something_follows =
        fraction.iter().any(|&b| b != b'0') || form != Form::Degrees && (minutes > 0 || last > 0);
    if degrees == max_deg && something_follows {
        return Err(ParsePointError::OutOfRange);
    }
    let last = decimal(last, fraction);
    let angle = match form {
        Form::Degrees => last,
        Form::Minutes => f64::from(degrees) + last / 60.0,
        Form::Seconds => f64::from(degrees) + f64::from(minutes) / 60.0 + last / 3600.0,
    };
    Ok((sign * angle, form))
}

/// The number `whole.fraction`, correctly rounded; `fraction` is ASCII digits.
fn decimal(whole: u32, fraction: &[u8]) -> f64 {
    /// With at most this many fraction digits and seven before the point both the digits and the
    /// power of ten are exact doubles, so that one division rounds once, as a full parser would.
    const EXACT_FRACTION_DIGITS: usize = 8;
    const POWERS: [f64; EXACT_FRACTION_DIGITS + 1] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
    if let Some(power) = POWERS.get(fraction.len()) {
        let digits = fraction.iter().fold(u64::from(whole), |n, b| n * 10 + u64::from(b - b'0'));
        return digits as f64 / power;
    }
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
