//! What must hold at every moment, whatever happens.
//!
//! No replica shows a record that no one wrote; what it stores of a key never goes back in rank; what it
//! claims to hold of a stream it holds; no stream numbers two updates alike.

use crate::plan::nanos;
use crate::rank::{Rank, key_bytes, key_of, rank_of};
use crate::report::{Count, Report};
use crate::world::START_NS;
use herd_proto::{Now, UnixTime};
use herd_replica::{Cursor, Origin, Replica};
use std::collections::BTreeMap;
use std::time::Duration;

/// How far ahead of its server's clock a client's time may be. A record twice as far ahead is of the future.
pub(crate) const FUTURE_SKEW_MAX: Duration = Duration::from_mins(1);
/// A record that was so far ahead of some clock may have been set aside there, and reissued: somewhat less than a server
/// asks for, since the oracle does not see clocks at each moment.
pub(crate) const AHEAD_MIN: Duration = Duration::from_secs(110);

/// Everything that was written and stored so far.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    servers: Vec<Option<Box<Seen>>>,
    origins: BTreeMap<Origin, usize>,
    issued: Vec<Issued>,
    /// Everything that any server accepted from a client, by key.
    accepted: Vec<Vec<Rank>>,
    /// When each was accepted first, by the right clock.
    accepted_ns: BTreeMap<(usize, Rank), i64>,
    /// Some server lies: who wrote what is not known.
    pub(crate) has_liar: bool,
    /// Records that are further ahead of some clock may have been given up.
    pub(crate) far_future: Option<Duration>,
    /// The shortest lifetime of a value, if servers differ in it.
    pub(crate) shortest: Option<Duration>,
    /// The least wall-clock time at which any server was since the record was written, less virtual time.
    least_skew_ns: i64,
}

/// One stream, as its own server wrote it.
#[derive(Debug, Default)]
struct Issued {
    updates: Vec<(u64, usize, Rank)>,
    version: u64,
    /// Two processes write it.
    is_shared: bool,
}

/// What one process has stored and claimed since its start.
#[derive(Debug, Default)]
struct Seen {
    cursor: Cursor,
    stored: Vec<Option<Rank>>,
    /// Streams with the version that was claimed last.
    streams: Vec<(Origin, usize, u64)>,
}

/// Whether a record is not due yet by this clock.
pub(crate) fn is_future(rank: &Rank, now: UnixTime) -> bool {
    let latest = now.saturating_add(2 * FUTURE_SKEW_MAX).nanos();
    rank.effective_ns > latest || rank.received_ns > latest
}

/// Whether a replica need not store a record: it has expired, or is not due.
pub(crate) fn is_void(replica: &Replica, key: usize, rank: &Rank, now: Now) -> bool {
    let bytes = key_bytes(key);
    replica.has_expired(&rank.record(&bytes), now.unix) || is_future(rank, now.unix)
}

/// Whether a replica keeps this record, or a greater one, beside what it stores, until it is due.
pub(crate) fn is_set_aside(replica: &Replica, key: usize, rank: &Rank) -> bool {
    let bytes = key_bytes(key);
    replica.futures().any(|record| record.key == bytes && rank_of(&record) >= Some(*rank))
}

/// The rank of what a replica stores under a key.
pub(crate) fn stored(replica: &Replica, key: usize) -> Option<Rank> {
    replica.get(&key_bytes(key)).as_ref().and_then(rank_of)
}

/// The same, unless it has expired. A tombstone counts, though clients are shown nothing.
pub(crate) fn visible(replica: &Replica, key: usize, now: Now) -> Option<Rank> {
    let record = replica.get(&key_bytes(key)).filter(|r| !replica.has_expired(r, now.unix))?;
    rank_of(&record)
}

/// Whether a replica stores a record that only a liar can have sent, and that is greater than this one.
pub(crate) fn stores_forged(replica: &Replica, key: usize, rank: &Rank) -> bool {
    let (least, bytes) = ((rank.effective_ns, rank.tombstone), key_bytes(key));
    let known = replica.get(&bytes).filter(|record| rank_of(record).is_none());
    known.is_some_and(|record| (record.effective_ns, record.tombstone) >= least)
}

impl Oracle {
    /// A process starts.
    pub(crate) fn begin(&mut self, server: usize) {
        if self.servers.len() <= server {
            self.servers.resize_with(server + 1, || None);
        }
        self.servers[server] = Some(Box::default());
    }

    /// A process ends.
    pub(crate) fn end(&mut self, server: usize) {
        if let Some(seen) = self.servers.get_mut(server) {
            *seen = None;
        }
    }

    /// Two processes write this stream from now on.
    pub(crate) fn share(&mut self, origin: &Origin) {
        let origin = self.origin(origin);
        self.issued[origin].is_shared = true;
    }

