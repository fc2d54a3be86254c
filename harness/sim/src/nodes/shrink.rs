//! From a history that fails to a short one that fails too.

use crate::chance::Chance;
use crate::nodes::plan::{Pieces, Plan};
use crate::nodes::{Failure, Fault, run, run_plan};

/// Histories tried at most: some seconds.
const TRIES_MAX: usize = 1500;

/// Shortens the history of `seed`, which fails, and returns it with what fails in it, traced.
///
/// None if it does not fail.
pub fn shrink(seed: u64, fault: Option<Fault>) -> Option<(Plan, Failure)> {
    let failure = run(seed, fault, false).err()?;
    let plan = Plan::of(&mut Chance::new(seed));
    let mut shrinker = Shrinker { plan, failure, fault, tries: 0 };
    shrinker.simpler();
    loop {
        let before = shrinker.plan.steps.len();
        shrinker.fewer_steps();
        if shrinker.plan.steps.len() == before || shrinker.tries > TRIES_MAX {
            break;
        }
    }
    shrinker.simpler();
    let Shrinker { plan, failure, .. } = shrinker;
    let traced = run_plan(&plan, seed, fault, true).err();
    Some((plan, traced.unwrap_or(failure)))
}

struct Shrinker {
    plan: Plan,
    failure: Failure,
    fault: Option<Fault>,
    tries: usize,
}

impl Shrinker {
    fn accept(&mut self, plan: Plan) -> bool {
        self.tries += 1;
        if self.tries > TRIES_MAX {
            return false;
        }
        match run_plan(&plan, self.failure.seed, self.fault, false) {
            Err(failure) if kind(&failure) == kind(&self.failure) => {
                (self.plan, self.failure) = (plan, failure);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    fn fewer_steps(&mut self) {
        let mut size = self.plan.steps.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < self.plan.steps.len() {
                let mut plan = self.plan.clone();
                let end = (at + size).min(plan.steps.len());
                // The time they took passes all the same.
                let pause: u64 = plan.steps.drain(at..end).map(|(pause, _)| pause).sum();
                if let Some((next, _)) = plan.steps.get_mut(at) {
                    *next += pause;
                }
                if !self.accept(plan) {
                    at += size;
                }
            }
            size /= 2;
        }
    }

    fn simpler(&mut self) {
        let changes: [fn(&mut Plan); 7] = [
            |plan| plan.delay_ns = 0,
            |plan| plan.byte_ns = 0,
            |plan| plan.late_ns = 0,
            |plan| plan.pieces = Pieces::Whole,
            |plan| (plan.room, plan.send_bytes) = (64 * 1024, 64 * 1024),
            |plan| plan.lost = None,
            |plan| plan.skews_s.fill(0),
        ];
        for change in changes {
            let mut plan = self.plan.clone();
            change(&mut plan);
            self.accept(plan);
        }
    }
}

/// What a failure says, without its names and numbers.
fn kind(failure: &Failure) -> String {
    let small = |c: &char| c.is_ascii_lowercase() || *c == ' ';
    failure.what.chars().filter(small).take(24).collect()
}
