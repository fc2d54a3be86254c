//! What kind of history a seed makes: sizes, delays and how often what happens.

use crate::chance::Chance;
use crate::network::DEAD_AFTER;
use crate::plan::{Graph, Kind, Plan, Step, Time, nanos};
use std::time::Duration;

/// How many of a thousand steps are what; the rest are reports.
struct Temper {
    keys: u64,
    steps: u64,
    pause: Duration,
    /// Now and then nothing happens for long, so that absent members are given up.
    lulls: u64,
    crashes: u64,
    cuts: u64,
    forgets: u64,
    bursts: u64,
    doubles: u64,
    /// Nodes that come and go, with all that belongs to it.
    members: u64,
    /// Old reports that meet a crash.
    races: u64,
    jumps: u64,
    /// Whether reports come from the future.
    future: bool,
}

/// So many of a thousand histories are of everything something; of the others each leans to one side.
const MIXED: u64 = 400;

/// To which, one like the other. What is wrong about forgetting shows most rarely.
const LEANS: [Kind; 12] = [
    Kind::FewKeys,
    Kind::ManyKeys,
    Kind::LongCuts,
    Kind::QuickRestarts,
    Kind::Forgetful,
    Kind::Forgetful,
    Kind::Forgetful,
    Kind::Forgetful,
    Kind::Clocks,
    Kind::Doubles,
    Kind::Members,
    Kind::Members,
];

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of(chance: &mut Chance) -> Self {
        let mixed = chance.per_mille(MIXED);
        let kind = if mixed { Kind::Mixed } else { LEANS[chance.index(LEANS.len())] };
        let nodes_max = if chance.per_mille(100) { 11 } else { 5 };
        let nodes = 2 + chance.index(nodes_max);
        let ms = Duration::from_millis;
        let calm = chance.per_mille(300);
        let redundancies = [1, 1, 2, 0];
        let graces = [[ms(50); 2], [ms(3_000); 2], [ms(50), ms(18_000)]][chance.index(3)];
        let skew_s = [0, 0, 1, 25][chance.index(4)];
        let (graph, edges) = edges(nodes, chance);
        let mut plan = Self {
            kind,
            graph,
            nodes,
            edges,
            calm,
            lost: None,
            guest: None,
            window: [1, 2, 8, 64][chance.index(4)],
            delay: [ms(0), ms(3), ms(40), ms(200)][chance.index(4)],
            slow: [ms(5), ms(40)][chance.index(2)],
            slow_links: [0, 0, 300][chance.index(3)],
            redundancy: redundancies[chance.index(4)],
            forget_after: [ms(300), ms(3_000), ms(600_000)][chance.index(3)],
            tell_every: [ms(50), ms(300), ms(1_000)][chance.index(3)],
            sweep_arrivals_min: [1, 2, 6, 1024][chance.index(4)],
            segment_arrivals: [1, 4, 64, 4096][chance.index(4)],
            graces: (0..nodes).map(|_| chance.pick(&graces).unwrap_or_default()).collect(),
            anew: chance.per_mille(300),
            skews_s: (0..nodes)
                .map(|_| i64::try_from(chance.below(2 * skew_s + 1)).unwrap_or(0))
                .map(|s| s - skew_s.cast_signed())
                .collect(),
            disks: vec![None; nodes],
            steps: Vec::new(),
        };
        let temper = Temper::of(&mut plan, chance);
        plan.slow_down_members();
        plan.lengthen_graces();
        plan.fill(&temper, chance);
        let lost = chance.index(nodes);
        if !plan.calm && chance.per_mille(300) && plan.is_connected_without(Some(lost)) {
            plan.lost = Some(lost);
        }
        plan.give_disks(chance);
        plan
    }

    /// What members tell may not fill a link: it would never come to rest. Nor need it be most of what a
    /// large herd says.
    fn slow_down_members(&mut self) {
        let ms = Duration::from_millis;
        if self.nodes > 6 {
            self.window = self.window.max(8);
        }
        let words = u32::try_from(self.nodes * self.edges.len()).unwrap_or(u32::MAX);
        self.tell_every = self.tell_every.max(ms(5) * words);
        if self.slow_links > 0 || self.window < 8 && self.delay >= ms(40) {
            self.tell_every = self.tell_every.max(ms(2_000));
        }
        // Whoever is absent between any two words is never waited for: all collect at once and fetch
        // everything anew, again and again, and over slow links that has no end. Words wait behind entries.
        let is_slow = self.slow_links > 0 || self.window <= 8 && self.delay >= ms(40);
        self.forget_after = self.forget_after.max(if is_slow { 30 } else { 3 } * self.tell_every);
    }

    /// A tombstone stays for longer than anything can be on its way: that is what the grace is for.
    fn lengthen_graces(&mut self) {
        let window = u32::try_from(self.window).unwrap_or(u32::MAX);
        let queue = if self.slow_links > 0 { self.slow * window } else { Duration::ZERO };
        let longest = DEAD_AFTER + self.delay + queue;
        for grace in &mut self.graces {
            *grace += longest;
        }
    }

    fn fill(&mut self, temper: &Temper, chance: &mut Chance) {
        for _ in 0..temper.steps {
            let lull = chance.per_mille(temper.lulls);
            let pause = if lull { Duration::from_secs(8) } else { temper.pause };
            let pause = Duration::from_nanos(chance.below(nanos(pause) + 1));
            if chance.per_mille(temper.members) {
                self.come_and_go(pause, temper, chance);
                continue;
            }
            if chance.per_mille(temper.races) {
                self.race(pause, temper, chance);
                continue;
            }
            let step = self.step(temper, chance);
            self.steps.push((pause, step));
        }
    }

    /// A node is taken out or leaves; keys are forgotten without it; later it comes back, and some one else
    /// may have gone meanwhile.
    fn come_and_go(&mut self, pause: Duration, temper: &Temper, chance: &mut Chance) {
        let node = chance.index(self.nodes);
        let brief = |chance: &mut Chance| Duration::from_millis(chance.below(400));
        if chance.per_mille(300) {
            self.steps.push((pause, Step::PutBack(node)));
            return;
        }
        if !self.calm && chance.per_mille(250) {
            self.steps.push((pause, Step::Leave(node)));
            self.steps.push((brief(chance), Step::Crash(node)));
        } else {
            self.steps.push((pause, Step::TakeOut(node, chance.next())));
        }
        if chance.per_mille(300) {
            return self.keep(node, temper, chance);
        }
        for _ in 0..chance.below(6) {
            let step = if chance.per_mille(600) {
                let other = (node + 1 + chance.index(self.nodes - 1)) % self.nodes;
                Step::Forget { node: other, key: chance.below(temper.keys) }
            } else {
                self.write(chance.index(self.nodes), temper, chance)
            };
            self.steps.push((brief(chance), step));
        }
        // Until the tombstones went, or so that they go about then; or much is still under way.
        let grace = self.graces.iter().max().copied().unwrap_or_default();
        let longest = [Duration::ZERO, 2 * grace, grace + Duration::from_secs(8)];
        let longest = longest[chance.index(3)];
        let away = chance.below(nanos(longest) + 1);
        let back = if chance.per_mille(800) { node } else { chance.index(self.nodes) };
        self.steps.push((Duration::from_nanos(away), Step::PutBack(back)));
    }

    /// Who is out keeps a report that the others forget without it, and is back when they are about to drop
    /// the tombstone: the report is then on its way while they do.
    fn keep(&mut self, node: usize, temper: &Temper, chance: &mut Chance) {
        let key = chance.below(temper.keys);
        let brief = |chance: &mut Chance| Duration::from_millis(chance.below(100));
        let other = (node + 1 + chance.index(self.nodes - 1)) % self.nodes;
        let report = |node| Step::Write { node, key, time: Time::Now, value: 0 };
        self.steps.push((brief(chance), report(other)));
        self.steps.push((brief(chance), report(node)));
        self.steps.push((brief(chance), Step::Forget { node: other, key }));
        // The tombstone is to be held by all, be known to be so, and be kept for its grace.
        let known = 2 * self.tell_every + 2 * self.delay;
        let grace = chance.pick(&self.graces).unwrap_or_default();
        let away = grace + Duration::from_nanos(chance.below(nanos(known) + 1));
        self.steps.push((away, Step::PutBack(node)));
    }

    /// What is older than a tombstone is said to a node that has just lost its memory; or a neighbour that
    /// may have passed on part of it loses its own.
    fn race(&mut self, pause: Duration, temper: &Temper, chance: &mut Chance) {
        let key = chance.below(temper.keys);
        let (a, b) = chance.pick(&self.edges).unwrap_or_default();
        let (node, other) = if chance.per_mille(500) { (a, b) } else { (b, a) };
        let ago = i64::try_from(chance.below(3)).unwrap_or(0) * 1_000_000;
        let write = Step::Write { node, key, time: Time::BeforeForgotten(ago), value: 0 };
        if chance.per_mille(500) {
            self.steps.push((pause, Step::Restart(node)));
            self.steps.push((Duration::from_millis(chance.below(60)), write));
        } else {
            self.steps.push((pause, write));
            let until = nanos(2 * self.delay) + 60_000_000;
            let until = Duration::from_nanos(chance.below(until));
            self.steps.push((until, Step::Crash(other)));
        }
    }

    fn step(&self, temper: &Temper, chance: &mut Chance) -> Step {
        let node = chance.index(self.nodes);
        let edge = chance.pick(&self.edges).unwrap_or_default();
        let mut dice = chance.below(1000);
        let mut falls = |part: u64| {
            let hit = dice < part;
            dice = dice.wrapping_sub(part);
            hit
        };
        if falls(temper.crashes) {
            match chance.below(4) {
                0 => Step::Crash(node),
                1 | 2 => Step::Start(node),
                _ => Step::Restart(node),
            }
        } else if falls(temper.cuts) {
            let ways = [[true, true], [true, false], [false, true]];
            match chance.below(12) {
                0..=2 => Step::Cut(edge.0, edge.1, chance.pick(&ways).unwrap_or_default()),
                3..=6 => Step::Mend(edge.0, edge.1),
                7 | 8 => Step::Break(edge.0, edge.1),
                9 => Step::Isolate(node),
                10 => Step::Split(chance.next()),
                _ => Step::MendAll,
            }
        } else if falls(temper.forgets) {
            Step::Forget { node, key: chance.below(temper.keys) }
        } else if falls(temper.bursts) {
            Step::Burst { node, keys: 1 + chance.below(temper.keys) }
        } else if falls(temper.doubles) {
            if chance.per_mille(300) {
                Step::Break(edge.0, edge.1)
            } else {
                Step::Double(edge.0, edge.1)
            }
        } else if falls(temper.jumps) {
            Step::Jump(node, [0, 0, -100, 40, 200][chance.index(5)])
        } else {
            self.write(node, temper, chance)
        }
    }

    fn write(&self, node: usize, temper: &Temper, chance: &mut Chance) -> Step {
        let few = i64::try_from(chance.below(3)).unwrap_or(0);
        let time = match chance.below(10) {
            0..=2 => Time::Now,
            3 | 4 => Time::Second(0),
            5 | 6 => Time::Second(few),
            7 if self.anew && chance.per_mille(600) => Time::BeforeForgotten(few * 1_000_000),
            7 => Time::Forgotten,
            8 if temper.future => Time::Future(few),
            _ => Time::Ago(i64::try_from(chance.below(1 << 32)).unwrap_or(0)),
        };
        Step::Write { node, key: chance.below(temper.keys), time, value: chance.below(5) }
    }
}

