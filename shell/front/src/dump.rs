//! All clients in the order of their names, one JSON object a line: what is dumped, and loaded again.
//!
//! The order and the form are fixed, and a line holds what an AT line holds and nothing else. So servers that
//! know the same give the same bytes. Names are sorted a bounded part at a time: as many as fit are kept, the
//! least of all, and the next walk over all clients takes up where they end.

use herd_node::Node;
use herd_proto::{At, Command, Report, UnixTime};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::{self, Write};

/// One client. The texts are those of its AT line, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpLine<'a> {
    /// The client's name.
    #[serde(borrow)]
    pub client: Cow<'a, str>,
    /// The server that first heard it.
    #[serde(borrow)]
    pub server: Cow<'a, str>,
    /// That server's clock less `time`, as that server printed it.
    #[serde(borrow)]
    pub difference: Cow<'a, str>,
    /// ISO 6709, as the client sent it.
    #[serde(borrow)]
    pub location: Cow<'a, str>,
    /// POSIX seconds, as the client sent them.
    #[serde(borrow)]
    pub time: Cow<'a, str>,
}

impl<'a> DumpLine<'a> {
    /// What an AT line says.
    pub fn of(at: &At<'a>) -> Self {
        Self {
            client: at.report.client.into(),
            server: at.server.into(),
            difference: at.difference_text.into(),
            location: at.report.location.into(),
            time: at.report.time_text.into(),
        }
    }

    /// Appends the line, line feed included.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Five texts into memory: nothing can fail.
        let _infallible = serde_json::to_writer(&mut *out, self);
        out.push(b'\n');
    }

    /// Appends the AT line, line feed included. Whether it is one is to be looked at: any text may stand in
    /// a field.
    pub fn write_at(&self, out: &mut Vec<u8>) {
        let Self { client, server, difference, location, time } = self;
        Report { server, location, time, difference }.write_at(client, out);
    }
}

/// Appends the AT line of a client, if it is known and has not expired.
pub(crate) fn write_at(node: &Node, client: &str, now: UnixTime, out: &mut Vec<u8>) {
    if let Some(found) = node.locate(client, now) {
        found.report.write_at(client, out);
    }
}

/// Appends the AT line of a client, if a report of it is stored.
fn write_stored_at(node: &Node, client: &str, out: &mut Vec<u8>) {
    if let Some(found) = node.locate_stored(client) {
        found.report.write_at(client, out);
    }
}

/// Appends the lines of a dump that AT lines stand for.
pub(crate) fn write_lines(at_lines: &[u8], out: &mut Vec<u8>) {
    for line in at_lines.split(|&byte| byte == b'\n') {
        if let Command::At(at) = Command::parse(line) {
            DumpLine::of(&at).write(out);
        }
    }
}

/// Names of a million clients, as a rule; what a dump takes of memory at most, and a half more for a moment.
pub(crate) const NAMES_BYTES_MAX: usize = 48 << 20;

/// Beside the name itself.
const SPAN_BYTES: usize = size_of::<(u32, u32)>();

/// The least names of those from some name on, as many as fit.
#[derive(Debug, Default)]
pub(crate) struct Names {
    text: String,
    /// From and to.
    spans: Vec<(u32, u32)>,
    /// No name that sorts before this one is wanted.
    from: Option<Box<str>>,
    /// Nor this one, nor any that sorts behind it: there was no room for them.
    below: Option<Box<str>>,
    bytes_max: usize,
}

impl Names {
    /// None yet, of those from `from` on.
    pub(crate) fn new(from: Option<Box<str>>, bytes_max: usize) -> Self {
        // A place in the text is 32 bits.
        Self { from, bytes_max: bytes_max.min(1 << 30), ..Self::default() }
    }

    pub(crate) fn is_wanted(&self, name: &str) -> bool {
        self.from.as_deref().is_none_or(|from| name >= from)
            && self.below.as_deref().is_none_or(|below| name < below)
    }

    /// Takes a name that is wanted.
    pub(crate) fn push(&mut self, name: &str) {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let from = place(self.text.len());
        self.text.push_str(name);
        self.spans.push((from, place(self.text.len())));
    }

