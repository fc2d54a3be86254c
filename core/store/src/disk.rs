//! The operations that a store needs of a disk.

use std::io;

/// A directory of files. Only renaming is atomic, and nothing survives a power cut before it was synced: a
/// file's bytes with [`sync`](Self::sync), names with [`sync_names`](Self::sync_names).
pub trait Disk {
    /// Returns the names of all files, in any order.
    fn names(&mut self) -> io::Result<Vec<String>>;

    /// Reads from `offset` on; fills less than `buffer` only at the end of the file.
    fn read(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes at `offset`, creating the file if there is none. After an error any part of `bytes` may be
    /// there; writing at the same offset again repairs it.
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Shortens a file.
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()>;

    /// Makes everything written to the file durable. After an error it is unknown what of it is: a kernel
    /// drops the pages that it could not write, so syncing again proves nothing.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Renames a file, replacing the one that had the name.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Makes all creations, renames and removals durable.
    fn sync_names(&mut self) -> io::Result<()>;
}
