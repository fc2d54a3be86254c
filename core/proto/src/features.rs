//! The last field of a hello: what the sender supports, and what it wants known before the first frame.
//!
//! The field holds words separated by commas, or `-` for none. Unknown words are skipped, so a later version
//! may add words; none may change what an older server does with the rest.
//!
//! `frames=LEAST-GREATEST` gives the versions of the frames that follow the hellos; without it, version 1.
//! Both sides read the same two hellos and speak the greatest version that both have, so neither waits for
//! the other's choice.
//!
//! `to=NAME` is the server that the sender means to reach, so that a wrong address is reported at once.
//!
//! `at=MILLISECONDS` is the sender's wall clock when it wrote the hello, so that a wrong clock is found
//! before anything is exchanged.

use crate::fields::{NAME_BYTES_MAX, is_name};
use crate::time::UnixTime;
use std::fmt;

/// Longest field: the longest name, and as much again for all other words.
const FIELD_BYTES_MAX: usize = 2 * NAME_BYTES_MAX + 2;

/// Most words in the field: far more than there will ever be.
const WORDS_MAX: usize = 32;

const NANOS_PER_MILLI: i64 = 1_000_000;

/// Longest time that is read: a time in nanoseconds has at most this many digits before its last six.
const MILLIS_DIGITS_MAX: usize = 13;

/// The versions of frames that a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    least: u8,
    greatest: u8,
}

impl Versions {
    /// The versions of this program: the frames of [`peer`](crate::peer).
    pub const CURRENT: Self = Self { least: 1, greatest: 1 };

    /// The versions from `least` to `greatest`, both included; None unless 1 ≤ `least` ≤ `greatest`.
    pub fn new(least: u8, greatest: u8) -> Option<Self> {
        (1 <= least && least <= greatest).then_some(Self { least, greatest })
    }

    /// The greatest version that both speak, the same from either side; None if there is none.
    pub fn in_common(self, other: Self) -> Option<u8> {
        let greatest = self.greatest.min(other.greatest);
        (greatest >= self.least.max(other.least)).then_some(greatest)
    }

    fn parse(text: &str) -> Option<Self> {
        let (least, greatest) = text.split_once('-')?;
        let number = |text: &str| {
            text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
        };
        Self::new(number(least)?, number(greatest)?)
    }
}

/// Formats the range for people: `1`, or `1 to 2`.
impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least, greatest } = self;
        if least == greatest { write!(f, "{least}") } else { write!(f, "{least} to {greatest}") }
    }
}

/// The content of the features field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features<'a> {
    /// Versions of frames that the sender speaks.
    pub frames: Versions,
    /// Server that the sender dialed, if it dialed. A name with a comma is not sent.
    pub to: Option<&'a str>,
    /// The sender's wall clock when it wrote the hello. It is sent in whole milliseconds, rounded down.
    pub at: Option<UnixTime>,
}

impl<'a> Features<'a> {
    /// The content of an empty field.
    pub const NONE: Self = Self { frames: Versions { least: 1, greatest: 1 }, to: None, at: None };

    /// Parses the field. None if it is longer than 512 bytes or has more than 32 words, or if a known word
    /// comes twice or has an impossible value.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > FIELD_BYTES_MAX {
            return None;
        }
        let (mut frames, mut to, mut at) = (None, None, None);
        for (count, word) in text.split(',').enumerate() {
            let again = if count >= WORDS_MAX {
                return None;
            } else if let Some(versions) = word.strip_prefix(FRAMES) {
                frames.replace(Versions::parse(versions)?).is_some()
            } else if let Some(name) = word.strip_prefix(TO) {
                to.replace(Some(name).filter(|name| is_name(name))?).is_some()
            } else if let Some(millis) = word.strip_prefix(AT) {
                at.replace(parse_millis(millis)?).is_some()
            } else {
                false
            };
            if again {
                return None;
            }
        }
        Some(Self { frames: frames.unwrap_or(Self::NONE.frames), to, at })
    }
}

const FRAMES: &str = "frames=";
const TO: &str = "to=";
const AT: &str = "at=";

