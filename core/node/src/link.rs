//! One connection between two servers: its hello, its heartbeat, and what goes over it.
//!
//! It begins with lines. Two servers of this product change to frames after their hellos; a foreign
//! server stays with lines. What either means for the node's knowledge is decided in `node.rs`.

use crate::node::Settings;
use crate::output::CloseReason;
use crate::peers::PeerId;
use crate::replay::Replay;
use crate::silence::{Silence, Verdict};
use herd_proto::peer::{BatchWriter, Message, REASON_BYTES_MAX};
use herd_proto::{
    At, Command, Frame, Framer, Hello, Instant, Now, write_unknown, write_unknown_too_long,
};
use herd_replica::Cursor;
use std::io::Write as _;
use std::time::Duration;

/// The protocol of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// This product's: a hello first, then frames.
    Native,
    /// AT lines and nothing else, as any other implementation of the protocol.
    At,
}

impl Dialect {
    /// The dialect as a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::At => "at",
        }
    }
}

/// The state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The peer's hello is awaited.
    Greeting,
    /// Another process of the same name is linked, and was asked at `since` whether it is still there.
    /// If it does not answer before `until`, this one takes its place.
    Contested { since: Instant, until: Instant },
    /// Reports flow.
    Up,
    /// Only what is left to say is sent.
    Closing,
}

#[derive(Debug)]
pub(crate) struct Link {
    /// Unknown on an accepted connection that has not said hello.
    pub(crate) peer: Option<PeerId>,
    pub(crate) dialed: bool,
    pub(crate) dialect: Dialect,
    pub(crate) phase: Phase,
    /// Of the other side's hello.
    pub(crate) incarnation: u64,
    /// The version of frames that both hellos agree on; 0 before, and where there are none.
    pub(crate) frames: u8,
    /// The limit of the peer's silence.
    pub(crate) dead_after: Duration,
    pub(crate) silence: Silence,
    pub(crate) opened: Instant,
    /// The last input.
    pub(crate) heard: Instant,
    pub(crate) pinged: Instant,
    /// When it was last asked whether its server is still there, since another came under that name.
    pub(crate) asked: Option<Instant>,
    /// All that the other side held when the link came up is known here.
    pub(crate) caught_up: bool,
    /// How far a foreign server has been told what changes.
    pub(crate) cursor: Cursor,
    pub(crate) replay: Replay,
    /// The start of a batch that is not complete yet; at most one batch.
    partial: Vec<u8>,
    /// Lines to send before anything else; at most [`LINES_BYTES_MAX`].
    lines: Vec<u8>,
    /// This side's hello was sent, so that the peer takes what follows for frames.
    has_said_hello: bool,
    ping_due: Option<Instant>,
    /// A ping to answer; only the last, so that pinging without reading gains nothing.
    pong_due: Option<u64>,
    /// Why this side closes the link.
    bye_due: Option<String>,
    /// The driver found nothing to send and waits for an `Output::Transmit`.
    pub(crate) waiting: bool,
    framer: Option<Framer>,
}

