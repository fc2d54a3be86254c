//! Comparing by buckets: what two linked servers store, and what one of them lacks.
//!
//! Streams carry what is new; this carries whatever a stream cannot promise: what came by buckets itself, what a dead
//! server had sent to some, what was written before a stream is served from, what lies on a disk. Each side asks
//! for itself. When a link comes up everything that differs is looked into; once a minute the roots are compared, and a
//! sample of what differs: there should be nothing then, so what this server claimed to hold and lacked is an alarm.
//!
//! Every answer is as long as its question lets it be, and no message makes the receiver give up anything.

use crate::faults::Mutant;
use crate::ids::{LinkId, OriginIx};
use crate::links::donor::Answer;
use crate::links::intake::in_range;
use crate::links::receiver::{State, Work};
use crate::output::{Event, Fault};
use crate::replica::Replica;
use herd_proto::peer::Message;
use herd_proto::{Instant, Now, Record};
use std::collections::{BTreeMap, VecDeque};

/// How one peer compared when it was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// When.
    pub at: Instant,
    /// Ranges, of 256, whose sums differed; an update on its way is enough for that.
    pub ranges_differing: usize,
}

/// What comparisons have shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComparisonReport {
    /// Comparisons that came to an end.
    pub rounds: u64,
    /// Records that this server claimed to hold and lacked: each is an alarm.
    pub repairs: u64,
    /// Comparisons under way.
    pub under_way: usize,
    /// The last verdict on each link; None if there was none yet.
    pub links: Vec<(LinkId, Option<Verdict>)>,
}

impl Replica {
    /// Compares with every peer now.
    pub fn compare_now(&mut self, now: Now) {
        self.compare_all_soon(now);
        for link in self.links.open.values_mut() {
            link.receiver.due = now.instant;
        }
    }

    /// What comparisons have shown so far.
    pub fn comparisons(&self) -> ComparisonReport {
        let links = self.links.open.iter();
        ComparisonReport {
            rounds: self.stats.comparisons,
            repairs: self.stats.repairs,
            under_way: links.clone().filter(|(_, link)| !link.receiver.is_idle()).count(),
            links: links.map(|(&id, link)| (id, link.receiver.verdict)).collect(),
        }
    }

    /// Something happened that only buckets can bring from this peer.
    pub(crate) fn compare_soon(&mut self, id: LinkId, now: Now) {
        let after = self.settings.tuning.compare_after;
        if let Some(link) = self.links.open.get_mut(&id) {
            link.receiver.due = link.receiver.due.min(now.instant + after);
            link.receiver.full = true;
            self.busy = true;
        }
    }

    pub(crate) fn compare_all_soon(&mut self, now: Now) {
        let ids: Vec<_> = self.links.open.keys().copied().collect();
        for id in ids {
            self.compare_soon(id, now);
        }
    }

    /// Something is stored here that no stream brings to the peers.
    pub(crate) fn hint_others(&mut self, except: Option<LinkId>, now: Now) {
        if self.faults.make(Mutant::HintForgotten) {
            return;
        }
        let due = now.instant + self.settings.tuning.compare_after;
        for (_, link) in self.links.open.iter_mut().filter(|(id, _)| Some(**id) != except) {
            link.hint_due.get_or_insert(due);
            self.busy = true;
        }
    }

    pub(crate) fn tick_compare(&mut self, now: Now) {
        let ids: Vec<_> = self.links.open.keys().copied().collect();
        for id in ids {
            self.tick_receiver(id, now);
            // What another link brought may have been the last that differed.
            self.skip_equal_ranges(id);
            self.finish_if_done(id, now);
        }
    }

