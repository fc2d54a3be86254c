//! From a history that fails to a short one that fails too.

use crate::history::{Failure, run_plan};
use crate::plan::{Plan, Step};
use herd_replica::Mutant;
use std::time::Duration;

/// Histories tried at most: some seconds.
const TRIES_MAX: usize = 3000;

/// Leaves out of `plan` what can be left out, as long as the same fault shows.
pub(crate) fn shrink(plan: Plan, failure: Failure, mutant: Option<Mutant>) -> (Plan, Failure) {
    let mut shrinker = Shrinker { plan, failure, mutant, tries: 0 };
    loop {
        let before = shrinker.size();
        shrinker.fewer_steps();
        shrinker.fewer_nodes();
        shrinker.fewer_edges();
        shrinker.simpler();
        if shrinker.size() == before || shrinker.tries > TRIES_MAX {
            return (shrinker.plan, shrinker.failure);
        }
    }
}

struct Shrinker {
    plan: Plan,
    failure: Failure,
    mutant: Option<Mutant>,
    tries: usize,
}

impl Shrinker {
    fn size(&self) -> usize {
        self.plan.steps.len() + self.plan.nodes + self.plan.edges.len()
    }

    fn accept(&mut self, plan: Plan) -> bool {
        self.tries += 1;
        if self.tries > TRIES_MAX {
            return false;
        }
        match run_plan(&plan, self.failure.seed, self.mutant, false) {
            Ok(_) => false,
            Err(failure) if kind(&failure) != kind(&self.failure) => false,
            Err(failure) => {
                (self.plan, self.failure) = (plan, failure);
                true
            }
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
                let pause: Duration = plan.steps.drain(at..end).map(|(pause, _)| pause).sum();
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

    fn fewer_nodes(&mut self) {
        while self.plan.nodes > 2 {
            let mut plan = self.plan.clone();
            plan.nodes -= 1;
            let nodes = plan.nodes;
            if plan.lost == Some(nodes) {
                return;
            }
            plan.guest = plan.guest.filter(|&guest| guest < nodes);
            plan.edges.retain(|&(a, b)| a < nodes && b < nodes);
            plan.steps.retain(|(_, step)| step.nodes_max().is_none_or(|node| node < nodes));
            if !plan.is_connected() || !self.accept(plan) {
                return;
            }
        }
    }

    fn fewer_edges(&mut self) {
        let mut at = 0;
        while at < self.plan.edges.len() {
            let mut plan = self.plan.clone();
            plan.edges.remove(at);
            if !plan.is_connected() || !self.accept(plan) {
                at += 1;
            }
        }
    }

    fn simpler(&mut self) {
        let changes: [fn(&mut Plan); 7] = [
            |plan| plan.delay = Duration::ZERO,
            |plan| plan.slow_links = 0,
            |plan| plan.window = 64,
            |plan| plan.redundancy = 1,
            |plan| plan.guest = None,
            |plan| plan.skews_s.fill(0),
            |plan| plan.disks.fill(None),
        ];
        for change in changes {
            let mut plan = self.plan.clone();
            change(&mut plan);
            self.accept(plan);
        }
        for node in 0..self.plan.disks.len() {
            let mut plan = self.plan.clone();
            plan.disks[node] = None;
            self.accept(plan);
        }
    }
}

/// What a failure says, without its numbers.
fn kind(failure: &Failure) -> String {
    failure.what.chars().filter(|c| c.is_alphabetic()).take(18).collect()
}

impl Step {
    /// The greatest node that it names.
    fn nodes_max(&self) -> Option<usize> {
        match *self {
            Self::Write { node, .. }
            | Self::Burst { node, .. }
            | Self::Forget { node, .. }
            | Self::Crash(node)
            | Self::Start(node)
            | Self::Restart(node)
            | Self::Jump(node, _)
            | Self::Isolate(node)
            | Self::TakeOut(node, _)
            | Self::PutBack(node)
            | Self::Stop(node)
            | Self::PowerCut(node)
            | Self::Disk(node, _)
            | Self::Anew(node)
            | Self::Leave(node) => Some(node),
            Self::Cut(a, b, _) | Self::Mend(a, b) | Self::Break(a, b) | Self::Double(a, b) => {
                Some(a.max(b))
            }
            Self::Split(_) | Self::MendAll | Self::KillAll { .. } | Self::StartAll => None,
        }
    }
}
