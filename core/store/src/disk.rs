//! What is asked of a disk.

use std::io;

/// A directory of files. Nothing here is atomic but renaming, and nothing outlasts a power cut before it
/// was synced: a file's bytes with [`sync`](Self::sync), names with [`sync_names`](Self::sync_names).
pub trait Disk {
    /// The names of all files, in any order.
    fn names(&mut self) -> io::Result<Vec<String>>;

    /// Reads from `offset` on; less than `buffer` holds only at the end of the file.
    fn read(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes at `offset`, making the file if there is none. After an error any part of `bytes` may be
    /// there; writing at the same offset again mends it.
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts a file.
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()>;

    /// What was written to the file lasts. After an error nobody knows what of it does: a kernel drops what
    /// it could not write, so to ask again proves nothing.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Gives a file another name, in place of the file that had it.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Takes a file away.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// What was made, renamed and removed lasts.
    fn sync_names(&mut self) -> io::Result<()>;
}
