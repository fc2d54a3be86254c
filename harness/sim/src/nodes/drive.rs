//! Drives servers as the shell does: dials for them, carries their bytes, closes what they want closed.

use crate::nodes::config::{Being, DEAD_AFTER, HELLO_WITHIN, Neighbor};
use crate::nodes::future::modernize;
use crate::nodes::plan::{Dials, Pieces, nanos};
use crate::nodes::seen::Seen;
use crate::nodes::wire::{Conn, End, Is, Piece, Pipe};
use crate::nodes::world::{Ev, SECOND_NS, World};
use herd_node::{Event, LinkId, Node, Output, PeerId};
use herd_proto::{Command, Frame, Framer, Hello, write_unknown, write_unknown_too_long};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A read takes at most so much.
const RECEIVE_BYTES: usize = 16 * 1024;
/// A dial that nobody answers is given up after this.
const CONNECT_TIMEOUT_NS: u64 = 3 * SECOND_NS / 2;
/// A write that the other side does not take is given up after this.
const WRITE_TIMEOUT_NS: u64 = 10 * SECOND_NS;
/// A process that runs has read what came within this.
const READ_WITHIN_NS: u64 = SECOND_NS / 50;
/// The kernel gives a connection up after this; later than servers themselves notice.
pub(crate) const KERNEL_TIMEOUT_NS: u64 = 6 * SECOND_NS;

impl World {
    pub(crate) fn happen(&mut self, event: Ev) {
        match event {
            Ev::Deliver { conn, side } => self.deliver(conn, side),
            Ev::Dialed { host, life, peer, to } => self.dialed(host, life, peer, to),
            Ev::ForeignDial { host, life, neighbor } => self.foreign_dial(host, life, neighbor),
            Ev::WriteEnds { conn, side, writes } => {
                let end = &mut self.conns[conn].ends[side];
                end.watched = false;
                if end.open && end.writes == writes && !end.pending.is_empty() {
                    self.tally.see(Seen::Stuck);
                    self.close_end(conn, side, "the other side takes nothing", true);
                } else {
                    self.watch_write(conn, side);
                }
            }
            Ev::KernelEnds { conn, cuts } => self.kernel_ends(conn, cuts),
            Ev::Reset { conn, side } => self.close_end(conn, side, "reset", true),
            Ev::Quit { conn } => self.close_end(conn, 0, "", false),
            Ev::Thaw { host } => self.thaw(host),
            Ev::Sign { host, life, peer } => self.sign_of_life(host, life, peer),
            Ev::Starve { host } => self.starve(host),
        }
    }

    /// Does what servers have asked for, and what they ask for then.
    pub(crate) fn carry_out(&mut self) -> Result<(), String> {
        while let Some((host, life, output)) = self.todo.pop_front() {
            if self.hosts[host].life != life || self.hosts[host].is_down() {
                continue;
            }
            match output {
                Output::Connect(peer) => self.dial(host, peer)?,
                Output::Probe(peer) => self.probe(host, peer.0),
                Output::Transmit(link) => {
                    if let Some((conn, side)) = self.place(host, link) {
                        self.pump(conn, side);
                    }
                }
                Output::Close(link) => {
                    let gives_up = std::mem::take(&mut self.gives_up);
                    if let Some((conn, side)) = self.place(host, link) {
                        if gives_up && self.has_unread(conn, side) {
                            return Err(format!("server {host} gives up a link with unread input"));
                        }
                        self.conns[conn].ends[side].closing = true;
                        self.pump(conn, side);
                    }
                }
                // No server here keeps a journal.
                Output::Journal | Output::Journaled(_) => {}
                Output::Event(event) => {
                    self.note(|world| format!("{} {event:?}", world.hosts[host].name));
                    if let Event::LinkDown { reason, .. } = &event {
                        self.gives_up = reason.is_timeout();
                    }
                    self.judge_clocks(host, &event)?;
                    self.oracle.heard(host, &event, &mut self.tally);
                }
            }
            if let Some(wrong) = self.oracle.wrong.take() {
                return Err(wrong);
            }
        }
        Ok(())
    }

    fn place(&self, host: usize, link: LinkId) -> Option<(usize, usize)> {
        self.hosts[host].server()?.links.get(&link).copied()
    }

