//! The bytes of a file: a header, and records with a checksum each.
//!
//! ```text
//! header   magic "geoherdj" · version u32 · zero u32 · id u64 · checksum u64 of these 24 bytes
//! record   checksum u32 · length of the body, varint · body
//! ```
//!
//! All numbers are little endian. A record's checksum is the low half of XXH3 over its length and body,
//! seeded with the file's id and the record's offset: a record of another file, or of another place in this
//! one, is none.
//!
//! After a power cut a file ends anywhere, and what was written last may have holes. Whether bytes that are
//! no record are the torn end or damage in the middle is decided by what follows them: see [`Hole`].

use crate::disk::Disk;
use crate::line::Line;
use herd_proto::varint::{Reader, write_numbers};
use std::io;
use twox_hash::XxHash3_64;

/// Of the format.
pub const VERSION: u32 = 1;

pub(crate) const MAGIC: &[u8; 8] = b"geoherdj";
pub(crate) const HEADER_BYTES: usize = 32;

/// Of one record's body. Greater than any: a key and a value come in one frame.
const BODY_BYTES_MAX: usize = herd_proto::peer::FRAME_BYTES_MAX;

/// A checksum and the longest length.
const RECORD_HEAD_BYTES: usize = 4 + 3;

/// Read at once: few calls, little memory.
const CHUNK_BYTES: usize = 1 << 20;

/// Read first; each time twice as much, so that a small file takes less.
const FIRST_CHUNK_BYTES: usize = 16 << 10;

/// Records looked for behind damage have shorter bodies than this, or are passed over: the search would
/// else take long over bytes that claim to be long records.
const SOUGHT_BODY_BYTES_MAX: usize = 4096;

/// The beginning of a file with this id.
pub(crate) fn header(id: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    let [m0, m1, m2, m3, m4, m5, m6, m7] = *MAGIC;
    let [v0, v1, v2, v3] = VERSION.to_le_bytes();
    let [i0, i1, i2, i3, i4, i5, i6, i7] = id.to_le_bytes();
    let front = [
        m0, m1, m2, m3, m4, m5, m6, m7, v0, v1, v2, v3, 0, 0, 0, 0, i0, i1, i2, i3, i4, i5, i6, i7,
    ];
    let (to, sum) = bytes.split_at_mut(front.len());
    to.copy_from_slice(&front);
    sum.copy_from_slice(&XxHash3_64::oneshot(&front).to_le_bytes());
    bytes
}

/// What the first bytes of a file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// Of this version, with this id.
    Ours(u64),
    /// Of a later version.
    Later(u32),
    /// No header, or a damaged one.
    None,
}

pub(crate) fn read_header(bytes: &[u8]) -> Header {
    let fields = || {
        let mut fields = Reader(bytes);
        let magic: [u8; 8] = fields.array()?;
        let (version, _zero): ([u8; 4], [u8; 4]) = (fields.array()?, fields.array()?);
        let (id, sum): ([u8; 8], [u8; 8]) = (fields.array()?, fields.array()?);
        let front = bytes.get(..HEADER_BYTES - 8)?;
        let sound = magic == *MAGIC && XxHash3_64::oneshot(front) == u64::from_le_bytes(sum);
        sound.then_some((u32::from_le_bytes(version), u64::from_le_bytes(id)))
    };
    match fields() {
        Some((VERSION, id)) => Header::Ours(id),
        Some((version, _)) if version > VERSION => Header::Later(version),
        _ => Header::None,
    }
}

/// Records on their way to a file.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    body: Vec<u8>,
}

impl Batch {
    /// Adds a record. Its checksum waits until its place is known: whoever holds a lock meanwhile holds it
    /// for less long.
    pub fn push(&mut self, line: &Line<'_>) {
        self.body.clear();
        line.encode(&mut self.body);
        self.bytes.extend_from_slice(&[0; 4]);
        write_numbers([self.body.len() as u64], &mut self.bytes);
        self.bytes.extend_from_slice(&self.body);
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes all records out; the memory is kept.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The records as they are at `offset` of the file with this id.
    pub(crate) fn sealed(&mut self, id: u64, offset: u64) -> &[u8] {
        let (mut rest, mut at) = (&mut *self.bytes, offset);
        while let Some((sum, behind)) = rest.split_first_chunk_mut::<4>() {
            let mut reader = Reader(behind);
            let body = reader.bytes().map_or(0, <[u8]>::len);
            let length = behind.len() - reader.0.len();
            let (record, next) = behind.split_at_mut(length);
            *sum = checksum(id, at, record);
            debug_assert!(body <= BODY_BYTES_MAX, "a record of {body} bytes");
            at += (sum.len() + length) as u64;
            rest = next;
        }
        &self.bytes
    }
}

/// Of a length and a body.
fn checksum(id: u64, offset: u64, record: &[u8]) -> [u8; 4] {
    let sum = XxHash3_64::oneshot_with_seed(id.wrapping_add(offset), record);
    let [a, b, c, d, ..] = sum.to_le_bytes();
    [a, b, c, d]
}

/// The record at the front of `bytes`, and how long it is; `None` if there is none.
fn record(bytes: &[u8], id: u64, offset: u64, body_max: usize) -> Option<(Line<'_>, usize)> {
    let (sum, behind) = bytes.split_first_chunk::<4>()?;
    let mut reader = Reader(behind);
    let body = reader.bytes().filter(|body| !body.is_empty() && body.len() <= body_max)?;
    let record = behind.get(..behind.len() - reader.0.len())?;
    if checksum(id, offset, record) != *sum {
        return None;
    }
    Some((Line::decode(body)?, sum.len() + record.len()))
}

/// Bytes of a file that are no records, though records follow.
///
/// If it is certain that they once were safe, the file is damaged. Otherwise a power cut may have left them:
/// a disk writes what it was not yet told to make safe in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The first byte that is no record's.
    pub from: u64,
    /// The record that follows begins here.
    pub to: u64,
    /// Whether a later record tells that this part of the file had been made safe.
    pub was_safe: bool,
}

