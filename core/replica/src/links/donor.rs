//! The answering side of a comparison by buckets.
//!
//! Answers are kept as what is to be looked up, not as bytes, and are bounded by what a peer may have asked for and
//! not got yet.

use crate::faults::Mutant;
use crate::ids::{KeyIx, LinkId};
use crate::links::send::{Out, record_message};
use crate::output::{Fault, Sink};
use crate::replica::Replica;
use crate::table::{digest_with, key_with};
use herd_proto::Record;
use herd_proto::peer::{KEYS_MAX, KeyDigest, Message};
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(crate) struct Donor {
    pub(crate) answers: VecDeque<Answer>,
    /// Digests and buckets that were asked for and not answered yet.
    pub(crate) weight: usize,
    /// The other side erased what was received before this.
    pub(crate) peer_cutoff_ns: i64,
    /// Its last question, and the number of the last unlabeled record then.
    pub(crate) asked: Option<(u64, u64)>,
    /// The other side has every unlabeled record up to here; none before it has compared all.
    pub(crate) unlabeled_held: Option<u64>,
}

#[derive(Debug)]
pub(crate) enum Answer {
    /// The other side's root: that it is the same, or all ranges. Decided when it is sent, so that versions and sums
    /// are of one moment.
    Root { token: u64, root: u64 },
    /// The buckets of one range.
    Buckets { range: u8 },
    /// What the other side lacks of one bucket, from what it listed.
    Bucket { bucket: u16, all: bool, seed: u64, keys: Vec<KeyDigest> },
    /// The same, found, and to be sent from `next` on.
    Keys { bucket: u16, keys: Vec<(KeyIx, bool)>, next: usize, weight: usize },
}

impl Replica {
    pub(super) fn compared_with(&mut self, id: LinkId, token: u64, cutoff_ns: i64, root: u64) {
        let unlabeled = self.unlabeled;
        let Some(link) = self.links.open.get_mut(&id) else { return };
        link.donor.peer_cutoff_ns = cutoff_ns;
        link.donor.asked = Some((token, unlabeled));
        // What an earlier question left open is not waited for any more.
        link.donor.answers.clear();
        link.donor.weight = 0;
        link.donor.answers.push_back(Answer::Root { token, root });
        self.wake(id);
    }

    pub(super) fn answer(
        &mut self,
        id: LinkId,
        answer: Answer,
        weight: usize,
    ) -> Result<(), Fault> {
        /// Far above what a receiver asks for at once.
        const ASKED_MAX: usize = 64 * KEYS_MAX;
        let Some(link) = self.links.open.get_mut(&id) else { return Ok(()) };
        link.donor.weight += weight;
        if link.donor.weight > ASKED_MAX {
            return Err(Fault::AskedTooMuch(ASKED_MAX));
        }
        link.donor.answers.push_back(answer);
        self.wake(id);
        Ok(())
    }
}

