//! Links: what each peer holds, what it asked for, and how both sides become equal.
//!
//! A link is a position in each stream's log, never a queue. What no stream can promise is compared by buckets:
//! `receiver` asks, `donor` answers.

mod by_origin;
mod compare;
mod donor;
mod intake;
mod link;
mod pull;
mod receiver;
mod send;

pub(crate) use by_origin::ByOrigin;
pub use compare::{ComparisonReport, Verdict};
pub(crate) use link::Link;
pub(crate) use receiver::RangesTaken;

use crate::ids::{LinkId, OriginIx};
use herd_proto::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// All links, and the peers that were linked until recently.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) open: BTreeMap<LinkId, Link>,
    recent: BTreeMap<Box<str>, Recent>,
    recent_max: usize,
    pub(crate) taken: RangesTaken,
}

/// What a peer held when its link was lost.
#[derive(Debug)]
struct Recent {
    versions: ByOrigin<u64>,
    lost: Instant,
}

impl Links {
    pub(crate) fn new(recent_max: usize) -> Self {
        Self {
            open: BTreeMap::new(),
            recent: BTreeMap::new(),
            recent_max: recent_max.max(1),
            taken: RangesTaken::default(),
        }
    }

    /// A link is gone; what its peer held is remembered for a while.
    pub(crate) fn close(&mut self, id: LinkId, now: Instant) -> Option<Link> {
        let mut link = self.open.remove(&id)?;
        self.taken.release_all(id);
        let is_linked = self.open.values().any(|other| other.peer == link.peer);
        if link.greeted && !is_linked {
            let versions = std::mem::take(&mut link.peer_versions);
            if self.recent.len() >= self.recent_max {
                let longest = self.recent.iter().min_by_key(|(_, recent)| recent.lost);
                if let Some(peer) = longest.map(|(peer, _)| peer.clone()) {
                    self.recent.remove(&peer);
                }
            }
            self.recent.insert(link.peer.clone(), Recent { versions, lost: now });
        }
        Some(link)
    }

    /// A peer has told all that it holds: what it held before does not count any more.
    pub(crate) fn greeted(&mut self, peer: &str) {
        self.recent.remove(peer);
    }

    /// Peers that were away for so long do not count any more.
    pub(crate) fn forget_recent(&mut self, after: Duration, now: Instant) {
        self.recent.retain(|_, recent| now.since(recent.lost) < after);
    }

    /// How far all linked peers, and all that were linked until recently, hold a stream; `own` if there are none.
    pub(crate) fn held_by_all(&self, at: OriginIx, own: u64) -> u64 {
        // A peer that has not greeted yet counts for what it held before.
        let greeted = self.open.values().filter(|link| link.greeted);
        let linked = greeted.map(|link| link.peer_versions.number(at));
        let recent = self.recent.values().map(|recent| recent.versions.number(at));
        linked.chain(recent).min().unwrap_or(own).min(own)
    }

    /// A stream is held up to a version that was not reached by its labels: who lacks it does not get it from this
    /// server's log, and no commit may say so.
    pub(crate) fn open_gaps(&mut self, at: OriginIx, version: u64) {
        for link in self.open.values_mut() {
            let held = link.peer_versions.number(at);
            let Some(subscription) = link.subscriptions.get_mut(at) else { continue };
            if held >= version {
                subscription.committed = subscription.committed.max(held);
            } else {
                subscription.gap = Some(version);
                link.gaps_due.insert(at, version);
            }
        }
    }

    /// Whether some peer holds what only buckets bring: then all of them share that work.
    pub(crate) fn has_gaps(&self) -> bool {
        self.open.values().any(|link| link.gaps.iter().next().is_some())
    }

    pub(crate) fn forget_stream(&mut self, at: OriginIx) {
        for link in self.open.values_mut() {
            link.forget_stream(at);
        }
        for recent in self.recent.values_mut() {
            recent.versions.remove(at);
        }
    }
}
