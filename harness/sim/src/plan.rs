//! What kind of history a seed makes.

use crate::disk::Trouble;
use std::time::Duration;

/// The size and temper of one history, and what happens in it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it is mostly about.
    pub kind: Kind,
    /// The sort of its graph.
    pub graph: Graph,
    /// How many nodes.
    pub nodes: usize,
    /// Which are neighbours.
    pub edges: Vec<(usize, usize)>,
    /// Whether no node ever loses its memory.
    pub calm: bool,
    /// A node that is lost before everything else is healed, and never comes back.
    pub lost: Option<usize>,
    /// A node that at first is not up, and that no other node's config names.
    pub guest: Option<usize>,
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
    /// Whether clients say anew what is older than a tombstone that their server has dropped.
    pub anew: bool,
    /// How far each node's wall clock is ahead, in seconds.
    pub skews_s: Vec<i64>,
    /// The disk of each node that has one.
    pub disks: Vec<Option<DiskPlan>>,
    /// What happens, each after a pause.
    pub steps: Vec<(Duration, Step)>,
}

/// A node's disk, and how it is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskPlan {
    /// When what was written is made safe.
    pub fsync: Fsync,
    /// Records written at once.
    pub piece: usize,
    /// A write takes at most so long.
    pub write: Duration,
    /// To make it safe takes at most so long.
    pub sync: Duration,
    /// After so many records a generation begins anew.
    pub anew: u64,
    /// It says from the start that things are safe that are not.
    pub lies: bool,
}

/// When what was written is made safe against power cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before anything is acknowledged.
    Always,
    /// So often.
    Every(Duration),
    /// When the system likes.
    Never,
}

/// What a history is mostly about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of everything something.
    Mixed,
    /// Few keys and many writes.
    FewKeys,
    /// Many keys, in bursts.
    ManyKeys,
    /// Links cut for longer than members are waited for.
    LongCuts,
    /// Nodes that lose their memory again and again.
    QuickRestarts,
    /// Keys forgotten, nodes cut off and restarted meanwhile, and old reports said anew.
    Forgetful,
    /// Clocks that differ, and jump.
    Clocks,
    /// Second connections between neighbours, and connections lost in the middle of a frame.
    Doubles,
    /// Nodes that join, are taken out, leave and come back.
    Members,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Mixed,
        Self::FewKeys,
        Self::ManyKeys,
        Self::LongCuts,
        Self::QuickRestarts,
        Self::Forgetful,
        Self::Clocks,
        Self::Doubles,
        Self::Members,
    ];
}

/// A sort of graph; some links more may have been added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Graph {
    /// One after the other.
    Line,
    /// One in the middle.
    Star,
    /// A line whose ends meet.
    Ring,
    /// A tree made at random.
    Random,
    /// Everyone with everyone.
    Full,
}

impl Graph {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Line, Self::Star, Self::Ring, Self::Random, Self::Full];
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
    /// A connection is lost, and may be made again. Some of what was on it may arrive, up to a frame that
    /// is not whole.
    Break(usize, usize),
    /// A second connection is made; some time later one of the two is lost.
    Double(usize, usize),
    /// A node's wall clock is set to so many seconds before or after what it should show.
    Jump(usize, i64),
    /// All links of one node are cut.
    Isolate(usize),
    /// All links between nodes whose bit is set and the others are cut.
    Split(u64),
    /// All links are whole again.
    MendAll,
    /// A node is no longer in the config of those whose bit is set, nor in that of one at least; its links
    /// are cut.
    TakeOut(usize, u64),
    /// It is in the config of its neighbours again, or for the first time; its links are whole.
    PutBack(usize),
    /// It says that it leaves.
    Leave(usize),
    /// A node with a disk stops, having written down everything; others lose their memory.
    Stop(usize),
    /// The power of a node is cut: of its disk what was not safe may be gone.
    PowerCut(usize),
    /// All nodes are killed at once, or, if so, the power of all is cut.
    KillAll {
        /// Whether it is.
        power: bool,
    },
    /// All nodes that are not up start.
    StartAll,
    /// A disk has some trouble.
    Disk(usize, Trouble),
    /// A node's journal begins anew.
    Anew(usize),
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
    /// So many nanoseconds before that moment.
    BeforeForgotten(i64),
}

impl Plan {
    /// Whether every node can be reached from every other, the lost one left out.
    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected_without(None) && self.is_connected_without(self.lost)
    }

    pub(crate) fn is_connected_without(&self, lost: Option<usize>) -> bool {
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
