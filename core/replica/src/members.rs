//! What every member of the herd holds, as far as this node has heard: only what all hold may be
//! collected. With it travels what each member says about itself, which is not read here.

use crate::link::Link;
use crate::mutants::Mutant;
use crate::origin::{Origin, OriginIx, Stream};
use crate::replica::Replica;
use crate::settings::{LinkId, Settings};
use herd_proto::peer::ABOUT_BYTES_MAX;
use herd_proto::{Instant, Now};
use std::collections::{BTreeMap, BTreeSet};

/// Members at most beside those of the config: far more than a herd has, and no way to fill memory.
const UNCONFIGURED_MAX: usize = 256;

/// The members are those that the config names and those that were heard of: a server that joins at one
/// neighbour is waited for by all. One that has left is not, until it speaks again.
#[derive(Debug)]
pub(crate) struct Members {
    /// The last word of each; None of one that only the config names.
    by_name: BTreeMap<Box<str>, Option<Member>>,
    configured: BTreeSet<Box<str>>,
    told: Instant,
    /// Its next word counts more than this: the last that others have heard.
    counted: u64,
    /// What this node says about itself from its next word on.
    about: Box<[u8]>,
    /// Whether that is worth a word of its own.
    about_is_news: bool,
}

/// A member of the herd, and its last word.
#[derive(Clone, Debug)]
pub struct MemberState<'a> {
    /// Its name.
    pub name: &'a str,
    /// None if it was never heard of.
    pub word: Option<Word<'a>>,
    /// Whether it has left the herd, or was taken out of it.
    pub has_left: bool,
}

/// What a member said last, by whichever way it came here.
#[derive(Clone, Debug)]
pub struct Word<'a> {
    /// Which of its lives said so.
    pub origin: &'a Origin,
    /// When it came.
    pub heard: Instant,
    /// How far it held each stream.
    pub versions: Vec<(&'a Origin, u64)>,
    /// What it said about itself; opaque.
    pub about: &'a [u8],
}

/// By whom what a node holds is held as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// No neighbour is linked.
    Nowhere,
    /// Some linked neighbour lacks something that this node holds.
    NotByAllNeighbors,
    /// Every linked neighbour holds all of it.
    ByNeighbors,
    /// Moreover every member that was heard of lately holds all that this node has written.
    ByAll,
}

/// The last word of one member.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its present life.
    pub(crate) origin: OriginIx,
    pub(crate) counter: u64,
    /// In the order of the origins' numbers.
    pub(crate) versions: Vec<(OriginIx, u64)>,
    pub(crate) about: Box<[u8]>,
    /// It is not waited for, until a later word comes.
    pub(crate) has_left: bool,
    pub(crate) heard: Instant,
}

impl Member {
    /// Greater for what came later: of one counter, that it has left.
    pub(crate) fn rank(&self) -> (u64, bool) {
        (self.counter, self.has_left)
    }

    fn leave(&mut self) {
        self.has_left = true;
        self.versions.clear();
        self.about = Box::default();
    }
}

impl Member {
    /// A word as it came.
    pub(crate) fn heard(
        origin: OriginIx,
        counter: u64,
        versions: Vec<(OriginIx, u64)>,
        about: &[u8],
        now: Instant,
    ) -> Self {
        Self { origin, counter, versions, about: about.into(), has_left: false, heard: now }
    }

    /// That a member has left, as it came.
    pub(crate) fn gone(origin: OriginIx, counter: u64, now: Instant) -> Self {
        let mut member = Self::heard(origin, counter, Vec::new(), &[], now);
        member.leave();
        member
    }
}

impl Members {
    pub(crate) fn new(settings: &Settings, now: Instant) -> Self {
        let by_name = settings.members.iter().map(|name| (name.clone(), None)).collect();
        let configured = settings.members.clone();
        let about = Box::default();
        Self { by_name, configured, told: now, counted: 0, about, about_is_news: false }
    }

