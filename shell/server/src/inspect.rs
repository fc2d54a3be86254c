//! A data directory read without starting a server with it: whether it is sound, and what it holds.

use crate::disk::{DirectoryError, OsDisk};
use herd_front::Clock;
use herd_node::{Node, Redundancy, RestoreError, Revival, Settings};
use herd_proto::Versions;
use herd_store::{Examined, Found, OpenError, examine};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use herd_store::{Flaw, Role};

/// Why a directory cannot be read. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Something in it cannot be read.
    #[error("{0}: {1}")]
    Open(PathBuf, OpenError),
    /// Nothing in it is ours.
    #[error(
        "{0} is no data directory of a server: there is neither `life` nor a journal in it; below a `[storage] dir` each server has one of its own name"
    )]
    NotOne(PathBuf),
}

/// What a directory holds.
#[derive(Debug)]
pub struct Inspection {
    /// What is there, and what of it is not sound.
    pub examined: Examined,
    /// Why its records make no sense together, if they make none.
    pub nonsense: Option<RestoreError>,
    /// What a server that starts with it would know, before it hears from others.
    pub node: Node,
}

impl Inspection {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.examined.is_sound() && self.nonsense.is_none()
    }
}

/// Reads every byte of a directory, and changes nothing.
///
/// # Errors
///
/// [`InspectError`].
pub fn inspect(path: &Path) -> Result<Inspection, InspectError> {
    let open = |error| InspectError::Open(path.to_owned(), error);
    let mut disk = OsDisk::look_at(path)?;
    let now = Clock::start().now();
    // Whose records they are must be known before the first is read.
    let life = herd_store::read_life(&mut disk).map_err(open)?.unwrap_or_default();
    let mut revival = Revival::new(settings(life.herd, life.server, life.incarnation), now);
    let mut nonsense = None;
    let examined = examine(&mut disk, |found| {
        if let (Found::Sound(journaled), None) = (found, nonsense) {
            nonsense = revival.take(&journaled).err();
        }
    });
    let examined = examined.map_err(open)?;
    // A misspelt path must not pass for a sound directory.
    if examined.files.iter().all(|file| file.role == Role::Other) {
        return Err(InspectError::NotOne(path.to_owned()));
    }
    let (mut node, _) = revival.finish();
    if !examined.is_sound() {
        // As a start does it: what stands behind a hole is told again, once all before it is known.
        examine(&mut disk, |found| {
            if let Found::BehindHole(journaled) = found {
                node.handle_salvaged(&journaled, now);
            }
        })
        .map_err(open)?;
    }
    Ok(Inspection { examined, nonsense, node })
}

/// For a node that talks to nobody: only its name matters.
fn settings(herd: String, name: String, incarnation: u64) -> Settings {
    /// Comes to pass for nobody.
    const NEVER: Duration = Duration::from_hours(1);
    Settings {
        herd,
        members: [name.as_str().into()].into(),
        name,
        incarnation,
        // Nobody chooses keys to slow this down for more than one look.
        seed: 0,
        peers: Vec::new(),
        frames: Versions::CURRENT,
        redundancy: Redundancy::Ways(1),
        forget_after: NEVER,
        expire_after: None,
        future_skew_max: NEVER,
        ceiling: herd_node::Ceiling::default(),
        line_bytes_max: 0,
        ping_every: NEVER,
        hello_within: NEVER,
        backoff_min: NEVER,
        backoff_max: NEVER,
        ready_grace: NEVER,
    }
}
