//! What must hold at every moment, and at the end.

use herd_replica::{Cursor, Happenings, Origin, Record, Replica};
use std::collections::BTreeMap;

/// By what two records of one key are ordered, without the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) ns: i64,
    pub(crate) tombstone: bool,
    /// The value's bytes, of which the simulator writes at most eight.
    value: u64,
}

/// Everything that was said and shown so far.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    nodes: Vec<Option<Box<Life>>>,
    origins: BTreeMap<Origin, usize>,
    /// What each origin wrote from its clients, or read behind a hole of its disk, by its numbers.
    issued: Vec<Vec<(u64, u64, Rank)>>,
    /// How far each origin was seen to have numbered its own updates.
    numbered: Vec<u64>,
    /// What the clients of each node that has a disk were told to be safe.
    acknowledged: Vec<Vec<Acknowledged>>,
    keys: BTreeMap<u64, Key>,
}

/// One key.
#[derive(Debug, Default)]
struct Key {
    /// Everything that any node ever took from a client, and whether its server had reason not to know
    /// that the key had been forgotten.
    accepted: BTreeMap<Rank, Lawful>,
    /// Every tombstone that a client asked for, and when.
    forgotten: Vec<(Rank, u64)>,
}

/// A report of which its client was told that it is safe.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    key: u64,
    rank: Rank,
    at_ns: u64,
}

/// Whether a record below a tombstone may be shown after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lawful {
    /// No: it was said before the tombstone was heard.
    Never,
    /// It was said anew, to a server that had dropped the tombstone or lost its memory; or only a server
    /// for which the others did not wait held it.
    Anew,
}

/// What a node has shown in one life.
#[derive(Debug, Default)]
struct Life {
    /// What was forgotten until then it need not know.
    born_ns: u64,
    cursor: Cursor,
    removed: u64,
    shown: BTreeMap<u64, Rank>,
    /// The greatest tombstones that were shown.
    buried: BTreeMap<u64, Rank>,
    /// The greatest that it took from a client.
    taken: BTreeMap<u64, Rank>,
    /// How far it claimed to hold each stream, in the order of the replica's own numbers.
    streams: Vec<(usize, u64)>,
}

pub(crate) fn rank(record: &Record<'_>) -> Rank {
    let mut value = [0; 8];
    for (to, from) in value.iter_mut().zip(record.value) {
        *to = *from;
    }
    let value = u64::from_be_bytes(value);
    Rank { ns: record.effective_ns, tombstone: record.tombstone, value }
}

/// Keys are numbers in digits.
pub(crate) fn key_of(record: &Record<'_>) -> u64 {
    record.key.iter().fold(0, |number, digit| number * 10 + u64::from(digit.wrapping_sub(b'0')))
}

impl Oracle {
    /// A node begins with nothing; nothing binds what it shows from now on.
    pub(crate) fn begin(&mut self, node: usize, now_ns: u64) {
        if self.nodes.len() <= node {
            self.nodes.resize_with(node + 1, || None);
        }
        self.nodes[node] = Some(Box::new(Life { born_ns: now_ns, ..Life::default() }));
    }

    /// A node has lost its memory.
    pub(crate) fn end(&mut self, node: usize) {
        if let Some(life) = self.nodes.get_mut(node) {
            *life = None;
        }
    }

    /// What was forgotten until now a node need not know, though it has not lost its memory.
    pub(crate) fn missed(&mut self, node: usize, now_ns: u64) {
        if let Some(Some(life)) = self.nodes.get_mut(node) {
            life.born_ns = now_ns;
        }
    }

    /// Whether `node` may take a record of this time without knowing that the key was forgotten.
    pub(crate) fn lawful(&self, node: usize, key: u64, ns: i64) -> Lawful {
        let Some(Some(life)) = self.nodes.get(node) else { return Lawful::Never };
        let dropped = life.buried.get(&key).is_some_and(|buried| buried.ns >= ns);
        let forgotten = self.keys.get(&key).map(|key| &key.forgotten[..]).unwrap_or_default();
        let before_birth = forgotten.iter().any(|&(rank, at)| rank.ns >= ns && at <= life.born_ns);
        if dropped || before_birth { Lawful::Anew } else { Lawful::Never }
    }

