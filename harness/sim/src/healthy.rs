//! A herd in which nothing fails, for figures: what is sent, and how long things take.

use crate::plan::nanos;
use crate::world::SECOND_NS;
use herd_proto::peer::{BatchWriter, Decoded, Message, decode_batch};
use herd_proto::{Instant, Now, Record, UnixTime};
use herd_replica::{Cursor, LinkId, Origin, Output, Redundancy, Replica, Settings, Sink, Tuning};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

/// Whatever is handed to a link at once is at most so long.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// By how many servers a record is shown, and since when by the last of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    pub(crate) count: usize,
    pub(crate) last_ns: u64,
}

/// What was handed to links.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Handed {
    /// Buffers.
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive { link: u64, bytes: Vec<u8> },
    Transmit { link: u64 },
    Tick { server: usize },
}

pub(crate) struct Herd {
    /// How long a message takes.
    pub(crate) delay: Duration,
    /// A link is held for so long once there is something to send, so that more goes at once.
    pub(crate) hold: Duration,
    pub(crate) now_ns: u64,
    pub(crate) servers: Vec<(Replica, Cursor)>,
    edges: Vec<(usize, usize)>,
    /// Whose end each link is, and the link of the other end.
    ends: BTreeMap<u64, (usize, u64)>,
    held: BTreeSet<u64>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    /// Numbers events, so that those of one moment have an order.
    count: u64,
    pub(crate) sent: Handed,
    pub(crate) shown: Vec<Shown>,
}

fn name(server: usize) -> Box<str> {
    format!("n{server:02}").into_boxed_str()
}

impl Herd {
    pub(crate) fn new(servers: usize, edges: &[(usize, usize)], tuning: &Tuning) -> Self {
        let replica = |server: usize| {
            let settings = Settings {
                origin: Origin { server: name(server), incarnation: 1 },
                members: (0..servers).map(name).collect(),
                redundancy: Redundancy::Ways(1),
                future_skew_max: Duration::from_mins(1),
                forget_after: Duration::from_mins(10),
                horizon: Duration::from_hours(720),
                expire_after: None,
                seed: server as u64,
                tuning: tuning.clone(),
            };
            (Replica::new(settings, now(0)), Cursor::default())
        };
        Self {
            delay: Duration::ZERO,
            hold: Duration::ZERO,
            now_ns: 0,
            servers: (0..servers).map(replica).collect(),
            edges: edges.to_vec(),
            ends: BTreeMap::new(),
            held: BTreeSet::new(),
            events: BinaryHeap::new(),
            count: 0,
            sent: Handed::default(),
            shown: Vec::new(),
        }
    }

    pub(crate) fn link_all(&mut self) {
        for (number, (a, b)) in (1..).zip(self.edges.clone()) {
            let (here, there) = (2 * number, 2 * number + 1);
            self.ends.insert(here, (a, there));
            self.ends.insert(there, (b, here));
            for (server, peer, link) in [(a, b, here), (b, a, there)] {
                let replica = &mut self.servers[server].0;
                replica.open_link(LinkId(link), &name(peer), now(self.now_ns));
                replica.set_round_trip(LinkId(link), 2 * (self.delay + self.hold));
                self.plan(0, Event::Transmit { link });
            }
        }
        (0..self.servers.len()).for_each(|server| self.plan(0, Event::Tick { server }));
    }

    fn plan(&mut self, after: u64, event: Event) {
        self.count += 1;
        self.events.push(Reverse((self.now_ns + after, self.count, event)));
    }

    pub(crate) fn run_until(&mut self, until: u64) {
        while let Some(Reverse((at, ..))) = self.events.peek() {
            if *at > until {
                break;
            }
            let Some(Reverse((at, _, event))) = self.events.pop() else { break };
            self.now_ns = at;
            self.happen(event);
        }
        self.now_ns = until;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { link, bytes } => {
                let Some(&(server, _)) = self.ends.get(&link) else { return };
                let mut rest = &bytes[..];
                while let Ok(Some((batch, taken))) = decode_batch(rest) {
                    for frame in batch {
                        if let Ok(Decoded::Message(message)) = frame {
                            let replica = &mut self.servers[server].0;
                            replica.handle(LinkId(link), &message, now(self.now_ns));
                        }
                    }
                    rest = rest.get(taken..).unwrap_or_default();
                }
                self.touched(server);
            }
            Event::Transmit { link } => {
                self.held.remove(&link);
                self.transmit(link);
            }
            Event::Tick { server } => {
                let replica = &mut self.servers[server].0;
                if replica.poll_timeout().nanos() <= self.now_ns {
                    replica.handle_timeout(now(self.now_ns));
                }
                let next = self.servers[server].0.poll_timeout().nanos().max(self.now_ns + 1);
                // What is fed meanwhile may make it due earlier than this.
                let next = next.min(self.now_ns + SECOND_NS / 50);
                self.plan(next - self.now_ns, Event::Tick { server });
                self.touched(server);
            }
        }
    }

    /// A client says something, under a key of its own.
    pub(crate) fn say(&mut self, server: usize, number: usize) {
        self.shown.resize(self.shown.len().max(number + 1), Shown::default());
        let key = u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes();
        let time_ns = self.now_ns.cast_signed();
        let record = Record {
            key: &key,
            effective_ns: time_ns,
            received_ns: time_ns,
            tombstone: false,
            value: b"said",
        };
        self.servers[server].0.update(record, now(self.now_ns));
        self.touched(server);
    }

    fn touched(&mut self, server: usize) {
        let (replica, cursor) = &mut self.servers[server];
        while let Some(record) = replica.poll_change(cursor) {
            let number = record.key.try_into().map_or(u64::MAX, u64::from_be_bytes);
            let number = usize::try_from(number).unwrap_or(usize::MAX);
            if let Some(shown) = self.shown.get_mut(number) {
                *shown = Shown { count: shown.count + 1, last_ns: self.now_ns };
            }
        }
        while let Some(output) = self.servers[server].0.poll_output() {
            if let Output::Transmit(LinkId(link)) = output
                && self.held.insert(link)
            {
                self.plan(nanos(self.hold), Event::Transmit { link });
            }
        }
    }

    fn transmit(&mut self, link: u64) {
        let Some(&(server, other)) = self.ends.get(&link) else { return };
        loop {
            let mut bytes = Vec::new();
            let mut sink = Buffer(BatchWriter::new(&mut bytes));
            self.servers[server].0.poll_transmit(LinkId(link), &mut sink, now(self.now_ns));
            drop(sink);
            if bytes.is_empty() {
                return;
            }
            self.sent.messages += 1;
            self.sent.bytes += bytes.len() as u64;
            self.plan(nanos(self.delay), Event::Arrive { link: other, bytes });
        }
    }
}

struct Buffer<'a>(BatchWriter<'a>);

impl Sink for Buffer<'_> {
    fn put(&mut self, message: &Message<'_>) {
        self.0.push(message);
    }

    fn is_full(&self) -> bool {
        self.0.len() >= BUFFER_BYTES_MAX
    }
}

fn now(now_ns: u64) -> Now {
    Now { instant: Instant::from_nanos(now_ns), unix: UnixTime::from_nanos(now_ns.cast_signed()) }
}
