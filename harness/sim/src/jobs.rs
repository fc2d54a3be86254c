//! Many seeds on several threads; what comes out does not depend on how many.

use crate::chance::Chance;
use crate::plan::{Kind, Plan};
use crate::report::Report;
use crate::tuning::has_small_tables;
use crate::world::{Failure, run};
use herd_replica::Mutant;
use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What many seeds came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Of those that ended well.
    pub report: Report,
    /// By seed. Without `keep_going` only the first.
    pub failures: Vec<Failure>,
}

/// How many seeds are run, and how.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Which.
    pub seeds: Range<u64>,
    /// A fault to be made on purpose.
    pub mutant: Option<Mutant>,
    /// Only histories of this kind; the other seeds are passed over.
    pub kind: Option<Kind>,
    /// Only histories with small tables; the other seeds are passed over.
    pub small_tables: bool,
    /// Threads.
    pub jobs: usize,
    /// Whether to go on after a failure.
    pub keep_going: bool,
    /// Whether to say on standard error how far it is.
    pub progress: bool,
}

/// Seeds that a thread takes at a time.
const CHUNK: u64 = 16;

/// Between two words on how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

impl Batch {
    /// Runs all of them, or up to the first that fails.
    pub fn run(&self) -> Outcome {
        let next = AtomicU64::new(self.seeds.start);
        // Nothing behind the first failure counts.
        let end = AtomicU64::new(self.seeds.end);
        let (sender, receiver) = mpsc::channel();
        let mut outcome = Outcome::default();
        thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                let (sender, next, end) = (sender.clone(), &next, &end);
                scope.spawn(move || {
                    while let Some(chunk) = self.chunk(next, end) {
                        let done = self.run_chunk(chunk, end);
                        if sender.send(done).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            self.gather(&receiver, &mut outcome);
        });
        outcome.failures.sort_by_key(|failure| failure.seed);
        if !self.keep_going {
            outcome.failures.truncate(1);
        }
        outcome
    }

    fn chunk(&self, next: &AtomicU64, end: &AtomicU64) -> Option<Range<u64>> {
        let first = next.fetch_add(CHUNK, Ordering::Relaxed);
        let end = end.load(Ordering::Relaxed).min(self.seeds.end);
        (first < end).then(|| first..(first + CHUNK).min(self.seeds.end))
    }

    fn run_chunk(&self, seeds: Range<u64>, end: &AtomicU64) -> (u64, Report, Vec<Failure>) {
        let (mut report, mut failures) = (Report::default(), Vec::new());
        let mut done = 0;
        for seed in seeds {
            if seed > end.load(Ordering::Relaxed) {
                break;
            }
            done += 1;
            if self.passes_over(seed) {
                continue;
            }
            match run(seed, self.mutant, false) {
                Ok(one) => report.add(&one),
                Err(failure) => {
                    failures.push(failure);
                    if !self.keep_going {
                        end.fetch_min(seed, Ordering::Relaxed);
                        break;
                    }
                }
            }
        }
        (done, report, failures)
    }

    fn passes_over(&self, seed: u64) -> bool {
        if self.kind.is_none() && !self.small_tables {
            return false;
        }
        let plan = Plan::of(&mut Chance::new(seed));
        self.kind.is_some_and(|kind| plan.kind != kind)
            || self.small_tables && !has_small_tables(&plan.tuning)
    }

    fn gather(&self, done: &mpsc::Receiver<(u64, Report, Vec<Failure>)>, outcome: &mut Outcome) {
        let begun = Instant::now();
        let (mut told, mut count) = (begun, 0);
        for (seeds, report, failures) in done {
            count += seeds;
            outcome.report.add(&report);
            if self.keep_going {
                for failure in &failures {
                    eprintln!("{}: {}", failure.seed, failure.what);
                }
            }
            outcome.failures.extend(failures);
            if self.progress && told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                self.tell(count, begun.elapsed());
            }
        }
    }

    fn tell(&self, count: u64, elapsed: Duration) {
        let all = self.seeds.end - self.seeds.start;
        let rate = count as f64 / elapsed.as_secs_f64().max(1e-9);
        let left = (all.saturating_sub(count)) as f64 / rate.max(1e-9);
        let line = format!("{count} of {all} seeds, {rate:.0} a second, {left:.0} s left");
        // Nobody may be listening any more.
        drop(writeln!(std::io::stderr(), "{line}"));
    }
}
