//! What a node keeps for those who watch the herd: facts that only its driver knows, what has gone
//! wrong, and when to tell the others.

use crate::about::{About, Alarm, Comparisons, LinkAbout};
use crate::node::{Node, decode};
use crate::peers::{PeerState, PeerStatus};
use herd_proto::{Instant, Now};
use herd_replica::Event;
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
    told: Option<(StatusDigest, Instant)>,
    /// Since when a member was known to let clients expire at another age.
    expiry_differs: Option<Instant>,
    origins_half: bool,
}

/// The part of an account that others are told of at once. Counts change all the time, and a client that wants them
/// by the second asks the server itself.
#[derive(Debug, PartialEq, Eq)]
struct StatusDigest {
    state: String,
    links: Vec<(String, String)>,
    alarms: Vec<&'static str>,
    is_behind: bool,
}

/// How often a node looks whether it has something to say about itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the others are told of what is no news.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// A server that lacks for so long what its peers hold says so. Far longer than any repair of a tree of streams takes.
const BEHIND_MAX: Duration = Duration::from_secs(10);

/// Settings differ for some time whenever a config is rolled out server by server; longer is a mistake.
const EXPIRY_DIFFERS_MAX: Duration = Duration::from_mins(10);

/// Records of the future that are reissued in one look, once this server's clock was set back.
const REISSUED_MAX: usize = 1000;

/// Records of the future that are looked at for that; there are few, unless a peer wants to keep this server busy.
const FUTURES_MAX: usize = 10_000;

impl Watch {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            facts: HostFacts::default(),
            alarms: BTreeMap::new(),
            due: now,
            told: None,
            expiry_differs: None,
            origins_half: false,
        }
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

    /// A peer was refused for its clock; `is_own` if this server's is the one that is wrong.
    pub(crate) fn note_clock(&mut self, is_own: bool, now: Instant) {
        if is_own {
            // The first peers seemed to be the odd ones.
            self.alarms.remove(CLOCK_DIFFERS);
        }
        self.raise(if is_own { OWN_CLOCK_WRONG } else { CLOCK_DIFFERS }, now);
    }

    pub(crate) fn note_second_of_name(&mut self, now: Instant) {
        self.raise("second-of-name", now);
    }

    pub(crate) fn note_event(&mut self, event: &Event, now: Instant) {
        match event {
            Event::OwnStreamAhead => self.raise("own-stream-ahead", now),
            Event::Repaired { .. } => self.raise("audit-repair", now),
            Event::OriginsFull => self.raise("origins-full", now),
            Event::LaterIncarnation { .. }
            | Event::OriginEnded { .. }
            | Event::CatchingUp(_)
            | Event::CaughtUp(_) => {}
        }
    }

    /// The next look is due now.
    pub(crate) fn look_at_once(&mut self, now: Instant) {
        self.due = now;
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

const CLOCK_DIFFERS: &str = "clock-differs";
const OWN_CLOCK_WRONG: &str = "own-clock-wrong";

impl Node {
    /// The driver says what only it can know. Cheap; to be called whenever it has changed, and for memory
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
        let comparisons = self.comparisons();
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
            comparisons: Some(Comparisons {
                rounds: comparisons.rounds,
                repairs: comparisons.repairs,
            }),
            expire_after: self.settings.expire_after,
            links,
            links_left_out: 0,
            alarms: self.watch.alarms(now.instant),
        }
    }

    /// Servers that are not set alike show different things.
    fn compare_expiry(&mut self, now: Now) {
        let ours = self.settings.expire_after;
        let differs = self.replica.members().any(|member| {
            let about = member.word.as_ref().and_then(|word| About::decode(word.about));
            !member.has_left && about.is_some_and(|about| about.expire_after != ours)
        });
        if !differs {
            self.watch.expiry_differs = None;
            return;
        }
        let since = *self.watch.expiry_differs.get_or_insert(now.instant);
        if now.instant.since(since) >= EXPIRY_DIFFERS_MAX {
            self.watch.expiry_differs = Some(now.instant);
            self.watch.raise("expiry-differs", now.instant);
        }
    }

    /// Half of the streams that a server can keep are in use: somebody starts servers over and over.
    fn count_streams(&mut self, now: Now) {
        let census = self.replica.census();
        let is_half = census.streams * 2 >= census.streams_max;
        if is_half && !self.watch.origins_half {
            self.watch.raise("origins-half", now.instant);
        }
        self.watch.origins_half = is_half;
    }

    /// This server's clock was ahead and has been set right: what it stamped meanwhile would be hidden until it is
    /// due.
    fn reissue_futures(&mut self, now: Now) {
        let is_own = |value: &[u8]| {
            let name = self.name().as_bytes();
            value.strip_prefix(name).is_some_and(|rest| rest.first() == Some(&b' '))
        };
        let own = self
            .replica
            .futures()
            .take(FUTURES_MAX)
            .filter(|future| decode(future).is_some() && is_own(future.value));
        let keys: Vec<Box<[u8]>> = own.take(REISSUED_MAX).map(|future| future.key.into()).collect();
        for key in keys {
            self.replica.reissue(&key, now);
        }
    }

    /// Looks at what changes slowly, and tells the herd what has changed about this server.
    pub(crate) fn tick_watch(&mut self, now: Now) {
        if now.instant < self.watch.due {
            return;
        }
        self.watch.due = now.instant + LOOK_EVERY;
        let agrees = self.clock_agrees(now.instant);
        self.replica.set_clock_agrees(agrees);
        self.reissue_futures(now);
        self.count_streams(now);
        let about = self.about(now);
        let digest = StatusDigest {
            state: about.state.clone(),
            links: about.links.iter().map(|l| (l.peer.clone(), l.state.clone())).collect(),
            alarms: self.watch.alarms.keys().copied().collect(),
            is_behind: about.lag >= BEHIND_MAX,
        };
        let told = self.watch.told.as_ref();
        let is_news = told.is_none_or(|(told, _)| *told != digest);
        if !is_news && told.is_some_and(|(_, at)| now.instant.since(*at) < TELL_EVERY) {
            return;
        }
        self.compare_expiry(now);
        self.watch.told = Some((digest, now.instant));
        self.replica.set_about(&about.encode(), is_news);
    }
}