    /// A node has taken a record from a client.
    pub(crate) fn accept(
        &mut self,
        node: usize,
        record: &Record<'_>,
        lawful: Lawful,
        replica: &Replica,
        now_ns: u64,
    ) {
        let (key, rank) = (key_of(record), rank(record));
        self.issued(record, replica);
        if let Some(life) = &mut self.nodes[node] {
            life.taken.entry(key).and_modify(|taken| *taken = rank.max(*taken)).or_insert(rank);
        }
        let said = self.keys.entry(key).or_default();
        said.accepted.entry(rank).and_modify(|l| *l = lawful.max(*l)).or_insert(lawful);
        if rank.tombstone {
            said.forgotten.push((rank, now_ns));
        }
    }

    /// A node has issued a record in its own stream: it is what that stream says there.
    pub(crate) fn issued(&mut self, record: &Record<'_>, replica: &Replica) {
        let Some(own) = replica.streams().next() else { return };
        let origin = self.origin(own.origin);
        if let Some(issued) = self.issued.get_mut(origin) {
            issued.push((own.version, key_of(record), rank(record)));
        }
    }

    /// A client was told that its report is safe.
    pub(crate) fn acknowledged(&mut self, node: usize, key: u64, rank: Rank, now_ns: u64) {
        if self.acknowledged.len() <= node {
            self.acknowledged.resize_with(node + 1, Vec::new);
        }
        self.acknowledged[node].push(Acknowledged { key, rank, at_ns: now_ns });
    }

    /// Of what a node's clients were told to be safe only what they were told until then need be.
    pub(crate) fn void(&mut self, node: usize, until_ns: u64) {
        if let Some(acknowledged) = self.acknowledged.get_mut(node) {
            acknowledged.retain(|one| one.at_ns <= until_ns);
        }
    }

    /// Some node has lost more than it knows, though others believe it to hold that: whatever was forgotten
    /// may be known to it and them alone.
    pub(crate) fn excuse_forgotten(&mut self) {
        for key in self.keys.values_mut() {
            let Some(&(last, _)) = key.forgotten.iter().max_by_key(|(rank, _)| rank.ns) else {
                continue;
            };
            for (rank, lawful) in &mut key.accepted {
                if (rank.ns, rank.tombstone) <= (last.ns, true) {
                    *lawful = Lawful::Anew;
                }
            }
        }
    }

    /// A node shows what its clients were told to be safe, though it has just been read from its disk.
    pub(crate) fn check_safe(&self, node: usize, replica: &Replica) -> Result<(), String> {
        let acknowledged = self.acknowledged.get(node).map(|a| &a[..]).unwrap_or_default();
        for one in acknowledged {
            let shown = shown(replica, one.key);
            if !self.covers(one.key, shown, one.rank) {
                return Err(format!(
                    "what was safe at node {node} is lost: {one:?}, but {shown:?}"
                ));
            }
        }
        Ok(())
    }

    /// How much every node that has a disk must hold.
    pub(crate) fn check_all_safe(&self, replica: &Replica) -> Result<(), String> {
        (0..self.acknowledged.len()).try_for_each(|node| self.check_safe(node, replica))
    }

    /// What `replica` may hold and not all of `holders` do counts as said anew: they do not wait for it.
    pub(crate) fn excuse(&mut self, replica: &Replica, holders: &[&Replica]) {
        for stream in replica.streams() {
            let Some(&origin) = self.origins.get(stream.origin) else { continue };
            let version = |holder: &&Replica| {
                let mut streams = holder.streams();
                streams.find(|s| s.origin == stream.origin).map_or(0, |stream| stream.version)
            };
            let held = holders.iter().map(version).min().unwrap_or_default();
            let issued = self.issued.get(origin).map(|issued| &issued[..]).unwrap_or_default();
            let start = issued.partition_point(|&(sequence, ..)| sequence <= held);
            for (_, key, rank) in issued.get(start..).unwrap_or_default() {
                if let Some(key) = self.keys.get_mut(key) {
                    key.accepted.insert(*rank, Lawful::Anew);
                }
            }
        }
    }

