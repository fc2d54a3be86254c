//! From a data directory to a node: whose it is, which incarnation begins, and what is known at once.

use crate::disk::{DirectoryError, OsDisk};
use herd_front::{Clock, Host};
use herd_node::{JournalId, Node, Recovery, Settings};
use herd_store::{Damage, Finding, Identity, Limits, Loaded, OpenError, Storage};
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::{error, info, warn};

/// Why a server does not start with a directory. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// It cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It cannot be read.
    #[error("{0}: {1}")]
    Open(PathBuf, OpenError),
    /// It cannot be written.
    #[error("{0} cannot be written: {1}")]
    Write(PathBuf, std::io::Error),
    /// A file in it belongs to another server.
    #[error(
        "{file} in {path} belongs to server {server} of herd {herd}, not to {wanted}; name that server's own directory, or an empty one"
    )]
    AnotherServer {
        /// The file.
        file: String,
        /// The directory.
        path: PathBuf,
        /// The server that it belongs to.
        server: String,
        /// The herd of that server.
        herd: String,
        /// The server that was to use it, and its herd.
        wanted: String,
    },
}

/// A node with what it had persisted.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) node: Node,
    pub(crate) storage: Storage<OsDisk>,
    /// The journal that continues the file; none if a file must be begun.
    pub(crate) live: Option<JournalId>,
    /// About what a new file would begin with.
    pub(crate) base_bytes: u64,
}

/// Opens a directory and makes a node of what it holds.
///
/// # Errors
///
/// [`RecoveryError`].
pub(crate) fn recover(
    path: &Path,
    settings: &Settings,
    limits: &Limits,
    clock: Clock,
) -> Result<Recovered, RecoveryError> {
    let open = |error| RecoveryError::Open(path.to_owned(), error);
    let write = |error| RecoveryError::Write(path.to_owned(), error);
    let disk = OsDisk::open(path)?;
    let seed = std::collections::hash_map::RandomState::new().hash_one(());
    let mut storage = Storage::open(disk, seed).map_err(open)?;
    if let Some((file, stranger)) = storage.stranger(&settings.herd, &settings.name) {
        return Err(RecoveryError::AnotherServer {
            file: file.to_owned(),
            path: path.to_owned(),
            server: stranger.server.clone(),
            herd: stranger.herd.clone(),
            wanted: format!("server {} of herd {}", settings.name, settings.herd),
        });
    }
    let incarnation = storage.next_incarnation(settings.incarnation);
    let settings = Settings { incarnation, ..settings.clone() };
    let identity =
        Identity { herd: settings.herd.clone(), server: settings.name.clone(), incarnation };
    let mut recovery = Recovery::new(settings, clock.now());
    let loaded = storage.load(|record| recovery.load(record)).map_err(open)?;
    let (mut node, journal) = recovery.finish();
    log(path, &loaded, &node);
    let now = clock.now().unix;
    // Before anything is written, and before a peer is told of the incarnation.
    storage.start_incarnation(identity, now).map_err(write)?;
    storage.tidy(limits, now).map_err(write)?;
    let live = storage.is_sound().then_some(journal);
    if live.is_none() {
        node.close_journal(journal);
    }
    // As if all records were of one length; most are reports.
    let base_bytes = loaded.bytes() / loaded.records().max(1) * node.clients() as u64;
    Ok(Recovered { node, storage, live, base_bytes })
}

fn log(path: &Path, loaded: &Loaded, node: &Node) {
    let path = path.display();
    for Finding { file, from, to, damage } in &loaded.findings {
        match damage {
            Damage::Hole => {
                error!(%path, file, from, to, "bytes in a journal are no record, damaged or not written before a power cut: the records around them are recovered, the file is set aside, and what the bytes held is fetched from peers");
            }
            Damage::HeadDamaged => {
                error!(%path, file, from, to, "damaged head of a journal: its records are recovered, and the file is set aside");
            }
            Damage::Unreadable => {
                error!(%path, file, from, to, "unreadable journal, since all copies of the identity are damaged: the file is set aside, and everything is fetched from peers");
            }
            Damage::IdentityDamaged => {
                error!(%path, file, from, to, "damaged identity: another copy of it is used, and the file is rewritten");
            }
            Damage::IdentityMissing | Damage::JournalMissing | Damage::OtherServer => {
                warn!(%path, file, "{damage}");
            }
        }
    }
    if loaded.journals.is_empty() {
        return info!(%path, "the data directory is empty: everything is fetched from peers");
    }
    for journal in loaded.journals.iter().filter(|journal| journal.torn_bytes > 0) {
        let (file, bytes, at) = (&journal.file, journal.torn_bytes, journal.end);
        warn!(%path, file, bytes, at, "torn end of a journal: the last write before the process ended was not completed");
    }
    info!(%path, records = loaded.records(), clients = node.clients(), "recovered the data directory");
}

/// After a recovery: has the node read the positions of all clients a few at a time, since reading them at once would
/// delay replies for seconds.
pub(crate) async fn learn_places(host: Arc<Host>) {
    /// About half a millisecond.
    const PLACES_AT_ONCE: u32 = 256;
    while host.enter(|node, _now| node.learn_places(PLACES_AT_ONCE)) {
        tokio::task::yield_now().await;
    }
}
