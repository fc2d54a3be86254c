//! Whose directory it is, and which incarnation of that server used it last.
//!
//! ```text
//! block   magic "geoherdj" · version u32 · length of the fields u32 · fields · checksum u64
//! ```
//!
//! Numbers are little endian. The checksum is XXH3 (64 bits) of everything before it. The file `identity`
//! is the same block twice, and each journal begins with one: whichever copy is damaged, another is not.

use crate::disk::Disk;
use crate::names::{IDENTITY, IDENTITY_PART};
use crate::survey::OpenError;
use herd_proto::UnixTime;
use herd_proto::tagged::{fields, write_field, write_number_field};
use herd_proto::varint::Reader;
use std::io;
use twox_hash::XxHash3_64;

/// The version of the format of all files.
pub const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"geoherdj";
/// Magic, version and length.
const FRONT_BYTES: usize = 16;
const SUM_BYTES: usize = 8;

/// Longer than any block: a name has at most 255 bytes.
pub(crate) const BLOCK_BYTES_MAX: usize = 1024;

/// The server that a directory belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The herd's name.
    pub herd: String,
    /// The server's name.
    pub server: String,
    /// The incarnation that used the directory last. Each start takes a greater one.
    pub incarnation: u64,
}

impl Identity {
    /// Whether both name the same server, in whatever incarnation.
    pub(crate) fn is_same_server(&self, other: &Self) -> bool {
        (&self.herd, &self.server) == (&other.herd, &other.server)
    }
}

/// An identity as it stands in a file, with what readers of journals need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) identity: Identity,
    /// Seeds the checksums of records. It is random, so the value of a record cannot be made to contain what
    /// would pass for a record of this directory.
    pub(crate) key: u64,
    /// When the block was written; for a journal, when it was begun.
    pub(crate) written: UnixTime,
}

mod tag {
    pub(super) const HERD: u64 = 1;
    pub(super) const SERVER: u64 = 2;
    pub(super) const INCARNATION: u64 = 3;
    pub(super) const KEY: u64 = 4;
    pub(super) const WRITTEN: u64 = 5;
}

/// What stands at the front of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Front {
    /// A block, and its length.
    Block(Block, usize),
    /// The block of a later version.
    Later(u32),
    /// Something else, or a damaged block.
    Unknown,
}

impl Block {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        write_field(tag::HERD, self.identity.herd.as_bytes(), &mut fields);
        write_field(tag::SERVER, self.identity.server.as_bytes(), &mut fields);
        write_number_field(tag::INCARNATION, self.identity.incarnation, &mut fields);
        write_number_field(tag::KEY, self.key, &mut fields);
        write_number_field(tag::WRITTEN, self.written.nanos().cast_unsigned(), &mut fields);
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(u32::try_from(fields.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(fields);
        bytes.extend(XxHash3_64::oneshot(&bytes).to_le_bytes());
        debug_assert!(bytes.len() <= BLOCK_BYTES_MAX, "names have bounds");
        bytes
    }

    /// Reads the block at the front of `bytes`.
    pub(crate) fn decode(bytes: &[u8]) -> Front {
        let front = || {
            let mut reader = Reader(bytes);
            let magic: [u8; 8] = reader.array()?;
            let version = u32::from_le_bytes(reader.array()?);
            let length = usize::try_from(u32::from_le_bytes(reader.array()?)).ok()?;
            let body = reader.0.get(..length)?;
            let summed = bytes.get(..FRONT_BYTES + length)?;
            let sum = bytes.get(summed.len()..summed.len() + SUM_BYTES)?;
            let is_intact =
                magic == *MAGIC && XxHash3_64::oneshot(summed).to_le_bytes().as_slice() == sum;
            is_intact.then_some((version, body))
        };
        match front() {
            Some((VERSION, body)) => {
                let block = Self::decode_fields(body);
                Front::Block(block, FRONT_BYTES + body.len() + SUM_BYTES)
            }
            Some((version, _)) if version > VERSION => Front::Later(version),
            _ => Front::Unknown,
        }
    }

    fn decode_fields(body: &[u8]) -> Self {
        let mut block = Self::default();
        for (tag, field) in fields(body) {
            let text = || field.text().unwrap_or_default().to_owned();
            let number = || field.number().unwrap_or_default();
            match tag {
                tag::HERD => block.identity.herd = text(),
                tag::SERVER => block.identity.server = text(),
                tag::INCARNATION => block.identity.incarnation = number(),
                tag::KEY => block.key = number(),
                tag::WRITTEN => block.written = UnixTime::from_nanos(number().cast_signed()),
                _ => {}
            }
        }
        block
    }
}

/// All copies of a directory's identity.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// Those of the file `identity` that are intact.
    pub(crate) file: Vec<Block>,
    /// The length of that file, if there is one.
    pub(crate) file_bytes: Option<u64>,
    /// Whether every byte of that file is as it was written.
    pub(crate) file_is_intact: bool,
    /// The intact one at the head of each journal, by its name.
    pub(crate) heads: Vec<(String, Block)>,
}