    /// Whether input has been there for so long that a process that runs would have read it.
    fn has_unread(&self, conn: usize, side: usize) -> bool {
        let Conn { ends, pipes, .. } = &self.conns[conn];
        let pipe = &pipes[side];
        let unread = pipe.pieces.front().filter(|piece| !piece.ends);
        let is_there = unread.is_some_and(|piece| piece.at_ns + READ_WITHIN_NS < self.now_ns);
        let is_link = matches!(ends[side].is, Is::Link(_));
        is_link && is_there && !pipe.silent && !self.is_cut(conn, side)
    }

    /// Servers whose clocks have differed for long by more than twice the skew do not link.
    fn judge_clocks(&self, host: usize, event: &Event) -> Result<(), String> {
        /// Beyond the limit for certain, whatever the way took.
        const FAR_NS: u64 = 140 * SECOND_NS;
        let Event::LinkUp { peer, frames: Some(_), .. } = event else { return Ok(()) };
        let link = self.hosts[host].server().and_then(|server| server.node.link_with(peer));
        let Some((conn, side)) = link.and_then(|link| self.place(host, link)) else {
            return Ok(());
        };
        // Names do not say whose clock it is: strangers claim those of servers, and say no time.
        let far = self.conns[conn].ends[1 - side].host;
        let Some(other) = self.hosts.get(far) else { return Ok(()) };
        let ours = &self.hosts[host];
        let differ = ours.ahead_ns.abs_diff(other.ahead_ns) > FAR_NS;
        let set_ns = ours.clock_set_ns.max(other.clock_set_ns);
        if differ && self.now_ns > set_ns + 10 * SECOND_NS {
            return Err(format!("server {host} links {peer}, whose clock is far off"));
        }
        Ok(())
    }

    // ---- dialing ----

    /// Somebody's system is asked whether it takes connections.
    fn probe(&mut self, host: usize, peer: usize) {
        let neighbor = self.hosts[host].neighbors[peer].clone();
        let edge = neighbor.edge.map(|edge| &self.edges[edge]);
        let is_cut = edge.is_some_and(|edge| edge.cut != [false; 2] || edge.dials == Dials::Hang);
        if is_cut || self.hosts[neighbor.host].is_down() {
            return;
        }
        self.tally.see(Seen::Probes);
        let life = self.hosts[host].life;
        let wait_ns = 2 * self.chance.below(self.plan.delay_ns + 1);
        self.after(wait_ns, Ev::Sign { host, life, peer });
    }

    fn sign_of_life(&mut self, host: usize, life: u64, peer: usize) {
        if self.hosts[host].life != life || self.hosts[host].is_down() {
            return;
        }
        if self.is_frozen(host) {
            let wait_ns = self.hosts[host].frozen_until - self.now_ns;
            return self.after(wait_ns, Ev::Sign { host, life, peer });
        }
        let other = self.hosts[host].neighbors[peer].host;
        let name = &self.hosts[other].name;
        let Some(server) = self.hosts[host].server() else { return };
        // A dial may have gone astray, and a stranger may have said the name of that peer: what counts is whom the
        // server takes the other end for.
        let links = server.links.iter().filter(|(link, _)| server.node.link_peer(**link) == name);
        for &(conn, side) in links.map(|(_, place)| place) {
            self.conns[conn].ends[side].alive_ns = self.now_ns;
        }
        self.enter(host, |node, now| node.handle_sign_of_life(PeerId(peer), now));
    }

    fn dial(&mut self, host: usize, peer: PeerId) -> Result<(), String> {
        let clock_set_ns = self.hosts[host].clock_set_ns;
        self.oracle.dials(host, peer.0, clock_set_ns, self.now_ns)?;
        let neighbor = self.hosts[host].neighbors[peer.0].clone();
        let life = self.hosts[host].life;
        let (to, wait_ns) = self.reach(host, &neighbor);
        self.after(wait_ns, Ev::Dialed { host, life, peer: peer.0, to });
        Ok(())
    }

    /// Whom a dial will reach, and when that is known.
    fn reach(&mut self, host: usize, neighbor: &Neighbor) -> (Option<usize>, u64) {
        let round_ns = 2 * self.chance.below(self.plan.delay_ns + 1);
        let dials = neighbor.edge.map_or(Dials::Reach, |edge| self.edges[edge].dials);
        if neighbor.edge.is_some_and(|edge| self.edges[edge].cut != [false; 2]) {
            return (None, CONNECT_TIMEOUT_NS);
        }
        match dials {
            Dials::Hang => {
                self.tally.see(Seen::DialsHung);
                (None, CONNECT_TIMEOUT_NS)
            }
            Dials::Refused => {
                self.tally.see(Seen::DialsRefused);
                (None, round_ns)
            }
            // Whoever expects nothing but AT lines cannot tell that somebody else is there.
            Dials::Astray(other)
                if other != host
                    && other != neighbor.host
                    && !self.plan.is_foreign(neighbor.host) =>
            {
                self.tally.see(Seen::DialsAstray);
                (Some(other), round_ns)
            }
            Dials::Astray(_) | Dials::Reach => (Some(neighbor.host), round_ns),
        }
    }

