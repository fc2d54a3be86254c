//! The links of a node: how they begin, what comes and goes over them, how they end. Who is let in is
//! decided in `greeting.rs`.

use crate::link::{Dialect, Link, LinkLine, Phase, read};
use crate::mutants::Mutant;
use crate::node::{Node, decode};
use crate::output::{CloseReason, Event, Output};
use crate::peers::{Dialing, PeerId};
use crate::replay::Replay;
use arrayvec::ArrayVec;
use herd_proto::peer::{Decoded, FRAME_BYTES_MAX, FrameError, Message};
use herd_proto::{At, Difference, Frame, Framer, Instant, Now, Report, UnixTime};
use herd_replica::{Applied, LinkId, Sink};

/// Messages that are looked at together before the first is heard: as many as a batch of clients' lines.
const BATCH_MESSAGES: usize = 64;

/// From so many on what is known of their keys is asked for beforehand, all at once.
const EXPECTED_MIN: usize = 4;

/// Messages, and how many bytes each was.
type Batch<'a> = ArrayVec<(Decoded<'a>, usize), BATCH_MESSAGES>;

/// The whole frames at the start of `input`, as many as a batch holds, and what is wrong with the next.
fn decode_batch(input: &[u8]) -> (Batch<'_>, Option<FrameError>) {
    let mut batch = Batch::new();
    let mut rest = input;
    while !batch.is_full() {
        match Message::decode(rest) {
            Ok(None) => break,
            Ok(Some((decoded, length))) => {
                rest = rest.get(length..).unwrap_or_default();
                batch.push((decoded, length));
            }
            Err(error) => return (batch, Some(error)),
        }
    }
    (batch, None)
}

impl Node {
    /// A connection that [`Output::Connect`] asked for is open. Drive it as the link returned.
    pub fn handle_connected(&mut self, peer: PeerId, now: Now) -> Option<LinkId> {
        let settings = &self.peers.get(peer.0).filter(|peer| !peer.gone)?.settings;
        let dialect = settings.dialect;
        let phase = match dialect {
            Dialect::At => Phase::Up,
            Dialect::Native => self.greeting(now),
        };
        let id = self.add_link(Some(peer), dialect, phase, now);
        match dialect {
            Dialect::At => {
                if let Some(peer) = self.peers.get_mut(peer.0) {
                    peer.dialing = Dialing::Idle;
                }
                self.link_up(id, peer, now);
            }
            Dialect::Native => {
                if let Some(peer) = self.peers.get_mut(peer.0) {
                    peer.dialing = Dialing::Greeting(id);
                }
                self.say_hello(id);
            }
        }
        self.set_timeout();
        Some(id)
    }

    /// A connection that [`Output::Connect`] asked for could not be opened.
    pub fn handle_connect_failed(&mut self, peer: PeerId, why: String, now: Now) {
        let (backoff, chance) = (self.backoff(), self.chance.next());
        if let Some(peer) = self.peers.get_mut(peer.0) {
            peer.dial_failed(why, backoff, chance, now.instant);
        }
        self.spoil_dialing(peer);
        self.set_timeout();
    }

    /// Somebody connected and its first line is a hello. Drive the connection as the link returned,
    /// beginning with that line.
    pub fn handle_accepted(&mut self, now: Now) -> LinkId {
        let phase = self.greeting(now);
        let id = self.add_link(None, Dialect::Native, phase, now);
        self.set_timeout();
        id
    }

    fn greeting(&self, now: Now) -> Phase {
        let forever = self.is(Mutant::GreetingForever);
        let within = self.settings.hello_within * if forever { 3600 } else { 1 };
        Phase::Greeting { until: now.instant + within }
    }

