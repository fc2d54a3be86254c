//! How long a link's peer has been silent, and when that is too long.
//!
//! Time in which this process did not run is no silence ([`excuse`](Silence::excuse)). Halfway to the limit the driver
//! is asked whether the peer's machine still answers connections; if it does, the process there may only be starved,
//! and is waited for some more. When the limit is passed, the link has a last moment in which the driver may read
//! what is already there.

use herd_proto::Instant;
use std::time::Duration;

/// A machine that answers may be silent for so many times the limit: longer than a starved process is ever not run,
/// and short enough for a connection that was lost by a machine between the two.
const PATIENCE: u32 = 4;

/// Input that waits unread is read within this, on a process that runs.
const READ_WITHIN: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Silence {
    /// The last input, later by what was excused.
    heard: Instant,
    /// The last sign of life of any kind.
    alive: Instant,
    /// When the driver was last asked for one.
    probed: Option<Instant>,
    /// When the limit was seen to be passed.
    overdue: Option<Instant>,
}

/// What a look at the clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is to be done.
    Alive,
    /// The driver should look for a sign of life.
    Probe,
    /// The link is to be closed.
    Dead,
}

impl Silence {
    pub(crate) fn new(now: Instant) -> Self {
        Self { heard: now, alive: now, probed: None, overdue: None }
    }

    /// Input came.
    pub(crate) fn end(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// The peer's machine answered otherwise.
    pub(crate) fn note_sign_of_life(&mut self, now: Instant) {
        self.alive = now.max(self.alive);
        self.overdue = None;
    }

    /// This process did not run for so long before now.
    pub(crate) fn excuse(&mut self, lost: Duration, now: Instant) {
        self.heard = (self.heard + lost).min(now.max(self.heard));
        self.alive = (self.alive + lost).min(now.max(self.alive));
        self.probed = None;
        self.overdue = None;
    }

    /// When to look again if nothing comes.
    pub(crate) fn next_at(&self, limit: Duration) -> Instant {
        match self.overdue {
            Some(overdue) => overdue + READ_WITHIN,
            None => self.limit_at(limit).min(self.probe_at(limit)),
        }
    }

    fn limit_at(&self, limit: Duration) -> Instant {
        (self.alive + limit).min(self.heard + limit * PATIENCE)
    }

    fn probe_at(&self, limit: Duration) -> Instant {
        self.probed.map_or(self.alive, |probed| probed.max(self.alive)) + limit / 2
    }

    /// Looks at the clock.
    pub(crate) fn look(&mut self, limit: Duration, now: Instant) -> Verdict {
        if let Some(overdue) = self.overdue {
            return if overdue + READ_WITHIN <= now { Verdict::Dead } else { Verdict::Alive };
        }
        if self.limit_at(limit) <= now {
            self.overdue = Some(now);
            return Verdict::Alive;
        }
        if self.probe_at(limit) <= now {
            self.probed = Some(now);
            return Verdict::Probe;
        }
        Verdict::Alive
    }

    /// Whether the limit was passed.
    pub(crate) fn is_overdue(&self) -> bool {
        self.overdue.is_some()
    }

    /// How long the longest silence may be.
    pub(crate) fn longest(limit: Duration) -> Duration {
        limit * PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(1500);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    /// Looks when it asks for it, from `from` on; when it is dead, and when it asked for a sign of life.
    fn run(silence: &mut Silence, from: u64, answers: bool) -> (u64, Vec<u64>) {
        let (mut now, mut probes) = (at(from), Vec::new());
        loop {
            let ms = now.nanos() / 1_000_000;
            match silence.look(LIMIT, now) {
                Verdict::Dead => return (ms, probes),
                Verdict::Probe => {
                    probes.push(ms);
                    if answers {
                        silence.note_sign_of_life(now);
                    }
                }
                Verdict::Alive => {}
            }
            now = silence.next_at(LIMIT).max(now);
            assert!(probes.len() < 20);
        }
    }

    #[test]
    fn a_peer_that_nobody_answers_for_is_dead_at_the_limit() {
        let mut silence = Silence::new(at(0));
        assert_eq!(run(&mut silence, 0, false), (1520, vec![750]));
    }

    #[test]
    fn a_peer_whose_machine_answers_is_waited_for_four_times_as_long() {
        let mut silence = Silence::new(at(0));
        let (dead, probes) = run(&mut silence, 0, true);
        assert_eq!((dead, probes.len()), (6020, 7));
    }

    #[test]
    fn time_in_which_nothing_ran_does_not_count() {
        let mut silence = Silence::new(at(0));
        silence.excuse(Duration::from_secs(4), at(4300));
        assert_eq!(run(&mut silence, 4300, false), (5520, vec![4750]));
    }

    #[test]
    fn what_waits_unread_is_read_before_the_end() {
        let mut silence = Silence::new(at(0));
        assert_eq!(silence.look(LIMIT, at(1500)), Verdict::Alive);
        silence.end(at(1510));
        assert_eq!(silence.look(LIMIT, at(1520)), Verdict::Alive);
    }
}
