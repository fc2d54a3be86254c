//! What goes over a link in one direction, as lines for people to read.
//!
//! Reports are shown as the AT lines they would be to a foreign server. What keeps a link alive and in
//! step (pings, watermarks, commits) is left out: a log of messages should not be full of it.

use crate::node::decode_record;
use herd_proto::peer::{Batch, Decoded, Message, decode_batch};
use herd_proto::{Frame, Framer, Hello};

/// Reads along with one direction of a link.
#[derive(Debug)]
pub struct Transcript {
    lines: Framer,
    /// Some once the hello has passed: the start of a batch that is not complete yet.
    frames: Option<Vec<u8>>,
    begun: bool,
    line_bytes_max: usize,
}

impl Transcript {
    /// Of a link that has not begun.
    pub fn new(line_bytes_max: usize) -> Self {
        let lines = Framer::new(line_bytes_max);
        Self { lines, frames: None, begun: false, line_bytes_max }
    }

    /// The messages that `bytes` complete, without line feeds.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut shown = Vec::new();
        let mut rest = bytes;
        if !self.begun {
            // The first line decides what follows it.
            let end = rest.iter().position(|&b| b == b'\n').map_or(rest.len(), |at| at + 1);
            let (line, after) = rest.split_at(end);
            if Hello::parse(line.trim_ascii_end()).is_some() {
                shown.push(line.trim_ascii_end().to_vec());
                self.frames = Some(Vec::new());
                rest = after;
            }
            self.begun |= !bytes.is_empty();
        }
        match self.frames.take() {
            None => self.feed_lines(rest, &mut shown),
            Some(mut partial) => {
                partial.extend_from_slice(rest);
                self.feed_frames(partial, &mut shown);
            }
        }
        shown
    }

    fn feed_lines(&mut self, bytes: &[u8], shown: &mut Vec<Vec<u8>>) {
        for frame in self.lines.feed(bytes) {
            let (Frame::Line(line) | Frame::TooLong(line)) = frame;
            if !line.is_empty() {
                shown.push(line.to_vec());
            }
        }
        self.lines.settle();
    }

    fn feed_frames(&mut self, mut bytes: Vec<u8>, shown: &mut Vec<Vec<u8>>) {
        let mut taken = 0;
        loop {
            match decode_batch(bytes.get(taken..).unwrap_or_default()) {
                Ok(Some((batch, length))) => {
                    taken += length;
                    shown.extend(messages(batch).filter_map(|message| show(&message)));
                }
                Ok(None) => {
                    bytes.drain(..taken);
                    self.frames = Some(bytes);
                    return;
                }
                Err(_) => {
                    // The other side did not say hello back: lines go on.
                    self.lines = Framer::new(self.line_bytes_max);
                    let rest = bytes.split_off(taken);
                    return self.feed_lines(&rest, shown);
                }
            }
        }
    }
}

/// The messages up to the first frame that is wrong; the link ends there.
fn messages(batch: Batch<'_>) -> impl Iterator<Item = Message<'_>> {
    batch.into_iter().map_while(Result::ok).filter_map(|decoded| match decoded {
        Decoded::Message(message) => Some(message),
        Decoded::Skipped(_) => None,
    })
}

fn show(message: &Message<'_>) -> Option<Vec<u8>> {
    if let Message::Bye { reason } = message {
        return Some(format!("BYE {reason}").into_bytes());
    }
    let (Message::Entry { key, value, tombstone, .. }
    | Message::Record { key, value, tombstone, .. }) = *message
    else {
        return None;
    };
    if tombstone {
        let client = key.split_first().map_or(key, |(_, client)| client);
        return Some([b"FORGET ", client].concat());
    }
    let (client, report) = decode_record(key, value)?;
    let mut line = Vec::new();
    report.write_at(client, &mut line);
    line.pop();
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use herd_proto::peer::BatchWriter;

    #[test]
    fn reports_are_shown_as_lines_and_housekeeping_is_not() {
        let mut bytes = b"GEOHERD/1 news Hill 1 -\n".to_vec();
        let mut frames = BatchWriter::new(&mut bytes);
        frames.push(&Message::Greeted);
        frames.push(&Message::Entry {
            origin: 0,
            sequence: 1,
            key: b"rkiwi",
            effective_ns: 3,
            received_ns: 3,
            tombstone: false,
            value: b"Hill +1+2 3 +0.5",
        });
        frames.finish();
        let mut transcript = Transcript::new(80);
        let (hello, rest) = bytes.split_at(24);
        assert_eq!(transcript.feed(hello), [b"GEOHERD/1 news Hill 1 -".to_vec()]);
        let shown: Vec<_> = rest.chunks(3).flat_map(|piece| transcript.feed(piece)).collect();
        assert_eq!(shown, [b"AT Hill +0.5 kiwi +1+2 3".to_vec()]);
    }

    #[test]
    fn a_foreign_server_is_shown_line_by_line() {
        let mut transcript = Transcript::new(80);
        transcript.feed(b"GEOHERD/1 news Hill 1 -\n");
        let shown = transcript.feed(b"AT Hill +0.5 kiwi +1+2 3\nAT Hi");
        assert_eq!(shown, [b"AT Hill +0.5 kiwi +1+2 3".to_vec()]);
        assert_eq!(transcript.feed(b"ll\n"), [b"AT Hill".to_vec()]);
    }
}
