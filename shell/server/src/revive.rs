//! From a data directory to a node: whose it is, which life begins, and what is known at once.

use crate::disk::{DirectoryError, OsDisk};
use herd_front::{Clock, Host};
use herd_node::{JournalId, Node, RestoreError, Revival, Settings};
use herd_store::{Flaw, Found, Life, Loaded, OpenError, Storage, Wrong};
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::{error, info, warn};

/// Why a server does not start with a directory. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReviveError {
    /// It cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It cannot be read.
    #[error("{0}: {1}")]
    Open(PathBuf, OpenError),
    /// It cannot be written.
    #[error("{0} cannot be written: {1}")]
    Write(PathBuf, std::io::Error),
    /// Another server has written it.
    #[error(
        "{path} belongs to server {server} of herd {herd}, not to {wanted}; name that server's own directory, or an empty one"
    )]
    AnotherServer {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        server: String,
        /// Of which herd.
        herd: String,
        /// Who wants it.
        wanted: String,
    },
    /// Every record is sound, and yet they make no sense together.
    #[error(
        "{0} does not make sense: {1}; move it away, and the server fetches everything from its neighbours"
    )]
    Nonsense(PathBuf, RestoreError),
}

/// A node with its memory.
#[derive(Debug)]
pub(crate) struct Revived {
    pub(crate) node: Node,
    pub(crate) storage: Storage<OsDisk>,
    /// The journal that goes on behind what was read; none if a file must be begun.
    pub(crate) live: Option<JournalId>,
    /// What a new file would begin with, about.
    pub(crate) base_bytes: u64,
}

/// Opens a directory and makes a node of what it holds.
///
/// # Errors
///
/// [`ReviveError`].
pub(crate) fn revive(
    path: &Path,
    settings: &Settings,
    clock: Clock,
) -> Result<Revived, ReviveError> {
    let open = |error| ReviveError::Open(path.to_owned(), error);
    let disk = OsDisk::open(path)?;
    let place = disk.place();
    let seed = std::collections::hash_map::RandomState::new().hash_one(());
    let mut storage = Storage::open(disk, seed).map_err(open)?;
    let last = storage.life().cloned();
    if let Some(life) = &last
        && (life.server != settings.name || life.herd != settings.herd)
    {
        return Err(ReviveError::AnotherServer {
            path: path.to_owned(),
            server: life.server.clone(),
            herd: life.herd.clone(),
            wanted: format!("server {} of herd {}", settings.name, settings.herd),
        });
    }
    // With the same number only where nothing can be missing that anybody was told: else one number in the
    // stream would stand for two updates.
    let ended_well = storage.looks_closed().map_err(|error| open(error.into()))?;
    let mut goes_on = last.as_ref().is_some_and(|life| ended_well && life.place == place);
    let (node, journal, loaded) = loop {
        let incarnation = match &last {
            Some(life) if goes_on => life.incarnation,
            Some(life) => settings.incarnation.max(life.incarnation + 1),
            None => settings.incarnation,
        };
        let settings = Settings { incarnation, ..settings.clone() };
        let mut revival = Revival::new(settings, clock.now());
        let mut nonsense = None;
        let loaded = storage.load(|found| {
            if let (Found::Sound(journaled), None) = (found, nonsense) {
                nonsense = revival.take(&journaled).err();
            }
        });
        let loaded = loaded.map_err(open)?;
        if let Some(error) = nonsense {
            return Err(ReviveError::Nonsense(path.to_owned(), error));
        }
        if goes_on && !loaded.is_closed {
            goes_on = false;
            continue;
        }
        let (node, journal) = revival.finish();
        break (node, journal, loaded);
    };
    let life = Life {
        herd: settings.herd.clone(),
        server: settings.name.clone(),
        incarnation: node.incarnation(),
        boot: boot_id(),
        place,
        closed: None,
    };
    if storage.life_is_damaged() || (last.is_none() && loaded.file.is_some()) {
        error!(path = %path.display(), file = "life", "damaged or missing: whose directory this is, and how its last run ended, is not known; what it holds is taken");
    }
    tell(path, &loaded, last.as_ref(), &life, &node);
    storage.begin_life(life).map_err(|error| ReviveError::Write(path.to_owned(), error))?;
    // As if all records were of one length; most are reports.
    let base_bytes = loaded.bytes / loaded.records.max(1) * node.clients() as u64;
    let mut revived = Revived { node, live: Some(journal), storage, base_bytes };
    if !revived.storage.is_sound() {
        salvage(&mut revived, &loaded, clock).map_err(open)?;
    }
    Ok(revived)
}

/// What stands behind a hole is said again: it is right, but nobody knows what is missing before it.
fn salvage(revived: &mut Revived, loaded: &Loaded, clock: Clock) -> Result<(), OpenError> {
    let Revived { node, storage, live, .. } = revived;
    if let Some(journal) = live.take() {
        node.close_journal(journal);
    }
    if !loaded.holes.is_empty() {
        let now = clock.now();
        storage.load(|found| {
            if let Found::BehindHole(journaled) = found {
                node.handle_salvaged(&journaled, now);
            }
        })?;
    }
    Ok(())
}

fn tell(path: &Path, loaded: &Loaded, last: Option<&Life>, life: &Life, node: &Node) {
    let path = path.display();
    for file in &loaded.unreadable {
        error!(%path, file, "a file is damaged from its beginning: it is set aside, and what it held is fetched from neighbours");
    }
    for Flaw { file, from, to, what } in &loaded.flaws {
        match what {
            Wrong::Damaged => {
                error!(%path, file, from, to, "damaged bytes: the file is set aside, and what they held is fetched from neighbours");
            }
            Wrong::Gap => warn!(%path, file, from, to, "bytes that a power cut left unwritten"),
            Wrong::JournalMissing => warn!(%path, file, "{what}"),
            Wrong::Lost
            | Wrong::Added
            | Wrong::OfAnotherServer
            | Wrong::LifeMissing
            | Wrong::LifeDamaged
            | Wrong::HeaderDamaged => {
                error!(%path, file, from, to, "{what}; what is missing is fetched from neighbours");
            }
        }
    }
    let Some(file) = &loaded.file else {
        return info!(%path, "the data directory is empty: everything is fetched from neighbours");
    };
    if loaded.torn_bytes > 0 {
        warn!(%path, file, bytes = loaded.torn_bytes, at = loaded.bytes, "cut what was being written when the last run ended");
    }
    let after = match last {
        Some(last) if last.incarnation == life.incarnation => "an orderly stop",
        Some(last) if last.boot != life.boot => "a power cut, or on another machine",
        Some(_) => "a crash, or in another place",
        None => "nobody knows what",
    };
    info!(%path, file, records = loaded.records, clients = node.clients(), after, "starts with what was written down");
}

/// What the kernel calls the time since it was started; empty if it does not say.
fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
/// After a start with data: has the node learn where everyone is, a little at a time, since all together would hold up
/// answers for seconds.
pub(crate) async fn learn_places(host: Arc<Host>) {
    /// Some hundred microseconds.
    const PLACES_AT_ONCE: u32 = 512;
    while host.enter(|node, _now| node.learn_places(PLACES_AT_ONCE)) {
        tokio::task::yield_now().await;
    }
}
