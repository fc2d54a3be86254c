//! The three commands of the line protocol, as one line each.
//!
//! A line that is not exactly one of them is [`Command::Unknown`]; why is not told, since the
//! protocol's answer is the same for all of them. Programs for people explain (`geoherd send`).

use crate::fields::{Fields, is_name};
use crate::framing::TOO_LONG_ECHO_BYTES;
use crate::time::{Difference, UnixTime};
use herd_geo::{Point, parse_iso6709};

/// The largest radius of a WHATSAT, kilometers: what Google's Nearby Search takes.
pub const RADIUS_KM_MAX: f64 = 50.0;

/// The largest bound of a WHATSAT: one page of Google's Nearby Search.
pub const RESULTS_MAX: u8 = 20;

/// What a line asks for. Texts are byte for byte what stood in the line.
#[derive(Clone, Debug, PartialEq)]
pub enum Command<'a> {
    /// Nothing but white space: an interactive user's Enter. Never answered.
    Blank,
    /// A client says where it is.
    Iamat(Iamat<'a>),
    /// Somebody asks where a client is and what is near it.
    Whatsat(Whatsat<'a>),
    /// A server passes on what it heard.
    At(At<'a>),
    /// None of these, or one of them malformed.
    Unknown,
}

impl<'a> Command<'a> {
    /// Reads one line, without its line feed.
    pub fn parse(line: &'a [u8]) -> Self {
        // Whatever a command may hold is UTF-8.
        let Ok(line) = std::str::from_utf8(line) else { return Self::Unknown };
        let mut fields = Fields::new(line);
        let parsed = match fields.next() {
            None => Some(Self::Blank),
            Some("IAMAT") => Iamat::parse(fields).map(Self::Iamat),
            Some("WHATSAT") => Whatsat::parse(fields).map(Self::Whatsat),
            Some("AT") => At::parse(fields).map(Self::At),
            Some(_) => None,
        };
        parsed.unwrap_or(Self::Unknown)
    }
}

/// `IAMAT <client> <location> <time>`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Iamat<'a> {
    /// The client's name.
    pub client: &'a str,
    /// The location as sent, ISO 6709.
    pub location: &'a str,
    /// The location as read.
    pub point: Point,
    /// The time as sent, POSIX seconds.
    pub time_text: &'a str,
    /// The time as read.
    pub time: UnixTime,
}

impl<'a> Iamat<'a> {
    fn parse(fields: Fields<'a>) -> Option<Self> {
        let [client, location, time_text] = fields.exactly()?;
        let time = UnixTime::parse(time_text)?;
        let point = parse_iso6709(location.as_bytes()).ok()?;
        is_name(client).then_some(Self { client, location, point, time_text, time })
    }
}

/// `WHATSAT <client> <radius> <bound>`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Whatsat<'a> {
    /// The client asked for.
    pub client: &'a str,
    /// Places up to so far away, meters, 0 to 50,000.
    pub radius_m: f64,
    /// At most so many places, 0 to [`RESULTS_MAX`].
    pub bound: u8,
}

impl<'a> Whatsat<'a> {
    fn parse(fields: Fields<'a>) -> Option<Self> {
        let [client, radius, bound] = fields.exactly()?;
        let radius_m = parse_radius_m(radius)?;
        let bound = parse_bound(bound)?;
        is_name(client).then_some(Self { client, radius_m, bound })
    }
}

/// Kilometers as digits with an optional fraction, 0 to [`RADIUS_KM_MAX`] inclusive; as meters.
fn parse_radius_m(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(w, f)| (w, Some(f)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !fraction.is_none_or(digits) {
        return None;
    }
    let km: f64 = text.parse().ok()?;
    // Not even what rounding would swallow may lie beyond the limit.
    let just_beyond =
        km == RADIUS_KM_MAX && fraction.unwrap_or_default().bytes().any(|b| b != b'0');
    (km <= RADIUS_KM_MAX && !just_beyond).then_some(km * 1000.0)
}

/// Digits, 0 to [`RESULTS_MAX`] inclusive.
fn parse_bound(text: &str) -> Option<u8> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|&bound| bound <= RESULTS_MAX)
}

/// `AT <server> <difference> <client> <location> <time>`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct At<'a> {
    /// The server that first heard the client.
    pub server: &'a str,
    /// Its receive time less the client's time, as sent.
    pub difference_text: &'a str,
    /// The same as read.
    pub difference: Difference,
    /// The report it heard.
    pub report: Iamat<'a>,
}

impl<'a> At<'a> {
    fn parse(mut fields: Fields<'a>) -> Option<Self> {
        let server = fields.next().filter(|name| is_name(name))?;
        let difference_text = fields.next()?;
        let difference = Difference::parse(difference_text)?;
        let report = Iamat::parse(fields)?;
        Some(Self { server, difference_text, difference, report })
    }
}

