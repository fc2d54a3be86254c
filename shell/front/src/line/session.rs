//! One client's conversation: which lines were asked, which replies are due, in that order.

use crate::durability::Mode;
use crate::host::Host;
use crate::places::Answer;
use crate::stats::{Kind, Tally};
use crate::traffic::Direction;
use arrayvec::ArrayVec;
use herd_node::Node;
use herd_places::{Document, Query};
use herd_proto::{
    Command, Frame, Framer, Frames, Hello, Now, Report, Whatsat, write_unknown,
    write_unknown_too_long,
};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// The bounds of a conversation.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a line, without its line feed.
    pub line_bytes_max: usize,
    /// Bytes of replies that wait for the client; past that nothing more of what it asks is looked at.
    pub reply_bytes_max: usize,
    /// Answers about places that may be awaited at once.
    pub waiting_answers_max: usize,
}

/// Whether this client may speak for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayRelay {
    /// Its AT lines are taken.
    Yes,
    /// They are lines like any other that is no command.
    No,
}

/// One conversation. Feed it with [`handle_input`](Self::handle_input) and
/// [`handle_end`](Self::handle_end) while [`wants_input`](Self::wants_input), with
/// [`handle_backlog`](Self::handle_backlog) when replies were taken, and with
/// [`poll_answers`](Self::poll_answers); take [`replies`](Self::replies).
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    speaker: Speaker,
    /// For the log of messages.
    peer: String,
    framer: Framer,
    /// Lines that arrived when no more replies could be held.
    backlog: Option<Box<Backlog>>,
    /// Replies ready to be sent.
    ready: Vec<u8>,
    /// Replies behind an answer that is awaited.
    queue: VecDeque<Due>,
    queued_bytes: usize,
    answers_awaited: usize,
    ended: bool,
}

#[derive(Debug)]
enum Due {
    /// Replies, once everything up to this position is safe.
    Bytes(Vec<u8>, u64),
    /// The AT line of a question, and its document when that comes.
    Answer { at_line: Vec<u8>, document: oneshot::Receiver<Arc<Document>> },
}

#[derive(Debug)]
struct Backlog {
    lines: Vec<u8>,
    too_long: Option<Vec<u8>>,
}

/// How many lines are parsed before the node is entered for all of them: enough that entering costs
/// nothing beside parsing, few enough for the stack and for others who wait to enter.
const BATCH_LINES: usize = 64;

/// From so many lines on what the node knows of their clients is asked for beforehand, all at once.
const EXPECTED_MIN: usize = 4;

type Batch<'a> = ArrayVec<(Frame<'a>, Command<'a>), BATCH_LINES>;

impl Session {
    /// A conversation with `peer`.
    pub fn new(limits: Limits, may_relay: MayRelay, peer: String) -> Self {
        Self {
            limits,
            speaker: Speaker { may_relay, takes_reports: true, is_server: false },
            peer,
            framer: Framer::new(limits.line_bytes_max),
            backlog: None,
            ready: Vec::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            answers_awaited: 0,
            ended: false,
        }
    }

    /// Whether more input can be taken now.
    pub fn wants_input(&self) -> bool {
        !self.ended && self.backlog.is_none() && self.has_room()
    }

    fn has_room(&self) -> bool {
        self.ready.len() + self.queued_bytes < self.limits.reply_bytes_max
            && self.answers_awaited < self.limits.waiting_answers_max
    }

    /// Bytes came in.
    pub fn handle_input(&mut self, bytes: &[u8], host: &Host) {
        let mut framer = std::mem::replace(&mut self.framer, Framer::new(0));
        let frames = framer.feed(bytes);
        self.handle_frames(frames, host);
        framer.settle();
        self.framer = framer;
    }

    /// The client has closed its side; what stands there without a line feed is a line too.
    pub fn handle_end(&mut self, host: &Host) {
        let mut framer = std::mem::replace(&mut self.framer, Framer::new(0));
        if let Some(frame) = framer.finish() {
            let mut batch = Batch::new();
            batch.push(parse(frame));
            self.handle_batch(&batch, host);
        }
        self.ended = true;
    }