    fn dialed(&mut self, host: usize, life: u64, peer: usize, to: Option<usize>) {
        if self.hosts[host].life != life || self.hosts[host].is_down() {
            return;
        }
        if self.is_frozen(host) {
            let wait = self.hosts[host].frozen_until - self.now_ns;
            return self.after(wait, Ev::Dialed { host, life, peer, to });
        }
        let edge = self.hosts[host].neighbors[peer].edge;
        let Some(to) = to.filter(|&to| !self.hosts[to].is_down()) else {
            let why = || "nobody there".to_owned();
            self.enter(host, |node, now| node.handle_connect_failed(PeerId(peer), why(), now));
            return;
        };
        let link = self.enter(host, |node, now| node.handle_connected(PeerId(peer), now));
        let Some(link) = link.flatten() else { return };
        let conn = self.connect(host, Is::Link(link), to, edge);
        if let Some(server) = self.hosts[host].server_mut() {
            server.links.insert(link, (conn, 0));
        }
        self.pump(conn, 0);
    }

    /// Foreign servers dial every second for as long as they are not connected.
    fn foreign_dial(&mut self, host: usize, life: u64, neighbor: usize) {
        if self.hosts[host].life != life || self.hosts[host].is_down() {
            return;
        }
        if self.is_frozen(host) {
            return self.after(SECOND_NS, Ev::ForeignDial { host, life, neighbor });
        }
        let to = self.hosts[host].neighbors[neighbor].clone();
        let both_foreign = self.plan.is_foreign(to.host);
        let dials = self.hosts[host].foreign().is_some_and(|foreign| foreign.plan.dials);
        if both_foreign && host > to.host || !both_foreign && !dials {
            return;
        }
        let open = |&&conn: &&usize| {
            let Conn { ends, edge, .. } = &self.conns[conn];
            ends[0].open && ends[0].host == host && *edge == to.edge
        };
        if self.live.iter().find(open).is_none() {
            let (reached, _) = self.reach(host, &to);
            if reached == Some(to.host) && !self.hosts[to.host].is_down() {
                let conn = self.connect(host, Self::foreign_end(true), to.host, to.edge);
                self.foreign_greets(conn, 0);
                if both_foreign {
                    self.foreign_greets(conn, 1);
                }
            }
        }
        self.after(SECOND_NS, Ev::ForeignDial { host, life, neighbor });
    }

    fn foreign_end(speaks: bool) -> Is {
        let framer = Framer::new(64 * 1024);
        Is::Foreign { framer, told: BTreeMap::new(), said: BTreeSet::new(), speaks, heard: false }
    }

    /// A connection is open.
    pub(crate) fn connect(&mut self, from: usize, is: Is, to: usize, edge: Option<usize>) -> usize {
        let is_foreign = |host| self.plan.is_foreign(host);
        let accepts = match &self.hosts[to].is {
            Being::Foreign(foreign) => Self::foreign_end(!foreign.plan.dials || is_foreign(from)),
            Being::Server(_) | Being::Down => Is::Accepting(Vec::new()),
        };
        let now_ns = self.now_ns;
        let ends = [End::new(from, is, now_ns), End::new(to, accepts, now_ns)];
        let delay_ns = self.chance.below(self.plan.delay_ns + 1);
        let pipes = [Pipe::default(), Pipe::default()];
        let both = |&&conn: &&usize| {
            let other = &self.conns[conn].ends;
            other[0].host == to && other[1].host == from && other[0].open
        };
        if from < self.plan.servers && self.live.iter().find(both).is_some() {
            self.tally.see(Seen::BothDialed);
        }
        self.conns.push(Conn { ends, pipes, edge, delay_ns });
        let conn = self.conns.len() - 1;
        self.live.push(conn);
        self.note(|world| {
            let name = |host: usize| world.hosts.get(host).map_or("?", |host| &host.name);
            format!("conn {conn}: {} to {}", name(from), name(to))
        });
        if self.plan.is_foreign(to) && !self.plan.is_foreign(from) {
            self.foreign_greets(conn, 1);
        }
        conn
    }

