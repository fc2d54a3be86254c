//! Running a target: one input guarded, or many for a while.

use crate::Target;
use crate::corpus::{self, Seed};
use crate::mutate::Mutator;
use anyhow::{Context as _, Result};
use std::fmt::Write as _;
use std::panic::catch_unwind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One input that takes longer than this hangs. Every target is linear in its input, and the longest
/// input takes some milliseconds.
const HANG: Duration = Duration::from_secs(10);

/// How many inputs between two looks at the clock.
const INPUTS_PER_LOOK: u64 = 16;

/// Runs `target` on `data`; a panic becomes an error that tells the input and how to repeat it. The
/// input is saved then.
///
/// # Errors
///
/// When the target panicked, with the text to show.
pub fn guarded(target: &Target, data: &[u8]) -> Result<(), String> {
    catch_unwind(|| (target.run)(data)).map_err(|_| describe(target, data))
}

/// How a campaign went when nothing was found.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    /// Inputs that were run.
    pub executions: u64,
    /// Inputs in the corpus.
    pub corpus: usize,
    /// How long it took.
    pub took: Duration,
}

/// What a campaign is to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The same seed draws the same inputs.
    pub seed: u64,
    /// When to stop.
    pub span: Duration,
    /// Save each input before it runs: slow, but it survives a death without a panic, as when the
    /// stack overflows.
    pub careful: bool,
}

/// Runs the corpus of `target`, then mutations of it until the span of `plan` is over.
///
/// # Errors
///
/// When an input made the target panic, with the text to show; when the corpus cannot be read.
pub fn campaign(target: &Target, plan: Plan) -> Result<Tally> {
    let corpus = corpus::load(target)?;
    let watch = Watch::over(target);
    let start = Instant::now();
    let mut executions = 0;
    let mut run = |data: &[u8]| -> Result<()> {
        watch.begin(data);
        if plan.careful {
            save(target, "last", data)?;
        }
        executions += 1;
        guarded(target, data).map_err(anyhow::Error::msg)
    };
    for Seed { bytes, .. } in &corpus {
        run(bytes)?;
    }
    let mut mutator = Mutator::new(plan.seed, target.dictionary);
    while start.elapsed() < plan.span {
        for _ in 0..INPUTS_PER_LOOK {
            run(&mutator.mutate(&corpus))?;
        }
    }
    Ok(Tally { executions, corpus: corpus.len(), took: start.elapsed() })
}

/// A second thread that ends the process when one input runs for too long: a loop without end
/// neither panics nor comes back to be asked.
struct Watch {
    /// The input that runs, and when it began.
    current: Arc<Mutex<(Vec<u8>, Instant)>>,
    /// Dropped with this, which ends the thread.
    _over: mpsc::Sender<()>,
}

impl Watch {
    fn over(target: &Target) -> Self {
        let current = Arc::new(Mutex::new((Vec::new(), Instant::now())));
        let (over, is_over) = mpsc::channel();
        let target = *target;
        let seen = Arc::clone(&current);
        std::thread::spawn(move || {
            while is_over.recv_timeout(HANG / 10) == Err(RecvTimeoutError::Timeout) {
                let current = seen.lock().unwrap_or_else(PoisonError::into_inner);
                if current.1.elapsed() > HANG {
                    eprintln!("{} hangs\n{}", target.name, describe(&target, &current.0));
                    std::process::exit(1);
                }
            }
        });
        Self { current, _over: over }
    }

    fn begin(&self, data: &[u8]) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        data.clone_into(&mut current.0);
        current.1 = Instant::now();
    }
}

/// The input in hexadecimal, where it is saved, and the command that repeats it.
fn describe(target: &Target, data: &[u8]) -> String {
    let mut text = format!("input, {} bytes: ", data.len());
    for byte in data {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
    }
    let name = format!("crash-{:016x}", fnv1a(data));
    match save(target, &name, data) {
        Ok(path) => {
            text + &format!(
                "\nsaved: {path}\nagain: cargo xtask fuzz {} --repeat {path}",
                target.name
            )
        }
        Err(error) => text + &format!("\nnot saved: {error:#}"),
    }
}

/// Returns the path as seen from the root of the repository, where `cargo xtask` runs us.
fn save(target: &Target, name: &str, data: &[u8]) -> Result<String> {
    let folder = corpus::folder("artifacts").join(target.name);
    std::fs::create_dir_all(&folder).context("cannot make the folder for artifacts")?;
    let path = folder.join(name);
    std::fs::write(&path, data).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(format!("harness/fuzz/artifacts/{}/{name}", target.name))
}

/// Names an input by what is in it. Source: draft-eastlake-fnv, 64 bits.
fn fnv1a(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_told_with_its_input() {
        let target = Target {
            // Of this process: the suite may run twice at once.
            name: Box::leak(format!("made-up-{}", std::process::id()).into_boxed_str()),
            run: |data| assert!(data != b"bad", "as it should"),
            corpus_dir: "corpus/line",
            dictionary: &[],
        };
        assert_eq!(guarded(&target, b"good"), Ok(()));
        let told = guarded(&target, b"bad").unwrap_err();
        assert!(told.starts_with("input, 3 bytes: 626164\nsaved: "), "{told}");
        assert!(told.contains("again: cargo xtask fuzz made-up-"), "{told}");
        std::fs::remove_dir_all(corpus::folder("artifacts").join(target.name)).unwrap();
    }

    #[test]
    fn a_campaign_runs_at_least_the_corpus() {
        let target = crate::target("hello").expect("it has a row");
        let plan = Plan { seed: 1, span: Duration::ZERO, careful: false };
        let tally = campaign(target, plan).unwrap();
        assert_eq!(tally.executions, tally.corpus as u64);
    }
}
