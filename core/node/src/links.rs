//! The links of a node: how they begin, what comes and goes over them, how they end. Who is let in is
//! decided in `greeting.rs`.

use crate::clocks::{CLOCK_RETRY, ClockReading};
use crate::link::{Dialect, Link, LinkLine, Phase, read};
use crate::mutants::Mutant;
use crate::node::{Node, decode};
use crate::output::{CloseReason, Event, Output, Refusal};
use crate::peers::{Dialing, PeerId};
use crate::replay::Replay;
use crate::silence::Silence;
use arrayvec::ArrayVec;
use herd_proto::peer::{BATCH_BYTES_MAX, BatchWriter, Decoded, Frames, Message, decode_batch};
use herd_proto::{At, Frame, Framer, Instant, Now, UnixTime};
use herd_replica::{Applied, LinkId, Sink};

/// Messages that are decoded together before the first is handled: as many as a batch of clients' lines.
const CHUNK_MESSAGES: usize = 64;

/// The state of this many keys or more is prefetched, all at once.
const PREFETCHED_MIN: usize = 4;

type Chunk<'a> = ArrayVec<Message<'a>, CHUNK_MESSAGES>;

/// The next messages of a batch, and what is wrong with the one behind them.
fn next_chunk<'a>(frames: &mut Frames<'a>) -> (Chunk<'a>, Option<CloseReason>) {
    let mut chunk = Chunk::new();
    while !chunk.is_full() {
        match frames.next() {
            None => break,
            Some(Ok(Decoded::Message(message))) => chunk.push(message),
            Some(Ok(Decoded::Skipped(_))) => {}
            Some(Err(error)) => return (chunk, Some(CloseReason::Nonsense(error.to_string()))),
        }
    }
    (chunk, None)
}

