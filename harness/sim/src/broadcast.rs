//! The public measure for broadcasts: how many messages the servers of a herd send one another for each
//! thing that a client asks, and how long it takes until every server shows what was written.
//!
//! The rule: 25 servers, links of 100 ms, 100 operations a second for 20 seconds, half of them broadcasts
//! and half reads, each at a server chosen at random. A message is whatever one server hands one link at
//! once: one batch of frames, of at most 64 KiB. All count, from the first operation until every
//! broadcast is everywhere: entries, commits, watermarks, what members tell. A broadcast's latency is the
//! time until the *last* server shows it.
//!
//! The clock is made up and the seed fixed, so the figures are the same on every machine.
//!
//! In a 5×5 grid opposite corners are eight links apart. If 100 ms is a link's round trip that is 400 ms;
//! if it is one way, it is 800 ms before anybody has done anything, and no way of spreading can be below
//! the first bar. But which servers are linked is the operator's choice, as it is in the public measure:
//! with the grid's ends joined to a torus they are at most four links apart, with every row and column
//! linked to itself two.

use crate::chance::Chance;
use herd_proto::peer::{Decoded, Message};
use herd_proto::{Instant, Now, UnixTime};
use herd_replica::{
    Cursor, LinkId, Origin, Output, Record, Redundancy, Replica, Settings, Sink, Tuning,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

/// Servers in a row, and rows.
const SIDE: usize = 5;
const NODES: usize = SIDE * SIDE;
const OPERATIONS_PER_S: u64 = 100;
const SECONDS: u64 = 20;
/// Links are made and greeted before the first operation.
const WARM_UP: Duration = Duration::from_secs(3);
/// One batch of frames is at most so long.
const BATCH_BYTES_MAX: usize = 64 * 1024;
const SECOND_NS: u64 = 1_000_000_000;

/// Which servers are linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mesh {
    /// Each with those beside, above and below it.
    Grid,
    /// The same, and the ends of each row and column with each other.
    Torus,
    /// Each with all in its row and its column.
    RowsAndColumns,
}

/// One way to run it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Which servers are linked.
    pub mesh: Mesh,
    /// How long a message takes.
    pub delay: Duration,
    /// A link is held for so long once there is something to send, so that more goes at once.
    pub hold: Duration,
    /// How often a link hears watermarks at most.
    pub watermarks_every: Duration,
    /// How often members tell what they hold.
    pub tell_every: Duration,
}

/// What a run must stay below.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// Messages for each operation.
    pub messages: f64,
    /// Of the times until a broadcast was everywhere.
    pub median: Duration,
    /// Of the same.
    pub max: Duration,
}

/// Without holding anything back, and with.
const BARS: [Bar; 2] = [
    Bar { messages: 30.0, median: Duration::from_millis(400), max: Duration::from_millis(600) },
    Bar { messages: 5.0, median: Duration::from_secs(1), max: Duration::from_secs(2) },
];

/// The settings that are run, each with the bar that it is held against.
///
/// Watermarks and members are told more rarely than by default, as is right for far links: they do not
/// bring anything sooner, but tell who lags.
pub fn settings() -> Vec<(Setting, Option<Bar>)> {
    let ms = Duration::from_millis;
    let [at_once, held] = BARS;
    let setting = |mesh, delay, hold, watermarks_every| Setting {
        mesh,
        delay: ms(delay),
        hold: ms(hold),
        watermarks_every: ms(watermarks_every),
        tell_every: Duration::from_secs(10),
    };
    vec![
        (setting(Mesh::Grid, 50, 0, 100), Some(at_once)),
        (setting(Mesh::Grid, 50, 100, 500), Some(held)),
        (setting(Mesh::RowsAndColumns, 100, 0, 500), Some(at_once)),
        (setting(Mesh::Torus, 100, 150, 500), Some(held)),
        (setting(Mesh::Grid, 100, 0, 100), None),
        (setting(Mesh::Grid, 100, 150, 500), None),
    ]
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Operations of clients, reads among them.
    pub operations: u64,
    /// Messages between servers.
    pub messages: u64,
    /// Half of all broadcasts were everywhere after this.
    pub median: Duration,
    /// All were after this.
    pub max: Duration,
}

impl Figures {
    /// Messages for each operation.
    pub fn messages_per_operation(&self) -> f64 {
        self.messages as f64 / self.operations as f64
    }

