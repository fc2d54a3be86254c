//! What a replica holds and how it stands to its streams, counted: for status pages, metrics and tests.

use crate::herd::MemberState;
use crate::ids::{LinkId, Origin};
use crate::links::Link;
use crate::replica::Replica;
use herd_proto::Instant;

/// How much is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Keys, those with tombstones, with expired and with future records among them.
    pub keys: usize,
    /// Labels beside the one of each key.
    pub labels: usize,
    /// Positions in the logs of streams, counting or not.
    pub arrivals: usize,
    /// Positions in the log of changes, counting or not.
    pub changes: usize,
    /// Streams.
    pub streams: usize,
    /// Streams at most.
    pub streams_max: usize,
    /// Names of servers.
    pub names: usize,
}

/// One stream as it stands here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamState<'a> {
    /// Whose.
    pub origin: &'a Origin,
    /// Held up to here.
    pub version: u64,
    /// The greatest number that ever arrived, committed or not.
    pub seen: u64,
    /// A peer that holds less cannot be served by this stream alone.
    pub serves_from: u64,
    /// By how many links it was asked for.
    pub upstreams: usize,
    /// By how many updates some peer is ahead.
    pub behind: u64,
    /// Since when the oldest update that is missing here has been known to be held by a peer; at times
    /// somewhat earlier, never later.
    pub behind_since: Option<Instant>,
}

/// By which servers what a server holds is held as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// No peer is linked that stays in the herd.
    Nowhere,
    /// Some linked peer lacks something that this server holds.
    NotByAllPeers,
    /// Every linked peer holds all of it.
    ByPeers,
}

impl Replica {
    /// How much is held. Costs a walk over the logs' pieces.
    pub fn census(&self) -> Census {
        Census {
            keys: self.table.len(),
            labels: self.table.extra_labels(),
            arrivals: self.streams.iter().map(|(_, stream)| stream.log.len()).sum(),
            changes: self.changes.len(),
            streams: self.streams.len(),
            streams_max: self.settings.tuning.streams_max,
            names: self.herd.len(),
        }
    }

    /// The sum over all records, due or not: equal where the same is stored.
    pub fn root(&self) -> u64 {
        self.table.sums.root()
    }

    /// Every stream, this server's own first.
    pub fn streams(&self) -> impl Iterator<Item = StreamState<'_>> {
        self.streams.iter().map(|(_, stream)| StreamState {
            origin: &stream.origin,
            version: stream.version,
            seen: stream.seen,
            serves_from: stream.serves_from,
            upstreams: stream.upstreams.len(),
            behind: stream.lag.greatest().saturating_sub(stream.version),
            behind_since: stream.lag.since(),
        })
    }

    /// Every member of the herd, this server among them, with its last word.
    pub fn members(&self) -> impl Iterator<Item = MemberState<'_>> {
        self.herd.members()
    }

    /// Whether all that a peer held when the link came up is held here.
    pub fn is_caught_up(&self, id: LinkId) -> bool {
        self.links.open.get(&id).is_some_and(|link| {
            link.receiver.first_done && link.gaps.iter().next().is_none() && self.has_reached(link)
        })
    }

    /// Whether it is comparing buckets with a peer, on the asking side.
    pub fn is_comparing(&self) -> bool {
        self.links.open.values().any(|link| !link.receiver.is_idle())
    }

    /// Whether the streams have brought what a peer held when it had greeted.
    pub(crate) fn has_reached(&self, link: &Link) -> bool {
        let holds = |(origin, &goal): (_, &u64)| {
            self.streams.version(origin) >= goal || link.gaps.contains(origin)
        };
        link.greeted && link.goal.iter().all(holds)
    }

    /// Whether some link is still to bring what its peer held when it came up.
    pub fn is_catching_up(&self) -> bool {
        self.links.open.keys().any(|&id| !self.is_caught_up(id))
    }

    /// How far what this server holds is held by the peers it is linked to: whether anything would be lost with it.
    pub fn held_elsewhere(&self) -> Held {
        // A peer that is leaving takes along what it holds.
        let stays = |link: &&Link| link.greeted && !self.herd.has_left(&link.peer);
        let mut peers = self.links.open.values().filter(stays).peekable();
        if peers.peek().is_none() {
            return Held::Nowhere;
        }
        let holds = |link: &Link| {
            let mut streams = self.streams.iter();
            let by_streams = streams.all(|(at, s)| link.peer_versions.number(at) >= s.version);
            by_streams && link.donor.unlabeled_held >= Some(self.unlabeled)
        };
        // What no one has committed yet may be held here alone.
        let is_whole = self.streams.iter().all(|(_, stream)| stream.seen <= stream.version);
        if is_whole && peers.all(holds) { Held::ByPeers } else { Held::NotByAllPeers }
    }
}
