//! Where one line ends and the next begins, in bytes that arrive in pieces of any size.

use memchr::{memchr, memrchr};

/// How much of an over-long line is echoed.
pub const TOO_LONG_ECHO_BYTES: usize = 80;

/// One line of a connection, without its line feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A line within the limit.
    Line(&'a [u8]),
    /// The first [`TOO_LONG_ECHO_BYTES`] of a line beyond the limit (all of it if that is less). It
    /// is told as soon as the limit is passed; what still comes of the line is dropped.
    TooLong(&'a [u8]),
}

/// Cuts a connection's bytes into lines. Holds at most `line_bytes_max` bytes: of an unfinished line,
/// nothing else; lines that arrive whole are handed on where they lie.
///
/// Feed it with [`feed`](Self::feed) as bytes arrive, [`settle`](Self::settle) after each batch so
/// that memory goes back, and [`finish`](Self::finish) at the end of file.
#[derive(Debug)]
pub struct Framer {
    /// The first `spent` bytes are a line already handed out; the rest is an unfinished one.
    partial: Vec<u8>,
    spent: usize,
    /// In the midst of an over-long line.
    discarding: bool,
    line_bytes_max: usize,
}

impl Framer {
    /// Lines may have up to `line_bytes_max` bytes without their line feed.
    pub fn new(line_bytes_max: usize) -> Self {
        Self { partial: Vec::new(), spent: 0, discarding: false, line_bytes_max }
    }

    /// The lines that `input` completes, in order. All of `input` is consumed at once.
    pub fn feed<'a>(&'a mut self, input: &'a [u8]) -> Frames<'a> {
        self.settle();
        let mut rest = input;
        let mut first = None;
        if self.discarding || !self.partial.is_empty() {
            let end = memchr(b'\n', rest);
            let (head, tail) = rest.split_at(end.unwrap_or(rest.len()));
            rest = tail.get(1..).unwrap_or_default();
            if !self.discarding {
                first = self.grow(head, end.is_some());
            }
            if end.is_some() {
                self.discarding = false;
            }
        }
        let whole_len = memrchr(b'\n', rest).map_or(0, |at| at + 1);
        let (whole, tail) = rest.split_at(whole_len);
        let mut last = None;
        if tail.len() > self.line_bytes_max {
            self.discarding = true;
            last = Some(tail.get(..TOO_LONG_ECHO_BYTES).unwrap_or(tail));
        } else {
            self.partial.extend_from_slice(tail);
        }
        let first = first.map(|complete| {
            let bytes = self.partial.get(..self.spent).unwrap_or_default();
            if complete { Frame::Line(bytes) } else { Frame::TooLong(bytes) }
        });
        Frames { first, whole, last, line_bytes_max: self.line_bytes_max }
    }

    /// Adds `head` to the unfinished line. Some(true) if that completes it, Some(false) if it has
    /// grown past the limit; either way the line, or what is echoed of it, is the spent part then.
    fn grow(&mut self, head: &[u8], ends: bool) -> Option<bool> {
        let room = self.line_bytes_max.saturating_sub(self.partial.len());
        if head.len() > room {
            self.partial.extend_from_slice(head.get(..TOO_LONG_ECHO_BYTES).unwrap_or(head));
            self.partial.truncate(TOO_LONG_ECHO_BYTES);
            self.spent = self.partial.len();
            self.discarding = true;
            return Some(false);
        }
        self.partial.extend_from_slice(head);
        if ends {
            self.spent = self.partial.len();
        }
        ends.then_some(true)
    }

    /// Forgets what was handed out and gives memory back. An idle connection between two lines then
    /// holds none.
    pub fn settle(&mut self) {
        if self.spent > 0 {
            self.partial.drain(..self.spent);
            self.spent = 0;
        }
        if self.partial.is_empty() && self.partial.capacity() > 0 {
            self.partial = Vec::new();
        }
    }

    /// At the end of file: what stands there without a line feed is a line too.
    pub fn finish(&mut self) -> Option<Frame<'_>> {
        self.settle();
        self.spent = self.partial.len();
        (self.spent > 0).then_some(Frame::Line(&self.partial))
    }

    /// Bytes of an unfinished line held now.
    pub fn held_bytes(&self) -> usize {
        self.partial.len() - self.spent
    }
}

