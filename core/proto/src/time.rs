//! The two clocks of a server as plain numbers, and how times look on the wire.
//!
//! Reading a clock is left out: whoever drives the core reads both at once and passes them in.

use std::ops::Add;
use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Digits that a time may have at most, point and needless zeros included: what one client can make
/// every server hold stays small. Twenty would do for any time that is in range.
pub const TIME_BYTES_MAX: usize = 64;

/// Nanoseconds since 1970-01-01T00:00:00Z, 0 to `i64::MAX` (2262-04-11T23:47:16.854775807Z).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(i64);

impl UnixTime {
    /// From nanoseconds; what lies outside the range is moved to its nearer end.
    pub fn from_nanos(nanos: i64) -> Self {
        Self(nanos.max(0))
    }

    /// Nanoseconds since the epoch, never negative.
    pub fn nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub fn seconds(self) -> i64 {
        self.0 / NANOS_PER_SECOND.cast_signed()
    }

    /// This time and `span` more, at most the end of the range.
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        let span = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(span))
    }

    /// Parses POSIX seconds: digits, and if a point follows, one to nine digits more. No sign, no
    /// exponent; at most [`TIME_BYTES_MAX`] bytes. `None` for any other text or a time out of range.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TIME_BYTES_MAX {
            return None;
        }
        let nanos = parse_nanos(text, 9)?;
        i64::try_from(nanos).ok().map(Self)
    }
}

/// What a server's clock showed when a report came in, less the time the report claims; negative if
/// the client's clock is ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference(i64);

impl Difference {
    /// Bytes of a foreign server's difference at most: other programs print up to 17 digits.
    const BYTES_MAX: usize = 40;

    /// `received` less `claimed`.
    pub fn between(received: UnixTime, claimed: UnixTime) -> Self {
        // Both are at least zero: cannot overflow.
        Self(received.0 - claimed.0)
    }

    /// Nanoseconds, positive if the report was received after the time it claims.
    pub fn nanos(self) -> i64 {
        self.0
    }

    /// Parses sign, digits, and optionally a point and digits. More than nine fraction digits are
    /// read, since foreign servers print them, but what is below a nanosecond is dropped.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > Self::BYTES_MAX {
            return None;
        }
        let (negative, digits) = match text.split_at_checked(1)? {
            ("+", digits) => (false, digits),
            ("-", digits) => (true, digits),
            _ => return None,
        };
        let nanos = i64::try_from(parse_nanos(digits, Self::BYTES_MAX)?).ok()?;
        Some(Self(if negative { -nanos } else { nanos }))
    }

    /// Appends sign, seconds, point and nine digits: `+0.263873386`. Zero is `+0.000000000`.
    pub fn write(self, out: &mut Vec<u8>) {
        let sign = if self.0 < 0 { b'-' } else { b'+' };
        let nanos = self.0.unsigned_abs();
        let (seconds, fraction) = (nanos / NANOS_PER_SECOND, nanos % NANOS_PER_SECOND);
        if seconds < 10 {
            // As most are: a report that has just been made.
            out.extend_from_slice(&[sign, b'0' + (seconds % 10) as u8, b'.']);
        } else {
            out.push(sign);
            write_digits(seconds, out);
            out.push(b'.');
        }
        out.extend_from_slice(&nine_digits(fraction));
    }
}

/// A moment of the monotonic clock, nanoseconds since some fixed moment before: for timers only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// From nanoseconds since whatever moment the driver counts from.
    pub fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since that moment.
    pub fn nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it is still to come.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Both clocks read at once: `instant` for timers, `unix` for what goes on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock.
    pub instant: Instant,
    /// The wall clock, which may jump.
    pub unix: UnixTime,
}

/// `digits[.digits]` as nanoseconds; at most `fraction_digits_max` digits after the point, those
/// past the ninth dropped. `None` for another form and past `u64::MAX` nanoseconds.
fn parse_nanos(text: &str, fraction_digits_max: usize) -> Option<u64> {
    let (whole, rest) = leading_number(text.as_bytes());
    let seconds = whole.value?;
    let fraction = match rest.split_first() {
        None => return seconds.checked_mul(NANOS_PER_SECOND),
        Some((b'.', fraction)) if fraction.len() <= fraction_digits_max => fraction,
        Some(_) => return None,
    };
    let (kept, dropped) = fraction.split_at(fraction.len().min(FRACTION_DIGITS));
    let (kept, rest) = leading_number(kept);
    if !rest.is_empty() || !dropped.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = kept.value? * POWERS.get(FRACTION_DIGITS - kept.digits)?;
    seconds.checked_mul(NANOS_PER_SECOND)?.checked_add(nanos)
}

