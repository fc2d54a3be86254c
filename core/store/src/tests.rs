//! A directory after anything: what was synced is there, and whatever is read was written.

use crate::memory::Failure;
use crate::mutants::Mutant;
use crate::{
    Batch, Damage, Disk as _, Identity, Limits, Loaded, MemoryDisk, OpenError, Part, Storage,
    WriteError,
};
use herd_proto::{Record, UnixTime};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use std::collections::BTreeMap;
use std::time::Duration;

const HORIZON: Duration = Duration::from_hours(30 * 24);
pub(crate) const LIMITS: Limits = Limits { bytes_max: None, horizon: HORIZON };

pub(crate) fn at(seconds: i64) -> UnixTime {
    UnixTime::from_nanos(1_700_000_000_000_000_000 + seconds * 1_000_000_000)
}

fn hill(incarnation: u64) -> Identity {
    Identity { herd: "news".to_owned(), server: "Hill".to_owned(), incarnation }
}

/// Each key with the number of its greatest record.
pub(crate) type Table = BTreeMap<Vec<u8>, i64>;

pub(crate) fn load(storage: &mut Storage<MemoryDisk>) -> Result<(Loaded, Table), OpenError> {
    let mut table = Table::new();
    let loaded = storage.load(|record| {
        let known = table.entry(record.key.to_vec()).or_insert(record.effective_ns);
        *known = record.effective_ns.max(*known);
    })?;
    Ok((loaded, table))
}

pub(crate) fn put(batch: &mut Batch, key: &[u8], number: i64) {
    /// Some records are longer than others.
    const VALUE_BYTES: [usize; 6] = [9, 60, 0, 9, 60, 4200];
    let value = vec![b'v'; VALUE_BYTES[usize::from(key[0] % 6)]];
    batch.push(&Record {
        key,
        effective_ns: number,
        received_ns: number + 5,
        tombstone: number % 7 == 0,
        value: &value,
    });
}

/// A directory whose journal has so many records with a key each.
pub(crate) fn directory(records: u8) -> MemoryDisk {
    let mut storage = Storage::open(MemoryDisk::default(), 5).unwrap();
    storage.load(|_| ()).unwrap();
    storage.start_incarnation(hill(7), at(0)).unwrap();
    storage.begin(at(0)).unwrap();
    let mut batch = Batch::default();
    for key in 0..records {
        put(&mut batch, &[key, key], i64::from(key) + 1);
    }
    storage.append(Part::Next, &mut batch).unwrap();
    storage.complete().unwrap();
    storage.into_disk()
}

pub(crate) fn file_bytes(disk: &mut MemoryDisk, name: &str) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    let length = disk.read(name, 0, &mut bytes).unwrap();
    assert!(length < bytes.len(), "{name} is longer than this test expects");
    bytes.truncate(length);
    bytes
}

/// Does what a journal writer does, and knows what of it was promised.
struct Server {
    storage: Storage<MemoryDisk>,
    table: Table,
    last: i64,
    /// What the journal holds, as the disk said, and what of it is synced.
    written: Table,
    synced: Table,
    batch: Batch,
    incarnation: u64,
}

impl Server {
    /// A start may fail with the disk; the next one may not.
    fn start(disk: MemoryDisk, seed: u64, mutant: Option<Mutant>) -> (Self, Loaded) {
        let mut storage = Storage::open(disk, seed).unwrap();
        storage.set_mutant(mutant);
        let Ok((loaded, table)) = load(&mut storage) else {
            return Self::start(storage.into_disk(), seed, mutant);
        };
        let incarnation = storage.next_incarnation(seed % 5);
        if storage.start_incarnation(hill(incarnation), at(0)).is_err() {
            return Self::start(storage.into_disk(), seed, mutant);
        }
        // What cannot be removed now is removed later.
        drop(storage.tidy(&LIMITS, at(0)));
        let last = table.values().copied().max().unwrap_or(0);
        let (written, synced, batch) = (table.clone(), Table::new(), Batch::default());
        let mut server = Self { storage, table, last, written, synced, batch, incarnation };
        if !server.storage.is_sound() {
            server.compact();
        }
        (server, loaded)
    }

    /// A write that failed is tried again with the next.
    fn write(&mut self, key: u8) {
        self.last += 1;
        self.table.insert(vec![key; usize::from(key) * 40 + 1], self.last);
        if !self.storage.is_sound() {
            return self.compact();
        }
        self.batch.clear();
        for (key, number) in &self.table {
            if self.written.get(key) < Some(number) {
                put(&mut self.batch, key, *number);
            }
        }
        if self.storage.append(Part::Live, &mut self.batch).is_ok() {
            self.written.clone_from(&self.table);
        }
    }

    fn sync(&mut self) {
        if self.storage.sync(Part::Live).is_ok() {
            self.synced.clone_from(&self.written);
        }
    }

    fn compact(&mut self) {
        if self.try_to_compact().is_ok() {
            self.written.clone_from(&self.table);
            self.synced.clone_from(&self.table);
            // Old files that stay are read once more and removed later.
            drop(self.storage.tidy(&LIMITS, at(0)));
        }
    }

