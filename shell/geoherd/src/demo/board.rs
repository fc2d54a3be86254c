//! Everything the table shows, brought up to date by the news. No I/O.

use super::http::Status;
use super::news::{Nearby, News, Report, Spread};
use super::people::Person;
use super::plan::Member;
use herd_atlas::Travel;
use std::collections::VecDeque;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Board {
    pub(super) servers: Vec<Server>,
    pub(super) people: Vec<Seen>,
    pub(super) reports: u64,
    pub(super) nearby: Option<Nearby>,
    /// What happened, when, the latest last.
    pub(super) events: VecDeque<(Duration, String)>,
    /// How long the latest reports that were followed took to be everywhere.
    spreads: VecDeque<Duration>,
    /// Since the beginning.
    pub(super) elapsed: Duration,
    /// A time for a report of somebody who joins in.
    pub(super) unix_s: u64,
    pub(super) links: Vec<Link>,
    /// A wire was mended that joined what was apart: which, and when.
    joined: Option<(String, Duration)>,
    pub(super) chosen_server: usize,
    pub(super) chosen_person: usize,
    pub(super) chosen_link: usize,
}

/// A link between two servers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// The servers' places.
    pub(super) ends: (usize, usize),
    /// Whether its wire is.
    pub(super) whole: bool,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) member: Member,
    /// Whether its process lives.
    pub(super) runs: bool,
    /// What it said last about itself, if it says anything.
    pub(super) status: Option<Status>,
}

impl Server {
    /// How it is, if it runs and answers.
    pub(super) fn up(&self) -> Option<&Status> {
        self.status.as_ref().filter(|_| self.runs)
    }
}

/// What is known of somebody.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) travel: Travel,
    pub(super) last: Option<Report>,
    pub(super) spread: Option<Spread>,
}

