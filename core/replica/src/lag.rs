//! How long a stream has been behind what neighbours hold, for those who watch.
//!
//! Watermarks come many a second, and the oldest that is not reached counts. So the moments at which
//! they were first heard are kept, and thinned out where there are many: the age is never told too
//! small, and at most a part of it too large.

use crate::link::Link;
use crate::origin::OriginIx;
use crate::replica::Replica;
use crate::ticks::TICK;
use herd_proto::{Instant, Now};
use std::collections::VecDeque;
use std::time::Duration;

/// Moments kept of one stream. Two that are joined become one as old as the older, so what is told is
/// too old by at most one part in so many halves of the whole time.
const MARKS_MAX: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Lag {
    /// Versions that neighbours hold and this node does not, and when it was heard; both ascending.
    marks: VecDeque<(u64, Instant)>,
    /// What is heard within this of the last mark is counted as heard with it.
    spacing: Duration,
}

impl Lag {
    /// `held` is held here, and `greatest` by some neighbour.
    fn note(&mut self, held: u64, greatest: u64, now: Instant) {
        while self.marks.front().is_some_and(|&(version, _)| version <= held) {
            self.marks.pop_front();
        }
        if greatest <= held {
            // Whoever was ahead may also be gone.
            self.marks.clear();
        }
        if self.marks.is_empty() {
            self.spacing = TICK;
        }
        match self.marks.back_mut() {
            _ if greatest <= held => {}
            Some((version, _)) if greatest <= *version => {}
            Some((version, heard)) if now.since(*heard) < self.spacing => *version = greatest,
            Some(_) | None => self.marks.push_back((greatest, now)),
        }
        if self.marks.len() > MARKS_MAX {
            self.spacing *= 2;
            let pairs = self.marks.make_contiguous().chunks(2).filter_map(|pair| match *pair {
                [(_, heard), (version, _)] => Some((version, heard)),
                [mark] => Some(mark),
                _ => None,
            });
            self.marks = pairs.collect();
        }
    }

    /// Since when the oldest thing that is not held here was known to be held elsewhere.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.marks.front().map(|&(_, heard)| heard)
    }

    /// The greatest version that a neighbour is ahead with; 0 if none is.
    pub(crate) fn greatest(&self) -> u64 {
        self.marks.back().map_or(0, |&(version, _)| version)
    }
}

impl Replica {
    pub(crate) fn tick_lag(&mut self, now: Now) {
        // Its own stream a node always holds.
        for at in 1..self.streams.len() {
            let origin = OriginIx(u16::try_from(at).unwrap_or(u16::MAX));
            let heard = |link: &Link| link.heard.number(origin);
            let greatest = self.links.values().map(heard).max().unwrap_or_default();
            if let Some(stream) = self.streams.get_mut(at) {
                stream.lag.note(stream.version, greatest, now.instant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn the_oldest_that_is_not_reached_counts() {
        let mut lag = Lag::default();
        lag.note(5, 5, at(0));
        assert_eq!((lag.since(), lag.greatest()), (None, 0));
        lag.note(5, 7, at(10));
        lag.note(5, 9, at(30));
        lag.note(6, 9, at(50));
        assert_eq!((lag.since(), lag.greatest()), (Some(at(10)), 9));
        lag.note(7, 9, at(70));
        assert_eq!(lag.since(), Some(at(30)));
        // Whoever was ahead is gone.
        lag.note(7, 6, at(90));
        assert_eq!(lag.since(), None);
    }

    #[test]
    fn a_long_lag_takes_little_room_and_its_age_is_nearly_right() {
        let mut lag = Lag::default();
        for ms in 0..60_000 {
            lag.note(0, ms + 1, at(ms));
            assert!(lag.marks.len() <= MARKS_MAX + 1);
        }
        assert_eq!(lag.since(), Some(at(0)));
        for held in (0..60_000).step_by(100) {
            lag.note(held, 60_000, at(60_000));
            // What comes after `held` was first heard of at that many milliseconds.
            let told = lag.since().unwrap();
            let late = at(held).since(told).as_millis();
            assert!(told <= at(held) && late <= 60_000 / 15, "{held}: {late}");
        }
    }
}
