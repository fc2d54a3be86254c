//! Somebody on the move along real streets. No clock and no chance of its own: both are arguments, so a
//! seed repeats a walk.

use super::chance::Chance;
use herd_atlas::{Edge, RoadClass, RoadNet, Travel};
use herd_geo::{EARTH_RADIUS_M, Point};
use std::time::Duration;

/// The part of the roads in which whoever moves in one way can get from anywhere to anywhere. Keeping to
/// it, nobody drives into a one-way street that has no end.
#[derive(Debug)]
pub(super) struct Territory {
    travel: Travel,
    /// Whether a node belongs to it.
    inside: Vec<bool>,
    /// All nodes that do.
    nodes: Vec<u32>,
}

impl Territory {
    /// The largest one, found by trying: nodes spread over the map, until one lies in more than half of
    /// what can be used at all.
    pub(super) fn largest(net: &RoadNet, travel: Travel) -> Self {
        const TRIES: usize = 32;
        let back = Reversed::new(net, travel);
        let usable = |node: &u32| net.edges_at(*node).iter().any(|edge| edge.allows(travel));
        let usable: Vec<u32> = (0..).take(net.nodes().len()).filter(usable).collect();
        let mut best = Self { travel, inside: Vec::new(), nodes: Vec::new() };
        for &home in usable.iter().step_by((usable.len() / TRIES).max(1)) {
            let there = reachable(net.nodes().len(), home, |node| {
                net.edges_at(node).iter().filter(|edge| edge.allows(travel)).map(|edge| edge.to)
            });
            let and_back = reachable(net.nodes().len(), home, |node| back.at(node).iter().copied());
            let inside: Vec<bool> = there.iter().zip(&and_back).map(|(a, b)| *a && *b).collect();
            let nodes: Vec<u32> =
                (0..).zip(&inside).filter(|(_, in_it)| **in_it).map(|(n, _)| n).collect();
            if nodes.len() > best.nodes.len() {
                best = Self { travel, inside, nodes };
            }
            if best.nodes.len() * 2 > usable.len() {
                break;
            }
        }
        best
    }

    /// The way to travel it is for.
    pub(super) fn travel(&self) -> Travel {
        self.travel
    }

    /// The edges from `node` that lead to another node of it. A node of it has at least one, if there is
    /// more than one node.
    fn exits<'a>(&'a self, net: &'a RoadNet, node: u32) -> impl Iterator<Item = &'a Edge> {
        let inside = |node: u32| self.inside.get(node as usize).is_some_and(|inside| *inside);
        net.edges_at(node).iter().filter(move |edge| edge.allows(self.travel) && inside(edge.to))
    }
}

/// Where one may have come from: the edges for one way to travel, backwards.
struct Reversed {
    /// The sources for node n are those from `from[n]` up to `from[n + 1]`.
    from: Vec<usize>,
    sources: Vec<u32>,
}

impl Reversed {
    fn new(net: &RoadNet, travel: Travel) -> Self {
        let count = net.nodes().len();
        let edges = || {
            (0..).take(count).flat_map(|node: u32| {
                let allowed = net.edges_at(node).iter().filter(|edge| edge.allows(travel));
                allowed.map(move |edge| (node, edge.to as usize))
            })
        };
        let mut from = vec![0; count + 1];
        for (_, to) in edges() {
            if let Some(ends) = from.get_mut(to + 1) {
                *ends += 1;
            }
        }
        let mut sum = 0;
        for ends in &mut from {
            sum += *ends;
            *ends = sum;
        }
        let mut next = from.clone();
        let mut sources = vec![0; sum];
        for (node, to) in edges() {
            let Some(at) = next.get_mut(to) else { continue };
            if let Some(source) = sources.get_mut(*at) {
                *source = node;
            }
            *at += 1;
        }
        Self { from, sources }
    }

    fn at(&self, node: u32) -> &[u32] {
        let node = node as usize;
        let range = self.from.get(node).zip(self.from.get(node + 1)).map(|(from, to)| *from..*to);
        range.and_then(|range| self.sources.get(range)).unwrap_or_default()
    }
}

fn reachable<I: Iterator<Item = u32>>(
    count: usize,
    home: u32,
    next: impl Fn(u32) -> I,
) -> Vec<bool> {
    let mut seen = vec![false; count];
    let mut open = vec![home];
    while let Some(node) = open.pop() {
        let Some(seen) = seen.get_mut(node as usize).filter(|seen| !**seen) else { continue };
        *seen = true;
        open.extend(next(node));
    }
    seen
}