    /// Bytes came in on a link.
    pub fn handle_link_input(&mut self, id: LinkId, bytes: &[u8], now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        // What had come before, and is only looked at now, is no sign of life.
        if !bytes.is_empty() {
            link.heard = now.instant;
        }
        if let Some(peer) = link.peer.and_then(|peer| self.peers.get_mut(peer.0)) {
            peer.counters.bytes_received += bytes.len() as u64;
        }
        if link.dialect == Dialect::At {
            self.handle_lines(id, bytes, now);
        } else {
            let mut input = link.take_partial();
            input.extend_from_slice(bytes);
            let taken = self.handle_native(id, &input, now);
            let mut rest = input.split_off(taken.min(input.len()));
            let (no_partial, no_rest) =
                (self.is(Mutant::PartialDropped), self.is(Mutant::RestDropped));
            match self.links.get_mut(&id) {
                // It turned out to be a foreign server: what came after its answer is lines.
                Some(link) if link.dialect == Dialect::At && !no_rest => {
                    self.handle_lines(id, &rest, now);
                }
                Some(link) => {
                    if no_partial && link.speaks_frames() {
                        rest.clear();
                    }
                    link.put_partial(rest);
                }
                None => {}
            }
        }
        self.after_replica(now);
        self.set_timeout();
    }

    /// Lines of a foreign server.
    fn handle_lines(&mut self, id: LinkId, bytes: &[u8], now: Now) {
        let framer = self.links.get_mut(&id).and_then(Link::take_framer);
        let mut framer = framer.unwrap_or_else(|| Framer::new(self.settings.line_bytes_max));
        for frame in framer.feed(bytes) {
            self.handle_link_line(id, &read(&frame), now);
        }
        framer.settle();
        if let Some(link) = self.links.get_mut(&id) {
            link.put_framer(framer);
        }
    }

    /// A hello, then frames; returns how many bytes of `input` were used up.
    fn handle_native(&mut self, id: LinkId, input: &[u8], now: Now) -> usize {
        let mut taken = 0;
        loop {
            let rest = input.get(taken..).unwrap_or_default();
            let Some(link) = self.links.get(&id) else { return input.len() };
            match link.phase {
                Phase::Closing => return input.len(),
                Phase::Up if link.dialect == Dialect::At => return taken,
                // What comes meanwhile waits; there is little that could come.
                Phase::Contested { .. } if rest.len() <= FRAME_BYTES_MAX => return taken,
                Phase::Contested { .. } => {
                    let reason = format!("{} bytes before it was answered", rest.len());
                    self.close_link(id, CloseReason::Nonsense(reason), now);
                }
                Phase::Up => {
                    let (batch, error) = decode_batch(rest);
                    if batch.is_empty() && error.is_none() {
                        return taken;
                    }
                    taken += self.handle_batch(id, &batch, now);
                    let is_up = |link: &Link| link.phase == Phase::Up;
                    if let Some(error) = error.filter(|_| self.links.get(&id).is_some_and(is_up)) {
                        self.close_link(id, CloseReason::Nonsense(error.to_string()), now);
                    }
                }
                Phase::Greeting { .. } => {
                    let end = rest.iter().position(|&b| b == b'\n');
                    if end.is_none() && rest.len() <= self.settings.line_bytes_max {
                        return taken;
                    }
                    let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                    taken += line.len() + 1;
                    self.handle_link_line(id, &read(&Frame::Line(line)), now);
                }
            }
        }
    }

