//! Faults to be made on purpose: see those of `herd-replica`, of which these are some.
//!
//! Only with the feature `mutants`; without it none is ever made.

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    GenerationNotSynced,
    OldGoesFirst,
    NamesNotSynced,
    TornEndKept,
    HolesIgnored,
}

#[cfg(feature = "mutants")]
impl Fault {
    pub(crate) fn of(mutant: herd_replica::Mutant) -> Option<Self> {
        use herd_replica::Mutant;
        let made_here = [
            (Mutant::GenerationNotSynced, Self::GenerationNotSynced),
            (Mutant::OldGoesFirst, Self::OldGoesFirst),
            (Mutant::NamesNotSynced, Self::NamesNotSynced),
            (Mutant::TornEndKept, Self::TornEndKept),
            (Mutant::HolesIgnored, Self::HolesIgnored),
        ];
        made_here.into_iter().find(|(of, _)| *of == mutant).map(|(_, fault)| fault)
    }
}