impl Temper {
    fn of(plan: &mut Plan, chance: &mut Chance) -> Self {
        let ms = Duration::from_millis;
        let calm = plan.calm;
        let mut temper = Self {
            keys: [1, 2, 3, 8, 40][chance.index(5)],
            steps: 10 + chance.below(if calm { 150 } else { 60 }),
            pause: [ms(2), ms(30), ms(300), ms(1500)][chance.index(4)],
            lulls: [0, 0, 60][chance.index(3)],
            crashes: if calm { 0 } else { [0, 20, 80][chance.index(3)] },
            cuts: if calm { 30 } else { [0, 60, 200][chance.index(3)] },
            forgets: [0, 0, 30, 100][chance.index(4)],
            bursts: [0, 30, 150][chance.index(3)],
            doubles: [0, 0, 20][chance.index(3)],
            members: [0, 0, 0, 30][chance.index(4)],
            races: 0,
            jumps: 0,
            future: chance.per_mille(150),
        };
        match plan.kind {
            Kind::Mixed => {}
            Kind::FewKeys => {
                temper.keys = 1 + chance.below(2);
                temper.steps = 150 + chance.below(200);
                temper.pause = ms(1 + chance.below(20));
                temper.bursts = 0;
            }
            Kind::ManyKeys => {
                temper.keys = 100 + chance.below(200);
                temper.steps = 10 + chance.below(20);
                temper.bursts = 400;
                // So many must come through within the time in which all is to come to rest.
                plan.window = plan.window.max(8);
                plan.slow = ms(5);
                plan.sweep_arrivals_min = [6, 40, 1024][chance.index(3)];
            }
            Kind::LongCuts => {
                temper.cuts = 300;
                temper.lulls = 150;
                plan.forget_after = [ms(300), ms(3_000)][chance.index(2)];
            }
            Kind::QuickRestarts => {
                plan.calm = false;
                temper.crashes = 250;
                temper.cuts = 100;
                temper.pause = [ms(30), ms(300)][chance.index(2)];
            }
            Kind::Forgetful => {
                plan.calm = chance.per_mille(200);
                temper.crashes = if plan.calm { 0 } else { [60, 150][chance.index(2)] };
                temper.keys = 1 + chance.below(4);
                temper.steps = 40 + chance.below(60);
                temper.pause = [ms(300), ms(1500)][chance.index(2)];
                temper.lulls = 60;
                temper.cuts = 200;
                temper.forgets = 200;
                temper.bursts = 30;
                plan.anew = chance.per_mille(700);
                let races = plan.anew && !plan.calm;
                temper.races = if races { [0, 60, 200][chance.index(3)] } else { 0 };
                plan.graces = (0..plan.nodes).map(|_| ms([50, 5_000][chance.index(2)])).collect();
                plan.window = [1, 2, 64][chance.index(3)];
            }
            Kind::Clocks => {
                temper.jumps = 60;
                temper.future = true;
                let skews = plan.skews_s.iter_mut();
                skews.for_each(|skew| *skew = i64::try_from(chance.below(51)).unwrap_or(0) - 25);
            }
            Kind::Doubles => temper.doubles = 150,
            Kind::Members => {
                plan.calm = chance.per_mille(300);
                temper.members = 120;
                temper.crashes = if plan.calm { 0 } else { [0, 30, 80][chance.index(3)] };
                temper.keys = 1 + chance.below(6);
                temper.steps = 20 + chance.below(40);
                temper.pause = [ms(30), ms(300), ms(1500)][chance.index(3)];
                temper.cuts = [0, 60, 150][chance.index(3)];
                temper.forgets = 120;
                temper.bursts = 30;
                plan.anew = chance.per_mille(500);
                plan.graces = (0..plan.nodes).map(|_| ms([50, 3_000][chance.index(2)])).collect();
                let guest = chance.per_mille(400).then(|| chance.index(plan.nodes));
                plan.guest = guest.filter(|&guest| plan.is_connected_without(Some(guest)));
            }
        }
        temper
    }
}

