//! From a seed to a plan: what kind of history it is, how large, and how often what happens.

use crate::chance::Chance;
use crate::graph;
use crate::plan::{
    Absence, DiskPlan, Edge, Fsync, Kind, Lifetime, Plan, Step, Time, Trouble, nanos,
};
use crate::tuning::{random_tuning, shrink_tables};
use herd_replica::Tuning;
use std::time::Duration;

/// Kinds by how often they are chosen, of the sum of all.
const WEIGHTS: [(Kind, u64); 15] = [
    (Kind::Prompt, 60),
    (Kind::Mixed, 240),
    (Kind::FewKeys, 80),
    (Kind::ManyKeys, 20),
    (Kind::Cuts, 90),
    (Kind::Flapping, 60),
    (Kind::Restarts, 90),
    (Kind::Storm, 1),
    (Kind::Disks, 90),
    (Kind::Forgetful, 80),
    (Kind::Expiry, 60),
    (Kind::Clocks, 60),
    (Kind::Members, 60),
    (Kind::Faulty, 60),
    (Kind::Twins, 30),
];

/// How many steps of a thousand are what; the rest are reports.
#[derive(Default)]
struct Rates {
    crashes: u64,
    cuts: u64,
    forgets: u64,
    bursts: u64,
    members: u64,
    jumps: u64,
    disks: u64,
    lifetimes: u64,
    roaming: u64,
    twins: u64,
}

/// Sizes of one history.
struct Workload {
    keys: usize,
    steps: u64,
    pause: Duration,
    /// Of a thousand pauses so many are long.
    lulls: u64,
    lull: Duration,
    rates: Rates,
    has_wrong_phones: bool,
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of(chance: &mut Chance) -> Self {
        let kind = kind(chance);
        let most = if chance.per_mille(60) { 8 } else { 4 };
        let servers = 2 + chance.index(most);
        let mut plan = Self {
            kind,
            servers,
            edges: graph::edges(servers, chance),
            absent: None,
            guest: None,
            window: [1, 2, 8, 64][chance.index(4)],
            parcel: [1, 2, 16, 256][chance.index(4)],
            delay: [ms(0), ms(3), ms(40), ms(200)][chance.index(4)],
            redundancy: [1, 1, 2, 0][chance.index(4)],
            forget_after: ms([3_000, 8_000, 600_000][chance.index(3)]),
            lifetimes: [Lifetime { horizon: Duration::from_hours(720), expire_after: None }; 2],
            judges_clocks: chance.per_mille(700),
            skews_s: vec![0; servers],
            disks: vec![None; servers],
            tuning: random_tuning(chance),
            steps: Vec::new(),
        };
        let workload = Workload::of(&mut plan, chance);
        if kind == Kind::Prompt {
            plan.make_prompt(chance);
        } else {
            plan.vary(chance);
        }
        workload.fill(&mut plan, chance);
        plan.say_last_words(chance);
        if plan.has_clocks() {
            // What is wrong for a shorter time than this erases nothing; histories are shorter.
            plan.tuning.erase_after = Duration::from_mins(10);
        }
        // What has no stream waits for comparisons by the clock, which are not prompt.
        if kind != Kind::Prompt {
            // Drawn last, so that whatever else a seed decides does not depend on it.
            shrink_tables(&mut plan.tuning, chance);
        }
        plan
    }

