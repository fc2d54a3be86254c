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
        let mut server = self.plan.servers;
        while server > 0 && self.plan.servers > 2 {
            server -= 1;
            let plan = self.plan.without(server);
            if plan.is_connected() {
                self.accept(plan);
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

impl Plan {
    /// The plan without one server and all that happens to it.
    fn without(&self, server: usize) -> Self {
        let renumber =
            |other: usize| (other != server).then(|| other - usize::from(other > server));
        let mut plan = self.clone();
        plan.servers -= 1;
        let edge = |edge: Edge| {
            let ends = (renumber(edge.ends.0)?, renumber(edge.ends.1)?);
            Some(Edge { ends, ..edge })
        };
        plan.edges = plan.edges.into_iter().filter_map(edge).collect();
        plan.absent = plan.absent.and_then(|(absent, what)| Some((renumber(absent)?, what)));
        plan.guest = plan.guest.and_then(renumber);
        plan.skews_s.remove(server);
        plan.disks.remove(server);
        for (_, step) in &mut plan.steps {
            // A step that is left out takes its time all the same.
            *step = step.renumbered(renumber).unwrap_or(Step::EndTwin);
        }
        plan
    }
}

impl Step {
    /// The same step where servers have other numbers; none if one of its servers has none.
    fn renumbered(self, number: impl Fn(usize) -> Option<usize>) -> Option<Self> {
        let both = |(a, b): (usize, usize)| Some((number(a)?, number(b)?));
        Some(match self {
            Self::Write { server, key, time, value, relayed } => {
                Self::Write { server: number(server)?, key, time, value, relayed }
            }
            Self::Burst { server, keys } => Self::Burst { server: number(server)?, keys },
            Self::Forget { server, key } => Self::Forget { server: number(server)?, key },
            Self::Storm { server, times, every_ms } => {
                Self::Storm { server: number(server)?, times, every_ms }
            }
            Self::Twin { of, same_incarnation } => Self::Twin { of: number(of)?, same_incarnation },
            Self::Crash(server) => Self::Crash(number(server)?),
            Self::Start(server) => Self::Start(number(server)?),
            Self::Restart(server) => Self::Restart(number(server)?),
            Self::Stop(server) => Self::Stop(number(server)?),
            Self::PowerCut(server) => Self::PowerCut(number(server)?),
            Self::OtherLifetime(server) => Self::OtherLifetime(number(server)?),
            Self::Isolate(server) => Self::Isolate(number(server)?),
            Self::Jump(server, seconds) => Self::Jump(number(server)?, seconds),
            Self::TakeOut(server, tellers) => Self::TakeOut(number(server)?, tellers),
            Self::PutBack(server) => Self::PutBack(number(server)?),
            Self::Leave(server) => Self::Leave(number(server)?),
            Self::Disk(server, trouble) => Self::Disk(number(server)?, trouble),
            Self::Cut(ends, ways) => Self::Cut(both(ends)?, ways),
            Self::Heal(ends) => Self::Heal(both(ends)?),
            Self::Break(ends) => Self::Break(both(ends)?),
            Self::Double(ends) => Self::Double(both(ends)?),
            Self::Split(_)
            | Self::HealAll
            | Self::KillAll { .. }
            | Self::StartAll
            | Self::EndTwin => self,
        })
    }
}
