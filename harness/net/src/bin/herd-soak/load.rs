//! Clients everywhere: a writer at each server, that reports for any client, most of the time truly.

use crate::ask::Asker;
use crate::chance::Chance;
use crate::model::{Model, client_name};
use anyhow::{Context as _, Result, ensure};
use herd_e2e::At;
use herd_net::{FIVE, Herd};
use std::fmt;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{JoinHandle, park_timeout};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Writers that run until they are stopped.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    sent: AtomicU64,
    answered: AtomicU64,
    /// Writers that have stopped for a rest.
    resting: AtomicU64,
    rest: AtomicBool,
    stop: AtomicBool,
    lost: AtomicU64,
    waits: AtomicU64,
    longest_ms: AtomicU64,
}

/// How much was said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
}

/// How answers failed to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    connections_lost: u64,
    long: u64,
    longest_ms: u64,
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections_lost, long, longest_ms } = self;
        write!(
            f,
            "{connections_lost} connections lost, {long} gaps of more than a second, the longest {:.1} s",
            *longest_ms as f64 / 1e3
        )
    }
}

/// Reports that are sent at once.
const BATCH_EVERY: Duration = Duration::from_millis(20);

/// A server that is frozen may answer yet; one that takes longer is dialed again.
const PATIENCE: Duration = Duration::from_secs(3);

impl Load {
    pub(crate) fn start(herd: &Herd, model: &Arc<Model>, rate: u32, seed: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let each = rate / u32::try_from(FIVE.len()).unwrap_or(1);
        let batch = (each / 50).max(1);
        let writers = FIVE.iter().enumerate().map(|(number, name)| {
            let (shared, model, address) = (shared.clone(), model.clone(), herd.address(name));
            let chance = Chance::new(seed ^ (number as u64 + 1) << 32);
            std::thread::spawn(move || {
                let writer = Writer { number, address, batch, model, chance };
                writer.run(&shared);
            })
        });
        Self { writers: writers.collect(), shared }
    }

    pub(crate) fn so_far(&self) -> (Said, Waits) {
        let read = |count: &AtomicU64| count.load(Relaxed);
        let shared = &self.shared;
        let said = Said { sent: read(&shared.sent), answered: read(&shared.answered) };
        let waits = Waits {
            connections_lost: read(&shared.lost),
            long: read(&shared.waits),
            longest_ms: read(&shared.longest_ms),
        };
        (said, waits)
    }

    /// Tells all writers to rest and waits until they do; all servers must be alive.
    pub(crate) fn rest(&self) -> Result<()> {
        const WITHIN: Duration = Duration::from_secs(30);
        self.shared.rest.store(true, Relaxed);
        let deadline = Instant::now() + WITHIN;
        while self.shared.resting.load(Relaxed) < self.writers.len() as u64 {
            ensure!(Instant::now() < deadline, "the writers do not come to rest");
            park_timeout(BATCH_EVERY);
        }
        Ok(())
    }

    pub(crate) fn go_on(&self) {
        self.shared.rest.store(false, Relaxed);
    }

    pub(crate) fn stop(self) -> Result<(Said, Waits)> {
        self.shared.stop.store(true, Relaxed);
        let so_far = self.so_far();
        for writer in self.writers {
            writer.join().ok().context("a writer panicked")?;
        }
        Ok(so_far)
    }
}

struct Writer {
    number: usize,
    address: SocketAddr,
    batch: u32,
    model: Arc<Model>,
    chance: Chance,
}

impl Writer {
    fn run(mut self, shared: &Shared) {
        let mut answered_at = Instant::now();
        while !shared.stop.load(Relaxed) {
            if shared.rest.load(Relaxed) {
                shared.resting.fetch_add(1, Relaxed);
                while shared.rest.load(Relaxed) && !shared.stop.load(Relaxed) {
                    park_timeout(BATCH_EVERY);
                }
                shared.resting.fetch_sub(1, Relaxed);
                answered_at = Instant::now();
                continue;
            }
            // Told before it is opened: a server that dies meanwhile has another life.
            let life = self.model.life(self.number);
            let Ok(mut asker) = Asker::connect(self.address, PATIENCE) else {
                park_timeout(BATCH_EVERY);
                continue;
            };
            while !shared.stop.load(Relaxed) && !shared.rest.load(Relaxed) {
                if self.batch(&mut asker, life, shared, &mut answered_at).is_err() {
                    shared.lost.fetch_add(1, Relaxed);
                    break;
                }
                park_timeout(BATCH_EVERY);
            }
        }
    }

    fn batch(
        &mut self,
        asker: &mut Asker,
        life: u64,
        shared: &Shared,
        answered_at: &mut Instant,
    ) -> Result<()> {
        const LONG: Duration = Duration::from_secs(1);
        let mut text = String::new();
        for _ in 0..self.batch {
            self.report(&mut text)?;
        }
        shared.sent.fetch_add(u64::from(self.batch), Relaxed);
        asker.send(&text)?;
        for _ in 0..self.batch {
            let line = asker.line()?;
            ensure!(line.starts_with("AT "), "a report was answered {line:?}");
            self.model.acknowledged(self.number, life, &At::parse(&line));
            shared.answered.fetch_add(1, Relaxed);
            let gap = answered_at.elapsed();
            *answered_at = Instant::now();
            if gap > LONG {
                shared.waits.fetch_add(1, Relaxed);
                let ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
                shared.longest_ms.fetch_max(ms, Relaxed);
            }
        }
        Ok(())
    }

    /// One report: of a few clients often, of the others now and then; most at this moment, some at a
    /// moment that others name too, some late, and some from a clock that is wrong.
    fn report(&mut self, text: &mut String) -> Result<()> {
        const SECOND_NS: i128 = 1_000_000_000;
        const OFTEN: u64 = 100;
        let clients = u64::from(self.model.clients());
        let often = self.chance.below(5) == 0;
        let client = self.chance.below(if often { OFTEN.min(clients) } else { clients });
        let client = u32::try_from(client)?;
        let now = i128::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?;
        let time_ns = match self.chance.below(100) {
            0..5 => now / (10 * SECOND_NS) * 10 * SECOND_NS,
            5..10 => now - i128::from(self.chance.between(1, 600)) * SECOND_NS,
            10..12 => now + i128::from(self.chance.between(1, 300)) * SECOND_NS,
            _ => now,
        };
        let location = self.model.say(self.number, client, time_ns);
        let (seconds, nanos) = (time_ns / SECOND_NS, time_ns % SECOND_NS);
        writeln!(text, "IAMAT {} {location} {seconds}.{nanos:09}", client_name(client))?;
        Ok(())
    }
}
