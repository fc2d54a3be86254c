//! One connection between two servers: its hello, its heartbeat, and what goes over it.
//!
//! It begins with lines. Two servers of this product change to frames after their hellos; a foreign
//! server stays with lines. What either means for the node's knowledge is decided in `node.rs`.

use crate::node::Settings;
use crate::output::CloseReason;
use crate::peers::PeerId;
use crate::replay::Replay;
use herd_proto::peer::Message;
use herd_proto::{
    At, Command, Frame, Framer, Hello, Instant, write_unknown, write_unknown_too_long,
};
use herd_replica::Cursor;
use std::io::Write as _;
use std::time::Duration;

/// What a neighbour speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// This product's: a hello first, then frames.
    Native,
    /// AT lines and nothing else, as any other implementation of the protocol.
    At,
}

impl Dialect {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::At => "at",
        }
    }
}

/// Where a link is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The other side's hello must come before this moment.
    Greeting { until: Instant },
    /// Another life of the same server is linked, and was asked at `since` whether it is still there.
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
    /// After so long without a byte the other side counts as gone.
    pub(crate) dead_after: Duration,
    pub(crate) opened: Instant,
    pub(crate) heard: Instant,
    pub(crate) pinged: Instant,
    /// When it was last asked whether its server still lives, since another came under that name.
    pub(crate) asked: Option<Instant>,
    /// All that the other side held when the link came up is known here.
    pub(crate) caught_up: bool,
    /// How far a foreign server has been told what changes.
    pub(crate) cursor: Cursor,
    pub(crate) replay: Replay,
    /// The start of a frame that is not whole yet; at most one frame.
    partial: Vec<u8>,
    /// Lines to send before any report; at most [`CONTROL_BYTES_MAX`].
    control: Vec<u8>,
    /// A ping to answer; only the last, so that pinging without reading gains nothing.
    pong_due: Option<u64>,
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

/// What waits for a neighbour beside reports: a hello, a ping, answers to lines that were none. Past
/// this such answers are dropped; they are for people who try things out, not for programs.
const CONTROL_BYTES_MAX: usize = 64 * 1024;

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
            opened: now,
            heard: now,
            pinged: now,
            asked: None,
            caught_up: dialect == Dialect::At,
            cursor: Cursor::default(),
            replay: Replay::new(Cursor::default(), now),
            partial: Vec::new(),
            control: Vec::new(),
            pong_due: None,
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
        Message::Ping { sent: now.nanos() }.encode(&mut self.control);
    }

    pub(crate) fn say_pong(&mut self, sent: u64) {
        self.pong_due = Some(sent);
    }

    pub(crate) fn say_hello(&mut self, hello: &Hello<'_>) {
        hello.write(&mut self.control);
    }

    /// Answers a line that is none, as the line protocol asks.
    pub(crate) fn say_not_understood(&mut self, line: &LinkLine<'_>) {
        if let LinkLine::Other(line) = line
            && self.has_room(line.len())
        {
            write_unknown(line, &mut self.control);
        } else if let LinkLine::TooLong(start) = line
            && self.has_room(start.len())
        {
            write_unknown_too_long(start, &mut self.control);
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.control.len() + bytes < CONTROL_BYTES_MAX
    }

    /// The last words: why this side ends the link, so that both logs tell it. They are a frame once
    /// the other side has said hello and was answered, or answered ours; a line before.
    pub(crate) fn say_last(&mut self, reason: &CloseReason) {
        let (frames, refusal) = match (self.dialect, self.phase, reason) {
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
            (_, Phase::Up, _) => (true, reason.to_string()),
            (
                _,
                Phase::Greeting { .. } | Phase::Contested { .. },
                CloseReason::Refused(refusal),
            ) => (self.dialed, refusal.to_string()),
            (_, Phase::Greeting { .. } | Phase::Contested { .. }, _) => return,
        };
        if frames {
            Message::Bye { reason: &refusal }.encode(&mut self.control);
        } else {
            // Writing to a Vec cannot fail.
            let _infallible = writeln!(self.control, "{REFUSED}{refusal}");
        }
    }

    /// Moves what goes before any report to `out`.
    pub(crate) fn drain_control(&mut self, out: &mut Vec<u8>) {
        if let Some(sent) = self.pong_due.take() {
            Message::Pong { sent }.encode(&mut self.control);
        }
        out.append(&mut self.control);
    }

    /// Lends out the bytes of frames that have come, whole or not.
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
        (self.partial.len() + lines, self.control.len())
    }

    pub(crate) fn speaks_frames(&self) -> bool {
        self.phase == Phase::Up && self.dialect == Dialect::Native
    }

    /// When something must be done here even if nothing happens. A link that never `dies` is a fault that
    /// the simulator makes.
    pub(crate) fn deadline(&self, ping_every: Duration, dies: bool) -> Option<Instant> {
        match (self.phase, self.dialect) {
            (Phase::Greeting { until } | Phase::Contested { until, .. }, _) => Some(until),
            // What is not answered cannot be asked; the kernel's time-outs must do.
            (Phase::Up, Dialect::At) => self.replay.resume_at(),
            (Phase::Closing, _) => None,
            (Phase::Up, Dialect::Native) => {
                let dead_at = dies.then_some(self.heard + self.dead_after);
                dead_at.into_iter().chain([self.pinged + ping_every]).min()
            }
        }
    }
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