    fn tick_receiver(&mut self, id: LinkId, now: Now) {
        let is_walking = self.walk.is_under_way();
        let has_gaps = self.links.has_gaps();
        let Some(link) = self.links.open.get(&id) else { return };
        let is_ready = link.receiver.first_done
            || has_gaps
            || self.has_reached(link)
            || now.instant.since(link.opened) >= self.settings.tuning.compare_patience;
        let never = self.faults.make(Mutant::LinkUpNotCompared);
        let Some(link) = self.links.open.get_mut(&id) else { return };
        let mut wakes = false;
        if link.hint_due.is_some_and(|due| due <= now.instant) {
            link.hint_due = None;
            link.hint = true;
            wakes = true;
        }
        self.busy |= link.hint_due.is_some() || !link.receiver.is_idle();
        match &link.receiver.state {
            State::Idle if never && link.receiver.full => link.receiver.first_done = true,
            State::Idle if link.greeted && is_ready && link.receiver.due <= now.instant => {
                // What is being erased differs by nature; a round that must be whole does not wait for it.
                if link.receiver.full || !is_walking {
                    let next_due = now.instant + self.settings.tuning.compare_every;
                    link.receiver.begin(now.instant, next_due);
                }
                wakes = true;
            }
            State::Idle => self.busy |= link.greeted && !link.receiver.first_done,
            State::Begin => wakes = true,
            State::Asked { since, .. } => {
                if now.instant.since(*since) >= self.settings.tuning.compare_stalled_after {
                    link.receiver.give_up(now.instant);
                }
            }
            State::Working(work) => {
                wakes = true;
                if now.instant.since(work.progressed) >= self.settings.tuning.compare_stalled_after
                {
                    link.receiver.give_up(now.instant);
                    self.links.taken.release_all(id);
                }
            }
        }
        if wakes {
            self.wake(id);
        }
    }

    fn skip_equal_ranges(&mut self, id: LinkId) {
        let sums = &self.table.sums;
        let work = self.links.open.get_mut(&id).and_then(|link| link.receiver.work());
        if let Some(Work { ranges, sums: theirs, .. }) = work {
            let differs = |range: u8| theirs.get(usize::from(range)) != Some(&sums.range(range));
            ranges.retain(|&range| differs(range));
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "only these are handed over")]
    pub(super) fn handle_comparison(
        &mut self,
        id: LinkId,
        message: &Message<'_>,
        now: Now,
    ) -> Result<(), Fault> {
        match *message {
            Message::Compare { token, cutoff_ns, root } => {
                self.compared_with(id, token, cutoff_ns, root);
            }
            Message::Same { token, ref versions } => self.same(id, token, versions, now)?,
            Message::Ranges { token, cutoff_ns, ref versions, ref sums } => {
                self.ranges(id, token, cutoff_ns, (versions, sums), now)?;
            }
            Message::AskRange { range } => self.answer(id, Answer::Buckets { range }, 1)?,
            Message::Buckets { range, ref sums } => self.buckets(id, range, sums, now),
            Message::AskBucket { bucket, all, seed, ref keys } => {
                let weight = 1 + keys.len();
                self.answer(id, Answer::Bucket { bucket, all, seed, keys: keys.clone() }, weight)?;
            }
            Message::Record { claimed, key, effective_ns, received_ns, tombstone, value } => {
                let record = Record { key, effective_ns, received_ns, tombstone, value };
                self.fetched(id, record, claimed, now);
            }
            Message::BucketDone { bucket } => self.bucket_done(id, bucket, now),
            Message::Compared { token } => {
                if let Some(link) = self.links.open.get_mut(&id)
                    && let Some((_, unlabeled)) = link.donor.asked.filter(|asked| asked.0 == token)
                {
                    link.donor.unlabeled_held = link.donor.unlabeled_held.max(Some(unlabeled));
                }
            }
            Message::CompareHint => self.compare_soon(id, now),
            _ => return Ok(()),
        }
        Ok(())
    }

    fn origins_of(
        &mut self,
        id: LinkId,
        versions: &[(u16, u64)],
        now: Now,
    ) -> Result<Vec<(OriginIx, u64)>, Fault> {
        let mut known = Vec::with_capacity(versions.len());
        for &(number, version) in versions {
            in_range(version)?;
            if let Some(at) = self.known(id, number, now)? {
                known.push((at, version));
            }
        }
        Ok(known)
    }

    fn same(
        &mut self,
        id: LinkId,
        token: u64,
        versions: &[(u16, u64)],
        now: Now,
    ) -> Result<(), Fault> {
        let versions = self.origins_of(id, versions, now)?;
        let Some(link) = self.links.open.get_mut(&id) else { return Ok(()) };
        if matches!(link.receiver.state, State::Asked { token: asked, .. } if asked == token) {
            link.receiver.verdict = Some(Verdict { at: now.instant, ranges_differing: 0 });
            self.finish(id, token, &versions, true, now);
        }
        Ok(())
    }

