//! A data directory: [`herd_store`] must bear whatever bytes are in it, and return of its own whatever is intact.
//!
//! An input whose first byte is zero is the files themselves: the length of `identity` in two bytes, little endian,
//! that file, and the rest is the journal. Any other input is records for a journal that the store writes, so that
//! checksums are right, and how that is damaged then: see [`Plan`].

use crate::targets::frame::settings;
use herd_node::Recovery;
use herd_proto::varint::Reader;
use herd_proto::{Instant, Now, Record, UnixTime};
use herd_store::{
    Batch, Disk as _, Identity, Limits, MemoryDisk, OpenError, Part, Storage, examine,
};
use std::time::Duration;

/// Pieces of the language: a block's beginning, records of a plan and of a file, and numbers at the ends of
/// their ranges.
pub const DICTIONARY: &[&str] = &[
    "geoherdj",
    "\u{1}\0\0\0",
    "\0\u{1}\0\0\0\0\0\0\0\0\u{2}\0\0\0\0\0\0\0\u{5}rkiwi\u{13}Hill +1+2 3 +0.5",
    "\u{1}\u{1}\0\0\0\0\0\0\0\u{2}\0\0\0\0\0\0\0\u{5}rkiwi\0",
    "\u{c}\u{1}\0\0\0\0\0\0\0\0\0\u{1}k",
    "\u{7f}\u{1}",
    "\0",
    "\u{7f}",
];

const JOURNAL: &str = "journal-1";

/// The search behind damage looks at every byte, and there is nothing new to meet in more of them.
const INPUT_BYTES_MAX: usize = 12 * 1024;

/// Whatever bytes a directory holds, examining it changes nothing, a start reads the same twice, and a node recovers
/// from it. Every record that a server wrote is read, but for those that were damaged.
///
/// # Panics
///
/// When that does not hold.
pub fn target(data: &[u8]) {
    let data = data.get(..INPUT_BYTES_MAX).unwrap_or(data);
    match data.split_first() {
        None => {}
        Some((0, files)) => as_files(files),
        Some((&damages, plan)) => as_records(usize::from(damages) - 1, plan),
    }
}

fn as_files(files: &[u8]) {
    let (length, files) = files.split_first_chunk::<2>().unwrap_or((&[0; 2], &[]));
    let length = usize::from(u16::from_le_bytes(*length)).min(files.len());
    let (identity, journal) = files.split_at(length);
    let mut disk = MemoryDisk::default();
    disk.write(JOURNAL, 0, journal).expect("memory takes it");
    disk.write("identity", 0, identity).expect("memory takes it");
    start(disk);
}

/// A record that outlives what it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    key: Vec<u8>,
    effective_ns: i64,
    received_ns: i64,
    tombstone: bool,
    value: Vec<u8>,
}

impl Owned {
    fn of(record: Record<'_>) -> Self {
        let Record { key, effective_ns, received_ns, tombstone, value } = record;
        Self { key: key.to_vec(), effective_ns, received_ns, tombstone, value: value.to_vec() }
    }

    fn record(&self) -> Record<'_> {
        let Self { ref key, effective_ns, received_ns, tombstone, ref value } = *self;
        Record { key, effective_ns, received_ns, tombstone, value }
    }
}

fn now() -> Now {
    Now { instant: Instant::from_nanos(0), unix: UnixTime::from_nanos(1_700_000_000 << 30) }
}

/// What a start reads from a directory; nothing if it refuses it.
fn start(disk: MemoryDisk) -> Option<Vec<Owned>> {
    let mut looked_at = disk.clone();
    let mut seen = Vec::new();
    let examined = examine(&mut looked_at, |record| seen.push(Owned::of(record)));
    assert_eq!(looked_at.changes(), disk.changes(), "an examination has changed something");
    let opened = Storage::open(disk, 1).and_then(|mut storage| {
        let mut read = Vec::new();
        let loaded = storage.load(|record| read.push(Owned::of(record)))?;
        Ok((storage, loaded, read))
    });
    let (mut storage, loaded, read) = match (opened, &examined) {
        (Ok(opened), Ok(_)) => opened,
        (Err(OpenError::Later { .. }), Err(OpenError::Later { .. })) => return None,
        (opened, _) => panic!("a start and an examination do not agree: {opened:?}, {examined:?}"),
    };
    let examined = examined.expect("examined above");
    assert_eq!(read, seen, "a start reads something else than an examination");
    assert_eq!((&loaded.journals, &loaded.findings), (&examined.journals, &examined.findings));
    assert_eq!(loaded.records(), read.len() as u64);
    recover(&read);

    // What is torn is cut off; what is damaged stays until something has replaced it.
    let incarnation = storage.next_incarnation(1);
    let identity = storage.identity().cloned().unwrap_or_default();
    let identity = Identity { incarnation, ..identity };
    storage.start_incarnation(identity, now().unix).expect("memory takes it");
    let limits = Limits { bytes_max: None, horizon: Duration::from_secs(1) };
    storage.tidy(&limits, now().unix).expect("memory does it");
    let was_sound = storage.is_sound();
    let mut again = Vec::new();
    let mut storage = Storage::open(storage.into_disk(), 2).expect("it was opened before");
    storage.load(|record| again.push(Owned::of(record))).expect("it was read before");
    // The key may have been lost with every copy of the identity; a start makes a new one.
    if !loaded.findings.iter().any(|finding| finding.damage == herd_store::Damage::Unreadable) {
        assert_eq!(again, read, "the second start reads something else");
        assert_eq!(storage.is_sound(), was_sound);
    }
    Some(read)
}