/// A line, a star, a ring, or a random tree, with some links more; or all there can be.
fn edges(nodes: usize, chance: &mut Chance) -> (Graph, Vec<(usize, usize)>) {
    let graph = match chance.below(17) {
        0..=3 => Graph::Line,
        4..=7 => Graph::Star,
        8..=11 if nodes > 2 => Graph::Ring,
        12 if nodes < 8 => Graph::Full,
        _ => Graph::Random,
    };
    let mut edges: Vec<_> = match graph {
        Graph::Line => (1..nodes).map(|n| (n - 1, n)).collect(),
        Graph::Star => (1..nodes).map(|n| (0, n)).collect(),
        Graph::Ring => (0..nodes).map(|n| (n, (n + 1) % nodes)).collect(),
        Graph::Random => (1..nodes).map(|n| (chance.index(n), n)).collect(),
        Graph::Full => (0..nodes).flat_map(|b| (0..b).map(move |a| (a, b))).collect(),
    };
    for _ in 0..chance.index(nodes) {
        let (a, b) = (chance.index(nodes), chance.index(nodes));
        let known = |&(c, d): &(usize, usize)| (c, d) == (a, b) || (c, d) == (b, a);
        if a != b && !edges.iter().any(known) {
            edges.push((a, b));
        }
    }
    (graph, edges)
}
