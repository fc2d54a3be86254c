//! From a history that fails to a short one that fails too.

use crate::plan::{Edge, Plan, Step};
use crate::world::{Failure, run_plan};
use herd_replica::{Mutant, Tuning};
use std::time::Duration;

/// Histories tried at most: some seconds.
const TRIES_MAX: usize = 3000;

/// Leaves out of `plan` what can be left out, as long as the same fault shows.
pub(crate) fn shrink(plan: Plan, failure: Failure, mutant: Option<Mutant>) -> (Plan, Failure) {
    let mut shrinker = Shrinker { plan, failure, mutant, tries: 0 };
    loop {
        let before = shrinker.size();
        shrinker.fewer_steps();
        shrinker.fewer_servers();
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
        self.plan.steps.len() + self.plan.servers + self.plan.edges.len()
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

    fn fewer_servers(&mut self) {
        while self.plan.servers > 2 {
            let mut plan = self.plan.clone();
            plan.servers -= 1;
            let servers = plan.servers;
            if plan.absent.is_some_and(|(absent, _)| absent == servers) {
                return;
            }
            plan.guest = plan.guest.filter(|&guest| guest < servers);
            plan.edges.retain(|&Edge { ends: (a, b), .. }| a < servers && b < servers);
            plan.steps.retain(|(_, step)| step.servers_max().is_none_or(|last| last < servers));
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
        let changes: [fn(&mut Plan); 10] = [
            |plan| plan.delay = Duration::ZERO,
            |plan| plan.edges.iter_mut().for_each(|edge| (edge.rate, edge.lives) = (None, None)),
            |plan| plan.window = 64,
            |plan| plan.parcel = 256,
            |plan| plan.redundancy = 1,
            |plan| plan.guest = None,
            |plan| plan.absent = None,
            |plan| plan.skews_s.fill(0),
            |plan| plan.disks.fill(None),
            |plan| plan.tuning = Tuning::default(),
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
    /// The greatest server that it names.
    fn servers_max(&self) -> Option<usize> {
        match *self {
            Self::Write { server, .. }
            | Self::Burst { server, .. }
            | Self::Forget { server, .. }
            | Self::Storm { server, .. }
            | Self::Twin { of: server, .. }
            | Self::Crash(server)
            | Self::Start(server)
            | Self::Restart(server)
            | Self::Stop(server)
            | Self::PowerCut(server)
            | Self::OtherLifetime(server)
            | Self::Isolate(server)
            | Self::Jump(server, _)
            | Self::TakeOut(server, _)
            | Self::PutBack(server)
            | Self::Leave(server)
            | Self::Disk(server, _) => Some(server),
            Self::Cut((a, b), _)
            | Self::Heal((a, b))
            | Self::Break((a, b))
            | Self::Double((a, b)) => Some(a.max(b)),
            Self::Split(_)
            | Self::HealAll
            | Self::KillAll { .. }
            | Self::StartAll
            | Self::EndTwin => None,
        }
    }
}