    /// Whether everything stayed below a bar.
    pub fn is_below(&self, bar: Bar) -> bool {
        self.messages_per_operation() < bar.messages
            && self.median < bar.median
            && self.max < bar.max
    }
}

/// Runs it. None if a broadcast did not reach everyone.
pub fn broadcast(setting: Setting) -> Option<Figures> {
    measure(setting, SECONDS)
}

fn measure(setting: Setting, seconds: u64) -> Option<Figures> {
    let mut herd = Herd::new(setting);
    herd.run_until(nanos(WARM_UP));
    herd.messages = 0;
    let mut chance = Chance::new(1);
    let begun = herd.now_ns;
    let operations = OPERATIONS_PER_S * seconds;
    let mut said = Vec::new();
    for operation in 0..operations {
        herd.run_until(begun + operation * SECOND_NS / OPERATIONS_PER_S);
        let node = chance.index(NODES);
        if chance.per_mille(500) {
            herd.say(node, said.len());
            said.push(herd.now_ns);
        }
    }
    let end = herd.now_ns + 60 * SECOND_NS;
    while herd.shown.len() < said.len() || herd.shown.iter().any(|shown| shown.count < NODES) {
        if herd.now_ns > end {
            return None;
        }
        herd.run_until(herd.now_ns + SECOND_NS / 100);
    }
    let times = said.iter().zip(&herd.shown);
    let mut took: Vec<_> = times.map(|(&at, shown)| shown.last_ns - at).collect();
    took.sort_unstable();
    let at = |place: usize| took.get(place).copied().map(Duration::from_nanos);
    Some(Figures {
        operations,
        messages: herd.messages,
        median: at(took.len() / 2)?,
        max: at(took.len().checked_sub(1)?)?,
    })
}

/// By how many servers a broadcast is shown, and since when by the last of them.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    count: usize,
    last_ns: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive {
        link: u64,
        batch: Vec<u8>,
    },
    /// A link has been held for long enough.
    Transmit {
        link: u64,
    },
    Tick {
        node: usize,
    },
}

struct Herd {
    setting: Setting,
    now_ns: u64,
    nodes: Vec<(Replica, Cursor)>,
    /// Whose end each link is, and the link of the other end.
    ends: BTreeMap<u64, (usize, u64)>,
    held: BTreeSet<u64>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    /// Numbers events, so that those of one moment have an order.
    count: u64,
    messages: u64,
    shown: Vec<Shown>,
}

impl Herd {
    fn new(setting: Setting) -> Self {
        let name = |node: usize| format!("n{node:02}").into_boxed_str();
        let replica = |node: usize| {
            let settings = Settings {
                origin: Origin { server: name(node), incarnation: 1 },
                members: (0..NODES).map(name).collect(),
                redundancy: Redundancy::Ways(1),
                future_skew_max: Duration::from_mins(1),
                forget_after: Duration::from_mins(10),
                expire_after: None,
                seed: node as u64,
                tuning: Tuning {
                    watermarks_every: setting.watermarks_every,
                    tell_every: setting.tell_every,
                    ..Tuning::default()
                },
            };
            (Replica::new(settings, now(0)), Cursor::default())
        };
        let mut herd = Self {
            setting,
            now_ns: 0,
            nodes: (0..NODES).map(replica).collect(),
            ends: BTreeMap::new(),
            held: BTreeSet::new(),
            events: BinaryHeap::new(),
            count: 0,
            messages: 0,
            shown: Vec::new(),
        };
        for (number, (a, b)) in (1..).zip(setting.mesh.edges()) {
            let (here, there) = (2 * number, 2 * number + 1);
            herd.ends.insert(here, (a, there));
            herd.ends.insert(there, (b, here));
            for (node, link) in [(a, here), (b, there)] {
                let replica = &mut herd.nodes[node].0;
                replica.open_link(LinkId(link), now(0));
                replica.set_round_trip(LinkId(link), 2 * (setting.delay + setting.hold));
                herd.plan(0, Event::Transmit { link });
            }
        }
        (0..NODES).for_each(|node| herd.plan(0, Event::Tick { node }));
        herd
    }

    fn plan(&mut self, after: u64, event: Event) {
        self.count += 1;
        self.events.push(Reverse((self.now_ns + after, self.count, event)));
    }