    /// One server dies at the end, and nothing that only passes time brings what it said to some: neither comparisons
    /// by the clock nor the end of its silence.
    fn make_prompt(&mut self, chance: &mut Chance) {
        self.servers = [3, 4, 4, 4, 5, 6][chance.index(6)];
        self.skews_s = vec![0; self.servers];
        self.disks = vec![None; self.servers];
        self.edges = (0..self.servers)
            .map(|one| Edge { ends: (one, (one + 1) % self.servers), rate: None, lives: None })
            .collect();
        if chance.per_mille(300) {
            self.edges = graph::edges(self.servers, chance);
        }
        let spare = |&one: &usize| self.is_connected_without(Some(one));
        let dies = (0..self.servers).filter(spare).nth(chance.index(self.servers));
        let dies = dies.or_else(|| (0..self.servers).find(spare));
        self.absent = dies.map(|dies| (dies, Absence::Dead));
        // What is near by few links may be far by time.
        let slow = chance.index(self.edges.len());
        if let Some(Edge { ends: (a, b), rate, .. }) = self.edges.get_mut(slow)
            && Some(*a) != dies
            && Some(*b) != dies
        {
            *rate = Some(10_000);
        }
        self.window = [1, 2, 8][chance.index(3)];
        self.parcel = [1, 2][chance.index(2)];
        self.delay = [ms(3), ms(40)][chance.index(2)];
        self.redundancy = [1, 1, 1, 2][chance.index(4)];
        self.forget_after = Duration::from_mins(10);
        self.tuning = Tuning {
            scan_arrivals_min: self.tuning.scan_arrivals_min,
            segment_arrivals: self.tuning.segment_arrivals,
            turn_messages: self.tuning.turn_messages,
            history_max: self.tuning.history_max,
            compare_every: Duration::from_mins(10),
            ..Tuning::default()
        };
    }

    /// The server that is going to die says more than it can end.
    fn say_last_words(&mut self, chance: &mut Chance) {
        let Some((server, Absence::Dead)) = self.absent.filter(|_| self.kind == Kind::Prompt)
        else {
            return;
        };
        let keys = 1 + chance.index(16);
        self.steps.push((ms(2_000), Step::Burst { server, keys }));
        // About when the last of it is on its way.
        let parcels = (keys / self.parcel / self.window).max(1) as u64;
        let cut_off = nanos(self.delay) / 2 * parcels * (50 + chance.below(100)) / 100;
        self.steps.push((Duration::from_nanos(cut_off), Step::Crash(server)));
    }

    /// What may be in any history, and is in those of its own kind.
    fn vary(&mut self, chance: &mut Chance) {
        let kind = self.kind;
        if kind == Kind::Expiry || chance.per_mille(100) {
            self.lifetimes = [0; 2].map(|_| {
                let horizon = Duration::from_secs([8, 30, 120][chance.index(3)]);
                let expire_after = chance.per_mille(500).then(|| horizon / [2, 4][chance.index(2)]);
                Lifetime { horizon, expire_after }
            });
        }
        if kind == Kind::Clocks || chance.per_mille(100) {
            let most = [1, 25, 100, 400][chance.index(4)];
            for skew in &mut self.skews_s {
                *skew = chance.below(2 * most + 1).cast_signed() - most.cast_signed();
            }
        }
        let has_disks = match kind {
            Kind::Disks => true,
            Kind::Restarts | Kind::Storm | Kind::Twins => chance.per_mille(500),
            _ => chance.per_mille(150),
        };
        if has_disks {
            let all = chance.per_mille(600);
            let always = chance.per_mille(500);
            let least = if kind == Kind::ManyKeys { 8 } else { 1 };
            for disk in &mut self.disks {
                let has_one = all || chance.per_mille(500);
                *disk = has_one.then(|| DiskPlan::of(always, least, chance));
            }
        }
        if kind == Kind::Flapping || chance.per_mille(50) {
            for edge in &mut self.edges {
                let rate = [6_000, 20_000, 100_000][chance.index(3)];
                edge.rate = chance.per_mille(700).then_some(rate);
                let lives = ms(3_000 + chance.below(6_000)) + 20 * self.delay;
                edge.lives = chance.per_mille(600).then_some(lives);
            }
            self.window = self.window.clamp(2, 8);
        }
        if self.delay >= ms(100) {
            // Else a link carries less than what comparing each second takes.
            self.window = self.window.max(8);
        }
        let absence = match kind {
            Kind::Faulty => [Absence::Mute, Absence::Thin, Absence::Lying][chance.index(3)],
            _ => Absence::Dead,
        };
        if kind == Kind::Faulty || kind != Kind::Twins && chance.per_mille(60) {
            let absent = chance.index(self.servers);
            if self.servers > 2 && self.is_connected_without(Some(absent)) {
                self.absent = Some((absent, absence));
            }
        }
        if kind == Kind::Members && chance.per_mille(400) {
            let guest = chance.index(self.servers);
            let is_spare = self.is_connected_without(Some(guest));
            self.guest = (is_spare && self.absent.is_none()).then_some(guest);
        }
    }
}

