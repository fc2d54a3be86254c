//! What one link's other side knows, wants, and has been told.

use crate::allowance::Allowance;
use crate::audit::LinkAudit;
use crate::by_origin::ByOrigin;
use crate::log::Arrival;
use crate::members::Member;
use crate::origin::OriginIx;
use crate::store::EntryIx;
use herd_proto::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Link {
    /// Our origins whose numbers the other side knows, in our numbering.
    pub(crate) introduced: ByOrigin<()>,
    /// Its numbers in our numbering.
    pub(crate) numbers: BTreeMap<u16, OriginIx>,
    /// What it holds, as far as it said.
    pub(crate) heard: ByOrigin<u64>,
    /// What we told it that we hold.
    pub(crate) told: ByOrigin<u64>,
    /// Its floors, and ours as told.
    pub(crate) floors_heard: ByOrigin<u64>,
    pub(crate) floors_told: ByOrigin<u64>,
    /// All floors were told that had been raised when this was counted.
    pub(crate) floors_raised_told: u64,
    /// Our graves as told, and how often one had been raised then.
    pub(crate) graves_told: ByOrigin<u64>,
    pub(crate) graves_raised_told: u64,
    /// Whether each side has said all it held at first.
    pub(crate) greeted: bool,
    pub(crate) has_greeted: bool,
    /// What it wants from us.
    pub(crate) wanted: ByOrigin<Subscription>,
    /// What we still have to ask of it: subscribe (true) or unsubscribe.
    pub(crate) wishes: BTreeMap<OriginIx, bool>,
    /// Origins of which it sent what had come another way, while it was ahead of us all the same.
    pub(crate) doubled: BTreeSet<OriginIx>,
    /// Origins that may have something for it.
    pub(crate) dirty: BTreeSet<OriginIx>,
    /// The stream that was sent on last.
    pub(crate) served: Option<OriginIx>,
    /// The last word of each member that it was told.
    pub(crate) members_told: BTreeMap<OriginIx, (u64, bool)>,
    /// Where telling goes on, among the members in the order of their names.
    pub(crate) members_turn: usize,
    pub(crate) members_allowance: Allowance,
    pub(crate) snapshot_out: Option<SnapshotOut>,
    pub(crate) snapshot_wish: bool,
    /// Watermarks are to be told, and may be again from this moment.
    pub(crate) tell_watermarks: bool,
    pub(crate) watermarks_due: Instant,
    pub(crate) round_trip: Duration,
    pub(crate) audit: LinkAudit,
    /// Nothing was left to send when it was last asked for.
    pub(crate) waiting: bool,
}

impl Link {
    pub(crate) fn new(now: Instant, audit_due: Instant) -> Self {
        Self {
            introduced: ByOrigin::default(),
            numbers: BTreeMap::new(),
            heard: ByOrigin::default(),
            told: ByOrigin::default(),
            floors_heard: ByOrigin::default(),
            floors_told: ByOrigin::default(),
            floors_raised_told: 0,
            graves_told: ByOrigin::default(),
            graves_raised_told: 0,
            greeted: false,
            has_greeted: false,
            wanted: ByOrigin::default(),
            wishes: BTreeMap::new(),
            doubled: BTreeSet::new(),
            dirty: BTreeSet::new(),
            served: None,
            members_told: BTreeMap::new(),
            members_turn: 0,
            members_allowance: Allowance::new(now),
            snapshot_out: None,
            snapshot_wish: false,
            tell_watermarks: false,
            watermarks_due: now,
            round_trip: Duration::ZERO,
            audit: LinkAudit::new(audit_due),
            waiting: false,
        }
    }

    /// Whether the other side has yet to hear the last word of `member` from here.
    pub(crate) fn is_untold(&self, member: &Member) -> bool {
        self.members_told.get(&member.origin).copied().unwrap_or_default() < member.rank()
    }
}

/// How far the other side has been sent one origin's stream.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// It holds, or has been sent, all up to this version.
    pub(crate) committed: u64,
    /// It held this when it subscribed: entries up to here need not be sent.
    pub(crate) held: u64,
    /// Entries that were passed over, since the other side may have forgotten what they lose to; they
    /// are sent before a commit that speaks of them.
    pub(crate) withheld: Vec<EntryIx>,
    pub(crate) course: Course,
}

/// In which order entries are sent.
#[derive(Debug)]
pub(crate) enum Course {
    /// In the order in which they arrived here: right while the link keeps up.
    Log {
        /// All arrivals up to here were sent.
        cursor: Arrival,
        /// The last arrival when the walk began, or was looked at last. If the cursor comes here and
        /// as much is ahead of it again, the link does not keep up.
        mark: Arrival,
    },
    /// Slot by slot, round and round: a link that cannot keep up is then sent every key in turn, while
    /// in log order keys that change all the time would starve the rest.
    Sweep {
        /// The next slot. The round ends where the slots do by then: what comes while it lasts is met by it
        /// too, or would wait for the whole of the next.
        next: u32,
        /// Arrivals up to here were sent before this round.
        base: Arrival,
        /// The last arrival at the start of this round, and the version then.
        start: Arrival,
        version: u64,
    },
}

/// A snapshot under way.
#[derive(Debug, Default)]
pub(crate) struct SnapshotOut {
    pub(crate) next: u32,
    pub(crate) begun: bool,
    /// The versions at its start.
    pub(crate) versions: ByOrigin<u64>,
}
