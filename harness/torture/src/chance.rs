//! Chance, from a seed.

use std::time::Duration;

/// SplitMix64: small, and good enough to choose what breaks next.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// One for each part of a run, so that a part alone does what it does among others.
    pub(crate) fn of(seed: u64, part: &str, number: u64) -> Self {
        let mut chance = Self(seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93));
        for byte in part.bytes() {
            chance.0 = chance.next() ^ u64::from(byte);
        }
        chance
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`; zero if that is zero.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = bound.max(1) as u64;
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// From `low` to `high`.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True once in so many times.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// From `low` to `high` milliseconds, to the microsecond.
    pub(crate) fn millis(&mut self, low: usize, high: usize) -> Duration {
        Duration::from_micros(self.between(low * 1000, high * 1000) as u64)
    }
}
