//! Time, and what travels: connections made and lost, frames sent and delivered.

use crate::history::{SECOND_NS, Sim};
use crate::net::{End, Flow, Wire};
use crate::plan::nanos;
use herd_proto::peer::{Decoded, Message};
use herd_replica::{Event, Fault, LinkId, Output, Replica, Sink};
use std::time::Duration;

/// A dead neighbour is noticed after this.
pub(crate) const DEAD_AFTER: Duration = Duration::from_millis(1500);
const DEAD_AFTER_NS: u64 = 1_500_000_000;

impl Sim {
    pub(crate) fn run_until(&mut self, until: u64) -> Result<(), String> {
        loop {
            let at = self.next_event().min(self.next_dial());
            if at > until {
                self.now_ns = until;
                return Ok(());
            }
            self.now_ns = at.max(self.now_ns);
            self.happen()?;
        }
    }

    fn next_event(&self) -> u64 {
        let ticks = self.nodes.iter().flatten().map(|replica| replica.poll_timeout().nanos());
        let wires = self.wires.iter().map(|wire| wire.next_at(DEAD_AFTER_NS));
        let wires = wires.fold(u64::MAX, u64::min);
        let keepers = self.keepers.iter().flatten().map(|keeper| keeper.at_ns);
        ticks.chain(keepers).fold(wires, u64::min)
    }

    /// When an edge without a connection is dialed next.
    fn next_dial(&mut self) -> u64 {
        if let Some(at) = self.dial_at {
            return at;
        }
        let linked = self.linked();
        let dials = (0..self.plan.edges.len()).filter(|&edge| self.may_dial(edge, linked));
        let at = dials.map(|edge| self.redial_at[edge]).min().unwrap_or(u64::MAX);
        self.dial_at = Some(at);
        at
    }

    /// The edges that have a connection, one bit each.
    fn linked(&self) -> u64 {
        let open = self.wires.iter().filter(|wire| wire.is_open());
        open.fold(0, |edges, wire| edges | 1 << wire.edge)
    }

    fn may_dial(&self, edge: usize, linked: u64) -> bool {
        if linked >> edge & 1 == 1 || self.cut[edge] != [false; 2] {
            return false;
        }
        let (a, b) = self.plan.edges[edge];
        self.nodes[a].is_some() && self.nodes[b].is_some()
    }

    /// Whatever is due now.
    fn happen(&mut self) -> Result<(), String> {
        for wire in 0..self.wires.len() {
            if self.wires[wire].next_at(DEAD_AFTER_NS) > self.now_ns {
                continue;
            }
            let is_dead = |flow: &Flow| flow.cut && flow.cut_since + DEAD_AFTER_NS <= self.now_ns;
            if self.wires[wire].flows.iter().any(is_dead) {
                self.break_wire(wire);
            }
            if self.wires[wire].breaks_at.is_some_and(|at| at <= self.now_ns) {
                self.deliver_part(wire)?;
                self.break_wire(wire);
            }
            if self.wires[wire].ends_at.is_some_and(|at| at <= self.now_ns) {
                self.close_ends(wire);
            }
            for side in 0..2 {
                self.deliver(wire, side)?;
            }
        }
        self.look_at_fed()?;
        if self.dial_at.is_none() {
            // Some were lost.
            self.wires.retain(|wire| wire.ends.iter().any(|end| end.open));
        }
        if self.next_dial() <= self.now_ns {
            self.dial_all()?;
        }
        for node in 0..self.nodes.len() {
            let now = self.now(node);
            let due = |replica: &&mut Replica| replica.poll_timeout() <= now.instant;
            if let Some(replica) = self.nodes[node].as_mut().filter(due) {
                replica.handle_timeout(now);
                self.touched(node)?;
            }
            if self.keepers[node].as_ref().is_some_and(|keeper| keeper.at_ns <= self.now_ns) {
                self.keep(node)?;
            }
        }
        self.look_at_fed()
    }

    fn dial_all(&mut self) -> Result<(), String> {
        for edge in 0..self.plan.edges.len() {
            if self.redial_at[edge] <= self.now_ns && self.may_dial(edge, self.linked()) {
                self.drop_half_open(edge);
                self.dial(edge)?;
            }
        }
        Ok(())
    }

    // ---- connections ----

    pub(crate) fn set_cuts(&mut self, which: impl Fn((usize, usize)) -> bool, ways: [bool; 2]) {
        for edge in 0..self.plan.edges.len() {
            if which(self.plan.edges[edge]) {
                self.set_cut(edge, ways);
            }
        }
    }

    pub(crate) fn set_cut(&mut self, edge: usize, ways: [bool; 2]) {
        self.note(|sim| format!("cut {:?} {ways:?}", sim.plan.edges[edge]));
        self.cut[edge] = ways;
        self.dial_at = None;
        let now = self.now_ns;
        for wire in self.wires.iter_mut().filter(|wire| wire.edge == edge) {
            for (flow, cut) in wire.flows.iter_mut().zip(ways) {
                if cut && !flow.cut {
                    flow.cut_since = now;
                }
                flow.cut = cut;
            }
        }
    }

