//! Connections that are made, cut, doubled and lost.

use crate::plan::nanos;
use crate::report::Count;
use crate::wire::{DEAD_AFTER_NS, End, Flow, Wire};
use crate::world::{SECOND_NS, World, name};
use herd_replica::LinkId;
use std::time::Duration;

impl World {
    /// When a line without a connection is dialed next.
    pub(crate) fn next_dial(&mut self) -> u64 {
        if let Some(at) = self.dial_at {
            return at;
        }
        let linked = self.linked();
        let lines = (0..self.lines.len()).filter(|&line| self.may_dial(line, linked));
        let at = lines.map(|line| self.lines[line].dial_at).min().unwrap_or(u64::MAX);
        self.dial_at = Some(at);
        at
    }

    /// The lines that have a connection, one bit each.
    fn linked(&self) -> u64 {
        let open = self.wires.iter().filter(|wire| wire.is_open());
        open.fold(0, |lines, wire| lines | 1 << wire.edge)
    }

    fn may_dial(&self, line: usize, linked: u64) -> bool {
        let line_now = &self.lines[line];
        if linked >> line & 1 == 1 || line_now.cut != [false; 2] {
            return false;
        }
        let (a, b) = line_now.ends;
        self.servers[a].replica.is_some() && self.servers[b].replica.is_some()
    }

    pub(crate) fn dial_all(&mut self) -> Result<(), String> {
        for line in 0..self.lines.len() {
            if self.lines[line].dial_at > self.now_ns || !self.may_dial(line, self.linked()) {
                continue;
            }
            let (a, b) = self.lines[line].ends;
            let clash = self.clocks_clash(a, b);
            self.report.count_many(Count::RefusedClocks, clash.into());
            let is_superseded =
                [self.is_superseded(a, b), self.is_superseded(b, a)].contains(&true);
            if clash || is_superseded {
                // The hello is refused, and the line tried again.
                self.lines[line].dial_at = self.now_ns + SECOND_NS / 2;
                self.dial_at = None;
            } else {
                self.drop_half_open(line);
                self.dial(line)?;
            }
        }
        Ok(())
    }

    /// Whether a server's peer knows a later incarnation of it. Nodes say so when they refuse a hello.
    fn is_superseded(&mut self, server: usize, peer: usize) -> bool {
        const DAY_NS: u64 = 86_400 * SECOND_NS;
        let this = &self.servers[server];
        let known = self.servers[peer].replica.as_ref();
        let known = known.and_then(|replica| replica.latest_incarnation(&name(this.name)));
        let Some(known) = known.filter(|&known| known > this.incarnation) else { return false };
        let clock = self.now(server).unix.nanos().unsigned_abs();
        if known < clock.max(this.incarnation) + DAY_NS {
            self.plan_renewal(server, known + 1);
        }
        true
    }

    /// A half-open connection of a line ends when a new one is made.
    fn drop_half_open(&mut self, line: usize) {
        for wire in 0..self.wires.len() {
            if self.wires[wire].edge == line {
                self.close_ends(wire);
            }
        }
        self.wires.retain(|wire| wire.ends.iter().any(|end| end.open));
    }

    fn dial(&mut self, line: usize) -> Result<(), String> {
        self.dial_at = None;
        let (a, b) = self.lines[line].ends;
        let mut end = |server| {
            self.links += 1;
            End { server, link: self.links, open: true, ready: true }
        };
        let ends = [end(a), end(b)];
        let rate = self.lines[line].rate;
        let flows = [Flow::new(rate), Flow::new(rate)];
        let lives = self.lines[line].lives_ns;
        let breaks_at = lives.map_or(u64::MAX, |lives| self.now_ns + lives);
        let lost = [None, None];
        self.wires.push(Wire { ends, flows, lost, edge: line, ends_at: u64::MAX, breaks_at });
        self.note(|_| format!("link {ends:?}"));
        let one_parcel = rate.map_or(0, |rate| 2_000 * SECOND_NS / rate);
        let round_trip = 2 * self.plan.delay + Duration::from_nanos(2 * one_parcel);
        for (end, peer) in ends.into_iter().zip([b, a]) {
            let now = self.now(end.server);
            let peer = name(self.servers[peer].name);
            if let Some(replica) = &mut self.servers[end.server].replica {
                replica.open_link(LinkId(end.link), &peer, now);
                replica.set_round_trip(LinkId(end.link), round_trip);
            }
        }
        let wire = self.wires.len() - 1;
        for (side, end) in ends.into_iter().enumerate() {
            self.transmit(wire, side);
            self.touched(end.server)?;
        }
        Ok(())
    }

