//! Parcels: what replicas send, what arrives, and what replicas ask for.

use crate::arrivals::Arrival;
use crate::liar;
use crate::plan::{Absence, nanos};
use crate::report::Count;
use crate::tuning::has_small_tables;
use crate::wire::End;
use crate::world::{SECOND_NS, Sent, World};
use herd_proto::peer::{BatchWriter, Decoded, Message, decode_batch};
use herd_replica::{Event, Fault, LinkId, Output, Replica, Sink};

impl World {
    pub(crate) fn happen_on_wire(&mut self, wire: usize) -> Result<(), String> {
        let one = &self.wires[wire];
        if one.flows.iter().any(|flow| flow.is_dead(self.now_ns)) && one.is_open() {
            self.break_wire(wire);
        }
        if self.wires[wire].breaks_at <= self.now_ns {
            if self.lines[self.wires[wire].edge].lives_ns.is_some() {
                self.report.count(Count::Flaps);
            }
            self.receive_part(wire)?;
            self.break_wire(wire);
        }
        if self.wires[wire].ends_at <= self.now_ns {
            self.close_ends(wire);
        }
        for side in 0..2 {
            loop {
                let flow = &mut self.wires[wire].flows[side];
                if flow.cut || flow.next_at() > self.now_ns {
                    break;
                }
                let Some((_, parcel)) = flow.parcels.pop_front() else { break };
                self.receive(wire, side, &parcel)?;
                self.spare.push(parcel);
            }
        }
        Ok(())
    }

    /// One parcel arrives at one end.
    fn receive(&mut self, wire: usize, side: usize, parcel: &[u8]) -> Result<(), String> {
        let End { server, link, .. } = self.wires[wire].ends[side];
        let now = self.now(server);
        let mut rest = parcel;
        while !rest.is_empty() {
            let read = decode_batch(rest);
            let Ok(Some((batch, taken))) = read else {
                return Err(format!("a batch was not read back: {read:?}"));
            };
            rest = rest.get(taken..).unwrap_or_default();
            for frame in batch {
                let Ok(Decoded::Message(message)) = frame else {
                    let peer = self.wires[wire].ends[1 - side].server;
                    if self.absence(peer) == Some(Absence::Lying) {
                        self.report.count(Count::LiarsClosed);
                        self.break_wire(wire);
                        return self.touched(server);
                    }
                    return Err(format!("a frame was not read back: {frame:?}"));
                };
                if self.trace.is_some() && !matches!(message, Message::Member { .. }) {
                    let text = format!("server {server} gets on {link}: {}", brief(&message));
                    self.note(|_| text);
                }
                if !self.wires[wire].ends[side].open {
                    return Ok(());
                }
                let Some(replica) = &mut self.servers[server].replica else { return Ok(()) };
                let arrival = Arrival::of(&message, replica);
                replica.handle(LinkId(link), &message, now);
                if let Some(arrival) = arrival {
                    self.check_arrival(server, LinkId(link), &arrival)?;
                }
            }
        }
        self.touched(server)?;
        // There is room on the way for another parcel.
        self.transmit(wire, 1 - side);
        Ok(())
    }

    /// Some of what is on a connection arrives at once. The next parcel arrives in part, or corrupted, and
    /// must not be read.
    pub(crate) fn receive_part(&mut self, wire: usize) -> Result<(), String> {
        for side in 0..2 {
            let flow = &self.wires[wire].flows[side];
            if flow.cut || flow.parcels.is_empty() {
                continue;
            }
            for _ in 0..self.chance.index(flow.parcels.len() + 1) {
                let parcel = self.wires[wire].flows[side].parcels.pop_front();
                let Some((_, parcel)) = parcel else { break };
                self.receive(wire, side, &parcel)?;
                self.spare.push(parcel);
            }
            let parcel = self.wires[wire].flows[side].parcels.pop_front();
            let Some((_, mut parcel)) = parcel else { continue };
            let at = self.chance.index(parcel.len());
            if self.chance.per_mille(500) {
                self.report.count(Count::PartialParcels);
                parcel.truncate(at);
                if decode_batch(&parcel).is_ok_and(|read| read.is_some()) && at < 16_384 {
                    return Err(format!("a part of a parcel was read: {parcel:?}"));
                }
            } else {
                self.report.count(Count::CorruptParcels);
                parcel[at] ^= 1 << self.chance.index(8);
                if parcel.len() < 16_384 && decode_batch(&parcel).is_ok_and(|read| read.is_some()) {
                    return Err(format!("a corrupted parcel was read: {parcel:?}"));
                }
            }
        }
        Ok(())
    }

