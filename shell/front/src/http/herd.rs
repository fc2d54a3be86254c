//! The document of `GET /herd`: every server of the herd, as the one that is asked knows it, and its problems.
//!
//! States, links and alarms of another server are some seconds old at most, its counts a minute. Streams are listed
//! for the server that is asked. The document is described in `docs/operations.md`.

use crate::host::Host;
use herd_node::{About, Alarm, HostFacts, LinkAbout, ServerView, Standing};
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// The herd, seen from one of its servers.
#[derive(Debug, Serialize)]
pub(super) struct HerdView {
    herd: String,
    /// The server that was asked.
    asked: String,
    /// When, seconds since 1970.
    time: f64,
    /// Whether there are no problems.
    well: bool,
    /// For people, one each.
    problems: Vec<String>,
    servers: Vec<ServerDocument>,
}

#[derive(Debug, Serialize)]
struct ServerDocument {
    server: String,
    /// What the server says of itself; `unreachable` or `unheard` if it cannot say anything now.
    state: String,
    /// Seconds since it said what stands here; null if it never did.
    heard_ago_s: Option<f64>,
    /// As text: it is greater than what JavaScript can count to.
    incarnation: Option<String>,
    version: Option<String>,
    uptime_s: Option<u64>,
    clients: Option<u64>,
    updates: Option<u64>,
    resident_bytes: Option<u64>,
    lag_updates: Option<u64>,
    lag_ms: Option<u64>,
    audits: Option<AuditsDocument>,
    alarms: Vec<AlarmDocument>,
    links: Vec<LinkDocument>,
    /// Links of which the server could not tell, because it has so many.
    links_left_out: u64,
    streams: Vec<StreamDocument>,
}

#[derive(Debug, Serialize)]
struct AuditsDocument {
    rounds: u64,
    repairs: u64,
}

#[derive(Debug, Serialize)]
struct AlarmDocument {
    kind: String,
    count: u64,
    /// Since the last time.
    ago_s: u64,
    /// Whether that is so short that somebody should look.
    stands: bool,
}

#[derive(Debug, Serialize)]
struct LinkDocument {
    server: String,
    protocol: String,
    state: String,
    round_trip_ms: Option<f64>,
    records_sent: u64,
    records_received: u64,
}

#[derive(Debug, Serialize)]
struct StreamDocument {
    server: String,
    incarnation: String,
    version: u64,
    /// How much further some server that can be reached holds it, as far as is known.
    behind: u64,
}

/// An alarm stands for so long after the last time; then it is history.
const ALARM_STANDS: Duration = Duration::from_mins(10);

/// A server that lacks for so long what its peers hold is not well. Far longer than any repair of a
/// tree of streams takes.
const LAG_MAX: Duration = Duration::from_secs(10);

pub(super) fn herd(host: &Host, version: &str) -> HerdView {
    let facts: HostFacts = host.facts(version);
    let (servers, unix) = host.enter(|node, now| {
        node.set_host_facts(facts);
        (node.herd(now), now.unix)
    });
    let problems = problems(&servers);
    HerdView {
        herd: host.herd.clone(),
        asked: host.name.clone(),
        time: unix.nanos() as f64 / 1e9,
        well: problems.is_empty(),
        problems,
        servers: servers.into_iter().map(document).collect(),
    }
}

fn document(view: ServerView) -> ServerDocument {
    let ServerView { name, standing, incarnation, heard_ago, about, streams } = view;
    // What was told some time ago happened that much longer ago.
    let since = heard_ago.unwrap_or_default();
    let known = about.is_some();
    let mut about = about.unwrap_or_default();
    let state = match standing {
        Standing::Unreachable => "unreachable".to_owned(),
        Standing::Unheard => "unheard".to_owned(),
        Standing::Own | Standing::Reachable if known => std::mem::take(&mut about.state),
        Standing::Own | Standing::Reachable => "unknown".to_owned(),
    };
    let audits = about.comparisons;
    let links = about.links.into_iter().map(|link| LinkDocument {
        server: link.peer,
        protocol: link.dialect,
        state: link.state,
        round_trip_ms: link.round_trip.map(|trip| trip.as_secs_f64() * 1e3),
        records_sent: link.records_sent,
        records_received: link.records_received,
    });
    let alarms = about.alarms.into_iter().map(|alarm| AlarmDocument {
        stands: stands(&alarm, since),
        ago_s: (alarm.ago + since).as_secs(),
        kind: alarm.kind,
        count: alarm.count,
    });
    let streams = streams.into_iter().map(|stream| StreamDocument {
        server: stream.server,
        incarnation: stream.incarnation.to_string(),
        version: stream.version,
        behind: stream.behind,
    });
    let known = |value: u64| known.then_some(value);
    ServerDocument {
        server: name,
        state,
        heard_ago_s: heard_ago.map(|ago| ago.as_secs_f64()),
        incarnation: incarnation.map(|incarnation| incarnation.to_string()),
        version: known(0).map(|_| about.program),
        uptime_s: known(about.uptime.as_secs()),
        clients: known(about.clients),
        updates: known(about.updates),
        resident_bytes: about.resident_bytes,
        lag_updates: known(about.lag_updates),
        lag_ms: known(u64::try_from(about.lag.as_millis()).unwrap_or(u64::MAX)),
        audits: audits
            .map(|audits| AuditsDocument { rounds: audits.rounds, repairs: audits.repairs }),
        alarms: alarms.collect(),
        links: links.collect(),
        links_left_out: about.links_left_out,
        streams: streams.collect(),
    }
}

