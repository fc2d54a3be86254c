//! What a replica is told at its start, and what it is fed with.

use crate::origin::Origin;
use crate::tuning::Tuning;
use std::collections::BTreeSet;
use std::time::Duration;

/// A connection to a neighbour, for as long as it lasts. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A key with its value and the time by which it is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What the record is about.
    pub key: &'a [u8],
    /// Nanoseconds since 1970; the first thing that orders two records of one key.
    pub effective_ns: i64,
    /// The key is to be forgotten; the second.
    pub tombstone: bool,
    /// Opaque; its bytes are the third.
    pub value: &'a [u8],
}

impl Record<'_> {
    pub(crate) fn rank(&self) -> (i64, bool, &[u8]) {
        (self.effective_ns, self.tombstone, self.value)
    }
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Newer than what was known: stored, and on its way to everyone.
    Newer,
    /// Known already, or older, or so old that it has expired: nothing changed.
    NotNewer,
    /// A new key that no room was left for.
    Full,
}

/// By how many ways a node asks for each origin's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redundancy {
    /// So many neighbours: one costs N-1 payloads an update, two halve the gap after a cut.
    Ways(usize),
    /// Every neighbour: plain flooding.
    All,
}

/// What a replica needs to know to be one.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's origin. Its incarnation is new whenever it starts without its memory.
    pub origin: Origin,
    /// The servers of the herd by name, this one among them.
    pub members: BTreeSet<Box<str>>,
    /// By how many ways each stream is asked for.
    pub redundancy: Redundancy,
    /// A record may be at most twice so far ahead of this node's clock; its first server clamps to once.
    pub future_skew_max: Duration,
    /// A member unheard of for so long is not waited for when entries are collected.
    pub forget_after: Duration,
    /// A key of which nothing newer is known for so long is shown to nobody, and removed; None for never.
    /// To be alike on all servers of a herd.
    pub expire_after: Option<Duration>,
    /// Hard to guess: whoever knows it can choose keys that collide.
    pub seed: u64,
    /// Sizes and times.
    pub tuning: Tuning,
}
