//! Faults to be made on purpose, one at a time, so that the simulator itself is tested: a generator of
//! histories that lets one of them live is not good enough.
//!
//! Only with the feature `mutants`; without it every question below is answered "no" when compiling.

use crate::settings::Settings;

/// One fault. Some are made by who writes down what a replica knows: the crate for that, or the simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "mutants"),
    expect(dead_code, unreachable_pub, reason = "made only there")
)]
pub enum Mutant {
    /// Commits while entries are still ahead of the cursor.
    CommitEarlyInLog,
    /// Commits after a sweep what is held at its end, not at its start.
    CommitEarlyInSweep,
    /// Believes each entry to complete the stream up to it.
    AdvanceOnEntry,
    /// Never issues orphans again.
    AdoptNever,
    /// Issues orphans again and again.
    AdoptAgain,
    /// Orders records of one time without looking at tombstones.
    TieIgnoresTombstone,
    /// Orders records of one time without looking at values.
    TieIgnoresValue,
    /// Clamps times anew where they are received.
    ClampAtReceiver,
    /// Believes to hold everything when a snapshot begins.
    SnapshotVersionsEarly,
    /// Tells the versions at the end of a snapshot, not at its start.
    SnapshotVersionsLate,
    /// Keeps what a snapshot showed to be superfluous.
    SnapshotKeepsAll,
    /// Keeps of its own what a snapshot showed to be superfluous.
    SnapshotKeepsOwn,
    /// Does not send what is newest since a snapshot removed what was greater.
    RevealedPassedOver,
    /// Collects superseded entries while a snapshot comes in.
    CollectInSnapshot,
    /// Counts a broken snapshot as taken.
    SnapshotBrokenCounts,
    /// Collects superseded entries at once.
    CollectAtOnce,
    /// Does not tell that something was collected.
    FloorUntold,
    /// Takes commits from below a floor.
    FloorIgnored,
    /// Forgets tombstones though an absent member may lack them.
    TombstoneForgetsAbsent,
    /// Forgets tombstones as soon as all have them.
    TombstoneAtOnce,
    /// Sends entries that the other side has collected.
    CollectedResent,
    /// Starts anew under its old incarnation.
    IncarnationKept,
    /// Begins to send where its log ends.
    CursorAtEnd,
    /// An entry written again keeps its old place in the log.
    ArrivalKept,
    /// Floors heard while a snapshot was under way count, though nothing beyond its versions came.
    SnapshotFloorsLate,
    /// A snapshot that is being sent goes on where it was after one was taken in.
    SnapshotNotRestarted,
    /// Does not tell that tombstones were dropped.
    GraveUntold,
    /// Never repeats a tombstone.
    TombstoneNotRepeated,
    /// Lets an origin write something older in place of a tombstone that it has dropped.
    TombstoneOverwritten,
    /// A later tombstone in the same slot goes when an earlier one would have.
    TombstonePhaseKept,
    /// Drops what loses to a tombstone before all are known to hold it.
    BuryEarly,
    /// Ends a subscription for a duplicate though the neighbour is ahead.
    DuplicateAheadEnds,
    /// Does not take a commit for word of what its sender holds.
    CommitUnheard,
    /// Says it has nothing to send on a link, and forgets that it has.
    WakeForgotten,
    /// Never unsubscribes.
    UnsubscribeNever,
    /// Never asks elsewhere when a stream stands still.
    BehindIgnored,
    /// Does not write down that a key is gone.
    GoneNotJournaled,
    /// Does not write down that what an origin wrote under a key is gone.
    DroppedNotJournaled,
    /// Writes down versions before the entries that they count.
    VersionsJournaledEarly,
    /// Whoever keeps a journal acknowledges what it has not written yet.
    AcknowledgedEarly,
    /// What is written to the next generation counts before that is complete.
    NextCountsEarly,
    /// What could not be written is taken as written.
    FailedTakenAsWritten,
    /// The generation that counts is written to after the last look at the next one.
    WrittenWhileCompleting,
    /// A life that was not closed is gone on with.
    UncleanGoesOn,
    /// A life is gone on with in a copy of its directory.
    CopyGoesOn,
    /// A generation counts before it is safe.
    GenerationNotSynced,
    /// The last generation goes before the next one counts.
    OldGoesFirst,
    /// The names of files are not made safe.
    NamesNotSynced,
    /// What is torn at the end of a file is not cut off.
    TornEndKept,
    /// What stands behind a hole is taken as if there were none.
    HolesIgnored,
    /// What an origin wrote in place of a tombstone is written down only after that the tombstone is gone.
    OvertakenDropped,
    /// Does not write down that what a snapshot showed to be superfluous is gone.
    DiscardedNotJournaled,
    /// Tells neighbours only of floors that it raised in this life.
    RestoredFloorsUntold,
    /// Counts its words anew, though it goes on with its last life.
    WordsCountedAnew,
    /// Tells members that it holds what it has not written down yet.
    HeldBeforeWritten,
}

#[cfg_attr(
    not(feature = "mutants"),
    expect(dead_code, unreachable_pub, reason = "used only by the simulator")
)]
#[cfg(feature = "mutants")]
impl Mutant {
    /// All of them.
    pub const ALL: [Self; 55] = [
        Self::CommitEarlyInLog,
        Self::CommitEarlyInSweep,
        Self::AdvanceOnEntry,
        Self::AdoptNever,
        Self::AdoptAgain,
        Self::TieIgnoresTombstone,
        Self::TieIgnoresValue,
        Self::ClampAtReceiver,
        Self::SnapshotVersionsEarly,
        Self::SnapshotVersionsLate,
        Self::SnapshotKeepsAll,
        Self::SnapshotKeepsOwn,
        Self::RevealedPassedOver,
        Self::CollectInSnapshot,
        Self::SnapshotBrokenCounts,
        Self::CollectAtOnce,
        Self::FloorUntold,
        Self::FloorIgnored,
        Self::TombstoneForgetsAbsent,
        Self::TombstoneAtOnce,
        Self::CollectedResent,
        Self::IncarnationKept,
        Self::CursorAtEnd,
        Self::ArrivalKept,
        Self::SnapshotFloorsLate,
        Self::SnapshotNotRestarted,
        Self::GraveUntold,
        Self::TombstoneNotRepeated,
        Self::TombstonePhaseKept,
        Self::TombstoneOverwritten,
        Self::BuryEarly,
        Self::DuplicateAheadEnds,
        Self::CommitUnheard,
        Self::WakeForgotten,
        Self::UnsubscribeNever,
        Self::BehindIgnored,
        Self::GoneNotJournaled,
        Self::DroppedNotJournaled,
        Self::VersionsJournaledEarly,
        Self::AcknowledgedEarly,
        Self::NextCountsEarly,
        Self::FailedTakenAsWritten,
        Self::WrittenWhileCompleting,
        Self::UncleanGoesOn,
        Self::CopyGoesOn,
        Self::GenerationNotSynced,
        Self::OldGoesFirst,
        Self::NamesNotSynced,
        Self::TornEndKept,
        Self::HolesIgnored,
        Self::OvertakenDropped,
        Self::DiscardedNotJournaled,
        Self::RestoredFloorsUntold,
        Self::WordsCountedAnew,
        Self::HeldBeforeWritten,
    ];
}

impl Settings {
    #[cfg(feature = "mutants")]
    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.tuning.mutant == Some(mutant)
    }

    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "the other one needs it")]
    pub(crate) fn is(&self, _mutant: Mutant) -> bool {
        false
    }
}