    // ---- bytes ----

    /// Writes what an end has to say, as far as there is room.
    pub(crate) fn pump(&mut self, conn: usize, side: usize) {
        loop {
            let end = &mut self.conns[conn].ends[side];
            let host = end.host;
            if !end.open || self.is_frozen(host) {
                return;
            }
            self.push(conn, side);
            let end = &mut self.conns[conn].ends[side];
            if !end.pending.is_empty() {
                return self.watch_write(conn, side);
            }
            end.writes += 1;
            let closing = end.closing;
            if let Is::Link(link) = end.is {
                let mut bytes = Vec::new();
                let budget = self.plan.send_bytes;
                self.enter(host, |node, now| node.poll_transmit(link, &mut bytes, budget, now));
                self.oracle.sends(host, &bytes, budget);
                if !bytes.is_empty() {
                    let [one, other] = &self.conns[conn].ends;
                    let far = if side == 0 { other.host } else { one.host };
                    // What goes to a foreign server is lines.
                    if self.plan.newer == Some(host) && !self.plan.is_foreign(far) {
                        self.tally.see(Seen::Newer);
                        bytes = modernize(&bytes, &mut self.chance);
                    }
                    self.conns[conn].ends[side].pending = VecDeque::from(bytes);
                    continue;
                }
            }
            if closing {
                self.close_end(conn, side, "closed by this side", false);
            }
            return;
        }
    }

    fn watch_write(&mut self, conn: usize, side: usize) {
        let end = &mut self.conns[conn].ends[side];
        if end.open && !end.pending.is_empty() && !end.watched {
            end.watched = true;
            let writes = end.writes;
            self.tally.see(Seen::Full);
            self.after(WRITE_TIMEOUT_NS, Ev::WriteEnds { conn, side, writes });
        }
    }

    /// Moves pending bytes into the pipe to the other side.
    fn push(&mut self, conn: usize, side: usize) {
        let Self { plan, chance, conns, now_ns, tally, .. } = self;
        let Conn { ends, pipes, delay_ns, .. } = &mut conns[conn];
        let (end, pipe) = (&mut ends[side], &mut pipes[1 - side]);
        let room = plan.room.saturating_sub(pipe.bytes);
        let mut bytes: Vec<u8> = end.pending.drain(..room.min(end.pending.len())).collect();
        pipe.bytes += bytes.len();
        while !bytes.is_empty() {
            let size = match plan.pieces {
                Pieces::Single if end.writes < 3 => 1,
                Pieces::UpTo(most) => usize::try_from(1 + chance.below(most)).unwrap_or(1),
                Pieces::Single | Pieces::Whole => RECEIVE_BYTES,
            };
            let rest = bytes.split_off(size.min(bytes.len()));
            if bytes.len() == 1 {
                tally.see(Seen::OneByte);
            }
            let busy_ns = plan.byte_ns * bytes.len() as u64;
            pipe.last_ns = (*now_ns + *delay_ns).max(pipe.last_ns) + busy_ns;
            pipe.pieces.push_back(Piece { at_ns: pipe.last_ns, bytes, ends: false });
            bytes = rest;
        }
        self.schedule(conn, 1 - side);
    }

    /// Sees to it that what is on its way to `side` arrives.
    pub(crate) fn schedule(&mut self, conn: usize, side: usize) {
        let pipe = &mut self.conns[conn].pipes[side];
        if pipe.scheduled || pipe.silent {
            return;
        }
        if let Some(piece) = pipe.pieces.front() {
            pipe.scheduled = true;
            let wait_ns = piece.at_ns.saturating_sub(self.now_ns);
            self.after(wait_ns, Ev::Deliver { conn, side });
        }
    }

    /// A process that goes on does not read everything at once.
    fn read_soon(&mut self, conn: usize, side: usize) {
        let pipe = &mut self.conns[conn].pipes[side];
        let is_waiting = pipe.pieces.front().is_some_and(|piece| piece.at_ns <= self.now_ns);
        if is_waiting && !pipe.scheduled && !pipe.silent {
            pipe.scheduled = true;
            let wait_ns = self.chance.below(READ_WITHIN_NS / 2);
            self.after(wait_ns, Ev::Deliver { conn, side });
        }
        self.schedule(conn, side);
    }

