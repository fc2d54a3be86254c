//! The asking side of a comparison by buckets.
//!
//! One round: the root, then the ranges that differ, then their buckets, each with a list of what is stored here and
//! answered by what is missing. Ranges are done in order and by one link at a time, so several donors share
//! the work; what was fetched stays over a cut, and the next round finds it equal.
//!
//! A donor names its versions before its sums are taken. Once all ranges were found equal or made so since, what is
//! stored here dominates what the donor held then, and the versions hold here too (R3).

use crate::ids::{LinkId, OriginIx};
use crate::links::compare::Verdict;
use herd_proto::Instant;
use herd_proto::peer::SUMS;
use std::collections::{BTreeMap, VecDeque};

#[derive(Debug)]
pub(crate) struct Receiver {
    /// When the next round begins.
    pub(crate) due: Instant,
    /// Whether it is to look into everything that differs, or into a sample.
    pub(crate) full: bool,
    /// Whether the one that is under way does.
    pub(crate) is_full: bool,
    pub(crate) state: State,
    /// When the round that is under way began, or the last one did.
    pub(crate) begun: Instant,
    /// When the last full round that ended had begun.
    pub(crate) whole_since: Option<Instant>,
    /// A full round has ended on this link.
    pub(crate) first_done: bool,
    /// The last periodic round looked into nothing, since the other side had erased more or less.
    pub(crate) was_put_off: bool,
    /// The token of a round that has ended, to be told.
    pub(crate) compared: Option<u64>,
    pub(crate) verdict: Option<Verdict>,
}

#[derive(Debug)]
pub(crate) enum State {
    Idle,
    /// The root is to be sent.
    Begin,
    Asked {
        token: u64,
        since: Instant,
    },
    Working(Box<Work>),
}

/// A round that found the roots different.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) token: u64,
    /// The donor is to leave nothing out, since versions are raised at the end.
    pub(crate) all: bool,
    pub(crate) versions: Vec<(OriginIx, u64)>,
    /// The donor's ranges.
    pub(crate) sums: Vec<u64>,
    /// Those still to be looked into.
    pub(crate) ranges: VecDeque<u8>,
    pub(crate) range_asked: Option<u8>,
    /// Buckets that differ, with the donor's sums.
    pub(crate) buckets: VecDeque<(u16, u64)>,
    /// Buckets of each range that are not done.
    pub(crate) open: BTreeMap<u8, usize>,
    /// Buckets asked for, with what they weigh.
    pub(crate) asked: BTreeMap<u16, usize>,
    pub(crate) weight: usize,
    /// Buckets that may still be looked into.
    pub(crate) buckets_left: usize,
    /// Something that differs was left out.
    pub(crate) partial: bool,
    pub(crate) changed: u64,
    pub(crate) repaired: u64,
    pub(crate) progressed: Instant,
}

impl Receiver {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            due: now,
            full: true,
            is_full: false,
            state: State::Idle,
            begun: now,
            whole_since: None,
            first_done: false,
            was_put_off: false,
            compared: None,
            verdict: None,
        }
    }

    /// A round begins; what happens from now on is a matter of the next.
    pub(crate) fn begin(&mut self, now: Instant, next_due: Instant) {
        self.begun = now;
        self.is_full = std::mem::take(&mut self.full);
        self.due = next_due;
        self.state = State::Begin;
    }

    /// The round that is under way does not come to its end.
    pub(crate) fn give_up(&mut self, now: Instant) {
        self.full |= self.is_full;
        self.due = now;
        self.state = State::Idle;
    }

    pub(crate) fn work(&mut self) -> Option<&mut Work> {
        match &mut self.state {
            State::Working(work) => Some(work),
            State::Idle | State::Begin | State::Asked { .. } => None,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    pub(crate) fn forget_stream(&mut self, at: OriginIx) {
        if let Some(work) = self.work() {
            work.versions.retain(|&(origin, _)| origin != at);
        }
    }
}

impl Work {
    /// Whether nothing is left to ask for or to wait for.
    pub(crate) fn is_done(&self) -> bool {
        self.ranges.is_empty()
            && self.range_asked.is_none()
            && self.buckets.is_empty()
            && self.asked.is_empty()
    }

    /// One bucket of a range is done; true if it was the last.
    pub(crate) fn close_bucket(&mut self, bucket: u16) -> bool {
        let [range, _] = bucket.to_be_bytes();
        let Some(open) = self.open.get_mut(&range) else { return false };
        *open = open.saturating_sub(1);
        let is_last = *open == 0;
        if is_last {
            self.open.remove(&range);
        }
        is_last
    }
}

/// Which link looks into which range: what several donors could send is asked of one.
#[derive(Debug)]
pub(crate) struct RangesTaken(Vec<Option<LinkId>>);

impl Default for RangesTaken {
    fn default() -> Self {
        Self(vec![None; SUMS])
    }
}

impl RangesTaken {
    pub(crate) fn is_free_for(&self, range: u8, link: LinkId) -> bool {
        self.0.get(usize::from(range)).is_none_or(|by| by.is_none_or(|by| by == link))
    }

    pub(crate) fn take(&mut self, range: u8, link: LinkId) {
        if let Some(by) = self.0.get_mut(usize::from(range)) {
            *by = Some(link);
        }
    }

    pub(crate) fn release(&mut self, range: u8, link: LinkId) {
        if let Some(by) = self.0.get_mut(usize::from(range)) {
            *by = by.filter(|&by| by != link);
        }
    }

    pub(crate) fn release_all(&mut self, link: LinkId) {
        for by in &mut self.0 {
            *by = by.filter(|&by| by != link);
        }
    }
}
