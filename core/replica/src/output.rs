//! What comes out of a replica: effects, faults of neighbours, events for the log, and counts.

use crate::settings::LinkId;
use herd_proto::peer::Message;

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// There is something to send on this link.
    Transmit(LinkId),
    /// This link cannot go on; close it.
    Close(LinkId, Fault),
    /// There is something to write down: [`poll_journal`](crate::Replica::poll_journal).
    Journal,
    /// Own updates up to here are safe: replies that waited for that may go out.
    Journaled(u64),
    /// For the log.
    Event(Event),
}

/// What the other side of a link did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It named an origin that it had not introduced.
    #[error("origin {0} was not introduced")]
    UnknownOrigin(u16),
    /// There are too many origins.
    #[error("too many origins")]
    TooManyOrigins,
    /// A record lies further in the future than any right clock can make it.
    #[error("a record is {ahead_s} s ahead of this server's clock: one of the two clocks is wrong")]
    ClockAhead {
        /// How far.
        ahead_s: i64,
    },
}

/// Something an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Everything is being fetched from one neighbour.
    BootstrapBegun(LinkId),
    /// It has arrived.
    BootstrapEnded(LinkId),
    /// It has not: the link was lost.
    BootstrapBroken(LinkId),
    /// Records of an origin that is gone were issued again.
    Adopted {
        /// How many.
        records: usize,
    },
    /// A neighbour lacked records though it was to hold them; they were issued again. Some invariant does
    /// not hold: an alarm.
    AuditRepaired {
        /// How many.
        records: u64,
    },
    /// A neighbour holds more of this node's stream than this node has written: it has lost memory,
    /// and needs a new incarnation.
    OwnStreamAhead,
    /// Another life of this node's name began later than this one, by its incarnation: this machine's
    /// clock was set back, or two servers of one name live.
    LaterLife {
        /// Its incarnation.
        incarnation: u64,
    },
}

/// Things that happened, counted for those who want to know whether they ever do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happenings {
    /// Entries taken in for the first time.
    pub entries: u64,
    /// Entries that had come another way before.
    pub duplicates: u64,
    /// Entries sent.
    pub sent: u64,
    /// Rounds of sweeping begun.
    pub sweeps: u64,
    /// Subscriptions moved because nothing came.
    pub resubscriptions: u64,
    /// Records issued again.
    pub adopted: u64,
    /// Snapshots begun.
    pub snapshots: u64,
    /// Snapshots that broke off.
    pub snapshots_broken: u64,
    /// Snapshots begun anew because what they were sent from changed under them.
    pub snapshots_anew: u64,
    /// Entries that a snapshot showed to be superfluous.
    pub discarded: u64,
    /// Superseded entries collected.
    pub collected: u64,
    /// Tombstones collected.
    pub tombstones_collected: u64,
    /// Keys removed since nothing was heard of them for long.
    pub expired: u64,
    /// Tombstones written again because another server had dropped them too early for a late report.
    pub tombstones_repeated: u64,
    /// Entries that were withheld from a link until they were committed.
    pub withheld_sent: u64,
    /// Comparisons with a neighbour that came to an end.
    pub audits: u64,
    /// Buckets of keys that differed in one.
    pub audit_doubts: u64,
    /// Commits that came too early to be used.
    pub commits_ignored: u64,
}

impl Happenings {
    /// Adds up.
    pub fn add(&mut self, other: &Self) {
        let Self {
            entries,
            duplicates,
            sent,
            sweeps,
            resubscriptions,
            adopted,
            snapshots,
            snapshots_broken,
            snapshots_anew,
            discarded,
            collected,
            tombstones_collected,
            expired,
            tombstones_repeated,
            withheld_sent,
            audits,
            audit_doubts,
            commits_ignored,
        } = other;
        self.entries += entries;
        self.duplicates += duplicates;
        self.sent += sent;
        self.sweeps += sweeps;
        self.resubscriptions += resubscriptions;
        self.adopted += adopted;
        self.snapshots += snapshots;
        self.snapshots_broken += snapshots_broken;
        self.snapshots_anew += snapshots_anew;
        self.discarded += discarded;
        self.collected += collected;
        self.tombstones_collected += tombstones_collected;
        self.expired += expired;
        self.tombstones_repeated += tombstones_repeated;
        self.withheld_sent += withheld_sent;
        self.audits += audits;
        self.audit_doubts += audit_doubts;
        self.commits_ignored += commits_ignored;
    }
}

/// Takes messages for one link.
pub trait Sink {
    /// Takes one.
    fn put(&mut self, message: &Message<'_>);
    /// Whether no more should be put for now.
    fn is_full(&self) -> bool;
}