/// Somebody who moves at one speed and turns where roads meet.
#[derive(Clone, Debug)]
pub(super) struct Walker {
    speed_mps: f64,
    /// The piece of road, from its beginning, and how much of it lies behind.
    from: u32,
    edge: Edge,
    along_m: f64,
}

impl Walker {
    /// Somewhere in the territory, most often in a street with a name; `None` if it has no road.
    pub(super) fn start(net: &RoadNet, territory: &Territory, chance: &mut Chance) -> Option<Self> {
        const TRIES: usize = 8;
        let named = |walker: &Self| !net.name(walker.edge.way).is_empty();
        let mut tries = (0..TRIES).filter_map(|_| Self::start_anywhere(net, territory, chance));
        let first = tries.next()?;
        if named(&first) { Some(first) } else { Some(tries.find(named).unwrap_or(first)) }
    }

    fn start_anywhere(net: &RoadNet, territory: &Territory, chance: &mut Chance) -> Option<Self> {
        let from = *chance.pick(&territory.nodes)?;
        let exits: Vec<&Edge> = territory.exits(net, from).collect();
        let edge = **chance.pick(&exits)?;
        let (slow, fast) = match territory.travel {
            Travel::Walk => (1.2, 1.6),
            Travel::Cycle => (4.0, 6.0),
            Travel::Drive => (10.0, 14.0),
        };
        Some(Self { speed_mps: chance.between(slow, fast), from, edge, along_m: 0.0 })
    }

    /// Goes on for a while.
    pub(super) fn advance(
        &mut self,
        net: &RoadNet,
        territory: &Territory,
        elapsed: Duration,
        chance: &mut Chance,
    ) {
        // Pieces may have no length at all; a ring of them would never let go.
        const PIECES_MAX: usize = 100_000;
        self.along_m += self.speed_mps * elapsed.as_secs_f64();
        for _ in 0..PIECES_MAX {
            let length_m = f64::from(self.edge.length_m);
            if self.along_m < length_m {
                return;
            }
            self.along_m -= length_m;
            self.turn(net, territory, chance);
        }
        self.along_m = 0.0;
    }

    /// At the end of a piece: most often on along the same road, back only where there is nothing else.
    fn turn(&mut self, net: &RoadNet, territory: &Territory, chance: &mut Chance) {
        let node = self.edge.to;
        let exits: Vec<&Edge> = territory.exits(net, node).collect();
        let onward: Vec<&Edge> =
            exits.iter().copied().filter(|edge| edge.to != self.from).collect();
        let straight: Vec<&Edge> =
            onward.iter().copied().filter(|edge| edge.way == self.edge.way).collect();
        let choice = if !straight.is_empty() && !chance.once_in(4) {
            straight
        } else if !onward.is_empty() {
            onward
        } else {
            exits
        };
        if let Some(edge) = chance.pick(&choice) {
            (self.from, self.edge) = (node, **edge);
        }
    }

    /// Where they are, exactly on the road.
    pub(super) fn position(&self, net: &RoadNet) -> Option<Point> {
        let from = net.nodes().get(self.from as usize)?;
        let to = net.nodes().get(self.edge.to as usize)?;
        let length_m = f64::from(self.edge.length_m);
        let part = if length_m > 0.0 { (self.along_m / length_m).min(1.0) } else { 0.0 };
        let on_the_way = |from: f64, to: f64| from + (to - from) * part;
        Point::new(
            on_the_way(from.lat_deg(), to.lat_deg()),
            on_the_way(from.lon_deg(), to.lon_deg()),
        )
        .ok()
    }

    /// Where their receiver says they are: some meters off.
    pub(super) fn fix(&self, net: &RoadNet, chance: &mut Chance) -> Option<Point> {
        let at = self.position(net)?;
        let north_deg = (chance.deviation() * FIX_ERROR_M / EARTH_RADIUS_M).to_degrees();
        let east_deg = (chance.deviation() * FIX_ERROR_M / EARTH_RADIUS_M).to_degrees();
        let east_deg = east_deg / at.lat_deg().to_radians().cos().max(0.01);
        Point::new(at.lat_deg() + north_deg, at.lon_deg() + east_deg).ok()
    }

    /// The street they are in, or what it is if it has no name.
    pub(super) fn street<'a>(&self, net: &'a RoadNet) -> &'a str {
        let name = net.name(self.edge.way);
        if !name.is_empty() {
            return name;
        }
        match net.class(self.edge.way) {
            Some(RoadClass::Main) => "(a main road)",
            Some(RoadClass::Street) | None => "(a street)",
            Some(RoadClass::Service) => "(a driveway)",
            Some(RoadClass::Track) => "(a farm track)",
            Some(RoadClass::Cycleway) => "(a cycleway)",
            Some(RoadClass::Footway) => "(a footpath)",
            Some(RoadClass::Steps) => "(a flight of steps)",
        }
    }
}

