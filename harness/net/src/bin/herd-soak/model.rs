//! What the servers must show, as far as it can be known from outside.
//!
//! A server keeps everything in memory, so what it alone had accepted is gone when it is killed, and
//! nothing is wrong with that. What must not happen:
//!
//! - A server that lives shows less of a client than it has shown, or acknowledged, in this life. That is
//!   the *floor* of this server and client; it goes when the process is killed and at no other time.
//! - At rest any server shows less than the floor of any other: what one living server has, all have.
//! - A server shows what nobody has reported.
//!
//! The floors are strong because those who will survive a kill are asked for everything just before it: what
//! they had from the one that is killed is in their floors then.
//!
//! Reports are ordered as the protocol says: effective time, receiving server, location text.

use anyhow::{Result, bail};
use herd_e2e::At;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A report's place in the order of one client's reports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    effective_ns: i128,
    server: String,
    location: String,
}

impl Rank {
    /// Whether it is the rank of this report.
    pub(crate) fn is_of(&self, at: &At) -> bool {
        parse(at).is_some_and(|parsed| parsed.rank == *self)
    }
}

/// Shared by all who report and ask.
#[derive(Debug)]
pub(crate) struct Model(Mutex<State>);

#[derive(Debug)]
struct State {
    servers: Vec<ServerState>,
    /// What each writer has said: the client and the time; the place in this list is in the location.
    sent: Vec<Vec<(u32, i128)>>,
    looked: u64,
    violation: Option<String>,
}

#[derive(Debug)]
struct ServerState {
    /// Grows when the process is about to be killed, and when it has been.
    life: u64,
    /// By client.
    floors: Vec<Option<Rank>>,
}

/// The setting `max_future_skew`, which is left at its default.
const SKEW_MAX_NS: i128 = 60_000_000_000;

