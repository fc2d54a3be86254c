//! The servers of the herd: which incarnation of each is the latest, when it was last heard from, and what it says
//! about itself.
//!
//! A name has one incarnation that may be alive; all below it have ended, so one number a name says so for ever. Who
//! counts is decided by silence alone. Left out: what a server holds (its links tell), and what an account of itself
//! means.

use crate::ids::Origin;
use herd_proto::Instant;
use std::collections::{BTreeMap, BTreeSet};

/// Words that are counted up to here are believed to be of this process: far more than it ever says, and far from what
/// peers refuse.
const COUNTED_MAX: u64 = 1 << 32;

/// How far a word has been told: incarnation, counter, whether it says that the server left, and the counter of its
/// account.
pub(crate) type Rank = (u64, u64, bool, u64);

#[derive(Debug)]
pub(crate) struct Herd {
    names: BTreeMap<Box<str>, Name>,
    configured: BTreeSet<Box<str>>,
    /// Names at most that the config does not know, whoever claims them.
    guests_max: usize,
    /// When this server last said something of itself.
    pub(crate) told: Instant,
    /// Its next word counts more than this.
    counted: u64,
    about: Box<[u8]>,
    about_counter: u64,
    about_is_news: bool,
}

#[derive(Debug, Default)]
struct Name {
    /// The latest known; all before it have ended.
    incarnation: u64,
    /// That one was silent for so long that it counts as ended, until its server itself is heard from again.
    is_silent: bool,
    member: Option<Member>,
}

/// The last word of one server.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) incarnation: u64,
    pub(crate) counter: u64,
    pub(crate) about: Box<[u8]>,
    /// The word that brought the account.
    pub(crate) about_counter: u64,
    pub(crate) has_left: bool,
    pub(crate) heard: Instant,
}

/// A member of the herd, and its last word.
#[derive(Clone, Debug)]
pub struct MemberState<'a> {
    /// Its name.
    pub name: &'a str,
    /// None if it was never heard from.
    pub word: Option<Word<'a>>,
    /// Whether it has left the herd, or was taken out of it.
    pub has_left: bool,
}

/// What a member said last, by whichever way it came here.
#[derive(Clone, Debug)]
pub struct Word<'a> {
    /// Which incarnation said so.
    pub incarnation: u64,
    /// When it came.
    pub heard: Instant,
    /// What it said about itself; opaque.
    pub about: &'a [u8],
}

/// What becomes of a name's incarnation that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// It is the latest.
    Latest,
    /// It is the latest, and this one has ended with it.
    Ends(u64),
    /// A later one is known.
    Ended,
    /// Too many names are known.
    NoRoom,
}

impl Member {
    fn rank(&self) -> Rank {
        (self.incarnation, self.counter, self.has_left, self.about_counter)
    }
}

impl Herd {
    pub(crate) fn new(
        me: &Origin,
        members: &BTreeSet<Box<str>>,
        guests_max: usize,
        now: Instant,
    ) -> Self {
        let mut names: BTreeMap<_, _> =
            members.iter().map(|name| (name.clone(), Name::default())).collect();
        names.entry(me.server.clone()).or_default().incarnation = me.incarnation;
        Self {
            names,
            configured: members.clone(),
            guests_max,
            told: now,
            counted: 0,
            about: Box::default(),
            about_counter: 0,
            about_is_news: false,
        }
    }

    /// The latest incarnation known of a name; 0 if none is.
    pub(crate) fn incarnation(&self, server: &str) -> u64 {
        self.names.get(server).map_or(0, |name| name.incarnation)
    }

    /// An incarnation of a server is named.
    pub(crate) fn meet(&mut self, server: &str, incarnation: u64) -> Met {
        if let Some(name) = self.names.get_mut(server) {
            let before = name.incarnation;
            if incarnation < before || incarnation == before && name.is_silent {
                return Met::Ended;
            }
            (name.incarnation, name.is_silent) = (incarnation, false);
            return if before == incarnation || before == 0 {
                Met::Latest
            } else {
                Met::Ends(before)
            };
        }
        if self.guests().count() >= self.guests_max && !self.forget_silent_guest() {
            return Met::NoRoom;
        }
        self.names.insert(server.into(), Name { incarnation, ..Name::default() });
        Met::Latest
    }

    /// A word of a server's latest incarnation came; true if it is news. Without an account the last one stays.
    pub(crate) fn hear(
        &mut self,
        origin: &Origin,
        counter: u64,
        about: Option<&[u8]>,
        has_left: bool,
        now: Instant,
    ) -> bool {
        let Some(name) = self.names.get_mut(&origin.server) else { return false };
        if name.incarnation != origin.incarnation {
            return false;
        }
        let known = name.member.take_if(|member| member.incarnation == origin.incarnation);
        let is_news = known.as_ref().is_none_or(|known| {
            let brings_account = about.is_some() && known.about_counter < counter;
            (known.counter, known.has_left) < (counter, has_left)
                || known.counter == counter && !has_left && !known.has_left && brings_account
        });
        if !is_news {
            name.member = known;
            return false;
        }
        let (last, last_counter) =
            known.map_or((Box::default(), 0), |known| (known.about, known.about_counter));
        let (about, about_counter) = match about {
            _ if has_left => (Box::default(), counter),
            Some(about) => (about.into(), counter),
            None => (last, last_counter),
        };
        let incarnation = origin.incarnation;
        name.member =
            Some(Member { incarnation, counter, about, about_counter, has_left, heard: now });
        true
    }

