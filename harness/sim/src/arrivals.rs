//! What arrives is kept: once a server was sent a record, it stores one of its key that is at least as great, or it may
//! do without.
//!
//! Comparisons repair much of what a server drops where it arrives, sooner or later, so this is asked at once.

use crate::oracle::{FUTURE_SKEW_MAX, is_future, is_set_aside, stored};
use crate::plan::{Plan, Step};
use crate::rank::{Rank, key_bytes, key_of, rank_of};
use crate::world::World;
use herd_proto::Record;
use herd_proto::peer::{Message, SUPERSEDED_NS};
use herd_replica::{LinkId, Replica};
use std::time::Duration;

/// A record further ahead than this is refused.
const AHEAD_MAX: Duration = Duration::from_hours(24);

/// A record that arrives.
pub(crate) struct Arrival {
    key: usize,
    rank: Rank,
    /// Entries that the replica had taken before; none if the record is no entry of a stream.
    entries: Option<u64>,
}

impl Arrival {
    /// The record that a message brings to a replica, if it brings one.
    pub(crate) fn of(message: &Message<'_>, replica: &Replica) -> Option<Self> {
        let (Message::Entry { key, effective_ns, received_ns, tombstone, value, .. }
        | Message::Record { key, effective_ns, received_ns, tombstone, value, .. }) = *message
        else {
            return None;
        };
        if effective_ns == SUPERSEDED_NS {
            return None;
        }
        let record = Record { key, effective_ns, received_ns, tombstone, value };
        let is_entry = matches!(message, Message::Entry { .. });
        let entries = is_entry.then(|| replica.stats().entries);
        Some(Self { key: key_of(key)?, rank: rank_of(&record)?, entries })
    }
}

impl World {
    /// Checks what became of a record that has just arrived on a link.
    pub(crate) fn check_arrival(
        &self,
        server: usize,
        link: LinkId,
        arrival: &Arrival,
    ) -> Result<(), String> {
        let Some(replica) = &self.servers[server].replica else { return Ok(()) };
        let &Arrival { key, ref rank, entries } = arrival;
        let (bytes, now) = (key_bytes(key), self.now(server));
        let kept = stored(replica, key);
        let is_kept = kept >= Some(*rank) || is_set_aside(replica, key, rank);
        if is_kept || self.plan.has_liar() || replica.has_expired(&rank.record(&bytes), now.unix) {
            return Ok(());
        }
        let is_ahead_by =
            |span| rank.effective_ns.max(rank.received_ns) > now.unix.saturating_add(span).nanos();
        let far = self.plan.tuning.far_future.max(2 * FUTURE_SKEW_MAX);
        let is_overtaken = kept.is_some_and(|kept| {
            let is_same = (kept.tombstone, kept.value) == (rank.tombstone, rank.value);
            kept.tombstone || is_same || is_ahead_by(far)
        });
        if is_future(rank, now.unix) && is_overtaken || is_ahead_by(AHEAD_MAX) {
            return Ok(());
        }
        // What a version counts already may have lost to what has expired since, or been given up, or issued again, by
        // clocks that were wrong.
        let is_known = entries == Some(replica.stats().entries);
        let may_be_gone = || {
            self.plan.has_clocks()
                || has_equal_twins(&self.plan)
                || self.oracle.is_excused(replica, key, rank, now)
        };
        if is_known && may_be_gone() {
            return Ok(());
        }
        if replica.comparisons().links.iter().all(|&(open, _)| open != link) {
            // A peer at fault is not listened to.
            return Ok(());
        }
        Err(format!("server {server} was sent {rank:?} of key {key} and stores {kept:?}"))
    }
}

/// Whether numbers of a stream are used twice.
fn has_equal_twins(plan: &Plan) -> bool {
    let is_one =
        |(_, step): &(Duration, Step)| matches!(step, Step::Twin { same_incarnation: true, .. });
    plan.steps.iter().any(is_one)
}