    /// Messages that came together; returns the bytes of those that were heard: none after one that ends the link.
    fn handle_batch(&mut self, id: LinkId, batch: &Batch<'_>, now: Now) -> usize {
        if batch.len() >= EXPECTED_MIN {
            let keys = batch.iter().filter_map(|(decoded, _)| match decoded {
                Decoded::Message(Message::Entry { key, .. }) => Some(*key),
                Decoded::Message(_) | Decoded::Skipped(_) => None,
            });
            let places = self.replica.expect(keys);
            self.whereabouts.expect(places);
        }
        let mut taken = 0;
        for (decoded, length) in batch {
            if self.links.get(&id).is_none_or(|link| link.phase != Phase::Up) {
                break;
            }
            taken += length;
            if let Decoded::Message(message) = decoded {
                self.handle_message(id, message, now);
            }
        }
        taken
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all that is not the link's is the replica's"
    )]
    fn handle_message(&mut self, id: LinkId, message: &Message<'_>, now: Now) {
        let mute = self.is(Mutant::PongNever);
        let Some(link) = self.links.get_mut(&id) else { return };
        match *message {
            Message::Ping { .. } if mute => {}
            Message::Ping { sent } => {
                link.say_pong(sent);
                self.wake(id);
            }
            Message::Pong { sent } => {
                let round_trip = now.instant.since(Instant::from_nanos(sent));
                self.replica.set_round_trip(id, round_trip);
                if let Some(peer) = link.peer {
                    if let Some(peer) = self.peers.get_mut(peer.0) {
                        peer.round_trip = Some(round_trip);
                    }
                    self.refuse_rivals(id, peer, Instant::from_nanos(sent), now);
                }
            }
            Message::Bye { reason } => {
                let reason = CloseReason::EndedByPeer(readable(reason));
                self.close_link(id, reason, now);
            }
            Message::Entry { value, .. } => {
                if let Some(peer) = link.peer.and_then(|peer| self.peers.get_mut(peer.0)) {
                    peer.counters.records_received += 1;
                }
                self.replica.handle(id, message, now);
                if self.replica.take_changed() {
                    self.note_propagation(value, now);
                    self.wake_foreign();
                }
                self.after_replica(now);
            }
            // At once, since what ends the link ends what is heard on it too.
            _ => {
                self.replica.handle(id, message, now);
                self.after_replica(now);
            }
        }
    }

    /// A report arrived that its first server received some time ago.
    fn note_propagation(&mut self, value: &[u8], now: Now) {
        let Some(report) = Report::decode(value) else { return };
        let (time, difference) =
            (UnixTime::parse(report.time), Difference::parse(report.difference));
        let (Some(time), Some(difference)) = (time, difference) else { return };
        let received = time.nanos().saturating_add(difference.nanos());
        self.counters.propagation.record(now.unix.nanos().saturating_sub(received));
    }

    pub(crate) fn wake_foreign(&mut self) {
        if self.is(Mutant::ForeignNotWoken) {
            return;
        }
        for (&id, link) in &mut self.links {
            let held = link.replay.resume_at().is_some();
            if link.dialect == Dialect::At && !held && std::mem::take(&mut link.waiting) {
                self.outputs.push_back(Output::Transmit(id));
            }
        }
    }

    /// A link's socket was closed, by this side (after [`Output::Close`]) or the other, or failed.
    pub fn handle_link_closed(&mut self, id: LinkId, why: String, now: Now) {
        if self.is(Mutant::ClosedUnnoticed) {
            self.replica.close_link(id, now);
        } else {
            self.retire_link(id, CloseReason::Socket(why), now);
        }
        self.links.remove(&id);
        self.set_timeout();
    }

    /// Appends what is to be sent on a link now, until `out` has at least `budget` bytes or nothing
    /// is left. If nothing was appended, [`Output::Transmit`] tells when to ask again.
    pub fn poll_transmit(&mut self, id: LinkId, out: &mut Vec<u8>, budget: usize, now: Now) {
        let budget = if self.is(Mutant::BudgetIgnored) { usize::MAX } else { budget };
        let waits = !self.is(Mutant::WakeLost);
        let Some(link) = self.links.get_mut(&id) else { return };
        let start = out.len();
        link.drain_control(out);
        let mut records = 0;
        if link.speaks_frames() {
            let mut frames = Frames { out, budget, records: 0 };
            self.replica.poll_transmit(id, &mut frames, now);
            records = frames.records;
        } else if link.phase == Phase::Up {
            while out.len() < budget && link.replay.may_tell(link.cursor, now.instant) {
                let Some(record) = self.replica.poll_feed(&mut link.cursor, id) else { break };
                if let Some((client, report)) = decode(&record) {
                    report.write_at(client, out);
                    records += 1;
                }
            }
        }
        let sent = out.len() - start;
        link.waiting = sent == 0 && waits;
        if let Some(at) = link.replay.resume_at() {
            self.timeout = Some(self.timeout.map_or(at, |timeout| timeout.min(at)));
        }
        if let Some(peer) = link.peer.and_then(|peer| self.peers.get_mut(peer.0)) {
            peer.counters.records_sent += records;
            peer.counters.bytes_sent += sent as u64;
        }
    }

    fn handle_link_line(&mut self, id: LinkId, line: &LinkLine<'_>, now: Now) {
        let spoiled = self.is(Mutant::NotUnderstoodAnswered);
        let Some(link) = self.links.get_mut(&id) else { return };
        match (link.phase, line) {
            (Phase::Closing, _) | (_, LinkLine::Blank) => {}
            (Phase::Greeting { .. }, LinkLine::Hello(hello)) => self.greet(id, hello, now),
            (_, LinkLine::Refused(reason)) => {
                let reason = CloseReason::RefusedByPeer(readable(reason));
                self.close_link(id, reason, now);
            }
            // It does not know our hello, or speaks before it has read it: it is a foreign server,
            // whatever the configuration says.
            (Phase::Greeting { .. }, LinkLine::NotUnderstood(_) | LinkLine::At(_))
                if link.dialed =>
            {
                link.dialect = Dialect::At;
                link.caught_up = true;
                if let Some(peer) = link.peer {
                    self.end_dialing(peer);
                    self.link_up(id, peer, now);
                }
                if let LinkLine::At(at) = line {
                    self.handle_at(id, at, now);
                }
            }
            (Phase::Up, LinkLine::At(at)) => self.handle_at(id, at, now),
            (_, LinkLine::NotUnderstood(line)) => {
                if spoiled {
                    link.say_not_understood(&LinkLine::Other(line));
                    self.wake(id);
                }
                let Some(link) = self.links.get_mut(&id) else { return };
                let peer = link.peer.map_or("", |peer| self.peer_name(peer)).to_owned();
                let line = printable(line);
                self.outputs.push_back(Output::Event(Event::NotUnderstood { peer, line }));
            }
            (Phase::Up, line) if link.dialect == Dialect::At => {
                link.say_not_understood(line);
                self.wake(id);
            }
            (_, line) => {
                let line = if let LinkLine::Other(line) | LinkLine::TooLong(line) = line {
                    printable(line)
                } else {
                    printable(format!("{line:?}").as_bytes())
                };
                self.close_link(id, CloseReason::Nonsense(line), now);
            }
        }
    }

    fn handle_at(&mut self, id: LinkId, at: &At<'_>, now: Now) {
        let peer = self.links.get(&id).and_then(|link| link.peer);
        if let Some(peer) = peer.and_then(|peer| self.peers.get_mut(peer.0)) {
            peer.counters.records_received += 1;
        }
        let from = (!self.is(Mutant::EchoToldBack)).then_some(id);
        if self.apply_at(at, from, now) == Applied::Newer {
            let received = at.report.time.nanos().saturating_add(at.difference.nanos());
            self.counters.propagation.record(now.unix.nanos().saturating_sub(received));
        }
    }

    pub(crate) fn link_up(&mut self, id: LinkId, peer: PeerId, now: Now) {
        let unstable = self.is(Mutant::BackoffNeverReset);
        let native = self.links.get(&id).is_some_and(|link| link.dialect == Dialect::Native);
        if native {
            self.replica.open_link(id, now);
        } else if let Some(link) = self.links.get_mut(&id) {
            link.replay = Replay::new(self.replica.feed_end(), now.instant);
        }
        let dead_after = self.peers.get(peer.0).map(|peer| peer.settings.dead_after);
        if let Some(link) = self.links.get_mut(&id) {
            link.phase = Phase::Up;
            link.dead_after = dead_after.unwrap_or(link.dead_after);
            link.pinged = now.instant;
            let (dialed, frames) = (link.dialed, native.then_some(link.frames));
            let name = self.peer_name(peer).to_owned();
            self.outputs.push_back(Output::Event(Event::LinkUp { peer: name, dialed, frames }));
        }
        if let Some(peer) = self.peers.get_mut(peer.0) {
            peer.link_up(id, now.instant, unstable);
        }
        self.wake(id);
    }

    fn add_link(
        &mut self,
        peer: Option<PeerId>,
        dialect: Dialect,
        phase: Phase,
        now: Now,
    ) -> LinkId {
        self.links_opened += 1;
        let id = LinkId(self.links_opened);
        let link = Link::new(peer, dialect, phase, &self.settings, now.instant);
        self.links.insert(id, link);
        id
    }

    /// The driver shall look for something to send, once, however often this is called before it does.
    pub(crate) fn wake(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.waiting {
            link.waiting = false;
            self.outputs.push_back(Output::Transmit(id));
        }
    }

    /// A link ends from this side: its last words may still be sent, nothing else.
    pub(crate) fn close_link(&mut self, id: LinkId, reason: CloseReason, now: Now) {
        if let Some(link) = self.links.get_mut(&id) {
            link.say_last(&reason);
        }
        if self.retire_link(id, reason, now) {
            self.outputs.push_back(Output::Close(id));
        }
    }

    /// Unties a link from the herd. False if that was done before, or there is no such link.
    fn retire_link(&mut self, id: LinkId, reason: CloseReason, now: Now) -> bool {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.phase != Phase::Closing) else {
            return false;
        };
        link.phase = Phase::Closing;
        let peer = link.peer;
        self.replica.close_link(id, now);
        let (backoff, chance) = (self.backoff(), self.chance.next());
        let mut linked = false;
        if let Some(peer) = peer.and_then(|peer| self.peers.get_mut(peer.0)) {
            linked = peer.link == Some(id);
            if linked {
                peer.link_down(reason.to_string(), backoff, chance, now.instant);
            } else if peer.dialing == Dialing::Greeting(id) {
                peer.dial_failed(reason.to_string(), backoff, chance, now.instant);
            }
        }
        if let Some(peer) = peer {
            self.spoil_dialing(peer);
        }
        let name = peer.map(|peer| self.peer_name(peer).to_owned());
        let vacant = linked && reason != CloseReason::Replaced;
        self.outputs.push_back(Output::Event(Event::LinkDown { peer: name, reason }));
        if let Some(peer) = peer.filter(|_| vacant) {
            self.admit_rivals(peer, now);
        }
        true
    }

    /// For the simulator's own test: what is wrong with the next dial if something shall be.
    fn spoil_dialing(&mut self, peer: PeerId) {
        let (never, quick) = (self.is(Mutant::RedialNever), self.is(Mutant::BackoffNeverGrows));
        let backoff = self.backoff();
        if let Some(peer) = self.peers.get_mut(peer.0) {
            peer.spoil(never, quick.then_some(backoff.min));
        }
    }

    pub(crate) fn end_dialing(&mut self, peer: PeerId) {
        if let Some(peer) = self.peers.get_mut(peer.0) {
            peer.dialing = Dialing::Idle;
        }
    }
}

/// Takes messages as frames.
struct Frames<'a> {
    out: &'a mut Vec<u8>,
    budget: usize,
    records: u64,
}

impl Sink for Frames<'_> {
    fn put(&mut self, message: &Message<'_>) {
        self.records += u64::from(matches!(message, Message::Entry { .. }));
        message.encode(self.out);
    }

    fn is_full(&self) -> bool {
        self.out.len() >= self.budget
    }
}

/// The start of a foreign line, fit for a log.
fn printable(line: &[u8]) -> String {
    const SHOWN_BYTES: usize = 120;
    line.get(..SHOWN_BYTES).unwrap_or(line).escape_ascii().to_string()
}

/// The start of a reason that another program gives, fit for a log: of what is not plain ASCII, letters
/// and digits are left as they are.
fn readable(reason: &str) -> String {
    /// Our own longest reason with usual names in it has some 250.
    const SHOWN_CHARS: usize = 400;
    let plain = |c: char| c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric();
    let mut shown = String::new();
    for c in reason.chars().take(SHOWN_CHARS) {
        if plain(c) { shown.push(c) } else { shown.extend(c.escape_default()) }
    }
    shown
}