/// Appends the answer to a line that is no command: `? ` and the line as it came.
pub fn write_unknown(line: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"? ");
    out.extend_from_slice(line);
    out.push(b'\n');
}

/// Appends the answer to a line longer than the limit; `start` is what is known of it, of which at
/// most [`TOO_LONG_ECHO_BYTES`] are echoed.
pub fn write_unknown_too_long(start: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"? ");
    out.extend_from_slice(start.get(..TOO_LONG_ECHO_BYTES).unwrap_or(start));
    out.extend_from_slice(b" ...\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "IAMAT kiwi.example +34.068930-118.445127 1520023934.918963997";

    #[test]
    fn reads_a_report() {
        let Command::Iamat(report) = Command::parse(GOOD.as_bytes()) else { panic!("{GOOD}") };
        assert_eq!(report.client, "kiwi.example");
        assert_eq!(report.location, "+34.068930-118.445127");
        assert_eq!(report.point, Point::new(34.068_93, -118.445_127).unwrap());
        assert_eq!(report.time.nanos(), 1_520_023_934_918_963_997);
        let spaced =
            " \tIAMAT\r kiwi.example\u{b}+34.068930-118.445127\u{c}1520023934.918963997 \r";
        assert_eq!(Command::parse(spaced.as_bytes()), Command::Iamat(report));
    }

    #[test]
    fn refuses_reports_that_are_not_exactly_right() {
        for line in [
            "IAMAT",
            "IAMAT kiwi",
            "IAMAT kiwi +1+2",
            "IAMAT kiwi +1+2 3 4",
            "iamat kiwi +1+2 3",
            "IAMATkiwi +1+2 3",
            "IAMAT kiwi 1+2 3",
            "IAMAT kiwi +91+2 3",
            "IAMAT kiwi +1+2 -3",
            "IAMAT kiwi +1+2 1e3",
            "IAMAT k\u{0}i +1+2 3",
            "IAMAT k\u{a0}i\u{a0}+1+2 3",
            "IAMAT\u{a0}kiwi +1+2 3",
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Command::Unknown, "{line:?}");
        }
        assert_eq!(Command::parse(b"IAMAT ki\xffwi +1+2 3"), Command::Unknown);
        let long = format!("IAMAT {} +1+2 3", "x".repeat(256));
        assert_eq!(Command::parse(long.as_bytes()), Command::Unknown);
    }

    #[test]
    fn reads_questions_up_to_the_limits() {
        for (radius, bound, expected) in [
            ("10", "5", Some((10_000.0, 5))),
            ("0.5", "20", Some((500.0, 20))),
            ("0", "0", Some((0.0, 0))),
            ("50", "007", Some((50_000.0, 7))),
            ("50.000", "1", Some((50_000.0, 1))),
            ("50.00000000000000000000000001", "1", None),
            ("50.1", "1", None),
            ("51", "1", None),
            ("10", "21", None),
            ("10", "256", None),
            ("10", "5.0", None),
            ("-1", "5", None),
            ("+1", "5", None),
            ("1e1", "5", None),
            ("1_0", "5", None),
            (".5", "5", None),
            ("5.", "5", None),
            ("inf", "5", None),
            ("nan", "5", None),
            ("10", "+5", None),
            ("10", "-0", None),
        ] {
            let line = format!("WHATSAT kiwi.example {radius} {bound}");
            let expected = expected.map_or(Command::Unknown, |(radius_m, bound)| {
                Command::Whatsat(Whatsat { client: "kiwi.example", radius_m, bound })
            });
            assert_eq!(Command::parse(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn reads_what_servers_tell_one_another() {
        let line = "AT Hill +0.263873386 kiwi.example +34.068930-118.445127 1520023934.918963997";
        let Command::At(at) = Command::parse(line.as_bytes()) else { panic!("{line}") };
        assert_eq!((at.server, at.difference.nanos()), ("Hill", 263_873_386));
        assert_eq!(Command::parse(GOOD.as_bytes()), Command::Iamat(at.report));
        for line in ["AT", "AT Hill 0.1 k +1+2 3", "AT Hill +0.1 k +1+2", "AT Hill +0.1 k +1+2 3 4"]
        {
            assert_eq!(Command::parse(line.as_bytes()), Command::Unknown, "{line}");
        }
    }

    #[test]
    fn blank_lines_are_no_commands() {
        for line in ["", " ", "\r", "\t \u{b}\u{c}\r"] {
            assert_eq!(Command::parse(line.as_bytes()), Command::Blank, "{line:?}");
        }
        assert_eq!(Command::parse("\u{a0}".as_bytes()), Command::Unknown);
    }
}
