//! Faults made on purpose, one at a time, so that the simulator itself is tested: a generator of histories that
//! lets one of them live is not good enough.
//!
//! Without the feature `mutants` the hook is a unit type, and every question below is answered when compiling.

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "mutants"),
    expect(dead_code, unreachable_pub, reason = "made only there")
)]
pub enum Mutant {
    /// Commits while labels are still ahead of the cursor.
    CommitEarlyInTail,
    /// Commits after a scan what is held at its end, not at its start.
    CommitEarlyInScan,
    /// Believes each entry to complete the stream up to it.
    AdvanceOnEntry,
    /// Orders records of one time without looking at tombstones.
    TieIgnoresTombstone,
    /// Orders records of one time without looking at values.
    TieIgnoresValue,
    /// Bounds times again where they are received.
    ClampAtReceiver,
    /// Begins to send where its log ends.
    CursorAtEnd,
    /// Does not append a label to the log when its write lost.
    LoserUnlabeled,
    /// Forgets the label of what is superseded.
    SupersededUnlabeled,
    /// Trims labels that some peer lacks.
    TrimAtOnce,
    /// Serves a stream from below where its labels were trimmed.
    GapIgnored,
    /// Commits across a gap without waiting for the comparison.
    GapCommitted,
    /// Serves from the start what came by buckets.
    BucketsServed,
    /// Raises versions as soon as a comparison begins.
    RaiseEarly,
    /// Raises versions to what the donor holds at the end of a comparison.
    RaiseLate,
    /// Raises versions though some buckets were left out.
    RaisePartial,
    /// Never compares when a link comes up.
    LinkUpNotCompared,
    /// Does not compare when an origin falls silent.
    SilenceIgnored,
    /// Does not tell the others that something came without a stream.
    HintForgotten,
    /// Ends a bucket before all of it was sent.
    BucketDoneEarly,
    /// Never lets an ended origin go.
    EndedKept,
    /// Takes entries of an ended origin for nothing.
    EndedDropped,
    /// Keeps the labels of streams that were dropped.
    DeadLabelsKept,
    /// Takes what is sent again for movement of its stream.
    ResentMoves,
    /// Starts again under its old incarnation.
    IncarnationKept,
    /// Ends a subscription for a duplicate though the peer is ahead.
    DuplicateAheadEnds,
    /// Does not take a commit for word of what its sender holds.
    CommitUnheard,
    /// Says it has nothing to send on a link, and forgets that it has.
    WakeForgotten,
    /// Never unsubscribes.
    UnsubscribeNever,
    /// Never asks elsewhere when a stream stands still.
    BehindIgnored,
    /// Shows records that are not due yet.
    FutureShown,
    /// Drops records that are not due yet.
    FutureDropped,
    /// Erases by the wall clock alone.
    EraseAtOnce,
    /// Acknowledges what is not persisted yet.
    JournaledEarly,
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// All of them: histories must find each.
    pub const ALL: [Self; 34] = [
        Self::CommitEarlyInTail,
        Self::CommitEarlyInScan,
        Self::AdvanceOnEntry,
        Self::TieIgnoresTombstone,
        Self::TieIgnoresValue,
        Self::ClampAtReceiver,
        Self::CursorAtEnd,
        Self::LoserUnlabeled,
        Self::SupersededUnlabeled,
        Self::TrimAtOnce,
        Self::GapIgnored,
        Self::GapCommitted,
        Self::BucketsServed,
        Self::RaiseEarly,
        Self::RaiseLate,
        Self::RaisePartial,
        Self::LinkUpNotCompared,
        Self::SilenceIgnored,
        Self::HintForgotten,
        Self::BucketDoneEarly,
        Self::EndedKept,
        Self::EndedDropped,
        Self::DeadLabelsKept,
        Self::ResentMoves,
        Self::IncarnationKept,
        Self::DuplicateAheadEnds,
        Self::CommitUnheard,
        Self::WakeForgotten,
        Self::UnsubscribeNever,
        Self::BehindIgnored,
        Self::FutureShown,
        Self::FutureDropped,
        Self::EraseAtOnce,
        Self::JournaledEarly,
    ];
}

/// The hook: asked at the points where a fault can be made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    #[cfg(feature = "mutants")]
    mutant: Option<Mutant>,
}

impl Faults {
    #[cfg(feature = "mutants")]
    pub(crate) fn of(tuning: &crate::Tuning) -> Self {
        Self { mutant: tuning.mutant }
    }

    #[cfg(not(feature = "mutants"))]
    pub(crate) fn of(_tuning: &crate::Tuning) -> Self {
        Self {}
    }

    /// Whether this fault is to be made.
    #[cfg(feature = "mutants")]
    pub(crate) fn make(self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "the other one needs it")]
    pub(crate) fn make(self, _mutant: Mutant) -> bool {
        false
    }
}