fn recover(read: &[Owned]) {
    let mut recovery = Recovery::new(settings(), now());
    for record in read {
        recovery.load(record.record());
    }
    let (node, _) = recovery.finish();
    let mut clients = 0;
    let mut place = Some(0);
    while let Some(at) = place {
        place = node.walk_clients(at, 2, |_| clients += 1);
    }
    assert!(clients <= node.clients(), "more clients are met than known");
}

/// Three bytes for each damage: where, little endian, and what is changed there. Then records: a byte that says
/// whether it is a tombstone, two times of eight bytes, key and value each behind its length. What is cut short is
/// left out.
struct Plan {
    damages: Vec<(u16, u8)>,
    records: Vec<Owned>,
}

impl Plan {
    fn read(damages: usize, data: &[u8]) -> Self {
        let mut reader = Reader(data);
        let mut plan = Self { damages: Vec::new(), records: Vec::new() };
        for _ in 0..damages {
            let Some([low, high, change]) = reader.array() else { break };
            plan.damages.push((u16::from_le_bytes([low, high]), change));
        }
        while let Some(record) = read_record(&mut reader) {
            plan.records.push(record);
        }
        plan
    }
}

fn read_record(reader: &mut Reader<'_>) -> Option<Owned> {
    Some(Owned {
        tombstone: reader.byte()? & 1 == 1,
        effective_ns: i64::from_le_bytes(reader.array()?),
        received_ns: i64::from_le_bytes(reader.array()?),
        key: reader.bytes()?.to_vec(),
        value: reader.bytes()?.to_vec(),
    })
}

fn as_records(damages: usize, data: &[u8]) {
    let plan = Plan::read(damages, data);
    let (mut whole, ends) = written(&plan.records);
    let mut disk = whole.clone();
    let mut changed = Vec::new();
    for &(at, change) in &plan.damages {
        let at = u64::from(at);
        if let Some(byte) = byte(&mut disk, at) {
            disk.write(JOURNAL, at, &[byte ^ change]).expect("memory takes it");
            changed.push(at);
        }
    }
    // What was changed twice may be as it was.
    changed.retain(|&at| byte(&mut disk, at) != byte(&mut whole, at));
    let mut expected = Vec::new();
    for (record, span) in plan.records.iter().zip(ends.windows(2)) {
        let &[from, to] = span else { continue };
        if !changed.iter().any(|at| (from..to).contains(at)) {
            expected.push(record.clone());
        }
    }
    // The head of the journal is no record: the file `identity` says the same.
    let read = start(disk).expect("it is of this version");
    assert_eq!(read, expected, "damaged at {changed:?}");
}

/// A directory with these records, and where each begins and the last one ends.
fn written(records: &[Owned]) -> (MemoryDisk, Vec<u64>) {
    let mut storage = Storage::open(MemoryDisk::default(), 1).expect("it is empty");
    storage.load(|_| ()).expect("it is empty");
    let identity = Identity { herd: "news".to_owned(), server: "Hill".to_owned(), incarnation: 1 };
    storage.start_incarnation(identity, now().unix).expect("memory takes it");
    storage.begin(now().unix).expect("memory takes it");
    let head = storage.next_bytes().unwrap_or_default();
    let mut batch = Batch::default();
    let mut ends = vec![head];
    for record in records {
        batch.push(&record.record());
        ends.push(head + batch.len() as u64);
    }
    storage.append(Part::Next, &mut batch).expect("memory takes it");
    storage.complete().expect("memory takes it");
    (storage.into_disk(), ends)
}

fn byte(disk: &mut MemoryDisk, at: u64) -> Option<u8> {
    let mut byte = [0];
    let count = disk.read(JOURNAL, at, &mut byte).expect("it is there");
    (count == 1).then_some(byte[0])
}
