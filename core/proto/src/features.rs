//! What a server says it can do beside what every server can: the last field of a hello.
//!
//! The field holds words parted by commas, or `-` for none. A word that is not known here is passed
//! over, so a later version may add some; no word may change what an older server does with the rest.
//!
//! `frames=LEAST-GREATEST` are the versions of the frames that follow the hellos. Who does not say it
//! speaks version 1. Both sides read the same two hellos and take the greatest version that both have, so
//! neither waits for the other's choice.
//!
//! `to=NAME` is whom the sender means to talk to, so that a wrong address is told before anything comes of
//! it.

use crate::fields::{NAME_BYTES_MAX, is_name};
use std::fmt;

/// Bytes of the field at most: the longest name, and as much again for all other words.
const FIELD_BYTES_MAX: usize = 2 * NAME_BYTES_MAX + 2;

/// Words at most that the field may hold: far more than there will ever be.
const WORDS_MAX: usize = 32;

/// The versions of frames that a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    least: u8,
    greatest: u8,
}

impl Versions {
    /// Those of this program: the frames of [`peer`](crate::peer).
    pub const CURRENT: Self = Self { least: 1, greatest: 1 };

    /// From `least` to `greatest`, both of them too; None unless 1 ≤ `least` ≤ `greatest`.
    pub fn new(least: u8, greatest: u8) -> Option<Self> {
        (1 <= least && least <= greatest).then_some(Self { least, greatest })
    }

    /// The greatest version that both speak; None if there is none. The same from either side.
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

/// As people read it: `1`, or `1 to 2`.
impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least, greatest } = self;
        if least == greatest { write!(f, "{least}") } else { write!(f, "{least} to {greatest}") }
    }
}

/// What a hello tells of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features<'a> {
    /// Which frames it speaks.
    pub frames: Versions,
    /// Whom it expects at the other end, where it dialed somebody. A name with a comma is not told.
    pub to: Option<&'a str>,
}

impl<'a> Features<'a> {
    /// Of a server that says nothing about itself.
    pub const NONE: Self = Self { frames: Versions { least: 1, greatest: 1 }, to: None };

    /// Reads the field. None if it is longer than 512 bytes or has more than 32 words, or a known word
    /// twice or with a value that it cannot have.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > FIELD_BYTES_MAX {
            return None;
        }
        let (mut frames, mut to) = (None, None);
        for (count, word) in text.split(',').enumerate() {
            let again = if count >= WORDS_MAX {
                return None;
            } else if let Some(versions) = word.strip_prefix(FRAMES) {
                frames.replace(Versions::parse(versions)?).is_some()
            } else if let Some(name) = word.strip_prefix(TO) {
                to.replace(Some(name).filter(|name| is_name(name))?).is_some()
            } else {
                false
            };
            if again {
                return None;
            }
        }
        Some(Self { frames: frames.unwrap_or(Self::NONE.frames), to })
    }
}

const FRAMES: &str = "frames=";
const TO: &str = "to=";

/// As it stands in a hello.
impl fmt::Display for Features<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Versions { least, greatest } = self.frames;
        let to = self.to.filter(|to| !to.contains(','));
        match (self.frames == Self::NONE.frames, to) {
            (true, None) => f.write_str("-"),
            (true, Some(to)) => write!(f, "{TO}{to}"),
            (false, None) => write!(f, "{FRAMES}{least}-{greatest}"),
            (false, Some(to)) => write!(f, "{FRAMES}{least}-{greatest},{TO}{to}"),
        }
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
            assert_eq!(Features::parse(text), Some(Features { frames, to: None }), "{text}");
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
            &format!("to={}", "x".repeat(256)),
            &"x".repeat(513),
            &many,
        ] {
            assert_eq!(Features::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (least, greatest, to, text) in [
            (1, 1, None, "-"),
            (1, 2, None, "frames=1-2"),
            (2, 2, Some("Hill"), "frames=2-2,to=Hill"),
            (1, 1, Some("a=b"), "to=a=b"),
        ] {
            let features = Features { frames: Versions::new(least, greatest).unwrap(), to };
            assert_eq!(features.to_string(), text);
            assert_eq!(Features::parse(text), Some(features));
        }
        let features = Features { to: Some("a,b"), ..Features::NONE };
        assert_eq!(features.to_string(), "-", "it would be two words");
    }
}
