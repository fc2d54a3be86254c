//! `scale`: very many clients of one server, loaded over the wire, and how it answers then.
//!
//! One server is filled in stages, and at each of them the same is measured: bytes for each client, a report
//! and a look-up at depth 1 of clients taken at random, so that nothing of them is in a cache, and who is
//! near. Beside the answers stands a bare echo, which shows what the machine did meanwhile.
//!
//! Absent: many servers, and clients that move while others are loaded; `flood` and `replication` have them.

use crate::Options;
use crate::herd::{Herd, Server};
use crate::probe::{Http, Probe};
use crate::pulse::Control;
use crate::riders::{Course, Ride, Riders, TEXT_BYTES, mix};
use crate::table::{Cell, Section, Sorted, grouped};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How far to go.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Ten million clients; the server takes some gigabytes
    #[arg(long)]
    large: bool,
}

impl Args {
    /// How many clients are known when something is measured.
    fn stages(&self, options: &Options) -> &'static [u64] {
        match (options.quick, self.large) {
            (true, _) => &[200, 2000],
            (false, false) => &[10_000, 1_000_000],
            (false, true) => &[10_000, 1_000_000, 10_000_000],
        }
    }
}

/// Connections over which a server is filled: more than it can read from at once.
const CONNECTIONS: u64 = 4;

/// Between two questions, so that each finds the server at rest.
const REST: Duration = Duration::from_millis(1);

/// Kilometers.
const RADII: [u32; 3] = [1, 5, 50];

pub(crate) fn measure(options: &Options, args: &Args) -> Result<Vec<Section>> {
    let mut loaded = Section::new(
        "Clients loaded into one server over the wire",
        &format!(
            "From the first byte until the last reply, {CONNECTIONS} connections, without what was measured \
             between. Bytes: resident, more than before the first client. Text: name, location and time; \
             beside: the bytes without it."
        ),
        &["clients", "seconds", "clients/s", "server CPU µs", "bytes/client", "text", "beside"],
    );
    let mut answers = Section::new(
        "Answers at depth 1 and a low rate, microseconds, clients taken at random",
        "Report: an IAMAT that moves its client by meters. Look-up: the AT line of a WHATSAT without places. \
         Echo: a bare echo, asked in turn with them.",
        &[
            "clients",
            "report p50",
            "report p99",
            "look-up p50",
            "look-up p99",
            "echo p50",
            "echo p99",
        ],
    );
    let mut nearby = Section::new(
        "The 20 nearest in a city, microseconds inside the server",
        "As the answer to GET /nearby tells it: searched and copied, not read and printed. Around clients taken \
         at random.",
        &["clients", "radius km", "p50", "p99", "max", "found"],
    );
    let control = Control::start()?;
    let herd = Herd::of_one(options, false)?;
    let server = herd.first()?;
    let before = server.process.resident_bytes()?;
    let riders = Riders::new();
    let (mut known, mut seconds, mut cpu) = (0, 0.0, 0.0);
    for (stage, &clients) in (0..).zip(args.stages(options)) {
        let used = server.process.cpu()?;
        seconds += fill(server, riders, known, clients)?;
        cpu += server.process.cpu()? - used;
        known = clients;
        let told = server.clients()?;
        ensure!(told == clients, "the server knows {told} clients, not {clients}");
        let resident = server.process.resident_bytes()?.saturating_sub(before);
        let each = resident as f64 / clients as f64;
        loaded.row([
            Cell::count(clients as f64),
            Cell::figure(seconds, 2),
            Cell::count(clients as f64 / seconds),
            Cell::figure(cpu * 1e6 / clients as f64, 2),
            Cell::figure(each, 1),
            Cell::count(TEXT_BYTES as f64),
            Cell::figure(each - TEXT_BYTES as f64, 1),
        ]);
        let Answers { report, look_up, echo } =
            answered(options, server, &control, riders, known, stage)?;
        answers.row([
            Cell::count(clients as f64),
            Cell::figure(report.at(0.5), 1),
            Cell::figure(report.at(0.99), 1),
            Cell::figure(look_up.at(0.5), 1),
            Cell::figure(look_up.at(0.99), 1),
            Cell::figure(echo.at(0.5), 1),
            Cell::figure(echo.at(0.99), 1),
        ]);
        for radius in RADII {
            let (times, found) = near(options, server, riders, known, radius)?;
            nearby.row([
                Cell::count(clients as f64),
                Cell::count(f64::from(radius)),
                Cell::figure(times.at(0.5), 1),
                Cell::figure(times.at(0.99), 1),
                Cell::figure(times.at(1.0), 1),
                Cell::count(found.at(0.5)),
            ]);
        }
    }
    Ok(vec![loaded, answers, nearby])
}

