//! The peers of a node: who dials, when, and how each of them is.

use crate::clocks::ClockReading;
use crate::link::Dialect;
use crate::penalty::Penalty;
use crate::stats::PeerCounters;
use herd_proto::Instant;
use herd_replica::LinkId;
use std::time::Duration;

/// Index of a peer in [`Settings::peers`](crate::Settings::peers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub usize);

/// One peer as the configuration has it.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    /// Its name.
    pub name: String,
    /// The protocol it speaks.
    pub dialect: Dialect,
    /// How eagerly this node dials it.
    pub role: DialRole,
    /// A link on which nothing came for so long is closed, unless there are other signs of life.
    pub dead_after: Duration,
}

/// Of two peers one always dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialRole {
    /// This node dials until there is a link.
    Always,
    /// The other one dials. This node dials once when it starts and once when a link is lost: a
    /// server that comes back is found at once, not when the other's back-off has run out.
    Once,
}

/// The state of the link to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// There is none.
    Down,
    /// A connection is being opened, or the hello is awaited.
    Connecting,
    /// Up, but what the peer knew has not all arrived.
    CatchingUp,
    /// Up, and all it knew is known here.
    Up,
}

impl PeerState {
    /// The state as a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Connecting => "connecting",
            Self::CatchingUp => "catching-up",
            Self::Up => "up",
        }
    }
}

/// A peer as seen from here.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its name.
    pub name: String,
    /// The protocol it speaks.
    pub dialect: Dialect,
    /// Its link.
    pub state: PeerState,
    /// When the link came to that state.
    pub since: Instant,
    /// The last measured round trip.
    pub round_trip: Option<Duration>,
    /// Why the last link ended.
    pub last_error: Option<String>,
    /// What went over its links.
    pub counters: PeerCounters,
}

/// Whether a node should be sent clients.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// Whether it should.
    pub ready: bool,
    /// Whether all that some peer held has arrived since the start: until then a server with an empty memory may know
    /// nothing.
    pub has_caught_up: bool,
    /// The peers that are waited for, or were at first, and what their links are doing.
    pub missing: Vec<(String, PeerState)>,
}

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) settings: PeerSettings,
    /// The link that is up.
    pub(crate) link: Option<LinkId>,
    /// A connection attempt of ours that has not become a link.
    pub(crate) dialing: Dialing,
    backoff: Duration,
    /// When a dial was last moved to the present.
    hastened: Option<Instant>,
    up_at: Option<Instant>,
    pub(crate) since: Instant,
    pub(crate) round_trip: Option<Duration>,
    pub(crate) last_error: Option<String>,
    pub(crate) counters: PeerCounters,
    /// The last measurement of its wall clock.
    pub(crate) clock: Option<ClockReading>,
    /// The greatest incarnation with which it was linked.
    pub(crate) incarnation: u64,
    /// It is not dialed meanwhile.
    pub(crate) dial_penalty: Penalty,
    /// Connections under its name are refused meanwhile.
    pub(crate) accept_penalty: Penalty,
    /// The config names it no more. Its place stays, since links and dials know it by that.
    pub(crate) gone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialing {
    /// Not now, and no date set.
    Idle,
    /// At this moment.
    At(Instant),
    /// The driver is connecting.
    Connecting,
    /// Connected as this link, which waits for its hello.
    Greeting(LinkId),
}

/// Between which waits a node dials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

/// A link must live so long before its end counts as the first failure again; one that is dropped at
/// once, over and over, is dialed ever more rarely.
const STABLE_AFTER: Duration = Duration::from_secs(1);

impl Peer {
    pub(crate) fn new(settings: PeerSettings, backoff: Backoff, now: Instant) -> Self {
        Self {
            settings,
            link: None,
            dialing: Dialing::At(now),
            backoff: backoff.min,
            hastened: None,
            up_at: None,
            since: now,
            round_trip: None,
            last_error: None,
            counters: PeerCounters::default(),
            clock: None,
            incarnation: 0,
            dial_penalty: Penalty::default(),
            accept_penalty: Penalty::default(),
            gone: false,
        }
    }

