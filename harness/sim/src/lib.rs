//! Replicas on one seed, one virtual clock, a faulty network and faulty disks, against an oracle.
//!
//! A seed decides everything: how many servers and links, who writes what when, which links are slow, flapping,
//! cut, cut one way or doubled, who crashes, whose disk fails or is replaced by an older copy, who joins, is taken
//! out or leaves, whose clock is wrong, who lies. Messages travel as the bytes they are on the wire, in order, a
//! bounded number at a time, until a connection ends; then what was on it is lost, or all but a first part.
//!
//! The oracle is strict about what must hold at every moment (`oracle`) and, after everything was healed and
//! time has passed, about the end (`rest`): all servers show the same, and nothing is sent any more.
//!
//! Absent: the bytes of hellos, pings and back-off, which are a node's and not a replica's.

#![allow(
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    clippy::match_same_arms,
    reason = "plans are tables of small random numbers, and name only the kinds that differ"
)]

mod arrivals;
mod broadcast;
mod chance;
mod disk;
mod graph;
mod healthy;
mod idle;
mod jobs;
mod liar;
mod links;
mod members;
pub mod nodes;
mod oracle;
mod plan;
mod rank;
mod report;
mod rest;
mod servers;
mod shrink;
mod steps;
mod storage;
mod traffic;
mod tuning;
mod wire;
mod workload;
mod world;

pub use broadcast::{Bar, Figures, Mesh, Setting, broadcast, settings};
pub use idle::{Idle, idle};
pub use jobs::{Batch, Outcome};
pub use plan::{Absence, DiskPlan, Edge, Fsync, Kind, Lifetime, Plan, Step, Time, Trouble};
pub use report::Report;
pub use world::{Failure, current_seed, run, shrink};

#[cfg(test)]
mod tests {
    use super::*;
    use herd_replica::Mutant;

    #[test]
    fn the_first_seeds_agree() {
        for seed in 0..100 {
            if let Err(failure) = run(seed, None, false) {
                panic!("seed {seed}: {}", failure.what);
            }
        }
    }

    #[test]
    fn a_fault_is_found_and_its_history_shortened() {
        let mutant = Some(Mutant::CommitEarlyInTail);
        let seed = (0..100).find(|&seed| run(seed, mutant, false).is_err()).unwrap();
        let whole = Plan::of(&mut chance::Chance::new(seed));
        let (plan, failure) = shrink(seed, mutant).unwrap();
        assert!(plan.steps.len() < whole.steps.len());
        assert!(!failure.trace.is_empty());
    }

    #[test]
    fn what_comes_out_does_not_depend_on_the_threads() {
        let batch = |jobs, mutant, keep_going| {
            Batch {
                seeds: 0..40,
                mutant,
                kind: None,
                small_tables: false,
                jobs,
                keep_going,
                progress: false,
            }
            .run()
        };
        assert_eq!(batch(1, None, false).report.counts(), batch(3, None, false).report.counts());
        let mutant = Some(Mutant::CommitEarlyInTail);
        for keep_going in [false, true] {
            let seeds = |outcome: &Outcome| {
                outcome.failures.iter().map(|failure| failure.seed).collect::<Vec<_>>()
            };
            let (one, three) = (batch(1, mutant, keep_going), batch(3, mutant, keep_going));
            assert!(!one.failures.is_empty());
            assert_eq!(seeds(&one), seeds(&three));
        }
    }
}