    /// Makes a second connection between two servers; one of the two will be lost.
    pub(crate) fn double(&mut self, ends: (usize, usize)) -> Result<(), String> {
        let of_line = |wire: &Wire| self.lines[wire.edge].ends == ends;
        let Some(first) = self.wires.iter().position(of_line) else { return Ok(()) };
        let line = self.wires[first].edge;
        let is_single = self.wires.iter().filter(|wire| wire.edge == line).count() == 1;
        let is_whole = self.wires[first].is_open() && self.lines[line].cut == [false; 2];
        if !is_single || !is_whole {
            return Ok(());
        }
        self.report.count(Count::Doubles);
        self.dial(line)?;
        let lost = [first, self.wires.len() - 1][self.chance.index(2)];
        self.wires[lost].breaks_at = self.now_ns + self.chance.below(3 * SECOND_NS);
        Ok(())
    }

    pub(crate) fn set_cuts(&mut self, which: impl Fn((usize, usize)) -> bool, ways: [bool; 2]) {
        for line in 0..self.lines.len() {
            if which(self.lines[line].ends) {
                self.set_cut(line, ways);
            }
        }
    }

    pub(crate) fn cut_all_of(&mut self, server: usize, ways: [bool; 2]) {
        self.set_cuts(|(a, b)| a == server || b == server, ways);
    }

    fn set_cut(&mut self, line: usize, ways: [bool; 2]) {
        if self.lines[line].cut == ways {
            return;
        }
        self.note(|world| format!("cut {:?} {ways:?}", world.lines[line].ends));
        self.lines[line].cut = ways;
        self.dial_at = None;
        for wire in self.wires.iter_mut().filter(|wire| wire.edge == line && wire.is_open()) {
            for (flow, cut) in wire.flows.iter_mut().zip(ways) {
                flow.cut(cut, self.now_ns);
            }
        }
    }

    /// Breaks the connections of a line, as a crash of the network between does.
    pub(crate) fn break_line(&mut self, ends: (usize, usize)) -> Result<(), String> {
        let of_line = |wire: &Wire| self.lines[wire.edge].ends == ends && wire.is_open();
        if let Some(wire) = self.wires.iter().position(of_line) {
            self.report.count(Count::Breaks);
            self.receive_part(wire)?;
            self.break_wire(wire);
        }
        Ok(())
    }

    /// A connection is lost with what was on it. One end may notice before the other.
    pub(crate) fn break_wire(&mut self, wire: usize) {
        let line = self.wires[wire].edge;
        self.dial_at = None;
        let one = &mut self.wires[wire];
        one.breaks_at = u64::MAX;
        for flow in &mut one.flows {
            self.spare.extend(flow.parcels.drain(..).map(|(_, parcel)| parcel));
            flow.cut = true;
            flow.cut_since = u64::MAX / 2;
        }
        let later = self.now_ns + self.chance.below(DEAD_AFTER_NS);
        one.ends_at = one.ends_at.min(later);
        self.lines[line].dial_at = self.now_ns + 50_000_000 + self.chance.below(SECOND_NS);
        let side = self.chance.index(2);
        self.close_end(wire, side);
    }

    pub(crate) fn close_ends(&mut self, wire: usize) {
        self.wires[wire].ends_at = u64::MAX;
        for side in 0..2 {
            self.close_end(wire, side);
        }
    }

    fn close_end(&mut self, wire: usize, side: usize) {
        self.dial_at = None;
        let now = self.now(self.wires[wire].ends[side].server);
        let end = &mut self.wires[wire].ends[side];
        if std::mem::take(&mut end.open) {
            let End { server, link, .. } = *end;
            self.note(|_| format!("server {server} loses link {link}"));
            if let Some(replica) = &mut self.servers[server].replica {
                replica.close_link(LinkId(link), now);
                self.fed.push(server);
            }
        }
    }

    /// All connections of a server end, those of its process without its knowing if it is gone.
    pub(crate) fn break_all_of(&mut self, server: usize) {
        let is_gone = self.servers[server].replica.is_none();
        self.dial_at = None;
        for wire in 0..self.wires.len() {
            for side in 0..2 {
                if self.wires[wire].ends[side].server == server {
                    if is_gone {
                        self.wires[wire].ends[side].open = false;
                    } else {
                        self.close_end(wire, side);
                    }
                    self.break_wire(wire);
                }
            }
        }
    }

    /// Whether the clocks of two servers differ too much for a link, if anyone looks.
    pub(crate) fn clocks_clash(&self, a: usize, b: usize) -> bool {
        let apart = self.servers[a].skew_ns.abs_diff(self.servers[b].skew_ns);
        self.plan.judges_clocks && apart > 2 * nanos(crate::oracle::FUTURE_SKEW_MAX)
    }
}
