//! What comes out of a replica: effects, faults of peers, events for the log, and counts.

use crate::ids::LinkId;
use herd_proto::peer::Message;

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// There is something to send on this link.
    Transmit(LinkId),
    /// This link cannot go on; close it.
    Close(LinkId, Fault),
    /// There is something to persist: [`poll_journal`](crate::Replica::poll_journal).
    Journal,
    /// Changes up to here are persisted: replies that waited for that may go out.
    Journaled(u64),
    /// For the log.
    Event(Event),
}

/// What the other side of a link did wrong.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It named an origin that it had not introduced.
    #[error("origin {0} was not introduced")]
    UnknownOrigin(u16),
    /// It committed a part of a stream that builds on more than this server holds.
    #[error("a commit from {from} of a stream that is held up to {held}")]
    UnknownCommit {
        /// What the commit builds on.
        from: u64,
        /// What is held.
        held: u64,
    },
    /// A number that no stream ever reaches.
    #[error("the number {0} is out of range")]
    OutOfRange(u64),
    /// An incarnation of the future.
    #[error("incarnation {incarnation} of {server} is more than a day ahead of the clock")]
    IncarnationAhead {
        /// The server it names.
        server: Box<str>,
        /// The incarnation.
        incarnation: u64,
    },
    /// More was asked for at once than a peer may have open.
    #[error("more than {0} digests asked for at once")]
    AskedTooMuch(usize),
}

/// Something an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A peer holds what its streams alone cannot bring: buckets are compared.
    CatchingUp(LinkId),
    /// Everything that peer held has arrived.
    CaughtUp(LinkId),
    /// This server lacked records that it claimed to hold. Some invariant does not hold: an alarm.
    Repaired {
        /// How many.
        records: u64,
    },
    /// A peer holds more of this server's stream than this server has written: it needs a new incarnation.
    OwnStreamAhead,
    /// Another incarnation of this server's name is later than this one: the clock was set back, or two processes
    /// have one name.
    LaterIncarnation {
        /// That incarnation.
        incarnation: u64,
    },
    /// An origin has ended: its stream was dropped, its records stay.
    OriginEnded {
        /// The server's name.
        server: Box<str>,
        /// The incarnation that ended.
        incarnation: u64,
    },
    /// No stream is left for one more origin, or no room for one more name that the config does not know: what it writes
    /// spreads by buckets, slower.
    OriginsFull,
}

/// Things that happened, counted for those who want to know whether they ever do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaStats {
    /// Entries of streams taken in for the first time.
    pub entries: u64,
    /// Entries that had come another way before.
    pub duplicates: u64,
    /// Entries of streams sent.
    pub sent: u64,
    /// Scans begun by links that are behind.
    pub scans: u64,
    /// Subscriptions moved because nothing came.
    pub resubscriptions: u64,
    /// Records received in comparisons, new or not.
    pub fetched: u64,
    /// Those of them that changed something.
    pub fetched_new: u64,
    /// Records sent in comparisons.
    pub donated: u64,
    /// Comparisons that came to an end.
    pub comparisons: u64,
    /// Comparisons in which something differed.
    pub comparisons_differing: u64,
    /// Records that this server claimed to hold and lacked: each is an alarm.
    pub repairs: u64,
    /// Origins that have ended.
    pub origins_ended: u64,
    /// Keys erased because their record had expired.
    pub erased: u64,
    /// Records that came and were not due yet.
    pub futures: u64,
}

impl ReplicaStats {
    /// Adds up what several replicas counted.
    pub fn add(&mut self, other: &Self) {
        let Self {
            entries,
            duplicates,
            sent,
            scans,
            resubscriptions,
            fetched,
            fetched_new,
            donated,
            comparisons,
            comparisons_differing,
            repairs,
            origins_ended,
            erased,
            futures,
        } = *other;
        self.entries += entries;
        self.duplicates += duplicates;
        self.sent += sent;
        self.scans += scans;
        self.resubscriptions += resubscriptions;
        self.fetched += fetched;
        self.fetched_new += fetched_new;
        self.donated += donated;
        self.comparisons += comparisons;
        self.comparisons_differing += comparisons_differing;
        self.repairs += repairs;
        self.origins_ended += origins_ended;
        self.erased += erased;
        self.futures += futures;
    }
}

/// Takes what is to be sent.
pub trait Sink {
    /// One message.
    fn put(&mut self, message: &Message<'_>);

    /// Whether no more should be put.
    fn is_full(&self) -> bool;
}