    /// Goes on with lines that had to wait for room; true if there were any.
    pub fn handle_backlog(&mut self, host: &Host) -> bool {
        if !self.has_room() {
            return false;
        }
        let Some(backlog) = self.backlog.take() else { return false };
        let too_long = backlog.too_long.as_deref();
        let frames = Frames::of_whole_lines(&backlog.lines, too_long, self.limits.line_bytes_max);
        self.handle_frames(frames, host);
        true
    }

    fn handle_frames(&mut self, mut frames: Frames<'_>, host: &Host) {
        loop {
            let mut batch = Batch::new();
            // A question may have an answer of many kilobytes, so room is looked for after each.
            while !batch.is_full() {
                let Some(frame) = frames.next() else { break };
                let (frame, command) = parse(frame);
                let asks = matches!(command, Command::Whatsat(_));
                batch.push((frame, command));
                if asks {
                    break;
                }
            }
            if batch.is_empty() {
                return;
            }
            self.handle_batch(&batch, host);
            if !self.has_room() {
                let (lines, too_long) = frames.rest();
                if !lines.is_empty() || too_long.is_some() {
                    let too_long = too_long.map(<[u8]>::to_vec);
                    self.backlog = Some(Box::new(Backlog { lines: lines.to_vec(), too_long }));
                }
                return;
            }
        }
    }

    /// Answers a batch in which only the last line may be a question about places.
    fn handle_batch(&mut self, batch: &Batch<'_>, host: &Host) {
        let mut speaker = Speaker { takes_reports: true, ..self.speaker };
        let mut tally = Tally::default();
        let mode = host.durability.mode();
        if mode == Mode::Refused {
            speaker.takes_reports = false;
        }
        let (mut out, mut until) = self.take_tail(mode);
        let start = out.len();
        let mut ends: ArrayVec<usize, BATCH_LINES> = ArrayVec::new();
        let mut last = start;
        let (now, question, position) = host.enter(|node, now| {
            let mut question = None;
            if batch.len() >= EXPECTED_MIN {
                node.expect_reports(batch.iter().filter_map(|(_, command)| reports(command)));
            }
            for (frame, command) in batch {
                last = out.len();
                let (kind, asked) =
                    answer(frame, command, &mut speaker, node, now, &host.name, &mut out);
                if let Some(kind) = kind {
                    tally.add(kind);
                }
                question = question.or(asked);
                ends.push(out.len());
            }
            (now, question, node.position())
        });
        if mode == Mode::Durable && tally.has(Kind::Iamat) {
            until = position;
        }
        self.speaker = speaker;
        host.stats.add(&tally);
        if let Some(traffic) = &host.traffic {
            let mut from = start;
            let messages = batch.iter().zip(ends).flat_map(|((frame, command), end)| {
                let reply = out.get(from..end).unwrap_or_default();
                from = end;
                let (Frame::Line(line) | Frame::TooLong(line)) = *frame;
                let received = (*command != Command::Blank).then_some((Direction::Received, line));
                let sent = (!reply.is_empty()).then_some((Direction::Sent, reply));
                received.into_iter().chain(sent)
            });
            traffic.log(&self.peer, now.unix, messages);
        }
        match question.map(|query| host.places.ask(&query, now.unix)) {
            None => self.put_tail(out, until, host),
            Some(Answer::Now(document)) => {
                write_document(&document, &mut out);
                self.put_tail(out, until, host);
            }
            Some(Answer::Later(document)) => {
                // The AT line waits too, so that it leaves together with its document.
                let at_line = out.split_off(last);
                self.put_tail(out, until, host);
                self.answers_awaited += 1;
                self.queued_bytes += at_line.len();
                self.queue.push_back(Due::Answer { at_line, document });
            }
        }
    }