/// Has all riders from one number to another report once; returns the seconds until all were answered.
fn fill(server: &Server, riders: Riders, from: u64, to: u64) -> Result<f64> {
    /// How often progress is told.
    const PARTS: u64 = 10;
    let all = to - from;
    let done = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let ride = |connection: u64| {
        let first = from + all * connection / CONNECTIONS;
        let count = from + all * (connection + 1) / CONNECTIONS - first;
        let done = done.clone();
        let tell = move |answered: u64| {
            let before = done.fetch_add(answered, Relaxed);
            let now = before + answered;
            if before * PARTS / all != now * PARTS / all {
                let s = began.elapsed().as_secs_f64();
                let known = grouped((from + now) as f64);
                eprintln!("{known} clients loaded, {s:.1} s since {}", grouped(from as f64));
            }
        };
        let more = move |_asked| count;
        riders.ride(server, Course { first, riders: count }, more, tell)
    };
    let rides = (0..CONNECTIONS).map(ride).collect::<Result<Vec<_>>>()?;
    rides.into_iter().try_for_each(|riding| riding.finish().map(|_| ()))?;
    Ok(began.elapsed().as_secs_f64())
}

/// Microseconds that answers took.
struct Answers {
    report: Sorted,
    look_up: Sorted,
    echo: Sorted,
}

fn answered(
    options: &Options,
    server: &Server,
    control: &Control,
    riders: Riders,
    known: u64,
    stage: u64,
) -> Result<Answers> {
    let count = options.size(5000, 50);
    let mut client = Probe::connect(server.address)?;
    let mut echo = Probe::connect(control.address())?;
    let (mut report, mut look_up, mut echoed) = (Vec::new(), Vec::new(), Vec::new());
    // Goes on from one stage to the next, since a rider may be met in both.
    for number in stage * count..(stage + 1) * count {
        crate::machine::pass(REST);
        // Of two neighbors one moves and the other is looked up, so that what is looked up is known.
        let rider = (mix(number) % known) | 1;
        let lap = number + 1;
        let line = riders.line(Ride { rider, lap });
        let began = Instant::now();
        client.send(&line)?;
        let said = client.line()?;
        report.push(micros(began));
        let right = is_at(said, server, &riders.text(Ride { rider, lap }));
        ensure!(right, "a report was answered {:?}", String::from_utf8_lossy(said));

        let rider = unmoved(number, known);
        let text = riders.text(Ride { rider, lap: 0 });
        let name = text.split(' ').next().unwrap_or_default();
        let began = Instant::now();
        let said = client.locate(name)?;
        look_up.push(micros(began));
        let right = is_at(&said, server, &text);
        ensure!(right, "{text} is told as {:?}", String::from_utf8_lossy(&said));

        let began = Instant::now();
        echo.send(&line)?;
        let same = echo.line()? == line.trim_ascii_end();
        echoed.push(micros(began));
        ensure!(same, "the echo changed a line");
    }
    Ok(Answers {
        report: Sorted::new(report),
        look_up: Sorted::new(look_up),
        echo: Sorted::new(echoed),
    })
}

/// Whether that is the server's AT line with this text.
fn is_at(line: &[u8], server: &Server, text: &str) -> bool {
    line.starts_with(format!("AT {} ", server.name).as_bytes())
        && line.ends_with(format!(" {text}").as_bytes())
}

/// A rider taken at random that has reported once: those with even numbers.
fn unmoved(number: u64, known: u64) -> u64 {
    (mix(!number) % known) & !1
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

/// Asks who is near; microseconds inside the server, and how many it found.
fn near(
    options: &Options,
    server: &Server,
    riders: Riders,
    known: u64,
    radius: u32,
) -> Result<(Sorted, Sorted)> {
    let count = options.size(500, 10);
    let (mut times, mut found) = (Vec::new(), Vec::new());
    // With each radius around others, or what the first questions touched would be in a cache.
    let first = u64::from(radius) << 32;
    for number in first..first + count {
        let text = riders.text(Ride { rider: unmoved(number, known), lap: 0 });
        let (name, rest) = text.split_once(' ').context("a report has fields")?;
        let location = rest.split(' ').next().unwrap_or_default();
        let path = format!("/nearby?at={location}&radius={radius}&count=20");
        let answer = Http::connect(server.http())?.get(&path)?;
        times.push(answer.inside_us()?.context("no server-timing in an answer")?);
        found.push(check_near(&answer.body, name, f64::from(radius) * 1e3)?);
    }
    Ok((Sorted::new(times), Sorted::new(found)))
}

/// The nearest first, none too far, and among them who is at the middle; how many.
fn check_near(body: &[u8], middle: &str, radius_m: f64) -> Result<f64> {
    /// Answers are told to the millimeter, and locations to a tenth of a meter.
    const HERE_M: f64 = 0.01;
    let answer: Value = serde_json::from_slice(body)?;
    let found = answer["nearby"].as_array().context("nobody is near")?;
    let far = |one: &Value| one["distance_m"].as_f64().unwrap_or(f64::NAN);
    let here = found.iter().any(|one| one["client"] == middle && far(one) < HERE_M);
    let sorted = found.is_sorted_by(|one, next| far(one) <= far(next));
    let within = found.last().is_some_and(|last| far(last) <= radius_m);
    ensure!(here && sorted && within, "a wrong answer around {middle}: {answer}");
    Ok(found.len() as f64)
}
