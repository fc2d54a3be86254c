//! How long a stream has been behind what peers hold, for those who watch.
//!
//! Watermarks come many a second, and the oldest that is not reached counts. So the moments at which they first
//! came are kept, and thinned out where there are many: the age is never reported too small, and at most a part of
//! it too large.

use herd_proto::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// Moments kept of one stream. Two that are joined become one as old as the older, so the reported age is too
/// great by at most one part in half as many.
const MARKS_MAX: usize = 32;

/// Marks closer than this are joined from the start: versions are compared this often.
const SPACING_MIN: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub(crate) struct Lag {
    /// Versions that peers hold and this server does not, and when that became known; both ascending.
    marks: VecDeque<(u64, Instant)>,
    /// What comes within this of the last mark is joined with it.
    spacing: Duration,
}

impl Lag {
    /// `held` is held here, and `greatest` by some peer.
    pub(crate) fn note(&mut self, held: u64, greatest: u64, now: Instant) {
        while self.marks.front().is_some_and(|&(version, _)| version <= held) {
            self.marks.pop_front();
        }
        if greatest <= held {
            // The peer that was ahead may also be gone.
            self.marks.clear();
            return;
        }
        if self.marks.is_empty() {
            self.spacing = SPACING_MIN;
        }
        match self.marks.back_mut() {
            Some((version, _)) if greatest <= *version => {}
            Some((version, since)) if now.since(*since) < self.spacing => *version = greatest,
            Some(_) | None => self.marks.push_back((greatest, now)),
        }
        if self.marks.len() > MARKS_MAX {
            self.spacing *= 2;
            let pairs = self.marks.make_contiguous().chunks(2).filter_map(|pair| match *pair {
                [(_, since), (version, _)] => Some((version, since)),
                [mark] => Some(mark),
                _ => None,
            });
            self.marks = pairs.collect();
        }
    }

    /// Since when the oldest update that is missing here was known to be held elsewhere.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.marks.front().map(|&(_, since)| since)
    }

    /// The greatest version that a peer is ahead with; 0 if none is.
    pub(crate) fn greatest(&self) -> u64 {
        self.marks.back().map_or(0, |&(version, _)| version)
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
            let since = lag.since().unwrap();
            let late = at(held).since(since).as_millis();
            assert!(since <= at(held) && late <= 60_000 / 15, "{held}: {late}");
        }
    }
}
