//! The first line between two servers of this product.
//!
//! A foreign server answers it as any unknown line, with `? GEOHERD/1 …`, and so tells what it is.

use crate::features::Features;
use crate::fields::{Fields, is_name};
use std::io::Write as _;

/// The word that a hello begins with. Its number is the version of the hello, and stays: a server that
/// does not know the word answers like a foreign one, and would be sent AT lines. Which frames follow is in
/// the [`Features`].
pub const PROTOCOL_WORD: &str = "GEOHERD/1";

/// `GEOHERD/1 <herd> <server> <incarnation> <features>`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// Name of the herd; servers of different herds refuse each other.
    pub herd: &'a str,
    /// Name of the sender.
    pub server: &'a str,
    /// Number of the sender's present run, greater at every start.
    pub incarnation: u64,
    /// What the sender supports, and its clock.
    pub features: Features<'a>,
}

impl<'a> Hello<'a> {
    /// Reads a hello; `None` for any other line.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::new(std::str::from_utf8(line).ok()?);
        if fields.next() != Some(PROTOCOL_WORD) {
            return None;
        }
        let [herd, server, incarnation, features] = fields.exactly()?;
        let plain_digits = incarnation.bytes().all(|b| b.is_ascii_digit());
        if !is_name(herd) || !is_name(server) || !plain_digits {
            return None;
        }
        let features = Features::parse(features)?;
        Some(Self { herd, server, incarnation: incarnation.parse().ok()?, features })
    }

    /// Appends the line, line feed included.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self { herd, server, incarnation, features } = self;
        // Writing to a Vec cannot fail.
        let _infallible = writeln!(out, "{PROTOCOL_WORD} {herd} {server} {incarnation} {features}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let features = Features::NONE;
        let hello = Hello { herd: "news", server: "Hill", incarnation: u64::MAX, features };
        let mut line = Vec::new();
        hello.write(&mut line);
        assert_eq!(line, b"GEOHERD/1 news Hill 18446744073709551615 -\n");
        assert_eq!(Hello::parse(line.trim_ascii_end()), Some(hello));
    }

    #[test]
    fn other_lines_are_no_hello() {
        for line in [
            "",
            "GEOHERD/1",
            "GEOHERD/2 news Hill 1 -",
            "GEOHERD/1 news Hill x -",
            "GEOHERD/1 news Hill +1 -",
            "GEOHERD/1 news Hill 1",
            "GEOHERD/1 news Hill 1 - -",
            "geoherd/1 news Hill 1 -",
            "GEOHERD/1 news Hill 99999999999999999999 -",
            "GEOHERD/1 news Hill 1 frames=2-1",
        ] {
            assert_eq!(Hello::parse(line.as_bytes()), None, "{line:?}");
        }
    }
}
