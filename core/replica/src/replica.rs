//! The newest record of every key, and what each link has yet to be told.

use crate::log::{Log, Sequence};
use crate::table::{Entry, Table};
use std::collections::BTreeMap;

/// A connection to a neighbour, for as long as it lasts. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A key with its value and the time by which it is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What the record is about.
    pub key: &'a [u8],
    /// Nanoseconds since 1970; the first thing that orders two records of one key.
    pub effective_ns: i64,
    /// Opaque; its bytes are the second.
    pub value: &'a [u8],
}

/// Who brought a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A client of this node.
    Here,
    /// A neighbour.
    Link(LinkId),
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Newer than what was known: stored, and every other link will be told.
    Newer,
    /// Known already, or older: nothing changed, nothing spreads, so every loop ends here.
    NotNewer,
    /// A new key that no room was left for.
    Full,
}

/// One node's knowledge.
///
/// Feed it with [`apply`](Self::apply), [`open_link`](Self::open_link) and
/// [`close_link`](Self::close_link); ask [`poll_link`](Self::poll_link) for what goes out.
///
/// The newest record of a key is the greatest by (effective time, value bytes), on every node alike
/// and in whatever order records arrive: [`apply`](Self::apply) is commutative, associative and
/// idempotent.
#[derive(Debug)]
pub struct Replica {
    table: Table,
    log: Log,
    links: BTreeMap<LinkId, Link>,
}

#[derive(Debug)]
struct Link {
    /// All changes up to here have been sent, or need not be.
    cursor: Sequence,
    /// The last change when the link was opened.
    opened_at: Sequence,
}

impl Replica {
    /// An empty one. `seed` should be hard to guess: whoever knows it can choose keys that collide.
    pub fn new(seed: u64) -> Self {
        Self { table: Table::new(seed), log: Log::default(), links: BTreeMap::new() }
    }

