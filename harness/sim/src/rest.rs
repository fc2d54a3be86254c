//! The end of a history: everything is healed, and then all must come to agree, and to rest.

use crate::disk::Trouble;
use crate::history::{SECOND_NS, Sim};
use crate::plan::{Step, Time, nanos};
use herd_replica::{Happenings, Record, Replica, StreamState};
use std::collections::BTreeMap;

/// Bootstraps, adoptions and back-offs take seconds each and may follow one another; but they end. Where a link
/// takes some fifty entries a second and one server after the other fetches everything, down a line of
/// nine, that is more than five minutes.
const REST_MAX_S: u64 = 600;

/// All words are heard long before this. Whoever counts them anew is heard again when it has counted as far.
const HEARD_MAX_S: u64 = 300;

/// Longer than whatever waits and then goes on: adoption, and asking again.
const QUIET_NS: u64 = 2_500_000_000;

/// Under these keys all write once more.
const LAST_KEYS: u64 = 1000;

impl Sim {
    pub(crate) fn rest(&mut self) -> Result<(), String> {
        self.heal()?;
        self.come_to_rest()?;
        self.write_once_more()?;
        self.come_to_rest()?;
        self.hear_of_all()?;
        self.let_go()?;
        self.check_rest()
    }

    fn heal(&mut self) -> Result<(), String> {
        self.note(|_| "heal".to_owned());
        self.set_clocks_right();
        self.settle_standing();
        for wire in &mut self.wires {
            // Of two connections one goes now.
            wire.breaks_at = wire.breaks_at.map(|_| self.now_ns);
        }
        for edge in 0..self.plan.edges.len() {
            self.set_cut(edge, [false; 2]);
        }
        for node in 0..self.plan.nodes {
            self.trouble(node, Trouble::Mended);
            self.put_back(node);
            if self.plan.lost == Some(node) {
                self.crash(node);
                self.oracle.void(node, 0);
            } else if self.nodes[node].is_none() {
                self.start(node);
            }
        }
        self.run_until(self.now_ns + 2 * SECOND_NS)
    }

    fn come_to_rest(&mut self) -> Result<(), String> {
        let end = self.now_ns + REST_MAX_S * SECOND_NS;
        while self.differences().is_some() && self.now_ns < end {
            self.run_until(self.now_ns + SECOND_NS / 2)?;
        }
        if let Some(difference) = self.differences() {
            return Err(format!("at rest: {difference}"));
        }
        let tombstone = |replica: &Replica| replica.records().any(|record| record.tombstone);
        if self.report.forgets > 0 && self.nodes.iter().flatten().any(tombstone) {
            // They go, and nothing may come back.
            let grace = self.plan.graces.iter().max().copied().unwrap_or_default();
            self.run_until(self.now_ns + nanos(grace))?;
        }
        loop {
            let before = self.happened();
            self.run_until(self.now_ns + QUIET_NS)?;
            let after = self.happened();
            // The versions of a hundred lives take their time on a slow link, and are not counted there.
            let behind = self.behind();
            if before == after && behind.is_none() {
                break;
            }
            if self.now_ns > end {
                return Err(behind.unwrap_or(format!("never quiet: {before:?} {after:?}")));
            }
        }
        match self.differences() {
            Some(difference) => Err(format!("after rest: {difference}")),
            None => Ok(()),
        }
    }

    /// Every node writes, and again, until each write reaches each node once, as the redundancy says.
    fn write_once_more(&mut self) -> Result<(), String> {
        const ROUNDS_MAX: u64 = 8;
        let nodes = self.nodes.iter().flatten().count() as u64;
        // A link that is not given the time is asked around.
        let is_narrow = self.plan.window < 8 && nanos(self.plan.delay) >= SECOND_NS / 25;
        let pause = if is_narrow { SECOND_NS } else { SECOND_NS / 20 };
        let mut sent = 0;
        for _ in 0..ROUNDS_MAX {
            let before = self.happened()[0];
            for node in 0..self.plan.nodes {
                let key = LAST_KEYS + node as u64;
                self.step(Step::Write { node, key, time: Time::Now, value: 0 })?;
                self.run_until(self.now_ns + pause)?;
            }
            self.run_until(self.now_ns + QUIET_NS)?;
            sent = self.happened()[0] - before;
            if self.plan.redundancy != 1 || self.plan.slow_links > 0 || sent == nodes * (nodes - 1)
            {
                return Ok(());
            }
        }
        Err(format!("{nodes} writes are sent {sent} times"))
    }

    /// Who goes on with its last life is heard as one that is new: all know the last word of all.
    fn hear_of_all(&mut self) -> Result<(), String> {
        let end = self.now_ns + HEARD_MAX_S * SECOND_NS;
        while self.report.disks.closed > 0
            && let Some((hearer, teller)) = self.unheard()
        {
            if self.now_ns > end {
                return Err(format!("node {hearer} at rest does not hear {teller}"));
            }
            self.run_until(self.now_ns + SECOND_NS)?;
        }
        Ok(())
    }

    /// A server with a disk says that it holds something once that is written down, which a slow disk does long
    /// after; only then the others let go of what it supersedes.
    fn let_go(&mut self) -> Result<(), String> {
        let end = self.now_ns + REST_MAX_S * SECOND_NS;
        let has_disks = self.plan.disks.iter().any(Option::is_some);
        while has_disks && self.now_ns < end && self.holds_too_much().is_some() {
            self.run_until(self.now_ns + SECOND_NS)?;
        }
        Ok(())
    }

