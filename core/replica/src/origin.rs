//! Who wrote: a server and one of its lives, and its stream as it is known here.

use crate::lag::Lag;
use crate::log::{Arrival, Log};
use crate::settings::LinkId;
use crate::store::Entry;
use herd_proto::Instant;

/// One life of one server. It alone writes its stream, and numbers what it writes 1, 2, 3 …
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The server's name.
    pub server: Box<str>,
    /// Greater whenever that server starts without its memory.
    pub incarnation: u64,
}

/// An origin, as its place among those known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OriginIx(pub(crate) u16);

/// How many origins are told apart. Each costs some hundred bytes; a herd of fifty servers reaches it
/// after eighty restarts of each without a disk.
pub(crate) const ORIGINS_MAX: usize = 4096;

impl OriginIx {
    /// The node itself.
    pub(crate) const ME: Self = Self(0);

    pub(crate) fn at(self) -> usize {
        usize::from(self.0)
    }
}

/// What is known here of one origin's stream.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Held here, for each key: the origin's latest entry up to this number, or a later one, or a
    /// greater record that every member holds.
    pub(crate) version: u64,
    /// The greatest number seen, committed or not.
    pub(crate) seen: u64,
    /// In which order entries arrived here.
    pub(crate) log: Log,
    /// Some key's record with this number has made collected entries superfluous: whoever holds less
    /// cannot be brought up to date entry by entry. Never above `version`.
    pub(crate) floor: u64,
    /// Somebody has dropped a tombstone with this number: who still holds one up to here repeats it when
    /// a report turns up that loses to it.
    pub(crate) grave: u64,
    /// Every present member holds at least this.
    pub(crate) stable: u64,
    /// Every configured member, present or not, holds at least this.
    pub(crate) stable_for_all: u64,
    /// Both as they were found before.
    pub(crate) was_stable: (u64, u64),
    /// The links on which it was subscribed to.
    pub(crate) upstreams: Vec<LinkId>,
    /// When something of it last arrived, or its version last moved.
    pub(crate) progressed: Instant,
    /// Since when some neighbour has been ahead.
    pub(crate) behind_since: Option<Instant>,
    /// What arrived up to here was issued again as own updates, if nobody had committed it.
    pub(crate) adopted: Arrival,
    /// How it stands to what neighbours hold.
    pub(crate) lag: Lag,
}

impl Stream {
    pub(crate) fn new(at: OriginIx, segment_arrivals: u64, now: Instant) -> Self {
        Self {
            version: 0,
            seen: 0,
            log: Log::new(at, segment_arrivals),
            floor: 0,
            grave: 0,
            stable: 0,
            stable_for_all: 0,
            was_stable: (0, 0),
            upstreams: Vec::new(),
            progressed: now,
            behind_since: None,
            adopted: Arrival::default(),
            lag: Lag::default(),
        }
    }

    /// Whether something may be held that nobody has committed, nor this node issued again.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.seen > self.version && self.log.last() > self.adopted
    }

    /// Whether an entry is held that nobody has committed, but this node has issued again if it won.
    pub(crate) fn is_orphan(&self, entry: &Entry) -> bool {
        entry.sequence > self.version && entry.arrival <= self.adopted
    }
}
