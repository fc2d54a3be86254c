//! What changes while a node lives: its neighbours, the herd it belongs to, its own incarnation.

use crate::link::Dialect;
use crate::nearby::Whereabouts;
use crate::node::Node;
use crate::output::{CloseReason, Event, Output};
use crate::peers::{Dialing, Peer, PeerId, PeerSettings};
use crate::replay::Replay;
use herd_proto::Now;
use herd_replica::{Cursor, Held, LinkId, Replica};
use std::collections::BTreeSet;
use std::time::Duration;

/// New incarnations at most that a node takes in its life. One is right after a clock was set back; more
/// come only from a neighbour that is not correct, or from a second server of the name.
const RENEWALS_MAX: u32 = 8;

/// A later life that is heard of within this after the start is of the time before it. Heard of later it
/// is another server's, and to pass it would be a race.
const STARTING: Duration = Duration::from_mins(1);

/// What a change of the neighbours came to, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relinked {
    /// They are dialed, or let in, from now on.
    pub added: Vec<String>,
    /// Their links are closed.
    pub removed: Vec<String>,
}

impl Node {
    /// The config was read anew: these are the neighbours, and these all servers of the herd, this one
    /// among them. Links that it no longer has are closed, new ones are dialed at once, and all others go
    /// on as they are.
    pub fn set_neighbors(
        &mut self,
        neighbors: Vec<PeerSettings>,
        members: BTreeSet<Box<str>>,
        now: Now,
    ) -> Relinked {
        let mut relinked = Relinked::default();
        for at in 0..self.peers.len() {
            let Some(peer) = self.peers.get_mut(at).filter(|peer| !peer.gone) else { continue };
            let wanted = neighbors.iter().find(|wanted| wanted.name == peer.settings.name);
            let changed = wanted.is_some_and(|wanted| wanted.dialect != peer.settings.dialect);
            if wanted.is_none() || changed {
                relinked.removed.push(peer.settings.name.clone());
                peer.gone = true;
                peer.dialing = Dialing::Idle;
                self.unlink(PeerId(at), now);
            }
        }
        for wanted in neighbors {
            self.set_neighbor(wanted, &mut relinked, now);
        }
        self.settings.members.clone_from(&members);
        self.replica.set_members(members, now);
        self.after_replica(now);
        self.set_timeout();
        relinked
    }

    fn set_neighbor(&mut self, wanted: PeerSettings, relinked: &mut Relinked, now: Now) {
        let backoff = self.backoff();
        let Some(at) = self.peers.iter().position(|peer| peer.settings.name == wanted.name) else {
            relinked.added.push(wanted.name.clone());
            self.peers.push(Peer::new(wanted, backoff, now.instant));
            return;
        };
        let Some(peer) = self.peers.get_mut(at) else { return };
        if peer.gone {
            relinked.added.push(wanted.name.clone());
            let counters = peer.counters;
            *peer = Peer::new(wanted, backoff, now.instant);
            peer.counters = counters;
            return;
        }
        if let Some(link) = peer.link.and_then(|id| self.links.get_mut(&id)) {
            link.dead_after = wanted.dead_after;
        } else if peer.settings.role != wanted.role && peer.dialing == Dialing::Idle {
            peer.dialing = Dialing::At(now.instant);
        }
        peer.settings = wanted;
    }

    /// Closes whatever there is to a neighbour that is one no more.
    fn unlink(&mut self, peer: PeerId, now: Now) {
        let links = self.links.iter().filter(|(_, link)| link.peer == Some(peer));
        let links: Vec<_> = links.map(|(&id, _)| id).collect();
        // The contested ones first, or one of them would take the place of the one that is closed.
        for id in links.into_iter().rev() {
            self.close_link(id, CloseReason::Unlinked, now);
        }
    }

    /// How long the other side of a link may be silent; None if there is no such link, or nothing that
    /// its silence would mean.
    pub fn link_dead_after(&self, id: LinkId) -> Option<Duration> {
        let link = self.links.get(&id).filter(|link| link.dialect == Dialect::Native)?;
        let peer = link.peer.and_then(|peer| self.peers.get(peer.0));
        Some(peer.map_or(link.dead_after, |peer| peer.settings.dead_after))
    }

    /// By whom all that this node holds is held as well.
    pub fn held_elsewhere(&self) -> Held {
        self.replica.held_elsewhere()
    }

    /// This node leaves the herd: all servers are told not to wait for it. What it still takes in is
    /// spread as before; it shall end soon.
    pub fn handle_leave(&mut self, now: Now) {
        self.has_left = true;
        self.replica.leave(now);
        self.after_replica(now);
    }

    /// The process is about to end; the neighbour at the other end of this link is told why.
    pub fn handle_link_end(&mut self, id: LinkId, now: Now) {
        let reason = if self.has_left { CloseReason::Leaving } else { CloseReason::Stopping };
        self.close_link(id, reason, now);
    }

    /// The incarnation that this node must pass because of what its replica heard.
    pub(crate) fn life_to_pass(&mut self, event: &herd_replica::Event, now: Now) -> Option<u64> {
        match *event {
            herd_replica::Event::OwnStreamAhead => Some(self.settings.incarnation),
            herd_replica::Event::LaterLife { incarnation }
                if now.instant.since(self.started) < STARTING =>
            {
                Some(incarnation)
            }
            herd_replica::Event::LaterLife { .. } => {
                self.outputs.push_back(Output::Event(Event::SecondOfOwnName));
                None
            }
            herd_replica::Event::BootstrapBegun(_)
            | herd_replica::Event::BootstrapEnded(_)
            | herd_replica::Event::BootstrapBroken(_)
            | herd_replica::Event::AuditRepaired { .. }
            | herd_replica::Event::Adopted { .. } => None,
        }
    }

    /// Begins a new life, later than `than`: what this node knows is its own update from then on, and
    /// the neighbours are met anew.
    pub(crate) fn renew(&mut self, than: u64, now: Now) {
        if self.renewals == RENEWALS_MAX {
            self.outputs.push_back(Output::Event(Event::SecondOfOwnName));
            return;
        }
        self.renewals += 1;
        let clock = now.unix.nanos().unsigned_abs();
        // `than` need not be the latest: with a clock that was set back twice, the next number would be
        // that of a life between, and two lives of one number write two streams that pass for one.
        let apart = 1 + (self.chance.next() >> 32);
        let incarnation = than.max(self.settings.incarnation).saturating_add(apart).max(clock);
        self.settings.incarnation = incarnation;
        let replica = Replica::new(self.replica_settings(), now);
        let (position, safe) = (self.position(), self.safe_position());
        let old = std::mem::replace(&mut self.replica, replica);
        self.whereabouts = Whereabouts::default();
        self.replica.watch_places();
        if old.expects_journal() {
            self.replica.expect_journal();
        }
        for record in old.records() {
            self.replica.update(record, now);
        }
        self.count_on(position, safe);
        // Whoever keeps a journal is to begin one anew.
        self.outputs.push_back(Output::Journal);
        self.outputs.push_back(Output::Event(Event::Renewed { incarnation }));
        let ids: Vec<_> = self.links.keys().copied().collect();
        for id in ids {
            match self.links.get_mut(&id) {
                // It is told all anew, since the order of changes begins anew.
                Some(link) if link.dialect == Dialect::At => {
                    link.cursor = Cursor::default();
                    link.replay = Replay::new(self.replica.feed_end(), now.instant);
                }
                _ => self.close_link(id, CloseReason::Renewed, now),
            }
        }
    }
}
