//! What one link's other side holds, wants, and has been sent.

use crate::ids::{Arrival, LinkId, Origin, OriginIx};
use crate::links::ByOrigin;
use crate::links::donor::Donor;
use crate::links::receiver::Receiver;
use herd_proto::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    /// The server at the other end.
    pub(crate) peer: Box<str>,
    pub(crate) opened: Instant,
    /// Our streams whose numbers the other side knows.
    pub(crate) introduced: ByOrigin<()>,
    /// Which origins its numbers mean, and their streams here, if they have one.
    pub(crate) numbers: BTreeMap<u16, (Origin, Option<OriginIx>)>,
    /// Streams that were dropped here and are known again: what it still sends of them builds on what was held before.
    pub(crate) restarted: BTreeSet<OriginIx>,
    /// How far it holds each stream, as far as it said.
    pub(crate) peer_versions: ByOrigin<u64>,
    /// The same when it had greeted: what a new link has to bring.
    pub(crate) goal: ByOrigin<u64>,
    /// What we told it that we hold.
    pub(crate) announced: ByOrigin<u64>,
    /// Whether each side has told all that it held at first.
    pub(crate) greeted: bool,
    pub(crate) has_greeted: bool,
    /// What it wants from us.
    pub(crate) subscriptions: ByOrigin<Subscription>,
    /// What we still have to ask of it: subscribe (true) or unsubscribe.
    pub(crate) pending_subscriptions: BTreeMap<OriginIx, bool>,
    /// Of these it is to forget what we had asked for before.
    pub(crate) pending_restarts: BTreeSet<OriginIx>,
    /// Subscriptions of the other side that begin with a gap, which it is to be told.
    pub(crate) gaps_due: BTreeMap<OriginIx, u64>,
    /// Streams that it does not commit to us before we hold this much, which only buckets bring.
    pub(crate) gaps: ByOrigin<u64>,
    /// Origins of which it sent what had come another way, while it was ahead of us all the same.
    pub(crate) duplicates_from: BTreeSet<OriginIx>,
    /// Origins that may have something for it.
    pub(crate) dirty: BTreeSet<OriginIx>,
    /// The stream that was sent last.
    pub(crate) round_robin_at: Option<OriginIx>,
    /// What it was told of each member.
    pub(crate) members_told: BTreeMap<Box<str>, crate::herd::Rank>,
    pub(crate) members_turn: usize,
    /// Watermarks are to be told, and may be again from this moment.
    pub(crate) tell_watermarks: bool,
    pub(crate) watermarks_due: Instant,
    pub(crate) round_trip: Duration,
    pub(crate) receiver: Receiver,
    pub(crate) donor: Donor,
    /// Answers to comparisons were sent last, not streams.
    pub(crate) donor_turn: bool,
    /// The other side may lack what no stream carries, and is to be told so at this moment.
    pub(crate) hint_due: Option<Instant>,
    pub(crate) hint: bool,
    /// Nothing was left to send when it was last asked for.
    pub(crate) waiting: bool,
}

impl Link {
    pub(crate) fn new(id: LinkId, peer: &str, now: Instant) -> Self {
        Self {
            id,
            peer: peer.into(),
            opened: now,
            introduced: ByOrigin::default(),
            numbers: BTreeMap::new(),
            restarted: BTreeSet::new(),
            peer_versions: ByOrigin::default(),
            goal: ByOrigin::default(),
            announced: ByOrigin::default(),
            greeted: false,
            has_greeted: false,
            subscriptions: ByOrigin::default(),
            pending_subscriptions: BTreeMap::new(),
            pending_restarts: BTreeSet::new(),
            gaps_due: BTreeMap::new(),
            gaps: ByOrigin::default(),
            duplicates_from: BTreeSet::new(),
            dirty: BTreeSet::new(),
            round_robin_at: None,
            members_told: BTreeMap::new(),
            members_turn: 0,
            tell_watermarks: false,
            watermarks_due: now,
            round_trip: Duration::ZERO,
            receiver: Receiver::new(now),
            donor: Donor::default(),
            donor_turn: false,
            hint_due: None,
            hint: false,
            waiting: false,
        }
    }

    /// A stream was dropped: its slot may become another's.
    pub(crate) fn forget_stream(&mut self, at: OriginIx) {
        self.introduced.remove(at);
        for (_, known) in self.numbers.values_mut() {
            *known = known.filter(|&known| known != at);
        }
        self.restarted.remove(&at);
        self.peer_versions.remove(at);
        self.goal.remove(at);
        self.announced.remove(at);
        self.subscriptions.remove(at);
        self.pending_subscriptions.remove(&at);
        self.pending_restarts.remove(&at);
        self.gaps_due.remove(&at);
        self.gaps.remove(at);
        self.duplicates_from.remove(&at);
        self.dirty.remove(&at);
        self.receiver.forget_stream(at);
    }
}

/// How far the other side has been sent one origin's stream.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// It holds, or has been sent, all up to this version.
    pub(crate) committed: u64,
    /// It held this when it subscribed: labels up to here need not be sent.
    pub(crate) held: u64,
    /// What lies below this it must get by buckets before anything is committed.
    pub(crate) gap: Option<u64>,
    pub(crate) mode: SendMode,
}

/// In which order labels are sent.
#[derive(Debug)]
pub(crate) enum SendMode {
    /// In the order in which they arrived here: right while the link keeps up.
    Tail {
        /// All arrivals up to here were sent.
        cursor: Arrival,
        /// The last arrival when the walk began, or was looked at last. If the cursor comes here and as much is ahead
        /// of it again, the link does not keep up.
        mark: Arrival,
    },
    /// Slot by slot, round and round: a link that cannot keep up is then sent every key in turn, while in the
    /// order of arrival keys that change all the time would starve the rest.
    Scan {
        /// The next slot. The round ends where the slots do by then, so what comes meanwhile is met as well.
        next: u32,
        /// Arrivals up to here were sent before this round.
        base: Arrival,
        /// The last arrival at the start of this round, and the version then.
        start: Arrival,
        version: u64,
    },
}
