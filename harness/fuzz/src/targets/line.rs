//! The bytes of a client's connection: [`herd_proto::Framer`], and [`herd_proto::Command`] for every
//! line that it cuts.

use herd_proto::{
    At, Command, Difference, Frame, Framer, Iamat, RADIUS_KM_MAX, RESULTS_MAX, Report,
    TOO_LONG_ECHO_BYTES, UnixTime, write_unknown, write_unknown_too_long,
};

/// The default limit, and one that mutations of short inputs pass.
const LINE_BYTES_MAX: [usize; 2] = [8_192, 100];

/// Sizes of the pieces in which the bytes arrive. Zero: all at once.
const PIECE_BYTES: [usize; 4] = [0, 1, 7, 1_448];

/// Pieces of the language.
pub const DICTIONARY: &[&str] = &[
    "IAMAT ",
    "WHATSAT ",
    "AT ",
    "\n",
    "\r\n",
    " ",
    "\t",
    "kiwi.example",
    "+34.068930-118.445127",
    "1520023934.918963997",
    "9223372036.854775807",
    "9223372036.854775808",
    "+0.263873386",
    "-0.000000000",
    "50",
    "50.00000000000000000000001",
    "20",
    "\u{a0}",
    "\u{feff}",
    "? ",
];

/// The lines are the same however the bytes arrive, memory is bounded, and what was read from a line
/// is the same when it was written and read again.
///
/// # Panics
///
/// When that does not hold.
pub fn target(data: &[u8]) {
    for limit in LINE_BYTES_MAX {
        let whole = cut(data, 0, limit);
        for piece in PIECE_BYTES {
            let pieces = cut(data, piece, limit);
            assert_eq!(whole.len(), pieces.len(), "in pieces of {piece}, limit {limit}");
            for (a, b) in whole.iter().zip(&pieces) {
                assert!(same(a, b), "{a:?} became {b:?} in pieces of {piece}, limit {limit}");
            }
        }
        for line in &whole {
            match line {
                Line::Whole(line) => check_line(line),
                Line::TooLong(start) => check_too_long(start, limit),
            }
        }
    }
}

#[derive(Debug)]
enum Line {
    Whole(Vec<u8>),
    TooLong(Vec<u8>),
}

fn cut(data: &[u8], piece: usize, limit: usize) -> Vec<Line> {
    let own = |frame: Frame<'_>| match frame {
        Frame::Line(line) => Line::Whole(line.to_vec()),
        Frame::TooLong(start) => Line::TooLong(start.to_vec()),
    };
    let mut framer = Framer::new(limit);
    let mut lines = Vec::new();
    let piece = if piece == 0 { data.len().max(1) } else { piece };
    for bytes in data.chunks(piece) {
        lines.extend(framer.feed(bytes).map(own));
        assert!(framer.held_bytes() <= limit);
    }
    lines.extend(framer.finish().map(own));
    lines
}

/// How much of an over-long line is known when it is told depends on the pieces.
fn same(a: &Line, b: &Line) -> bool {
    match (a, b) {
        (Line::Whole(a), Line::Whole(b)) => a == b,
        (Line::TooLong(a), Line::TooLong(b)) => a.starts_with(b) || b.starts_with(a),
        _ => false,
    }
}

fn check_line(line: &[u8]) {
    assert!(!line.contains(&b'\n'));
    match Command::parse(line) {
        Command::Blank => assert!(line.iter().all(|b| b" \t\r\x0b\x0c".contains(b))),
        Command::Iamat(iamat) => check_iamat(&iamat),
        Command::Whatsat(whatsat) => {
            assert!((0.0..=RADIUS_KM_MAX * 1_000.0).contains(&whatsat.radius_m));
            assert!(whatsat.bound <= RESULTS_MAX);
        }
        Command::At(at) => check_at(&at),
        Command::Unknown => {
            let mut reply = Vec::new();
            write_unknown(line, &mut reply);
            assert_eq!(reply, [b"? ", line, b"\n"].concat());
            // Else two servers could go on at one another for ever.
            let echo = reply.strip_suffix(b"\n").expect("a line ends");
            assert_eq!(Command::parse(echo), Command::Unknown);
        }
    }
}

fn check_too_long(start: &[u8], limit: usize) {
    let mut reply = Vec::new();
    write_unknown_too_long(start, &mut reply);
    assert_eq!(start.len(), TOO_LONG_ECHO_BYTES.min(limit), "limit {limit}");
    assert!(reply.len() <= TOO_LONG_ECHO_BYTES + "?  ...\n".len());
    assert_eq!(reply.iter().position(|b| *b == b'\n'), Some(reply.len() - 1));
}

/// The report that a server makes of it, told to another server, is this one.
fn check_iamat(iamat: &Iamat<'_>) {
    // Both ends of the range, and now and then.
    for received in [0, 1_520_023_935_182_837_383, i64::MAX] {
        let received = UnixTime::from_nanos(received);
        let mut value = Vec::new();
        Report::encode_received("Hill", iamat, received, &mut value);
        let line = at_line(&value, iamat.client);
        let Command::At(at) = Command::parse(&line) else { panic!("not an AT: {line:?}") };
        assert_eq!(at.server, "Hill");
        assert_eq!(at.report, *iamat);
        assert_eq!(at.difference, Difference::between(received, iamat.time));
    }
}

/// What is passed on is what came.
fn check_at(at: &At<'_>) {
    let mut value = Vec::new();
    Report::encode_relayed(at, &mut value);
    let line = at_line(&value, at.report.client);
    assert_eq!(Command::parse(&line), Command::At(*at));
}

fn at_line(value: &[u8], client: &str) -> Vec<u8> {
    let report = Report::decode(value).expect("what we encode we decode");
    let mut line = Vec::new();
    report.write_at(client, &mut line);
    assert_eq!(line.pop(), Some(b'\n'));
    line
}
