//! Directories of version 1 as bytes, kept in `tests/fixtures`: they are read for ever.
//!
//! What they say is written out here by hand, and what is written today must be the same bytes. A fixture is
//! never changed, only added to. `tests/fixtures/README.md` says how.

use herd_replica::{Journaled, Record};
use herd_store::{
    Batch, Closed, Disk as _, Flaw, Found, Hole, Life, Line, Loaded, MemoryDisk, OpenError, Part,
    Storage, VERSION, Wrong, examine,
};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use twox_hash::XxHash3_64;

const JOURNAL: &str = "journal-1";

/// Whose directories these are.
fn life(closed: Option<Closed>) -> Life {
    Life {
        herd: "news".to_owned(),
        server: "Hill".to_owned(),
        incarnation: 1_700_000_000_000_000_000,
        boot: "00112233-4455-6677-8899-aabbccddeeff".to_owned(),
        place: "1:200:3000".to_owned(),
        closed,
    }
}

const KIWI: Record<'static> = Record {
    key: b"rkiwi.example",
    effective_ns: 1_520_023_934_918_963_997,
    tombstone: false,
    value: b"Hill +34.068930-118.445127 1520023934.918963997 +0.263873386",
};

/// Every kind of record. `safe` is what the file's note says of itself.
fn records(safe: u64) -> Vec<Line<'static>> {
    let key = "rключ".as_bytes();
    let value: &[u8] = b"Smith -27.5+153/ 1700000000 -0.500000000";
    let far = Record { key, effective_ns: 1_700_000_000_000_000_000, tombstone: false, value };
    let forgotten = Record { key: b"remu", effective_ns: -1, tombstone: true, value: b"" };
    vec![
        Line::Origin { number: 0, server: "Hill", incarnation: 1_700_000_000_000_000_000 },
        Line::Origin { number: 1, server: "Smith", incarnation: 300 },
        Line::Of(Journaled::Entry { origin: 0, sequence: 1, record: KIWI }),
        Line::Of(Journaled::Entry { origin: 1, sequence: 200, record: far }),
        Line::Of(Journaled::Entry { origin: 1, sequence: 201, record: forgotten }),
        Line::Of(Journaled::Gone { key: b"rant" }),
        Line::Of(Journaled::Dropped { origin: 1, key: b"rkiwi.example" }),
        Line::Of(Journaled::Grave { origin: 1, sequence: 190 }),
        Line::Of(Journaled::Floor { origin: 1, sequence: 150 }),
        Line::Synced { to: safe },
        Line::Of(Journaled::Version { origin: 0, version: 1 }),
        Line::Of(Journaled::Version { origin: 1, version: 201 }),
        Line::Of(Journaled::Settled),
    ]
}

/// The same, as a reader is given them: by hand, so that nothing of ours has to be right for it.
const TOLD: [&str; 12] = [
    "origin 0 is Hill 1700000000000000000",
    "origin 1 is Smith 300",
    "entry 1 of origin 0 at 1520023934918963997: rkiwi.example is \
     Hill +34.068930-118.445127 1520023934.918963997 +0.263873386",
    "entry 200 of origin 1 at 1700000000000000000: rключ is Smith -27.5+153/ 1700000000 -0.500000000",
    "entry 201 of origin 1 at -1: remu is forgotten",
    "rant is gone",
    "rkiwi.example of origin 1 is dropped",
    "grave of origin 1 is 190",
    "floor of origin 1 is 150",
    "version of origin 0 is 1",
    "version of origin 1 is 201",
    "versions count",
];

fn told(journaled: &Journaled<'_>) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    match *journaled {
        Journaled::Origin { number, origin } => {
            format!("origin {number} is {} {}", origin.server, origin.incarnation)
        }
        Journaled::Entry { origin, sequence, record } => {
            let Record { key, effective_ns, tombstone, value } = record;
            let value = if tombstone { "forgotten".to_owned() } else { text(value) };
            let key = text(key);
            format!("entry {sequence} of origin {origin} at {effective_ns}: {key} is {value}")
        }
        Journaled::Version { origin, version } => {
            format!("version of origin {origin} is {version}")
        }
        Journaled::Settled => "versions count".to_owned(),
        Journaled::Floor { origin, sequence } => format!("floor of origin {origin} is {sequence}"),
        Journaled::Grave { origin, sequence } => format!("grave of origin {origin} is {sequence}"),
        Journaled::Gone { key } => format!("{} is gone", text(key)),
        Journaled::Dropped { origin, key } => {
            format!("{} of origin {origin} is dropped", text(key))
        }
    }
}

/// A directory as it is kept.
fn directory(name: &str) -> MemoryDisk {
    let mut disk = MemoryDisk::default();
    for file in [JOURNAL, "life"] {
        disk.write(file, 0, &read(name, file)).unwrap();
    }
    disk
}

/// What a start makes of a directory, and what an examination says of it.
struct Read {
    life: Option<Life>,
    loaded: Loaded,
    sound: Vec<String>,
    behind_hole: Vec<String>,
    flaws: Vec<Flaw>,
}