    /// A word of this process itself came back: the next one must be later.
    pub(crate) fn hear_of_myself(&mut self, counter: u64, has_left: bool) {
        if has_left || counter > self.counted {
            self.about_is_news = true;
        }
        if counter < COUNTED_MAX {
            self.counted = self.counted.max(counter);
        }
    }

    /// Members from the one at place `from` on, round; each with its place and name.
    pub(crate) fn heard_from(&self, from: usize) -> impl Iterator<Item = (usize, &str, &Member)> {
        let all = || self.names.iter().enumerate();
        let round = all().skip(from).chain(all().take(from));
        round.filter_map(|(at, (name, known))| Some((at, &**name, known.member.as_ref()?)))
    }

    /// Whether an origin that has no stream may get one now: it is the latest of its name, or the config has named its
    /// server since it was met.
    pub(crate) fn may_be_met(&self, origin: &Origin) -> bool {
        let latest = self.incarnation(&origin.server);
        latest == origin.incarnation || latest == 0 && self.configured.contains(&origin.server)
    }

    /// When a server was last heard from; none if never.
    pub(crate) fn last_heard(&self, server: &str) -> Option<Instant> {
        self.names.get(server)?.member.as_ref().map(|member| member.heard)
    }

    /// A server was silent for long: its incarnation counts as ended.
    pub(crate) fn note_silent(&mut self, server: &str) {
        if let Some(name) = self.names.get_mut(server) {
            name.is_silent = true;
        }
    }

    /// Its incarnation that counted as ended says something new, or is linked. True if it had been silent.
    pub(crate) fn wake(&mut self, origin: &Origin, counter: Option<u64>) -> bool {
        let Some(name) = self.names.get_mut(&origin.server) else { return false };
        let last = name.member.as_ref().map_or(0, |member| member.counter);
        let is_new = counter.is_none_or(|counter| counter > last);
        let wakes = name.is_silent && name.incarnation == origin.incarnation && is_new;
        name.is_silent &= !wakes;
        wakes
    }

    /// Makes room for another guest.
    fn forget_silent_guest(&mut self) -> bool {
        let silent =
            self.guests().find(|&guest| self.names.get(guest).is_some_and(|n| n.is_silent));
        let Some(silent) = silent.map(Box::<str>::from) else { return false };
        self.names.remove(&silent).is_some()
    }

    /// Names of servers that no config names.
    fn guests(&self) -> impl Iterator<Item = &str> {
        self.names.keys().filter(|name| !self.configured.contains(*name)).map(|name| &**name)
    }

    /// Every member, with its last word.
    pub(crate) fn members(&self) -> impl Iterator<Item = MemberState<'_>> {
        let listed = self
            .names
            .iter()
            .filter(|(name, known)| known.member.is_some() || self.configured.contains(*name));
        listed.map(|(name, known)| MemberState {
            name,
            word: known.member.as_ref().map(|member| Word {
                incarnation: member.incarnation,
                heard: member.heard,
                about: &member.about,
            }),
            has_left: known.member.as_ref().is_some_and(|member| member.has_left),
        })
    }

    /// These are the servers of the config from now on; the ones that are not any more count as having left.
    pub(crate) fn configure(&mut self, names: BTreeSet<Box<str>>, me: &str) {
        for gone in self.configured.difference(&names) {
            match self.names.get_mut(gone) {
                Some(Name { member: Some(member), .. }) if **gone != *me => member.has_left = true,
                Some(Name { member: None, incarnation: 0, .. }) => {
                    self.names.remove(gone);
                }
                Some(_) | None => {}
            }
        }
        for name in &names {
            self.names.entry(name.clone()).or_default();
        }
        self.configured = names;
    }

    pub(crate) fn set_about(&mut self, about: &[u8], is_news: bool) {
        if *about != *self.about {
            self.about = about.into();
            self.about_counter = u64::MAX;
        }
        self.about_is_news |= is_news;
    }

    pub(crate) fn is_news(&self) -> bool {
        self.about_is_news
    }

    /// This server says something of itself.
    pub(crate) fn tell(&mut self, me: &Origin, has_left: bool, now: Instant) {
        self.counted = self.counted.saturating_add(1);
        self.told = now;
        self.about_is_news = false;
        if self.about_counter == u64::MAX {
            self.about_counter = self.counted;
        }
        let Some(name) = self.names.get_mut(&me.server) else { return };
        name.member = Some(Member {
            incarnation: me.incarnation,
            counter: self.counted,
            about: self.about.clone(),
            about_counter: self.about_counter,
            has_left,
            heard: now,
        });
    }

    /// This process goes on as another incarnation.
    pub(crate) fn renew(&mut self, me: &Origin) {
        let name = self.names.entry(me.server.clone()).or_default();
        name.incarnation = name.incarnation.max(me.incarnation);
        name.member = None;
        self.about_is_news = true;
    }

    pub(crate) fn has_left(&self, server: &str) -> bool {
        let member = self.names.get(server).and_then(|name| name.member.as_ref());
        member.is_some_and(|member| member.has_left)
    }

    /// Whether a link that was told this much has yet to be told of a member.
    pub(crate) fn is_untold(told: Option<&Rank>, member: &Member) -> bool {
        told.is_none_or(|told| *told < member.rank())
    }

    /// How far the last word of a server goes.
    pub(crate) fn rank_of(&self, server: &str) -> Option<Rank> {
        self.names.get(server)?.member.as_ref().map(Member::rank)
    }

    pub(crate) fn rank(member: &Member) -> Rank {
        member.rank()
    }

    /// Names known, for those who watch memory.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}