    fn try_to_compact(&mut self) -> Result<(), WriteError> {
        self.storage.begin(at(0))?;
        self.batch.clear();
        for (key, number) in &self.table {
            put(&mut self.batch, key, *number);
        }
        self.storage.append(Part::Next, &mut self.batch)?;
        self.storage.complete()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(u8),
    Sync,
    Compact,
    Kill,
    PowerCut,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u8..6).prop_map(Step::Write),
        3 => Just(Step::Sync),
        1 => Just(Step::Compact),
        1 => Just(Step::Kill),
        1 => Just(Step::PowerCut),
    ]
}

type History = (Vec<Step>, u64, Option<(u64, Failure)>);

fn history() -> impl Strategy<Value = History> {
    let failure = prop_oneof![Just(Failure::Nothing), Just(Failure::Half), Just(Failure::All)];
    let failure = prop::option::of((1_u64..60, failure));
    (prop::collection::vec(step(), 0..60), any::<u64>(), failure)
}

/// Numbers as random as the seed.
pub(crate) fn below(seed: &mut u64) -> impl FnMut(usize) -> usize {
    move |n| {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % n as u64).unwrap()
    }
}

/// Nothing that was promised is missing in what was read, and all of it was written.
fn check(promised: &Table, ever: &[Table], read: &Table) -> Result<(), TestCaseError> {
    for (key, number) in promised {
        prop_assert!(read.get(key) >= Some(number), "{number} was promised, in {read:?}");
    }
    for (key, number) in read {
        let was_written = ever.iter().any(|table| table.get(key) == Some(number));
        prop_assert!(was_written, "{number} was never written");
    }
    Ok(())
}

fn run((steps, mut seed, failure): History, mutant: Option<Mutant>) -> Result<(), TestCaseError> {
    let mut disk = MemoryDisk::default();
    disk.fail_at = failure;
    let mut ever = Vec::new();
    let mut server = Server::start(disk, 1, mutant).0;
    for (number, step) in (2..).zip(steps) {
        let (promised, power_cut) = match step {
            Step::Write(key) => {
                server.write(key);
                ever.push(server.table.clone());
                continue;
            }
            Step::Sync => {
                server.sync();
                continue;
            }
            Step::Compact => {
                server.compact();
                continue;
            }
            Step::Kill => (server.written, false),
            Step::PowerCut => (server.synced.clone(), true),
        };
        let was_sound = server.storage.is_sound();
        let mut disk = server.storage.into_disk();
        if power_cut {
            disk.power_is_cut(below(&mut seed));
        }
        let (mut again, loaded) = Server::start(disk, number, mutant);
        check(&promised, &ever, &again.table)?;
        prop_assert!(again.incarnation > server.incarnation);
        if !power_cut {
            // What a power cut left and could not be compacted is there still.
            let holes = loaded.findings.iter().filter(|found| found.damage == Damage::Hole);
            prop_assert!(!was_sound || holes.count() == 0);
            let synced = again.synced.is_empty().then_some(server.synced);
            again.synced = synced.unwrap_or(again.synced);
        }
        server = again;
    }
    Ok(())
}

proptest! {
    #[test]
    fn whatever_happens_what_was_promised_is_kept(history in history()) {
        run(history, None)?;
    }
}

#[test]
fn faults_in_durability_are_found() {
    use Mutant::{GenerationNotSynced, IncarnationFromClock, NamesNotSynced, OldRemovedFirst};
    for mutant in [GenerationNotSynced, NamesNotSynced, OldRemovedFirst, IncarnationFromClock] {
        let config = Config { cases: 5_000, failure_persistence: None, ..Config::default() };
        let outcome = TestRunner::new(config).run(&history(), |history| run(history, Some(mutant)));
        assert!(matches!(outcome, Err(TestError::Fail(..))), "{mutant:?}: {outcome:?}");
    }
}

#[test]
fn each_start_takes_a_greater_incarnation_even_if_the_clock_was_set_back() {
    let storage = |disk| Storage::open(disk, 1).unwrap();
    assert_eq!(storage(MemoryDisk::default()).next_incarnation(3), 3);
    assert_eq!(storage(directory(1)).next_incarnation(900), 900);
    assert_eq!(storage(directory(1)).next_incarnation(3), 8);
    // A clock that was wrong does not keep a server out of its herd for good.
    let mut wrong = storage(directory(1));
    wrong.start_incarnation(hill(u64::MAX / 2), at(0)).unwrap();
    assert_eq!(wrong.next_incarnation(9), 9);
    // The head of the journal knows it too.
    let mut disk = directory(1);
    disk.remove("identity").unwrap();
    assert_eq!(storage(disk).next_incarnation(3), 8);
}

/// A backup is restored twice, or copied, and the clock is behind it each time.
#[test]
fn starts_from_one_copy_take_different_incarnations() {
    let start = |seed| Storage::open(directory(1), seed).unwrap().next_incarnation(3);
    let (one, other) = (start(0x9e37_79b9_7f4a_7c15), start(0xbf58_476d_1ce4_e5b9));
    assert_ne!(one, other);
    assert!(one.min(other) > 7 && one.max(other) < 1 << 25);
}