    /// Lets the server at `side` of a wire send what there is room for.
    pub(crate) fn transmit(&mut self, wire: usize, side: usize) {
        let delay = nanos(self.plan.delay);
        loop {
            let End { server, link, open, ready } = self.wires[wire].ends[side];
            let absence = self.absence(server);
            let now = self.now(server);
            let flow = &mut self.wires[wire].flows[1 - side];
            let has_room = flow.parcels.len() < self.plan.window;
            let may_send = open && ready && has_room && absence != Some(Absence::Mute);
            let Some(replica) = self.servers[server].replica.as_mut().filter(|_| may_send) else {
                return;
            };
            let mut parcel = self.spare.pop().unwrap_or_default();
            parcel.clear();
            let is_thin = absence == Some(Absence::Thin);
            let lies = absence == Some(Absence::Lying);
            let mut sink = Parcel {
                writer: BatchWriter::new(&mut parcel),
                frames_left: if is_thin { 1 } else { self.plan.parcel },
                sent: &mut self.sent,
                liar: lies.then_some((&mut self.chance, 0)),
            };
            replica.poll_transmit(LinkId(link), &mut sink, now);
            let forged = sink.liar.as_ref().map_or(0, |&(_, forged)| forged);
            drop(sink);
            self.report.count_many(Count::Forged, forged);
            if parcel.is_empty() {
                // It says when it has something again.
                self.spare.push(parcel);
                self.wires[wire].ends[side].ready = false;
                return;
            }
            let delay = self.chance.below(delay + 1);
            let flow = &mut self.wires[wire].flows[1 - side];
            flow.send(self.now_ns, delay, parcel);
            if is_thin {
                flow.hold_until(self.now_ns + SECOND_NS);
            }
        }
    }

    /// A server has been fed: what it asks for is done, and what it stores is checked.
    pub(crate) fn touched(&mut self, server: usize) -> Result<(), String> {
        while let Some(output) =
            self.servers[server].replica.as_mut().and_then(Replica::poll_output)
        {
            match output {
                Output::Transmit(link) => {
                    if let Some((wire, side)) = self.wire_of(link) {
                        self.wires[wire].ends[side].ready = true;
                        self.transmit(wire, side);
                    }
                }
                Output::Close(link, fault) => self.close_faulty(server, link, &fault)?,
                Output::Journal => self.wake_writer(server),
                Output::Journaled(upto) => self.acknowledge(server, upto),
                Output::Event(event) => self.handle_event(server, &event)?,
            }
        }
        let now = self.now(server);
        if self.absence(server) == Some(Absence::Lying) {
            return Ok(());
        }
        match &mut self.servers[server].replica {
            Some(replica) => self.oracle.check(server, replica, now, &mut self.report),
            None => Ok(()),
        }
    }

    /// A replica finds that a peer is faulty.
    fn close_faulty(&mut self, server: usize, link: LinkId, fault: &Fault) -> Result<(), String> {
        self.note(|_| format!("server {server} closes link {}: {fault}", link.0));
        let Some((wire, side)) = self.wire_of(link) else { return Ok(()) };
        let peer = self.wires[wire].ends[1 - side].server;
        let either_lies = [server, peer].map(|s| self.absence(s)).contains(&Some(Absence::Lying));
        if either_lies {
            self.report.count(Count::LiarsClosed);
        } else if matches!(fault, Fault::IncarnationAhead { .. }) && self.plan.has_clocks() {
            self.report.count(Count::FaultyClocks);
        } else {
            return Err(format!("server {server} closes the link to {peer}: {fault}"));
        }
        self.break_wire(wire);
        // Nodes back off.
        self.lines[self.wires[wire].edge].dial_at = self.now_ns + SECOND_NS;
        Ok(())
    }