    /// Number of keys of which anything was ever accepted.
    pub(crate) fn keys(&self) -> usize {
        self.accepted.len()
    }

    /// Whether any server accepted this record.
    pub(crate) fn was_accepted(&self, key: usize, rank: &Rank) -> bool {
        self.accepted.get(key).is_some_and(|ranks| ranks.binary_search(rank).is_ok())
    }

    /// Whether a replica need not store a record, or has had a greater one in its place that is void by now.
    pub(crate) fn is_excused(&self, replica: &Replica, key: usize, rank: &Rank, now: Now) -> bool {
        let may_be_gone = |other: &Rank| {
            is_void(replica, key, other, now)
                || self.may_be_given_up(key, other)
                || self.may_have_expired(other, now)
        };
        self.accepted_from(key, rank).iter().any(may_be_gone) || is_set_aside(replica, key, rank)
    }

    /// What was accepted of a key and is at least as great as this.
    fn accepted_from(&self, key: usize, rank: &Rank) -> &[Rank] {
        let accepted = self.accepted.get(key).map(Vec::as_slice).unwrap_or_default();
        let start = accepted.partition_point(|other| other < rank);
        accepted.get(start..).unwrap_or_default()
    }

    /// Whether a greater record than this one was accepted, which its holders put in its place, and has expired: no one
    /// need have either of them any more.
    pub(crate) fn has_lost_to_expired(
        &self,
        replica: &Replica,
        key: usize,
        rank: &Rank,
        now: Now,
    ) -> bool {
        let bytes = key_bytes(key);
        let mut greater = self.accepted_from(key, rank).iter().filter(|&other| other > rank);
        greater.any(|other| replica.has_expired(&other.record(&bytes), now.unix))
    }

    /// Whether a server with a shorter lifetime than others may have erased a record.
    fn may_have_expired(&self, rank: &Rank, now: Now) -> bool {
        let shortest = self.shortest.map_or(i64::MAX, |d| nanos(d).cast_signed());
        !rank.tombstone && rank.received_ns <= now.unix.nanos().saturating_sub(shortest)
    }

    /// A server's clock differs from the right one by so much.
    pub(crate) fn see_skew(&mut self, skew_ns: i64) {
        self.least_skew_ns = self.least_skew_ns.min(skew_ns);
    }

    /// Whether a server whose clock was behind may have given up a record that was far ahead of it.
    fn may_be_given_up(&self, key: usize, rank: &Rank) -> bool {
        let Some(far) = self.far_future else { return false };
        let accepted = self.accepted_ns.get(&(key, *rank));
        let received = accepted.map_or(rank.received_ns, |&at| at.min(rank.received_ns));
        let behind = UnixTime::from_nanos(received.saturating_add(self.least_skew_ns));
        rank.effective_ns.max(rank.received_ns) > behind.saturating_add(far).nanos()
    }

    /// A server has accepted a record from a client, and numbered it in its own stream.
    pub(crate) fn accept(
        &mut self,
        key: usize,
        rank: Rank,
        replica: &Replica,
        now_ns: u64,
    ) -> Result<(), String> {
        let now_ns = START_NS + now_ns.cast_signed();
        self.accepted_ns.entry((key, rank)).or_insert(now_ns);
        if self.accepted.len() <= key {
            self.accepted.resize_with(key + 1, Vec::new);
        }
        let ranks = &mut self.accepted[key];
        if let Err(at) = ranks.binary_search(&rank) {
            ranks.insert(at, rank);
        }
        let Some(own) = replica.streams().next() else { return Ok(()) };
        let (sequence, origin) = (own.version, own.origin.clone());
        let at = self.origin(&origin);
        let issued = &mut self.issued[at];
        let is_new = issued.updates.last().is_none_or(|&(last, ..)| last < sequence);
        if is_new {
            issued.updates.push((sequence, key, rank));
        } else if !issued.is_shared {
            return Err(format!("{origin:?} uses the number {sequence} twice"));
        }
        Ok(())
    }

    fn origin(&mut self, origin: &Origin) -> usize {
        if let Some(&known) = self.origins.get(origin) {
            return known;
        }
        let number = self.issued.len();
        self.origins.insert(origin.clone(), number);
        self.issued.push(Issued::default());
        number
    }

    /// Checks what a replica stores and claims since it was looked at last.
    pub(crate) fn check(
        &mut self,
        server: usize,
        replica: &mut Replica,
        now: Now,
        report: &mut Report,
    ) -> Result<(), String> {
        // Taken out while it is looked at, since the rest is asked meanwhile.
        let Some(mut seen) = self.servers[server].take() else { return Ok(()) };
        let checked = self
            .check_stored(replica, &mut seen, now, report)
            .and_then(|()| self.check_streams(replica, &mut seen, now));
        self.servers[server] = Some(seen);
        checked.map_err(|what| format!("server {server} {what}"))
    }