fn kind(chance: &mut Chance) -> Kind {
    let mut dice = chance.below(WEIGHTS.iter().map(|(_, weight)| weight).sum());
    for (kind, weight) in WEIGHTS {
        if dice < weight {
            return kind;
        }
        dice -= weight;
    }
    Kind::Mixed
}

impl Workload {
    fn of(plan: &mut Plan, chance: &mut Chance) -> Self {
        let calm = chance.per_mille(300);
        let base = Rates {
            crashes: if calm { 0 } else { [0, 40, 100][chance.index(3)] },
            cuts: if calm { 0 } else { [0, 80, 200][chance.index(3)] },
            forgets: [0, 0, 60, 150][chance.index(4)],
            bursts: [0, 40, 150][chance.index(3)],
            members: if calm { 0 } else { [0, 0, 20][chance.index(3)] },
            jumps: if calm { 0 } else { [0, 0, 0, 20][chance.index(4)] },
            disks: if calm { 0 } else { 40 },
            lifetimes: [0, 20][chance.index(2)],
            roaming: [0, 50, 200][chance.index(3)],
            twins: 0,
        };
        let mut workload = Self {
            keys: [1, 2, 3, 8, 40][chance.index(5)],
            steps: 5 + chance.below(35),
            pause: [ms(2), ms(30), ms(300), ms(1500)][chance.index(4)],
            lulls: [0, 0, 60][chance.index(3)],
            lull: ms(8_000),
            rates: base,
            has_wrong_phones: chance.per_mille(200),
        };
        let rates = &mut workload.rates;
        match plan.kind {
            Kind::Mixed => {}
            Kind::FewKeys => {
                workload.keys = 1 + chance.index(2);
                workload.steps = 60 + chance.below(120);
                workload.pause = ms(1 + chance.below(20));
                rates.bursts = 0;
            }
            Kind::ManyKeys => {
                workload.keys = 100 + chance.index(300);
                workload.steps = 5 + chance.below(15);
                rates.bursts = 400;
                plan.window = plan.window.max(8);
                plan.parcel = plan.parcel.max(16);
            }
            Kind::Cuts => {
                rates.cuts = 350;
                workload.lulls = 100;
            }
            Kind::Flapping => {
                workload.keys = [40, 150][chance.index(2)];
                rates.bursts = 250;
                workload.pause = ms(1500);
                rates.cuts /= 2;
            }
            Kind::Restarts => {
                rates.crashes = 250;
                rates.cuts = rates.cuts.min(100);
            }
            Kind::Storm => rates.crashes = 30,
            Kind::Disks => {
                rates.disks = 250;
                rates.crashes = rates.crashes.max(100);
            }
            Kind::Forgetful => {
                rates.forgets = 250;
                workload.keys = 1 + chance.index(4);
                workload.steps = 20 + chance.below(40);
            }
            Kind::Expiry => {
                workload.pause = ms([1_500, 6_000][chance.index(2)]);
                rates.lifetimes = 60;
                rates.forgets = rates.forgets.max(60);
            }
            Kind::Clocks => {
                rates.jumps = 120;
                workload.has_wrong_phones = true;
                workload.pause = ms([300, 1_500, 6_000][chance.index(3)]);
            }
            Kind::Members => {
                rates.members = 150;
                workload.pause = workload.pause.max(ms(300));
                plan.forget_after = ms([3_000, 8_000][chance.index(2)]);
            }
            Kind::Faulty => {}
            Kind::Prompt => {
                workload.keys = [1, 3, 8, 12][chance.index(4)];
                workload.steps = 1 + chance.below(15);
                workload.lulls = 0;
                workload.has_wrong_phones = false;
                *rates = Rates { forgets: 60, bursts: 100, roaming: 100, ..Rates::default() };
            }
            Kind::Twins => {
                rates.twins = 80;
                workload.pause = workload.pause.max(ms(30));
            }
        }
        workload
    }

