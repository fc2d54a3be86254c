//! What time brings: watermarks that are due, streams that stand still or fall silent, origins that have ended, labels
//! that no one needs.

use crate::faults::Mutant;
use crate::ids::{LinkId, OriginIx};
use crate::links::Link;
use crate::output::Output;
use crate::replica::Replica;
use crate::settings::Settings;
use herd_proto::{Instant, Now};
use std::collections::BTreeSet;
use std::time::Duration;

/// How often watermarks are sent, and lagging streams looked at, while something changes.
const TICK: Duration = Duration::from_millis(20);

/// The same while nothing does.
const TICK_IDLE: Duration = Duration::from_millis(500);

impl Replica {
    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Instant {
        self.ticked + if self.busy { TICK } else { TICK_IDLE }
    }

    /// The moment that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.ticked = now.instant;
        self.busy = false;
        self.tick_clock(now);
        self.tick_watermarks(now);
        self.tick_lag(now);
        self.tick_streams(now);
        self.tick_members(now);
        self.tick_origins(now);
        self.tick_trim(now);
        self.tick_walk(now);
        self.tick_compare(now);
    }

    fn tick_watermarks(&mut self, now: Now) {
        let mut woken = Vec::new();
        for (&id, link) in &mut self.links.open {
            let announced = &link.announced;
            let changed = self.streams.iter().any(|(at, s)| announced.number(at) < s.version);
            if changed && link.has_greeted {
                self.busy = true;
                if link.watermarks_due <= now.instant {
                    link.tell_watermarks = true;
                    woken.push(id);
                }
            }
        }
        for id in woken {
            self.wake(id);
        }
    }

    fn tick_lag(&mut self, now: Now) {
        for (at, stream) in self.streams.iter_mut().filter(|(at, _)| *at != OriginIx::ME) {
            let held = |link: &Link| link.peer_versions.number(at);
            let greatest = self.links.open.values().map(held).max().unwrap_or_default();
            stream.lag.note(stream.version, greatest, now.instant);
        }
    }

    /// Looks for streams that do not move though they should.
    fn tick_streams(&mut self, now: Now) {
        if self.faults.make(Mutant::BehindIgnored) {
            return;
        }
        let others: Vec<_> =
            self.streams.iter().map(|(at, _)| at).filter(|&at| at != OriginIx::ME).collect();
        for at in others {
            self.tick_stream(at, now);
        }
    }

    fn tick_stream(&mut self, at: OriginIx, now: Now) {
        let tuning = &self.settings.tuning;
        let Some(stream) = self.streams.get_mut(at) else { return };
        let held = |link: &Link| link.peer_versions.number(at);
        let greeted = self.links.open.iter().filter(|(_, link)| link.greeted);
        let ahead: Vec<_> = greeted.filter(|(_, link)| held(link) > stream.version).collect();
        if ahead.is_empty() {
            stream.behind_since = None;
            self.tick_silence(at, now);
            return;
        }
        self.busy = true;
        let since = (*stream.behind_since.get_or_insert(now.instant)).max(stream.progressed);
        let idle = now.instant.since(since);
        let best = |links: &[&(&LinkId, &Link)]| {
            let by = |(id, link): &(&LinkId, &Link)| {
                (held(link), std::cmp::Reverse((link.round_trip, **id)))
            };
            links.iter().max_by_key(|link| by(link)).map(|(id, link)| (**id, link.round_trip))
        };
        let fresh: Vec<_> = ahead.iter().filter(|(id, _)| !stream.upstreams.contains(id)).collect();
        // Behind a gap only buckets help.
        let waits = ahead.iter().all(|(_, link)| link.gaps.contains(at));
        let found = if let Some((id, round_trip)) = best(&fresh) {
            (idle >= tuning.behind_max.max(3 * round_trip)).then_some(id)
        } else {
            let all: Vec<_> = ahead.iter().collect();
            best(&all).filter(|_| idle >= tuning.ask_again_after && !waits).map(|(id, _)| id)
        };
        if let Some(id) = found {
            self.stats.resubscriptions += 1;
            self.subscribe(id, at, now);
        }
    }

    /// What no one has committed may have reached only some: if nothing more comes, buckets are compared (R4).
    fn tick_silence(&mut self, at: OriginIx, now: Now) {
        let silent_after = self.settings.tuning.silent_after;
        let Some(stream) = self.streams.get_mut(at) else { return };
        if !stream.has_uncommitted() || stream.silence_compared {
            return;
        }
        self.busy = true;
        if stream.is_moving(now.instant, silent_after) || self.faults.make(Mutant::SilenceIgnored) {
            return;
        }
        stream.silence_compared = true;
        self.compare_all_soon(now);
        self.hint_others(None, now);
    }

    /// Origins that were silent for long have ended.
    fn tick_origins(&mut self, now: Now) {
        let forget_after = self.settings.forget_after;
        self.links.forget_recent(forget_after, now.instant);
        let linked: BTreeSet<&str> = self.links.open.values().map(|link| &*link.peer).collect();
        let is_silent = |server: &str, moved: Instant| {
            let heard = self.herd.last_heard(server).map_or(moved, |heard| heard.max(moved));
            !linked.contains(server) && now.instant.since(heard) >= forget_after
        };
        let streams = self.streams.iter().filter(|(at, _)| *at != OriginIx::ME);
        let silent: Vec<_> = streams
            .filter(|(_, s)| is_silent(&s.origin.server, s.moved))
            .map(|(_, stream)| stream.origin.clone())
            .collect();
        for origin in silent {
            self.herd.note_silent(&origin.server);
            self.end_origin(&origin.server, origin.incarnation, now);
        }
    }

    /// Labels that all peers have passed are given back (R2).
    fn tick_trim(&mut self, now: Now) {
        let _ = now;
        let mut budget = self.settings.tuning.trimmed_segments_max.max(1);
        let at_once = self.faults.make(Mutant::TrimAtOnce);
        for at in self.streams.iter().map(|(at, _)| at).collect::<Vec<_>>() {
            let version = self.streams.version(at);
            let held = if at_once { version } else { self.links.held_by_all(at, version) };
            while let Some(stream) = self.streams.get_mut(at)
                && let Some(trimmed) = stream.log.trim(held)
            {
                stream.serves_from = stream.serves_from.max(trimmed.sequence_max);
                if self.table.extra_labels() == 0 {
                    continue;
                }
                for (arrival, key) in trimmed.arrivals {
                    self.table.trim_label(key, at, arrival);
                }
                budget -= 1;
                if budget == 0 {
                    self.busy = true;
                    return;
                }
            }
        }
    }

    // ---- members ----

    /// What this server says about itself with its next word. If it is news, that comes soon; else when one is due
    /// anyway. What is longer than a frame holds is left out.
    pub fn set_about(&mut self, about: &[u8], is_news: bool) {
        let fits = about.len() <= herd_proto::peer::ABOUT_BYTES_MAX;
        self.herd.set_about(if fits { about } else { &[] }, is_news);
        self.busy |= is_news;
    }

    /// The config was read again: these are the servers that it names, this one among them.
    pub fn set_members(&mut self, names: BTreeSet<Box<str>>, _now: Now) {
        self.herd.configure(names, &self.settings.origin.server);
        self.wake_all();
    }

    /// This server leaves the herd: from now on it has only that to say of itself. Whether it may is
    /// [`held_elsewhere`](Self::held_elsewhere).
    pub fn leave(&mut self, now: Now) {
        let Settings { origin, .. } = &self.settings;
        if !self.herd.has_left(&origin.server) {
            self.herd.tell(origin, true, now.instant);
        }
        self.wake_all();
    }

    /// The latest incarnation known of a server, ended or not; none if none is.
    pub fn latest_incarnation(&self, server: &str) -> Option<u64> {
        Some(self.herd.incarnation(server)).filter(|&incarnation| incarnation > 0)
    }

    /// A word of a member came; it is passed on if it is news.
    pub(crate) fn hear_member(
        &mut self,
        id: LinkId,
        at: Option<OriginIx>,
        counter: u64,
        about: Option<&[u8]>,
        has_left: bool,
        now: Now,
    ) {
        let Some(stream) = at.and_then(|at| self.streams.get(at)) else { return };
        if at == Some(OriginIx::ME) {
            self.herd.hear_of_myself(counter, has_left);
            return;
        }
        if self.herd.hear(&stream.origin, counter, about, has_left, now.instant) {
            let name = &stream.origin.server;
            if let (Some(link), Some(rank)) =
                (self.links.open.get_mut(&id), self.herd.rank_of(name))
            {
                link.members_told.insert(name.clone(), rank);
            }
            let others: Vec<_> = self.links.open.keys().copied().filter(|&o| o != id).collect();
            for other in others {
                self.wake(other);
            }
        }
    }

    /// Says that this server is alive, if it is time.
    fn tick_members(&mut self, now: Now) {
        let Settings { origin, tuning, .. } = &self.settings;
        if self.herd.has_left(&origin.server) {
            return;
        }
        let is_first = self.herd.last_heard(&origin.server).is_none();
        let elapsed = now.instant.since(self.herd.told);
        let due = if self.herd.is_news() { tuning.tell_every } else { tuning.tell_every_idle };
        if is_first || elapsed >= due {
            self.herd.tell(origin, false, now.instant);
            for (&id, link) in &mut self.links.open {
                if std::mem::take(&mut link.waiting) {
                    self.outputs.push_back(Output::Transmit(id));
                }
            }
        }
    }
}