    /// Moves what has been answered and written down meanwhile to the replies; true if anything was.
    pub fn poll_answers(&mut self, host: &Host, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        loop {
            match self.queue.front_mut() {
                None => return moved,
                Some(Due::Bytes(bytes, until)) => {
                    let is_safe = host.durability.poll_safe(*until, cx);
                    if !is_safe && host.durability.mode() != Mode::Refused {
                        return moved;
                    }
                    self.queued_bytes -= bytes.len();
                    if is_safe {
                        self.ready.append(bytes);
                    } else {
                        // They came before the disk failed; nobody knows how long it will.
                        write_refused(bytes, &mut self.ready);
                    }
                }
                Some(Due::Answer { at_line, document }) => {
                    let Poll::Ready(answer) = Pin::new(document).poll(cx) else { return moved };
                    self.answers_awaited -= 1;
                    self.queued_bytes -= at_line.len();
                    self.ready.append(at_line);
                    let document = answer.unwrap_or_else(|_| {
                        let status = herd_places::Status::UnknownError;
                        Arc::new(Document::failure(status, "the server is stopping"))
                    });
                    write_document(&document, &mut self.ready);
                }
            }
            moved = true;
            self.queue.pop_front();
        }
    }

    /// Replies to send now.
    pub fn replies(&self) -> &[u8] {
        &self.ready
    }

    /// The first `count` bytes of [`replies`](Self::replies) were sent.
    pub fn sent(&mut self, count: usize) {
        if count >= self.ready.len() {
            self.ready.clear();
            self.ready.shrink_to(KEPT_BYTES);
        } else {
            self.ready.drain(..count);
        }
    }

    /// Whether nothing is owed to the client any more, now that it will ask no more.
    pub fn is_done(&self) -> bool {
        self.ended && self.owes_nothing()
    }

    /// Whether everything read so far is answered and sent.
    pub fn owes_nothing(&self) -> bool {
        self.ready.is_empty() && self.queue.is_empty() && self.backlog.is_none()
    }

    /// Where the next reply goes, behind what is awaited or straight to what is ready; and the position
    /// that must be safe before what stands there may go out.
    fn take_tail(&mut self, mode: Mode) -> (Vec<u8>, u64) {
        match self.queue.pop_back() {
            // What is ready is not held up by what may have to wait.
            None if mode == Mode::Durable => (Vec::new(), 0),
            None => (std::mem::take(&mut self.ready), 0),
            Some(Due::Bytes(bytes, until)) => {
                self.queued_bytes -= bytes.len();
                (bytes, until)
            }
            Some(answer @ Due::Answer { .. }) => {
                self.queue.push_back(answer);
                (Vec::new(), 0)
            }
        }
    }

    fn put_tail(&mut self, mut bytes: Vec<u8>, until: u64, host: &Host) {
        if self.queue.is_empty() && host.durability.is_safe(until) {
            if self.ready.is_empty() {
                self.ready = bytes;
            } else {
                self.ready.append(&mut bytes);
            }
        } else if !bytes.is_empty() {
            self.queued_bytes += bytes.len();
            self.queue.push_back(Due::Bytes(bytes, until));
        }
    }

    /// Whether `line` is the hello of a server of this product.
    pub fn is_hello(line: &[u8]) -> bool {
        Hello::parse(line).is_some()
    }
}

/// What a conversation keeps of its reply buffer between two batches: one reply's worth, so that
/// asking one thing after another allocates nothing and an idle connection holds next to nothing.
const KEPT_BYTES: usize = 512;

fn parse(frame: Frame<'_>) -> (Frame<'_>, Command<'_>) {
    let command = match frame {
        Frame::Line(line) => Command::parse(line),
        Frame::TooLong(_) => Command::Unknown,
    };
    (frame, command)
}

/// The client that a command reports.
fn reports<'a>(command: &Command<'a>) -> Option<&'a str> {
    match command {
        Command::Iamat(iamat) => Some(iamat.client),
        Command::At(at) => Some(at.report.client),
        Command::Blank | Command::Whatsat(_) | Command::Unknown => None,
    }
}