impl Node {
    /// A connection that [`Output::Connect`] asked for is open. Drive it as the link returned.
    pub fn handle_connected(&mut self, peer: PeerId, now: Now) -> Option<LinkId> {
        self.note_time(now);
        let settings = &self.peers.get(peer.0).filter(|peer| !peer.gone)?.settings;
        let dialect = settings.dialect;
        let phase = match dialect {
            Dialect::At => Phase::Up,
            Dialect::Native => Phase::Greeting,
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
                self.say_hello(id, now);
            }
        }
        self.set_timeout();
        Some(id)
    }

    /// A connection that [`Output::Connect`] asked for could not be opened.
    pub fn handle_connect_failed(&mut self, peer: PeerId, why: String, now: Now) {
        self.note_time(now);
        let (backoff, chance) = (self.backoff(), self.chance.next());
        if let Some(peer) = self.peers.get_mut(peer.0) {
            peer.dial_failed(why, backoff, chance, now.instant);
        }
        self.spoil_dialing(peer);
        self.set_timeout();
    }

    /// A connection that [`Output::Probe`] asked for was accepted or refused: the machine of that peer is there. A
    /// link on which nothing comes is kept a little longer, since the process may be starved.
    pub fn handle_sign_of_life(&mut self, peer: PeerId, now: Now) {
        self.note_time(now);
        for link in self.links.values_mut().filter(|link| link.peer == Some(peer)) {
            link.silence.note_sign_of_life(now.instant);
        }
        self.set_timeout();
    }

    /// A connection was accepted whose first line is a hello. Drive it as the link returned,
    /// beginning with that line.
    pub fn handle_accepted(&mut self, now: Now) -> LinkId {
        self.note_time(now);
        let id = self.add_link(None, Dialect::Native, Phase::Greeting, now);
        self.set_timeout();
        id
    }

    /// Bytes came in on a link.
    pub fn handle_link_input(&mut self, id: LinkId, bytes: &[u8], now: Now) {
        self.note_time(now);
        let Some(link) = self.links.get_mut(&id) else { return };
        // Without bytes it is about some that came before.
        if !bytes.is_empty() {
            link.note_input(now.instant);
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

    /// A hello, then batches of frames; returns how many bytes of `input` were used up.
    fn handle_native(&mut self, id: LinkId, input: &[u8], now: Now) -> usize {
        let mut taken = 0;
        loop {
            let rest = input.get(taken..).unwrap_or_default();
            let Some(link) = self.links.get(&id) else { return input.len() };
            match link.phase {
                Phase::Closing => return input.len(),
                Phase::Up if link.dialect == Dialect::At => return taken,
                // What comes meanwhile waits; there is little that could come.
                Phase::Contested { .. } if rest.len() <= BATCH_BYTES_MAX => return taken,
                Phase::Contested { .. } => {
                    let reason = format!("{} bytes before it was answered", rest.len());
                    self.close_link(id, CloseReason::Nonsense(reason), now);
                }
                Phase::Up => match decode_batch(rest) {
                    Ok(None) => return taken,
                    Ok(Some((batch, length))) => {
                        taken += length;
                        self.handle_batch(id, batch.frames(), now);
                    }
                    Err(error) => {
                        self.close_link(id, CloseReason::Nonsense(error.to_string()), now);
                    }
                },
                Phase::Greeting => {
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

    /// Frames that came together; none is handled after one that ends the link.
    fn handle_batch(&mut self, id: LinkId, mut frames: Frames<'_>, now: Now) {
        loop {
            let (chunk, error) = next_chunk(&mut frames);
            let is_last = !chunk.is_full();
            self.prefetch(&chunk);
            for message in &chunk {
                if !self.is_up(id) {
                    return;
                }
                self.handle_message(id, message, now);
            }
            if let Some(reason) = error
                && self.is_up(id)
            {
                self.close_link(id, reason, now);
            }
            if is_last {
                return;
            }
        }
    }

    fn is_up(&self, id: LinkId) -> bool {
        self.links.get(&id).is_some_and(|link| link.phase == Phase::Up)
    }

    fn prefetch(&mut self, chunk: &Chunk<'_>) {
        if chunk.len() < PREFETCHED_MIN {
            return;
        }
        let keys = chunk.iter().filter_map(|message| {
            let (Message::Entry { key, .. } | Message::Record { key, .. }) = message else {
                return None;
            };
            Some(*key)
        });
        let places = self.replica.expect(keys);
        self.whereabouts.expect(places);
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
            Message::Ping { sent, .. } => {
                link.say_pong(sent);
                self.wake(id);
            }
            Message::Pong { sent, unix_ns } => {
                self.handle_pong(id, Instant::from_nanos(sent), UnixTime::from_nanos(unix_ns), now);
            }
            Message::Bye { reason } => {
                let peer_knows = Refusal::later_incarnation(reason);
                let reason = CloseReason::EndedByPeer(readable(reason));
                self.close_link(id, reason, now);
                if let Some(incarnation) = peer_knows {
                    self.handle_later(incarnation, now);
                }
            }
            Message::Entry { received_ns, .. } | Message::Record { received_ns, .. } => {
                if let Some(peer) = link.peer.and_then(|peer| self.peers.get_mut(peer.0)) {
                    peer.counters.records_received += 1;
                }
                let is_entry = matches!(message, Message::Entry { .. });
                self.replica.handle(id, message, now);
                if self.replica.take_changed() {
                    if is_entry {
                        self.note_propagation(received_ns, now);
                    }
                    self.wake_foreign();
                }
                self.after_replica(now);
            }
            // At once, since what ends the link ends what is handled of it too.
            _ => {
                self.replica.handle(id, message, now);
                self.after_replica(now);
            }
        }
    }

    /// A ping that was sent at `sent` has been answered, by a peer whose clock showed `theirs`.
    fn handle_pong(&mut self, id: LinkId, sent: Instant, theirs: UnixTime, now: Now) {
        let Some(link) = self.links.get(&id) else { return };
        // A peer could claim any time that it was asked at.
        let round_trip = now.instant.since(sent.max(link.opened));
        self.replica.set_round_trip(id, round_trip);
        let Some(peer) = link.peer else { return };
        if let Some(peer) = self.peers.get_mut(peer.0) {
            peer.round_trip = Some(round_trip);
        }
        self.refuse_rivals(id, peer, sent, now);
        let reading = ClockReading::new(theirs, round_trip, now);
        if let Err(refusal) = self.judge_clock(peer, reading, now) {
            self.close_link(id, CloseReason::Refused(refusal), now);
        }
    }

    /// A report arrived that its first server received at this time.
    fn note_propagation(&mut self, received_ns: i64, now: Now) {
        self.counters.propagation.record(now.unix.nanos().saturating_sub(received_ns));
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
        self.note_time(now);
        if self.is(Mutant::ClosedUnnoticed) {
            self.replica.close_link(id, now);
        } else {
            self.retire_link(id, CloseReason::Socket(why), now);
        }
        self.links.remove(&id);
        self.after_replica(now);
        self.set_timeout();
    }

    /// Appends what is to be sent on a link now, until `out` has at least `budget` bytes or nothing
    /// is left. If nothing was appended, [`Output::Transmit`] tells when to ask again.
    pub fn poll_transmit(&mut self, id: LinkId, out: &mut Vec<u8>, budget: usize, now: Now) {
        let budget = if self.is(Mutant::BudgetIgnored) { usize::MAX } else { budget };
        let waits = !self.is(Mutant::WakeLost);
        let Some(link) = self.links.get_mut(&id) else { return };
        let start = out.len();
        link.drain_lines(out);
        let mut records = 0;
        if link.dialect == Dialect::Native {
            let mut frames = FrameSink { writer: BatchWriter::new(out), budget, records: 0 };
            link.drain_frames(&mut frames.writer, now);
            if link.speaks_frames() {
                self.replica.poll_transmit(id, &mut frames, now);
            }
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
        self.after_replica(now);
    }

    fn handle_link_line(&mut self, id: LinkId, line: &LinkLine<'_>, now: Now) {
        let spoiled = self.is(Mutant::NotUnderstoodAnswered);
        let Some(link) = self.links.get_mut(&id) else { return };
        match (link.phase, line) {
            (Phase::Closing, _) | (_, LinkLine::Blank) => {}
            (Phase::Greeting, LinkLine::Hello(hello)) => self.greet(id, hello, now),
            (_, LinkLine::Refused(reason)) => {
                let peer_knows = Refusal::later_incarnation(reason).filter(|_| link.dialed);
                let reason = CloseReason::RefusedByPeer(readable(reason));
                self.close_link(id, reason, now);
                if let Some(incarnation) = peer_knows {
                    self.handle_later(incarnation, now);
                }
            }
            // It does not know the hello, or speaks before it has read it: it is a foreign server,
            // whatever the configuration says.
            (Phase::Greeting, LinkLine::NotUnderstood(_) | LinkLine::At(_)) if link.dialed => {
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
            let name = self.peer_name(peer).to_owned();
            self.replica.open_link(id, &name, now);
        } else if let Some(link) = self.links.get_mut(&id) {
            link.replay = Replay::new(self.replica.feed_end(), now.instant);
        }
        let dead_after = self.peers.get(peer.0).map(|peer| peer.settings.dead_after);
        if let Some(link) = self.links.get_mut(&id) {
            link.phase = Phase::Up;
            link.dead_after = dead_after.unwrap_or(link.dead_after);
            link.silence = Silence::new(now.instant);
            // The round trip and the peer's clock are wanted soon.
            if native {
                link.say_ping(now.instant);
            }
            let (dialed, incarnation) = (link.dialed, link.incarnation);
            let frames = native.then_some(link.frames);
            let name = self.peer_name(peer).to_owned();
            self.outputs.push_back(Output::Event(Event::LinkUp {
                peer: name,
                dialed,
                incarnation,
                frames,
            }));
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

    /// Has the driver look for something to send, once, however often this is called before it does.
    pub(crate) fn wake(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.waiting {
            link.waiting = false;
            self.outputs.push_back(Output::Transmit(id));
        }
    }

    /// Closes a link from this side: its reason may still be sent, nothing else.
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
        let dialed = link.dialed;
        let (backoff, chance) = (self.backoff(), self.chance.next());
        let mut linked = false;
        if let Some(peer) = peer.and_then(|peer| self.peers.get_mut(peer.0)) {
            peer.counters.timeouts += u64::from(reason.is_timeout());
            if reason.is_fault() {
                peer.counters.faults += 1;
                // Another process may claim its name when it connects, but hardly at its address.
                let penalty =
                    if dialed { &mut peer.dial_penalty } else { &mut peer.accept_penalty };
                penalty.note_fault(now.instant);
            }
            linked = peer.link == Some(id);
            if linked {
                peer.link_down(reason.to_string(), backoff, chance, now.instant);
            } else if peer.dialing == Dialing::Greeting(id) {
                peer.dial_failed(reason.to_string(), backoff, chance, now.instant);
            }
            if matches!(reason, CloseReason::Refused(Refusal::ClocksDiffer { .. })) {
                peer.dial_by(now.instant + CLOCK_RETRY);
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
struct FrameSink<'a> {
    writer: BatchWriter<'a>,
    budget: usize,
    records: u64,
}

impl Sink for FrameSink<'_> {
    fn put(&mut self, message: &Message<'_>) {
        let is_record = matches!(message, Message::Entry { .. } | Message::Record { .. });
        self.records += u64::from(is_record);
        self.writer.push(message);
    }

    fn is_full(&self) -> bool {
        self.writer.len() >= self.budget
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
