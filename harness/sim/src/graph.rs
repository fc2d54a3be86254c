//! Which servers are linked.

use crate::chance::Chance;
use crate::plan::Edge;

/// A line, a star, a ring, a random tree or everyone with everyone; some edges more may be added.
pub(crate) fn edges(servers: usize, chance: &mut Chance) -> Vec<Edge> {
    let mut pairs: Vec<(usize, usize)> = match chance.below(17) {
        0..=3 => (1..servers).map(|n| (n - 1, n)).collect(),
        4..=7 => (1..servers).map(|n| (0, n)).collect(),
        8..=11 if servers > 2 => (0..servers).map(|n| (n, (n + 1) % servers)).collect(),
        12 if servers < 8 => (0..servers).flat_map(|b| (0..b).map(move |a| (a, b))).collect(),
        _ => (1..servers).map(|n| (chance.index(n), n)).collect(),
    };
    for _ in 0..chance.index(servers) {
        let (a, b) = (chance.index(servers), chance.index(servers));
        if a != b && !pairs.contains(&(a, b)) && !pairs.contains(&(b, a)) {
            pairs.push((a, b));
        }
    }
    pairs.into_iter().map(|ends| Edge { ends, rate: None, lives: None }).collect()
}