fn start(disk: &MemoryDisk) -> Result<Read, OpenError> {
    let (mut sound, mut behind_hole) = (Vec::new(), Vec::new());
    let flaws = examine(&mut disk.clone(), |_| ())?.flaws;
    let mut storage = Storage::open(disk.clone(), 3)?;
    let loaded = storage.load(|found| match found {
        Found::Sound(journaled) => sound.push(told(&journaled)),
        Found::BehindHole(journaled) => behind_hole.push(told(&journaled)),
    })?;
    Ok(Read { life: storage.life().cloned(), loaded, sound, behind_hole, flaws })
}

/// As a server writes it.
fn written(closed: bool) -> MemoryDisk {
    let mut storage = Storage::open(MemoryDisk::default(), 1).unwrap();
    storage.load(|_| ()).unwrap();
    storage.begin_life(life(None)).unwrap();
    storage.begin().unwrap();
    let mut batch = Batch::default();
    for line in records(SAFE) {
        batch.push(&line);
    }
    storage.append(Part::Next, &mut batch).unwrap();
    storage.complete().unwrap();
    if closed {
        let closed = Some(Closed { generation: 1, length: LENGTH });
        storage.begin_life(life(closed)).unwrap();
    }
    storage.into_disk()
}

/// Bytes of the sound journal, and how far it says that it is safe.
const LENGTH: u64 = 326;
/// Of the damaged one, which lacks the last record.
const DAMAGED_LENGTH: u64 = 320;
const SAFE: u64 = 300;

#[test]
fn a_sound_directory_says_what_it_said() {
    let read = start(&directory("v1/sound")).unwrap();
    assert_eq!(read.life, Some(life(Some(Closed { generation: 1, length: LENGTH }))));
    assert_eq!(read.sound, TOLD);
    assert_eq!((read.behind_hole.len(), read.flaws.len()), (0, 0));
    let expected = Loaded {
        file: Some(JOURNAL.to_owned()),
        bytes: LENGTH,
        records: 13,
        is_closed: true,
        ..Loaded::default()
    };
    assert_eq!(read.loaded, expected);
}

#[test]
fn what_is_written_today_is_the_same_bytes() {
    for (closed, directory, file) in [
        (true, "v1/sound", JOURNAL),
        (true, "v1/sound", "life"),
        (false, "v1/torn", "life"),
        (false, "v1/damaged", "life"),
    ] {
        let mut bytes = vec![0; 4096];
        let length = written(closed).read(file, 0, &mut bytes).unwrap();
        bytes.truncate(length);
        assert_eq!(bytes, kept(directory, file, &bytes), "{file} is written otherwise than it was");
    }
}

#[test]
fn a_torn_directory_says_all_but_its_end() {
    let read = start(&directory("v1/torn")).unwrap();
    assert_eq!(read.life, Some(life(None)));
    assert_eq!(read.sound, TOLD[..10]);
    // Nothing tells that the end had been safe.
    assert_eq!((read.behind_hole.len(), read.flaws.len()), (0, 0));
    let expected = Loaded {
        file: Some(JOURNAL.to_owned()),
        bytes: 311,
        records: 11,
        torn_bytes: 4,
        ..Loaded::default()
    };
    assert_eq!(read.loaded, expected);
}

#[test]
fn a_damaged_directory_says_what_is_left_and_where_it_is_damaged() {
    let read = start(&directory("v1/damaged")).unwrap();
    assert_eq!(read.life, Some(life(None)));
    assert_eq!(read.sound, TOLD[..2]);
    assert_eq!(read.behind_hole, TOLD[3..11]);
    let hole = Hole { from: 68, to: 158, was_safe: true };
    let flaw = Flaw { file: JOURNAL.to_owned(), from: 68, to: 158, what: Wrong::Damaged };
    let expected = Loaded {
        file: Some(JOURNAL.to_owned()),
        bytes: DAMAGED_LENGTH,
        records: 11,
        holes: vec![hole],
        flaws: vec![flaw.clone()],
        ..Loaded::default()
    };
    assert_eq!(read.loaded, expected);
    assert_eq!(read.flaws, [flaw]);
}

#[test]
fn a_later_version_is_refused_with_a_sentence() {
    assert_eq!(
        VERSION, 1,
        "this version is the later one now: keep a fixture of it, and of the next"
    );
    // All that may be known of a later version: its beginning is as that of any.
    let mut newer = [b"geoherdj", &2_u32.to_le_bytes()[..], &[0; 4], &7_u64.to_le_bytes()].concat();
    newer.extend(XxHash3_64::oneshot(&newer).to_le_bytes());
    newer.extend(b"whatever it says");
    for file in [JOURNAL, "life"] {
        let mut disk = directory("v1/sound");
        let newer = kept("v2/newer", file, &newer);
        disk.truncate(file, 0).unwrap();
        disk.write(file, 0, &newer).unwrap();
        let Err(refused) = start(&disk) else { panic!("{file} of version 2 was read") };
        assert_eq!(
            refused.to_string(),
            format!(
                "{file} is of format 2, and this program reads 1 at most: use a later version of it"
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
        assert_eq!(found, names, "what was once written must still be read");
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

/// Pairs of hexadecimal digits; a line that begins with `#` is for people.
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