    fn check_stored(
        &self,
        replica: &mut Replica,
        seen: &mut Seen,
        now: Now,
        report: &mut Report,
    ) -> Result<(), String> {
        if !replica.take_changed() {
            return Ok(());
        }
        loop {
            let Some(record) = replica.poll_change(&mut seen.cursor) else { return Ok(()) };
            let Some((key, rank)) = key_of(record.key).zip(rank_of(&record)) else {
                if self.has_liar {
                    // A greater one, forged.
                    let key = key_of(record.key).and_then(|key| seen.stored.get_mut(key));
                    key.map(Option::take);
                    continue;
                }
                return Err(format!("stores what no one wrote: {record:?}"));
            };
            if seen.stored.len() <= key {
                seen.stored.resize(key + 1, None);
            }
            let before = seen.stored[key].replace(rank);
            if before == Some(rank) {
                continue;
            }
            if !self.has_liar && !self.was_accepted(key, &rank) {
                return Err(format!("stores of key {key} what no one wrote: {rank:?}"));
            }
            if let Some(before) = before.filter(|before| *before > rank) {
                let is_lawful = is_void(replica, key, &before, now)
                    || is_set_aside(replica, key, &before)
                    || self.may_be_given_up(key, &before);
                if !is_lawful {
                    return Err(format!("went back on key {key}: from {before:?} to {rank:?}"));
                }
                report.count(Count::VoidReplaced);
            }
        }
    }

    fn check_streams(
        &mut self,
        replica: &Replica,
        seen: &mut Seen,
        now: Now,
    ) -> Result<(), String> {
        let mut at = 0;
        for stream in replica.streams() {
            let known = seen.streams.get(at..).unwrap_or_default();
            let found = known.iter().position(|(origin, ..)| origin == stream.origin);
            let (origin, before) = if let Some(found) = found {
                // Streams between have ended.
                seen.streams.drain(at..at + found);
                (seen.streams[at].1, seen.streams[at].2)
            } else {
                let origin = self.origin(stream.origin);
                seen.streams.insert(at, (stream.origin.clone(), origin, 0));
                (origin, 0)
            };
            at += 1;
            let version = stream.version;
            if version == before {
                continue;
            }
            seen.streams[at - 1].2 = version;
            let (name, issued) = (stream.origin, &mut self.issued[origin]);
            if version < before {
                return Err(format!("went back on {name:?}: from {before} to {version}"));
            }
            if at == 1 {
                if version < issued.version && !issued.is_shared {
                    let issued = issued.version;
                    return Err(format!("numbers {name:?} from {version} again, was {issued}"));
                }
                issued.version = issued.version.max(version);
            }
            if !self.has_liar && !issued.is_shared {
                self.check_claim(replica, origin, (before, version), now)
                    .map_err(|lacks| format!("claims {name:?} up to {version}, but {lacks}"))?;
            }
        }
        seen.streams.truncate(at);
        Ok(())
    }

    /// Checks that a replica still stores all that it stored, as far as it must.
    pub(crate) fn check_kept(
        &self,
        server: usize,
        replica: &Replica,
        now: Now,
    ) -> Result<(), String> {
        let Some(Some(seen)) = self.servers.get(server) else { return Ok(()) };
        for (key, before) in seen.stored.iter().enumerate() {
            let Some(before) = before else { continue };
            let after = stored(replica, key);
            if after < Some(*before)
                && !is_void(replica, key, before, now)
                && !is_set_aside(replica, key, before)
            {
                return Err(format!("server {server} lost {before:?} of key {key}: {after:?}"));
            }
        }
        Ok(())
    }

    /// Whoever claims to hold a stream stores under each of its keys at least what was written there.
    fn check_claim(
        &self,
        replica: &Replica,
        origin: usize,
        (before, version): (u64, u64),
        now: Now,
    ) -> Result<(), String> {
        let issued = &self.issued[origin];
        let start = issued.updates.partition_point(|&(sequence, ..)| sequence <= before);
        for &(sequence, key, rank) in issued.updates.get(start..).unwrap_or_default() {
            if sequence > version {
                break;
            }
            let stored = stored(replica, key);
            // A server whose clock was set back may have reissued a lesser one.
            let is_repeated = |&(later, other, _): &(u64, usize, Rank)| {
                sequence < later && later <= version && other == key
            };
            if stored < Some(rank)
                && !self.is_excused(replica, key, &rank, now)
                && !issued.updates.iter().any(is_repeated)
            {
                return Err(format!("lacks {sequence}, {rank:?} of key {key}: {stored:?}"));
            }
        }
        if version > issued.version {
            return Err(format!("that stream ends at {}", issued.version));
        }
        Ok(())
    }
}
