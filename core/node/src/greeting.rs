//! Who is let in: hellos, refusals, and which of two connections to one server stays.
//!
//! Two that both sides dialed at once are of one process; the one stays that the side opened which always
//! dials. Any other second connection means that the server was restarted and the end of the old connection was
//! not heard, or that two processes run under one name. So the old one is asked; if it answers, the newcomer is
//! refused.

use crate::clocks::ClockReading;
use crate::link::{Link, Phase};
use crate::mutants::Mutant;
use crate::node::{Node, Settings};
use crate::output::{CloseReason, Refusal};
use crate::peers::{DialRole, Peer, PeerId};
use crate::renewal::is_far_ahead;
use herd_proto::{Features, Hello, Instant, Now};
use herd_replica::LinkId;

impl Node {
    pub(crate) fn say_hello(&mut self, id: LinkId, now: Now) {
        let Settings { herd, name, incarnation, frames, .. } = &self.settings;
        let Some(link) = self.links.get_mut(&id) else { return };
        let expected = link.peer.filter(|_| link.dialed).and_then(|peer| self.peers.get(peer.0));
        let to = expected.map(|peer| &*peer.settings.name);
        let features = Features { frames: *frames, to, at: Some(now.unix) };
        link.say_hello(&Hello { herd, server: name, incarnation: *incarnation, features });
        self.wake(id);
    }

    /// The other side said who it is.
    pub(crate) fn greet(&mut self, id: LinkId, hello: &Hello<'_>, now: Now) {
        let judged = self.identify(id, hello).and_then(|(peer, frames)| {
            if let Some(link) = self.links.get_mut(&id) {
                link.peer = Some(peer);
                link.incarnation = hello.incarnation;
                link.frames = frames;
            }
            self.judge(id, peer, hello, now)?;
            Ok(peer)
        });
        match judged {
            Ok(peer) => self.admit(id, peer, now),
            Err(refusal) => {
                // Both are to see the difference, so the dialing side learns this side's time.
                let is_clock = matches!(refusal, Refusal::ClocksDiffer { .. });
                if is_clock && self.links.get(&id).is_some_and(|link| !link.dialed) {
                    self.say_hello(id, now);
                }
                self.close_link(id, CloseReason::Refused(refusal), now);
            }
        }
    }

    /// The hello of a link is in order. Only one connection to a server stays.
    fn admit(&mut self, id: LinkId, peer: PeerId, now: Now) {
        // A later process may have been let in while this one waited.
        let found = self.links.get(&id).map_or(0, |link| link.incarnation);
        let known = self.latest_incarnation(peer);
        if found < known && !self.is(Mutant::OlderAdmitted) {
            let name = self.peer_name(peer).to_owned();
            let refusal = Refusal::Superseded { name, found, known };
            self.close_link(id, CloseReason::Refused(refusal), now);
            return;
        }
        match self.rival(id, peer, now) {
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
                // The newcomer has not given up by then.
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
    fn rival(&self, id: LinkId, peer: PeerId, now: Now) -> Rival {
        let Some(peer) = self.peers.get(peer.0) else { return Rival::None };
        let (Some(link), Some(old_id)) = (self.links.get(&id), peer.link) else {
            return Rival::None;
        };
        let Some(old) = self.links.get(&old_id) else { return Rival::None };
        // A process does not dial where it has a link, except when both sides dial at once. A foreign server cannot
        // be asked.
        let is_heard = now.instant.since(old.heard) < self.settings.ping_every * 2;
        let is_other = old.incarnation != link.incarnation || old.dialed == link.dialed && is_heard;
        if is_other && old.speaks_frames() {
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
        link.silence.end(now.instant);
        if let Some(peer) = self.peers.get_mut(peer.0) {
            peer.incarnation = link.incarnation.max(peer.incarnation);
        }
        if link.dialed {
            self.end_dialing(peer);
        } else {
            self.say_hello(id, now);
        }
        self.link_up(id, peer, now);
    }

    /// A server that is linked has answered what it was asked at `asked`: a process that came under its name
    /// before that is another one.
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

    /// The peer that a hello comes from, and the version of frames to speak with it.
    fn identify(&self, id: LinkId, hello: &Hello<'_>) -> Result<(PeerId, u8), Refusal> {
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

    /// Whether a peer that said who it is can be worked with now.
    fn judge(
        &mut self,
        id: LinkId,
        peer: PeerId,
        hello: &Hello<'_>,
        now: Now,
    ) -> Result<(), Refusal> {
        let (opened, dialed) =
            self.links.get(&id).map_or((now.instant, false), |link| (link.opened, link.dialed));
        let penalty = self.peers.get(peer.0).map(|peer| &peer.accept_penalty);
        if let Some(left) = penalty.filter(|_| !dialed).and_then(|p| p.left(now.instant)) {
            return Err(Refusal::KeptAway { name: hello.server.to_owned(), left });
        }
        if let Some(theirs) = hello.features.at {
            let span = now.instant.since(opened);
            self.judge_clock(peer, ClockReading::new(theirs, span, now), now)?;
        }
        let (name, found) = (hello.server.to_owned(), hello.incarnation);
        let known = self.latest_incarnation(peer);
        if is_far_ahead(found, known, now) {
            return Err(Refusal::IncarnationAhead { name, found });
        }
        Ok(())
    }

    /// The latest incarnation of a peer's name that this node has heard of; 0 if of none.
    fn latest_incarnation(&self, peer: PeerId) -> u64 {
        let Some(peer) = self.peers.get(peer.0) else { return 0 };
        let heard = self.replica.latest_incarnation(&peer.settings.name);
        peer.incarnation.max(heard.unwrap_or(0))
    }

    /// A server's link has ended: a connection that waited for that takes its place.
    pub(crate) fn admit_rivals(&mut self, peer: PeerId, now: Now) {
        for rival in self.contested(peer, None) {
            self.admit(rival, peer, now);
            if self.links.get(&rival).is_some_and(|link| link.phase == Phase::Up) {
                // What it has said meanwhile.
                self.handle_link_input(rival, &[], now);
            }
        }
    }

    /// The time is up within which the server that is linked could answer.
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
    /// It may be of another process, if the one that is linked has not ended unheard.
    MayBeGone(LinkId),
}
