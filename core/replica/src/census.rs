//! What a replica holds and how it stands to its streams, counted: for status pages, metrics and tests.

use crate::origin::{Origin, OriginIx};
use crate::replica::Replica;
use herd_proto::Instant;

/// How much is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Keys, those with tombstones among them.
    pub keys: usize,
    /// Entries: a key has one of each origin that wrote it, until the superseded are collected.
    pub entries: usize,
    /// Places in the logs, counting or not.
    pub arrivals: usize,
}

/// One stream as it stands here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamState<'a> {
    /// Whose.
    pub origin: &'a Origin,
    /// Held up to here.
    pub version: u64,
    /// The greatest number seen, committed or not.
    pub seen: u64,
    /// Entries up to here have made others superfluous, which were collected. Never above `version`.
    pub floor: u64,
    /// By how many links it was asked for.
    pub upstreams: usize,
    /// By how many updates some neighbour is ahead.
    pub behind: u64,
    /// Since when the oldest update that is missing here has been known to be held by a neighbour; at
    /// times somewhat earlier, never later.
    pub behind_since: Option<Instant>,
}

impl Replica {
    /// How much is held. Costs a walk over the logs' pieces.
    pub fn census(&self) -> Census {
        Census {
            keys: self.store.keys(),
            entries: self.store.entries(),
            arrivals: self.streams.iter().map(|stream| stream.log.len()).sum(),
        }
    }

    /// Every stream, this node's own first.
    pub fn streams(&self) -> impl Iterator<Item = StreamState<'_>> {
        (0..).map(OriginIx).zip(&self.streams).filter_map(|(at, stream)| {
            Some(StreamState {
                origin: self.store.origin(at)?,
                version: stream.version,
                seen: stream.seen,
                floor: stream.floor,
                upstreams: stream.upstreams.len(),
                behind: stream.lag.greatest().saturating_sub(stream.version),
                behind_since: stream.lag.since(),
            })
        })
    }
}
