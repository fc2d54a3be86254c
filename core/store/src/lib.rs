//! What a server persists, and how it is read back after anything.
//!
//! The disk is a plain table of records. Records are appended to one file, the *journal*, and every record
//! carries its own length and checksum. Recovery reads every record that is intact, in any order; whoever
//! loads them keeps the greatest of each key. So damage costs the records it touches and no others. When a
//! journal has grown, the next *generation* of it is written from what is in memory, and replaces it.
//!
//! The disk is an argument ([`Disk`]), so everything that disks do to files (tearing, losing, filling,
//! failing) is tested without one. Left out on purpose: when to write and when to sync, threads, and what a
//! record means.

mod compaction;
mod disk;
mod examine;
#[cfg(test)]
mod flips;
mod identity;
mod memory;
mod mutants;
mod names;
mod record;
mod scan;
mod storage;
mod survey;
#[cfg(test)]
mod tests;

pub use compaction::{COMPACTION_SHARE, Decision, Limits, Usage};
pub use disk::Disk;
pub use examine::{Examined, ExaminedFile, Role, examine};
pub use identity::{Identity, VERSION};
pub use memory::{Failure, MemoryDisk};
pub use mutants::Mutant;
pub use record::Batch;
pub use storage::{Loaded, Part, Storage, Unsynced, WriteError};
pub use survey::{Damage, Finding, Journal, OpenError};
