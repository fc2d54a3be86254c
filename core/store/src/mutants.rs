//! Faults to be injected on purpose, to show that tests and the simulator find them.
//!
//! Only with the feature `mutants` can one be set; without it none is ever made.

/// One fault of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A generation replaces the one before it without having been synced.
    GenerationNotSynced,
    /// The old generation is removed before the new one has its name.
    OldRemovedFirst,
    /// The name of a new generation is not synced.
    NamesNotSynced,
    /// Nothing behind damaged bytes is read.
    StopsAtDamage,
    /// A journal whose head is damaged is not read.
    HeadRequired,
    /// The incarnation of a start is taken from the clock alone.
    IncarnationFromClock,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::GenerationNotSynced,
        Self::OldRemovedFirst,
        Self::NamesNotSynced,
        Self::StopsAtDamage,
        Self::HeadRequired,
        Self::IncarnationFromClock,
    ];
}
