//! The table against a plain map.

use super::*;
use crate::tuning::Tuning;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Put { key: u8, origin: u16, effective_ns: i64, tombstone: bool, value: u8, labeled: bool },
    Future { key: u8, effective_ns: i64 },
    TakeFuture(u8),
    Remove(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let put = (0_u8..6, 0_u16..3, 0_i64..4, any::<bool>(), 0_u8..3, any::<bool>()).prop_map(
        |(key, origin, effective_ns, tombstone, value, labeled)| Step::Put {
            key,
            origin,
            effective_ns,
            tombstone,
            value,
            labeled,
        },
    );
    let future =
        (0_u8..6, 10_i64..14).prop_map(|(key, effective_ns)| Step::Future { key, effective_ns });
    let remove = (0_u8..6).prop_map(Step::Remove);
    let take = (0_u8..6).prop_map(Step::TakeFuture);
    prop_oneof![6 => put, 1 => future, 1 => take, 1 => remove]
}

type Slot = (Option<(i64, bool, u8)>, Option<i64>, BTreeMap<u16, u64>);
type Naive = BTreeMap<u8, Slot>;

proptest! {
    #[test]
    fn the_greatest_is_stored_with_all_its_labels(steps in prop::collection::vec(step(), 0..120)) {
        let mut table = Table::new(7, Order(Faults::of(&Tuning::default())));
        let mut naive = Naive::new();
        let is_live = |_: &Label| true;
        for (arrival, step) in (1_u64..).zip(steps) {
            match step {
                Step::Put { key, origin, effective_ns, tombstone, value, labeled } => {
                    let value_bytes = [value];
                    let record = Record {
                        key: &[key],
                        effective_ns,
                        received_ns: 5,
                        tombstone,
                        value: &value_bytes,
                    };
                    let label = labeled.then_some(Label {
                        origin: OriginIx(origin),
                        sequence: arrival,
                        arrival: Arrival(arrival),
                        from: None,
                    });
                    let known = table.find(&[key]);
                    let put = table.put(known, record, label, is_live).unwrap();
                    let slot = naive.entry(key).or_default();
                    let new = (effective_ns, tombstone, value);
                    let changed = slot.0.is_none_or(|known| new > known);
                    prop_assert_eq!(put.changed, changed);
                    if changed {
                        slot.0 = Some(new);
                    }
                    if labeled {
                        let before = slot.2.insert(origin, arrival);
                        prop_assert_eq!(put.retired, before.map(Arrival));
                    }
                }
                Step::Future { key, effective_ns } => {
                    let record = Record {
                        key: &[key],
                        effective_ns,
                        received_ns: 5,
                        tombstone: false,
                        value: b"f",
                    };
                    table.put_future(table.find(&[key]), record, None, is_live).unwrap();
                    let slot = naive.entry(key).or_default();
                    slot.1 = slot.1.max(Some(effective_ns));
                }
                Step::TakeFuture(key) => {
                    if let Some(found) = table.find(&[key]) {
                        table.take_future(found);
                    }
                    if let Some(slot) = naive.get_mut(&key) {
                        slot.1 = None;
                    }
                }
                Step::Remove(key) => {
                    if let Some(found) = table.find(&[key]) {
                        let mut gone = Vec::new();
                        table.remove(found, |label| gone.push(label.arrival.0));
                        gone.sort_unstable();
                        let (_, _, labels) = naive.remove(&key).unwrap();
                        let mut expected: Vec<_> = labels.into_values().collect();
                        expected.sort_unstable();
                        prop_assert_eq!(gone, expected);
                    }
                }
            }
            let mut root = 0_u64;
            for (key, (stored, future, labels)) in &naive {
                let found = table.find(&[*key]).unwrap();
                let record = table.record(found);
                prop_assert_eq!(record.map(|r| (r.effective_ns, r.tombstone, r.value[0])), *stored);
                prop_assert_eq!(table.future(found).map(|r| r.effective_ns), *future);
                let known: BTreeMap<_, _> =
                    table.labels(found).map(|label| (label.origin.0, label.arrival.0)).collect();
                prop_assert_eq!(&known, labels);
                let bucket = bucket_of(table.hash(found));
                prop_assert!(table.bucket(bucket).any(|key| key == found));
                let hash = table.hash(found);
                let sums = record.into_iter().chain(table.future(found));
                root = sums.fold(root, |root, r| root.wrapping_add(digest(hash, &r)));
            }
            prop_assert_eq!(table.sums.root(), root);
            prop_assert_eq!(table.len(), naive.len());
            let alive = |slot: &&Slot| {
                slot.0.is_some_and(|(_, tombstone, _)| !tombstone)
            };
            prop_assert_eq!(table.alive(), naive.values().filter(alive).count());
            let labels: usize = naive.values().map(|slot| slot.2.len()).sum();
            prop_assert!(table.extra_labels() <= labels);
        }
    }
}