impl Model {
    pub(crate) fn new(servers: usize, clients: u32) -> Self {
        let server = || ServerState { life: 0, floors: vec![None; clients as usize] };
        Self(Mutex::new(State {
            servers: (0..servers).map(|_| server()).collect(),
            sent: vec![Vec::new(); servers],
            looked: 0,
            violation: None,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many clients there are.
    pub(crate) fn clients(&self) -> u32 {
        let clients = self.lock().servers.first().map_or(0, |server| server.floors.len());
        u32::try_from(clients).unwrap_or(u32::MAX)
    }

    /// Clients of which some server that lives has shown a report.
    pub(crate) fn known(&self) -> usize {
        let state = self.lock();
        let clients = state.servers.first().map_or(0, |server| server.floors.len());
        let known = |client: &usize| {
            state.servers.iter().any(|server| matches!(server.floors.get(*client), Some(Some(_))))
        };
        (0..clients).filter(known).count()
    }

    /// Answers that were compared with a floor.
    pub(crate) fn looked(&self) -> u64 {
        self.lock().looked
    }

    /// Makes the next report of a writer: its location, in which it can be found again. To be called before it
    /// is sent.
    pub(crate) fn say(&self, writer: usize, client: u32, time_ns: i128) -> String {
        let mut state = self.lock();
        let Some(sent) = state.sent.get_mut(writer) else { return String::new() };
        sent.push((client, time_ns));
        format!("+{writer:02}.{:09}-118.445127", sent.len() - 1)
    }

    /// Which life a server is in; what comes over a connection counts for the life in which it was opened.
    pub(crate) fn life(&self, server: usize) -> u64 {
        self.lock().servers.get(server).map_or(0, |server| server.life)
    }

    /// A server's memory is about to go, or has gone: nothing is asked of it any more.
    pub(crate) fn dies(&self, server: usize) {
        if let Some(server) = self.lock().servers.get_mut(server) {
            server.life += 1;
            server.floors.fill(None);
        }
    }

    /// A server has acknowledged a report: from now on it shows that or a newer one.
    pub(crate) fn acknowledged(&self, server: usize, life: u64, at: &At) {
        let mut state = self.lock();
        let Some((client, rank)) = state.checked(at) else { return };
        if let Some(server) = state.servers.get_mut(server).filter(|server| server.life == life) {
            server.raise(client, rank);
        }
    }

    /// The floors of a server as they are now, to be compared with what it will answer.
    pub(crate) fn floors(&self, server: usize) -> (u64, Vec<Option<Rank>>) {
        let state = self.lock();
        state.servers.get(server).map(|s| (s.life, s.floors.clone())).unwrap_or_default()
    }

    /// A server has told what it shows of a client; `floor` was true before it was asked.
    pub(crate) fn shown(
        &self,
        server: usize,
        life: u64,
        client: u32,
        at: Option<&At>,
        floor: Option<&Rank>,
    ) {
        let mut state = self.lock();
        if state.servers.get(server).is_none_or(|server| server.life != life) {
            return;
        }
        state.looked += 1;
        let Some(at) = at else {
            if let Some(floor) = floor {
                state.violate(format!(
                    "server {server} knows nothing of {client}, and had {floor:?}"
                ));
            }
            return;
        };
        let Some((told, rank)) = state.checked(at) else { return };
        if told != client {
            state.violate(format!("asked for {client}, server {server} told {}", at.line()));
        } else if let Some(floor) = floor.filter(|&floor| rank < *floor) {
            let line = at.line();
            state.violate(format!("server {server} shows {line} and had {floor:?}: it went back"));
        } else if let Some(server) = state.servers.get_mut(server) {
            server.raise(client, rank);
        }
    }

    /// The greatest floor of each client over all servers: what every server must show at rest.
    pub(crate) fn greatest(&self) -> Vec<Option<Rank>> {
        let state = self.lock();
        let mut servers = state.servers.iter().map(|server| server.floors.clone());
        let mut greatest = servers.next().unwrap_or_default();
        for floors in servers {
            for (greatest, floor) in greatest.iter_mut().zip(floors) {
                *greatest = greatest.take().max(floor);
            }
        }
        greatest
    }

    /// # Errors
    ///
    /// When something was shown that must not be: the first such thing.
    pub(crate) fn verdict(&self) -> Result<()> {
        match &self.lock().violation {
            None => Ok(()),
            Some(what) => bail!("{what}"),
        }
    }
}

impl ServerState {
    fn raise(&mut self, client: u32, rank: Rank) {
        if let Some(floor) = self.floors.get_mut(client as usize) {
            *floor = floor.take().max(Some(rank));
        }
    }
}

impl State {
    /// The client and the rank of a report, if it is one that was sent as it stands there.
    fn checked(&mut self, at: &At) -> Option<(u32, Rank)> {
        let found = parse(at).filter(|parsed| {
            let sent = self.sent.get(parsed.writer).and_then(|sent| sent.get(parsed.number));
            sent == Some(&(parsed.client, parsed.time_ns))
        });
        let Some(Parsed { client, rank, .. }) = found else {
            self.violate(format!("nobody has reported {}", at.line()));
            return None;
        };
        Some((client, rank))
    }

    fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }
}

struct Parsed {
    writer: usize,
    number: usize,
    client: u32,
    time_ns: i128,
    rank: Rank,
}

fn parse(at: &At) -> Option<Parsed> {
    let (writer, rest) = at.location.strip_prefix('+')?.split_once('.')?;
    let number = rest.split('-').next()?;
    let time_ns = nanos(&at.time)?;
    let over = nanos(&at.difference)?.saturating_add(SKEW_MAX_NS).min(0);
    let rank = Rank {
        effective_ns: time_ns + over,
        server: at.server.clone(),
        location: at.location.clone(),
    };
    Some(Parsed {
        writer: writer.parse().ok()?,
        number: number.parse().ok()?,
        client: client_number(&at.client)?,
        time_ns,
        rank,
    })
}

/// The name of a client.
pub(crate) fn client_name(client: u32) -> String {
    format!("soak-{client:06}")
}

fn client_number(name: &str) -> Option<u32> {
    name.strip_prefix("soak-")?.parse().ok()
}

/// Seconds with nine digits behind the point, and perhaps a sign.
fn nanos(text: &str) -> Option<i128> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (seconds, nanos) = text.split_once('.')?;
    let nanos = (nanos.len() == 9).then(|| nanos.parse::<i128>().ok())??;
    Some(sign * (seconds.parse::<i128>().ok()? * 1_000_000_000 + nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(server: &str, difference: &str, location: &str, time: &str) -> At {
        At::parse(&format!("AT {server} {difference} soak-000001 {location} {time}"))
    }

    fn model_with(times: &[i128]) -> (Model, Vec<String>) {
        let model = Model::new(2, 5);
        let locations = times.iter().map(|&time| model.say(0, 1, time * 1_000_000_000)).collect();
        (model, locations)
    }

    #[test]
    fn a_server_that_goes_back_is_found_and_one_that_was_killed_is_not() {
        let (model, locations) = model_with(&[7, 8]);
        let [old, new] = [("7.000000000", 0), ("8.000000000", 1)]
            .map(|(time, at_place)| at("Hill", "+0.000000001", &locations[at_place], time));
        model.acknowledged(0, 0, &new);
        model.dies(0);
        model.dies(0);
        let (life, floors) = model.floors(0);
        model.shown(0, life, 1, Some(&old), floors[1].as_ref());
        model.verdict().unwrap();
        model.acknowledged(0, life, &new);
        // What was acknowledged in another life says nothing of this one.
        model.acknowledged(1, 3, &new);
        assert_eq!(model.floors(1).1[1], None);
        let (life, floors) = model.floors(0);
        model.shown(0, life, 1, Some(&old), floors[1].as_ref());
        assert!(model.verdict().unwrap_err().to_string().contains("went back"));
    }

    #[test]
    fn what_nobody_reported_is_found() {
        let (model, locations) = model_with(&[7]);
        model.acknowledged(0, 0, &at("Hill", "+0.000000001", &locations[0], "8.000000000"));
        assert!(model.verdict().is_err());
    }

    #[test]
    fn the_order_is_that_of_the_protocol() {
        let rank = |server, difference, location: &str, time| {
            parse(&at(server, difference, location, time)).unwrap().rank
        };
        let (low, high) = ("+00.000000000-118.445127", "+00.000000001-118.445127");
        assert!(
            rank("Hill", "+0.000000001", low, "8.000000000")
                > rank("Smith", "+0.000000001", high, "7.000000000")
        );
        assert!(
            rank("Hill", "+0.000000001", high, "7.000000000")
                < rank("Smith", "+0.000000001", low, "7.000000000")
        );
        assert!(
            rank("Hill", "+0.000000001", low, "7.000000000")
                < rank("Hill", "+5.000000001", high, "7.000000000")
        );
        // Two minutes ahead counts as one.
        let ahead = rank("Hill", "-120.000000000", low, "1000.000000000");
        assert_eq!(ahead.effective_ns, 940_000_000_000);
    }
}