#[test]
fn nothing_is_written_before_an_incarnation_is_started() {
    let mut storage = Storage::open(MemoryDisk::default(), 1).unwrap();
    storage.load(|_| ()).unwrap();
    assert!(matches!(storage.begin(at(0)), Err(WriteError::NoIdentity)));
}

/// A start that continues or replaces what is there, as a server does.
fn restart(disk: MemoryDisk, now: UnixTime) -> (Table, MemoryDisk) {
    let mut storage = Storage::open(disk, 9).unwrap();
    let (_, table) = load(&mut storage).unwrap();
    storage.start_incarnation(hill(storage.next_incarnation(1)), now).unwrap();
    if !storage.is_sound() {
        storage.begin(now).unwrap();
        let mut batch = Batch::default();
        for (key, number) in &table {
            put(&mut batch, key, *number);
        }
        storage.append(Part::Next, &mut batch).unwrap();
        storage.complete().unwrap();
    }
    storage.tidy(&LIMITS, now).unwrap();
    (table, storage.into_disk())
}

#[test]
fn a_damaged_journal_is_set_aside_for_the_horizon() {
    let mut disk = directory(10);
    disk.write("journal-1", 300, b"?").unwrap();
    let (read, mut disk) = restart(disk, at(5));
    assert_eq!(read.len(), 9);
    let names = ["damaged-1-1700000005", "identity", "journal-2"];
    assert_eq!(disk.names().unwrap(), names);
    let horizon = i64::try_from(HORIZON.as_secs()).unwrap();
    let (read, mut disk) = restart(disk, at(4 + horizon));
    assert_eq!((disk.names().unwrap().as_slice(), read.len()), (&names.map(str::to_owned)[..], 9));
    let (read, mut disk) = restart(disk, at(5 + horizon));
    assert_eq!(read.len(), 9);
    assert_eq!(disk.names().unwrap(), ["identity", "journal-2"]);
}

#[test]
fn an_older_generation_fills_the_gaps_of_a_damaged_one() {
    let mut disk = directory(10);
    let older = file_bytes(&mut disk, "journal-1");
    disk.write("journal-2", 0, &older).unwrap();
    for file in ["journal-1", "journal-2"] {
        let at = if file == "journal-1" { 200 } else { older.len() as u64 - 100 };
        disk.write(file, at, b"?").unwrap();
    }
    let (read, mut disk) = restart(disk, at(5));
    assert_eq!(read.len(), 10);
    // Both are of interest, since neither has a sound successor.
    let names = ["damaged-1-1700000005", "damaged-2-1700000005", "identity", "journal-3"];
    assert_eq!(disk.names().unwrap(), names);
}

/// Copies, restored backups and directories rolled back: records are older or twice there, and harmless.
#[test]
fn copies_and_backups_are_harmless() {
    let (_, backup) = restart(directory(10), at(0));
    let mut storage = Storage::open(backup.clone(), 2).unwrap();
    load(&mut storage).unwrap();
    let mut batch = Batch::default();
    put(&mut batch, &[0, 0], 500);
    put(&mut batch, &[9, 9, 9], 501);
    storage.append(Part::Live, &mut batch).unwrap();
    storage.begin(at(1)).unwrap();
    storage.append(Part::Next, &mut batch).unwrap();
    storage.complete().unwrap();
    let mut newer = storage.into_disk();

    // Rolled back: what the backup holds, and a greater incarnation than its own.
    let (read, _) = restart(backup.clone(), at(2));
    assert_eq!(read.len(), 10);
    // Restored over what is there: both generations count, the greater record of each key.
    let old = file_bytes(&mut backup.clone(), "journal-1");
    newer.remove("journal-1").unwrap();
    newer.write("journal-1", 0, &old).unwrap();
    let (read, mut disk) = restart(newer, at(2));
    assert_eq!((read.len(), read[&vec![0, 0]]), (11, 500));
    assert_eq!(disk.names().unwrap(), ["identity", "journal-2"]);
    // A copy that is used at the same time goes its own way.
    let (one, _) = restart(backup.clone(), at(3));
    let (other, _) = restart(backup, at(3));
    assert_eq!(one, other);
}

#[test]
fn a_directory_of_another_server_is_told_from_ones_own() {
    let storage = Storage::open(directory(1), 1).unwrap();
    assert_eq!(storage.stranger("news", "Hill"), None);
    let stranger = hill(7);
    assert_eq!(storage.stranger("news", "Smith"), Some(("identity", &stranger)));
    assert_eq!(storage.stranger("olds", "Hill"), Some(("identity", &stranger)));
}

#[test]
fn the_age_of_a_journal_outlasts_a_restart() {
    let mut storage = Storage::open(directory(1), 1).unwrap();
    load(&mut storage).unwrap();
    assert_eq!(storage.live_age(at(60)), Duration::from_mins(1));
    assert_eq!(storage.live_age(at(-1)), Duration::MAX);
}