    /// What `replica` shows though it does not hold it counts as said anew.
    pub(crate) fn excuse_uncommitted(&mut self, replica: &Replica) {
        for stream in replica.streams() {
            let Some(&origin) = self.origins.get(stream.origin) else { continue };
            let issued = self.issued.get(origin).map(|issued| &issued[..]).unwrap_or_default();
            let start = issued.partition_point(|&(sequence, ..)| sequence <= stream.version);
            for &(_, key, rank) in issued.get(start..).unwrap_or_default() {
                if shown(replica, key) == Some(rank)
                    && let Some(said) = self.keys.get_mut(&key)
                {
                    said.accepted.insert(rank, Lawful::Anew);
                }
            }
        }
    }

    fn origin(&mut self, origin: &Origin) -> usize {
        if let Some(&known) = self.origins.get(origin) {
            return known;
        }
        let number = self.origins.len();
        self.origins.insert(origin.clone(), number);
        self.issued.push(Vec::new());
        self.numbered.push(0);
        number
    }

    /// A node never goes back: not in what it shows of a key, not in how far it holds a stream; and
    /// it shows nothing that nobody said.
    pub(crate) fn check(&mut self, node: usize, replica: &mut Replica) -> Result<(), String> {
        // Taken out while it is looked at, since the rest is asked meanwhile.
        let Some(mut life) = self.nodes[node].take() else { return Ok(()) };
        let checked = self
            .check_streams(node, replica, &mut life)
            .and_then(|()| self.check_shown(node, replica, &mut life));
        self.nodes[node] = Some(life);
        checked
    }

    fn check_shown(
        &self,
        node: usize,
        replica: &mut Replica,
        life: &mut Life,
    ) -> Result<(), String> {
        if !replica.take_changed() {
            return Ok(());
        }
        while let Some(record) = replica.poll_change(&mut life.cursor) {
            let (key, now) = (key_of(&record), rank(&record));
            let before = life.shown.insert(key, now);
            if before == Some(now) {
                continue;
            }
            let Some(said) = self.keys.get(&key) else {
                return Err(format!("node {node} shows key {key}, of which nobody spoke"));
            };
            let Some(lawful) = said.lawful(now) else {
                return Err(format!("node {node} shows of {key} what nobody said: {now:?}"));
            };
            let back = before.max(life.buried.get(&key).copied()).filter(|before| *before > now);
            if let Some(before) = back {
                let forgotten = said.is_forgotten(before) && now < before;
                // Under a lesser tombstone the key stays forgotten, as under a greater one.
                let hidden = now.tombstone;
                // Of what it will drop at the end of a snapshot a node may show one or the other.
                let stale = replica.is_bootstrapping();
                if lawful == Lawful::Never && !hidden && !stale || !forgotten {
                    return Err(format!("node {node} went back on {key}: {before:?} to {now:?}"));
                }
            }
            if now.tombstone {
                life.buried.entry(key).and_modify(|b| *b = now.max(*b)).or_insert(now);
            }
        }
        let removed = removed(&replica.happenings());
        if removed != life.removed {
            life.removed = removed;
            self.check_lost(node, replica, life)?;
        }
        Ok(())
    }

    fn check_streams(
        &mut self,
        node: usize,
        replica: &Replica,
        life: &mut Life,
    ) -> Result<(), String> {
        for (at, stream) in replica.streams().enumerate() {
            let version = stream.version;
            if stream.floor > version {
                return Err(format!("node {node}: {stream:?} has its floor above its version"));
            }
            let (origin, before) = match life.streams.get(at).copied() {
                Some((_, before)) if before == version => continue,
                Some(known) => known,
                None => (self.origin(stream.origin), 0),
            };
            if at == 0
                && let Some(numbered) = self.numbered.get_mut(origin)
            {
                if version < *numbered {
                    return Err(format!(
                        "node {node} numbers from {version} again: was {numbered}"
                    ));
                }
                *numbered = version;
            }
            if version < before {
                let origin = stream.origin;
                return Err(format!("node {node} went back on {origin:?}: {before} to {version}"));
            }
            self.check_claim(node, replica, origin, (before, version))?;
            if let Some(known) = life.streams.get_mut(at) {
                known.1 = version;
            } else {
                life.streams.push((origin, version));
            }
        }
        Ok(())
    }