    /// None any more; the memory is kept.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.spans.clear();
    }

    pub(crate) fn is_full(&self) -> bool {
        self.text.len() + SPAN_BYTES * self.spans.len() >= self.bytes_max
    }

    /// Keeps the lesser half.
    #[must_use]
    pub(crate) fn halved(self) -> Self {
        let sorted = self.sorted();
        let middle = sorted.spans.len() / 2;
        // One name always fits.
        let Some(&span) = sorted.spans.get(middle).filter(|_| middle > 0) else { return sorted };
        let below = Some(name(&sorted.text, span).into());
        let mut kept = Self { below, ..Self::new(None, sorted.bytes_max) };
        for name in sorted.slice(0, middle) {
            kept.push(name);
        }
        kept.from = sorted.from;
        kept
    }

    /// In order, each once.
    #[must_use]
    pub(crate) fn sorted(mut self) -> Self {
        let text = &self.text;
        self.spans.sort_unstable_by_key(|&span| name(text, span));
        self.spans.dedup_by_key(|span| name(text, *span));
        self
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.spans.iter().map(|&span| name(&self.text, span))
    }

    /// So many of them, from the `at`-th on.
    pub(crate) fn slice(&self, at: usize, count: usize) -> impl Iterator<Item = &str> {
        let spans = self.spans.get(at..).unwrap_or_default();
        spans.iter().take(count).map(|&span| name(&self.text, span))
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Where the next walk takes up; none if this was the last.
    pub(crate) fn into_next(self) -> Option<Box<str>> {
        self.below
    }
}

fn name(text: &str, (from, to): (u32, u32)) -> &str {
    text.get(from as usize..to as usize).unwrap_or_default()
}

/// Bytes that are handed over at once.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// Writes all that a node knows, which nobody changes meanwhile; returns how many clients that are.
///
/// # Errors
///
/// Those of `out`.
pub fn write_all(node: &Node, out: &mut impl Write) -> io::Result<u64> {
    let (mut from, mut count) = (None, 0);
    let mut bytes = Vec::with_capacity(CHUNK_BYTES);
    let mut at_line = Vec::new();
    loop {
        let mut names = Names::new(from, NAMES_BYTES_MAX);
        let mut place = Some(0);
        while let Some(at) = place {
            place = node.walk_clients(at, CHUNK_PLACES, |name| {
                if names.is_wanted(name) {
                    names.push(name);
                }
            });
            if names.is_full() {
                names = names.halved();
            }
        }
        names = names.sorted();
        for name in names.iter() {
            at_line.clear();
            // A directory does not say what its server lets expire.
            write_stored_at(node, name, &mut at_line);
            write_lines(&at_line, &mut bytes);
            if bytes.len() >= CHUNK_BYTES {
                out.write_all(&bytes)?;
                bytes.clear();
            }
        }
        count += names.len() as u64;
        from = names.into_next();
        if from.is_none() {
            out.write_all(&bytes)?;
            return Ok(count);
        }
    }
}

/// Looked at between two looks at how much there is.
const CHUNK_PLACES: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_has_one_form() {
        let line = DumpLine {
            client: "ki\"wi\\ é🥝".into(),
            server: "Hill".into(),
            difference: "+0.263873386".into(),
            location: "+34.068930-118.445127".into(),
            time: "1520023934.918963997".into(),
        };
        let mut bytes = Vec::new();
        line.write(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            "{\"client\":\"ki\\\"wi\\\\ é🥝\",\"server\":\"Hill\",\"difference\":\"+0.263873386\",\
             \"location\":\"+34.068930-118.445127\",\"time\":\"1520023934.918963997\"}\n"
        );
        assert_eq!(serde_json::from_str::<DumpLine<'_>>(&text).unwrap(), line);
        let mut at = Vec::new();
        DumpLine { client: "kiwi".into(), ..line }.write_at(&mut at);
        let at = String::from_utf8(at).unwrap();
        assert_eq!(at, "AT Hill +0.263873386 kiwi +34.068930-118.445127 1520023934.918963997\n");
    }

    proptest! {
        /// However little fits at a time.
        #[test]
        fn names_come_in_order_and_each_once(
            names in prop::collection::vec("[a-c]{1,4}", 0..200), bytes_max in 30_usize..2000,
        ) {
            let mut expected = names.clone();
            expected.sort();
            expected.dedup();
            let mut found: Vec<String> = Vec::new();
            let mut from = None;
            loop {
                let mut part = Names::new(from, bytes_max);
                for name in &names {
                    if part.is_wanted(name) {
                        part.push(name);
                    }
                    if part.is_full() {
                        part = part.halved();
                    }
                }
                let part = part.sorted();
                found.extend(part.iter().map(str::to_owned));
                from = part.into_next();
                if from.is_none() {
                    break;
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
