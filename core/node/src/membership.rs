//! What changes while a node runs: its peers, and the herd it belongs to.

use crate::link::Dialect;
use crate::node::Node;
use crate::output::CloseReason;
use crate::peers::{Dialing, Peer, PeerId, PeerSettings};
use crate::silence::Silence;
use herd_proto::Now;
use herd_replica::{Held, LinkId};
use std::collections::BTreeSet;
use std::time::Duration;

/// The outcome of a change of the peers, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relinked {
    /// They are dialed, or let in, from now on.
    pub added: Vec<String>,
    /// Their links are closed.
    pub removed: Vec<String>,
}

impl Node {
    /// The config was reloaded: these are the peers, and these all servers of the herd, this one
    /// among them. Links that it no longer has are closed, new ones are dialed at once, and all others go
    /// on as they are.
    pub fn set_neighbors(
        &mut self,
        neighbors: Vec<PeerSettings>,
        members: BTreeSet<Box<str>>,
        now: Now,
    ) -> Relinked {
        self.note_time(now);
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

    /// Closes all links to a peer that is one no more.
    fn unlink(&mut self, peer: PeerId, now: Now) {
        let links = self.links.iter().filter(|(_, link)| link.peer == Some(peer));
        let links: Vec<_> = links.map(|(&id, _)| id).collect();
        // The contested ones first, or one of them would take the place of the one that is closed.
        for id in links.into_iter().rev() {
            self.close_link(id, CloseReason::Unlinked, now);
        }
    }

    /// How long the other side of a link may be silent at most, if its machine shows signs of life; None if there is no
    /// such link, or its silence means nothing.
    pub fn link_patience(&self, id: LinkId) -> Option<Duration> {
        let link = self.links.get(&id).filter(|link| link.dialect == Dialect::Native)?;
        let peer = link.peer.and_then(|peer| self.peers.get(peer.0));
        let limit = peer.map_or(link.dead_after, |peer| peer.settings.dead_after);
        Some(Silence::longest(limit))
    }

    /// Which other servers hold all that this node holds.
    pub fn held_elsewhere(&self) -> Held {
        self.replica.held_elsewhere()
    }

    /// This node leaves the herd: all servers are told not to wait for it. What it still takes in is
    /// replicated as before; it should stop soon.
    pub fn handle_leave(&mut self, now: Now) {
        self.note_time(now);
        self.has_left = true;
        self.replica.leave(now);
        self.after_replica(now);
    }

    /// The process is about to end; the peer at the other end of this link is told why.
    pub fn handle_link_end(&mut self, id: LinkId, now: Now) {
        self.note_time(now);
        let reason = if self.has_left { CloseReason::Leaving } else { CloseReason::Stopping };
        self.close_link(id, reason, now);
    }
}
