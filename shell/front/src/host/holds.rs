//! How long the node's lock is held.
//!
//! The monotonic clock is read when the lock is taken and before it is released, which takes tens of nanoseconds and
//! no system call. For nearly all holds that is all. A hold that appears to be [long](LONG) may just as well have
//! been interrupted, since other processes use the machine; of such a hold the CPU time of the thread counts. Reading
//! that is a system call, too expensive for every batch of a client, so each thread notes its CPU time at the
//! beginning of a hold only if its note is older than [`NOTED_FOR`]. The CPU time used since the note is then that of
//! the hold, too great by [`NOTED_FOR`] at most, and by nothing if the thread was idle before.

use rustix::time::{ClockId, clock_gettime};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// A hold that appears to take longer is looked at again by CPU time.
const LONG: Duration = Duration::from_micros(500);

/// How old a thread's note of its CPU time may be when a hold begins: a thread that is always busy reads its CPU time
/// at most 4,000 times a second, some 0.1 % of its time.
const NOTED_FOR: Duration = Duration::from_micros(250);

/// The upper ends of the buckets of [`LockHolds`].
pub(crate) const HOLD_BOUNDS: [Duration; 13] = [
    Duration::from_micros(10),
    Duration::from_micros(20),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(200),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

/// Holds of the lock by how long they took.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockHolds {
    buckets: [u64; HOLD_BOUNDS.len() + 1],
    sum: Duration,
}

impl LockHolds {
    /// Counts one hold.
    pub(crate) fn record(&mut self, held: Duration) {
        let bucket = HOLD_BOUNDS.partition_point(|&bound| bound < held);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.sum += held;
    }

    /// Counts per bucket; the last is for what lies beyond every bound.
    pub(crate) fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// The duration of all holds together.
    pub(crate) fn sum(&self) -> Duration {
        self.sum
    }
}

/// A hold that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    since: Instant,
    /// The thread's CPU time when the hold began, or shortly before.
    cpu: Duration,
}

impl Hold {
    /// Begins a hold of this thread, which has just taken the lock.
    pub(super) fn begin() -> Self {
        thread_local! {
            /// When this thread last noted its CPU time, and that.
            static NOTED: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
        }
        let since = Instant::now();
        let fresh = NOTED.get().filter(|&(at, _)| since.duration_since(at) < NOTED_FOR);
        let (_, cpu) = fresh.unwrap_or_else(|| {
            let noted = (since, cpu_time());
            NOTED.set(Some(noted));
            noted
        });
        Self { since, cpu }
    }

    /// Returns how long the lock was held; to be called before it is released.
    pub(super) fn end(self) -> Duration {
        let elapsed = self.since.elapsed();
        if elapsed <= LONG { elapsed } else { elapsed.min(cpu_time().saturating_sub(self.cpu)) }
    }
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_fall_into_the_bucket_whose_end_they_do_not_pass() {
        let mut holds = LockHolds::default();
        for micros in [0, 10, 11, 2_000, 2_001, 100_000, 100_001] {
            holds.record(Duration::from_micros(micros));
        }
        let mut expected = [0; HOLD_BOUNDS.len() + 1];
        for (bucket, count) in [(0, 2), (1, 1), (7, 1), (8, 1), (12, 1), (13, 1)] {
            expected[bucket] = count;
        }
        assert_eq!(holds.buckets(), expected);
        assert_eq!(holds.sum(), Duration::from_micros(204_023));
    }

    #[test]
    fn a_thread_that_waits_holds_for_no_longer_than_it_works() {
        let hold = Hold::begin();
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        // Nothing ever comes.
        assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err());
        drop(sender);
        assert!(hold.end() < Duration::from_millis(25));
    }

    #[test]
    fn a_thread_that_works_holds_for_as_long() {
        let hold = Hold::begin();
        let begun = cpu_time();
        while cpu_time().saturating_sub(begun) < 4 * LONG {
            std::hint::spin_loop();
        }
        assert!(hold.end() >= 4 * LONG);
    }
}
