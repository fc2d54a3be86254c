//! A data directory: [`herd_store`] must bear whatever bytes stand in it, and give back of its own what is left.
//!
//! An input whose first byte is zero is the files themselves: two bytes that tell how long `life` is, little
//! endian, that file, and the rest is the journal. Any other input is records for a journal that the store
//! writes, so that checksums are right, and how that is then damaged: see [`Plan`].

use crate::targets::frame::settings;
use herd_node::Revival;
use herd_proto::peer::FRAME_BYTES_MAX;
use herd_proto::varint::Reader;
use herd_proto::{Instant, Now, UnixTime};
use herd_store::{
    Batch, Disk as _, Found, Life, Line, MemoryDisk, OpenError, Part, Storage, examine,
};

/// Pieces of the language: a journal's beginning, records, an origin, and numbers at the ends of their ranges.
pub const DICTIONARY: &[&str] = &[
    "geoherdj",
    "\u{1}\0\0\0\0\0\0\0",
    "\u{1}\0\u{7f}\u{4}Hill",
    "\u{2}\0\u{1}\0\0\0\0\0\0\0\0\u{5}rkiwiHill +1+2 3 +0.5",
    "\u{3}\0\u{2}\0\0\0\0\0\0\0\0\u{5}rkiwi",
    "\u{4}\0\u{1}",
    "\u{7}rkiwi",
    "\u{8}\0rkiwi",
    "\u{10}\u{20}",
    "\0",
    "\u{7f}",
];

const JOURNAL: &str = "journal-1";

/// The search behind damage looks at every byte, and there is nothing new to meet in more of them.
const INPUT_BYTES_MAX: usize = 12 * 1024;

/// Records longer than this are not looked for behind damage.
const SOUGHT_BYTES_MAX: usize = 4096;

/// Whatever bytes a directory holds, reading it changes nothing, a start reads the same twice, and a node can be
/// made of it. What a server wrote is given back, but for what was damaged and what nothing tells from damage.
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
    let (life, journal) = files.split_at(length);
    let mut disk = MemoryDisk::default();
    disk.write(JOURNAL, 0, journal).expect("memory takes it");
    disk.write("life", 0, life).expect("memory takes it");
    start(disk);
}

/// What a start is told: each record, and whether there was a hole before it.
type Told = Vec<(bool, Vec<u8>)>;

/// What a start makes of a directory; nothing if it refuses it.
fn start(disk: MemoryDisk) -> Option<Told> {
    let mut looked_at = disk.clone();
    let mut seen = Told::new();
    let examined = examine(&mut looked_at, |found| seen.push(told(found)));
    assert_eq!(looked_at.changes(), disk.changes(), "looking has changed something");
    let opened = Storage::open(disk, 1).and_then(|mut storage| {
        let mut read = Told::new();
        let loaded = storage.load(|found| read.push(told(found)))?;
        Ok((storage, loaded, read))
    });
    let (storage, loaded, read) = match (opened, &examined) {
        (Ok(opened), Ok(_)) => opened,
        (Err(OpenError::Later { .. }), Err(OpenError::Later { .. })) => return None,
        (opened, _) => panic!("a start and a look do not agree: {opened:?}, {examined:?}"),
    };
    let examined = examined.expect("looked at above");
    assert_eq!(read, seen, "a start is told something else than who looks");
    assert_eq!((examined.records, examined.end), (loaded.records, loaded.bytes));
    assert_eq!(examined.torn_bytes, loaded.torn_bytes);
    assert!(loaded.holes.is_empty() || !examined.is_sound(), "a hole is no flaw");
    assert!(loaded.unreadable.is_empty() || !examined.is_sound(), "an unreadable file is no flaw");
    let from = loaded.holes.windows(2).all(|holes| holes[0].to <= holes[1].from);
    assert!(from && loaded.holes.iter().all(|hole| hole.from < hole.to), "{:?}", loaded.holes);
    revive(&read);

    // What is torn is cut; what is not sound stays until something has taken its place.
    let mut again = Told::new();
    let mut storage = Storage::open(storage.into_disk(), 2).expect("it was opened before");
    let second = storage.load(|found| again.push(told(found))).expect("it was read before");
    assert_eq!(again, read, "the second start is told something else");
    assert!(second.torn_bytes == 0 || !second.holes.is_empty(), "what was torn is there again");
    Some(read)
}

fn told(found: Found<'_>) -> (bool, Vec<u8>) {
    let (behind_hole, journaled) = match found {
        Found::Sound(journaled) => (false, journaled),
        Found::BehindHole(journaled) => (true, journaled),
    };
    let mut bytes = Vec::new();
    Line::Of(journaled).encode(&mut bytes);
    (behind_hole, bytes)
}

