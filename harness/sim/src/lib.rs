//! Replicas on one seed, one made-up clock and a faulty network, against an oracle.
//!
//! A seed decides everything: how many nodes and links, who writes what when, which links are slow,
//! cut, or cut one way, who crashes. Messages travel as the bytes they are on the wire, in order, a
//! bounded number at a time, until a connection ends; then what was on it is lost.
//!
//! The oracle is strict about what must hold at every moment (a node never goes back, neither in what
//! it shows of a key nor in how far it claims to hold a stream) and, after everything was healed and
//! time has passed, about the end: all nodes show the same.

mod chance;
mod net;
mod oracle;
mod plan;
mod run;
mod shrink;

pub use plan::{Plan, Step, Time};
pub use run::{Failure, Report, run, shrink};

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
        let mutant = Some(Mutant::CommitEarlyInLog);
        let seed = (0..100).find(|&seed| run(seed, mutant, false).is_err()).unwrap();
        let whole = Plan::of(&mut chance::Chance::new(seed));
        let (plan, failure) = shrink(seed, mutant).unwrap();
        assert!(plan.steps.len() < whole.steps.len());
        assert!(!failure.trace.is_empty());
    }
}