/// The lines of one piece of input, in order.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    first: Option<Frame<'a>>,
    whole: &'a [u8],
    last: Option<&'a [u8]>,
    line_bytes_max: usize,
}

impl<'a> Frames<'a> {
    /// What [`rest`](Self::rest) gave, taken up again.
    pub fn of_whole_lines(
        whole: &'a [u8],
        too_long: Option<&'a [u8]>,
        line_bytes_max: usize,
    ) -> Self {
        Self { first: None, whole, last: too_long, line_bytes_max }
    }

    /// What is left, for later: whole lines with their line feeds, and the start of an over-long one
    /// behind them. Only after the first frame was taken.
    pub fn rest(self) -> (&'a [u8], Option<&'a [u8]>) {
        debug_assert!(self.first.is_none(), "the first frame lies elsewhere");
        (self.whole, self.last)
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let Some(end) = memchr(b'\n', self.whole) else {
            return self.last.take().map(Frame::TooLong);
        };
        let (line, rest) = self.whole.split_at(end);
        self.whole = rest.get(1..).unwrap_or_default();
        if line.len() > self.line_bytes_max {
            return Some(Frame::TooLong(line.get(..TOO_LONG_ECHO_BYTES).unwrap_or(line)));
        }
        Some(Frame::Line(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_arrive_whole_whatever_the_pieces() {
        check(&["a\nb\n\nc"], &["a", "b", "", "c"]);
        check(&["a", "b", "\n", "\n", "c\nd", "e\n"], &["ab", "", "c", "de"]);
        check(&["", "\n", ""], &[""]);
        check(&["a\r\n"], &["a\r"]);
    }

    #[test]
    fn an_over_long_line_is_told_at_once_and_the_next_is_read() {
        check(&["123456789\nok\n"], &["…123456789", "ok"]);
        check(&["12345678\nok\n"], &["12345678", "ok"]);
        check(&["1234", "5678", "9", "0", "\nok"], &["…123456789", "ok"]);
        check(&["123456789", "more", "\n", "ok\n"], &["…123456789", "ok"]);
        check(&["1234", "56789", "0\nok\n"], &["…123456789", "ok"]);
        check(&["a\n123456789"], &["a", "…123456789"]);
    }

    #[test]
    fn memory_stays_at_one_line() {
        let mut framer = Framer::new(8192);
        let noise = vec![b'x'; 65_536];
        let told: usize = (0..1000).map(|_| framer.feed(&noise).count()).sum();
        assert_eq!(told, 1);
        assert_eq!(framer.held_bytes(), 0);
        assert_eq!(framer.finish(), None);
        assert_eq!(framer.feed(b"\nok\n").collect::<Vec<_>>(), [Frame::Line(b"ok")]);
    }

    proptest! {
        #[test]
        fn the_cuts_of_the_network_change_nothing(
            text in "[ab\n]{0,60}",
            cuts in prop::collection::vec(0_usize..60, 0..6),
        ) {
            let expected = split(&[&text], 8);
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|w| &text[w[0]..w[1]]).collect();
            let got = split(&pieces, 8);
            // How much of an over-long line is known when it is told depends on the pieces.
            let shorten = |lines: Vec<String>| -> Vec<String> {
                lines.into_iter().map(|l| l.chars().take(10).collect()).collect()
            };
            prop_assert_eq!(shorten(got), shorten(expected));
        }
    }

    #[track_caller]
    fn check(pieces: &[&str], expected: &[&str]) {
        assert_eq!(split(pieces, 8), expected, "{pieces:?}");
    }

    fn split(pieces: &[&str], line_bytes_max: usize) -> Vec<String> {
        let text = |frame: Frame<'_>| match frame {
            Frame::Line(line) => String::from_utf8_lossy(line).into_owned(),
            Frame::TooLong(start) => format!("…{}", String::from_utf8_lossy(start)),
        };
        let mut framer = Framer::new(line_bytes_max);
        let mut lines = Vec::new();
        for piece in pieces {
            lines.extend(framer.feed(piece.as_bytes()).map(text));
            assert!(framer.held_bytes() <= line_bytes_max);
        }
        lines.extend(framer.finish().map(text));
        lines
    }
}
