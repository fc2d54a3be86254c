//! What kind of history a seed makes.

use crate::chance::Chance;
use std::time::Duration;

/// The size and temper of one history, and what happens in it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many nodes.
    pub nodes: usize,
    /// Which are neighbours.
    pub edges: Vec<(usize, usize)>,
    /// Whether no node ever loses its memory.
    pub calm: bool,
    /// A node that is lost before everything else is healed, and never comes back.
    pub lost: Option<usize>,
    /// Messages that may be on their way on one connection in one direction.
    pub window: usize,
    /// A message takes at most so long.
    pub delay: Duration,
    /// A slow link delivers one message in this time.
    pub slow: Duration,
    /// How many of a thousand connections are slow.
    pub slow_links: u64,
    /// In how many ways each stream is asked for; zero for all.
    pub redundancy: usize,
    /// Members absent for so long are not waited for.
    pub forget_after: Duration,
    /// How often members tell what they hold.
    pub tell_every: Duration,
    /// Arrivals from which on a link is swept.
    pub sweep_arrivals_min: u64,
    /// Arrivals in one piece of a log.
    pub segment_arrivals: u64,
    /// How long tombstones stay at each node.
    pub graces: Vec<Duration>,
    /// How far each node's wall clock is ahead, in seconds.
    pub skews_s: Vec<i64>,
    /// What happens, each after a pause.
    pub steps: Vec<(Duration, Step)>,
}

/// One thing that happens. Nodes that are not up do nothing; edges that do not exist cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client's report.
    Write {
        /// Where.
        node: usize,
        /// Under which key.
        key: u64,
        /// Of which time.
        time: Time,
        /// Its value.
        value: u64,
    },
    /// Reports under the first so many keys.
    Burst {
        /// Where.
        node: usize,
        /// How many.
        keys: u64,
    },
    /// A key is to be forgotten.
    Forget {
        /// Where.
        node: usize,
        /// Which.
        key: u64,
    },
    /// A node loses its memory and stays away.
    Crash(usize),
    /// It comes back.
    Start(usize),
    /// Both at once.
    Restart(usize),
    /// A link is cut, in both ways or one.
    Cut(usize, usize, [bool; 2]),
    /// It is whole again.
    Mend(usize, usize),
    /// A connection is lost, and may be made again.
    Break(usize, usize),
    /// All links of one node are cut.
    Isolate(usize),
    /// All links between nodes whose bit is set and the others are cut.
    Split(u64),
    /// All links are whole again.
    MendAll,
}