    fn ranges(
        &mut self,
        id: LinkId,
        token: u64,
        cutoff_ns: i64,
        (versions, sums): (&[(u16, u64)], &[u64]),
        now: Now,
    ) -> Result<(), Fault> {
        let versions = self.origins_of(id, versions, now)?;
        let ours = self.table.sums.ranges();
        let differing: Vec<u8> = (0..=u8::MAX)
            .filter(|&range| ours.get(usize::from(range)) != sums.get(usize::from(range)))
            .collect();
        let cutoff_differs = cutoff_ns != self.walk.cutoff_ns();
        let tuning = &self.settings.tuning;
        let has_gaps = self.links.has_gaps();
        let Some(link) = self.links.open.get_mut(&id) else { return Ok(()) };
        if !matches!(link.receiver.state, State::Asked { token: asked, .. } if asked == token) {
            return Ok(());
        }
        link.receiver.verdict =
            Some(Verdict { at: now.instant, ranges_differing: differing.len() });
        let full = link.receiver.is_full;
        let mut ranges: VecDeque<u8> = differing.iter().copied().collect();
        if !full {
            // A sample, another one each time.
            let turn = usize::from(token.to_le_bytes()[0]);
            let start = turn % differing.len().max(1);
            ranges.rotate_left(start.min(ranges.len()));
            // What is being erased differs by nature. That is waited for once: the steps of two servers that look at their
            // clocks at other moments may differ at each comparison.
            link.receiver.was_put_off = cutoff_differs && !link.receiver.was_put_off;
            let most = if link.receiver.was_put_off { 0 } else { tuning.periodic_ranges_max };
            ranges.truncate(most);
        }
        self.stats.comparisons_differing += 1;
        let early = self.faults.make(Mutant::RaiseEarly);
        let partial = ranges.len() < differing.len();
        link.receiver.state = State::Working(Box::new(Work {
            token,
            all: full && has_gaps,
            versions: versions.clone(),
            sums: sums.to_vec(),
            ranges,
            range_asked: None,
            buckets: VecDeque::new(),
            open: BTreeMap::new(),
            asked: BTreeMap::new(),
            weight: 0,
            buckets_left: if full { usize::MAX } else { tuning.periodic_buckets_max },
            partial,
            changed: 0,
            repaired: 0,
            progressed: now.instant,
        }));
        if early {
            self.raise(&versions, now);
        }
        self.busy = true;
        self.wake(id);
        self.finish_if_done(id, now);
        Ok(())
    }

    fn buckets(&mut self, id: LinkId, range: u8, sums: &[u64], now: Now) {
        let ours = self.table.sums.buckets(range);
        let Some(link) = self.links.open.get_mut(&id) else { return };
        let Some(work) = link.receiver.work().filter(|work| work.range_asked == Some(range)) else {
            return;
        };
        work.range_asked = None;
        work.progressed = now.instant;
        let differing = (0..=u8::MAX).filter_map(|low| {
            let (ours, theirs) = (ours.get(usize::from(low)), sums.get(usize::from(low))?);
            (ours != Some(theirs)).then_some((u16::from_be_bytes([range, low]), *theirs))
        });
        let mut open = 0;
        for bucket in differing {
            if work.buckets_left == 0 {
                work.partial = true;
                break;
            }
            work.buckets_left = work.buckets_left.saturating_sub(1);
            work.buckets.push_back(bucket);
            open += 1;
        }
        if open > 0 {
            work.open.insert(range, open);
        } else {
            self.links.taken.release(range, id);
        }
        self.wake(id);
        self.finish_if_done(id, now);
    }

    fn fetched(&mut self, id: LinkId, record: Record<'_>, claimed: bool, now: Now) {
        self.stats.fetched += 1;
        // No repair: this server's clock was set, and not everything was compared since; or this was not due a moment
        // ago; or it may have lost to what has expired since.
        let key = self.table.find(record.key);
        let oldest = now.unix.saturating_add(2 * self.settings.future_skew_max);
        let is_aside = key.is_some_and(|key| self.table.future(key).is_some())
            || record.effective_ns > now.unix.nanos()
            || record.effective_ns <= self.expired_ns(false, oldest);
        let changed = self.take_unlabeled(id, record, now);
        self.stats.fetched_new += u64::from(changed);
        let unsettled = self.clock.unsettled;
        let Some(link) = self.links.open.get_mut(&id) else { return };
        let is_settled = unsettled.is_none() || link.receiver.whole_since > unsettled;
        let Some(work) = link.receiver.work() else {
            // One that is not due goes beside an entry of a stream.
            if changed {
                self.hint_others(Some(id), now);
            }
            return;
        };
        work.progressed = now.instant;
        work.changed += u64::from(changed);
        work.repaired += u64::from(changed && claimed && !is_aside && is_settled);
    }

