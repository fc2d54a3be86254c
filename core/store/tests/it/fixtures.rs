//! Directories of version 1 as bytes, kept in `tests/fixtures`.
//!
//! What they say is written out here by hand, and what is written today must be the same bytes.
//! `tests/fixtures/README.md` says how they are made.

use herd_proto::{Record, UnixTime};
use herd_store::{
    Batch, Damage, Disk as _, Finding, Identity, Journal, Loaded, MemoryDisk, OpenError, Part,
    Storage, VERSION, examine,
};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use twox_hash::XxHash3_64;

const JOURNAL: &str = "journal-1";
const FILES: [&str; 2] = ["identity", JOURNAL];

/// Seeds the key of the directory.
const SEED: u64 = 0x0123_4567_89ab_cdef;

fn identity() -> Identity {
    Identity {
        herd: "news".to_owned(),
        server: "Hill".to_owned(),
        incarnation: 1_700_000_000_000_000_000,
    }
}

fn now() -> UnixTime {
    UnixTime::from_nanos(1_700_000_000_123_456_789)
}

/// A report, one whose client's clock was ahead, one in another script, and a tombstone.
fn records() -> [Record<'static>; 4] {
    [
        Record {
            key: b"rkiwi.example",
            effective_ns: 1_520_023_934_918_963_997,
            received_ns: 1_520_023_935_182_837_383,
            tombstone: false,
            value: b"Hill +34.068930-118.445127 1520023934.918963997 +0.263873386",
        },
        Record {
            key: b"rant",
            effective_ns: 1_700_000_000_000_000_000,
            received_ns: 1_699_999_999_999_999_999,
            tombstone: false,
            value: b"Hill +0+0/ 1700000000 -0.000000001",
        },
        Record {
            key: "rключ".as_bytes(),
            effective_ns: i64::MIN,
            received_ns: i64::MAX,
            tombstone: false,
            value: b"",
        },
        Record {
            key: b"remu",
            effective_ns: -1,
            received_ns: 1_700_000_000_000_000_000,
            tombstone: true,
            value: b"",
        },
    ]
}

/// A directory as it is kept.
fn directory(name: &str) -> MemoryDisk {
    let mut disk = MemoryDisk::default();
    for file in FILES {
        disk.write(file, 0, &read(name, file)).unwrap();
    }
    disk
}

/// As a server writes it.
fn written() -> MemoryDisk {
    let mut storage = Storage::open(MemoryDisk::default(), SEED).unwrap();
    storage.load(|_| ()).unwrap();
    storage.start_incarnation(identity(), now()).unwrap();
    storage.begin(now()).unwrap();
    let mut batch = Batch::default();
    for record in records() {
        batch.push(&record);
    }
    storage.append(Part::Next, &mut batch).unwrap();
    storage.complete().unwrap();
    storage.into_disk()
}

/// What a start makes of a directory: the numbers of the records above, and what it says of the files.
fn start(disk: &MemoryDisk) -> Result<(Vec<usize>, Loaded), OpenError> {
    let findings = examine(&mut disk.clone(), |_| ())?.findings;
    let mut storage = Storage::open(disk.clone(), 3)?;
    assert_eq!(storage.identity(), Some(&identity()));
    let mut read = Vec::new();
    let loaded = storage.load(|record| {
        let number = records().iter().position(|known| *known == record);
        read.push(number.expect("it is one of those above"));
    })?;
    assert_eq!(loaded.findings, findings, "a start and an examination find the same");
    Ok((read, loaded))
}

/// The bytes of the sound journal: of its head, and of each record.
const HEAD: u64 = 69;
const RECORDS: [u64; 4] = [93, 54, 25, 28];
const LENGTH: u64 = HEAD + RECORDS[0] + RECORDS[1] + RECORDS[2] + RECORDS[3];

fn journal(records: u64, end: u64, torn_bytes: u64) -> Journal {
    Journal { file: JOURNAL.to_owned(), records, end, torn_bytes }
}

