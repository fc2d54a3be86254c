//! What a node notices about its own time: calls that come late, and a wall clock that was set.
//!
//! A process that is stopped, swapped out or starved hears nothing while it does not run. That says nothing about its
//! peers, so such time does not count as their silence. It shows in timers that fire late. A wall clock that was
//! set shows against the monotonic clock, which nobody sets.

use crate::mutants::Mutant;
use crate::node::Node;
use herd_proto::{Instant, Now};
use std::time::Duration;

/// A timer that fires later than this was not served: the process did not run. Far more than a busy runtime takes,
/// far less than the shortest time-out.
const LATE: Duration = Duration::from_millis(50);

/// Jumps of the wall clock within this span add up. Longer, and the slow correction of a clock by the system
/// (at most 0.05 %) would pass for a jump.
const JUMP_WITHIN: Duration = Duration::from_mins(10);

#[derive(Debug)]
pub(crate) struct OwnTime {
    /// The last call.
    called: Instant,
    /// Both clocks at a moment in the past [`JUMP_WITHIN`].
    anchor: Now,
}

impl OwnTime {
    pub(crate) fn new(now: Now) -> Self {
        Self { called: now.instant, anchor: now }
    }

    /// How long the process did not run before this call, which was due at `due`; zero if it did.
    fn lost(&mut self, due: Option<Instant>, now: Instant) -> Duration {
        let called = self.called;
        self.called = now.max(called);
        let is_late = due.is_some_and(|due| now.since(due) >= LATE);
        if is_late { now.since(called) } else { Duration::ZERO }
    }

    /// Whether the wall clock was set by more than `least` since the last moments.
    fn has_jumped(&mut self, least: Duration, now: Now) -> bool {
        let elapsed = now.instant.since(self.anchor.instant);
        let expected = self.anchor.unix.saturating_add(elapsed);
        let off = now.unix.nanos().abs_diff(expected.nanos());
        let has_jumped = u128::from(off) > least.as_nanos();
        if has_jumped || elapsed >= JUMP_WITHIN {
            self.anchor = now;
        }
        has_jumped
    }
}

impl Node {
    /// Looks at both clocks; at the start of every call that brings them.
    pub(crate) fn note_time(&mut self, now: Now) {
        let lost = self.own_time.lost(self.timeout, now.instant);
        if !lost.is_zero() && !self.is(Mutant::OwnPauseCounted) {
            for link in self.links.values_mut() {
                link.excuse(lost, now.instant);
            }
        }
        if self.own_time.has_jumped(self.settings.future_skew_max, now) {
            self.replica.clock_jumped(now);
            self.forget_clocks(now.instant);
            self.watch.look_at_once(now.instant);
            self.set_timeout();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use herd_proto::UnixTime;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(instant_s: u64, unix_s: i64) -> Now {
        Now {
            instant: Instant::from_nanos(instant_s * 1_000_000_000),
            unix: UnixTime::from_nanos(unix_s * 1_000_000_000),
        }
    }

    #[test]
    fn time_counts_as_lost_only_if_a_timer_was_not_served() {
        let mut time = OwnTime::new(at(0, 0));
        let due = |s: u64| Some(Instant::from_nanos(s * 1_000_000_000));
        assert_eq!(time.lost(due(1), at(1, 1).instant), Duration::ZERO);
        assert_eq!(time.lost(due(2), at(4, 4).instant), 3 * SECOND);
        assert_eq!(time.lost(None, at(9, 9).instant), Duration::ZERO);
    }

    #[test]
    fn jumps_of_the_wall_clock_add_up_for_ten_minutes() {
        let mut time = OwnTime::new(at(0, 1000));
        assert!(!time.has_jumped(60 * SECOND, at(1, 1031)));
        assert!(time.has_jumped(60 * SECOND, at(2, 1063)));
        assert!(!time.has_jumped(60 * SECOND, at(3, 1064)), "told once");
        assert!(time.has_jumped(60 * SECOND, at(4, 1000)));
        assert!(!time.has_jumped(60 * SECOND, at(604, 1630)));
        assert!(!time.has_jumped(60 * SECOND, at(605, 1661)), "it drifts");
    }
}
