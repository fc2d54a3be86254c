//! What time brings: watermarks that are due, streams that stand still, entries whose origin is gone.

use crate::link::Link;
use crate::log::Arrival;
use crate::mutants::Mutant;
use crate::origin::OriginIx;
use crate::output::{Event, Output};
use crate::replica::Replica;
use crate::settings::{LinkId, Record};
use herd_proto::Now;
use std::time::Duration;

/// How often watermarks are told, and lagging streams looked at, while something changes.
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// The same while nothing does.
pub(crate) const TICK_IDLE: Duration = Duration::from_millis(500);

impl Replica {
    /// The moment that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.ticked = now.instant;
        self.busy = false;
        self.tick_watermarks(now);
        self.tick_lag(now);
        self.tick_streams(now);
        self.tick_members(now);
        self.tick_expiry(now);
        self.collect(now);
        self.tick_audit(now);
    }

    fn tick_watermarks(&mut self, now: Now) {
        let mut woken = Vec::new();
        for (&id, link) in &mut self.links {
            let mut numbered = (0..).map(OriginIx).zip(&self.streams);
            let told = &link.told;
            let changed = numbered.any(|(at, s)| told.number(at) < s.version);
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

    /// Looks for streams that do not move though they should.
    fn tick_streams(&mut self, now: Now) {
        if self.bootstrap.is_some() {
            self.busy = true;
            return;
        }
        if self.settings.is(Mutant::BehindIgnored) {
            return;
        }
        for at in 1..self.streams.len() {
            let origin = OriginIx(u16::try_from(at).unwrap_or(u16::MAX));
            let Some(stream) = self.streams.get_mut(at) else { return };
            let heard = |link: &Link| link.heard.number(origin);
            let greeted = self.links.iter().filter(|(_, link)| link.greeted);
            let ahead: Vec<_> = greeted.filter(|(_, link)| heard(link) > stream.version).collect();
            if ahead.is_empty() {
                stream.behind_since = None;
                self.tick_orphans(origin, now);
                continue;
            }
            self.busy = true;
            let since = (*stream.behind_since.get_or_insert(now.instant)).max(stream.progressed);
            let idle = now.instant.since(since);
            let best = |links: &[&(&LinkId, &Link)]| {
                let by = |(id, link): &(&LinkId, &Link)| {
                    (heard(link), std::cmp::Reverse((link.round_trip, **id)))
                };
                links.iter().max_by_key(|link| by(link)).map(|(id, link)| (**id, link.round_trip))
            };
            let fresh: Vec<_> =
                ahead.iter().filter(|(id, _)| !stream.upstreams.contains(id)).collect();
            let found = if let Some((id, round_trip)) = best(&fresh) {
                (idle >= self.settings.tuning.behind_max.max(3 * round_trip)).then_some(id)
            } else {
                let all: Vec<_> = ahead.iter().collect();
                best(&all)
                    .filter(|_| idle >= self.settings.tuning.ask_again_after)
                    .map(|(id, _)| id)
            };
            if let Some(id) = found {
                self.happenings.resubscriptions += 1;
                self.subscribe(id, origin, now);
            }
        }
    }

    /// Entries that no neighbour can commit, because their origin is gone, are issued again: else two
    /// nodes of which one has them would each believe to hold what the other holds.
    fn tick_orphans(&mut self, origin: OriginIx, now: Now) {
        let Some(stream) = self.streams.get(origin.at()) else { return };
        let again = self.settings.is(Mutant::AdoptAgain) && stream.seen > stream.version;
        if !(stream.is_unsettled() || again) || self.settings.is(Mutant::AdoptNever) {
            return;
        }
        self.busy = true;
        if now.instant.since(stream.progressed) < self.settings.tuning.adopt_after {
            return;
        }
        let version = stream.version;
        // What arrived before was issued again then; what has come since was not, whatever its number.
        let adopted = if again { Arrival::default() } else { stream.adopted };
        let mut cursor = stream.log.cursor_for(version).max(adopted);
        let mut orphans = Vec::new();
        while let Some((arrival, at)) = stream.log.after(cursor, &self.store) {
            cursor = arrival;
            let Some(entry) = self.store.entry(at) else { continue };
            let wins = self.store.winner(entry.key()).is_some_and(|(winner, _)| winner == at);
            if entry.sequence > version && wins {
                let Record { key, effective_ns, tombstone, value } = self.store.record(entry);
                orphans.push((key.to_vec(), effective_ns, tombstone, value.to_vec()));
            }
        }
        if let Some(stream) = self.streams.get_mut(origin.at()) {
            stream.adopted = stream.log.last();
        }
        self.collector.unsettle();
        for (key, effective_ns, tombstone, value) in &orphans {
            let record = Record { key, effective_ns: *effective_ns, tombstone: *tombstone, value };
            self.issue(record, now);
        }
        if !orphans.is_empty() {
            self.happenings.adopted += orphans.len() as u64;
            let records = orphans.len();
            self.outputs.push_back(Output::Event(Event::Adopted { records }));
        }
    }
}