    /// A link is up; an attempt that is still under way ends by itself. An `unstable` one will count as
    /// short-lived however long it lives.
    pub(crate) fn link_up(&mut self, link: LinkId, now: Instant, unstable: bool) {
        self.link = Some(link);
        self.up_at = (!unstable).then_some(now);
        self.since = now;
        self.last_error = None;
        self.counters.links_up += 1;
        if matches!(self.dialing, Dialing::At(_)) {
            self.dialing = Dialing::Idle;
        }
    }

    /// The link that was up is gone. `chance` is a random number.
    pub(crate) fn link_down(&mut self, why: String, backoff: Backoff, chance: u64, now: Instant) {
        self.link = None;
        self.since = now;
        self.round_trip = None;
        self.last_error = Some(why);
        if self.up_at.take().is_some_and(|up| now.since(up) >= STABLE_AFTER) {
            self.backoff = backoff.min;
        }
        if self.dialing == Dialing::Idle {
            self.schedule(backoff, chance, now);
        }
    }

    /// An attempt of ours came to nothing.
    pub(crate) fn dial_failed(&mut self, why: String, backoff: Backoff, chance: u64, now: Instant) {
        self.dialing = Dialing::Idle;
        if self.link.is_some() {
            return;
        }
        self.last_error = Some(why);
        if self.settings.role == DialRole::Always {
            self.schedule(backoff, chance, now);
        }
    }

    /// Makes faults in what was scheduled: never to dial, or to wait ever so shortly.
    pub(crate) fn spoil(&mut self, never: bool, quick: Option<Duration>) {
        if never && matches!(self.dialing, Dialing::At(_)) {
            self.dialing = Dialing::Idle;
        }
        self.backoff = quick.unwrap_or(self.backoff);
    }

    /// A dial that is due later comes at this moment, but not before its penalty is over.
    pub(crate) fn dial_by(&mut self, moment: Instant) {
        if let Dialing::At(when) = &mut self.dialing {
            *when = (*when).min(self.dial_penalty.until().map_or(moment, |end| end.max(moment)));
        }
    }

    /// A dial that is due later comes now, for a reason that may come again at once: at most one such dial in `every`,
    /// or a cause that repeats would defeat the back-off.
    pub(crate) fn hasten_dial(&mut self, every: Duration, now: Instant) {
        let is_due_later = matches!(self.dialing, Dialing::At(when) if when > now);
        let is_too_soon = self.hastened.is_some_and(|at| now.since(at) < every);
        if is_due_later && !is_too_soon {
            self.hastened = Some(now);
            self.dial_by(now);
        }
    }

    /// Half the back-off and a random part of the other half, which then doubles: many that lost one
    /// peer do not come back to it at one moment.
    fn schedule(&mut self, backoff: Backoff, chance: u64, now: Instant) {
        if self.gone {
            return;
        }
        let half = self.backoff / 2;
        let jitter = half.mul_f64((chance >> 11) as f64 / (1_u64 << 53) as f64);
        let when = now + half + jitter;
        self.dialing = Dialing::At(self.dial_penalty.until().map_or(when, |end| end.max(when)));
        self.backoff = (self.backoff * 2).min(backoff.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { min: Duration::from_mins(1), max: Duration::from_mins(1) };
    const EVERY: Duration = Duration::from_secs(5);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_cause_that_repeats_hastens_one_dial_in_a_while() {
        let settings = PeerSettings {
            name: "B".to_owned(),
            dialect: Dialect::Native,
            role: DialRole::Always,
            dead_after: Duration::from_secs(1),
        };
        let mut peer = Peer::new(settings, BACKOFF, at(0));
        for (ms, expected) in [(1_000, true), (1_001, false), (5_999, false), (6_000, true)] {
            peer.dial_failed("refused".to_owned(), BACKOFF, 0, at(ms));
            peer.hasten_dial(EVERY, at(ms));
            assert_eq!(peer.dialing == Dialing::At(at(ms)), expected, "at {ms} ms");
        }
    }
}
