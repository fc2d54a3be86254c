//! What must hold at every moment, and at the end.

use herd_replica::{Origin, Record, Replica};
use std::collections::{BTreeMap, BTreeSet};

/// By what two records of one key are ordered, without the origin.
pub(crate) type Rank = (i64, bool, Vec<u8>);

/// What every node has shown so far.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    shown: BTreeMap<usize, BTreeMap<Vec<u8>, Rank>>,
    versions: BTreeMap<usize, BTreeMap<Origin, u64>>,
    /// Everything that any node ever took from a client.
    accepted: BTreeMap<Vec<u8>, BTreeSet<Rank>>,
    /// What each origin wrote from its clients, by its numbers.
    issued: BTreeMap<Origin, BTreeMap<u64, (Vec<u8>, Rank)>>,
    forgotten: BTreeSet<Vec<u8>>,
}

pub(crate) fn rank(record: &Record<'_>) -> Rank {
    (record.effective_ns, record.tombstone, record.value.to_vec())
}

impl Oracle {
    /// A node has lost its memory; nothing binds what it shows from now on.
    pub(crate) fn forget(&mut self, node: usize) {
        self.shown.remove(&node);
        self.versions.remove(&node);
    }

    /// A node has taken a record from a client.
    pub(crate) fn accept(&mut self, record: &Record<'_>, replica: &Replica) {
        if let Some(own) = replica.streams().next() {
            let issued = self.issued.entry(own.origin.clone()).or_default();
            issued.insert(own.version, (record.key.to_vec(), rank(record)));
        }
        if record.tombstone {
            self.forgotten.insert(record.key.to_vec());
        }
        self.accepted.entry(record.key.to_vec()).or_default().insert(rank(record));
    }

    /// The greatest that a node has shown of a key in this life.
    pub(crate) fn shown(&self, node: usize, key: &[u8]) -> Option<&Rank> {
        self.shown.get(&node)?.get(key)
    }

    /// A node never goes back: not in what it shows of a key, not in how far it holds a stream; and
    /// it shows nothing that nobody said.
    pub(crate) fn check(&mut self, node: usize, replica: &mut Replica) -> Result<(), String> {
        self.check_streams(node, replica)?;
        if !replica.take_changed() {
            return Ok(());
        }
        let shown = self.shown.entry(node).or_default();
        for record in replica.records() {
            let before = shown.get(record.key);
            let known = |b: &Rank| {
                (b.0, b.1, &b.2[..]) == (record.effective_ns, record.tombstone, record.value)
            };
            if before.is_some_and(known) {
                continue;
            }
            let now = rank(&record);
            let key = record.key.escape_ascii();
            if before.is_some_and(|before| *before > now) {
                return Err(format!("node {node} went back on {key}: {before:?} to {now:?}"));
            }
            if !self.accepted.get(record.key).is_some_and(|ranks| ranks.contains(&now)) {
                return Err(format!("node {node} shows of {key} what nobody said: {now:?}"));
            }
            shown.insert(record.key.to_vec(), now);
        }
        Ok(())
    }

    fn check_streams(&mut self, node: usize, replica: &Replica) -> Result<(), String> {
        let versions = self.versions.entry(node).or_default();
        for stream in replica.streams() {
            let (origin, version) = (stream.origin, stream.version);
            if stream.floor > version {
                return Err(format!("node {node}: {stream:?} has its floor above its version"));
            }
            let before = versions.get(origin).copied();
            if before.is_some_and(|before| version < before) {
                return Err(format!(
                    "node {node} went back on {origin:?}: {before:?} to {version}"
                ));
            }
            if before != Some(version) {
                // Whoever claims to hold a stream shows of each key at least what was written there.
                let new = before.unwrap_or_default()..=version;
                let issued =
                    self.issued.get(origin).into_iter().flat_map(|all| all.range(new.clone()));
                for (sequence, (key, written)) in issued {
                    let shown = replica.get(key);
                    let holds = match &shown {
                        Some(shown) => rank(shown) >= *written,
                        None => self.forgotten.contains(key),
                    };
                    if !holds {
                        let key = key.escape_ascii();
                        return Err(format!(
                            "node {node} claims {origin:?} up to {version}, but lacks {sequence} of \
                             {key}: shows {shown:?}"
                        ));
                    }
                }
                versions.insert(origin.clone(), version);
            }
        }
        Ok(())
    }

    /// Nothing but what was forgotten may disappear.
    pub(crate) fn check_lost(&self, node: usize, replica: &Replica) -> Result<(), String> {
        for (key, before) in self.shown.get(&node).into_iter().flatten() {
            if !before.1 && replica.get(key).is_none() {
                return Err(format!("node {node} lost {}: {before:?}", key.escape_ascii()));
            }
        }
        Ok(())
    }

    /// What a node shows, tombstones left out.
    pub(crate) fn view(replica: &Replica) -> BTreeMap<Vec<u8>, Rank> {
        let alive = replica.records().filter(|record| !record.tombstone);
        alive.map(|record| (record.key.to_vec(), rank(&record))).collect()
    }
}
