//! The wall clock, and how far it can be believed.
//!
//! What expires by the wall clock is hidden at once, but erased only after the clock has run evenly, and like those
//! of most peers, for ten minutes: a clock that jumps hides, and never erases (R7).

use crate::replica::Replica;
use herd_proto::{Instant, Now, Record, UnixTime};
use std::time::Duration;

/// A wall clock that gains or loses more than this against the monotonic one between two looks was set.
const STEP_MIN: Duration = Duration::from_secs(1);

/// Tombstones outlive the horizon by so much, for clocks that differ.
const TOMBSTONES_LONGER: Duration = Duration::from_hours(1);

#[derive(Debug)]
pub(crate) struct Clock {
    last: Now,
    even_since: Instant,
    agrees: bool,
    /// What the wall clock showed when it was last set, or first read.
    pub(crate) set_at: UnixTime,
    /// When the clock was last set, or a record last gave way since it had been: a version may claim what is not
    /// stored until everything was compared.
    pub(crate) unsettled: Option<Instant>,
    /// When to compare with all peers, since what was dropped by a wrong clock is lacking here.
    compare_due: Option<Instant>,
}

/// A clock that was set has to be steady for so long before peers are asked: longer than it takes until what was stamped
/// by the wrong one is issued again, or a record from a peer would take its place.
const COMPARE_AFTER: Duration = Duration::from_secs(2);

impl Clock {
    pub(crate) fn new(now: Now) -> Self {
        Self {
            last: now,
            even_since: now.instant,
            agrees: true,
            set_at: now.unix,
            unsettled: None,
            compare_due: None,
        }
    }

    /// Looks at both clocks; true if the wall clock was set back since the last look.
    fn look(&mut self, now: Now) -> bool {
        let passed = i128::try_from(now.instant.since(self.last.instant).as_nanos());
        let shown = i128::from(now.unix.nanos()) - i128::from(self.last.unix.nanos());
        let gained = shown - passed.unwrap_or(i128::MAX);
        let step = i128::try_from(STEP_MIN.as_nanos()).unwrap_or(i128::MAX);
        if gained.abs() > step || !self.agrees {
            self.even_since = now.instant;
        }
        self.last = now;
        gained < -step
    }

    /// For how long the clock has run evenly.
    pub(crate) fn even_for(&self, now: Instant) -> Duration {
        now.since(self.even_since)
    }
}

/// No clock that a peer would have linked to was so far ahead.
const AHEAD_MAX: Duration = Duration::from_hours(24);

/// The later of a record's times: its client's, bounded by its first server, and that server's own.
fn lead_ns(record: &Record<'_>) -> i64 {
    record.effective_ns.max(record.received_ns)
}

impl Replica {
    /// Whether the clocks of most linked peers agree with this server's: nothing is erased while they do not.
    pub fn set_clock_agrees(&mut self, agrees: bool) {
        self.clock.agrees = agrees;
    }

    /// The wall clock was set; what it makes a matter of the future is found at once, and what was dropped by the clock
    /// before comes back from peers.
    pub fn clock_jumped(&mut self, now: Now) {
        self.clock.even_since = now.instant;
        self.clock.set_at = now.unix;
        self.unsettle(now);
        self.walk.look_for_futures();
        self.busy = true;
    }

    /// A record gave way to a clock that was set, or may have.
    pub(crate) fn unsettle(&mut self, now: Now) {
        self.clock.unsettled = Some(now.instant);
        self.clock.compare_due = Some(now.instant + COMPARE_AFTER);
    }

    pub(crate) fn tick_clock(&mut self, now: Now) {
        if self.clock.look(now) {
            self.clock_jumped(now);
        }
        if self.clock.compare_due.take_if(|due| *due <= now.instant).is_some() {
            self.compare_all_soon(now);
        }
    }

    /// A record received at this time or before has expired.
    pub(crate) fn expired_ns(&self, tombstone: bool, now: UnixTime) -> i64 {
        let horizon = self.settings.horizon;
        let lifetime = if tombstone {
            horizon.saturating_add(TOMBSTONES_LONGER)
        } else {
            self.settings.expire_after.map_or(horizon, |after| after.min(horizon))
        };
        now.nanos().saturating_sub(i64::try_from(lifetime.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Whether a record was received so long ago that it counts for nothing any more.
    pub fn has_expired(&self, record: &Record<'_>, now: UnixTime) -> bool {
        record.received_ns <= self.expired_ns(record.tombstone, now)
    }

    /// Whether a record of a peer is not kept at all: it would be erased here by now, or is so far ahead that it would
    /// stay for ever.
    pub(crate) fn is_refused(&self, record: &Record<'_>, now: UnixTime) -> bool {
        let (reports, tombstones) = self.walk.cutoffs_ns();
        record.received_ns <= if record.tombstone { tombstones } else { reports }
            || lead_ns(record) > now.saturating_add(AHEAD_MAX).nanos()
    }

    /// What was received up to then is erased by now where clocks are right.
    pub(crate) fn erased_ns(&self, tombstone: bool, now: UnixTime) -> i64 {
        let reports = now.nanos().saturating_sub(self.expired_ns(false, now)).max(1);
        let step = (reports / i64::from(self.settings.tuning.erase_steps.max(1))).max(1);
        self.expired_ns(tombstone, now).div_euclid(step).saturating_mul(step)
    }

    /// Whether a record is further ahead than any right clock can make it: it is not due yet.
    pub(crate) fn is_future(&self, record: &Record<'_>, now: UnixTime) -> bool {
        if self.faults.make(crate::faults::Mutant::FutureShown) {
            return false;
        }
        lead_ns(record) > now.saturating_add(2 * self.settings.future_skew_max).nanos()
    }

    /// Whether it is so far ahead that it is kept only while nothing else is known of its key.
    pub(crate) fn is_far(&self, record: &Record<'_>, now: UnixTime) -> bool {
        let far = self.settings.tuning.far_future.max(2 * self.settings.future_skew_max);
        lead_ns(record) > now.saturating_add(far).nanos()
    }

    /// Whether clients are shown a record: it is no tombstone, has not expired, and is due.
    pub fn is_shown(&self, record: &Record<'_>, now: UnixTime) -> bool {
        !record.tombstone && !self.has_expired(record, now) && !self.is_future(record, now)
    }
}
