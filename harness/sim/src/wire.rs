//! Connections between servers: bytes in order, delayed, a bounded number at a time, until they break.

use crate::rank::Rank;
use std::collections::VecDeque;
use std::rc::Rc;

/// A peer whose bytes stop is noticed after this.
pub(crate) const DEAD_AFTER_NS: u64 = 1_500_000_000;

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) ends: [End; 2],
    /// What travels to each end.
    pub(crate) flows: [Flow; 2],
    /// What the process at each end stored when it was killed: the other end may not have noticed yet.
    pub(crate) lost: [Option<Rc<[Option<Rank>]>>; 2],
    /// Index of its edge.
    pub(crate) edge: usize,
    /// When an end that has not noticed the other's end will.
    pub(crate) ends_at: u64,
    /// When the connection will be lost.
    pub(crate) breaks_at: u64,
}

/// One side of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) server: usize,
    pub(crate) link: u64,
    pub(crate) open: bool,
    /// The replica has something to send, or was not asked since it last had.
    pub(crate) ready: bool,
}

/// What is on its way to one end.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    pub(crate) parcels: VecDeque<(u64, Vec<u8>)>,
    /// Nothing gets through, though no one is told.
    pub(crate) cut: bool,
    pub(crate) cut_since: u64,
    /// Bytes a second.
    pub(crate) rate: Option<u64>,
    last_ns: u64,
}

impl Wire {
    pub(crate) fn is_open(&self) -> bool {
        self.ends[0].open && self.ends[1].open
    }

    /// When something happens on it next.
    pub(crate) fn next_at(&self) -> u64 {
        let planned = self.ends_at.min(self.breaks_at);
        planned.min(self.flows[0].next_at()).min(self.flows[1].next_at())
    }
}

impl Flow {
    pub(crate) fn new(rate: Option<u64>) -> Self {
        Self { rate, ..Self::default() }
    }

    /// Sends a parcel. It arrives after those before it.
    pub(crate) fn send(&mut self, now: u64, delay: u64, parcel: Vec<u8>) {
        let takes = self.rate.map_or(0, |rate| parcel.len() as u64 * 1_000_000_000 / rate.max(1));
        let at = (now + delay).max(self.last_ns.max(now) + takes);
        self.last_ns = at;
        self.parcels.push_back((at, parcel));
    }

    /// The next parcel arrives not before then.
    pub(crate) fn hold_until(&mut self, at: u64) {
        self.last_ns = self.last_ns.max(at);
    }

    pub(crate) fn cut(&mut self, cut: bool, now: u64) {
        if cut && !self.cut {
            self.cut_since = now;
        }
        self.cut = cut;
    }

    /// When the next parcel arrives, or the cut is noticed.
    pub(crate) fn next_at(&self) -> u64 {
        if self.cut {
            return self.cut_since.saturating_add(DEAD_AFTER_NS);
        }
        self.parcels.front().map_or(u64::MAX, |(at, _)| *at)
    }

    pub(crate) fn is_dead(&self, now: u64) -> bool {
        self.cut && self.next_at() <= now
    }
}
