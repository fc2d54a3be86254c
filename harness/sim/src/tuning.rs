//! The replicas' own sizes and times, often tiny, so that what happens at millions of keys happens at three.

use crate::chance::Chance;
use herd_replica::Tuning;
use std::time::Duration;

pub(crate) fn random_tuning(chance: &mut Chance) -> Tuning {
    let ms = Duration::from_millis;
    let mut tiny = |usual: u64| [usual, usual, 1, 2, 3, 10][chance.index(6)];
    let sizes = [1024, 4096, 16, 4, 1024, 4096, 8, 64, 4096, 64].map(&mut tiny);
    let [scan, segment, turn, trimmed, history, asked, ranges, buckets, walked, steps] = sizes;
    let mut of = |times: [u64; 4]| ms(times[chance.index(4)]);
    Tuning {
        scan_arrivals_min: scan,
        segment_arrivals: segment,
        turn_messages: size(turn),
        trimmed_segments_max: size(trimmed),
        history_max: history,
        watermarks_every: of([20, 20, 1, 200]),
        behind_max: of([150, 150, 30, 400]),
        ask_again_after: of([2_000, 2_000, 300, 700]),
        tell_every: of([1_000, 1_000, 200, 400]),
        tell_every_idle: of([2_000, 2_500, 1_000, 500]),
        compare_every: of([3_000, 10_000, 20_000, 1_000]),
        compare_after: of([100, 100, 0, 20]),
        compare_patience: of([1_000, 1_000, 0, 100]),
        silent_after: of([1_000, 1_000, 200, 2_000]),
        compare_stalled_after: of([10_000, 10_000, 3_000, 5_000]),
        steal_after: of([250, 250, 0, 20]),
        asked_max: size(asked),
        periodic_ranges_max: size(ranges),
        periodic_buckets_max: size(buckets),
        walked_max: u32::try_from(walked).unwrap_or(u32::MAX),
        erase_steps: u32::try_from(steps).unwrap_or(u32::MAX),
        erase_after: of([600_000, 20_000, 2_000, 0]),
        far_future: of([600_000, 600_000, 150_000, 4_000_000]),
        mutant: None,
        ..Tuning::default()
    }
}

/// Of a thousand histories so many have small tables.
const SMALL_TABLES: u64 = 200;

/// Tables of streams, guests and recent peers that a small herd fills.
pub(crate) fn shrink_tables(tuning: &mut Tuning, chance: &mut Chance) {
    if !chance.per_mille(SMALL_TABLES) {
        return;
    }
    let usual = Tuning::default();
    tuning.streams_max = [2, 2, 3, 3, 4, 1, usual.streams_max, usual.streams_max][chance.index(8)];
    tuning.guests_max = [0, 1, 1, 2, usual.guests_max][chance.index(5)];
    tuning.recent_max = [1, 1, 2, usual.recent_max][chance.index(4)];
}

/// Whether some table is smaller than servers have it.
pub(crate) fn has_small_tables(tuning: &Tuning) -> bool {
    let sizes = |of: &Tuning| (of.streams_max, of.guests_max, of.recent_max);
    sizes(tuning) != sizes(&Tuning::default())
}

fn size(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
