//! Whole servers on one seed: `herd_node::Node`, driven with bytes, time and chance as the shell drives it.
//!
//! Where the simulator beside this one passes messages between replicas, here hellos, frames and lines
//! travel as bytes over pipes that delay, cut them to pieces, fill up, fall silent and end anywhere. What
//! is under test: who dials and who stays, refusals, liveness, back-off, frames and lines, foreign servers
//! that know nothing but AT lines, and that all of it together still makes servers agree.
//!
//! Left out: tokio and sockets (`shell/server` has tests of its own), what clients' protocols look like
//! beyond the lines that decide what a connection is, forgetting, and changes of who is a neighbor at run
//! time (`Node::set_neighbors`, `handle_leave`): the peers of a server stand in [`Plan`] and in `config.rs`,
//! which is where such a step would change them.

mod config;
mod drive;
mod foreign;
mod future;
mod history;
mod oracle;
mod plan;
mod rest;
mod seen;
mod shrink;
mod stranger;
mod wire;
mod world;

pub use plan::{Plan, Step};
pub use seen::{Seen, Tally};
pub use shrink::shrink;

use crate::chance::Chance;
use herd_node::Mutant;

/// A fault to be made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One of a node.
    Node(Mutant),
    /// One of the agreement inside a node.
    Replica(herd_replica::Mutant),
}

/// A history that showed a fault.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Repeats it.
    pub seed: u64,
    /// What was wrong.
    pub what: String,
    /// What had happened, if it was asked for.
    pub trace: Vec<String>,
}

/// Runs the history of `seed`.
///
/// # Errors
///
/// [`Failure`] if something did not hold.
pub fn run(seed: u64, fault: Option<Fault>, trace: bool) -> Result<Tally, Failure> {
    run_plan(&Plan::of(&mut Chance::new(seed)), seed, fault, trace)
}

/// Runs a history; `seed` decides what the plan does not.
pub(crate) fn run_plan(
    plan: &Plan,
    seed: u64,
    fault: Option<Fault>,
    trace: bool,
) -> Result<Tally, Failure> {
    let mut world = world::World::new(plan.clone(), Chance::new(!seed), fault, trace);
    match world.history() {
        Ok(()) => Ok(world.tally),
        Err(what) => Err(Failure { seed, what, trace: world.trace.unwrap_or_default() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_seeds_hold() {
        for seed in 0..25 {
            if let Err(failure) = run(seed, None, false) {
                panic!("seed {seed}: {}", failure.what);
            }
        }
    }

    #[test]
    fn a_seed_repeats_its_history() {
        let events = |seed| run(seed, None, false).map(|tally| tally.counts()).ok();
        assert_eq!(events(7), events(7));
    }

    #[test]
    fn a_fault_is_found_and_its_history_shortened() {
        let fault = Some(Fault::Node(Mutant::PartialDropped));
        let seed = (0..200).find(|&seed| run(seed, fault, false).is_err()).unwrap();
        let whole = Plan::of(&mut Chance::new(seed));
        let (plan, failure) = shrink(seed, fault).unwrap();
        assert!(plan.steps.len() < whole.steps.len());
        assert!(!failure.trace.is_empty());
    }
}