#[test]
fn a_sound_directory_says_what_it_said() {
    let (read, loaded) = start(&directory("v1/sound")).unwrap();
    assert_eq!(read, [0, 1, 2, 3]);
    let expected = Loaded { journals: vec![journal(4, LENGTH, 0)], findings: Vec::new() };
    assert_eq!(loaded, expected);
}

#[test]
fn what_is_written_today_is_the_same_bytes() {
    for file in FILES {
        let mut bytes = vec![0; 4096];
        let length = written().read(file, 0, &mut bytes).unwrap();
        bytes.truncate(length);
        assert_eq!(bytes, kept("v1/sound", file, &bytes), "{file}");
    }
}

/// The last record is cut off in its middle.
#[test]
fn a_torn_directory_says_all_but_its_end() {
    let (read, loaded) = start(&directory("v1/torn")).unwrap();
    assert_eq!(read, [0, 1, 2]);
    let journals = vec![journal(3, LENGTH - RECORDS[3], 4)];
    assert_eq!(loaded, Loaded { journals, findings: Vec::new() });
}

/// One bit is flipped in each of: the first copy of the identity, the head of the journal, the second record.
#[test]
fn a_damaged_directory_says_what_is_left_and_where_it_is_damaged() {
    let (read, loaded) = start(&directory("v1/damaged")).unwrap();
    assert_eq!(read, [0, 2, 3]);
    let finding =
        |file: &str, from, to, damage| Finding { file: file.to_owned(), from, to, damage };
    let second = HEAD + RECORDS[0];
    let findings = vec![
        finding("identity", 0, 2 * HEAD, Damage::IdentityDamaged),
        finding(JOURNAL, 0, HEAD, Damage::HeadDamaged),
        finding(JOURNAL, second, second + RECORDS[1], Damage::Hole),
    ];
    assert_eq!(loaded, Loaded { journals: vec![journal(3, LENGTH, 0)], findings });
}

#[test]
fn a_later_version_is_refused_with_a_sentence() {
    assert_eq!(
        VERSION, 1,
        "this version is the later one now: keep a fixture of it, and of the next"
    );
    // All that may be known of a later version: how it begins.
    let fields = b"whatever it says";
    let mut newer = [b"geoherdj", &2_u32.to_le_bytes()[..], &16_u32.to_le_bytes(), fields].concat();
    newer.extend(XxHash3_64::oneshot(&newer).to_le_bytes());
    for file in FILES {
        let mut disk = directory("v1/sound");
        let newer = kept("v2/newer", file, &newer);
        disk.truncate(file, 0).unwrap();
        disk.write(file, 0, &newer).unwrap();
        let Err(refused) = start(&disk) else { panic!("{file} of version 2 was read") };
        assert_eq!(
            refused.to_string(),
            format!(
                "{file} has format version 2, and this program reads up to 1: use a later version of the program"
            )
        );
    }
}

#[test]
fn every_fixture_is_looked_at() {
    for (version, names) in [("v1", &["damaged", "sound", "torn"][..]), ("v2", &["newer"])] {
        let mut found: Vec<_> = fs::read_dir(path(version, ""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, names, "a fixture that no test reads, or one that is missing");
    }
}

fn path(directory: &str, file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(directory).join(file)
}

/// The bytes kept under that name; fails with the file that is missing.
#[track_caller]
fn kept(directory: &str, file: &str, bytes: &[u8]) -> Vec<u8> {
    if path(directory, &format!("{file}.hex")).exists() {
        return read(directory, file);
    }
    let mut text = String::new();
    for line in bytes.chunks(16) {
        let line: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{}", line.join(" ")).unwrap();
    }
    panic!(
        "tests/fixtures/{directory}/{file}.hex is missing; if these bytes are right, it is\n{text}"
    )
}

/// Pairs of hexadecimal digits; a line that begins with `#` is a comment.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a test may read what it compares with")]
fn read(directory: &str, file: &str) -> Vec<u8> {
    let path = path(directory, &format!("{file}.hex"));
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let digits = lines.flat_map(str::split_whitespace);
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
