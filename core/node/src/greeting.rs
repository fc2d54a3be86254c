//! Who is let in: hellos, refusals, and which of two connections to one server stays.
//!
//! Two of the same life of a server: the one stays that the side opened which dials always. Two of
//! different lives: the server was started anew and the old connection's end was not heard, or two
//! servers of one name live. So the old one is asked; if it answers, the newcomer is refused.

use crate::link::{Link, Phase};
use crate::mutants::Mutant;
use crate::node::{Node, Settings};
use crate::output::{CloseReason, Refusal};
use crate::peers::{DialRole, Peer, PeerId};
use herd_proto::{Features, Hello, Instant, Now};
use herd_replica::LinkId;

impl Node {
    pub(crate) fn say_hello(&mut self, id: LinkId) {
        let Settings { herd, name, incarnation, frames, .. } = &self.settings;
        let Some(link) = self.links.get_mut(&id) else { return };
        let expected = link.peer.filter(|_| link.dialed).and_then(|peer| self.peers.get(peer.0));
        let to = expected.map(|peer| &*peer.settings.name);
        let features = Features { frames: *frames, to };
        link.say_hello(&Hello { herd, server: name, incarnation: *incarnation, features });
        self.wake(id);
    }

    /// The other side said who it is.
    pub(crate) fn greet(&mut self, id: LinkId, hello: &Hello<'_>, now: Now) {
        let (peer, frames) = match self.judge(id, hello) {
            Ok(judged) => judged,
            Err(refusal) => {
                self.close_link(id, CloseReason::Refused(refusal), now);
                return;
            }
        };
        let Some(link) = self.links.get_mut(&id) else { return };
        link.peer = Some(peer);
        link.incarnation = hello.incarnation;
        link.frames = frames;
        self.admit(id, peer, now);
    }

    /// The hello of a link is in order. Only one connection to a server stays.
    fn admit(&mut self, id: LinkId, peer: PeerId, now: Now) {
        match self.rival(id, peer) {
            Rival::None => self.welcome(id, peer, now),
            Rival::Yields(old) => {
                if !self.is(Mutant::JudgeKeepsBoth) {
                    self.close_link(old, CloseReason::Replaced, now);
                }
                self.welcome(id, peer, now);
            }
            Rival::Stays => {
                if self.is(Mutant::JudgeRefusesBoth)
                    && let Some(old) = self.peers.get(peer.0).and_then(|peer| peer.link)
                {
                    self.close_link(old, CloseReason::Replaced, now);
                }
                self.close_link(id, CloseReason::Refused(Refusal::AlreadyLinked), now);
            }
            Rival::MayBeGone(old) => {
                let dead_after = self.links.get(&old).map(|old| old.dead_after);
                let hello_within = self.settings.hello_within;
                // Whoever waits for the answer has not given up by then.
                let wait = dead_after.map_or(hello_within, |dead| dead.min(hello_within)) / 2;
                let (since, until) = (now.instant, now.instant + wait);
                if let Some(link) = self.links.get_mut(&id) {
                    link.phase = Phase::Contested { since, until };
                }
                if let Some(old) = self.links.get_mut(&old) {
                    old.asked = Some(since);
                    old.say_ping(since);
                }
                self.wake(old);
            }
        }
    }

    /// How a link whose hello is in order stands to the one that its server has already.
    fn rival(&self, id: LinkId, peer: PeerId) -> Rival {
        let Some(peer) = self.peers.get(peer.0) else { return Rival::None };
        let (Some(link), Some(old_id)) = (self.links.get(&id), peer.link) else {
            return Rival::None;
        };
        let Some(old) = self.links.get(&old_id) else { return Rival::None };
        // Another life: the server was started anew, or two of its name live. A foreign server cannot be
        // asked.
        if old.incarnation != link.incarnation && old.speaks_frames() {
            return Rival::MayBeGone(old_id);
        }
        // Of two connections the one stays that the side opened which dials always.
        let keeps = |link: &Link| link.dialed == (peer.settings.role == DialRole::Always);
        if keeps(old) && !keeps(link) && old.incarnation == link.incarnation {
            Rival::Stays
        } else {
            Rival::Yields(old_id)
        }
    }

