//! Wall clocks of peers: how far each differs from this server's, and whether that can be worked with.
//!
//! A peer tells its wall clock in its hello, and again in the answer to every ping. If it differs by more than twice
//! the allowed skew the two servers do not link, and try again at least every [`CLOCK_RETRY`]. Below that a
//! difference has no consequence for a link, and a *record* never has: the replica hides one that is not due.
//!
//! *Absent:* this server's own wall clock against its monotonic one, which is in `own_time.rs`.

use crate::mutants::Mutant;
use crate::node::Node;
use crate::output::Refusal;
use crate::peers::PeerId;
use herd_proto::{Instant, Now, UnixTime};
use std::time::Duration;

/// A peer whose clock differs too much is tried again this often at least: once its clock is set, the two servers
/// are to be linked within seconds.
pub(crate) const CLOCK_RETRY: Duration = Duration::from_secs(5);

/// A measurement older than this does not count in the question whose clock is wrong.
const RECENT: Duration = Duration::from_mins(1);

/// How far the wall clock of a peer is ahead of this server's, as measured once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockReading {
    /// Nanoseconds; negative if the peer is behind.
    offset_ns: i64,
    /// The true difference is at most so much greater or smaller, nanoseconds.
    error_ns: i64,
    measured: Instant,
}

impl ClockReading {
    /// From a peer's time that was read at some moment in the `span` before now.
    pub(crate) fn new(theirs: UnixTime, span: Duration, now: Now) -> Self {
        let error_ns = nanos(span) / 2;
        let middle_ns = now.unix.nanos().saturating_sub(error_ns);
        let offset_ns = theirs.nanos().saturating_sub(middle_ns);
        Self { offset_ns, error_ns, measured: now.instant }
    }

    /// Whether the difference is greater than `limit` for certain.
    fn exceeds(self, limit: Duration) -> bool {
        let least_ns = self.offset_ns.unsigned_abs().saturating_sub(self.error_ns.unsigned_abs());
        u128::from(least_ns) > limit.as_nanos()
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

impl Node {
    /// Peers whose clock differs by more than this are refused.
    fn clock_limit(&self) -> Duration {
        self.settings.future_skew_max.saturating_mul(2)
    }

    /// Takes note of a peer's clock. A refusal if the two servers cannot work together; the alarm is raised then.
    pub(crate) fn judge_clock(
        &mut self,
        peer: PeerId,
        reading: ClockReading,
        now: Now,
    ) -> Result<(), Refusal> {
        let limit = self.clock_limit();
        let ignored = self.is(Mutant::ClockIgnored);
        let Some(known) = self.peers.get_mut(peer.0) else { return Ok(()) };
        known.clock = Some(reading);
        if ignored || !reading.exceeds(limit) {
            return Ok(());
        }
        let (ours, theirs) = (self.name().to_owned(), self.peer_name(peer).to_owned());
        let (ahead, behind) = if reading.offset_ns > 0 { (theirs, ours) } else { (ours, theirs) };
        let is_own = self.is_own_clock_wrong(now.instant);
        self.watch.note_clock(is_own, now.instant);
        // To the millisecond: more says nothing.
        let by = Duration::from_millis(reading.offset_ns.unsigned_abs() / 1_000_000);
        Err(Refusal::ClocksDiffer { ahead, behind, by, limit })
    }

    fn recent_readings(&self, now: Instant) -> impl Iterator<Item = ClockReading> {
        let peers = self.peers.iter().filter(|peer| !peer.gone);
        let readings = peers.filter_map(|peer| peer.clock);
        readings.filter(move |reading| now.since(reading.measured) < RECENT)
    }

    /// Whether this server's clock is the odd one: most of the peers that answered, and at least two, differ from
    /// it too much and in the same direction.
    fn is_own_clock_wrong(&self, now: Instant) -> bool {
        let limit = self.clock_limit();
        let (mut all, mut ahead, mut behind) = (0, 0, 0);
        for reading in self.recent_readings(now) {
            all += 1;
            ahead += usize::from(reading.exceeds(limit) && reading.offset_ns > 0);
            behind += usize::from(reading.exceeds(limit) && reading.offset_ns < 0);
        }
        let most = ahead.max(behind);
        most >= 2 && 2 * most > all
    }

    /// Whether the wall clock can be trusted with erasing: not while most peers differ by more than the skew that
    /// is allowed to reports.
    pub(crate) fn clock_agrees(&self, now: Instant) -> bool {
        let (mut all, mut differing) = (0, 0);
        for reading in self.recent_readings(now) {
            all += 1;
            differing += usize::from(reading.exceeds(self.settings.future_skew_max));
        }
        2 * differing <= all
    }

    /// This server's clock was set: what was measured against the old one says nothing, and peers that were refused
    /// for it are dialed at once. If the clock is set again soon, they are dialed when that is due, which is within
    /// [`CLOCK_RETRY`]: a clock that jumps back and forth must not defeat the back-off.
    pub(crate) fn forget_clocks(&mut self, now: Instant) {
        for peer in &mut self.peers {
            if peer.clock.take().is_some() {
                peer.hasten_dial(CLOCK_RETRY, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn reading(ahead_s: i64, span_s: u64) -> ClockReading {
        let now = Now {
            instant: Instant::from_nanos(7),
            unix: UnixTime::from_nanos(1_700_000_000_000_000_000),
        };
        let theirs = UnixTime::from_nanos(now.unix.nanos() + ahead_s * 1_000_000_000);
        ClockReading::new(theirs, Duration::from_secs(span_s), now)
    }

    #[test]
    fn a_difference_counts_only_beyond_what_the_way_may_explain() {
        for (ahead_s, span_s, expected) in [
            (119, 0, false),
            (121, 0, true),
            (-121, 0, true),
            // Sent up to 4 s ago: the peer's clock is 0 to 4 s further than it reads.
            (-123, 4, false),
            (-125, 4, true),
            (121, 4, true),
        ] {
            let found = reading(ahead_s, span_s).exceeds(120 * SECOND);
            assert_eq!(found, expected, "{ahead_s} s ahead, on its way for up to {span_s} s");
        }
    }
}