    fn handle_event(&mut self, server: usize, event: &Event) -> Result<(), String> {
        self.note(|_| format!("server {server}: {event:?}"));
        match *event {
            Event::Repaired { records } => {
                if !self.may_repair && self.absence(server).is_none() {
                    return Err(format!("server {server} repairs {records} records"));
                }
                self.report.count_many(Count::Repaired, records);
            }
            Event::OwnStreamAhead => {
                let least = self.servers[server].incarnation + 1;
                self.plan_renewal(server, least);
                if !self.may_repair {
                    return Err(format!("server {server} finds its own stream ahead"));
                }
            }
            Event::LaterIncarnation { incarnation } => {
                self.plan_renewal(server, incarnation.saturating_add(1));
            }
            Event::OriginEnded { .. } => self.report.count(Count::OriginsEnded),
            Event::CaughtUp(_) => self.report.count(Count::CatchUps),
            Event::CatchingUp(_) => {}
            Event::OriginsFull => {
                if !self.plan.has_liar() && !has_small_tables(&self.plan.tuning) {
                    return Err(format!("server {server} knows too many origins"));
                }
                self.servers[server].was_full = true;
                self.report.count(Count::OriginsFull);
            }
        }
        Ok(())
    }

    pub(crate) fn wire_of(&self, link: LinkId) -> Option<(usize, usize)> {
        self.wires.iter().enumerate().find_map(|(wire, one)| {
            let side = one.ends.iter().position(|end| end.link == link.0)?;
            Some((wire, side))
        })
    }
}

/// One batch being filled.
struct Parcel<'a> {
    writer: BatchWriter<'a>,
    frames_left: usize,
    sent: &'a mut Sent,
    /// Forges some of what a liar's replica says, and counts that.
    liar: Option<(&'a mut crate::chance::Chance, u64)>,
}

/// No batch of a parcel is split.
const PARCEL_BYTES_MAX: usize = 12 * 1024;

impl Sink for Parcel<'_> {
    fn put(&mut self, message: &Message<'_>) {
        self.sent.count(message);
        self.frames_left = self.frames_left.saturating_sub(1);
        if let Some((chance, forged)) = &mut self.liar {
            *forged += liar::tell(message, chance, &mut self.writer);
        } else {
            self.writer.push(message);
        }
    }

    fn is_full(&self) -> bool {
        self.frames_left == 0 || self.writer.len() >= PARCEL_BYTES_MAX
    }
}

impl Sent {
    fn count(&mut self, message: &Message<'_>) {
        let counter = match message {
            Message::Entry { .. } => &mut self.entries,
            Message::Member { .. } | Message::Left { .. } => &mut self.members,
            Message::Compare { .. } => &mut self.roots,
            Message::Same { .. } | Message::Compared { .. } => &mut self.answers,
            Message::Watermark { .. } => &mut self.watermarks,
            Message::Origin { .. }
            | Message::Greeted
            | Message::Subscribe { .. }
            | Message::Gap { .. }
            | Message::Unsubscribe { .. }
            | Message::Commit { .. }
            | Message::Ranges { .. }
            | Message::AskRange { .. }
            | Message::Buckets { .. }
            | Message::AskBucket { .. }
            | Message::Record { .. }
            | Message::BucketDone { .. }
            | Message::CompareHint
            | Message::Ping { .. }
            | Message::Pong { .. }
            | Message::Bye { .. } => &mut self.others,
        };
        *counter += 1;
    }
}

/// A message as a trace shows it.
fn brief(message: &Message<'_>) -> String {
    let mut text = format!("{message:?}");
    if let Message::Ranges { sums, .. } | Message::Buckets { sums, .. } = message {
        let filled = sums.iter().filter(|&&sum| sum != 0).count();
        text = format!("{} … {filled} sums", text.split("sums").next().unwrap_or_default());
    }
    text.chars().take(300).collect()
}
