//! Whose directory it is, and which life of that server was the last to use it.
//!
//! A file of its own, written anew by renaming: it must be known before the first record is read.

use crate::disk::Disk;
use crate::file::{HEADER_BYTES, Header, VERSION, header, read_header};
use herd_proto::tagged::{fields, write_field, write_number_field};
use std::io;
use twox_hash::XxHash3_64;

pub(crate) const NAME: &str = "life";
pub(crate) const PART: &str = "life.part";

/// Longer than any: names are short.
const BYTES_MAX: usize = 4096;

/// One life of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// The herd's name.
    pub herd: String,
    /// The server's name.
    pub server: String,
    /// Under which it numbers its updates.
    pub incarnation: u64,
    /// What the kernel calls the time since it was started: another one means that there was a power cut,
    /// or as good as one.
    pub boot: String,
    /// What tells this directory from a copy of it.
    pub place: String,
    /// How it ended, if it ended well.
    pub closed: Option<Closed>,
}

/// The end of a life after which nothing that was told to anybody is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The generation.
    pub generation: u64,
    /// Its bytes.
    pub length: u64,
}

mod tag {
    pub(super) const HERD: u64 = 1;
    pub(super) const SERVER: u64 = 2;
    pub(super) const INCARNATION: u64 = 3;
    pub(super) const BOOT: u64 = 4;
    pub(super) const PLACE: u64 = 5;
    pub(super) const CLOSED_GENERATION: u64 = 6;
    pub(super) const CLOSED_LENGTH: u64 = 7;
}

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Life(Life),
    /// There is none.
    Missing,
    Damaged,
    /// Of a later version.
    Later(u32),
}

pub(crate) fn read<D: Disk>(disk: &mut D) -> io::Result<Read> {
    if !disk.names()?.iter().any(|name| name == NAME) {
        return Ok(Read::Missing);
    }
    let mut bytes = vec![0; BYTES_MAX];
    let length = disk.read(NAME, 0, &mut bytes)?;
    bytes.truncate(length);
    Ok(match read_header(&bytes) {
        Header::Later(version) => Read::Later(version),
        Header::None => Read::Damaged,
        Header::Ours(sum) => {
            let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
            if XxHash3_64::oneshot(body) == sum { Read::Life(decode(body)) } else { Read::Damaged }
        }
    })
}

/// The file's id is the checksum of what follows.
pub(crate) fn write<D: Disk>(disk: &mut D, life: &Life) -> io::Result<()> {
    let body = encode(life);
    let mut bytes = header(XxHash3_64::oneshot(&body)).to_vec();
    bytes.extend(body);
    if disk.names()?.iter().any(|name| name == PART) {
        disk.remove(PART)?;
    }
    disk.write(PART, 0, &bytes)?;
    disk.sync(PART)?;
    disk.rename(PART, NAME)?;
    disk.sync_names()
}

fn encode(life: &Life) -> Vec<u8> {
    let mut out = Vec::new();
    write_field(tag::HERD, life.herd.as_bytes(), &mut out);
    write_field(tag::SERVER, life.server.as_bytes(), &mut out);
    write_number_field(tag::INCARNATION, life.incarnation, &mut out);
    write_field(tag::BOOT, life.boot.as_bytes(), &mut out);
    write_field(tag::PLACE, life.place.as_bytes(), &mut out);
    if let Some(Closed { generation, length }) = life.closed {
        write_number_field(tag::CLOSED_GENERATION, generation, &mut out);
        write_number_field(tag::CLOSED_LENGTH, length, &mut out);
    }
    out
}

fn decode(body: &[u8]) -> Life {
    let mut life = Life::default();
    let (mut generation, mut length) = (None, None);
    for (tag, field) in fields(body) {
        let text = || field.text().unwrap_or_default().to_owned();
        match tag {
            tag::HERD => life.herd = text(),
            tag::SERVER => life.server = text(),
            tag::INCARNATION => life.incarnation = field.number().unwrap_or_default(),
            tag::BOOT => life.boot = text(),
            tag::PLACE => life.place = text(),
            tag::CLOSED_GENERATION => generation = field.number(),
            tag::CLOSED_LENGTH => length = field.number(),
            _ => {}
        }
    }
    life.closed = generation.zip(length).map(|(generation, length)| Closed { generation, length });
    life
}

const _: () = assert!(VERSION == 1, "a later version of this file may need a header of its own");