    /// A node that holds more than one entry a key. Orphans issued again may keep their old entries until somebody
    /// writes the key.
    fn holds_too_much(&self) -> Option<String> {
        let nodes = || self.nodes.iter().enumerate().filter_map(|(at, n)| Some((at, n.as_ref()?)));
        let adopted: u64 = nodes().map(|(_, replica)| replica.happenings().adopted).sum();
        if adopted > 0 || self.report.has_restarts() {
            return None;
        }
        let mut all = nodes().map(|(node, replica)| (node, replica.census()));
        let (node, census) = all.find(|(_, census)| census.entries != census.keys)?;
        Some(format!("node {node} at rest holds too much: {census:?}"))
    }

    /// A node, and another whose last word it has not heard.
    fn unheard(&self) -> Option<(usize, usize)> {
        let nodes =
            || self.nodes.iter().enumerate().filter_map(|(at, node)| Some((at, node.as_ref()?)));
        let has_heard = |hearer: &Replica, teller: &Replica| {
            let own = teller.streams().next()?;
            let word = hearer.members().find_map(|m| m.word.filter(|w| w.origin == own.origin))?;
            let (_, version) = word.versions.iter().find(|(origin, _)| *origin == own.origin)?;
            Some(*version == own.version)
        };
        nodes().find_map(|(hearer, replica)| {
            let mut others = nodes().filter(|&(other, _)| other != hearer);
            let (teller, _) = others.find(|(_, other)| has_heard(replica, other) != Some(true))?;
            Some((hearer, teller))
        })
    }

    /// What holds of nodes that are all up, whole and quiet.
    fn check_rest(&mut self) -> Result<(), String> {
        for node in 0..self.plan.nodes {
            self.come_to_rest_on_disk(node)?;
            self.check_disk(node)?;
        }
        let nodes: Vec<_> = self.nodes.iter().flatten().collect();
        let adopted: u64 = nodes.iter().map(|replica| replica.happenings().adopted).sum();
        for (node, replica) in self.nodes.iter().enumerate() {
            let Some(replica) = replica else { continue };
            self.oracle.check_end(node, replica)?;
            self.oracle.check_all_safe(replica)?;
            if replica.is_bootstrapping() {
                return Err(format!("node {node} is bootstrapping at rest"));
            }
            for stream in replica.streams().skip(1) {
                let other = nodes.iter().flat_map(|replica| replica.streams());
                let furthest = other.filter(|o| o.origin == stream.origin).map(|o| o.version).max();
                if furthest != Some(stream.version) {
                    return Err(format!("node {node} at rest: {stream:?} of {furthest:?}"));
                }
                if stream.upstreams == 0 && adopted == 0 && !self.report.has_restarts() {
                    return Err(format!("node {node} at rest does not ask: {stream:?}"));
                }
            }
            let census = replica.census();
            let pieces = replica.streams().count() as u64 * self.plan.segment_arrivals;
            if census.arrivals as u64 > 3 * census.entries as u64 + pieces {
                return Err(format!("node {node} at rest has too long logs: {census:?}"));
            }
        }
        self.holds_too_much().map_or(Ok(()), Err)
    }

    /// A node that lacks what another holds, or is fetching everything.
    fn behind(&self) -> Option<String> {
        let streams = || self.nodes.iter().flatten().flat_map(Replica::streams);
        let mut furthest = BTreeMap::new();
        for stream in streams() {
            let version = furthest.entry(stream.origin).or_insert(0);
            *version = stream.version.max(*version);
        }
        let mut nodes = self.nodes.iter().enumerate().filter_map(|(at, n)| Some((at, n.as_ref()?)));
        nodes.find_map(|(node, replica)| {
            if replica.is_bootstrapping() {
                return Some(format!("node {node} is bootstrapping at rest"));
            }
            let lags = |stream: &StreamState<'_>| {
                furthest.get(stream.origin).is_some_and(|&version| version > stream.version)
            };
            let stream = replica.streams().find(lags)?;
            Some(format!("node {node} at rest lacks something of {stream:?}"))
        })
    }

    /// What must not go on happening at rest.
    fn happened(&self) -> [u64; 4] {
        let mut sum = Happenings::default();
        for replica in self.nodes.iter().flatten() {
            sum.add(&replica.happenings());
        }
        [sum.sent, sum.snapshots, sum.resubscriptions, sum.adopted]
    }

    fn differences(&self) -> Option<String> {
        let mut nodes = self.nodes.iter().enumerate();
        let (first_at, first) = nodes.find_map(|(at, node)| Some((at, node.as_ref()?)))?;
        for (at, other) in nodes.filter_map(|(at, node)| Some((at, node.as_ref()?))) {
            let (here, there) = match difference(first, other) {
                None if first.len() == other.len() => continue,
                None => difference(other, first)?,
                Some(found) => found,
            };
            return Some(format!("nodes {first_at} and {at}: one shows {here}, the other {there}"));
        }
        None
    }
}

/// A key that `one` shows and `other` does not, or not so; tombstones left out.
pub(crate) fn difference(one: &Replica, other: &Replica) -> Option<(String, String)> {
    let alive = one.records().filter(|record| !record.tombstone);
    let text = |record: &Record<'_>| {
        let Record { effective_ns, tombstone, .. } = *record;
        let (key, value) = (record.key.escape_ascii(), record.value.escape_ascii());
        format!("{key}: {value} of {effective_ns}{}", if tombstone { ", forgotten" } else { "" })
    };
    alive
        .filter(|record| other.get(record.key) != Some(*record))
        .map(|record| {
            let there = other.get(record.key).map(|there| text(&there));
            (text(&record), there.unwrap_or_else(|| "nothing".to_owned()))
        })
        .next()
}