/// How far off a fix is at most, in each direction, meters: a phone under open sky.
const FIX_ERROR_M: f64 = 4.0;

#[cfg(test)]
mod tests {
    use super::*;
    use herd_geo::distance_m;
    use std::sync::LazyLock;

    #[test]
    fn stays_on_roads_that_may_be_used() {
        for (net, territory) in everywhere() {
            for seed in 0..20 {
                let mut chance = Chance::new(seed);
                let mut walker = Walker::start(net, territory, &mut chance).unwrap();
                for _ in 0..500 {
                    walker.advance(net, territory, Duration::from_secs(1), &mut chance);
                    let edge = net.edges_at(walker.from).iter().find(|edge| **edge == walker.edge);
                    assert!(edge.is_some_and(|edge| edge.allows(territory.travel)));
                    // On the straight line between the ends of its piece.
                    let at = walker.position(net).unwrap();
                    let ends = [walker.from, walker.edge.to].map(|n| net.nodes()[n as usize]);
                    let detour_m = distance_m(ends[0], at) + distance_m(at, ends[1]);
                    assert!((detour_m - f64::from(walker.edge.length_m)).abs() < 0.01);
                    let fix = walker.fix(net, &mut chance).unwrap();
                    assert!(distance_m(fix, at) < FIX_ERROR_M * 1.5);
                }
            }
        }
    }

    #[test]
    fn moves_at_its_speed() {
        const STEP: Duration = Duration::from_millis(100);
        for (net, territory) in everywhere() {
            let mut chance = Chance::new(7);
            let mut walker = Walker::start(net, territory, &mut chance).unwrap();
            let step_m = walker.speed_mps * STEP.as_secs_f64();
            let mut straight_steps = 0;
            for _ in 0..2_000 {
                let (before, edge) = (walker.position(net).unwrap(), walker.edge);
                walker.advance(net, territory, STEP, &mut chance);
                let moved_m = distance_m(before, walker.position(net).unwrap());
                assert!(moved_m < step_m + 0.01, "{moved_m} of {step_m}");
                if walker.edge == edge && moved_m > step_m - 0.01 {
                    straight_steps += 1;
                }
            }
            assert!(straight_steps > 200, "{:?}: {straight_steps}", territory.travel);
        }
    }

    #[test]
    fn is_never_stuck() {
        for (net, territory) in everywhere() {
            for &node in &territory.nodes {
                assert!(
                    territory.exits(net, node).next().is_some(),
                    "{:?} {node}",
                    territory.travel
                );
            }
            let mut chance = Chance::new(3);
            let mut walker = Walker::start(net, territory, &mut chance).unwrap();
            for _ in 0..2_000 {
                let before = (walker.from, walker.edge, walker.along_m);
                walker.advance(net, territory, Duration::from_secs(1), &mut chance);
                assert!(before != (walker.from, walker.edge, walker.along_m));
            }
        }
    }

    #[test]
    fn a_seed_repeats_a_walk() {
        for (net, territory) in everywhere() {
            let walk = |seed| {
                let mut chance = Chance::new(seed);
                let mut walker = Walker::start(net, territory, &mut chance).unwrap();
                walker.advance(net, territory, Duration::from_mins(30), &mut chance);
                walker.fix(net, &mut chance)
            };
            assert_eq!(walk(5), walk(5));
            assert_ne!(walk(5), walk(6));
        }
    }

    #[test]
    fn without_roads_there_is_nobody() {
        let net = RoadNet::default();
        let territory = Territory::largest(&net, Travel::Walk);
        assert!(Walker::start(&net, &territory, &mut Chance::new(0)).is_none());
    }

    /// Each way to travel through the embedded map, dead ends, one-way streets and islands included;
    /// nothing where no map was embedded.
    fn everywhere() -> impl Iterator<Item = (&'static RoadNet, &'static Territory)> {
        static MAP: LazyLock<(RoadNet, Vec<Territory>)> = LazyLock::new(|| {
            let net = herd_atlas::roads().unwrap();
            let all = [Travel::Walk, Travel::Cycle, Travel::Drive];
            let territories = all.map(|travel| Territory::largest(&net, travel)).into();
            (net, territories)
        });
        let (net, territories) = &*MAP;
        territories
            .iter()
            .filter(|_| !net.nodes().is_empty())
            .map(move |territory| (net, territory))
    }
}
