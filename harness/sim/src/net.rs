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
}

/// One side of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) link: u64,
    pub(crate) open: bool,
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
