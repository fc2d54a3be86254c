//! A directory of the operating system as a [`Disk`], for one process at a time.

use herd_store::Disk;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Held by the process that uses the directory.
const LOCK: &str = "lock";

/// Names and positions are personal data: only this user may read them.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A directory that this process alone uses, or that it only reads.
#[derive(Debug)]
pub struct OsDisk {
    path: PathBuf,
    files: BTreeMap<String, File>,
    /// Locked for as long as it is open; none in a directory that no server has used and that is only read.
    lock: Option<File>,
    /// Nothing is written, and no file is created.
    is_read_only: bool,
}

/// Why a directory cannot be used. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process has it.
    #[error("{0} is in use by another process; stop that one, or choose another directory")]
    InUse(PathBuf),
    /// The system refuses.
    #[error("{0} cannot be used: {1}")]
    System(PathBuf, io::Error),
}

impl OsDisk {
    /// Opens a directory, creating it if there is none.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let system = |error| DirectoryError::System(path.to_owned(), error);
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path).map_err(system)?;
        sync_names_above(path).map_err(system)?;
        let mut disk = Self::unlocked(path, false);
        let lock = disk.open_file(LOCK).map_err(system)?;
        match lock.try_lock() {
            Ok(()) => {
                disk.lock = Some(lock);
                Ok(disk)
            }
            Err(TryLockError::WouldBlock) => Err(DirectoryError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(system(error)),
        }
    }

    /// Opens a directory for reading. Nothing in it is changed, and no server starts with it meanwhile; other
    /// readers may use it too.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub fn look_at(path: &Path) -> Result<Self, DirectoryError> {
        let system = |error| DirectoryError::System(path.to_owned(), error);
        let mut disk = Self::unlocked(path, true);
        // A file of that name would be reported as a missing directory.
        fs::read_dir(path).map_err(system)?;
        let lock = match disk.open_file(LOCK) {
            Ok(lock) => lock,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(disk),
            Err(error) => return Err(system(error)),
        };
        match lock.try_lock_shared() {
            Ok(()) => {
                disk.lock = Some(lock);
                Ok(disk)
            }
            Err(TryLockError::WouldBlock) => Err(DirectoryError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(system(error)),
        }
    }

    fn unlocked(path: &Path, is_read_only: bool) -> Self {
        Self { path: path.to_owned(), files: BTreeMap::new(), lock: None, is_read_only }
    }

    /// A file that was written to, for another thread that syncs it: the same errors are reported there.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn handle(&self, name: &str) -> io::Result<File> {
        self.files.get(name).ok_or(ErrorKind::NotFound)?.try_clone()
    }

    /// The path of a file that is to be removed, and the file if it is open: its bytes are freed when the last
    /// handle is closed.
    pub(crate) fn let_go(&mut self, name: &str) -> (PathBuf, Option<File>) {
        (self.path.join(name), self.files.remove(name))
    }

    fn open_file(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true);
        if !self.is_read_only {
            options.write(true).create(true).truncate(false).mode(FILE_MODE);
        }
        options.open(self.path.join(name))
    }

    /// Writing fails by itself, since files are opened to be read; names are not opened.
    fn may_change(&self) -> io::Result<()> {
        if self.is_read_only { Err(ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }

    fn file(&mut self, name: &str) -> io::Result<&File> {
        if !self.files.contains_key(name) {
            let file = self.open_file(name)?;
            self.files.insert(name.to_owned(), file);
        }
        self.files.get(name).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

/// Makes the existence of the directory durable. It may have been created just now, or by a process that was
/// killed before it came to this.
fn sync_names_above(path: &Path) -> io::Result<()> {
    for directory in above(path)? {
        match File::open(&directory) {
            Ok(names) => names.sync_all()?,
            // A user who may not read it has not created anything in it either.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The directories above a directory, the nearest first, as far as they are on the same device.
fn above(path: &Path) -> io::Result<Vec<PathBuf>> {
    let path = path.canonicalize()?;
    let device = fs::metadata(&path)?.dev();
    let is_there =
        |directory: &&Path| fs::metadata(directory).is_ok_and(|found| found.dev() == device);
    Ok(path.ancestors().skip(1).take_while(is_there).map(Path::to_owned).collect())
}

impl Disk for OsDisk {
    fn names(&mut self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().into_string()));
        // A name that is not UTF-8 is not one of ours.
        names.filter_map(|name| name.map(Result::ok).transpose()).collect()
    }

    fn read(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let told = |error: io::Error, at| {
            io::Error::new(error.kind(), format!("{name} cannot be read at byte {at}: {error}"))
        };
        let file = self.file(name).map_err(|error| told(error, offset))?;
        let mut read = 0;
        while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(told(error, offset + read as u64)),
            }
        }
        Ok(read)
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.file(name)?.set_len(length)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.may_change()?;
        fs::rename(self.path.join(from), self.path.join(to))?;
        if let Some(file) = self.files.remove(from) {
            self.files.insert(to.to_owned(), file);
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.may_change()?;
        self.files.remove(name);
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_directories_above_are_synced_up_to_the_mount_point() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("herd").join("Hill");
        drop(OsDisk::open(&path).unwrap());
        let above = above(&path).unwrap();
        let own = dir.path().canonicalize().unwrap();
        assert_eq!(above[..2], [own.join("herd"), own]);
        let mode = fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, DIRECTORY_MODE);
    }
}