    /// Whoever claims to hold a stream shows of each key at least what was written there.
    fn check_claim(
        &self,
        node: usize,
        replica: &Replica,
        origin: usize,
        (before, version): (u64, u64),
    ) -> Result<(), String> {
        let issued = self.issued.get(origin).map(|issued| &issued[..]).unwrap_or_default();
        let start = issued.partition_point(|&(sequence, ..)| sequence < before);
        for &(sequence, key, written) in issued.get(start..).unwrap_or_default() {
            if sequence > version {
                break;
            }
            // What nobody has committed may have taken the place of what was, and be kept from whoever holds the
            // tombstone that hides both; the commit may then reach a node before that tombstone does.
            let is_hidden = || self.keys.get(&key).is_some_and(|said| said.is_forgotten(written));
            if !self.covers(key, shown(replica, key), written) && !is_hidden() {
                return Err(format!(
                    "node {node} claims stream {origin} up to {version}, but lacks {sequence} of \
                     {key}: shows {:?}",
                    shown(replica, key)
                ));
            }
        }
        Ok(())
    }

    /// Whether a node that shows this can have heard of `written`: it shows as much, or the key was
    /// forgotten since, and what it shows was said anew after that.
    fn covers(&self, key: u64, shown: Option<Rank>, written: Rank) -> bool {
        let Some(said) = self.keys.get(&key) else { return false };
        match shown {
            Some(shown) if shown >= written => true,
            // One that was repeated, while a greater one was dropped.
            Some(shown) if shown.tombstone && shown.value != 0 => said.is_forgotten(written),
            Some(shown) => said.lawful(shown) == Some(Lawful::Anew) && said.is_forgotten(written),
            None => said.is_forgotten(written),
        }
    }

    /// Nothing but what was forgotten may disappear.
    fn check_lost(&self, node: usize, replica: &Replica, life: &mut Life) -> Result<(), String> {
        let gone: Vec<_> = life
            .shown
            .iter()
            .filter(|&(&key, _)| shown(replica, key).is_none())
            .map(|(&key, &before)| (key, before))
            .collect();
        for (key, before) in gone {
            life.shown.remove(&key);
            if !self.keys.get(&key).is_some_and(|said| said.is_forgotten(before)) {
                return Err(format!("node {node} lost {key}: {before:?}"));
            }
        }
        Ok(())
    }

    /// At the end every node shows at least what it has ever taken from a client.
    pub(crate) fn check_end(&self, node: usize, replica: &Replica) -> Result<(), String> {
        let Some(life) = &self.nodes[node] else { return Ok(()) };
        for (&key, &taken) in &life.taken {
            if !self.covers(key, shown(replica, key), taken) {
                return Err(format!("node {node} at rest lacks {taken:?} of {key}"));
            }
        }
        Ok(())
    }
}

impl Key {
    /// How this was said; none if it never was.
    fn lawful(&self, rank: Rank) -> Option<Lawful> {
        // A tombstone that somebody repeats has the time of the one that was asked for, or, where only what
        // it hid is known, of that.
        let first = if rank.tombstone { Rank { value: 0, ..rank } } else { rank };
        let is_hidden = |said: &Rank| said.ns == rank.ns && self.is_forgotten(*said);
        let repeats_hidden = || first != rank && self.accepted.keys().any(is_hidden);
        self.accepted.get(&first).copied().or_else(|| repeats_hidden().then_some(Lawful::Never))
    }

    /// Whether somebody asked for this, or something greater, to be forgotten.
    fn is_forgotten(&self, rank: Rank) -> bool {
        self.forgotten
            .iter()
            .any(|&(tombstone, _)| (tombstone.ns, true) >= (rank.ns, rank.tombstone))
    }
}

fn shown(replica: &Replica, key: u64) -> Option<Rank> {
    let mut text = [0; 20];
    replica.get(digits(key, &mut text)).map(|record| rank(&record))
}

/// A key's name.
pub(crate) fn digits(mut key: u64, text: &mut [u8; 20]) -> &[u8] {
    let mut start = text.len();
    for (at, digit) in text.iter_mut().enumerate().rev() {
        *digit = b'0' + (key % 10) as u8;
        start = at;
        key /= 10;
        if key == 0 {
            break;
        }
    }
    text.get(start..).unwrap_or_default()
}

/// How many entries have gone.
fn removed(happenings: &Happenings) -> u64 {
    happenings.discarded + happenings.collected + happenings.tombstones_collected
}
