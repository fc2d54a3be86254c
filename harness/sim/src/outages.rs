//! What disks a seed gives to nodes, and what happens to those. Drawn after all else, so that the rest of a
//! history is what it would be without them.

use crate::chance::Chance;
use crate::disk::Trouble;
use crate::plan::{DiskPlan, Fsync, Kind, Plan, Step, Time, nanos};
use herd_store::Failure;
use std::time::Duration;

/// In so many of a thousand histories some nodes have disks.
const WITH_DISKS: u64 = 400;

/// Failures come within so many changes of a disk.
const FAILS_WITHIN: u64 = 12;

/// Longer than anything takes to be safe, where it ever is.
const SAFE_BY_THEN: Duration = Duration::from_millis(1500);

impl Plan {
    pub(crate) fn give_disks(&mut self, chance: &mut Chance) {
        if !chance.per_mille(WITH_DISKS) {
            return;
        }
        let all = chance.per_mille(600);
        let always = chance.per_mille(500);
        let lying = chance.per_mille(50);
        let many = self.kind == Kind::ManyKeys;
        for disk in &mut self.disks {
            let has_one = all || chance.per_mille(500);
            let mut plan = DiskPlan::of(always, lying, chance);
            // One by one they would take longer than a history lasts.
            plan.piece = if many { plan.piece.max(8) } else { plan.piece };
            *disk = has_one.then_some(plan);
        }
        let rate = [40, 120, 300][chance.index(3)];
        let steps = std::mem::take(&mut self.steps);
        let mut copied = None;
        for (pause, step) in steps {
            if chance.per_mille(rate) {
                self.outage(&mut copied, chance);
            }
            self.steps.push((pause, step));
        }
    }

    /// Something that concerns disks; of one there may be a copy.
    fn outage(&mut self, copied: &mut Option<usize>, chance: &mut Chance) {
        let node = chance.index(self.nodes);
        let brief =
            |chance: &mut Chance, ms: u64| Duration::from_nanos(chance.below(ms * 1_000_000));
        let away = |chance: &mut Chance| {
            let ms = [5, 200, 4_000][chance.index(3)];
            brief(chance, ms)
        };
        let pause = brief(chance, 40);
        let failures = [Failure::Nothing, Failure::Half, Failure::All];
        let dice = chance.below(if self.calm { 7 } else { 18 });
        if dice == 17 {
            return self.die_having_heard(pause, node, chance);
        }
        let mut push = |pause, step| self.steps.push((pause, step));
        match dice {
            0 | 1 => {
                push(pause, Step::Stop(node));
                push(away(chance), Step::Start(node));
            }
            2 | 3 => push(pause, Step::Anew(node)),
            4 => {
                push(pause, Step::Disk(node, Trouble::Full(chance.below(400))));
                push(away(chance), Step::Disk(node, Trouble::Mended));
            }
            5 | 6 => {
                let failure = failures[chance.index(3)];
                let trouble = Trouble::Fails(chance.below(FAILS_WITHIN), failure);
                push(pause, Step::Disk(node, trouble));
            }
            7..=9 => {
                push(pause, Step::PowerCut(node));
                push(away(chance), Step::Start(node));
            }
            10 => {
                push(pause, Step::Crash(node));
                push(away(chance), Step::Start(node));
            }
            11 | 12 => {
                push(pause, Step::KillAll { power: chance.per_mille(500) });
                if chance.per_mille(500) {
                    push(away(chance), Step::Start(chance.index(self.nodes)));
                }
                push(away(chance), Step::StartAll);
            }
            13 | 16 => match copied.take() {
                Some(copied) => {
                    push(pause, Step::Disk(copied, Trouble::CopyRestored));
                    push(away(chance), Step::Start(copied));
                }
                None if chance.per_mille(700) => {
                    *copied = Some(node);
                    push(pause, Step::Stop(node));
                    push(away(chance), Step::Disk(node, Trouble::Copied));
                    push(away(chance), Step::Start(node));
                }
                None => {
                    *copied = Some(node);
                    push(pause, Step::Disk(node, Trouble::Copied));
                }
            },
            14 => {
                push(pause, Step::Disk(node, Trouble::Damaged));
                push(away(chance), Step::Start(node));
            }
            _ => {
                let trouble = if chance.per_mille(800) { Trouble::Lost } else { Trouble::Lies };
                push(pause, Step::Disk(node, trouble));
                push(away(chance), Step::Start(node));
            }
        }
    }
}

impl Plan {
    /// A node has a report on its disk that nobody else has, not even as its last life's: it was killed in the
    /// middle of writing that down. It hears that the key was forgotten, and is gone again before that is on
    /// its disk too. It comes back when the others have dropped the tombstone, if they believed it to hold that.
    fn die_having_heard(&mut self, pause: Duration, node: usize, chance: &mut Chance) {
        let key = chance.below(3);
        let other = (node + 1 + chance.index(self.nodes - 1)) % self.nodes;
        let brief =
            |chance: &mut Chance, ms: u64| Duration::from_nanos(chance.below(ms * 1_000_000));
        let write = |node| Step::Write { node, key, time: Time::Now, value: 0 };
        let die = if chance.per_mille(500) { Step::PowerCut(node) } else { Step::Crash(node) };
        let grace = self.graces.iter().max().copied().unwrap_or_default();
        let known = Duration::from_nanos(chance.below(6 * nanos(self.tell_every)));
        self.steps.extend([
            (pause, write(other)),
            (SAFE_BY_THEN, Step::Isolate(node)),
            (Duration::ZERO, write(node)),
            (brief(chance, 80), Step::Crash(node)),
            (Duration::ZERO, Step::Forget { node: other, key }),
            (brief(chance, 40), Step::Start(node)),
            (Duration::ZERO, Step::MendAll),
            (brief(chance, 600), die),
            (grace + known, Step::Start(node)),
        ]);
    }
}

impl DiskPlan {
    fn of(always: bool, lying: bool, chance: &mut Chance) -> Self {
        let ms = Duration::from_millis;
        let every = Fsync::Every([ms(10), ms(100), ms(1_000)][chance.index(3)]);
        let fsync = [Fsync::Always, Fsync::Always, every, Fsync::Never][chance.index(4)];
        Self {
            fsync: if always { Fsync::Always } else { fsync },
            piece: [1, 2, 3, 8, 64][chance.index(5)],
            write: [Duration::from_micros(20), ms(1), ms(30)][chance.index(3)],
            sync: [Duration::from_micros(20), ms(5), ms(100)][chance.index(3)],
            anew: [8, 40, 200][chance.index(3)],
            lies: lying && chance.per_mille(300),
        }
    }
}