    /// The members that were heard of, beginning with the one at place `from` and going round; each
    /// with its place.
    pub(crate) fn heard_from(&self, from: usize) -> impl Iterator<Item = (usize, &Member)> {
        let all = || self.by_name.values().enumerate();
        let round = all().skip(from).chain(all().take(from));
        round.filter_map(|(at, member)| Some((at, member.as_ref()?)))
    }

    /// Every member that is configured, with its last word.
    pub(crate) fn all(&self) -> impl Iterator<Item = Option<&Member>> {
        self.by_name.values().map(Option::as_ref)
    }

    /// Every member that was ever heard of.
    pub(crate) fn heard(&self) -> impl Iterator<Item = &Member> {
        self.by_name.values().flatten()
    }
}

impl Replica {
    /// What this node says about itself with its next word; what is longer than [`ABOUT_BYTES_MAX`]
    /// is left out. If it is news, the next word comes as soon as if something had been written; else
    /// it comes when one is due anyway.
    pub fn set_about(&mut self, about: &[u8], is_news: bool) {
        self.members.about = about
            .get(..)
            .filter(|a| a.len() <= ABOUT_BYTES_MAX)
            .map_or_else(Box::default, Into::into);
        self.members.about_is_news |= is_news;
    }

    /// Every member of the herd, this node among them, with its last word.
    pub fn members(&self) -> impl Iterator<Item = MemberState<'_>> {
        self.members.by_name.iter().map(|(name, member)| MemberState {
            name,
            word: member.as_ref().and_then(|member| self.word(member)),
            has_left: member.as_ref().is_some_and(|member| member.has_left),
        })
    }

    fn word<'a>(&'a self, member: &'a Member) -> Option<Word<'a>> {
        let versions = member.versions.iter();
        let versions =
            versions.filter_map(|&(origin, version)| Some((self.store.origin(origin)?, version)));
        Some(Word {
            origin: self.store.origin(member.origin)?,
            heard: member.heard,
            versions: versions.collect(),
            about: &member.about,
        })
    }

    /// The config was read anew: these are the servers that it names, this one among them. Of one that
    /// it no longer names the others are told that it has left; if it lives, its next word says that it
    /// has not.
    pub fn set_members(&mut self, names: BTreeSet<Box<str>>, now: Now) {
        let members = &mut self.members;
        for gone in members.configured.difference(&names) {
            match members.by_name.get_mut(gone) {
                Some(Some(member)) if member.origin != OriginIx::ME => member.leave(),
                Some(None) => drop(members.by_name.remove(gone)),
                Some(Some(_)) | None => {}
            }
        }
        for name in &names {
            members.by_name.entry(name.clone()).or_insert(None);
        }
        members.configured = names;
        self.wake_untold();
        self.stabilize(now);
    }

    /// This node leaves the herd: from now on it has only that to say of itself. Whether it may is
    /// [`held_elsewhere`](Self::held_elsewhere).
    pub fn leave(&mut self, now: Now) {
        let name = self.settings.origin.server.clone();
        if let Some(Some(mine)) = self.members.by_name.get_mut(&name)
            && !mine.has_left
        {
            mine.counter += 1;
            mine.leave();
        }
        self.wake_untold();
        self.stabilize(now);
    }

    /// A member's word came; it is passed on if it is news.
    pub(crate) fn hear_member(&mut self, id: LinkId, mut member: Member) {
        let Some(life) = self.store.origin(member.origin) else { return };
        let (name, incarnation) = (life.server.clone(), life.incarnation);
        if member.origin == OriginIx::ME {
            self.hear_of_myself(&name, &member);
            return;
        }
        // Another life of this node has no say any more.
        if name == self.settings.origin.server {
            return;
        }
        let members = &mut self.members;
        let room = members.by_name.len() < members.configured.len() + UNCONFIGURED_MAX;
        if !room && !members.by_name.contains_key(&name) {
            return;
        }
        let slot = members.by_name.entry(name).or_insert(None);
        let known = slot.as_ref().map(|known| {
            let incarnation = self.store.origin(known.origin).map_or(0, |o| o.incarnation);
            (incarnation, known.rank())
        });
        if known.is_some_and(|known| known >= (incarnation, member.rank())) {
            return;
        }
        member.versions.sort_unstable();
        if let Some(link) = self.links.get_mut(&id) {
            link.members_told.insert(member.origin, member.rank());
        }
        *slot = Some(member);
        self.heard_member(id);
    }

    fn heard_member(&mut self, id: LinkId) {
        let ids: Vec<_> = self.links.keys().copied().filter(|&other| other != id).collect();
        for id in ids {
            self.wake(id);
        }
    }

    /// Somebody's config does not name this node any more; or it stopped and goes on with its last life, of
    /// which the others know the last word. It is here, so its next word must be later than that, and soon.
    fn hear_of_myself(&mut self, name: &str, word: &Member) {
        let mine = self.members.by_name.get(name).and_then(Option::as_ref);
        if word.counter > mine.map_or(0, |mine| mine.counter) {
            self.members.about_is_news = true;
        }
        if word.has_left {
            self.forget_answers();
        }
        if word.has_left || !self.settings.is(Mutant::WordsCountedAnew) {
            self.members.counted = self.members.counted.max(word.counter);
        }
    }

    /// Whoever has not heard the latest of some member is to be told.
    fn wake_untold(&mut self) {
        let untold = |link: &Link| self.members.heard().any(|member| link.is_untold(member));
        let ids: Vec<_> =
            self.links.iter().filter(|(_, link)| untold(link)).map(|(&id, _)| id).collect();
        for id in ids {
            self.wake(id);
        }
    }

    /// How far what this node holds is held by others, as the last tick found it: whether anything would
    /// be lost with it.
    pub fn held_elsewhere(&self) -> Held {
        let neighbours: Vec<_> = self.links.values().filter(|link| link.greeted).collect();
        if neighbours.is_empty() {
            return Held::Nowhere;
        }
        let held_by = |link: &Link| {
            (0..)
                .map(OriginIx)
                .zip(&self.streams)
                .all(|(at, stream)| link.heard.number(at) >= stream.version)
        };
        // Entries that nobody has committed yet may be held here alone.
        if !neighbours.into_iter().all(held_by) || self.streams.iter().any(Stream::is_unsettled) {
            return Held::NotByAllNeighbors;
        }
        let mine = self.streams.first();
        if mine.is_some_and(|stream| stream.stable >= stream.version) {
            Held::ByAll
        } else {
            Held::ByNeighbors
        }
    }

    /// Tells what this node holds, if it is time.
    pub(crate) fn tick_members(&mut self, now: Now) {
        // What would be gone after a crash is not said to be held: others drop what it would need then.
        let early = self.settings.is(Mutant::HeldBeforeWritten);
        let lasting = |at| self.journals.lasting(at).filter(|_| !early);
        let versions: Vec<_> = (0..)
            .map(OriginIx)
            .zip(&self.streams)
            .map(|(at, stream)| (at, lasting(at).unwrap_or(stream.version)))
            .collect();
        let name = self.settings.origin.server.clone();
        let mine = self.members.by_name.get(&name).and_then(Option::as_ref);
        let has_left = mine.is_some_and(|mine| mine.has_left);
        let changed =
            self.members.about_is_news || mine.is_none_or(|mine| mine.versions != versions);
        let elapsed = now.instant.since(self.members.told);
        let due = if changed {
            self.settings.tuning.tell_every
        } else {
            self.settings.tuning.tell_every_idle
        };
        if !has_left && (mine.is_none() || elapsed >= due) {
            let counter = mine.map_or(0, |mine| mine.counter).max(self.members.counted) + 1;
            let about = self.members.about.clone();
            let heard = now.instant;
            let origin = OriginIx::ME;
            let member = Member { origin, counter, versions, about, has_left, heard };
            self.members.by_name.insert(name, Some(member));
            self.members.told = now.instant;
            self.members.about_is_news = false;
        }
        // Not only at news: what there was no allowance for is still to be told.
        self.wake_untold();
        self.stabilize(now);
    }
}

#[cfg(test)]
mod tests;