/// A line between servers.
#[derive(Debug, PartialEq)]
pub(crate) enum LinkLine<'a> {
    /// A heartbeat of the plainest kind.
    Blank,
    Hello(Hello<'a>),
    At(At<'a>),
    /// The sender will not talk to this node, and why.
    Refused(&'a str),
    /// `? …`: the other side did not understand something. Never answered: two servers would bounce
    /// it for ever.
    NotUnderstood(&'a [u8]),
    Other(&'a [u8]),
    /// The start of a line beyond the limit.
    TooLong(&'a [u8]),
}

/// Bound of what waits for a peer beside reports: a hello, answers to lines that were none. Beyond
/// it such answers are dropped; they are for people who try things out, not for programs.
const LINES_BYTES_MAX: usize = 64 * 1024;

const REFUSED: &str = "REFUSED ";

impl<'a> LinkLine<'a> {
    pub(crate) fn parse(line: &'a [u8]) -> Self {
        if line.starts_with(b"?") {
            return Self::NotUnderstood(line);
        }
        match Command::parse(line) {
            Command::At(at) => return Self::At(at),
            Command::Blank => return Self::Blank,
            Command::Iamat(_) | Command::Whatsat(_) | Command::Unknown => {}
        }
        let text = std::str::from_utf8(line).unwrap_or_default();
        if let Some(reason) = text.strip_prefix(REFUSED) {
            Self::Refused(reason)
        } else if let Some(hello) = Hello::parse(line) {
            Self::Hello(hello)
        } else {
            Self::Other(line)
        }
    }
}

impl Link {
    pub(crate) fn new(
        peer: Option<PeerId>,
        dialect: Dialect,
        phase: Phase,
        settings: &Settings,
        now: Instant,
    ) -> Self {
        Self {
            peer,
            dialed: peer.is_some(),
            dialect,
            phase,
            incarnation: 0,
            frames: 0,
            dead_after: settings.hello_within,
            silence: Silence::new(now),
            opened: now,
            heard: now,
            pinged: now,
            asked: None,
            caught_up: dialect == Dialect::At,
            cursor: Cursor::default(),
            replay: Replay::new(Cursor::default(), now),
            partial: Vec::new(),
            lines: Vec::new(),
            has_said_hello: false,
            ping_due: None,
            pong_due: None,
            bye_due: None,
            waiting: false,
            framer: Some(Framer::new(settings.line_bytes_max)),
        }
    }

    /// Lends the framer out while its lines are handled, since handling them changes the node.
    pub(crate) fn take_framer(&mut self) -> Option<Framer> {
        self.framer.take()
    }

    pub(crate) fn put_framer(&mut self, framer: Framer) {
        self.framer = Some(framer);
    }

    pub(crate) fn say_ping(&mut self, now: Instant) {
        self.pinged = now;
        self.ping_due = Some(now);
    }

    pub(crate) fn say_pong(&mut self, sent: u64) {
        self.pong_due = Some(sent);
    }

    pub(crate) fn say_hello(&mut self, hello: &Hello<'_>) {
        self.has_said_hello = true;
        hello.write(&mut self.lines);
    }

    /// Answers a line that is none, as the line protocol asks.
    pub(crate) fn say_not_understood(&mut self, line: &LinkLine<'_>) {
        if let LinkLine::Other(line) = line
            && self.has_room(line.len())
        {
            write_unknown(line, &mut self.lines);
        } else if let LinkLine::TooLong(start) = line
            && self.has_room(start.len())
        {
            write_unknown_too_long(start, &mut self.lines);
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.lines.len() + bytes < LINES_BYTES_MAX
    }

    /// The close reason goes to the peer, so that both logs have it: as a frame once the peer takes what
    /// comes for frames, before that as a line.
    pub(crate) fn say_last(&mut self, reason: &CloseReason) {
        let refusal = match (self.dialect, self.phase, reason) {
            // The other side knows, or is gone.
            (Dialect::At, ..)
            | (_, Phase::Closing, _)
            | (
                _,
                _,
                CloseReason::Socket(_)
                | CloseReason::RefusedByPeer(_)
                | CloseReason::EndedByPeer(_),
            ) => return,
            (_, Phase::Up, _) => {
                self.bye_due = Some(reason.to_string());
                return;
            }
            (_, Phase::Greeting | Phase::Contested { .. }, CloseReason::Refused(refusal)) => {
                refusal.to_string()
            }
            (_, Phase::Greeting | Phase::Contested { .. }, _) => return,
        };
        if self.has_said_hello {
            self.bye_due = Some(refusal);
        } else {
            // Writing to a Vec cannot fail.
            let _infallible = writeln!(self.lines, "{REFUSED}{refusal}");
        }
    }

    /// Moves the lines that go before anything else to `out`.
    pub(crate) fn drain_lines(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.lines);
    }

    /// Appends the frames that go before those of the replica, or after all of them.
    pub(crate) fn drain_frames(&mut self, out: &mut BatchWriter<'_>, now: Now) {
        let unix_ns = now.unix.nanos();
        if let Some(asked) = self.ping_due.take() {
            out.push(&Message::Ping { sent: asked.nanos(), unix_ns });
        }
        if let Some(sent) = self.pong_due.take() {
            out.push(&Message::Pong { sent, unix_ns });
        }
        if let Some(reason) = self.bye_due.take() {
            let end = reason.floor_char_boundary(REASON_BYTES_MAX);
            out.push(&Message::Bye { reason: reason.get(..end).unwrap_or_default() });
        }
    }

    /// Input came. While a hello is awaited only the whole of it counts: a peer could send it byte by byte.
    pub(crate) fn note_input(&mut self, now: Instant) {
        self.heard = now;
        if self.phase != Phase::Greeting {
            self.silence.end(now);
        }
    }

    /// This process did not run for so long before now: nothing that was awaited could be noticed.
    pub(crate) fn excuse(&mut self, lost: Duration, now: Instant) {
        self.silence.excuse(lost, now);
        if let Phase::Contested { until, .. } = &mut self.phase {
            *until = *until + lost;
        }
    }

    /// Lends out the start of a batch that is not complete yet.
    pub(crate) fn take_partial(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.partial)
    }

    pub(crate) fn put_partial(&mut self, partial: Vec<u8>) {
        self.partial = partial;
    }

    /// Bytes held: of input that is not whole yet, and of output beside reports.
    #[cfg(feature = "mutants")]
    pub(crate) fn held_bytes(&self) -> (usize, usize) {
        let lines = self.framer.as_ref().map_or(0, Framer::held_bytes);
        (self.partial.len() + lines, self.lines.len())
    }

    pub(crate) fn speaks_frames(&self) -> bool {
        self.phase == Phase::Up && self.dialect == Dialect::Native
    }

    /// Whether the peer's silence means anything here. The answer to "no" is a fault that the simulator makes.
    fn is_watched(&self, faults: SilenceFaults) -> bool {
        match (self.phase, self.dialect) {
            (Phase::Greeting, _) => !faults.greets_forever,
            (Phase::Up, Dialect::Native) => !faults.never_dies,
            // What is not answered cannot be asked; the kernel's time-outs must do.
            (Phase::Up, Dialect::At) | (Phase::Contested { .. } | Phase::Closing, _) => false,
        }
    }

    /// Looks whether the peer has been silent for too long.
    pub(crate) fn look(&mut self, faults: SilenceFaults, now: Instant) -> Verdict {
        if self.is_watched(faults) {
            match self.silence.look(self.dead_after, now) {
                Verdict::Alive if faults.is_hasty && self.silence.is_overdue() => Verdict::Dead,
                verdict @ (Verdict::Alive | Verdict::Probe | Verdict::Dead) => verdict,
            }
        } else {
            Verdict::Alive
        }
    }

    /// When something must be done here even if nothing happens.
    pub(crate) fn deadline(&self, ping_every: Duration, faults: SilenceFaults) -> Option<Instant> {
        let silence = self.is_watched(faults).then(|| self.silence.next_at(self.dead_after));
        let other = match (self.phase, self.dialect) {
            (Phase::Contested { until, .. }, _) => Some(until),
            (Phase::Up, Dialect::At) => self.replay.resume_at(),
            (Phase::Up, Dialect::Native) => Some(self.pinged + ping_every),
            (Phase::Greeting | Phase::Closing, _) => None,
        };
        silence.into_iter().chain(other).min()
    }
}

/// Faults that the simulator makes in the watch for silence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SilenceFaults {
    pub(crate) never_dies: bool,
    pub(crate) greets_forever: bool,
    /// Input that waits is not read before a link is given up.
    pub(crate) is_hasty: bool,
}

/// How a [`Frame`] of a link reads.
pub(crate) fn read<'a>(frame: &Frame<'a>) -> LinkLine<'a> {
    match frame {
        Frame::Line(line) => LinkLine::parse(line),
        Frame::TooLong(start) if start.starts_with(b"?") => LinkLine::NotUnderstood(start),
        Frame::TooLong(start) => LinkLine::TooLong(start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_between_servers_are_told_apart() {
        let check = |line: &'static str, expected: LinkLine<'_>| {
            assert_eq!(LinkLine::parse(line.as_bytes()), expected, "{line:?}");
        };
        check("", LinkLine::Blank);
        check("\r", LinkLine::Blank);
        check("REFUSED go away", LinkLine::Refused("go away"));
        check("? AT", LinkLine::NotUnderstood(b"? AT"));
        check("AT Hill", LinkLine::Other(b"AT Hill"));
        check("IAMAT kiwi +1+2 3", LinkLine::Other(b"IAMAT kiwi +1+2 3"));
        assert!(matches!(LinkLine::parse(b"AT Hill +0.1 kiwi +1+2 3"), LinkLine::At(_)));
        assert!(matches!(LinkLine::parse(b"GEOHERD/1 news Hill 1 -"), LinkLine::Hello(_)));
    }
}
