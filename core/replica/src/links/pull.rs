//! What the asking side of a comparison sends: roots, and the next ranges and buckets while what is open stays within
//! its bound.

use crate::links::receiver::{State, Work};
use crate::links::send::Out;
use crate::output::Sink;
use crate::table::{digest_with, key_with};
use herd_proto::Record;
use herd_proto::peer::{KEYS_MAX, KeyDigest, Message};

impl<S: Sink> Out<'_, S> {
    /// What the asking side has to say: hints, roots, and what it wants next.
    pub(super) fn compare(&mut self) {
        if std::mem::take(&mut self.link.hint) {
            self.put(&Message::CompareHint);
        }
        if let Some(token) = self.link.receiver.compared.take() {
            self.put(&Message::Compared { token });
        }
        if matches!(self.link.receiver.state, State::Begin) {
            let token = self.next_token();
            self.link.receiver.state = State::Asked { token, since: self.now.instant };
            let (cutoff_ns, root) = (self.cutoff_ns, self.table.sums.root());
            self.put(&Message::Compare { token, cutoff_ns, root });
        }
        self.pull();
    }

    fn next_token(&mut self) -> u64 {
        *self.token = self.token.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *self.token;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 31)
    }

    /// Asks for ranges and buckets while what is open stays within its bound.
    fn pull(&mut self) {
        if self.link.receiver.work().is_none() {
            return;
        }
        let State::Working(mut work) =
            std::mem::replace(&mut self.link.receiver.state, State::Idle)
        else {
            return;
        };
        loop {
            if self.sink.is_full() {
                break;
            }
            if work.range_asked.is_none() && work.buckets.len() < herd_proto::peer::SUMS / 2 {
                self.ask_range(&mut work);
            }
            if work.weight >= self.settings.tuning.asked_max.max(1) {
                break;
            }
            let Some((bucket, theirs)) = work.buckets.pop_front() else { break };
            if self.table.sums.bucket(bucket) == theirs {
                if work.close_bucket(bucket) {
                    let [range, _] = bucket.to_be_bytes();
                    self.taken.release(range, self.link.id);
                }
                continue;
            }
            self.ask_bucket(bucket, &mut work);
        }
        self.link.receiver.state = State::Working(work);
    }

    fn ask_range(&mut self, work: &mut Work) {
        let id = self.link.id;
        // What another link brought meanwhile is the same now.
        let (table, sums) = (self.table, &work.sums);
        let differs = |range: u8| sums.get(usize::from(range)) != Some(&table.sums.range(range));
        work.ranges.retain(|&range| differs(range));
        let free = work.ranges.iter().position(|&range| self.taken.is_free_for(range, id));
        let idle = self.now.instant.since(work.progressed);
        let may_steal = work.asked.is_empty() && idle >= self.settings.tuning.steal_after;
        let Some(next) = free.or_else(|| may_steal.then_some(0)) else { return };
        let Some(range) = work.ranges.remove(next) else { return };
        self.taken.take(range, id);
        work.range_asked = Some(range);
        work.progressed = self.now.instant;
        self.put(&Message::AskRange { range });
    }

    fn ask_bucket(&mut self, bucket: u16, work: &mut Work) {
        let seed = self.next_token();
        let mut keys = Vec::new();
        for key in self.table.bucket(bucket) {
            let name = key_with(seed, self.table.name(key));
            let digest = |record: Record<'_>, effective_ns| KeyDigest {
                key: name,
                effective_ns,
                digest: digest_with(seed, name, &record),
            };
            let stored = self.table.record(key);
            keys.extend(stored.map(|record| digest(record, record.effective_ns)));
            // What is not due hides nothing that is stored elsewhere.
            keys.extend(self.table.future(key).map(|record| digest(record, i64::MIN)));
            if keys.len() >= KEYS_MAX {
                keys.truncate(KEYS_MAX);
                break;
            }
        }
        let weight = 1 + keys.len();
        work.weight += weight;
        work.asked.insert(bucket, weight);
        self.put(&Message::AskBucket { bucket, all: work.all, seed, keys });
    }
}