    /// A half-open connection of an edge ends when a new one comes.
    fn drop_half_open(&mut self, edge: usize) {
        for wire in 0..self.wires.len() {
            if self.wires[wire].edge == edge {
                self.close_ends(wire);
            }
        }
        self.wires.retain(|wire| wire.ends.iter().any(|end| end.open));
    }

    fn dial(&mut self, edge: usize) -> Result<(), String> {
        self.dial_at = None;
        let (a, b) = self.plan.edges[edge];
        let mut end = |node| {
            self.links += 1;
            End { node, link: self.links, open: true, ready: true }
        };
        let ends = [end(a), end(b)];
        let slow = self.chance.per_mille(self.plan.slow_links);
        let spacing_ns = if slow { nanos(self.plan.slow) } else { 0 };
        let flow = || Flow { spacing_ns, ..Flow::default() };
        let flows = [flow(), flow()];
        self.wires.push(Wire { ends, flows, edge, ends_at: None, breaks_at: None });
        let wire = self.wires.len() - 1;
        self.note(|sim| format!("link {:?}", sim.wires[wire].ends));
        for End { node, link, .. } in ends {
            let now = self.now(node);
            if let Some(replica) = &mut self.nodes[node] {
                replica.open_link(LinkId(link), now);
                let spacing = Duration::from_nanos(spacing_ns);
                replica.set_round_trip(LinkId(link), 2 * self.plan.delay + 4 * spacing);
            }
        }
        for (side, end) in ends.into_iter().enumerate() {
            self.transmit(wire, side);
            self.touched(end.node)?;
        }
        Ok(())
    }

    /// Two connections between the same nodes, one of which will be lost.
    pub(crate) fn double(&mut self, between: (usize, usize)) -> Result<(), String> {
        let is_it = |wire: &Wire| self.plan.edges[wire.edge] == between;
        let Some(first) = self.wires.iter().position(is_it) else { return Ok(()) };
        let edge = self.wires[first].edge;
        let single = self.wires.iter().filter(|wire| wire.edge == edge).count() == 1;
        let whole = self.wires[first].is_open() && self.cut[edge] == [false; 2];
        if !single || !whole {
            return Ok(());
        }
        self.report.doubles += 1;
        self.dial(edge)?;
        let both = [first, self.wires.len() - 1];
        let goes = both[self.chance.index(2)];
        self.wires[goes].breaks_at = Some(self.now_ns + self.chance.below(3 * SECOND_NS));
        Ok(())
    }

    /// A connection is lost: what was on it is gone; one end may notice before the other.
    pub(crate) fn break_wire(&mut self, wire: usize) {
        let edge = self.wires[wire].edge;
        self.wires[wire].breaks_at = None;
        self.dial_at = None;
        for flow in &mut self.wires[wire].flows {
            self.spare.extend(flow.frames.drain(..).map(|(_, frame)| frame));
            flow.cut = true;
            flow.cut_since = u64::MAX / 2;
        }
        self.redial_at[edge] = self.now_ns + 50_000_000 + self.chance.below(SECOND_NS);
        let side = self.chance.index(2);
        self.close_end(wire, side);
        let later = self.now_ns + self.chance.below(DEAD_AFTER_NS);
        let ends_at = &mut self.wires[wire].ends_at;
        *ends_at = Some(ends_at.unwrap_or(later).min(later));
    }

    fn close_ends(&mut self, wire: usize) {
        self.wires[wire].ends_at = None;
        for side in 0..2 {
            self.close_end(wire, side);
        }
    }

    fn close_end(&mut self, wire: usize, side: usize) {
        self.dial_at = None;
        let now = self.now(self.wires[wire].ends[side].node);
        let end = &mut self.wires[wire].ends[side];
        if std::mem::take(&mut end.open) {
            let End { node, link, .. } = *end;
            self.note(|_| format!("node {node} loses link {link}"));
            if let Some(replica) = &mut self.nodes[node] {
                replica.close_link(LinkId(link), now);
                self.fed.push(node);
            }
        }
    }

    // ---- frames ----

    fn deliver(&mut self, wire: usize, side: usize) -> Result<(), String> {
        loop {
            let flow = &mut self.wires[wire].flows[side];
            if flow.next_at().is_none_or(|at| at > self.now_ns) {
                return Ok(());
            }
            let Some((_, frame)) = flow.frames.pop_front() else { return Ok(()) };
            self.receive(wire, side, &frame)?;
            self.spare.push(frame);
        }
    }

    /// One frame arrives at one end.
    fn receive(&mut self, wire: usize, side: usize, frame: &[u8]) -> Result<(), String> {
        let End { node, link, open, .. } = self.wires[wire].ends[side];
        let now = self.now(node);
        let Some(replica) = self.nodes[node].as_mut().filter(|_| open) else { return Ok(()) };
        match Message::decode(frame) {
            Ok(Some((Decoded::Message(message), taken))) if taken == frame.len() => {
                replica.handle(LinkId(link), &message, now);
                // What members tell would drown the rest.
                let is_member = matches!(message, Message::Member { .. });
                if self.trace.is_some() && !is_member {
                    let text = format!("node {node} hears on {link}: {message:?}");
                    self.note(|_| text);
                }
            }
            other => return Err(format!("a frame was not read back: {other:?}")),
        }
        self.touched(node)?;
        // There is room on the way for another.
        self.transmit(wire, 1 - side);
        Ok(())
    }

