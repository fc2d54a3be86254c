//! The lines of the protocol as a client writes and reads them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where most reports here come from: Westwood, Los Angeles.
const LOCATION: &str = "+34.068930-118.445127";

/// An AT line taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The server that first heard the client.
    pub server: String,
    /// Sign, seconds, point, nine digits.
    pub difference: String,
    /// The client.
    pub client: String,
    /// Where it is.
    pub location: String,
    /// When it was there.
    pub time: String,
}

/// The AT line of a server that received a report just now, whatever time that has: one that was received long ago is
/// not accepted.
pub fn at_line(server: &str, client: &str, location: &str, time: &str) -> String {
    let since =
        unix_now().parse::<f64>().unwrap_or_default() - time.parse::<f64>().unwrap_or_default();
    // A second early, so that no clock is ahead.
    format!("AT {server} {:+.9} {client} {location} {time}", since - 1.0)
}

impl At {
    /// Reads a line that must be exactly as the protocol says: single blanks, and a difference with a
    /// sign, digits without needless zeros, a point and nine digits.
    #[track_caller]
    pub fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split(' ').collect();
        let ["AT", server, difference, client, location, time] = fields[..] else {
            panic!("no AT line: {line:?}")
        };
        let signed = difference.strip_prefix(['+', '-']);
        let (seconds, fraction) = signed.and_then(|d| d.split_once('.')).unwrap_or_default();
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let plain = seconds == "0" || (!seconds.is_empty() && !seconds.starts_with('0'));
        assert!(
            plain && digits(seconds) && digits(fraction) && fraction.len() == 9,
            "no difference: {line:?}"
        );
        Self {
            server: server.to_owned(),
            difference: difference.to_owned(),
            client: client.to_owned(),
            location: location.to_owned(),
            time: time.to_owned(),
        }
    }

    /// The difference in seconds.
    #[track_caller]
    pub fn seconds(&self) -> f64 {
        self.difference.parse().expect("checked when it was read")
    }

    /// The line, without its end.
    pub fn line(&self) -> String {
        let Self { server, difference, client, location, time } = self;
        format!("AT {server} {difference} {client} {location} {time}")
    }
}

/// A report of `client` at `time`.
pub fn iamat_at(client: &str, time: &str) -> String {
    format!("IAMAT {client} {LOCATION} {time}")
}

/// A report of `client` now.
pub fn iamat(client: &str) -> String {
    iamat_at(client, &unix_now())
}

/// Now as POSIX seconds with nine digits behind the point.
pub fn unix_now() -> String {
    unix_now_plus(Duration::ZERO)
}

/// So far ahead of now.
pub fn unix_now_plus(ahead: Duration) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + ahead;
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}
