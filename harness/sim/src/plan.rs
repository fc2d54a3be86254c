//! What happens in one history. A seed decides it before anything runs, so that a failing history can be
//! shortened.

use crate::oracle::{AHEAD_MIN, FUTURE_SKEW_MAX};
use herd_replica::Tuning;
use std::time::Duration;

/// Everything that a seed decides ahead of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the history is mostly about.
    pub kind: Kind,
    /// Number of servers.
    pub servers: usize,
    /// Connections that servers try to keep up.
    pub edges: Vec<Edge>,
    /// A server that others must do without at the end, and why.
    pub absent: Option<(usize, Absence)>,
    /// A server that no config names but its own, until it is put back.
    pub guest: Option<usize>,
    /// Parcels on the way at most, per connection and direction.
    pub window: usize,
    /// Frames in one parcel at most.
    pub parcel: usize,
    /// A parcel travels for at most so long.
    pub delay: Duration,
    /// Peers that each stream is asked of; all of them if zero.
    pub redundancy: usize,
    /// Members that are silent for so long no longer count.
    pub forget_after: Duration,
    /// How long records live: what servers start with, and what some of them start with later.
    pub lifetimes: [Lifetime; 2],
    /// Whether links between servers whose clocks differ too much are refused, as nodes do.
    pub judges_clocks: bool,
    /// How far each server's wall clock is ahead, in seconds.
    pub skews_s: Vec<i64>,
    /// The disk of each server that has one.
    pub disks: Vec<Option<DiskPlan>>,
    /// Sizes and times inside the replicas.
    pub tuning: Tuning,
    /// What happens, each after a pause.
    pub steps: Vec<(Duration, Step)>,
}

/// A connection between two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Its ends.
    pub ends: (usize, usize),
    /// Bytes a second that it carries; as many as there are if `None`.
    pub rate: Option<u64>,
    /// It breaks after so long, again and again.
    pub lives: Option<Duration>,
}

/// How long records live at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Of all records, by their time of receipt.
    pub horizon: Duration,
    /// Of values, if that is shorter.
    pub expire_after: Option<Duration>,
}

/// What is wrong with a server that is of no use to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It is dead at the end.
    Dead,
    /// It accepts everything, and sends nothing.
    Mute,
    /// It sends one frame a second.
    Thin,
    /// It sends forged messages.
    Lying,
}

/// A disk, and how it is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskPlan {
    /// When what was written is fsynced.
    pub fsync: Fsync,
    /// Records written at once at most.
    pub batch: usize,
    /// A write takes at most so long.
    pub write: Duration,
    /// An fsync takes at most so long.
    pub sync: Duration,
    /// The journal is compacted after so many records.
    pub compact_after: u64,
}

/// When what was written is fsynced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before anything is acknowledged.
    Always,
    /// At this interval.
    Every(Duration),
    /// When the system likes.
    Never,
}

/// What a history is mostly about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A little of everything.
    Mixed,
    /// Few keys and many writes.
    FewKeys,
    /// Many keys, in bursts.
    ManyKeys,
    /// Links that are cut, split herds, second connections.
    Cuts,
    /// Slow links that break before a full catch-up is done.
    Flapping,
    /// Crashes, with and without disks.
    Restarts,
    /// One server that starts hundreds or thousands of times.
    Storm,
    /// Disks that fail, fill, lose their tail and are replaced by older copies.
    Disks,
    /// Keys that are forgotten, and written again.
    Forgetful,
    /// Records that expire, under settings that differ.
    Expiry,
    /// Clocks that differ and jump.
    Clocks,
    /// Servers that join, are taken out, leave and return.
    Members,
    /// A mute, thin or lying server.
    Faulty,
    /// Two processes of one name.
    Twins,
    /// One server dies in the middle of what it says, and the others must not take long.
    Prompt,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Mixed,
        Self::FewKeys,
        Self::ManyKeys,
        Self::Cuts,
        Self::Flapping,
        Self::Restarts,
        Self::Storm,
        Self::Disks,
        Self::Forgetful,
        Self::Expiry,
        Self::Clocks,
        Self::Members,
        Self::Faulty,
        Self::Twins,
        Self::Prompt,
    ];
}

