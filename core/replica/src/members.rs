//! What every member of the herd holds, as far as this node has heard: only what all hold may be
//! collected. With it travels what each member says about itself, which is not read here.

use crate::link::Link;
use crate::origin::{Origin, OriginIx};
use crate::replica::Replica;
use crate::settings::{LinkId, Settings};
use herd_proto::peer::ABOUT_BYTES_MAX;
use herd_proto::{Instant, Now};
use std::collections::BTreeMap;

#[derive(Debug)]
pub(crate) struct Members {
    by_name: BTreeMap<Box<str>, Option<Member>>,
    told: Instant,
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

/// The last word of one member.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its present life.
    pub(crate) origin: OriginIx,
    pub(crate) counter: u64,
    pub(crate) versions: Vec<(OriginIx, u64)>,
    pub(crate) about: Box<[u8]>,
    heard: Instant,
}

impl Member {
    fn holds(&self, origin: OriginIx) -> u64 {
        let found = self.versions.binary_search_by_key(&origin, |&(origin, _)| origin);
        found.ok().and_then(|at| self.versions.get(at)).map_or(0, |&(_, version)| version)
    }
}

impl Members {
    pub(crate) fn new(settings: &Settings, now: Instant) -> Self {
        let by_name = settings.members.iter().map(|name| (name.clone(), None)).collect();
        Self { by_name, told: now, about: Box::default(), about_is_news: false }
    }

    /// The members that were heard of, beginning with the one at place `from` and going round; each
    /// with its place.
    pub(crate) fn heard_from(&self, from: usize) -> impl Iterator<Item = (usize, &Member)> {
        let all = || self.by_name.values().enumerate();
        let round = all().skip(from).chain(all().take(from));
        round.filter_map(|(at, member)| Some((at, member.as_ref()?)))
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

    /// A member's word came; it is passed on if it is news.
    pub(crate) fn hear_member(
        &mut self,
        id: LinkId,
        origin: OriginIx,
        counter: u64,
        mut versions: Vec<(OriginIx, u64)>,
        about: &[u8],
        now: Now,
    ) {
        if origin == OriginIx::ME {
            return;
        }
        let Some(life) = self.store.origin(origin).cloned() else { return };
        let Some(slot) = self.members.by_name.get_mut(&life.server) else { return };
        let known = slot.as_ref().map(|known| {
            let incarnation = self.store.origin(known.origin).map_or(0, |o| o.incarnation);
            (incarnation, known.counter)
        });
        if known.is_some_and(|known| known >= (life.incarnation, counter)) {
            return;
        }
        versions.sort_unstable();
        *slot = Some(Member { origin, counter, versions, about: about.into(), heard: now.instant });
        if let Some(link) = self.links.get_mut(&id) {
            link.members_told.insert(origin, counter);
        }
        self.stabilize(now);
        let ids: Vec<_> = self.links.keys().copied().filter(|&other| other != id).collect();
        for id in ids {
            self.wake(id);
        }
    }

    /// Tells what this node holds, if it is time.
    pub(crate) fn tick_members(&mut self, now: Now) {
        let versions: Vec<_> = (0..)
            .map(OriginIx)
            .zip(&self.streams)
            .map(|(at, stream)| (at, stream.version))
            .collect();
        let name = self.settings.origin.server.clone();
        let mine = self.members.by_name.get(&name).and_then(Option::as_ref);
        let changed =
            self.members.about_is_news || mine.is_none_or(|mine| mine.versions != versions);
        let elapsed = now.instant.since(self.members.told);
        let due = if changed {
            self.settings.tuning.tell_every
        } else {
            self.settings.tuning.tell_every_idle
        };
        if mine.is_none() || elapsed >= due {
            let counter = mine.map_or(1, |mine| mine.counter + 1);
            let about = self.members.about.clone();
            let heard = now.instant;
            let member = Member { origin: OriginIx::ME, counter, versions, about, heard };
            self.members.by_name.insert(name, Some(member));
            self.members.told = now.instant;
            self.members.about_is_news = false;
        }
        // Not only at news: what there was no allowance for is still to be told.
        let untold = |link: &Link| self.members.heard().any(|member| link.is_untold(member));
        let ids: Vec<_> =
            self.links.iter().filter(|(_, link)| untold(link)).map(|(&id, _)| id).collect();
        for id in ids {
            self.wake(id);
        }
        self.stabilize(now);
    }

    /// Finds anew what everyone holds.
    fn stabilize(&mut self, now: Now) {
        let forget_after = self.settings.forget_after;
        for at in 0..self.streams.len() {
            let origin = OriginIx(u16::try_from(at).unwrap_or(u16::MAX));
            let Some(stream) = self.streams.get_mut(at) else { return };
            let mut present = stream.version;
            let mut all = stream.version;
            for member in self.members.by_name.values() {
                let Some(member) = member else {
                    all = 0;
                    continue;
                };
                if member.origin == OriginIx::ME {
                    continue;
                }
                all = all.min(member.holds(origin));
                if now.instant.since(member.heard) < forget_after {
                    present = present.min(member.holds(origin));
                }
            }
            // A neighbour counts as soon as its link is up, whether its word has come or not.
            for link in self.links.values() {
                let heard = link.heard.get(&origin).copied().unwrap_or_default();
                let snapshot = link.snapshot_out.as_ref().map(|snapshot| snapshot.holds(origin));
                present = present.min(snapshot.unwrap_or(heard).max(heard));
            }
            stream.stable = present;
            stream.stable_for_all = all;
        }
    }
}