/// Of which time a report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Of its server's clock.
    Now,
    /// Of the start of a second so long ago: others may report of that too.
    Second(i64),
    /// So many nanoseconds ago.
    Ago(i64),
    /// As long after its server's clock as is allowed, less so many seconds.
    Future(i64),
    /// The very moment of which the key was last forgotten.
    Forgotten,
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of(chance: &mut Chance) -> Self {
        let nodes_max = if chance.per_mille(100) { 11 } else { 5 };
        let nodes = 2 + chance.index(nodes_max);
        let ms = Duration::from_millis;
        let calm = chance.per_mille(300);
        let redundancies = [1, 1, 2, 0];
        let graces = [[ms(500); 2], [ms(5_000); 2], [ms(300), ms(20_000)]][chance.index(3)];
        let skew_s = [0, 0, 1, 25][chance.index(4)];
        let mut plan = Self {
            nodes,
            edges: edges(nodes, chance),
            calm,
            lost: None,
            window: [1, 2, 8, 64][chance.index(4)],
            delay: [ms(0), ms(3), ms(40), ms(200)][chance.index(4)],
            slow: [ms(5), ms(40)][chance.index(2)],
            slow_links: [0, 0, 300][chance.index(3)],
            redundancy: redundancies[chance.index(4)],
            forget_after: [ms(300), ms(3_000), ms(600_000)][chance.index(3)],
            tell_every: [ms(50), ms(300), ms(1_000)][chance.index(3)],
            sweep_arrivals_min: [1, 2, 6, 1024][chance.index(4)],
            segment_arrivals: [1, 4, 64, 4096][chance.index(4)],
            graces: (0..nodes).map(|_| chance.pick(&graces).unwrap_or_default()).collect(),
            skews_s: (0..nodes)
                .map(|_| i64::try_from(chance.below(2 * skew_s + 1)).unwrap_or(0))
                .map(|s| s - skew_s.cast_signed())
                .collect(),
            steps: Vec::new(),
        };
        if plan.slow_links > 0 || plan.window < 8 && plan.delay >= ms(40) {
            // What members tell may not fill a link: it would never come to rest.
            plan.tell_every = ms(2_000);
        }
        plan.fill(chance);
        let lost = chance.index(nodes);
        if !calm && chance.per_mille(300) && plan.is_connected_without(Some(lost)) {
            plan.lost = Some(lost);
        }
        plan
    }

    fn fill(&mut self, chance: &mut Chance) {
        let ms = Duration::from_millis;
        let calm = self.calm;
        let keys = [1, 2, 3, 8, 40][chance.index(5)];
        let steps = 10 + chance.below(if calm { 150 } else { 60 });
        let pause = [ms(2), ms(30), ms(300), ms(1500)][chance.index(4)];
        // How many of a thousand things are what; the rest are reports.
        let crashes = if calm { 0 } else { [0, 20, 80][chance.index(3)] };
        let cuts = if calm { 30 } else { [0, 60, 200][chance.index(3)] };
        let forgets = [0, 0, 30, 100][chance.index(4)];
        let bursts = [0, 30, 150][chance.index(3)];
        // Now and then nothing happens for long, so that absent members are given up.
        let lulls = [0, 0, 60][chance.index(3)];
        let future = chance.per_mille(150);
        for _ in 0..steps {
            let lull = chance.per_mille(lulls);
            let pause = if lull { ms(8_000) } else { pause };
            let pause = Duration::from_nanos(chance.below(nanos(pause) + 1));
            let node = chance.index(self.nodes);
            let key = chance.below(keys);
            let edge = chance.pick(&self.edges).unwrap_or_default();
            let dice = chance.below(1000);
            let step = if dice < crashes {
                match chance.below(4) {
                    0 => Step::Crash(node),
                    1 | 2 => Step::Start(node),
                    _ => Step::Restart(node),
                }
            } else if dice < crashes + cuts {
                let ways = [[true, true], [true, false], [false, true]];
                match chance.below(12) {
                    0..=2 => Step::Cut(edge.0, edge.1, chance.pick(&ways).unwrap_or_default()),
                    3..=6 => Step::Mend(edge.0, edge.1),
                    7 | 8 => Step::Break(edge.0, edge.1),
                    9 => Step::Isolate(node),
                    10 => Step::Split(chance.next()),
                    _ => Step::MendAll,
                }
            } else if dice < crashes + cuts + forgets {
                Step::Forget { node, key }
            } else if dice < crashes + cuts + forgets + bursts {
                Step::Burst { node, keys: 1 + chance.below(keys) }
            } else {
                let few = i64::try_from(chance.below(3)).unwrap_or(0);
                let time = match chance.below(10) {
                    0..=2 => Time::Now,
                    3 | 4 => Time::Second(0),
                    5 | 6 => Time::Second(few),
                    7 => Time::Forgotten,
                    8 if future => Time::Future(few),
                    _ => Time::Ago(i64::try_from(chance.below(1 << 32)).unwrap_or(0)),
                };
                Step::Write { node, key, time, value: chance.below(5) }
            };
            self.steps.push((pause, step));
        }
    }

    /// Whether every node can be reached from every other, the lost one left out.
    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected_without(None) && self.is_connected_without(self.lost)
    }

    fn is_connected_without(&self, lost: Option<usize>) -> bool {
        let mut reached = vec![false; self.nodes];
        let first = usize::from(lost == Some(0));
        reached[first] = true;
        if let Some(lost) = lost.and_then(|lost| reached.get_mut(lost)) {
            *lost = true;
        }
        for _ in 0..self.nodes {
            for &(a, b) in &self.edges {
                if lost.is_some_and(|lost| lost == a || lost == b) {
                    continue;
                }
                let either = reached[a] || reached[b];
                (reached[a], reached[b]) = (either, either);
            }
        }
        reached.into_iter().all(|reached| reached)
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A line, a star, a ring, or a random tree, with some links more.
fn edges(nodes: usize, chance: &mut Chance) -> Vec<(usize, usize)> {
    let mut edges: Vec<_> = match chance.below(4) {
        0 => (1..nodes).map(|n| (n - 1, n)).collect(),
        1 => (1..nodes).map(|n| (0, n)).collect(),
        2 if nodes > 2 => (0..nodes).map(|n| (n, (n + 1) % nodes)).collect(),
        _ => (1..nodes).map(|n| (chance.index(n), n)).collect(),
    };
    for _ in 0..chance.index(nodes) {
        let (a, b) = (chance.index(nodes), chance.index(nodes));
        let known = |&(c, d): &(usize, usize)| (c, d) == (a, b) || (c, d) == (b, a);
        if a != b && !edges.iter().any(known) {
            edges.push((a, b));
        }
    }
    edges
}