fn stands(alarm: &Alarm, since: Duration) -> bool {
    alarm.ago + since < ALARM_STANDS
}

/// What somebody should look at, in the order of servers.
fn problems(servers: &[ServerView]) -> Vec<String> {
    let mut found = Vec::new();
    // A link that both ends call down is one problem.
    let mut told = BTreeSet::new();
    for server in servers {
        let name = &server.name;
        match (server.standing, &server.about) {
            (Standing::Unheard, _) => found.push(format!("{name} has not been heard of")),
            (Standing::Unreachable, _) => {
                let ago = server.heard_ago.unwrap_or_default().as_secs();
                found.push(format!("{name} cannot be reached; last heard of {ago} s ago"));
            }
            (Standing::Own | Standing::Reachable, None) => {
                found.push(format!("{name} says nothing of itself that can be read here"));
            }
            (Standing::Own | Standing::Reachable, Some(about)) => {
                if about.state != "ready" {
                    found.push(format!("{name} is {}", about.state));
                }
                if about.lag > LAG_MAX {
                    let (lag_s, updates) = (about.lag.as_secs(), about.lag_updates);
                    found.push(format!("{name} is {lag_s} s behind: it lacks {updates} updates"));
                }
                for link in about.links.iter().filter(|link| !link.is_up()) {
                    let LinkAbout { peer, state, .. } = link;
                    let (one, other) = (name.min(peer), name.max(peer));
                    if told.insert([one.clone(), other.clone()]) {
                        found.push(format!("the link {one}–{other} is {state}"));
                    }
                }
                alarms(name, about, server.heard_ago.unwrap_or_default(), &mut found);
            }
        }
    }
    found
}

fn alarms(name: &str, about: &About, since: Duration, found: &mut Vec<String>) {
    for alarm in about.alarms.iter().filter(|alarm| stands(alarm, since)) {
        let Alarm { kind, count, ago } = alarm;
        let meaning = match kind.as_str() {
            "clock-differs" => " (the clock of a peer differs too much, so they are not linked)",
            "own-clock-wrong" => " (its clock differs from those of most peers: set it)",
            "own-stream-ahead" => " (others held more of what it wrote than it did)",
            "second-of-name" => " (another process of its name runs: stop one)",
            "origins-half" => {
                " (servers are restarted over and over: half of all streams are in use)"
            }
            "origins-full" => " (servers are restarted over and over: no stream is left)",
            "expiry-differs" => " (herd.expire_after is not the same on all servers)",
            "disk" => " (it cannot write to its disk)",
            "audit-repair" => {
                " (a comparison found a record missing: a fault in a program or a disk)"
            }
            _ => "",
        };
        let ago_s = (*ago + since).as_secs();
        found.push(format!("{name}: {kind}{meaning}, {count} times, last {ago_s} s ago"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, standing: Standing, about: About) -> ServerView {
        ServerView {
            name: name.to_owned(),
            standing,
            incarnation: Some(u64::MAX),
            heard_ago: Some(Duration::from_secs(3)),
            about: Some(about),
            streams: Vec::new(),
        }
    }

    fn ready() -> About {
        About { state: "ready".to_owned(), ..About::default() }
    }

    fn down(peer: &str) -> LinkAbout {
        let (peer, state) = (peer.to_owned(), "down".to_owned());
        LinkAbout { peer, state, ..LinkAbout::default() }
    }

    #[test]
    fn each_thing_that_is_not_well_is_told_once() {
        let alarm = |kind: &str, minutes| Alarm {
            kind: kind.to_owned(),
            count: 2,
            ago: Duration::from_mins(minutes),
        };
        let servers = [
            server("Hill", Standing::Own, About { links: vec![down("Smith")], ..ready() }),
            server("Jaquez", Standing::Unreachable, About { links: vec![down("Hill")], ..ready() }),
            server(
                "Smith",
                Standing::Reachable,
                About {
                    links: vec![down("Hill")],
                    lag: Duration::from_secs(11),
                    lag_updates: 7,
                    alarms: vec![alarm("audit-repair", 9), alarm("clock-differs", 10)],
                    ..ready()
                },
            ),
            server("Zammit", Standing::Unheard, About::default()),
        ];
        assert_eq!(
            problems(&servers),
            [
                "the link Hill–Smith is down",
                "Jaquez cannot be reached; last heard of 3 s ago",
                "Smith is 11 s behind: it lacks 7 updates",
                "Smith: audit-repair (a comparison found a record missing: a fault in a program or a disk), 2 times, last 543 s ago",
                "Zammit has not been heard of",
            ]
        );
        assert_eq!(problems(&[server("Hill", Standing::Own, ready())]), [""; 0]);
    }

    #[test]
    fn what_was_never_said_is_null_and_not_nought() {
        let mut view = server("Zammit", Standing::Unheard, About::default());
        (view.about, view.heard_ago, view.incarnation) = (None, None, None);
        let shown = serde_json::to_value(document(view)).unwrap();
        assert_eq!(shown["state"], "unheard");
        for member in ["heard_ago_s", "clients", "lag_ms", "version", "audits", "resident_bytes"] {
            assert!(shown[member].is_null(), "{member}: {shown}");
        }
        let shown = server("Hill", Standing::Reachable, ready());
        let shown = serde_json::to_value(document(shown)).unwrap();
        assert_eq!(
            (&shown["clients"], &shown["incarnation"]),
            (&0.into(), &u64::MAX.to_string().into())
        );
    }
}
