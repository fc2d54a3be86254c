//! A directory after anything: what was written is there, or it is known that it may not be.

use crate::memory::Failure;
use crate::{Batch, Found, Line, MemoryDisk, Part, Storage, WriteError};
use herd_replica::{Journaled, Record};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Of few keys what was last written: as a replica's journal would have it, and numbered through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    last: u64,
    keys: BTreeMap<Vec<u8>, u64>,
}

impl Model {
    fn write(&mut self, key: u8) {
        self.last += 1;
        self.keys.insert(vec![key; usize::from(key) * 40 + 1], self.last);
    }

    fn read(&mut self, journaled: Journaled<'_>) {
        if let Journaled::Entry { origin: 0, sequence, record } = journaled {
            self.keys.insert(record.key.to_vec(), sequence);
            self.last = self.last.max(sequence);
        }
    }

    /// All keys, the longest unwritten first.
    fn in_order(&self) -> Vec<(u64, Vec<u8>)> {
        let mut all: Vec<_> =
            self.keys.iter().map(|(key, &number)| (number, key.clone())).collect();
        all.sort_unstable();
        all
    }
}

fn put(batch: &mut Batch, key: &[u8], sequence: u64) {
    let record = Record { key, effective_ns: 5, tombstone: false, value: b"somewhere" };
    batch.push(&Line::Of(Journaled::Entry { origin: 0, sequence, record }));
}

/// A server's part: keeps a model, and knows what of it was promised.
struct Server {
    storage: Storage<MemoryDisk>,
    model: Model,
    /// Written to the last number, as the disk said.
    written: u64,
    safe: u64,
    batch: Batch,
}

impl Server {
    /// A start may fail with the disk; the next one may not.
    fn start(disk: MemoryDisk, seed: u64) -> (Self, crate::Loaded) {
        let mut storage = Storage::open(disk, seed).unwrap();
        let mut model = Model::default();
        let loaded = storage.load(|found| {
            if let Found::Sound(journaled) = found {
                model.read(journaled);
            }
        });
        let Ok(loaded) = loaded else { return Self::start(storage.into_disk(), seed) };
        let (written, safe) = (model.last, 0);
        let mut server = Self { storage, model, written, safe, batch: Batch::default() };
        if !server.storage.is_sound() {
            server.begin_anew();
        }
        (server, loaded)
    }

    /// As a keeper would: what failed is tried again with the next.
    fn write(&mut self, key: u8) {
        self.model.write(key);
        if !self.storage.is_sound() {
            return self.begin_anew();
        }
        self.batch.clear();
        for (number, key) in self.model.in_order() {
            if number > self.written {
                put(&mut self.batch, &key, number);
            }
        }
        if self.storage.append(Part::Live, &mut self.batch).is_ok() {
            self.written = self.model.last;
        }
    }

    fn sync(&mut self) {
        if self.storage.sync(Part::Live).is_ok() {
            self.safe = self.written;
        }
    }

    fn begin_anew(&mut self) {
        let outcome = self.try_to_begin_anew();
        // What is whole and cannot be tidied up is whole all the same.
        if outcome.is_ok() {
            self.written = self.model.last;
            self.safe = self.written;
        }
    }

    fn try_to_begin_anew(&mut self) -> Result<(), WriteError> {
        self.storage.begin()?;
        self.batch.clear();
        for (number, key) in self.model.in_order() {
            put(&mut self.batch, &key, number);
        }
        self.storage.append(Part::Next, &mut self.batch)?;
        self.storage.complete().and_then(|()| Ok(self.storage.tidy()?))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(u8),
    Sync,
    Anew,
    Kill,
    PowerCut,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u8..6).prop_map(Step::Write),
        3 => Just(Step::Sync),
        1 => Just(Step::Anew),
        1 => Just(Step::Kill),
        1 => Just(Step::PowerCut),
    ]
}

/// Numbers as random as the seed.
fn below(seed: &mut u64) -> impl FnMut(usize) -> usize {
    move |n| {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % n as u64).unwrap()
    }
}

/// What was read after the power was cut: nothing that was safe is missing, and it is what some moment's
/// server knew.
fn check_after_power_cut(before: &[Model], safe: u64, after: &Model) -> Result<(), TestCaseError> {
    prop_assert!(after.last >= safe, "{} was safe, {} is left", safe, after.last);
    prop_assert!(before.contains(after), "{after:?} never was");
    Ok(())
}

proptest! {
    #[test]
    fn whatever_happens_what_was_promised_is_kept(
        steps in prop::collection::vec(step(), 0..60),
        mut seed: u64,
        failure in prop::option::of((1_u64..60,
            prop_oneof![Just(Failure::Nothing), Just(Failure::Half), Just(Failure::All)])),
    ) {
        let mut disk = MemoryDisk::default();
        disk.fail_at = failure;
        let mut history = vec![Model::default()];
        // A start may fail too; then it is tried again.
        let mut server = Server::start(disk, 1).0;
        for (number, step) in (2..).zip(steps) {
            match step {
                Step::Write(key) => {
                    server.write(key);
                    history.push(server.model.clone());
                }
                Step::Sync => server.sync(),
                Step::Anew => server.begin_anew(),
                Step::Kill => {
                    // What a power cut left and could not be written anew is there still.
                    let was_sound = server.storage.is_sound();
                    let (written, disk) = (server.written, server.storage.into_disk());
                    let (mut again, loaded) = Server::start(disk, number);
                    prop_assert!(loaded.holes.is_empty() || !was_sound);
                    prop_assert!(loaded.unreadable.is_empty());
                    prop_assert!(again.model.last >= written, "{} < {written}", again.model.last);
                    prop_assert!(history.contains(&again.model));
                    again.safe = server.safe;
                    server = again;
                }
                Step::PowerCut => {
                    let (safe, mut disk) = (server.safe, server.storage.into_disk());
                    disk.power_is_cut(below(&mut seed));
                    let (again, loaded) = Server::start(disk, number);
                    prop_assert!(loaded.holes.iter().all(|hole| !hole.was_safe));
                    check_after_power_cut(&history, safe, &again.model)?;
                    server = again;
                }
            }
        }
    }
}