/// One thing that happens. Servers that are down do nothing; edges that do not exist cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client's report.
    Write {
        /// At which server.
        server: usize,
        /// Under which key.
        key: usize,
        /// With which time.
        time: Time,
        /// Which of a few values.
        value: u8,
        /// Whether it comes from a foreign server.
        relayed: bool,
    },
    /// Reports under the first so many keys.
    Burst {
        /// At which server.
        server: usize,
        /// How many.
        keys: usize,
    },
    /// A key is to be forgotten.
    Forget {
        /// At which server.
        server: usize,
        /// Which key.
        key: usize,
    },
    /// A process is killed; its disk stays.
    Crash(usize),
    /// A server that is down starts.
    Start(usize),
    /// Both at once.
    Restart(usize),
    /// A server restarts again and again, at this interval.
    Storm {
        /// Which server.
        server: usize,
        /// How often.
        times: u32,
        /// The time between two starts, in milliseconds.
        every_ms: u32,
    },
    /// A server stops in order.
    Stop(usize),
    /// The power of a server is cut: what was not fsynced may be lost.
    PowerCut(usize),
    /// All servers are killed at once.
    KillAll {
        /// Whether by a power cut.
        power: bool,
    },
    /// All servers that are down start.
    StartAll,
    /// From its next start on, the server uses the other lifetimes.
    OtherLifetime(usize),
    /// An edge is cut, both ways or one way.
    Cut((usize, usize), [bool; 2]),
    /// It is whole again.
    Heal((usize, usize)),
    /// A connection is lost. Part of what was on it may arrive.
    Break((usize, usize)),
    /// A second connection is made; some time later one of the two is lost.
    Double((usize, usize)),
    /// All edges of a server are cut.
    Isolate(usize),
    /// All edges between servers whose bit is set and the others are cut.
    Split(u64),
    /// All edges are whole again.
    HealAll,
    /// A server's wall clock is set to so many seconds before or after what its plan says.
    Jump(usize, i64),
    /// The configs of those whose bit is set, and of one at least, no longer name the server.
    TakeOut(usize, u64),
    /// All configs name it, its edges are whole, and it is up.
    PutBack(usize),
    /// It announces that it leaves.
    Leave(usize),
    /// Something happens to a disk.
    Disk(usize, Trouble),
    /// A second process of the same name starts elsewhere.
    Twin {
        /// Of which server.
        of: usize,
        /// Whether with the same incarnation.
        same_incarnation: bool,
    },
    /// It ends.
    EndTwin,
}

/// What happens to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// From now on it has room for so many bytes more.
    Full(u64),
    /// The change after so many fails.
    Fails(u64),
    /// It works again.
    Repaired,
    /// The directory is copied.
    Copied,
    /// The process is killed, and the copy takes the directory's place.
    Restored,
    /// The process is killed, and one bit changes.
    Damaged,
    /// The process is killed, and the directory is empty.
    Lost,
    /// The journal is compacted.
    Compacted,
}

/// The time that a client reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// The server's clock.
    Now,
    /// The start of a second so long ago: other reports may have the same.
    Second(i64),
    /// So many nanoseconds ago.
    Ago(i64),
    /// So many seconds ahead of the server's clock: a phone that is wrong.
    Future(i64),
    /// The time of which the key was last forgotten.
    Forgotten,
    /// So many nanoseconds before that.
    BeforeForgotten(i64),
}

impl Plan {
    /// Whether every server can be reached from every other, also without the absent one.
    pub(crate) fn is_connected(&self) -> bool {
        let absent = self.absent.map(|(server, _)| server);
        self.is_connected_without(None) && self.is_connected_without(absent)
    }

    pub(crate) fn is_connected_without(&self, absent: Option<usize>) -> bool {
        let mut reached = vec![false; self.servers];
        let first = usize::from(absent == Some(0));
        reached[first] = true;
        if let Some(absent) = absent.and_then(|absent| reached.get_mut(absent)) {
            *absent = true;
        }
        for _ in 0..self.servers {
            for &Edge { ends: (a, b), .. } in &self.edges {
                if absent.is_none_or(|absent| absent != a && absent != b) {
                    let either = reached[a] || reached[b];
                    (reached[a], reached[b]) = (either, either);
                }
            }
        }
        reached.into_iter().all(|reached| reached)
    }

    /// Whether any server's clock is ever wrong.
    pub(crate) fn has_clocks(&self) -> bool {
        let jumps = |(_, step): &(Duration, Step)| matches!(step, Step::Jump(..));
        self.skews_s.iter().any(|&skew| skew != 0) || self.steps.iter().any(jumps)
    }

    /// Whether a record may be so far ahead of some clock, for a while, that a server sets it aside or gives it up.
    pub(crate) fn has_far_clocks(&self) -> bool {
        let jump = |(_, step): &(Duration, Step)| match *step {
            Step::Jump(_, seconds) => seconds,
            _ => 0,
        };
        let jumps = || self.steps.iter().map(jump).chain([0]);
        let skews = || self.skews_s.iter().copied().chain([0]);
        let ahead = skews().max().zip(jumps().max()).map_or(0, |(skew, jump)| skew + jump);
        let behind = skews().min().zip(jumps().min()).map_or(0, |(skew, jump)| skew + jump);
        let spread = Duration::from_secs((ahead - behind).unsigned_abs()) + FUTURE_SKEW_MAX;
        spread > AHEAD_MIN
    }

    /// Whether some server lies.
    pub(crate) fn has_liar(&self) -> bool {
        matches!(self.absent, Some((_, Absence::Lying)))
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
