//! How large files may get: when one is written anew, and when there is no room for more.

use crate::config::format_size;
use std::io::{self, ErrorKind};

/// A file of less is not worth a new one...
const FREE_BYTES: u64 = 32 * 1024 * 1024;

/// ...and one is worth it that has grown by so many quarters of what it began with...
const QUARTERS: u64 = 3;

/// ...and while the old one grows by a byte the new one gets so many: then both together take at most three
/// times what is alive and 64 MB, however much comes in. While the new one, which must get `b` bytes and all
/// that comes in too, is written, `b` divided by this less one comes in.
pub(crate) const NEXT_SHARE: usize = 9;

/// Where room is short a file that has grown by less than this part of what it began with is not written
/// anew: nothing else would be done any more.
const LEAST_PART: u64 = 8;

/// The bounds of a directory's files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    /// Bytes that the file that counts began with, and about what a new one would.
    pub(crate) base_bytes: u64,
    /// For all files together, if there is a bound.
    pub(crate) bytes_max: Option<u64>,
}

impl Growth {
    /// Whether a file of so many bytes should be written anew.
    pub(crate) fn is_long(&self, live_bytes: u64) -> bool {
        let base = self.base_bytes;
        let by_itself = base + base / 4 * QUARTERS + FREE_BYTES;
        let Some(max) = self.bytes_max else { return live_bytes > by_itself };
        // With the new file, and what comes in meanwhile, to both.
        let with_room = max.saturating_sub(base + base / LEAST_PART * 3);
        let least = base + base / LEAST_PART;
        live_bytes > by_itself.min(with_room).max(least) && live_bytes + base <= max
    }

    /// Whether files of so many bytes in all may be there.
    ///
    /// # Errors
    ///
    /// That the disk is full, as far as this server is concerned.
    pub(crate) fn admit(&self, bytes: u64) -> io::Result<()> {
        match self.bytes_max {
            Some(max) if bytes > max => {
                let message = format!(
                    "storage.max_disk, {}, is used up: make it larger and restart this server",
                    format_size(max)
                );
                Err(io::Error::new(ErrorKind::StorageFull, message))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    /// Files as a load without end makes them; the most that both took, and how often one was written anew.
    fn wear(base: u64, bytes_max: Option<u64>) -> (u64, u32, bool) {
        let growth = Growth { base_bytes: base, bytes_max };
        let (mut live, mut most, mut anew) = (base, 0, 0);
        // What was written of the new file, and how long the old one was when it was begun.
        let mut next: Option<(u64, u64)> = None;
        for _ in 0..20_000 {
            let piece = 64 * 1024;
            let both = live + next.map_or(0, |(written, _)| written);
            if growth.admit(both + piece).is_err() {
                return (most, anew, true);
            }
            live += piece;
            match &mut next {
                Some((written, begun)) => {
                    *written += NEXT_SHARE as u64 * piece;
                    let left = (base + live - *begun).checked_sub(*written);
                    most = most.max(live + *written.min(&mut (base + live - *begun)));
                    if left.is_none() {
                        (live, next) = (base, None);
                        anew += 1;
                    }
                }
                None if growth.is_long(live) => next = Some((0, live)),
                None => {}
            }
        }
        (most, anew, false)
    }

    #[test]
    fn both_files_take_three_times_what_is_alive_and_64_mb() {
        for base in [0, 10 * MB, 105 * MB, 1000 * MB] {
            let (most, anew, full) = wear(base, None);
            assert!(most <= 3 * base + 64 * MB, "{base}: {most}");
            assert!(anew > 0 && !full);
        }
    }

    #[test]
    fn where_room_is_short_files_are_written_anew_sooner_and_fit() {
        for max in [280 * MB, 300 * MB, 500 * MB] {
            let (most, anew, full) = wear(100 * MB, Some(max));
            assert!(most <= max && anew > 0 && !full, "{max}: {most} {anew} {full}");
        }
        // With room for one and not for two there is an end.
        let (_, _, full) = wear(100 * MB, Some(150 * MB));
        assert!(full);
        let error = Growth { base_bytes: 0, bytes_max: Some(10 * MB) }.admit(11 * MB).unwrap_err();
        assert_eq!(
            error.to_string(),
            "storage.max_disk, 10MB, is used up: make it larger and restart this server"
        );
    }
}
