//! The public measure for broadcasts: how many messages the servers of a herd send one another for each
//! thing that a client asks, and how long it takes until every server shows what was written.
//!
//! The rule: 25 servers, links of 100 ms, 100 operations a second for 20 seconds, half of them broadcasts
//! and half reads, each at a server chosen at random. A message is whatever one server hands one link at
//! once: one buffer of batches, of at most 64 KiB. All count, from the first operation until every
//! broadcast is everywhere: entries, commits, watermarks, what members tell. A broadcast's latency is the
//! time until the *last* server shows it.
//!
//! The clock is virtual and the seed fixed, so the figures are the same on every machine.
//!
//! In a 5×5 grid opposite corners are eight links apart. If 100 ms is a link's round trip that is 400 ms;
//! if it is one way, it is 800 ms before anybody has done anything, and no way of spreading can be below
//! the first bar. But which servers are linked is the operator's choice, as it is in the public measure:
//! with the grid's ends joined to a torus they are at most four links apart, with every row and column
//! linked to itself two.

use crate::chance::Chance;
use crate::healthy::Herd;
use crate::plan::nanos;
use crate::world::SECOND_NS;
use herd_replica::Tuning;
use std::time::Duration;

/// Servers in a row, and rows.
const SIDE: usize = 5;
const SERVERS: usize = SIDE * SIDE;
const OPERATIONS_PER_S: u64 = 100;
const SECONDS: u64 = 20;
/// Links are made and greeted before the first operation.
const WARM_UP: Duration = Duration::from_secs(3);

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
    let tuning = Tuning {
        watermarks_every: setting.watermarks_every,
        tell_every: setting.tell_every,
        ..Tuning::default()
    };
    let mut herd = Herd::new(SERVERS, &setting.mesh.edges(), &tuning);
    (herd.delay, herd.hold) = (setting.delay, setting.hold);
    herd.link_all();
    herd.run_until(nanos(WARM_UP));
    herd.sent.messages = 0;
    let mut chance = Chance::new(1);
    let begun = herd.now_ns;
    let operations = OPERATIONS_PER_S * seconds;
    let mut said = Vec::new();
    for operation in 0..operations {
        herd.run_until(begun + operation * SECOND_NS / OPERATIONS_PER_S);
        let server = chance.index(SERVERS);
        if chance.per_mille(500) {
            herd.say(server, said.len());
            said.push(herd.now_ns);
        }
    }
    let end = herd.now_ns + 60 * SECOND_NS;
    while herd.shown.len() < said.len() || herd.shown.iter().any(|shown| shown.count < SERVERS) {
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
        messages: herd.sent.messages,
        median: at(took.len() / 2)?,
        max: at(took.len().checked_sub(1)?)?,
    })
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