/// A node is made of what was told, or it is said why not.
fn revive(told: &Told) {
    let now =
        Now { instant: Instant::from_nanos(0), unix: UnixTime::from_nanos(1_700_000_000 << 30) };
    let mut revival = Revival::new(settings(), now);
    for (_, bytes) in told.iter().filter(|(behind_hole, _)| !behind_hole) {
        let taken = match Line::decode(bytes) {
            Some(Line::Of(journaled)) => revival.take(&journaled),
            Some(Line::Origin { number, server, incarnation }) => {
                let origin = herd_replica::Origin { server: server.into(), incarnation };
                revival.take(&herd_replica::Journaled::Origin { number, origin: &origin })
            }
            Some(Line::Synced { .. }) | None => panic!("a start is told of no such record"),
        };
        if taken.is_err() {
            return;
        }
    }
    let (node, _) = revival.finish();
    let mut clients = 0;
    let mut place = Some(0);
    while let Some(at) = place {
        place = node.walk_clients(at, 2, |_| clients += 1);
    }
    assert!(clients <= node.clients(), "more clients are met than known");
}

/// Three bytes for each damage: where, little endian, and what is changed there; then records, each behind its
/// length. What is no record is left out.
struct Plan<'a> {
    damages: Vec<(u16, u8)>,
    bodies: Vec<&'a [u8]>,
}

impl<'a> Plan<'a> {
    fn read(damages: usize, data: &'a [u8]) -> Self {
        let mut reader = Reader(data);
        let mut plan = Plan { damages: Vec::new(), bodies: Vec::new() };
        for _ in 0..damages {
            let Some([low, high, change]) = reader.array() else { break };
            plan.damages.push((u16::from_le_bytes([low, high]), change));
        }
        while let Some(body) = reader.bytes() {
            let fits = body.len() <= FRAME_BYTES_MAX;
            plan.bodies.extend(Line::decode(body).filter(|_| fits).map(|_| body));
        }
        plan
    }
}

/// A record in the file, and what a start is told of it.
struct Place {
    from: u64,
    to: u64,
    /// Nothing for a note of what is safe.
    told: Option<Vec<u8>>,
    is_sought: bool,
}

fn as_records(damages: usize, data: &[u8]) {
    let plan = Plan::read(damages, data);
    let (mut whole, places) = written(&plan.bodies);
    let mut disk = whole.clone();
    let mut changed = Vec::new();
    for &(at, change) in &plan.damages {
        // The beginning is another matter: of a file without one nothing is read.
        let at = u64::from(at) + 32;
        if let Some(byte) = byte(&mut disk, at) {
            disk.write(JOURNAL, at, &[byte ^ change]).expect("memory takes it");
            changed.push(at);
        }
    }
    // What was changed twice may be as it was.
    changed.retain(|&at| byte(&mut disk, at) != byte(&mut whole, at));
    let is_whole = |place: &Place| !changed.iter().any(|at| (place.from..place.to).contains(at));
    let mut expected = Told::new();
    let (mut in_hole, mut behind_hole) = (false, false);
    for (at, place) in places.iter().enumerate() {
        if !is_whole(place) {
            in_hole = true;
            continue;
        }
        let next = places.get(at + 1);
        let is_found = place.is_sought && next.is_none_or(|next| next.is_sought && is_whole(next));
        if in_hole && !is_found {
            continue;
        }
        behind_hole |= in_hole;
        in_hole = false;
        expected.extend(place.told.clone().map(|told| (behind_hole, told)));
    }
    let read = start(disk).expect("it is of this version");
    assert_eq!(read, expected, "damaged at {changed:?}");
}

/// A directory with these records, and where each stands.
fn written(bodies: &[&[u8]]) -> (MemoryDisk, Vec<Place>) {
    let mut storage = Storage::open(MemoryDisk::default(), 1).expect("it is empty");
    storage.load(|_| ()).expect("it is empty");
    let life = Life { herd: "news".to_owned(), server: "Hill".to_owned(), ..Life::default() };
    storage.begin_life(life).expect("memory takes it");
    storage.begin().expect("memory takes it");
    let mut batch = Batch::default();
    let mut places = Vec::new();
    for line in bodies.iter().filter_map(|body| Line::decode(body)) {
        let from = 32 + batch.len() as u64;
        batch.push(&line);
        let to = 32 + batch.len() as u64;
        let mut bytes = Vec::new();
        line.encode(&mut bytes);
        let is_sought = bytes.len() <= SOUGHT_BYTES_MAX;
        let told = (!matches!(line, Line::Synced { .. })).then_some(bytes);
        places.push(Place { from, to, told, is_sought });
    }
    storage.append(Part::Next, &mut batch).expect("memory takes it");
    storage.complete().expect("memory takes it");
    (storage.into_disk(), places)
}

fn byte(disk: &mut MemoryDisk, at: u64) -> Option<u8> {
    let mut byte = [0];
    let count = disk.read(JOURNAL, at, &mut byte).expect("it is there");
    (count == 1).then_some(byte[0])
}