    fn welcome(&mut self, id: LinkId, peer: PeerId, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.phase = Phase::Up;
        if link.dialed {
            self.end_dialing(peer);
        } else {
            self.say_hello(id);
        }
        self.link_up(id, peer, now);
    }

    /// A server that is linked has answered what it was asked at `asked`: whoever came under its name
    /// before that is another.
    pub(crate) fn refuse_rivals(&mut self, id: LinkId, peer: PeerId, asked: Instant, now: Now) {
        if self.peers.get(peer.0).and_then(|peer| peer.link) != Some(id) {
            return;
        }
        for rival in self.contested(peer, Some(asked)) {
            let refusal = Refusal::SecondOfName(self.peer_name(peer).to_owned());
            self.close_link(rival, CloseReason::Refused(refusal), now);
        }
    }

    /// The links that wait for what becomes of the one that `peer` has; those that came until `since`.
    fn contested(&self, peer: PeerId, since: Option<Instant>) -> Vec<LinkId> {
        let waits = |link: &Link| {
            link.peer == Some(peer)
                && matches!(link.phase, Phase::Contested { since: came, .. }
                    if since.is_none_or(|since| came <= since))
        };
        self.links.iter().filter(|(_, link)| waits(link)).map(|(&id, _)| id).collect()
    }

    /// Which neighbour a hello comes from, and the version of frames to speak with it; or why it is not
    /// talked to.
    fn judge(&self, id: LinkId, hello: &Hello<'_>) -> Result<(PeerId, u8), Refusal> {
        let (ours, found) = (&self.settings, hello.server);
        if hello.herd != ours.herd {
            let (ours, theirs) = (ours.herd.clone(), hello.herd.to_owned());
            return Err(Refusal::OtherHerd { ours, theirs });
        }
        if found == ours.name {
            return Err(Refusal::OwnName(ours.name.clone()));
        }
        if let Some(to) = hello.features.to.filter(|to| *to != ours.name) {
            let (to, ours) = (to.to_owned(), ours.name.clone());
            return Err(Refusal::MeantForAnother { to, ours });
        }
        let theirs = hello.features.frames;
        let no_common = || Refusal::NoCommonFrames { ours: ours.frames, theirs };
        let frames = ours.frames.in_common(theirs).ok_or_else(no_common)?;
        let Some(link) = self.links.get(&id) else { return Err(Refusal::AlreadyLinked) };
        let id = if let Some(expected) = link.peer {
            let expected_name = self.peer_name(expected);
            if expected_name != found {
                let (expected, found) = (expected_name.to_owned(), found.to_owned());
                return Err(Refusal::WrongServer { expected, found });
            }
            expected
        } else {
            let is_it = |peer: &Peer| !peer.gone && peer.settings.name == found;
            let at = self.peers.iter().position(is_it);
            PeerId(at.ok_or_else(|| Refusal::NotANeighbor(found.to_owned()))?)
        };
        Ok((id, frames))
    }

    /// A server's link has ended: whoever waited for that takes its place.
    pub(crate) fn admit_rivals(&mut self, peer: PeerId, now: Now) {
        for rival in self.contested(peer, None) {
            self.admit(rival, peer, now);
            if self.links.get(&rival).is_some_and(|link| link.phase == Phase::Up) {
                // What it has said meanwhile.
                self.handle_link_input(rival, &[], now);
            }
        }
    }

    /// The time is up within which the server that is linked could say that it lives.
    pub(crate) fn end_contest(&mut self, id: LinkId, now: Now) {
        let Some(link) = self.links.get(&id) else { return };
        let (Phase::Contested { since, .. }, Some(peer)) = (link.phase, link.peer) else { return };
        let old = self.peers.get(peer.0).and_then(|peer| peer.link);
        let was_asked = |old: &Link| old.asked.is_some_and(|asked| asked >= since);
        match old.filter(|old| self.links.get(old).is_some_and(was_asked)) {
            Some(old) => self.close_link(old, CloseReason::Outlived, now),
            // Another connection has taken the place of the one that was asked.
            None => self.admit(id, peer, now),
        }
    }
}

/// How a new connection stands to one that its server has already.
enum Rival {
    /// There is none.
    None,
    /// It makes room.
    Yields(LinkId),
    /// It stays.
    Stays,
    /// It is of another life of that server, which may have ended unheard.
    MayBeGone(LinkId),
}
