//! Reads one journal: every record that is intact, whatever stands between them.

use crate::disk::Disk;
use crate::identity::{BLOCK_BYTES_MAX, Block, Front};
use crate::mutants::Mutant;
use crate::record::{RECORD_BYTES_MAX, record_at};
use herd_proto::Record;
use std::io;
use std::ops::Range;

/// The most that is read at once: few calls, little memory.
const CHUNK_BYTES: usize = 1 << 20;

/// What is read first, and doubled each time, so that a small file takes little memory.
const FIRST_CHUNK_BYTES: usize = 16 << 10;

/// What a journal consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Whether the identity at its head is intact.
    pub(crate) has_head: bool,
    /// Where the first intact record behind the head begins, if the head is damaged and there is one.
    pub(crate) head_end: Option<u64>,
    /// Number of intact records.
    pub(crate) records: u64,
    /// Behind the last intact record.
    pub(crate) end: u64,
    /// Bytes behind that, which are no record.
    pub(crate) torn: u64,
    /// Bytes that are no record though an intact one follows.
    pub(crate) holes: Vec<Range<u64>>,
}

impl Scan {
    /// Whether everything up to the end is as it was written.
    pub(crate) fn is_sound(&self) -> bool {
        self.has_head && self.holes.is_empty()
    }
}

/// Reads all intact records of a journal whose records are sealed with `key`.
pub(crate) fn scan<D: Disk>(
    disk: &mut D,
    name: &str,
    key: u64,
    mutant: Option<Mutant>,
    mut take: impl FnMut(Record<'_>),
) -> io::Result<Scan> {
    let mut window = Window::new(disk, name);
    let mut scan = Scan::default();
    if let Front::Block(_, length) = Block::decode(window.at_least(BLOCK_BYTES_MAX)?) {
        scan.has_head = true;
        window.advance(length);
        scan.end = window.offset;
    }
    // Where the bytes begin that are no record, if the last ones were none.
    let mut lost_from = None;
    loop {
        let offset = window.offset;
        let bytes = window.at_least(RECORD_BYTES_MAX)?;
        if bytes.is_empty() {
            scan.torn = offset - scan.end;
            return Ok(scan);
        }
        let Some((record, length)) = record_at(bytes, key) else {
            lost_from.get_or_insert(offset);
            window.advance(1);
            continue;
        };
        if let Some(from) = lost_from.take() {
            if mutant == Some(Mutant::StopsAtDamage) {
                return Ok(scan);
            }
            if from == 0 {
                scan.head_end = Some(offset);
            } else {
                scan.holes.push(from..offset);
            }
        }
        take(record);
        scan.records += 1;
        window.advance(length);
        scan.end = window.offset;
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
    /// Bytes to be read next.
    chunk: usize,
}

impl<'a, D: Disk> Window<'a, D> {
    fn new(disk: &'a mut D, name: &'a str) -> Self {
        let chunk = FIRST_CHUNK_BYTES;
        Self { disk, name, offset: 0, bytes: Vec::new(), passed: 0, is_last: false, chunk }
    }

    /// What follows: at least so many bytes, or fewer if the file ends.
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
}