impl Copies {
    /// Reads them all. `journals` are the names of the journals.
    pub(crate) fn read<D: Disk>(
        disk: &mut D,
        has_file: bool,
        journals: impl Iterator<Item = String>,
    ) -> Result<Self, OpenError> {
        let mut copies = Self::default();
        if has_file {
            let bytes = read_front(disk, IDENTITY, 2 * BLOCK_BYTES_MAX)?;
            copies.read_file(&bytes)?;
        }
        for name in journals {
            let bytes = read_front(disk, &name, BLOCK_BYTES_MAX)?;
            match Block::decode(&bytes) {
                Front::Block(block, _) => copies.heads.push((name, block)),
                Front::Later(version) => return Err(OpenError::Later { file: name, version }),
                Front::Unknown => {}
            }
        }
        Ok(copies)
    }

    fn read_file(&mut self, bytes: &[u8]) -> Result<(), OpenError> {
        self.file_bytes = Some(bytes.len() as u64);
        // The second copy is found by its own magic, since the first may not say how long it is.
        let (mut at, mut intact_bytes) = (0, 0);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match Block::decode(rest) {
                Front::Block(block, length) => {
                    self.file.push(block);
                    at += length;
                    intact_bytes += length;
                }
                Front::Later(version) => {
                    return Err(OpenError::Later { file: IDENTITY.to_owned(), version });
                }
                Front::Unknown => at += 1,
            }
        }
        self.file_is_intact = self.file.len() == 2 && intact_bytes == bytes.len();
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &Block> {
        self.file.iter().chain(self.heads.iter().map(|(_, block)| block))
    }

    /// The copy that counts: one of the file, or the head of the latest journal.
    pub(crate) fn main(&self) -> Option<&Block> {
        self.all().next()
    }

    /// Whose directory it is, with the greatest incarnation that any copy names.
    pub(crate) fn identity(&self) -> Option<Identity> {
        let mut identity = self.main()?.identity.clone();
        let same = self.all().filter(|block| block.identity.is_same_server(&identity));
        let greatest = same.map(|block| block.identity.incarnation).max();
        identity.incarnation = greatest.unwrap_or(identity.incarnation);
        Some(identity)
    }

    /// The first copy that names another server, and the file that it stands in.
    pub(crate) fn stranger(&self, herd: &str, server: &str) -> Option<(&str, &Identity)> {
        let file = self.file.iter().map(|block| (IDENTITY, &block.identity));
        let heads = self.heads.iter().map(|(name, block)| (name.as_str(), &block.identity));
        file.chain(heads).find(|(_, identity)| identity.herd != herd || identity.server != server)
    }

    pub(crate) fn head(&self, journal: &str) -> Option<&Block> {
        self.heads.iter().find(|(name, _)| name == journal).map(|(_, block)| block)
    }
}

fn read_front<D: Disk>(disk: &mut D, name: &str, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; bytes_max];
    let length = disk.read(name, 0, &mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Replaces the file `identity`.
pub(crate) fn write<D: Disk>(disk: &mut D, block: &Block) -> io::Result<()> {
    let bytes = block.encode().repeat(2);
    if disk.names()?.iter().any(|name| name == IDENTITY_PART) {
        disk.remove(IDENTITY_PART)?;
    }
    disk.write(IDENTITY_PART, 0, &bytes)?;
    disk.sync(IDENTITY_PART)?;
    disk.rename(IDENTITY_PART, IDENTITY)?;
    disk.sync_names()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Block {
        let identity =
            Identity { herd: "news".to_owned(), server: "Hill".to_owned(), incarnation: u64::MAX };
        Block { identity, key: 1 << 63, written: UnixTime::from_nanos(1_700_000_000_000_000_000) }
    }

    #[test]
    fn a_block_is_read_as_it_was_written_and_no_flipped_bit_goes_unnoticed() {
        let bytes = block().encode();
        let longer = [&bytes[..], b"record"].concat();
        assert_eq!(Block::decode(&longer), Front::Block(block(), bytes.len()));
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Block::decode(&flipped), Front::Unknown, "bit {bit}");
            let mut copies = Copies::default();
            copies.read_file(&[&flipped[..], &bytes[..]].concat()).unwrap();
            assert_eq!((copies.file.as_slice(), copies.file_is_intact), (&[block()][..], false));
        }
        assert_eq!(Block::decode(&bytes[..bytes.len() - 1]), Front::Unknown);
    }

    #[test]
    fn the_greatest_incarnation_of_any_copy_counts() {
        let of = |server: &str, incarnation| {
            let identity = Identity { server: server.to_owned(), incarnation, ..block().identity };
            Block { identity, ..block() }
        };
        let head = |block| ("journal-1".to_owned(), block);
        let copies = Copies {
            file: vec![of("Hill", 5)],
            heads: vec![head(of("Hill", 9))],
            ..Copies::default()
        };
        assert_eq!(copies.identity(), Some(of("Hill", 9).identity));
        assert_eq!(copies.stranger("news", "Hill"), None);
        let copies = Copies {
            file: vec![of("Hill", 5)],
            heads: vec![head(of("Smith", 9))],
            ..Copies::default()
        };
        assert_eq!(copies.identity(), Some(of("Hill", 5).identity));
        let stranger = of("Smith", 9).identity;
        assert_eq!(copies.stranger("news", "Hill"), Some(("journal-1", &stranger)));
    }
}