    /// Some of what is on a connection arrives at once, and the start of one frame more.
    pub(crate) fn deliver_part(&mut self, wire: usize) -> Result<(), String> {
        for side in 0..2 {
            let flow = &self.wires[wire].flows[side];
            if flow.cut || flow.frames.is_empty() {
                continue;
            }
            let whole = self.chance.index(flow.frames.len() + 1);
            for _ in 0..whole {
                let frame = self.wires[wire].flows[side].frames.pop_front();
                let Some((_, frame)) = frame else { break };
                self.receive(wire, side, &frame)?;
                self.spare.push(frame);
            }
            if let Some((_, frame)) = self.wires[wire].flows[side].frames.pop_front() {
                self.report.partial_frames += 1;
                let part = self.chance.index(frame.len());
                if Message::decode(frame.get(..part).unwrap_or_default()) != Ok(None) {
                    return Err(format!("a part of a frame was read: {part} of {frame:?}"));
                }
            }
        }
        Ok(())
    }

    /// Lets the node at `side` of a wire send what there is room for.
    fn transmit(&mut self, wire: usize, side: usize) {
        let delay = nanos(self.plan.delay);
        loop {
            let End { node, link, open, ready } = self.wires[wire].ends[side];
            let now = self.now(node);
            let flow = &mut self.wires[wire].flows[1 - side];
            let room = self.plan.window.saturating_sub(flow.frames.len());
            let Some(replica) = self.nodes[node].as_mut().filter(|_| open && ready && room > 0)
            else {
                return;
            };
            let before = flow.frames.len();
            let (spare, chance, now_ns) = (&mut self.spare, &mut self.chance, self.now_ns);
            let send = |message: &Message<'_>| {
                let mut frame = spare.pop().unwrap_or_default();
                frame.clear();
                message.encode(&mut frame);
                flow.send(now_ns, chance.below(delay + 1), frame);
            };
            let mut sink = Frames { send, put: 0, room };
            replica.poll_transmit(LinkId(link), &mut sink, now);
            if self.wires[wire].flows[1 - side].frames.len() == before {
                // It says when it has something again.
                self.wires[wire].ends[side].ready = false;
                return;
            }
        }
    }

    /// What nodes that were fed in passing ask for is done.
    pub(crate) fn look_at_fed(&mut self) -> Result<(), String> {
        while let Some(node) = self.fed.pop() {
            self.touched(node)?;
        }
        self.fault.take().map_or(Ok(()), Err)
    }

    /// A node has been fed: what it asks for is done, and what it shows is checked.
    pub(crate) fn touched(&mut self, node: usize) -> Result<(), String> {
        while let Some(output) = self.nodes[node].as_mut().and_then(Replica::poll_output) {
            match output {
                Output::Transmit(link) => {
                    if let Some((wire, side)) = self.wire_of(link) {
                        self.wires[wire].ends[side].ready = true;
                        self.transmit(wire, side);
                    }
                }
                Output::Close(link, Fault::ClockAhead { .. }) if self.is_ahead(node) => {
                    self.report.quarantines += 1;
                    self.note(|_| format!("node {node} closes link {} for its clock", link.0));
                    if let Some((wire, _)) = self.wire_of(link) {
                        self.break_wire(wire);
                    }
                }
                Output::Close(link, fault) => {
                    return Err(format!("node {node} closes link {}: {fault}", link.0));
                }
                // Nothing in these histories breaks a memory, so whatever differs for good is a fault.
                Output::Event(Event::AuditRepaired { records }) => {
                    return Err(format!("node {node} repairs {records} records"));
                }
                Output::Journal => {
                    if let Some(keeper) = &mut self.keepers[node] {
                        keeper.wake(self.now_ns);
                    }
                }
                Output::Journaled(_) => self.acknowledge(node),
                Output::Event(Event::OwnStreamAhead) => {
                    return Err(format!("node {node} lost part of its own stream"));
                }
                Output::Event(event) => self.note(|_| format!("node {node}: {event:?}")),
            }
        }
        match &mut self.nodes[node] {
            Some(replica) => self.oracle.check(node, replica),
            None => Ok(()),
        }
    }

    fn wire_of(&self, link: LinkId) -> Option<(usize, usize)> {
        self.wires.iter().enumerate().find_map(|(wire, one)| {
            let side = one.ends.iter().position(|end| end.link == link.0)?;
            Some((wire, side))
        })
    }
}

struct Frames<F> {
    send: F,
    put: usize,
    room: usize,
}

impl<F: FnMut(&Message<'_>)> Sink for Frames<F> {
    fn put(&mut self, message: &Message<'_>) {
        (self.send)(message);
        self.put += 1;
    }

    fn is_full(&self) -> bool {
        self.put >= self.room
    }
}
