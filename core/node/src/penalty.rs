//! How long a peer is kept away that broke the protocol.
//!
//! What it did once it will do again at once, over and over, and each time somebody pays for the hello and the
//! start of a comparison. So it is kept away for a time that doubles with every fault.

use herd_proto::Instant;
use std::time::Duration;

/// The wait after the first fault.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// The longest wait. A peer that was repaired is to be back within the time that an operator looks on.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// After so long without a fault the next one counts as the first.
const FORGIVEN_AFTER: Duration = Duration::from_mins(2);

#[derive(Debug, Default)]
pub(crate) struct Penalty {
    wait: Duration,
    last: Option<Instant>,
    until: Option<Instant>,
}

impl Penalty {
    /// One more fault.
    pub(crate) fn note_fault(&mut self, now: Instant) {
        let is_first = self.last.is_none_or(|last| now.since(last) >= FORGIVEN_AFTER);
        self.wait = if is_first { WAIT_MIN } else { (self.wait * 2).min(WAIT_MAX) };
        self.last = Some(now);
        self.until = Some(now + self.wait);
    }

    /// When it ends, or has ended.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// How much of it is left; None if there is none.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.since(now)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_costs_more_until_it_is_forgiven() {
        let mut penalty = Penalty::default();
        let mut now = Instant::from_nanos(0);
        let mut waits = Vec::new();
        for _ in 0..7 {
            penalty.note_fault(now);
            let left = penalty.left(now).unwrap();
            waits.push(left.as_secs());
            now = now + left;
            assert_eq!(penalty.left(now), None);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        now = now + FORGIVEN_AFTER;
        penalty.note_fault(now);
        assert_eq!(penalty.left(now), Some(WAIT_MIN));
    }
}
