//! The lines of a dump, each made into an AT line.

use crate::explain::explain;
use herd_proto::Command;
use herd_server::dump::DumpLine;
use std::io::{self, BufRead as _, BufReader, Read};

/// Of a line: five fields of some hundred bytes, were each byte written as an escape of six. What is longer
/// is none.
const LINE_BYTES_MAX: usize = 8 << 10;

/// A dump that is read.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: BufReader<R>,
    offset: u64,
    number: u64,
    line: Vec<u8>,
}

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A client; its AT line was appended.
    Taken,
    Blank,
    /// Why.
    Malformed(String),
    /// There is no more.
    End,
}

impl<R: Read> Lines<R> {
    /// Of what is behind `offset` and line `number`.
    pub(super) fn new(input: R, offset: u64, number: u64) -> Self {
        Self { input: BufReader::with_capacity(64 << 10, input), offset, number, line: Vec::new() }
    }

    /// Behind the last line that was read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The number of the last line that was read, from one.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Reads a line, and appends its AT line to `out`.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> io::Result<Line> {
        self.line.clear();
        let mut limited = (&mut self.input).take(LINE_BYTES_MAX as u64);
        let count = limited.read_until(b'\n', &mut self.line)?;
        if count == 0 {
            return Ok(Line::End);
        }
        self.offset += count as u64;
        self.number += 1;
        if count == LINE_BYTES_MAX && !self.line.ends_with(b"\n") {
            self.skip_line()?;
            return Ok(Line::Malformed(format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        if self.line.trim_ascii().is_empty() {
            return Ok(Line::Blank);
        }
        let from = out.len();
        Ok(match write_at(&self.line, out) {
            Ok(()) => Line::Taken,
            Err(why) => {
                out.truncate(from);
                Line::Malformed(why)
            }
        })
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let bytes = self.input.fill_buf()?;
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let count = end.map_or(bytes.len(), |end| end + 1);
            self.input.consume(count);
            self.offset += count as u64;
            if end.is_some() || count == 0 {
                return Ok(());
            }
        }
    }
}

/// Appends the AT line that a line of a dump stands for.
fn write_at(line: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let from = out.len();
    let line: DumpLine<'_> = serde_json::from_slice(line).map_err(|error| {
        // The number of the line within itself is of no use to anybody.
        let text = error.to_string();
        text.split(" at line ").next().unwrap_or_default().to_owned()
    })?;
    line.write_at(out);
    let at = out.get(from..).unwrap_or_default().trim_ascii_end();
    match Command::parse(at) {
        // White space in a field would make other fields of it.
        Command::At(read)
            if (read.server, read.difference_text) == (&line.server, &line.difference)
                && (read.report.client, read.report.location, read.report.time_text)
                    == (&line.client, &line.location, &line.time) =>
        {
            Ok(())
        }
        Command::At(_) => Err("a field has white space in it, or is empty".to_owned()),
        Command::Unknown | Command::Blank | Command::Iamat(_) | Command::Whatsat(_) => {
            Err(explain(&String::from_utf8_lossy(at)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIWI: &str = "{\"client\":\"kiwi\",\"server\":\"Hill\",\"difference\":\"+0.263873386\",\
        \"location\":\"+34.068930-118.445127\",\"time\":\"1520023934.918963997\"}";

    fn read(text: &str) -> (Vec<Line>, String) {
        let (mut lines, mut found, mut out) =
            (Lines::new(text.as_bytes(), 0, 0), Vec::new(), Vec::new());
        loop {
            let line = lines.next(&mut out).unwrap();
            if line == Line::End {
                assert_eq!(lines.offset(), text.len() as u64);
                return (found, String::from_utf8(out).unwrap());
            }
            found.push(line);
        }
    }

    #[test]
    fn a_line_becomes_its_at_line() {
        let (lines, out) = read(&format!("{KIWI}\n \r\n{KIWI}"));
        assert_eq!(lines, [Line::Taken, Line::Blank, Line::Taken]);
        let at = "AT Hill +0.263873386 kiwi +34.068930-118.445127 1520023934.918963997\n";
        assert_eq!(out, at.repeat(2));
        // Members that a later version adds are passed over.
        assert_eq!(read(&KIWI.replace('}', ",\"speed\":7}")).0, [Line::Taken]);
    }

    #[test]
    fn what_is_no_line_of_a_dump_is_told() {
        for (line, why) in [
            ("{}".to_owned(), "missing field `client`"),
            (KIWI[..40].to_owned(), "control character"),
            ("kiwi".to_owned(), "expected value"),
            (KIWI.replace("kiwi", "ki wi"), "AT"),
            (KIWI.replace("kiwi", "ki\\nwi"), "CLIENT"),
            (KIWI.replace("kiwi", " kiwi"), "white space"),
            (KIWI.replace("+34", "+94"), "LOCATION"),
            (KIWI.replace("+0.26", "0.26"), "DIFFERENCE"),
            (KIWI.replace("1520023934.", "now"), "TIME"),
            (format!("{KIWI}x"), "trailing characters"),
            (KIWI.replace("kiwi", &"x".repeat(20_000)), "longer than 8192 bytes"),
        ] {
            let (lines, out) = read(&format!("{KIWI}\n{line}\n{KIWI}\n"));
            let [Line::Taken, Line::Malformed(told), Line::Taken] = &lines[..] else {
                panic!("{line}: {lines:?}");
            };
            assert!(told.contains(why), "{line}: {told:?}");
            assert_eq!(out.lines().count(), 2);
        }
    }
}
