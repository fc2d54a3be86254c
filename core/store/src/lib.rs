//! What a server writes down to outlive its process, and how it is read again after anything.
//!
//! A replica's journal goes to one file, a *generation*: appended to while the server lives, and replaced
//! by a shorter one, begun from what is known then, when it has grown. A generation is whole by itself, and
//! may be cut anywhere. A second, small file tells whose directory it is, and which of its lives was the
//! last (`Life`).
//!
//! The disk is an argument ([`Disk`]), so that everything that disks do to files (tearing, losing, filling,
//! failing) is tried without one. Left out on purpose: when to write, when to be sure, when to begin a
//! generation; threads; what a record means.

mod disk;
mod examine;
mod file;
mod life;
mod line;
mod memory;
mod mutants;
mod storage;
#[cfg(test)]
mod tests;

pub use disk::Disk;
pub use examine::{Examined, ExaminedFile, Flaw, Role, Wrong, examine, read_life};
pub use file::{Batch, Hole, VERSION};
pub use life::{Closed, Life};
pub use line::Line;
pub use memory::{Failure, MemoryDisk};
pub use storage::{Found, Loaded, OpenError, Part, Storage, Unsynced, WriteError};
