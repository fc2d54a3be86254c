//! How much of a link the words of members may take.
//!
//! They go before entries, and there are as many of them a second as there are members: on a link that
//! is slower than that, nothing else would be passed on. So while entries wait, words take a fixed part
//! beside them; while none do, they go at a rate that a slow link lowers by itself: what waits in its
//! socket lengthens the round trip.

use herd_proto::Instant;
use std::time::Duration;

/// Of so many bytes of entries, one of members' words may follow.
const ENTRY_BYTES_A_BYTE: usize = 8;

/// What may be told at once on a link that nothing else waits for: all members of a herd of twenty.
const BURST_BYTES: i64 = 32 * 1024;

/// The time in which so much may be told again: members have something new to say once a second.
const BURST_EVERY: Duration = Duration::from_secs(1);

/// On a link whose round trip is longer than a part of that: a burst that takes a whole round trip to
/// be carried then fills one in so many.
const ROUND_TRIPS_A_BURST: u32 = 8;

/// Bytes of members' words that a link may carry now. The last word of a burst may overdraw it.
#[derive(Debug)]
pub(crate) struct Allowance {
    bytes: i64,
    refilled: Instant,
}

impl Allowance {
    /// Enough for all at once: whoever has just come knows nothing.
    pub(crate) fn new(now: Instant) -> Self {
        Self { bytes: BURST_BYTES, refilled: now }
    }

    /// Some time has passed. It counts only if nothing else waits for the link.
    pub(crate) fn pass_time(&mut self, nothing_waits: bool, round_trip: Duration, now: Instant) {
        if !nothing_waits {
            self.refilled = now;
            return;
        }
        let whole = BURST_EVERY.max(ROUND_TRIPS_A_BURST * round_trip);
        let elapsed = now.since(self.refilled).min(whole);
        let bytes = elapsed.as_nanos() * u128::from(BURST_BYTES.unsigned_abs()) / whole.as_nanos();
        // Less than a byte is kept for the next time.
        if bytes > 0 {
            self.refilled = now;
            self.add(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// Entries of so many bytes were sent.
    pub(crate) fn earn(&mut self, entry_bytes: usize) {
        // At least one, so that tiny entries count too.
        self.add(as_signed(entry_bytes / ENTRY_BYTES_A_BYTE).max(1));
    }

    fn add(&mut self, bytes: i64) {
        self.bytes = self.bytes.saturating_add(bytes).min(BURST_BYTES);
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.bytes <= 0
    }

    /// A word of so many bytes was told.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(as_signed(bytes));
    }
}

fn as_signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    /// Bytes of words told within `seconds` by somebody who always has one of 1 KB to tell.
    fn told(seconds: u64, waits: bool, round_trip: Duration) -> usize {
        let mut allowance = Allowance::new(at(0));
        let mut told = 0;
        for ms in (0..seconds * 1000).step_by(20) {
            allowance.pass_time(!waits, round_trip, at(ms));
            while !allowance.is_spent() {
                allowance.spend(1000);
                told += 1000;
            }
        }
        told
    }

    #[test]
    fn a_quiet_link_is_told_of_a_herd_of_twenty_each_second() {
        let told = told(10, false, Duration::from_millis(1));
        assert!((300_000..400_000).contains(&told), "{told}");
    }

    #[test]
    fn a_slow_link_is_told_less() {
        let told = told(64, false, Duration::from_secs(4));
        assert!((90_000..110_000).contains(&told), "{told}");
    }

    #[test]
    fn beside_waiting_entries_words_take_a_ninth() {
        assert!(told(10, true, Duration::ZERO) < 34_000);
        let mut allowance = Allowance::new(at(0));
        allowance.spend(usize::try_from(BURST_BYTES).unwrap());
        let mut told = 0;
        for _ in 0..1000 {
            allowance.earn(160);
            if !allowance.is_spent() {
                allowance.spend(500);
                told += 500;
            }
        }
        assert!((19_000..21_000).contains(&told), "{told} of 160000");
    }
}
