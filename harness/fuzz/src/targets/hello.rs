//! What servers say first: [`herd_proto::Hello`], and the reports that they keep.

use herd_proto::{Command, Hello, Report};

/// Pieces of the language.
pub const DICTIONARY: &[&str] = &[
    "GEOHERD/1",
    "GEOHERD/2",
    " ",
    "-",
    "0",
    "18446744073709551615",
    "18446744073709551616",
    ",",
    "frames=",
    "frames=1-2",
    "to=",
    "at=",
    "at=9223372036854",
];

/// What is read is the same when it was written and read again; no hello is a command too.
///
/// # Panics
///
/// When that does not hold.
pub fn target(data: &[u8]) {
    if let Some(hello) = Hello::parse(data) {
        let mut line = Vec::new();
        hello.write(&mut line);
        let line = line.strip_suffix(b"\n").expect("a line ends");
        assert_eq!(Hello::parse(line), Some(hello));
        assert_eq!(Command::parse(data), Command::Unknown);
    }
    if let Some(report) = Report::decode(data) {
        let fields = [report.server, report.location, report.time, report.difference];
        let rest = data.strip_prefix(fields.join(" ").as_bytes());
        // Fields of a later version may follow.
        assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b" ")));
    }
}