    /// Whether nothing gets to this side now.
    fn is_cut(&self, conn: usize, side: usize) -> bool {
        let Conn { ends, edge, .. } = &self.conns[conn];
        let Some(edge) = *edge else { return false };
        let towards = usize::from(self.plan.edges[edge].1 == ends[side].host);
        self.edges[edge].cut[towards]
    }

    fn deliver(&mut self, conn: usize, side: usize) {
        self.conns[conn].pipes[side].scheduled = false;
        let host = self.conns[conn].ends[side].host;
        if self.conns[conn].pipes[side].silent || self.is_cut(conn, side) || self.is_frozen(host) {
            return;
        }
        let Some(piece) = self.conns[conn].pipes[side].pieces.pop_front() else { return };
        if piece.ends {
            return self.close_end(conn, side, "closed by the other side", false);
        }
        self.conns[conn].pipes[side].bytes -= piece.bytes.len();
        self.take(conn, side, &piece.bytes);
        self.schedule(conn, side);
        if !self.conns[conn].ends[1 - side].pending.is_empty() {
            self.pump(conn, 1 - side);
        }
    }

    /// Bytes have arrived.
    fn take(&mut self, conn: usize, side: usize, bytes: &[u8]) {
        let end = &mut self.conns[conn].ends[side];
        if !end.open {
            return;
        }
        end.heard_ns = self.now_ns;
        end.received += bytes.len();
        let host = end.host;
        match &mut end.is {
            Is::Link(link) => {
                let link = *link;
                self.enter(host, |node, now| node.handle_link_input(link, bytes, now));
            }
            Is::Accepting(start) => {
                start.extend_from_slice(bytes);
                self.decide(conn, side);
            }
            Is::Session(_) => self.converse(conn, side, bytes),
            Is::Foreign { .. } => self.foreign_hears(conn, side, bytes),
            Is::Script { deaf: true } => {
                // Not taken: it stays in the pipe.
                let pipe = &mut self.conns[conn].pipes[side];
                pipe.bytes += bytes.len();
            }
            Is::Script { deaf: false } => {}
        }
    }

    /// The first line says what an accepted connection is.
    fn decide(&mut self, conn: usize, side: usize) {
        let end = &mut self.conns[conn].ends[side];
        let Is::Accepting(start) = &mut end.is else { return };
        let Some(line_end) = start.iter().position(|&byte| byte == b'\n') else { return };
        let start = std::mem::take(start);
        let host = end.host;
        if Hello::parse(&start[..line_end]).is_none() {
            end.is = Is::Session(Framer::new(super::config::LINE_BYTES_MAX));
            return self.converse(conn, side, &start);
        }
        self.become_link(conn, side);
        if let Is::Link(link) = self.conns[conn].ends[side].is {
            self.enter(host, |node, now| node.handle_link_input(link, &start, now));
        }
        self.pump(conn, side);
    }

    /// An accepted connection is handed to the server as a link.
    pub(crate) fn become_link(&mut self, conn: usize, side: usize) {
        let host = self.conns[conn].ends[side].host;
        let Some(link) = self.enter(host, Node::handle_accepted) else { return };
        self.conns[conn].ends[side].is = Is::Link(link);
        if let Some(server) = self.hosts[host].server_mut() {
            server.links.insert(link, (conn, side));
        }
    }

    /// Lines of somebody who is no link: a foreign server that dials, or a stranger.
    fn converse(&mut self, conn: usize, side: usize, bytes: &[u8]) {
        let end = &mut self.conns[conn].ends[side];
        let host = end.host;
        let is = std::mem::replace(&mut end.is, Is::Script { deaf: false });
        let Is::Session(mut framer) = is else { return };
        let mut answers = Vec::new();
        for frame in framer.feed(bytes) {
            match frame {
                Frame::Line(line) => match Command::parse(line) {
                    Command::At(at) => {
                        self.tally.see(Seen::Relays);
                        self.enter(host, |node, now| node.handle_relay(&at, now));
                    }
                    Command::Blank => {}
                    Command::Iamat(_) | Command::Whatsat(_) | Command::Unknown => {
                        write_unknown(line, &mut answers);
                    }
                },
                Frame::TooLong(start) => write_unknown_too_long(start, &mut answers),
            }
        }
        framer.settle();
        let end = &mut self.conns[conn].ends[side];
        end.is = Is::Session(framer);
        end.pending.extend(answers);
        self.pump(conn, side);
    }

    // ---- ends ----