    fn bucket_done(&mut self, id: LinkId, bucket: u16, now: Now) {
        let Some(link) = self.links.open.get_mut(&id) else { return };
        let Some(work) = link.receiver.work() else { return };
        // An answer to an earlier round that stalled counts for nothing.
        let Some(weight) = work.asked.remove(&bucket) else { return };
        work.weight = work.weight.saturating_sub(weight);
        work.progressed = now.instant;
        if work.close_bucket(bucket) {
            let [range, _] = bucket.to_be_bytes();
            self.links.taken.release(range, id);
        }
        self.wake(id);
        self.finish_if_done(id, now);
    }

    fn finish_if_done(&mut self, id: LinkId, now: Now) {
        let Some(link) = self.links.open.get_mut(&id) else { return };
        if !link.receiver.work().is_some_and(|work| work.is_done()) {
            return;
        }
        let State::Working(work) = std::mem::replace(&mut link.receiver.state, State::Idle) else {
            return;
        };
        let Work { token, versions, all, partial, changed, repaired, .. } = *work;
        let raises = all && !partial || self.faults.make(Mutant::RaisePartial);
        if repaired > 0 {
            self.stats.repairs += repaired;
            self.event(Event::Repaired { records: repaired });
        }
        if changed > 0 {
            self.hint_others(Some(id), now);
            if partial {
                // Where a sample differs, more does.
                self.compare_soon(id, now);
            }
        }
        let versions = match self.links.open.get(&id) {
            Some(link) if self.faults.make(Mutant::RaiseLate) => {
                link.peer_versions.iter().map(|(at, &version)| (at, version)).collect()
            }
            Some(_) | None => versions,
        };
        self.finish(id, token, &versions, raises, now);
    }

    /// A round has ended.
    fn finish(
        &mut self,
        id: LinkId,
        token: u64,
        versions: &[(OriginIx, u64)],
        raises: bool,
        now: Now,
    ) {
        self.stats.comparisons += 1;
        self.links.taken.release_all(id);
        if raises {
            self.raise(versions, now);
        }
        let streams = &self.streams;
        let Some(link) = self.links.open.get_mut(&id) else { return };
        link.receiver.state = State::Idle;
        let was_full = link.receiver.is_full || raises;
        if was_full {
            link.receiver.compared = Some(token);
            link.receiver.whole_since = Some(link.receiver.begun);
        }
        let closed: Vec<_> = link
            .gaps
            .iter()
            .filter(|&(at, &since)| streams.version(at) >= since)
            .map(|(at, _)| at)
            .collect();
        for at in closed {
            link.gaps.remove(at);
        }
        let has_gap = link.gaps.iter().next().is_some();
        let is_first = !link.receiver.first_done && was_full && !has_gap;
        link.receiver.first_done |= is_first;
        link.tell_watermarks = true;
        self.wake(id);
        if has_gap {
            self.compare_soon(id, now);
        } else if is_first {
            self.event(Event::CaughtUp(id));
        }
    }

    /// What a donor held when its sums were taken is held here too (R3).
    fn raise(&mut self, versions: &[(OriginIx, u64)], now: Now) {
        for &(at, version) in versions {
            if at == OriginIx::ME || self.is_being_committed(at, now) {
                continue;
            }
            let Some(stream) = self.streams.get_mut(at).filter(|s| s.version < version) else {
                continue;
            };
            stream.version = version;
            stream.seen = stream.seen.max(version);
            stream.behind_since = None;
            // The labels of what came by buckets are not known here (R2).
            if !self.faults.make(Mutant::BucketsServed) {
                stream.serves_from = stream.serves_from.max(version);
            }
            self.busy = true;
            if !self.faults.make(Mutant::BucketsServed) {
                self.links.open_gaps(at, version);
            }
            self.stir(at);
            self.wake_all();
        }
    }

    /// Whether a COMMIT follows what just arrived of a stream. To raise its version first would open a gap for each peer
    /// that it is passed on to, which then asks for it elsewhere and gets it twice.
    fn is_being_committed(&self, at: OriginIx, now: Now) -> bool {
        let Some(stream) = self.streams.get(at) else { return false };
        let has_gap = || self.links.open.values().any(|link| link.gaps.contains(at));
        stream.has_uncommitted()
            && stream.is_moving(now.instant, self.settings.tuning.silent_after)
            && !stream.upstreams.is_empty()
            && !has_gap()
    }
}
