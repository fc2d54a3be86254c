//! How far something long has come: one line on standard error, where that is a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Often enough to be seen moving, seldom enough to cost nothing.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// Characters of the bar.
const BAR_WIDTH: u64 = 30;

/// A line that is drawn anew.
#[derive(Debug)]
pub(crate) struct Progress {
    is_shown: bool,
    /// Bytes in all, where that is known.
    total: Option<u64>,
    begun: Instant,
    drawn: Option<Instant>,
}

impl Progress {
    /// Begins. Nothing is shown unless standard error is a terminal.
    pub(crate) fn new(total: Option<u64>) -> Self {
        let is_shown = io::stderr().is_terminal();
        Self { is_shown, total, begun: Instant::now(), drawn: None }
    }

    /// So many bytes are done, and so many lines.
    pub(crate) fn show(&mut self, bytes: u64, lines: u64) {
        let due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= DRAW_EVERY);
        if self.is_shown && due {
            self.drawn = Some(Instant::now());
            // A terminal that takes nothing is no reason to stop.
            let _unseen =
                write!(io::stderr(), "\r{}\x1b[K", self.line(bytes, lines, self.begun.elapsed()));
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _unseen = write!(io::stderr(), "\r\x1b[K");
        }
    }

    fn line(&self, bytes: u64, lines: u64, spent: Duration) -> String {
        let rate = lines as f64 / spent.as_secs_f64().max(0.001);
        let counts = format!("{lines} clients, {:.1} MB, {rate:.0}/s", bytes as f64 / 1e6);
        let Some(total) = self.total.filter(|&total| total > 0) else { return counts };
        let done = bytes.min(total);
        let filled = usize::try_from(BAR_WIDTH * done / total).unwrap_or_default();
        let width = usize::try_from(BAR_WIDTH).unwrap_or_default();
        let percent = 100 * done / total;
        let bar = "#".repeat(filled);
        format!("[{bar:<width$}] {percent:3} %  {counts}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_how_far_it_is() {
        let progress =
            |total| Progress { is_shown: true, total, begun: Instant::now(), drawn: None };
        let second = Duration::from_secs(1);
        let half = progress(Some(2_000_000)).line(1_000_000, 7000, second);
        assert_eq!(half, "[###############               ]  50 %  7000 clients, 1.0 MB, 7000/s");
        let open = progress(None).line(1_500_000, 10, 2 * second);
        assert_eq!(open, "10 clients, 1.5 MB, 5/s");
        assert!(progress(Some(10)).line(20, 1, second).contains("100 %"));
    }
}