    fn run_until(&mut self, until: u64) {
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
            Event::Arrive { link, batch } => {
                let Some(&(node, _)) = self.ends.get(&link) else { return };
                let mut rest = &batch[..];
                while let Ok(Some((Decoded::Message(message), taken))) = Message::decode(rest) {
                    self.nodes[node].0.handle(LinkId(link), &message, now(self.now_ns));
                    rest = rest.get(taken..).unwrap_or_default();
                }
                self.touched(node);
            }
            Event::Transmit { link } => {
                self.held.remove(&link);
                self.transmit(link);
            }
            Event::Tick { node } => {
                let replica = &mut self.nodes[node].0;
                if replica.poll_timeout().nanos() <= self.now_ns {
                    replica.handle_timeout(now(self.now_ns));
                }
                let next = self.nodes[node].0.poll_timeout().nanos().max(self.now_ns + 1);
                // What is fed meanwhile may make it due earlier than this.
                let next = next.min(self.now_ns + SECOND_NS / 50);
                self.plan(next - self.now_ns, Event::Tick { node });
                self.touched(node);
            }
        }
    }

    /// A client broadcasts.
    fn say(&mut self, node: usize, number: usize) {
        self.shown.resize(self.shown.len().max(number + 1), Shown::default());
        let key = u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes();
        let effective_ns = self.now_ns.cast_signed();
        let record = Record { key: &key, effective_ns, tombstone: false, value: b"said" };
        self.nodes[node].0.update(record, now(self.now_ns));
        self.touched(node);
    }

    fn touched(&mut self, node: usize) {
        let (replica, cursor) = &mut self.nodes[node];
        while let Some(record) = replica.poll_change(cursor) {
            let number = record.key.try_into().map_or(u64::MAX, u64::from_be_bytes);
            let number = usize::try_from(number).unwrap_or(usize::MAX);
            if let Some(shown) = self.shown.get_mut(number) {
                *shown = Shown { count: shown.count + 1, last_ns: self.now_ns };
            }
        }
        while let Some(output) = self.nodes[node].0.poll_output() {
            if let Output::Transmit(LinkId(link)) = output
                && self.held.insert(link)
            {
                self.plan(nanos(self.setting.hold), Event::Transmit { link });
            }
        }
    }

    fn transmit(&mut self, link: u64) {
        let Some(&(node, other)) = self.ends.get(&link) else { return };
        loop {
            let mut batch = Batch(Vec::new());
            self.nodes[node].0.poll_transmit(LinkId(link), &mut batch, now(self.now_ns));
            if batch.0.is_empty() {
                return;
            }
            self.messages += 1;
            self.plan(nanos(self.setting.delay), Event::Arrive { link: other, batch: batch.0 });
        }
    }
}

struct Batch(Vec<u8>);

impl Sink for Batch {
    fn put(&mut self, message: &Message<'_>) {
        message.encode(&mut self.0);
    }

    fn is_full(&self) -> bool {
        self.0.len() >= BATCH_BYTES_MAX
    }
}

impl Mesh {
    fn edges(self) -> Vec<(usize, usize)> {
        let at = |row: usize, column: usize| row % SIDE * SIDE + column % SIDE;
        let places = (0..SIDE).flat_map(|row| (0..SIDE).map(move |column| (row, column)));
        places
            .flat_map(|(row, column)| {
                let reach = if self == Self::RowsAndColumns { 1..SIDE } else { 1..2 };
                reach.flat_map(move |far| {
                    let joined = |place: usize| match self {
                        Self::Torus => true,
                        Self::Grid | Self::RowsAndColumns => place + far < SIDE,
                    };
                    let right = joined(column).then(|| (at(row, column), at(row, column + far)));
                    let down = joined(row).then(|| (at(row, column), at(row + far, column)));
                    right.into_iter().chain(down)
                })
            })
            .collect()
    }
}

fn now(now_ns: u64) -> Now {
    Now { instant: Instant::from_nanos(now_ns), unix: UnixTime::from_nanos(now_ns.cast_signed()) }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bars themselves are held in release, by `cargo xtask sim --broadcast`: twenty seconds of 25
    /// servers are too many for a test that is not optimized.
    #[test]
    fn a_broadcast_takes_no_longer_than_the_links_between() {
        for (mesh, links) in [(Mesh::Grid, 8), (Mesh::Torus, 4)] {
            let delay = Duration::from_millis(100);
            let setting = Setting {
                mesh,
                delay,
                hold: Duration::ZERO,
                watermarks_every: Duration::from_millis(500),
                tell_every: Duration::from_secs(5),
            };
            assert_eq!(measure(setting, 1).unwrap().max, links * delay, "{mesh:?}");
        }
    }
}
