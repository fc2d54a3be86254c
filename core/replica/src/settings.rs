//! What a replica is told at its start.

use crate::ids::Origin;
use crate::tuning::Tuning;
use std::collections::BTreeSet;
use std::time::Duration;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Newer than what was stored: stored, and on its way to everyone.
    Newer,
    /// Known already, or older, or so old that it has expired: nothing changed.
    NotNewer,
    /// A new key for which no slot is left.
    Full,
}

/// Number of peers that a server subscribes to for each origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redundancy {
    /// One costs N-1 payloads an update; two halve the gap after a cut.
    Ways(usize),
    /// Every peer: plain flooding.
    All,
}

/// What a replica needs to know to be one.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This process. Its incarnation is greater at each start.
    pub origin: Origin,
    /// The servers of the herd by name, this one among them.
    pub members: BTreeSet<Box<str>>,
    /// Number of peers that each stream is asked of.
    pub redundancy: Redundancy,
    /// A record that is more than twice so far ahead of this server's clock is not due yet. Its first server bounds
    /// what a client says to once.
    pub future_skew_max: Duration,
    /// A server that was silent for so long does not count: its stream ends, and nothing is kept for it.
    pub forget_after: Duration,
    /// No record that was received longer ago is accepted or kept; tombstones an hour longer.
    pub horizon: Duration,
    /// The same for reports, if that is shorter. To be alike on all servers of a herd.
    pub expire_after: Option<Duration>,
    /// Hard to guess: whoever knows it can choose keys that collide.
    pub seed: u64,
    /// Sizes and times.
    pub tuning: Tuning,
}
