//! How long one client that moves now and then waits for its answer, alone and while others ask or move.
//!
//! On few cores that is also how long the system lets it, the server and those others wait for a core: the row of
//! the client alone tells how much of it is not the server's.

use super::ask::{Asker, Question};
use super::{Place, Town};
use crate::Options;
use crate::city::{Chance, middle};
use crate::load::{Expect, REDIS_KEY, location};
use crate::machine::pass;
use crate::peers::redis::{self, Reply};
use crate::probe::{Probe, time_text, unix_nanos};
use crate::table::{Cell, Section, Sorted};
use anyhow::{Context as _, Result, bail, ensure};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two moves of the one client.
const REST: Duration = Duration::from_millis(2);

/// A wait longer than this is one too many.
const LONG_MS: f64 = 1.0;

/// Radius and count of what is asked meanwhile, if anything.
type Meanwhile = Option<(f64, usize)>;

pub(super) fn measure(
    options: &Options,
    town: &Town,
    server: &Place,
    http: SocketAddr,
    redis: Option<SocketAddr>,
) -> Result<Section> {
    let mut section = Section::new(
        "How long a client that moves now and then waits for its answer, ms",
        "Meanwhile one other connection asks without pause, or many clients move as above, or both.",
        &["meanwhile", "moves", "median", "p99", "max", "% over 1 ms", "questions/s"],
    );
    for (walking, asked) in [
        (false, None),
        (false, Some((5.0, 20))),
        (false, Some((1.0, 1000))),
        (true, None),
        (true, Some((5.0, 20))),
    ] {
        let load = walking.then(|| town.walk(server));
        if let Some(load) = &load {
            load.pass(options.warm_up());
        }
        row(options, server, (http, asked), walking, &mut section)?;
        load.map(crate::load::Load::stop).transpose()?;
    }
    let Some(address) = redis else { return Ok(section) };
    let place = Place { address, expect: Expect::Count };
    for asked in [None, Some((1.0, 20)), Some((5.0, 20))] {
        row(options, &place, (address, asked), false, &mut section)?;
    }
    Ok(section)
}

fn row(
    options: &Options,
    place: &Place,
    (asked_at, asked): (SocketAddr, Meanwhile),
    walking: bool,
    section: &mut Section,
) -> Result<()> {
    let is_redis = matches!(place.expect, Expect::Count);
    let mut mover = Mover::connect(place)?;
    let questions = asked.map(|(km, count)| Questions::start(asked_at, is_redis, km, count));
    let began = Instant::now();
    let mut waits = Vec::new();
    while began.elapsed() < options.seconds() * 2 {
        pass(REST);
        waits.push(mover.go()?.as_secs_f64() * 1e3);
    }
    let seconds = began.elapsed().as_secs_f64();
    let answered = questions.map(Questions::stop).transpose()?;
    let long = waits.iter().filter(|&&ms| ms > LONG_MS).count() as f64 / waits.len() as f64;
    let asks = asked.map(|(km, count)| format!("{count} within {km} km asked"));
    let walks = walking.then(|| "all move".to_owned());
    let others: Vec<String> = walks.into_iter().chain(asks).collect();
    let others = if others.is_empty() { "nothing".to_owned() } else { others.join(", ") };
    let moves = waits.len() as f64;
    let waits = Sorted::new(waits);
    section.row([
        Cell::text(format!("{}{others}", if is_redis { "Redis: " } else { "" })),
        Cell::count(moves),
        Cell::figure(waits.at(0.5), 3),
        Cell::figure(waits.at(0.99), 3),
        Cell::figure(waits.at(1.0), 3),
        Cell::figure(long * 100.0, 2),
        answered.map_or_else(|| Cell::text("-"), |answered| Cell::count(answered as f64 / seconds)),
    ]);
    Ok(())
}

/// The one client.
struct Mover {
    chance: Chance,
    line: Line,
}

enum Line {
    /// To a server of this name.
    At(Probe, String),
    Redis(redis::Asker),
}

const NAME: &str = "mover.example";

/// It stays this near to the middle of the city.
const REACH_M: f64 = 20.0;

impl Mover {
    fn connect(place: &Place) -> Result<Self> {
        let line = match &place.expect {
            Expect::At(name) => Line::At(Probe::connect(place.address)?, name.clone()),
            Expect::Count => Line::Redis(redis::Asker::connect(place.address)?),
            Expect::Echo => bail!("nobody moves for an echo"),
        };
        Ok(Self { chance: Chance(1), line })
    }

    /// Moves once; returns how long the answer took.
    fn go(&mut self) -> Result<Duration> {
        let place = location(self.chance.near(middle()?, REACH_M)?);
        match &mut self.line {
            Line::At(probe, server) => {
                let tail = format!(" {NAME} {place} {}", time_text(unix_nanos()));
                let line = format!("IAMAT{tail}\n");
                let began = Instant::now();
                probe.send(line.as_bytes())?;
                let reply = probe.line()?;
                let took = began.elapsed();
                let right = reply.starts_with(format!("AT {server} ").as_bytes());
                ensure!(right && reply.ends_with(tail.as_bytes()), "a move was answered wrongly");
                Ok(took)
            }
            Line::Redis(redis) => {
                let lon_at = place.rfind(['+', '-']).context("a point has two signs")?;
                let (lat, lon) = place.split_at(lon_at);
                let lat = lat.trim_start_matches('+');
                let began = Instant::now();
                let reply = redis.ask(&["GEOADD", REDIS_KEY, lon, lat, NAME])?;
                let took = began.elapsed();
                ensure!(matches!(reply, Reply::Number(0 | 1)), "a move was answered {reply:?}");
                Ok(took)
            }
        }
    }
}

/// Questions asked one after another until that is stopped.
struct Questions {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Questions {
    fn start(address: SocketAddr, is_redis: bool, radius_km: f64, count: usize) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let thread = std::thread::spawn(move || {
            let mut asker = if is_redis { Asker::redis(address)? } else { Asker::server(address)? };
            let mut chance = Chance(2);
            let mut answered = 0;
            while !stop.load(Relaxed) {
                asker.ask(&Question::new(chance.in_city()?, radius_km, count))?;
                answered += 1;
            }
            Ok(answered)
        });
        Self { stopping, thread }
    }

    fn stop(self) -> Result<u64> {
        self.stopping.store(true, Relaxed);
        self.thread.join().ok().context("a thread that asks panicked")?
    }
}