fn parse_millis(text: &str) -> Option<UnixTime> {
    let is_number = text.len() <= MILLIS_DIGITS_MAX && text.bytes().all(|b| b.is_ascii_digit());
    let millis: i64 = is_number.then(|| text.parse().ok()).flatten()?;
    millis.checked_mul(NANOS_PER_MILLI).map(UnixTime::from_nanos)
}

/// Formats the field as it stands in a hello.
impl fmt::Display for Features<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Versions { least, greatest } = self.frames;
        let mut comma = "";
        if self.frames != Self::NONE.frames {
            write!(f, "{FRAMES}{least}-{greatest}")?;
            comma = ",";
        }
        if let Some(to) = self.to.filter(|to| !to.contains(',')) {
            write!(f, "{comma}{TO}{to}")?;
            comma = ",";
        }
        if let Some(at) = self.at {
            write!(f, "{comma}{AT}{}", at.nanos() / NANOS_PER_MILLI)?;
            comma = ",";
        }
        f.write_str(if comma.is_empty() { "-" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_version_in_common_is_the_same_from_either_side() {
        for (ours, theirs, expected) in [
            ((1, 1), (1, 1), Some(1)),
            ((1, 2), (1, 1), Some(1)),
            ((1, 2), (1, 2), Some(2)),
            ((1, 2), (2, 3), Some(2)),
            ((1, 4), (2, 3), Some(3)),
            ((2, 2), (1, 1), None),
            ((3, 9), (1, 2), None),
        ] {
            let [ours, theirs] = [ours, theirs].map(|(a, b)| Versions::new(a, b).unwrap());
            assert_eq!(ours.in_common(theirs), expected, "{ours} and {theirs}");
            assert_eq!(theirs.in_common(ours), expected, "{theirs} and {ours}");
        }
    }

    #[test]
    fn unknown_words_are_passed_over() {
        for (text, least, greatest) in [
            ("-", 1, 1),
            ("frames=1-2", 1, 2),
            ("zip,frames=2-255,frame=9-9,,FRAMES=3-3", 2, 255),
            ("zip", 1, 1),
        ] {
            let frames = Versions::new(least, greatest).unwrap();
            assert_eq!(
                Features::parse(text),
                Some(Features { frames, ..Features::NONE }),
                "{text}"
            );
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let many = vec!["x"; 33].join(",");
        for text in [
            "frames=",
            "frames=1",
            "frames=0-1",
            "frames=2-1",
            "frames=1-256",
            "frames=+1-2",
            "frames=1-2-3",
            "frames=1-1,frames=1-1",
            "to=",
            "to=Hill,to=Hill",
            "at=",
            "at=-1",
            "at=+1",
            "at=1.5",
            "at=9223372036855",
            "at=00000000000001",
            "at=1,at=1",
            &format!("to={}", "x".repeat(256)),
            &"x".repeat(513),
            &many,
        ] {
            assert_eq!(Features::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (least, greatest, to, millis, text) in [
            (1, 1, None, None, "-"),
            (1, 2, None, None, "frames=1-2"),
            (2, 2, Some("Hill"), None, "frames=2-2,to=Hill"),
            (1, 1, Some("a=b"), None, "to=a=b"),
            (1, 1, None, Some(0), "at=0"),
            (1, 1, Some("Hill"), Some(1_520_023_934_918), "to=Hill,at=1520023934918"),
            (1, 2, None, Some(9_223_372_036_854), "frames=1-2,at=9223372036854"),
        ] {
            let frames = Versions::new(least, greatest).unwrap();
            let at = millis.map(|millis: i64| UnixTime::from_nanos(millis * NANOS_PER_MILLI));
            let features = Features { frames, to, at };
            assert_eq!(features.to_string(), text);
            assert_eq!(Features::parse(text), Some(features));
        }
    }

    #[test]
    fn what_does_not_fit_a_word_is_left_out() {
        let features = Features { to: Some("a,b"), ..Features::NONE };
        assert_eq!(features.to_string(), "-", "it would be two words");
        let at = Some(UnixTime::from_nanos(1_999_999));
        assert_eq!(Features { at, ..Features::NONE }.to_string(), "at=1");
    }
}