impl Board {
    pub(super) fn new(
        members: &[Member],
        links: impl Iterator<Item = ((usize, usize), bool)>,
        people: &[Person],
        unix_s: u64,
    ) -> Self {
        let server = |member: &Member| Server { member: member.clone(), runs: true, status: None };
        let seen = |person: &Person| Seen {
            name: person.name.clone(),
            travel: person.travel,
            last: None,
            spread: None,
        };
        Self {
            servers: members.iter().map(server).collect(),
            people: people.iter().map(seen).collect(),
            reports: 0,
            nearby: None,
            events: VecDeque::new(),
            spreads: VecDeque::new(),
            elapsed: Duration::ZERO,
            unix_s,
            links: links.map(|(ends, whole)| Link { ends, whole }).collect(),
            joined: None,
            chosen_server: 0,
            chosen_person: 0,
            chosen_link: 0,
        }
    }

    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Reported(report) => {
                self.reports += 1;
                if let Some(seen) = self.people.get_mut(report.person) {
                    seen.last = Some(report);
                }
            }
            News::Spread { person, spread } => {
                match spread {
                    Spread::All(after) => {
                        push_bounded(&mut self.spreads, after, SPREADS_MAX);
                        self.note_joined();
                    }
                    // In a herd that is in parts that is as it must be.
                    Spread::Missing(_) if self.parts().len() > 1 => {}
                    Spread::Missing(server) => {
                        let text = format!("{} waits for a report", self.server_name(server));
                        self.note(text);
                    }
                }
                if let Some(seen) = self.people.get_mut(person) {
                    seen.spread = Some(spread);
                }
            }
            News::Asked { server, status } => {
                if let Some(server) = self.servers.get_mut(server) {
                    server.status = status;
                }
            }
            News::Nearby(nearby) => self.nearby = Some(nearby),
            News::Restarted { server, outcome } => {
                let name = self.server_name(server);
                self.note(match outcome {
                    Ok(after) => {
                        format!(
                            "{name} is back: linked and caught up after {} ms",
                            after.as_millis()
                        )
                    }
                    Err(error) => format!("{name} did not come back: {error:#}"),
                });
            }
        }
    }

    /// The wire of a link was cut or mended by our hand.
    pub(super) fn wired(&mut self, link: usize, whole: bool) {
        let parts_before = self.parts().len();
        let Some(seen) = self.links.get_mut(link) else { return };
        seen.whole = whole;
        let ends = seen.ends;
        let name = self.link_name(ends);
        let parts = self.parts();
        if whole {
            if parts.len() < parts_before {
                self.joined = Some((name.clone(), self.elapsed));
            }
            let rest = if parts.len() == 1 && parts_before > 1 { "; the parts join" } else { "" };
            self.note(format!("{name} is mended{rest}"));
        } else if parts.len() == 1 {
            self.note(format!("{name} is cut; there are other ways"));
        } else {
            self.joined = None;
            let named = |part: &Vec<usize>| {
                let names: Vec<&str> = part.iter().map(|&at| self.server_name(at)).collect();
                names.join(", ")
            };
            let all: Vec<String> = parts.iter().map(named).collect();
            let (count, all) = (parts.len(), all.join(" | "));
            self.note(format!("{name} is cut: {count} parts, {all}"));
        }
    }

    /// All servers have heard of a report: perhaps the first since parts were joined. One that was told
    /// to both parts while they were apart does not count, so the links must be up again.
    fn note_joined(&mut self) {
        if self.parts().len() == 1
            && self.links.iter().all(|link| !link.whole || self.is_up(*link))
            && let Some((name, when)) = self.joined.take()
        {
            let after = self.elapsed.saturating_sub(when).as_secs_f64();
            self.note(format!("reports reach all again, {after:.1} s after {name} was mended"));
        }
    }

    /// The servers that run, in groups that can hear of one another, as the wires are.
    pub(super) fn parts(&self) -> Vec<Vec<usize>> {
        let mut left: Vec<usize> = (0..self.servers.len()).collect();
        left.retain(|&at| self.servers.get(at).is_some_and(|server| server.runs));
        let mut parts = Vec::new();
        while let Some(&first) = left.first() {
            let mut part = vec![first];
            let mut next = 0;
            while let Some(&one) = part.get(next) {
                next += 1;
                for link in self.links.iter().filter(|link| link.whole) {
                    let (a, b) = link.ends;
                    let other = if a == one { b } else { a };
                    if (a == one || b == one) && left.contains(&other) && !part.contains(&other) {
                        part.push(other);
                    }
                }
            }
            left.retain(|at| !part.contains(at));
            part.sort_unstable();
            parts.push(part);
        }
        parts
    }

    /// Whether both ends of a link call it up.
    pub(super) fn is_up(&self, link: Link) -> bool {
        let says = |one: usize, other: usize| {
            let links = self.servers.get(one).and_then(Server::up).map(|status| &status.links);
            let named = |(name, is_up): &(String, bool)| *is_up && name == self.server_name(other);
            links.is_some_and(|links| links.iter().any(named))
        };
        says(link.ends.0, link.ends.1) && says(link.ends.1, link.ends.0)
    }

    pub(super) fn link_name(&self, (one, other): (usize, usize)) -> String {
        format!("{}–{}", self.server_name(one), self.server_name(other))
    }

    /// A server's process has ended: by our hand, or by another's.
    pub(super) fn lost(&mut self, server: usize, how: &str) {
        let talked_to = |seen: &&Seen| seen.last.as_ref().is_some_and(|last| last.server == server);
        let count = self.people.iter().filter(talked_to).count();
        if let Some(server) = self.servers.get_mut(server) {
            (server.runs, server.status) = (false, None);
        }
        let name = self.server_name(server);
        self.note(format!("{name} {how}; {} went on elsewhere", people(count)));
    }

    /// A server's process was started again.
    pub(super) fn starting(&mut self, server: usize) {
        if let Some(server) = self.servers.get_mut(server) {
            (server.runs, server.status) = (true, None);
        }
        let name = self.server_name(server);
        self.note(format!("{name} is starting, knowing nothing"));
    }

    pub(super) fn note(&mut self, event: String) {
        // Once is enough, however often it is said.
        if self.events.back().is_none_or(|(_, last)| *last != event) {
            push_bounded(&mut self.events, (self.elapsed, event), EVENTS_MAX);
        }
    }

    /// The median and the longest of the latest times to be everywhere.
    pub(super) fn spread(&self) -> Option<(Duration, Duration)> {
        let mut sorted: Vec<Duration> = self.spreads.iter().copied().collect();
        sorted.sort_unstable();
        Some((*sorted.get(sorted.len() / 2)?, *sorted.last()?))
    }

    pub(super) fn servers_up(&self) -> usize {
        self.servers.iter().filter(|server| server.up().is_some()).count()
    }

    pub(super) fn server_name(&self, server: usize) -> &'static str {
        self.servers.get(server).map_or("?", |server| server.member.name)
    }

    /// A server that one can talk to, the chosen one if it is.
    pub(super) fn reachable(&self) -> Option<&Member> {
        let chosen = self.servers.get(self.chosen_server);
        let mut all = chosen.into_iter().chain(&self.servers);
        let up = all.find(|server| server.up().is_some());
        up.or(chosen).map(|server| &server.member)
    }
}

/// A quarter of a minute's worth.
const SPREADS_MAX: usize = 64;
const EVENTS_MAX: usize = 8;

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, max: usize) {
    if queue.len() >= max {
        queue.pop_front();
    }
    queue.push_back(item);
}

pub(super) fn people(count: usize) -> String {
    if count == 1 { "1 person".to_owned() } else { format!("{count} people") }
}

pub(super) fn moves(travel: Travel) -> &'static str {
    match travel {
        Travel::Walk => "walks",
        Travel::Cycle => "cycles",
        Travel::Drive => "drives",
    }
}

pub(super) fn milliseconds(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    if ms < 100.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

pub(super) fn clock(elapsed: Duration) -> String {
    format!("{}:{:02}", elapsed.as_secs() / 60, elapsed.as_secs() % 60)
}