    fn fill(&self, plan: &mut Plan, chance: &mut Chance) {
        if plan.kind == Kind::Storm {
            let times = [100, 300, 1_000][chance.index(3)];
            let step = Step::Storm {
                server: chance.index(plan.servers),
                times,
                every_ms: [1, 40, 900][chance.index(3)],
            };
            plan.steps.push((ms(chance.below(100)), self.write(plan, chance)));
            plan.steps.push((ms(chance.below(2_000)), step));
        }
        for _ in 0..self.steps {
            let pause = if chance.per_mille(self.lulls) { self.lull } else { self.pause };
            let pause = Duration::from_nanos(chance.below(nanos(pause) + 1));
            self.step(pause, plan, chance);
        }
    }

    fn step(&self, pause: Duration, plan: &mut Plan, chance: &mut Chance) {
        let server = chance.index(plan.servers);
        let rates = &self.rates;
        let mut dice = chance.below(1000);
        let mut falls = |part: u64| {
            let hit = dice < part;
            dice = dice.wrapping_sub(part);
            hit
        };
        let step = if falls(rates.crashes) {
            match chance.below(9) {
                0 => Step::Crash(server),
                1..=3 => Step::Start(server),
                4 | 5 => Step::Restart(server),
                6 => Step::Stop(server),
                7 => Step::StartAll,
                _ => Step::KillAll { power: chance.per_mille(500) },
            }
        } else if falls(rates.cuts) {
            cut(server, plan, chance)
        } else if falls(rates.forgets) {
            Step::Forget { server, key: chance.index(self.keys) }
        } else if falls(rates.bursts) {
            Step::Burst { server, keys: 1 + chance.index(self.keys) }
        } else if falls(rates.members) {
            match chance.below(8) {
                0..=2 => Step::TakeOut(server, chance.next()),
                3 => Step::Leave(server),
                _ => Step::PutBack(server),
            }
        } else if falls(rates.jumps) {
            return jump(pause, server, plan, chance);
        } else if falls(rates.disks) {
            return outage(pause, server, plan, chance);
        } else if falls(rates.lifetimes) {
            Step::OtherLifetime(server)
        } else if falls(rates.roaming) {
            return self.roam(pause, plan, chance);
        } else if falls(rates.twins) {
            match chance.below(3) {
                0 => Step::EndTwin,
                _ => Step::Twin { of: server, same_incarnation: chance.per_mille(500) },
            }
        } else {
            self.write(plan, chance)
        };
        plan.steps.push((pause, step));
    }

    /// One client moves from server to server, or several servers hear it at the same time.
    fn roam(&self, pause: Duration, plan: &mut Plan, chance: &mut Chance) {
        let key = chance.index(self.keys);
        let same = chance.per_mille(300);
        let (time, value) = (self.time(chance), chance.index(6) as u8);
        for at in 0..2 + chance.index(3) {
            let server = chance.index(plan.servers);
            let step = Step::Write {
                server,
                key,
                time: if same { time } else { Time::Now },
                value: if chance.per_mille(700) { value } else { chance.index(6) as u8 },
                relayed: chance.per_mille(100),
            };
            let between = if same { Duration::ZERO } else { self.pause / 4 };
            plan.steps.push((if at == 0 { pause } else { between }, step));
        }
    }

    fn write(&self, plan: &Plan, chance: &mut Chance) -> Step {
        Step::Write {
            server: chance.index(plan.servers),
            key: chance.index(self.keys),
            time: self.time(chance),
            value: chance.index(6) as u8,
            relayed: chance.per_mille(50),
        }
    }