impl<S: Sink> Out<'_, S> {
    /// What the answering side has to send, for one turn.
    pub(super) fn donate(&mut self) {
        let turn_ends = self.put + self.settings.tuning.turn_messages.max(1);
        while self.put < turn_ends && !self.sink.is_full() {
            let Some(answer) = self.link.donor.answers.pop_front() else { return };
            match answer {
                Answer::Root { token, root } if root == self.table.sums.root() => {
                    let versions = self.numbered_versions();
                    self.put(&Message::Same { token, versions });
                }
                Answer::Root { token, .. } => {
                    let versions = self.numbered_versions();
                    let (cutoff_ns, sums) = (self.cutoff_ns, self.table.sums.ranges().to_vec());
                    self.put(&Message::Ranges { token, cutoff_ns, versions, sums });
                }
                Answer::Buckets { range } => {
                    self.link.donor.weight = self.link.donor.weight.saturating_sub(1);
                    let sums = self.table.sums.buckets(range).to_vec();
                    self.put(&Message::Buckets { range, sums });
                }
                Answer::Bucket { bucket, all, seed, keys } => {
                    let weight = 1 + keys.len();
                    let keys = self.lacking(bucket, all, seed, keys);
                    let next = if self.faults.make(Mutant::BucketDoneEarly) {
                        keys.len().min(1)
                    } else {
                        0
                    };
                    let answer = Answer::Keys { bucket, keys, next, weight };
                    self.link.donor.answers.push_front(answer);
                }
                Answer::Keys { bucket, keys, mut next, weight } => {
                    while let Some(&(key, claimed)) = keys.get(next)
                        && self.put < turn_ends
                        && !self.sink.is_full()
                    {
                        next += 1;
                        self.donate_key(key, claimed);
                    }
                    if next < keys.len() {
                        let answer = Answer::Keys { bucket, keys, next, weight };
                        self.link.donor.answers.push_front(answer);
                        return;
                    }
                    self.link.donor.weight = self.link.donor.weight.saturating_sub(weight);
                    self.put(&Message::BucketDone { bucket });
                }
            }
        }
    }

    fn donate_key(&mut self, key: KeyIx, claimed: bool) {
        let stored = self.table.record(key).map(|record| (record, claimed));
        let future = self.table.future(key).map(|record| (record, false));
        for (record, claimed) in stored.into_iter().chain(future) {
            self.stats.donated += 1;
            self.put(&record_message(&record, claimed));
        }
    }

    fn numbered_versions(&mut self) -> Vec<(u16, u64)> {
        let held = self.all_versions().into_iter().filter(|&(_, version)| version > 0);
        held.map(|(at, version)| (self.number(at), version)).collect()
    }

    /// Keys of a bucket of which the other side lacks something, and whether it claims to hold it.
    fn lacking(
        &self,
        bucket: u16,
        all: bool,
        seed: u64,
        mut listed: Vec<KeyDigest>,
    ) -> Vec<(KeyIx, bool)> {
        listed.sort_unstable_by_key(|item| (item.key, item.effective_ns));
        let lacks = |record: &Record<'_>, name: u64| {
            let start = listed.partition_point(|item| item.key < name);
            let items = listed.get(start..).unwrap_or_default();
            let mut items = items.iter().take_while(|item| item.key == name);
            let digest = digest_with(seed, name, record);
            !items.any(|item| item.digest == digest || item.effective_ns > record.effective_ns)
        };
        let mut keys = Vec::new();
        for key in self.table.bucket(bucket) {
            let name = key_with(seed, self.table.name(key));
            let mut records = self.table.record(key).into_iter().chain(self.table.future(key));
            let cutoff_ns = self.link.donor.peer_cutoff_ns;
            let counts = |record: &Record<'_>| record.tombstone || record.received_ns > cutoff_ns;
            if !records.any(|record| counts(&record) && lacks(&record, name)) {
                continue;
            }
            match self.promised(key) {
                Promise::Comes if !all => {}
                Promise::Held => keys.push((key, true)),
                Promise::Comes | Promise::None => keys.push((key, false)),
            }
        }
        keys
    }

    /// What a stream promises of a key's record.
    fn promised(&self, key: KeyIx) -> Promise {
        let label = self.table.label(key).filter(|label| self.streams.is_live(label));
        let Some(label) = label else { return Promise::None };
        let Some(stream) = self.streams.get(label.origin) else { return Promise::None };
        if label.sequence <= self.link.peer_versions.number(label.origin) {
            return Promise::Held;
        }
        let silent_after = self.settings.tuning.silent_after;
        let resent_moves = self.faults.make(Mutant::ResentMoves)
            && self.now.instant.since(stream.progressed) < silent_after;
        let is_moving = resent_moves || stream.is_moving(self.now.instant, silent_after);
        // One that the other side takes for ended it does not ask for, here or elsewhere.
        let is_asked_for = self.link.subscriptions.contains(label.origin);
        if is_asked_for && label.sequence <= stream.version || is_moving {
            Promise::Comes
        } else {
            Promise::None
        }
    }
}

/// How a record stands to the streams of the other side.
enum Promise {
    /// No stream brings it there.
    None,
    /// One will.
    Comes,
    /// One has, as the other side claims.
    Held,
}
