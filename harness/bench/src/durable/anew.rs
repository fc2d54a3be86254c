//! `anew`: very many clients that report again and again, so that files are written anew.
//!
//! What the directory takes at most, and how long one more client waits for its answers while a file is
//! written anew, beside how long it waits else, each with nobody else asking, and each with a bare echo
//! beside it.

use super::{Args, EVERY_50_MS, bytes_in, is_written_anew};
use crate::Options;
use crate::herd::{Herd, Plan};
use crate::load::{Expect, Load, Motion, Target};
use crate::machine::pass;
use crate::pulse::{Beat, Control, Pulse};
use crate::table::{Cell, Section, Sorted};
use anyhow::{Context as _, Result, ensure};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A file is begun anew within this, with a load that fills it.
const BEGUN_WITHIN: Duration = Duration::from_mins(5);

pub(super) fn measure(options: &Options, args: &Args) -> Result<Vec<Section>> {
    let clients = args.clients(options);
    let plan = Plan { names: &["Hill"], fsync: Some(EVERY_50_MS), ..Plan::default() };
    let herd = Herd::start(options, &plan)?;
    let dir = herd.data_dir("Hill");
    let size = size(options, args, &herd, clients, &dir)?;
    // As few as these fill no file.
    if options.quick {
        return Ok(vec![size]);
    }
    Ok(vec![size, pauses(options, &herd, clients, &dir)?])
}

fn size(
    options: &Options,
    args: &Args,
    herd: &Herd,
    clients: usize,
    dir: &Path,
) -> Result<Section> {
    let mut section = Section::new(
        &format!("The directory of one server while {clients} clients report again and again"),
        "Megabytes of all files together: the most that was seen (looked at every 5 ms), and at the end. Live \
         is what they took right after a file was written anew, the last time. At most 3 times live and 64 MB \
         are allowed.",
        &["updates", "live MB", "most MB", "at the end MB", "allowed MB", "updates /s"],
    );
    let times = options.size(args.times, 3);
    let watch = Watch::start(dir);
    let began = Instant::now();
    herd.first()?.fill_often("walker-", clients, times)?;
    let took = began.elapsed().as_secs_f64();
    let end = bytes_in(dir)?;
    let (most, live) = watch.stop()?;
    // Too few clients fill no file.
    let live = if live == 0 { end } else { live };
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let allowed = 3.0 * mb(live) + 64.0;
    section.row([
        Cell::count((clients * times) as f64),
        Cell::figure(mb(live), 1),
        Cell::figure(mb(most), 1),
        Cell::figure(mb(end), 1),
        Cell::figure(allowed, 1),
        Cell::count((clients * times) as f64 / took),
    ]);
    Ok(section)
}

fn pauses(options: &Options, herd: &Herd, clients: usize, dir: &Path) -> Result<Section> {
    let mut section = Section::new(
        &format!("What one client notices while a file of {clients} clients is written anew"),
        "It reports every millisecond; milliseconds until its answer, from when it was due. At most 3 times \
         what it waits else are allowed, and 10. Echo: the same against a bare echo in the same moments.",
        &["round", "seconds", "else p99", "anew p99", "anew max", "echo else p99", "echo anew p99"],
    );
    let hill = herd.first()?;
    let control = Control::start()?;
    for round in 0..options.rounds() {
        // Until the next file is begun.
        let target = Target {
            address: hill.address,
            expect: Expect::At(hill.name.clone()),
            connections: 4,
            depth: 200,
            clients: clients / 4,
            prefix: "walker-".to_owned(),
            motion: Motion::Still,
            rate: None,
            reports_max: u64::MAX,
        };
        let load = Load::start(&[target], options.threads);
        let began = Instant::now();
        while !is_written_anew(dir)? {
            ensure!(began.elapsed() < BEGUN_WITHIN, "no file is written anew");
            pass(Duration::from_millis(2));
        }
        let begun = Instant::now();
        let stopping = std::thread::spawn(move || load.stop());
        let (pulse, echo) = (Pulse::of(hill, Beat::Fresh)?, control.pulse()?);
        while is_written_anew(dir)? {
            pass(Duration::from_millis(2));
        }
        let took = begun.elapsed().as_secs_f64();
        let (anew, echo_anew) = (pulse.stop()?, echo.stop()?);
        stopping.join().ok().context("a thread panicked")??;
        pass(Duration::from_millis(200));
        let (pulse, echo) = (Pulse::of(hill, Beat::Fresh)?, control.pulse()?);
        pass(options.seconds());
        let (else_, echo_else) = (pulse.stop()?, echo.stop()?);
        let ms = |times: &Sorted, part| Cell::figure(times.at(part), 2);
        section.row([
            Cell::count((round + 1) as f64),
            Cell::figure(took, 2),
            ms(&else_, 0.99),
            ms(&anew, 0.99),
            ms(&anew, 1.0),
            ms(&echo_else, 0.99),
            ms(&echo_anew, 0.99),
        ]);
    }
    Ok(section)
}

/// Looks at a directory again and again.
struct Watch {
    stopping: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
    /// Right after a file was written anew.
    live: Arc<AtomicU64>,
    thread: JoinHandle<Result<()>>,
}

impl Watch {
    fn start(dir: &Path) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let (most, live) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (stop, seen, after) = (stopping.clone(), most.clone(), live.clone());
        let dir = dir.to_owned();
        let thread = std::thread::spawn(move || {
            let mut was_written = false;
            while !stop.load(Relaxed) {
                let (bytes, is_written) = (bytes_in(&dir)?, is_written_anew(&dir)?);
                seen.fetch_max(bytes, Relaxed);
                if was_written && !is_written {
                    after.store(bytes_in(&dir)?, Relaxed);
                }
                was_written = is_written;
                pass(Duration::from_millis(5));
            }
            Ok(())
        });
        Self { stopping, most, live, thread }
    }

    /// The most bytes that were seen, and how many there were right after a file was written anew.
    fn stop(self) -> Result<(u64, u64)> {
        self.stopping.store(true, Relaxed);
        self.thread.join().ok().context("a thread panicked")??;
        Ok((self.most.load(Relaxed), self.live.load(Relaxed)))
    }
}
