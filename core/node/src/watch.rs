//! What a node keeps for those who watch the herd: facts that only its driver knows, what has gone
//! wrong, and when to tell the others.

use crate::about::{About, Alarm, Audits, LinkAbout};
use crate::node::Node;
use crate::peers::{PeerState, PeerStatus};
use herd_proto::{Instant, Now};
use herd_replica::{Event, Fault};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a server is like that no core can know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The version of the program.
    pub program: String,
    /// Resident memory of the process, if the system tells.
    pub resident_bytes: Option<u64>,
    /// It takes no more clients, and will stop.
    pub draining: bool,
}

#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) facts: HostFacts,
    alarms: BTreeMap<&'static str, (u64, Instant)>,
    due: Instant,
    told: Option<Gist>,
    expiry_differs: bool,
}

/// What of an account is worth telling before its time. Round trips and memory change all the time, and
/// whoever wants them by the second asks the server itself.
#[derive(Debug, PartialEq, Eq)]
struct Gist {
    state: String,
    clients: u64,
    updates: u64,
    links: Vec<(String, String)>,
    alarms: Vec<(String, u64)>,
    repairs: Option<u64>,
}

/// How often a node looks whether it has something to say about itself: as often as the herd is told.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Watch {
    pub(crate) fn new(now: Instant) -> Self {
        let facts = HostFacts::default();
        Self { facts, alarms: BTreeMap::new(), due: now, told: None, expiry_differs: false }
    }

    /// Something happened that an operator must be told of.
    fn raise(&mut self, kind: &'static str, now: Instant) {
        let (count, last) = self.alarms.entry(kind).or_insert((0, now));
        *count += 1;
        *last = now;
    }

    pub(crate) fn note_disk(&mut self, now: Instant) {
        self.raise("disk", now);
    }

    pub(crate) fn note_fault(&mut self, fault: &Fault, now: Instant) {
        if matches!(fault, Fault::ClockAhead { .. }) {
            self.raise("clock-ahead", now);
        }
    }

    pub(crate) fn note_event(&mut self, event: &Event, now: Instant) {
        if matches!(event, Event::OwnStreamAhead) {
            self.raise("own-stream-ahead", now);
        } else if matches!(event, Event::Adopted { .. }) {
            self.raise("orphans-adopted", now);
        } else if matches!(event, Event::AuditRepaired { .. }) {
            self.raise("audit-repair", now);
        }
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        self.facts.resident_bytes.unwrap_or(0)
    }

    fn alarms(&self, now: Instant) -> Vec<Alarm> {
        let alarm = |(&kind, &(count, last)): (&&str, &(u64, Instant))| Alarm {
            kind: kind.to_owned(),
            count,
            ago: Duration::from_secs(now.since(last).as_secs()),
        };
        self.alarms.iter().map(alarm).collect()
    }
}

impl Node {
    /// The driver says what only it can know. Cheap; to be said whenever it has changed, and memory
    /// about once a second.
    pub fn set_host_facts(&mut self, facts: HostFacts) {
        self.watch.facts = facts;
    }

    /// This server's account of itself, as it is now.
    pub fn about(&self, now: Now) -> About {
        let HostFacts { program, resident_bytes, draining } = self.watch.facts.clone();
        let readiness = self.readiness(now);
        let state = if draining {
            "draining"
        } else if self.replica.is_bootstrapping() {
            "bootstrapping"
        } else if readiness.ready {
            "ready"
        } else if readiness.missing.iter().any(|(_, state)| *state == PeerState::CatchingUp) {
            "catching-up"
        } else {
            "starting"
        };
        let link = |peer: PeerStatus| LinkAbout {
            peer: peer.name,
            dialect: peer.dialect.word().to_owned(),
            state: peer.state.word().to_owned(),
            round_trip: peer.round_trip,
            records_sent: peer.counters.records_sent,
            records_received: peer.counters.records_received,
        };
        let mut links: Vec<_> = self.peers().map(link).collect();
        // If there is no room for all, then for those that matter.
        links.sort_by_key(|link| link.state == PeerState::Up.word());
        let audits = self.audits();
        let streams = || self.replica.streams();
        let since = streams().filter_map(|stream| stream.behind_since).min();
        About {
            program,
            state: state.to_owned(),
            uptime: Duration::from_secs(self.uptime(now).as_secs()),
            clients: self.clients() as u64,
            updates: self.counters().updates,
            resident_bytes,
            lag_updates: streams().map(|stream| stream.behind).sum(),
            lag: since.map_or(Duration::ZERO, |since| now.instant.since(since)),
            audits: Some(Audits { rounds: audits.rounds, repairs: audits.repairs }),
            expire_after: self.settings.expire_after,
            links,
            links_left_out: 0,
            alarms: self.watch.alarms(now.instant),
        }
    }

    /// Servers that are not set alike show different things, and each keeps bringing back what the other
    /// lets go.
    fn compare_expiry(&mut self, now: Now) {
        let ours = self.settings.expire_after;
        let differs = self.replica.members().any(|member| {
            let about = member.word.as_ref().and_then(|word| About::decode(word.about));
            !member.has_left && about.is_some_and(|about| about.expire_after != ours)
        });
        if differs && !self.watch.expiry_differs {
            self.watch.raise("expiry-differs", now.instant);
        }
        self.watch.expiry_differs = differs;
    }

    /// Tells the herd what has changed about this server.
    pub(crate) fn tick_watch(&mut self, now: Now) {
        if now.instant < self.watch.due {
            return;
        }
        self.watch.due = now.instant + LOOK_EVERY;
        self.compare_expiry(now);
        let about = self.about(now);
        let gist = Gist {
            state: about.state.clone(),
            clients: about.clients,
            updates: about.updates,
            links: about.links.iter().map(|l| (l.peer.clone(), l.state.clone())).collect(),
            alarms: about.alarms.iter().map(|a| (a.kind.clone(), a.count)).collect(),
            repairs: about.audits.map(|audits| audits.repairs),
        };
        let is_news = about.lag_updates > 0 || self.watch.told.as_ref() != Some(&gist);
        self.watch.told = Some(gist);
        self.replica.set_about(&about.encode(), is_news);
    }
}
