//! Connections between nodes: bytes in order, late, a bounded number at a time, until they end.

use std::collections::VecDeque;

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) ends: [End; 2],
    pub(crate) flows: [Flow; 2],
    pub(crate) edge: usize,
    /// When an end that has not noticed the other's end will.
    pub(crate) ends_at: Option<u64>,
    /// When this connection will be lost, being one of two between the same nodes.
    pub(crate) breaks_at: Option<u64>,
}

/// One side of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) link: u64,
    pub(crate) open: bool,
    /// The replica has something to say, or has not been asked since it last had.
    pub(crate) ready: bool,
}

/// What is on its way to one end.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    pub(crate) frames: VecDeque<(u64, Vec<u8>)>,
    /// Nothing gets through, though nobody is told.
    pub(crate) cut: bool,
    pub(crate) cut_since: u64,
    /// A slow link: one frame in so many nanoseconds.
    pub(crate) spacing_ns: u64,
    pub(crate) last_ns: u64,
}

impl Wire {
    pub(crate) fn is_open(&self) -> bool {
        self.ends.iter().all(|end| end.open)
    }

    /// When something happens on it, if nothing else happens before.
    pub(crate) fn next_at(&self, dead_after_ns: u64) -> u64 {
        let planned = self.ends_at.unwrap_or(u64::MAX).min(self.breaks_at.unwrap_or(u64::MAX));
        let flow = |flow: &Flow| {
            if flow.cut {
                flow.cut_since.saturating_add(dead_after_ns)
            } else {
                flow.frames.front().map_or(u64::MAX, |(at, _)| *at)
            }
        };
        planned.min(flow(&self.flows[0])).min(flow(&self.flows[1]))
    }
}

impl Flow {
    /// A frame is sent; it arrives after those before it.
    pub(crate) fn send(&mut self, now: u64, delay: u64, frame: Vec<u8>) {
        let at = (now + delay).max(self.last_ns + self.spacing_ns);
        self.last_ns = at;
        self.frames.push_back((at, frame));
    }

    /// When the next frame arrives, if it does.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.frames.front().filter(|_| !self.cut).map(|(at, _)| *at)
    }
}
