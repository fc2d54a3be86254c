//! Sizes and times that a herd need not choose, and a simulator must: with histories of some dozen
//! writes nothing would ever be swept, compacted or collected at the values that are right outside.

use std::time::Duration;

/// How large things grow and how long things wait. The default is what servers run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// A link with so many arrivals ahead of it twice in a row does not keep up, and is sent every key
    /// in turn. Default: 1024.
    pub sweep_arrivals_min: u64,
    /// Arrivals in one piece of a log; at least 1. Compaction copies at most so many at once, a pause of
    /// some microseconds. Default: 4096.
    pub segment_arrivals: u64,
    /// Watermarks of one link are told at most so often: they cost a few bytes an origin, and a subscriber
    /// who is behind waits longer than this before it asks elsewhere. Default: 20 ms.
    pub watermarks_every: Duration,
    /// A stream that does not move for so long though a neighbour is ahead is asked for there: long
    /// enough for a batch on its way, short against what a person notices. Default: 150 ms.
    pub behind_max: Duration,
    /// The same where every neighbour that is ahead was asked already. Default: 2 s.
    pub ask_again_after: Duration,
    /// Entries that nobody commits are issued again after so long: their origin is gone. Default: 2 s.
    pub adopt_after: Duration,
    /// How long a tombstone stays after every member has it and nothing older can be issued: far longer
    /// than any link stays alive without delivering what is on it. Default: 1 min.
    pub tombstone_grace: Duration,
    /// How often a member tells what it holds while that changes. Default: 1 s.
    pub tell_every: Duration,
    /// How often it does while nothing changes, so that its absence is noticed. Default: 10 s.
    pub tell_every_idle: Duration,
    /// How often neighbours compare what they show. Default: 1 min.
    pub audit_every: Duration,
    /// How old a difference must be to be looked at again: longer than most updates are on their way, so
    /// that little work is done for nothing. Default: 2 s.
    pub audit_settle: Duration,
    /// A fault to be made on purpose. Default: none.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::Mutant>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            sweep_arrivals_min: 1024,
            segment_arrivals: 4096,
            watermarks_every: Duration::from_millis(20),
            behind_max: Duration::from_millis(150),
            ask_again_after: Duration::from_secs(2),
            adopt_after: Duration::from_secs(2),
            tombstone_grace: Duration::from_mins(1),
            tell_every: Duration::from_secs(1),
            tell_every_idle: Duration::from_secs(10),
            audit_every: Duration::from_mins(1),
            audit_settle: Duration::from_secs(2),
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}