/// Digits after the point that a nanosecond has.
const FRACTION_DIGITS: usize = 9;
/// Powers of ten, up to as many nanoseconds as a second has.
const POWERS: [u64; FRACTION_DIGITS + 1] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, NANOS_PER_SECOND];

/// The digits at the start of a text.
struct Digits {
    /// None if there are none, or their number is past `u64::MAX`.
    value: Option<u64>,
    digits: usize,
}

/// The number at the start of `text`, and what follows it.
fn leading_number(text: &[u8]) -> (Digits, &[u8]) {
    /// So many digits fit whatever they are, needing no check each.
    const FIT: usize = 19;
    let digit = |byte: &u8| Some(byte.wrapping_sub(b'0')).filter(|&digit| digit <= 9);
    let mut value = 0;
    let mut digits = 0;
    for next in text.iter().take(FIT).map_while(digit) {
        value = value * 10 + u64::from(next);
        digits += 1;
    }
    let mut value = (digits > 0).then_some(value);
    if digits == FIT {
        for next in text.iter().skip(FIT).map_while(digit) {
            value = value.and_then(|v| v.checked_mul(10)?.checked_add(u64::from(next)));
            digits += 1;
        }
    }
    (Digits { value, digits }, text.get(digits..).unwrap_or_default())
}

/// The numbers from 0 to 99 in two digits each.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let (mut at, mut number) = (0, 0_u8);
    while number < 100 {
        pairs[at] = [b'0' + number / 10, b'0' + number % 10];
        (at, number) = (at + 1, number + 1);
    }
    pairs
};

/// A number below a thousand million, with leading zeros.
fn nine_digits(number: u64) -> [u8; FRACTION_DIGITS] {
    let mut digits = [b'0'; FRACTION_DIGITS];
    let mut rest = number;
    for places in digits.rchunks_exact_mut(2) {
        let pair = usize::try_from(rest % 100).ok().and_then(|pair| PAIRS.get(pair));
        places.copy_from_slice(pair.unwrap_or(&[b'0'; 2]));
        rest /= 100;
    }
    if let Some(first) = digits.first_mut() {
        *first = b'0' + (rest % 10) as u8;
    }
    digits
}

/// Appends `number` in decimal.
fn write_digits(mut number: u64, out: &mut Vec<u8>) {
    const DIGITS_MAX: usize = 20;
    let mut digits = [b'0'; DIGITS_MAX];
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        // A remainder of ten fits a byte.
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(DIGITS_MAX - used..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_posix_seconds() {
        for (text, nanos) in [
            ("0", Some(0)),
            ("1520023934.918963997", Some(1_520_023_934_918_963_997)),
            ("1.5", Some(1_500_000_000)),
            ("007.000000001", Some(7_000_000_001)),
            ("9223372036.854775807", Some(i64::MAX)),
            ("9223372036.854775808", None),
            ("99999999999999999999999", None),
            ("1.1234567890", None),
            ("", None),
            (".", None),
            ("1.", None),
            (".5", None),
            ("-1", None),
            ("+1", None),
            ("1e9", None),
            ("1_0", None),
            ("1.5.5", None),
            ("1 ", None),
            ("nan", None),
            ("0x10", None),
            ("١", None),
        ] {
            assert_eq!(UnixTime::parse(text).map(UnixTime::nanos), nanos, "{text:?}");
        }
    }

    #[test]
    fn differences_are_printed_with_sign_and_nine_digits() {
        for (nanos, text) in [
            (0, "+0.000000000"),
            (263_873_386, "+0.263873386"),
            (-1, "-0.000000001"),
            (-61_500_000_000, "-61.500000000"),
            (i64::MAX, "+9223372036.854775807"),
            (-i64::MAX, "-9223372036.854775807"),
        ] {
            let mut out = Vec::new();
            Difference(nanos).write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
            assert_eq!(Difference::parse(text), Some(Difference(nanos)));
        }
    }

    #[test]
    fn reads_differences_of_foreign_servers() {
        for (text, nanos) in [
            ("+1", Some(1_000_000_000)),
            ("-0.5", Some(-500_000_000)),
            ("+0.12345678901234567", Some(123_456_789)),
            ("0.5", None),
            ("+", None),
            ("+1e-5", None),
            ("+-1", None),
            ("é1", None),
        ] {
            assert_eq!(Difference::parse(text).map(Difference::nanos), nanos, "{text:?}");
        }
    }
}
