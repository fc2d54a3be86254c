//! What a node writes down to outlive its process, and a node made of that again.
//!
//! A replica numbers its updates anew when it begins a new life while it runs; here they are counted on, so
//! that whoever waits for one to be safe can wait for a number.

use crate::nearby::Whereabouts;
use crate::node::{Node, Settings};
use herd_proto::Now;
use herd_replica::{JournalId, Journaled, Restore, RestoreError, Told};

/// How the updates of all lives are counted on.
#[derive(Debug, Default)]
pub(crate) struct Position {
    /// Updates of earlier lives.
    before: u64,
    /// Of this life so many must be safe for those of earlier ones to be safe too: they were issued again.
    again: u64,
    /// So many of earlier lives were safe when this one began.
    safe_before: u64,
}

/// A node that is being made of what was written down.
#[derive(Debug)]
pub struct Revival {
    node: Node,
    restore: Restore,
}

impl Revival {
    /// Begins. With the incarnation under which the journal was written the node goes on with its stream:
    /// right only if nothing is missing in it that anybody was told.
    pub fn new(settings: Settings, now: Now) -> Self {
        let mut node = Node::new(settings, now);
        let restore = Restore::new(node.replica_settings(), now);
        Self { node, restore }
    }

    /// Takes the next record.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if this is no journal.
    pub fn take(&mut self, journaled: &Journaled<'_>) -> Result<(), RestoreError> {
        self.restore.take(journaled)
    }

    /// The node, and the journal that goes on behind what was read.
    pub fn finish(mut self) -> (Node, JournalId) {
        let (replica, journal) = self.restore.finish_journaled();
        self.node.replica = replica;
        self.node.whereabouts = Whereabouts::unread();
        self.node.replica.watch_places();
        (self.node, journal)
    }
}

impl Node {
    /// A record of a journal that was not sound is told again by this node, if it is newer than what is known.
    pub fn handle_salvaged(&mut self, journaled: &Journaled<'_>, now: Now) {
        if let Journaled::Entry { record, .. } = *journaled {
            self.replica.update(record, now);
            self.after_replica(now);
        }
    }

    /// Under which this node numbers its updates.
    pub fn incarnation(&self) -> u64 {
        self.settings.incarnation
    }

    /// The disk takes nothing: an alarm that the whole herd sees.
    pub fn handle_disk_failed(&mut self, now: Now) {
        self.watch.note_disk(now.instant);
    }

    /// Begins a journal; see [`herd_replica::Replica::open_journal`].
    pub fn open_journal(&mut self) -> JournalId {
        self.replica.open_journal()
    }

    /// A journal is not kept any more.
    pub fn close_journal(&mut self, id: JournalId) {
        self.replica.close_journal(id);
    }

    /// See [`herd_replica::Replica::poll_journal`]; [`Output::Journal`](crate::Output::Journal) tells when. All
    /// journals end when the node takes a new life while it runs.
    pub fn poll_journal(
        &mut self,
        id: JournalId,
        take: impl FnMut(&Journaled<'_>) -> bool,
    ) -> Option<Told> {
        self.replica.poll_journal(id, take)
    }

    /// What a journal was told is safe enough to be answered; see [`herd_replica::Replica::handle_journaled`].
    pub fn handle_journaled(&mut self, told: &Told, now: Now) {
        self.replica.handle_journaled(told);
        self.after_replica(now);
    }

    /// What a journal was told outlasts whatever is provided against; see
    /// [`herd_replica::Replica::handle_lasting`].
    pub fn handle_lasting(&mut self, told: &Told) {
        self.replica.handle_lasting(told);
    }

    /// How many updates this node has taken from its clients, in all of its lives.
    pub fn position(&self) -> u64 {
        self.position.before + self.replica.own_version()
    }

    /// The updates up to this [`position`](Self::position) are safe.
    pub fn safe_position(&self) -> u64 {
        let Position { before, again, safe_before } = self.position;
        let safe = self.replica.journaled();
        if safe < again { safe_before } else { before + safe }
    }

    /// A new life begins: all that is known has been issued again in it.
    pub(crate) fn count_on(&mut self, position: u64, safe_before: u64) {
        let again = self.replica.own_version();
        self.position = Position { before: position, again, safe_before };
    }
}
