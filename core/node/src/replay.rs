//! The pace at which a foreign server is told all that is known when its link comes up.
//!
//! It knows nothing of positions, so after each reconnect it is told everything again. Some such servers
//! read a line at a time, and pass each on at once: all at once would choke them. What changes meanwhile
//! is not held back beyond that; once the beginning is told, only the socket sets the pace.

use herd_proto::Instant;
use herd_replica::Cursor;
use std::time::Duration;

/// What a small script reads, looks up and passes on without falling behind.
const LINES_A_SECOND: u32 = 20_000;

/// Told at once: a small herd is told whole.
const BURST_LINES: u32 = 2_000;

/// When nothing more may be told, this is waited for; about as much as the burst comes together in it.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Replay {
    /// What had changed last when it began: all up to here is told at this pace.
    end: Cursor,
    lines: u32,
    refilled: Instant,
    resume_at: Option<Instant>,
}

impl Replay {
    pub(crate) fn new(end: Cursor, now: Instant) -> Self {
        Self { end, lines: BURST_LINES, refilled: now, resume_at: None }
    }

    /// Whether a line may be told now to whoever has been told up to `cursor`.
    pub(crate) fn may_tell(&mut self, cursor: Cursor, now: Instant) -> bool {
        if cursor >= self.end {
            return true;
        }
        let elapsed = now.since(self.refilled).min(PAUSE);
        let earned = elapsed.as_micros() * u128::from(LINES_A_SECOND) / 1_000_000;
        if earned > 0 {
            self.refilled = now;
            let earned = u32::try_from(earned).unwrap_or(BURST_LINES);
            self.lines = self.lines.saturating_add(earned).min(BURST_LINES);
        }
        if self.lines == 0 {
            self.resume_at = Some(now + PAUSE);
            return false;
        }
        self.lines -= 1;
        true
    }

    /// When more may be told, if that is waited for.
    pub(crate) fn resume_at(&self) -> Option<Instant> {
        self.resume_at
    }

    /// Whether what was waited for has come.
    pub(crate) fn resume(&mut self, now: Instant) -> bool {
        self.resume_at.take_if(|at| *at <= now).is_some()
    }
}
