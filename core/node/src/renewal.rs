//! New incarnations that a node takes while it runs, since another process of its name was later.
//!
//! One is right after the machine's clock was set back: the server that was stopped had a later number than the
//! one that was started. More than one, or one long after the start, means that a second process of the name runs.
//! Both would pass each other for ever, so each waits longer every time, and an alarm is raised until one stops.

use crate::link::Dialect;
use crate::node::Node;
use crate::output::{CloseReason, Event};
use herd_proto::{Instant, Now};
use std::time::Duration;

/// An incarnation may be this much ahead of both the clock and the last one known of its server. What claims to be
/// further ahead is a lie, or the work of a clock that nobody should follow.
pub(crate) const INCARNATION_AHEAD_MAX: Duration = Duration::from_hours(24);

/// A later incarnation that is heard of within this after the start is one of this server's own past.
const STARTING: Duration = Duration::from_mins(1);

/// The wait after the first renewal; each further one doubles it.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// The longest wait. While it lasts, peers that know the later incarnation do not accept new links.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// After so long without a renewal the next one does not wait.
const CALM: Duration = Duration::from_mins(10);

#[derive(Debug, Default)]
pub(crate) struct Renewals {
    wait: Duration,
    last: Option<Instant>,
    /// When to renew, and which incarnation is to be passed.
    due: Option<(Instant, u64)>,
}

impl Renewals {
    /// Asks for an incarnation later than `than`.
    fn ask(&mut self, than: u64, now: Instant) {
        if let Some((_, later)) = &mut self.due {
            *later = than.max(*later);
            return;
        }
        if self.last.is_none_or(|last| now.since(last) >= CALM) {
            self.wait = Duration::ZERO;
        }
        let at = self.last.map_or(now, |last| (last + self.wait).max(now));
        self.due = Some((at, than));
    }

    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.due.map(|(at, _)| at)
    }

    fn take_due(&mut self, now: Instant) -> Option<u64> {
        let (_, than) = self.due.take_if(|(at, _)| *at <= now)?;
        self.wait = (self.wait * 2).clamp(WAIT_MIN, WAIT_MAX);
        self.last = Some(now);
        Some(than)
    }
}

/// Whether an incarnation is more than a day ahead of the clock and of the last one that is known.
pub(crate) fn is_far_ahead(incarnation: u64, known: u64, now: Now) -> bool {
    let clock = u64::try_from(now.unix.nanos()).unwrap_or(0);
    let day = u64::try_from(INCARNATION_AHEAD_MAX.as_nanos()).unwrap_or(u64::MAX);
    incarnation > clock.max(known).saturating_add(day)
}

impl Node {
    /// A peer knows an incarnation of this server's name that is later than this one, or that wrote more.
    pub(crate) fn handle_later(&mut self, incarnation: u64, now: Now) {
        let own = self.settings.incarnation;
        if incarnation < own || is_far_ahead(incarnation, own, now) {
            return;
        }
        let is_first = self.renewals.last.is_none();
        if !is_first || now.instant.since(self.started) >= STARTING {
            self.watch.note_second_of_name(now.instant);
            if self.renewals.due.is_none() {
                self.outputs.push_back(crate::output::Output::Event(Event::SecondOfOwnName));
            }
        }
        self.renewals.ask(incarnation, now.instant);
    }

    /// Takes a new incarnation if that is due. All records stay; links to peers begin again, since their hello told
    /// the old one.
    pub(crate) fn renew_if_due(&mut self, now: Now) {
        let Some(than) = self.renewals.take_due(now.instant) else { return };
        let clock = u64::try_from(now.unix.nanos()).unwrap_or(0);
        // Not the very next number: `than` need not be the latest, and a process whose clock was set back twice
        // would take the number of one between.
        let apart = 1 + (self.chance.next() >> 32);
        let incarnation = than.max(self.settings.incarnation).saturating_add(apart).max(clock);
        self.settings.incarnation = incarnation;
        let native = self.links.iter().filter(|(_, link)| link.dialect == Dialect::Native);
        let native: Vec<_> = native.map(|(&id, _)| id).collect();
        for id in native {
            self.close_link(id, CloseReason::Renewed, now);
        }
        self.replica.renew(incarnation, now);
        self.outputs.push_back(crate::output::Output::Event(Event::Renewed { incarnation }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_wait_ever_longer_until_it_was_calm() {
        let at = |s: u64| Instant::from_nanos(s * 1_000_000_000);
        let mut renewals = Renewals::default();
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..8 {
            renewals.ask(1, now);
            let due = renewals.due_at().unwrap();
            waits.push(due.since(now).as_secs());
            now = due;
            assert_eq!(renewals.take_due(now), Some(1));
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 30, 30]);
        now = now + CALM;
        renewals.ask(1, now);
        renewals.ask(7, now);
        assert_eq!(renewals.take_due(now), Some(7));
        assert_eq!(renewals.take_due(now), None);
    }
}