    fn time(&self, chance: &mut Chance) -> Time {
        let few = chance.below(3).cast_signed();
        match chance.below(12) {
            0..=4 => Time::Now,
            5 | 6 => Time::Second(few),
            7 => Time::Forgotten,
            8 => Time::BeforeForgotten(few * 1_000_000),
            9 if self.has_wrong_phones => Time::Future([1, 58, 62, 4_000][chance.index(4)]),
            10 => Time::Ago(chance.below(1 << 58).cast_signed()),
            _ => Time::Ago(chance.below(1 << 32).cast_signed()),
        }
    }
}

fn cut(server: usize, plan: &Plan, chance: &mut Chance) -> Step {
    let edge = plan.edges[chance.index(plan.edges.len())].ends;
    match chance.below(14) {
        0..=2 => {
            let ways = [[true, true], [true, false], [false, true]];
            Step::Cut(edge, ways[chance.index(3)])
        }
        3..=6 => Step::Heal(edge),
        7 | 8 => Step::Break(edge),
        9 => Step::Isolate(server),
        10 => Step::Split(chance.next()),
        11 | 12 => Step::Double(edge),
        _ => Step::HealAll,
    }
}

/// A clock is wrong for a while.
fn jump(pause: Duration, server: usize, plan: &mut Plan, chance: &mut Chance) {
    const YEAR_S: i64 = 365 * 86_400;
    let seconds = [-3_600, -100, -3, 40, 200, 7_200, YEAR_S][chance.index(7)];
    plan.steps.push((pause, Step::Jump(server, seconds)));
    if seconds == YEAR_S || chance.per_mille(500) {
        let back = ms(chance.below(6_000));
        plan.steps.push((back, Step::Jump(server, 0)));
    }
}

/// Something happens to a disk.
fn outage(pause: Duration, server: usize, plan: &mut Plan, chance: &mut Chance) {
    let longest = [5, 200, 4_000][chance.index(3)];
    let away = ms(chance.below(longest));
    let mut push = |pause, step| plan.steps.push((pause, step));
    let disk = |trouble| Step::Disk(server, trouble);
    match chance.below(16) {
        0 | 1 => {
            push(pause, Step::Stop(server));
            push(away, Step::Start(server));
        }
        2..=4 => {
            push(pause, Step::PowerCut(server));
            push(away, Step::Start(server));
        }
        5 | 6 => {
            push(pause, Step::Crash(server));
            push(away, Step::Start(server));
        }
        7 => {
            push(pause, Step::KillAll { power: chance.per_mille(500) });
            push(away, Step::StartAll);
        }
        8 => {
            push(pause, disk(Trouble::Full(chance.below(400))));
            push(away, disk(Trouble::Repaired));
        }
        9 => push(pause, disk(Trouble::Fails(chance.below(12)))),
        10 => push(pause, disk(Trouble::Copied)),
        11 | 12 => {
            push(pause, disk(Trouble::Restored));
            push(away, Step::Start(server));
        }
        13 => push(pause, disk(Trouble::Compacted)),
        14 => {
            push(pause, disk(Trouble::Damaged));
            push(away, Step::Start(server));
        }
        _ => {
            push(pause, disk(Trouble::Lost));
            push(away, Step::Start(server));
        }
    }
}

impl DiskPlan {
    fn of(always: bool, least: usize, chance: &mut Chance) -> Self {
        let every = Fsync::Every([ms(10), ms(100), ms(1_000)][chance.index(3)]);
        let fsync = [Fsync::Always, every, Fsync::Never][chance.index(3)];
        Self {
            fsync: if always { Fsync::Always } else { fsync },
            batch: least.max([1, 2, 8, 64][chance.index(4)]),
            write: [Duration::from_micros(20), ms(1), ms(30)][chance.index(3)],
            sync: [Duration::from_micros(20), ms(5), ms(100)][chance.index(3)],
            compact_after: [8, 40, 200][chance.index(3)],
        }
    }
}