    /// An end is closed: its server hears of it now, the other side when it gets there, and if it is a
    /// reset what was on its way may be lost.
    pub(crate) fn close_end(&mut self, conn: usize, side: usize, why: &str, reset: bool) {
        let end = &mut self.conns[conn].ends[side];
        if !std::mem::take(&mut end.open) {
            return;
        }
        let host = end.host;
        let (gave_up, heard_ns, alive_ns) = (end.closing, end.heard_ns, end.alive_ns);
        end.pending.clear();
        self.note(|_| format!("conn {conn}: side {side} ends: {why}"));
        if let Is::Accepting(start) = &self.conns[conn].ends[side].is
            && !start.is_empty()
        {
            self.tally.see(Seen::MidHello);
        }
        self.finish_pipe(conn, 1 - side, reset);
        let pipe = &mut self.conns[conn].pipes[side];
        pipe.pieces.clear();
        pipe.bytes = 0;
        if self.conns[conn].is_over() {
            self.live.retain(|&other| other != conn);
        }
        if let Is::Link(link) = self.conns[conn].ends[side].is
            && let Some(server) = self.hosts[host].server_mut()
        {
            server.links.remove(&link);
            // A link that had to wait for what becomes of another counts from when it took its place.
            let contest_ns = nanos(HELLO_WITHIN) / 2;
            let patience_ns = nanos(DEAD_AFTER) + contest_ns + self.plan.late_ns + SECOND_NS / 20;
            // Signs of life of the machine count, but not for ever.
            let heard_ns = heard_ns.max(self.hosts[host].frozen_until);
            let longest_ns = heard_ns + 3 * nanos(DEAD_AFTER);
            let since_ns = heard_ns.max(alive_ns.min(longest_ns));
            let other = self.conns[conn].ends[1 - side].host;
            let silent = self.now_ns > since_ns + patience_ns;
            if silent && !gave_up && !self.plan.is_foreign(other) {
                self.oracle.wrong = Some(format!("server {host} does not give up a silent link"));
            }
            let Some(server) = self.hosts[host].server_mut() else { return };
            let part = server.node.links().find(|held| held.0 == link).is_some_and(|l| l.1 > 0);
            if part {
                self.tally.see(Seen::MidFrame);
            }
            self.enter(host, |node, now| node.handle_link_closed(link, why.to_owned(), now));
        }
    }

    /// Nothing follows what is on its way to `side`; a reset cuts it anywhere.
    pub(crate) fn finish_pipe(&mut self, conn: usize, side: usize, reset: bool) {
        let Self { chance, conns, now_ns, .. } = self;
        let Conn { pipes, delay_ns, .. } = &mut conns[conn];
        let pipe = &mut pipes[side];
        let mut at_ns = pipe.last_ns.max(*now_ns + *delay_ns);
        if reset {
            let whole = chance.index(pipe.pieces.len() + 1);
            if let Some(piece) = pipe.pieces.get_mut(whole) {
                let kept = chance.index(piece.bytes.len().max(1));
                let lost = piece.bytes.len() - kept;
                piece.bytes.truncate(kept);
                pipe.bytes -= lost;
            }
            let lost: usize = pipe.pieces.iter().skip(whole + 1).map(|p| p.bytes.len()).sum();
            pipe.bytes -= lost;
            pipe.pieces.truncate(whole + 1);
            at_ns = pipe.pieces.back().map_or(*now_ns + *delay_ns, |piece| piece.at_ns);
        }
        pipe.last_ns = at_ns;
        pipe.pieces.push_back(Piece { at_ns, bytes: Vec::new(), ends: true });
        self.schedule(conn, side);
    }

    fn kernel_ends(&mut self, conn: usize, cuts: u64) {
        let Conn { ends, pipes, edge, .. } = &self.conns[conn];
        let silent = pipes.iter().any(|pipe| pipe.silent);
        let still_cut = edge.is_some_and(|edge| {
            self.edges[edge].cuts == cuts && self.edges[edge].cut != [false; 2]
        });
        if !silent && !still_cut {
            return;
        }
        if ends.iter().any(|end| end.open && matches!(end.is, Is::Link(_))) {
            self.tally.see(Seen::KernelTimeouts);
        }
        for side in 0..2 {
            self.close_end(conn, side, "timed out", true);
        }
    }

    pub(crate) fn thaw(&mut self, host: usize) {
        if self.is_frozen(host) {
            return;
        }
        for conn in self.live.clone() {
            for side in 0..2 {
                if self.conns[conn].ends[side].host == host {
                    self.read_soon(conn, side);
                    self.pump(conn, side);
                }
            }
        }
    }
}
