//! How far a load has come, kept beside its file for when it is cut off.

use serde::{Deserialize, Serialize};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// A load that is killed begins again with what was answered in so short a time.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// What was answered of a file, by a server.
#[derive(Debug)]
pub(super) struct Bookmark {
    path: PathBuf,
    of: Of,
    /// Behind the last line that was answered.
    pub(super) offset: u64,
    /// That line's number.
    pub(super) line: u64,
    kept: Instant,
}

/// What it speaks of: another file of that name, or another server, begins from the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Of {
    server: String,
    file_bytes: u64,
    file_changed_ns: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    of: Of,
    offset: u64,
    line: u64,
}

impl Bookmark {
    /// At the beginning.
    pub(super) fn of(file: &Path, metadata: &Metadata, server: &str) -> Self {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(".progress");
        let changed = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let changed = changed.and_then(|at| u64::try_from(at.as_nanos()).ok());
        Self {
            path: file.with_file_name(name),
            of: Of {
                server: server.to_owned(),
                file_bytes: metadata.len(),
                file_changed_ns: changed.unwrap_or_default(),
            },
            offset: 0,
            line: 0,
            kept: Instant::now(),
        }
    }

    /// Where the last load was cut off, if it was of this very file and to this server.
    pub(super) fn found(mut self) -> Self {
        let kept = fs::read(&self.path).ok();
        let kept = kept.and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        match kept {
            Some(Kept { of, offset, line }) if of == self.of && offset <= of.file_bytes => {
                (self.offset, self.line) = (offset, line);
            }
            Some(_) => eprintln!(
                "{} is of another file or another server; beginning from the start",
                self.path.display()
            ),
            None => eprintln!("there is no {}; beginning from the start", self.path.display()),
        }
        self
    }

    /// So much is answered.
    pub(super) fn move_to(&mut self, offset: u64, line: u64) {
        (self.offset, self.line) = (offset, line);
        if self.kept.elapsed() >= KEEP_EVERY {
            self.keep();
        }
    }

    /// Writes it down; false if that cannot be done, or there is nothing to write down.
    pub(super) fn keep(&mut self) -> bool {
        self.kept = Instant::now();
        if self.offset == 0 {
            return false;
        }
        let kept = Kept { of: self.of.clone(), offset: self.offset, line: self.line };
        let text = serde_json::to_string(&kept).unwrap_or_default();
        fs::write(&self.path, text + "\n").is_ok()
    }

    /// All is done.
    pub(super) fn remove(self) {
        // As a rule there is none.
        let _none = fs::remove_file(self.path);
    }
}
