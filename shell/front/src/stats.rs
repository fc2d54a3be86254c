//! What the protocols count. A connection tallies a batch by itself and adds it up once.

use crate::sync::AtomicU64;
use herd_node::Histogram;
use parking_lot::Mutex;
use std::sync::atomic::Ordering::Relaxed;

/// What a line turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An IAMAT.
    Iamat,
    /// An IAMAT that was not taken, since it could not be written down.
    Refused,
    /// An IAMAT of a client that is not known, not taken since the server is full.
    TurnedAway,
    /// A WHATSAT about a client that is known.
    Whatsat,
    /// A WHATSAT about one that is not.
    WhatsatUnknown,
    /// An AT line from a client that may send it.
    At,
    /// A line that is no command, or may not be sent by this client.
    Invalid,
    /// A line beyond the limit.
    TooLong,
}

impl Kind {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 8] = [
        Self::Iamat,
        Self::Refused,
        Self::TurnedAway,
        Self::Whatsat,
        Self::WhatsatUnknown,
        Self::At,
        Self::Invalid,
        Self::TooLong,
    ];

    /// The labels of its counter: kind and outcome.
    pub fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Iamat => ("iamat", "answered"),
            Self::Refused => ("iamat", "refused"),
            Self::TurnedAway => ("iamat", "turned_away"),
            Self::Whatsat => ("whatsat", "answered"),
            Self::WhatsatUnknown => ("whatsat", "unknown_client"),
            Self::At => ("at", "taken"),
            Self::Invalid => ("other", "invalid"),
            Self::TooLong => ("other", "too_long"),
        }
    }
}

/// The counts of one batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    kinds: [u64; Kind::ALL.len()],
}

impl Tally {
    /// Counts one line.
    pub fn add(&mut self, kind: Kind) {
        if let Some(count) = self.kinds.get_mut(kind as usize) {
            *count += 1;
        }
    }

    /// Whether there was any such line.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.kinds.get(kind as usize).is_some_and(|&count| count > 0)
    }
}

/// Counts since the server started.
#[derive(Debug, Default)]
pub struct Stats {
    kinds: [AtomicU64; Kind::ALL.len()],
    /// Bytes received from clients.
    pub bytes_received: AtomicU64,
    /// Bytes sent to clients.
    pub bytes_sent: AtomicU64,
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections turned away because there were too many.
    pub turned_away: AtomicU64,
    /// Connections of clients open now.
    pub open: AtomicU64,
    /// Clients dropped because they took no reply for too long.
    pub stalled: AtomicU64,
    /// Fetches from a remote provider that were answered.
    pub fetches_answered: AtomicU64,
    /// Fetches from a remote provider that failed.
    pub fetches_failed: AtomicU64,
    /// Lines of the log that were lost.
    pub log_lines_lost: AtomicU64,
    /// How long the fetches took.
    pub fetch_times: Mutex<Histogram>,
}

impl Stats {
    /// Adds up a batch.
    pub fn add(&self, tally: &Tally) {
        for (total, &count) in self.kinds.iter().zip(&tally.kinds) {
            if count > 0 {
                total.fetch_add(count, Relaxed);
            }
        }
    }

    /// Lines of each kind so far.
    pub fn lines(&self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::ALL.into_iter().zip(self.kinds.iter().map(|count| count.load(Relaxed)))
    }
}
