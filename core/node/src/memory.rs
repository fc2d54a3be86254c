//! What a node persists to outlive its process, and a node that starts with it.
//!
//! The disk is a table of records, and recovery loads them in any order. What is missing comes from other
//! servers, as after any absence.

use crate::nearby::Whereabouts;
use crate::node::{Node, Settings};
use herd_proto::{Now, Record};
use herd_replica::{JournalId, Told};

/// A node that is being built from records on a disk.
#[derive(Debug)]
pub struct Recovery {
    node: Node,
    now: Now,
}

impl Recovery {
    /// Begins a recovery. The incarnation in `settings` must be one that no server of this name ever had.
    pub fn new(settings: Settings, now: Now) -> Self {
        Self { node: Node::new(settings, now), now }
    }

    /// Loads a record that was intact on the disk; the greatest of each key is kept.
    pub fn load(&mut self, record: Record<'_>) {
        self.node.replica.load(record, self.now);
        // The positions of all clients are read later, a few at a time.
        while self.node.replica.poll_changed_place().is_some() {}
    }

    /// Returns the node, and a journal that begins behind what was loaded.
    pub fn finish(mut self) -> (Node, JournalId) {
        self.node.whereabouts = Whereabouts::unread();
        let journal = self.node.replica.open_journal_behind();
        (self.node, journal)
    }
}

impl Node {
    /// The incarnation that this node runs under. It changes if another process turns out to use it too.
    pub fn incarnation(&self) -> u64 {
        self.settings.incarnation
    }

    /// Raises the alarm, which the whole herd sees, that the disk refuses writes.
    pub fn handle_disk_failed(&mut self, now: Now) {
        self.watch.note_disk(now.instant);
    }

    /// Opens a journal that begins with everything known; see [`herd_replica::Replica::open_journal`].
    pub fn open_journal(&mut self) -> JournalId {
        self.replica.open_journal()
    }

    /// Closes a journal.
    pub fn close_journal(&mut self, id: JournalId) {
        self.replica.close_journal(id);
    }

    /// Hands over what was not persisted yet, until `take` returns false; see
    /// [`herd_replica::Replica::poll_journal`]. [`Output::Journal`](crate::Output::Journal) tells when there is
    /// more.
    pub fn poll_journal(
        &mut self,
        id: JournalId,
        take: impl FnMut(&Record<'_>) -> bool,
    ) -> Option<Told> {
        self.replica.poll_journal(id, take)
    }

    /// What a journal was handed is persisted, as far as replies wait for that.
    pub fn handle_journaled(&mut self, told: &Told, now: Now) {
        self.replica.handle_journaled(told);
        self.after_replica(now);
    }

    /// The number of the last change of what is known here.
    pub fn position(&self) -> u64 {
        self.replica.position()
    }

    /// Changes up to this [`position`](Self::position) are persisted.
    pub fn safe_position(&self) -> u64 {
        self.replica.journaled()
    }
}
