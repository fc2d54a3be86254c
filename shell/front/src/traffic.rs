//! The log of messages: one line for each received and sent, marked by direction and connection.
//!
//! Lines are made in blocks, one block a batch, and handed to a sink that never blocks. What a client
//! sent is escaped, so that no message can forge another line of the log.

use herd_proto::UnixTime;
use std::io::Write as _;
use std::sync::Arc;

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To this server.
    Received,
    /// From this server.
    Sent,
}

/// Takes finished blocks of lines. Must not block: what cannot be taken is lost and counted there.
pub trait TrafficSink: Send + Sync + std::fmt::Debug {
    /// Takes `lines` lines.
    fn write(&self, block: &[u8], lines: usize);
}

/// Where messages are logged, and how.
#[derive(Clone, Debug)]
pub struct TrafficLog {
    sink: Arc<dyn TrafficSink>,
    json: bool,
}

impl TrafficLog {
    /// Logs to `sink`, as JSON lines or as text.
    pub fn new(sink: Arc<dyn TrafficSink>, json: bool) -> Self {
        Self { sink, json }
    }

    /// Logs `messages` of one batch on the connection that `peer` names.
    pub fn log<'a>(
        &self,
        peer: &str,
        now: UnixTime,
        messages: impl Iterator<Item = (Direction, &'a [u8])>,
    ) {
        let time = chrono::DateTime::from_timestamp_nanos(now.nanos());
        let time = time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let mut block = Vec::new();
        let mut lines = 0;
        for (direction, message) in messages {
            lines += 1;
            let text = Shown(message);
            // Writing to a Vec cannot fail.
            let _infallible = if self.json {
                let direction = match direction {
                    Direction::Received => "received",
                    Direction::Sent => "sent",
                };
                let line = serde_json::json!({
                    "timestamp": time, "level": "TRAFFIC", "peer": peer,
                    "direction": direction, "line": text.to_string(),
                });
                writeln!(block, "{line}")
            } else {
                let mark = match direction {
                    Direction::Received => '<',
                    Direction::Sent => '>',
                };
                writeln!(block, "{time} TRAFFIC {peer} {mark} {text}")
            };
        }
        if lines > 0 {
            self.sink.write(&block, lines);
        }
    }
}

/// A message without control characters; the rest of a long one, or of one of many lines (a document
/// about places), is told by its length.
struct Shown<'a>(&'a [u8]);

/// A log is no archive; the longest report that can be has about 420 bytes.
const SHOWN_BYTES_MAX: usize = 512;

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let message = self.0.strip_suffix(b"\n").unwrap_or(self.0);
        let end = message.iter().position(|&b| b == b'\n').unwrap_or(message.len());
        let shown = message.get(..end.min(SHOWN_BYTES_MAX)).unwrap_or(message);
        for piece in shown.utf8_chunks() {
            for c in piece.valid().chars() {
                if c.is_control() || c == '\\' {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    write!(f, "{c}")?;
                }
            }
            write!(f, "{}", piece.invalid().escape_ascii())?;
        }
        let hidden = message.len() - shown.len();
        if hidden > 0 { write!(f, " … and {hidden} bytes more") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    #[derive(Debug, Default)]
    struct Kept(Mutex<Vec<u8>>);

    impl TrafficSink for Kept {
        fn write(&self, block: &[u8], _lines: usize) {
            self.0.lock().extend_from_slice(block);
        }
    }

    #[test]
    fn no_message_can_forge_a_line_of_the_log() {
        let kept = Arc::new(Kept::default());
        let log = TrafficLog::new(kept.clone(), false);
        let messages: [(Direction, &[u8]); 3] = [
            (Direction::Received, b"IAMAT \r\x1b[2J\xff\\x"),
            (Direction::Sent, b"AT Hill\n{\n}\n"),
            (Direction::Sent, b"? x\n"),
        ];
        log.log("1.2.3.4:5", UnixTime::from_nanos(1_500_000_000), messages.into_iter());
        let text = String::from_utf8(kept.0.lock().clone()).unwrap();
        assert_eq!(
            text,
            "1970-01-01T00:00:01.500000Z TRAFFIC 1.2.3.4:5 < IAMAT \\r\\u{1b}[2J\\xff\\\\x\n\
             1970-01-01T00:00:01.500000Z TRAFFIC 1.2.3.4:5 > AT Hill … and 4 bytes more\n\
             1970-01-01T00:00:01.500000Z TRAFFIC 1.2.3.4:5 > ? x\n"
        );
    }
}