/// How a file ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Behind the last record.
    pub(crate) end: u64,
    /// Bytes behind that.
    pub(crate) torn: u64,
    pub(crate) records: u64,
    pub(crate) holes: Vec<Hole>,
}

/// Reads all records of a file with this id; `take` is also told whether there was a hole before.
pub(crate) fn read_records<D: Disk, E: From<io::Error>>(
    disk: &mut D,
    name: &str,
    id: u64,
    mut take: impl FnMut(&Line<'_>, bool) -> Result<(), E>,
) -> Result<Ended, E> {
    let mut window = Window::new(disk, name, HEADER_BYTES as u64);
    let mut ended = Ended { end: HEADER_BYTES as u64, ..Ended::default() };
    loop {
        let offset = window.offset;
        let bytes = window.at_least(RECORD_HEAD_BYTES + BODY_BYTES_MAX)?;
        if bytes.is_empty() {
            return Ok(ended);
        }
        if let Some((line, length)) = record(bytes, id, offset, BODY_BYTES_MAX) {
            if let Line::Synced { to } = line {
                for hole in ended.holes.iter_mut().filter(|hole| hole.from < to) {
                    hole.was_safe = true;
                }
            }
            ended.records += 1;
            take(&line, !ended.holes.is_empty())?;
            window.advance(length);
            ended.end = window.offset;
        } else {
            if !window.seek(id)? {
                ended.torn = window.offset - offset;
                return Ok(ended);
            }
            ended.holes.push(Hole { from: offset, to: window.offset, was_safe: false });
        }
    }
}

/// A part of a file, in memory.
struct Window<'a, D> {
    disk: &'a mut D,
    name: &'a str,
    /// Of the first byte that was not passed.
    offset: u64,
    bytes: Vec<u8>,
    passed: usize,
    is_last: bool,
    /// Read next.
    chunk: usize,
}

impl<'a, D: Disk> Window<'a, D> {
    fn new(disk: &'a mut D, name: &'a str, offset: u64) -> Self {
        let chunk = FIRST_CHUNK_BYTES;
        Self { disk, name, offset, bytes: Vec::new(), passed: 0, is_last: false, chunk }
    }

    /// What follows: so many bytes, or less if the file ends.
    fn at_least(&mut self, bytes: usize) -> io::Result<&[u8]> {
        while self.bytes.len() - self.passed < bytes && !self.is_last {
            self.bytes.drain(..self.passed);
            self.passed = 0;
            let kept = self.bytes.len();
            self.bytes.resize(kept + self.chunk, 0);
            self.chunk = (2 * self.chunk).min(CHUNK_BYTES);
            let from = self.offset + kept as u64;
            let room = self.bytes.get_mut(kept..).unwrap_or_default();
            let wanted = room.len();
            let read = self.disk.read(self.name, from, room)?;
            self.bytes.truncate(kept + read);
            self.is_last = read < wanted;
        }
        Ok(self.bytes.get(self.passed..).unwrap_or_default())
    }

    fn advance(&mut self, bytes: usize) {
        self.passed += bytes;
        self.offset += bytes as u64;
    }

    /// Goes on to where a record begins behind which there is another, or the end; false if there is none.
    fn seek(&mut self, id: u64) -> io::Result<bool> {
        loop {
            self.advance(1);
            let offset = self.offset;
            let bytes = self.at_least(2 * (RECORD_HEAD_BYTES + SOUGHT_BODY_BYTES_MAX))?;
            if bytes.is_empty() {
                return Ok(false);
            }
            let Some((_, length)) = sought(bytes, id, offset) else { continue };
            let behind = bytes.get(length..).unwrap_or_default();
            if behind.is_empty() || sought(behind, id, offset + length as u64).is_some() {
                return Ok(true);
            }
        }
    }
}

/// [`record`], but quick to tell that there is none.
fn sought(bytes: &[u8], id: u64, offset: u64) -> Option<(Line<'_>, usize)> {
    let mut head = Reader(bytes.get(4..)?);
    let length = head.number().filter(|&length| length <= SOUGHT_BODY_BYTES_MAX as u64)?;
    let begins = length > 0 && head.byte().is_some_and(Line::may_begin);
    begins.then(|| record(bytes, id, offset, SOUGHT_BODY_BYTES_MAX)).flatten()
}
