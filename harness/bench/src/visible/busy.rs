//! How long until a report is known elsewhere while half as many reports go through as can.
//!
//! First clients report to the first server without pause, and what the last server stores in a second, one by one,
//! is the highest rate: of what is more, reports are overtaken by newer ones on the way. Then they report at half of
//! it, and meanwhile another client's reports are asked for at the last server. The load and all servers share the
//! machine.

use super::{asked, line};
use crate::Options;
use crate::herd::Herd;
use crate::machine::pass;
use crate::probe::Probe;
use crate::riders::{Course, Riders, Riding};
use crate::table::{Cell, Section, Sorted, Spread};
use anyhow::{Context as _, Result, ensure};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Links between the first server and the last.
const DISTANCES: [usize; 2] = [1, 3];

/// Connections over which they report, and riders of each.
const CONNECTIONS: u64 = 2;
const RIDERS: u64 = 10_000;

/// The last server has the last report within this.
const THERE_WITHIN: Duration = Duration::from_mins(1);

pub(super) fn measure(options: &Options) -> Result<Section> {
    let mut section = Section::new(
        "The same at half of the highest rate of reports to the first server, milliseconds",
        "Asked; medians of the rounds. Highest: what the last server stored, reported without pause. During: \
         reports that went through meanwhile.",
        &["distance", "highest /s", "during /s", "median", "p99", "p99 min–max", "max"],
    );
    for links in DISTANCES {
        let mut rounds = Vec::new();
        for _ in 0..options.rounds() {
            rounds.push(round(options, links)?);
        }
        let over = |figure: fn(&Round) -> f64| Spread::of(rounds.iter().map(figure));
        let p99 = over(|round| round.times.at(0.99));
        section.row([
            Cell::text(format!("{links} link{}", if links == 1 { "" } else { "s" })),
            Cell::count(over(|round| round.highest).median),
            Cell::count(over(|round| round.during).median),
            Cell::figure(over(|round| round.times.at(0.5)).median, 3),
            Cell::figure(p99.median, 3),
            Cell::span(&p99, |p99| format!("{p99:.3}")),
            Cell::figure(over(|round| round.times.at(1.0)).median, 3),
        ]);
    }
    Ok(section)
}

/// What one round found: reports in a second, and milliseconds.
struct Round {
    highest: f64,
    during: f64,
    times: Sorted,
}

fn round(options: &Options, links: usize) -> Result<Round> {
    let herd = line(options, links)?;
    let highest = {
        let load = Reports::start(&herd, f64::INFINITY)?;
        pass(options.seconds());
        load.finish(&herd)?.stored
    };
    let load = Reports::start(&herd, highest / 2.0)?;
    pass(options.warm_up());
    let times = asked(&herd, options.size(400, 20))?;
    let during = load.finish(&herd)?.sent;
    Ok(Round { highest, during, times })
}

/// Riders that report to the first server at a rate.
struct Reports {
    riders: Riders,
    riding: Vec<Riding>,
    stopping: Arc<AtomicBool>,
    began: Instant,
    /// What the last server had stored of others before.
    taken: u64,
}

/// Reports in a second.
struct Rates {
    /// To the first server.
    sent: f64,
    /// By the last.
    stored: f64,
}

impl Reports {
    fn start(herd: &Herd, rate: f64) -> Result<Self> {
        let taken = herd.servers.last().context("a line has an end")?.taken_from_others()?;
        let (riders, began) = (Riders::new(), Instant::now());
        let stopping = Arc::new(AtomicBool::new(false));
        let ride = |connection| {
            let course = Course { first: connection * RIDERS, riders: RIDERS };
            let stop = stopping.clone();
            let more = move |asked| due(asked, began, rate / CONNECTIONS as f64, &stop);
            riders.ride(herd.first()?, course, more, |_| ())
        };
        let riding = (0..CONNECTIONS).map(ride).collect::<Result<_>>()?;
        Ok(Self { riders, riding, stopping, began, taken })
    }

    /// Ends it and waits until the last server has the last of each connection.
    fn finish(self, herd: &Herd) -> Result<Rates> {
        self.stopping.store(true, Relaxed);
        let deadline = Instant::now() + THERE_WITHIN;
        let last = herd.servers.last().context("a line has an end")?;
        let mut probe = Probe::connect(last.address)?;
        let mut sum = 0;
        for riding in self.riding {
            let (ride, count) = riding.finish()?;
            sum += count;
            let text = self.riders.text(ride);
            let name = text.split(' ').next().unwrap_or_default();
            while !probe.locate(name)?.ends_with(format!(" {text}").as_bytes()) {
                ensure!(Instant::now() < deadline, "{} never heard of {text}", last.name);
                pass(Duration::from_micros(200));
            }
        }
        let seconds = self.began.elapsed().as_secs_f64();
        let stored = last.taken_from_others()? - self.taken;
        Ok(Rates { sent: sum as f64 / seconds, stored: stored as f64 / seconds })
    }
}

/// How many reports may have been asked for by now, more than `asked`; waits until there are any, and says
/// the same when it is time to stop.
fn due(asked: u64, began: Instant, rate: f64, stopping: &AtomicBool) -> u64 {
    /// Reports that are due within one of these go out together; short against any latency of interest.
    const TICK: Duration = Duration::from_millis(1);
    while !stopping.load(Relaxed) {
        // Without a rate that is as many as can be counted.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let due = (began.elapsed().as_secs_f64() * rate) as u64;
        if due > asked {
            return due;
        }
        pass(TICK);
    }
    asked
}
