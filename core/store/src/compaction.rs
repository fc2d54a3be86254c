//! The policy of a directory's sizes and ages: when a journal is compacted, when there is no room for more,
//! and how long damaged files are kept.

use std::time::Duration;

/// A journal that grew by less is not worth compacting...
const FREE_BYTES: u64 = 4 * 1024 * 1024;

/// ...and one is that has grown by so many quarters of what it began with.
const QUARTERS: u64 = 3;

/// While the old journal grows by a byte, the next one gets so many: then both together take at most three times
/// what is alive and 9 MB, however much comes in. While the next one, which must get `b` bytes and all that comes
/// in too, is written, `b` divided by this less one comes in.
pub const COMPACTION_SHARE: usize = 9;

/// Where room is short, a journal that grew by less than this part of what it began with is not compacted:
/// nothing else would be done any more.
const LEAST_PART: u64 = 8;

/// A journal is compacted after so many eighths of the horizon, so that the old file is gone within the
/// horizon even if the compaction is slow.
const EIGHTHS: u32 = 7;

/// However short the horizon is, compactions are at least so far apart.
const AGE_MIN: Duration = Duration::from_secs(1);

/// The bounds of a directory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all journals together, if that is bounded.
    pub bytes_max: Option<u64>,
    /// How long what was forgotten may stay on the disk, and how long damaged files are kept.
    pub horizon: Duration,
}

/// What a journal is like.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Its bytes.
    pub live_bytes: u64,
    /// Bytes that it began with, which is about what the next one would begin with.
    pub base_bytes: u64,
    /// Time since it was begun.
    pub age: Duration,
}

/// What is to be done with a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on with it, and decide again after this time even if nothing is written.
    Keep(Duration),
    /// Compact it now.
    Compact,
}

impl Limits {
    /// Decides whether a journal is compacted now.
    ///
    /// A journal without need for it is compacted once it has grown to 1.75 times what it began with and
    /// 4 MiB more; with bounded room, sooner; and in any case within the horizon, since the reports of
    /// forgotten clients stay in it until then. Where two journals do not fit, nothing helps but more room.
    pub fn decide(&self, usage: Usage) -> Decision {
        let Usage { live_bytes, base_bytes, age } = usage;
        let age_max = (self.horizon / 8 * EIGHTHS).max(AGE_MIN);
        let fits = self.bytes_max.is_none_or(|max| live_bytes + base_bytes <= max);
        if fits && (age >= age_max || self.is_long(live_bytes, base_bytes)) {
            return Decision::Compact;
        }
        Decision::Keep(age_max.saturating_sub(age).max(AGE_MIN))
    }

    fn is_long(&self, live_bytes: u64, base: u64) -> bool {
        let by_itself = base + base / 4 * QUARTERS + FREE_BYTES;
        let Some(max) = self.bytes_max else { return live_bytes > by_itself };
        // With the new file, and what comes in meanwhile, to both.
        let with_room = max.saturating_sub(base + base / LEAST_PART * 3);
        let least = base + base / LEAST_PART;
        live_bytes > by_itself.min(with_room).max(least)
    }

    /// Whether journals may take so many bytes together.
    pub fn admits(&self, bytes: u64) -> bool {
        self.bytes_max.is_none_or(|max| bytes <= max)
    }

    /// Whether a damaged file that was set aside so long ago is removed.
    pub fn is_outdated(&self, age: Duration) -> bool {
        age >= self.horizon
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;
    const DAY: Duration = Duration::from_hours(24);

    fn limits(bytes_max: Option<u64>) -> Limits {
        Limits { bytes_max, horizon: 30 * DAY }
    }

    /// Journals under a load without end: the most that two took together, the number of compactions, and
    /// whether the room was used up.
    fn wear(base: u64, bytes_max: Option<u64>) -> (u64, u32, bool) {
        let limits = limits(bytes_max);
        let (mut live, mut most, mut compactions) = (base, 0, 0);
        // What was written of the next file, and how long the old one was when that was begun.
        let mut next: Option<(u64, u64)> = None;
        for _ in 0..20_000 {
            let piece = 64 * 1024;
            let both = live + next.map_or(0, |(written, _)| written);
            if !limits.admits(both + piece) {
                return (most, compactions, true);
            }
            live += piece;
            let usage = Usage { live_bytes: live, base_bytes: base, age: Duration::ZERO };
            match &mut next {
                Some((written, begun)) => {
                    *written += COMPACTION_SHARE as u64 * piece;
                    let whole = base + live - *begun;
                    most = most.max(live + whole.min(*written));
                    if *written > whole {
                        (live, next) = (base, None);
                        compactions += 1;
                    }
                }
                None if limits.decide(usage) == Decision::Compact => next = Some((0, live)),
                None => {}
            }
        }
        (most, compactions, false)
    }

    #[test]
    fn both_journals_take_three_times_what_is_alive_and_9_mb() {
        for base in [0, 10 * MB, 105 * MB, 1000 * MB] {
            let (most, compactions, full) = wear(base, None);
            assert!(most <= 3 * base + 9 * MB, "{base}: {most}");
            assert!(compactions > 0 && !full);
        }
    }

    #[test]
    fn where_room_is_short_journals_are_compacted_sooner_and_fit() {
        for max in [280 * MB, 300 * MB, 500 * MB] {
            let (most, compactions, full) = wear(100 * MB, Some(max));
            assert!(most <= max && compactions > 0 && !full, "{max}: {most} {compactions} {full}");
        }
        // With room for one and not for two there is an end.
        let (_, _, full) = wear(100 * MB, Some(150 * MB));
        assert!(full);
    }

    #[test]
    fn a_journal_is_compacted_within_the_horizon_whatever_its_size() {
        let usage = |age| Usage { live_bytes: 100, base_bytes: 100, age };
        let decide = |age| limits(None).decide(usage(age));
        assert_eq!(decide(Duration::ZERO), Decision::Keep(30 * DAY / 8 * 7));
        assert_eq!(decide(26 * DAY), Decision::Keep(DAY / 4));
        assert_eq!(decide(27 * DAY), Decision::Compact);
        // Where two do not fit it waits for room.
        let short = limits(Some(150)).decide(usage(40 * DAY));
        assert_eq!(short, Decision::Keep(AGE_MIN));
        let brief = Limits { bytes_max: None, horizon: Duration::ZERO };
        assert_eq!(brief.decide(usage(Duration::ZERO)), Decision::Keep(AGE_MIN));
        assert_eq!(brief.decide(usage(AGE_MIN)), Decision::Compact);
    }

    #[test]
    fn damaged_files_are_kept_for_the_horizon() {
        assert!(!limits(None).is_outdated(29 * DAY));
        assert!(limits(None).is_outdated(30 * DAY));
    }
}