/// Whose lines they are.
#[derive(Clone, Copy, Debug)]
struct Speaker {
    may_relay: MayRelay,
    /// Reports are not refused.
    takes_reports: bool,
    /// It has told what another server heard. Its complaints are then not answered: two servers would
    /// bounce them for ever.
    is_server: bool,
}

/// Appends the reply to one line, but for the document about places, which is asked for outside.
fn answer(
    frame: &Frame<'_>,
    command: &Command<'_>,
    speaker: &mut Speaker,
    node: &mut Node,
    now: Now,
    name: &str,
    out: &mut Vec<u8>,
) -> (Option<Kind>, Option<Query>) {
    let line = match frame {
        Frame::Line(line) | Frame::TooLong(line) if speaker.is_server && line.starts_with(b"?") => {
            return (Some(Kind::Invalid), None);
        }
        Frame::Line(line) => line,
        Frame::TooLong(start) => {
            write_unknown_too_long(start, out);
            return (Some(Kind::TooLong), None);
        }
    };
    match command {
        Command::Blank => (None, None),
        Command::Iamat(iamat) if speaker.takes_reports => {
            let Some(difference) = node.handle_report(iamat, now) else {
                write_unknown(line, out);
                return (Some(Kind::TurnedAway), None);
            };
            Report::write_received(name, difference, iamat, out);
            (Some(Kind::Iamat), None)
        }
        Command::At(at) if speaker.may_relay == MayRelay::Yes => {
            speaker.is_server = true;
            node.handle_relay(at, now);
            (Some(Kind::At), None)
        }
        Command::Whatsat(Whatsat { client, radius_m, bound }) => {
            let Some(found) = node.locate(client, now.unix) else {
                write_unknown(line, out);
                return (Some(Kind::WhatsatUnknown), None);
            };
            found.report.write_at(client, out);
            let query = Query { center: found.point, radius_m: *radius_m, bound: *bound };
            (Some(Kind::Whatsat), Some(query))
        }
        Command::Iamat(_) => {
            write_unknown(line, out);
            (Some(Kind::Refused), None)
        }
        Command::At(_) | Command::Unknown => {
            write_unknown(line, out);
            (Some(Kind::Invalid), None)
        }
    }
}

/// Appends replies, with the reports that they acknowledge refused instead. A question's AT line is told by the
/// document that stands behind it: such a document begins a line as no reply does.
fn write_refused(replies: &[u8], out: &mut Vec<u8>) {
    let mut lines = replies.split_inclusive(|&byte| byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let is_question = lines.peek().is_some_and(|next| next.starts_with(b"{"));
        // AT, this server, the difference; what the client reported is the rest.
        let mut fields = line.splitn(4, |&byte| byte == b' ');
        match (fields.next(), fields.nth(2)) {
            (Some(b"AT"), Some(report)) if !is_question => {
                out.extend_from_slice(b"? IAMAT ");
                out.extend_from_slice(report);
            }
            _ => out.extend_from_slice(line),
        }
    }
}

/// Appends a document about places as it ends a reply: followed by two line feeds.
fn write_document(document: &Document, out: &mut Vec<u8>) {
    out.extend_from_slice(document.as_str().as_bytes());
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_that_waited_when_the_disk_failed_come_back() {
        let replies = b"AT Hill +0.000000001 kiwi +34.0-118.0 5.0\n? what\n\
            AT Hill +0.000000001 kiwi +34.0-118.0 5.0\n{\n  \"results\": []\n}\n\n\
            AT Hill -0.000000001 emu +34.0-118.0 6.0\n";
        let refused = b"? IAMAT kiwi +34.0-118.0 5.0\n? what\n\
            AT Hill +0.000000001 kiwi +34.0-118.0 5.0\n{\n  \"results\": []\n}\n\n\
            ? IAMAT emu +34.0-118.0 6.0\n";
        let mut out = Vec::new();
        write_refused(replies, &mut out);
        assert_eq!(out, refused, "{}", out.escape_ascii());
    }
}
