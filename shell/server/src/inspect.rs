//! Reads a data directory without starting a server with it: whether it is sound, and what it holds.

use crate::disk::{DirectoryError, OsDisk};
use herd_front::Clock;
use herd_node::{Ceiling, Node, Recovery, Redundancy, Settings};
use herd_proto::Versions;
use herd_store::{Examined, OpenError, examine};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use herd_store::{Finding, Role};

/// Why a directory cannot be read. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Something in it cannot be read.
    #[error("{0}: {1}")]
    Open(PathBuf, OpenError),
    /// It has none of our files.
    #[error(
        "{0} is not the data directory of a server: there is neither `identity` nor a journal in it; below a `[storage] dir` each server has one of its own name"
    )]
    NotOne(PathBuf),
}

/// What a directory holds.
#[derive(Debug)]
pub struct Inspection {
    /// What is there, and what of it is damaged.
    pub examined: Examined,
    /// What a server that starts with it would know, before it is linked to others.
    pub node: Node,
}

impl Inspection {
    /// Whether nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.examined.is_sound()
    }
}

/// Reads every byte of a directory, and changes nothing.
///
/// # Errors
///
/// [`InspectError`].
pub fn inspect(path: &Path) -> Result<Inspection, InspectError> {
    let mut disk = OsDisk::look_at(path)?;
    let mut recovery = Recovery::new(settings(), Clock::start().now());
    let examined = examine(&mut disk, |record| recovery.load(record));
    let examined = examined.map_err(|error| InspectError::Open(path.to_owned(), error))?;
    // A misspelt path must not pass for a sound directory.
    if examined.files.iter().all(|file| file.role == Role::Other) {
        return Err(InspectError::NotOne(path.to_owned()));
    }
    let (node, _) = recovery.finish();
    Ok(Inspection { examined, node })
}

/// For a node that is never linked. What expired by the horizon of its herd, which is not known here, is shown as
/// long as it is on the disk.
fn settings() -> Settings {
    /// Longer than the node lives.
    const NEVER: Duration = Duration::from_hours(1);
    const CENTURY: Duration = Duration::from_hours(100 * 365 * 24);
    Settings {
        herd: String::new(),
        name: String::new(),
        incarnation: 0,
        members: [Box::default()].into(),
        // No one chooses keys to slow this down for more than one look.
        seed: 0,
        peers: Vec::new(),
        frames: Versions::CURRENT,
        redundancy: Redundancy::Ways(1),
        forget_after: NEVER,
        horizon: CENTURY,
        expire_after: None,
        future_skew_max: NEVER,
        ceiling: Ceiling::default(),
        line_bytes_max: 0,
        ping_every: NEVER,
        hello_within: NEVER,
        backoff_min: NEVER,
        backoff_max: NEVER,
        ready_grace: NEVER,
    }
}