    /// Keys known.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newest record of `key`.
    pub fn get(&self, key: &[u8]) -> Option<Record<'_>> {
        let slot = self.table.find(key)?;
        self.table.entry(slot).map(Entry::record)
    }

    /// Takes a record in.
    pub fn apply(&mut self, record: Record<'_>, source: Source) -> Applied {
        let Record { key, effective_ns, value } = record;
        let sequence = self.log.next_sequence();
        let from = match source {
            Source::Here => None,
            Source::Link(link) => Some(link),
        };
        let slot = if let Some(slot) = self.table.find(key) {
            let Some(entry) = self.table.entry_mut(slot) else { return Applied::Full };
            if (effective_ns, value) <= (entry.effective_ns, &*entry.value) {
                return Applied::NotNewer;
            }
            entry.effective_ns = effective_ns;
            if entry.value.len() == value.len() {
                entry.value.copy_from_slice(value);
            } else {
                entry.value = value.into();
            }
            entry.sequence = sequence;
            entry.from = from;
            slot
        } else {
            let (key, value) = (key.into(), value.into());
            let entry = Entry { key, effective_ns, value, sequence, from };
            let Some(slot) = self.table.insert(entry) else { return Applied::Full };
            slot
        };
        self.log.append(slot, &self.table);
        Applied::Newer
    }

    /// A link is there: it will be sent everything known, each key once, then what changes.
    pub fn open_link(&mut self, link: LinkId) {
        let opened_at = self.log.last();
        self.links.insert(link, Link { cursor: Sequence::default(), opened_at });
    }

    /// A link is gone.
    pub fn close_link(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    /// The next record to send on `link`; it counts as sent then. None if there is nothing to say,
    /// or no such link.
    pub fn poll_link(&mut self, link: LinkId) -> Option<Record<'_>> {
        let state = self.links.get_mut(&link)?;
        loop {
            let Some((sequence, slot)) = self.log.after(state.cursor, &self.table) else {
                state.cursor = self.log.last();
                return None;
            };
            state.cursor = sequence;
            let entry = self.table.entry(slot)?;
            if entry.from != Some(link) {
                return Some(entry.record());
            }
        }
    }

    /// Whether `link` has been sent all that was known when it was opened.
    pub fn has_caught_up(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|state| state.cursor >= state.opened_at)
    }

    /// Changes taken in so far.
    pub fn changes(&self) -> u64 {
        self.log.last().number()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Naive = BTreeMap<Vec<u8>, (i64, Vec<u8>)>;

    fn record(key: u8, effective_ns: i64, value: &[u8]) -> (Vec<u8>, i64, Vec<u8>) {
        (vec![key], effective_ns, value.to_vec())
    }

    fn apply(
        replica: &mut Replica,
        (key, effective_ns, value): &(Vec<u8>, i64, Vec<u8>),
        source: Source,
    ) -> Applied {
        replica.apply(Record { key, effective_ns: *effective_ns, value }, source)
    }

    fn drain(replica: &mut Replica, link: LinkId) -> Vec<(Vec<u8>, i64, Vec<u8>)> {
        let mut sent = Vec::new();
        while let Some(Record { key, effective_ns, value }) = replica.poll_link(link) {
            sent.push((key.to_vec(), effective_ns, value.to_vec()));
        }
        sent
    }

    #[test]
    fn a_late_report_does_not_move_the_client_back() {
        let mut replica = Replica::new(1);
        assert_eq!(apply(&mut replica, &record(1, 5, b"b"), Source::Here), Applied::Newer);
        assert_eq!(apply(&mut replica, &record(1, 4, b"c"), Source::Here), Applied::NotNewer);
        assert_eq!(apply(&mut replica, &record(1, 5, b"b"), Source::Here), Applied::NotNewer);
        assert_eq!(apply(&mut replica, &record(1, 5, b"a"), Source::Here), Applied::NotNewer);
        assert_eq!(replica.get(&[1]).unwrap().value, b"b");
        assert_eq!(apply(&mut replica, &record(1, 5, b"c"), Source::Here), Applied::Newer);
        assert_eq!(apply(&mut replica, &record(1, 6, b"longer"), Source::Here), Applied::Newer);
        assert_eq!(replica.get(&[1]).unwrap().value, b"longer");
        assert_eq!(replica.len(), 1);
    }

    #[test]
    fn nothing_is_sent_back_to_where_it_came_from() {
        let mut replica = Replica::new(1);
        let (left, right) = (LinkId(1), LinkId(2));
        replica.open_link(left);
        replica.open_link(right);
        apply(&mut replica, &record(1, 1, b"x"), Source::Link(left));
        assert_eq!(drain(&mut replica, left), []);
        assert_eq!(drain(&mut replica, right), [record(1, 1, b"x")]);
    }

    #[test]
    fn a_new_link_is_sent_everything_once_and_a_slow_one_only_the_newest() {
        let mut replica = Replica::new(1);
        let key = |n: i64| u8::try_from(n % 3).unwrap();
        for n in 0..10_000 {
            apply(&mut replica, &record(key(n), n, b"x"), Source::Here);
        }
        let link = LinkId(7);
        replica.open_link(link);
        assert!(!replica.has_caught_up(link));
        let expected: Vec<_> = (9_997..10_000).map(|n| record(key(n), n, b"x")).collect();
        assert_eq!(drain(&mut replica, link), expected);
        assert!(replica.has_caught_up(link));
        for n in 10_000..20_000 {
            apply(&mut replica, &record(0, n, b"x"), Source::Here);
        }
        assert_eq!(drain(&mut replica, link), [record(0, 19_999, b"x")]);
        assert_eq!(drain(&mut replica, link), []);
    }

    proptest! {
        #[test]
        fn any_order_ends_the_same_and_each_link_learns_all(
            records in prop::collection::vec((0_u8..4, 0_i64..4, "[a-c]{0,2}"), 0..40),
            order in any::<u64>(),
        ) {
            let records: Vec<_> =
                records.iter().map(|(k, t, v)| record(*k, *t, v.as_bytes())).collect();
            let mut naive = Naive::new();
            for (key, time, value) in &records {
                let newest = naive.entry(key.clone()).or_insert((*time, value.clone()));
                *newest = newest.clone().max((*time, value.clone()));
            }
            let mut shuffled = records.clone();
            let mut state = order;
            for i in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                shuffled.swap(i, (state >> 33) as usize % (i + 1));
            }
            for history in [records, shuffled] {
                let mut replica = Replica::new(order);
                let mut neighbour = Replica::new(!order);
                replica.open_link(LinkId(1));
                for (n, one) in history.iter().chain(&history).enumerate() {
                    apply(&mut replica, one, Source::Here);
                    if n % 3 == 0 {
                        for sent in drain(&mut replica, LinkId(1)) {
                            apply(&mut neighbour, &sent, Source::Link(LinkId(9)));
                        }
                    }
                }
                for sent in drain(&mut replica, LinkId(1)) {
                    apply(&mut neighbour, &sent, Source::Link(LinkId(9)));
                }
                prop_assert_eq!(replica.len(), naive.len());
                for one in [&replica, &neighbour] {
                    for (key, (time, value)) in &naive {
                        let got = one.get(key).unwrap();
                        prop_assert_eq!((got.effective_ns, got.value), (*time, &value[..]));
                    }
                }
            }
        }
    }
}
