//! Faults to be made on purpose, one at a time, and what only a simulator may look at.
//!
//! A simulator of whole nodes that lets one of these faults live tests too little. Only with the feature
//! `mutants`; without it every question below is answered "no" when compiling. Faults of the agreement
//! itself are made in `core/replica`.

use crate::node::Node;
#[cfg(feature = "mutants")]
use herd_replica::LinkId;

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "mutants"), expect(unreachable_pub, reason = "made only there"))]
pub enum Mutant {
    /// A peer's clock does not matter.
    ClockIgnored,
    /// Time in which this process did not run counts as silence of its peers, and what came meanwhile is not read first.
    OwnPauseCounted,
    /// A process that is older than the last one known of its name is let in.
    OlderAdmitted,
    /// Of two connections between a pair both stay.
    JudgeKeepsBoth,
    /// Of two connections between a pair neither stays.
    JudgeRefusesBoth,
    /// A silent peer is never given up.
    DeadNever,
    /// A connection that says no hello is never given up.
    GreetingForever,
    /// A foreign server is told again what it told.
    EchoToldBack,
    /// A report of a foreign server is passed on with a difference of our own making.
    DifferenceRewritten,
    /// A frame that comes in pieces is lost.
    PartialDropped,
    /// What a foreign server says together with its answer to the hello is lost.
    RestDropped,
    /// As much as there is goes out at once.
    BudgetIgnored,
    /// A link that lived long does not make the next dial quick.
    BackoffNeverReset,
    /// Each failure is followed by the shortest wait.
    BackoffNeverGrows,
    /// A lost peer is not dialed again.
    RedialNever,
    /// A link whose socket was closed counts as up.
    ClosedUnnoticed,
    /// The driver is not told that there is something to send.
    WakeLost,
    /// Foreign servers are not told what changes.
    ForeignNotWoken,
    /// Pings are not answered.
    PongNever,
    /// A line that begins with `?` is answered.
    NotUnderstoodAnswered,
}

#[cfg(feature = "mutants")]
impl Mutant {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::ClockIgnored,
        Self::OwnPauseCounted,
        Self::OlderAdmitted,
        Self::JudgeKeepsBoth,
        Self::JudgeRefusesBoth,
        Self::DeadNever,
        Self::GreetingForever,
        Self::EchoToldBack,
        Self::DifferenceRewritten,
        Self::PartialDropped,
        Self::RestDropped,
        Self::BudgetIgnored,
        Self::BackoffNeverReset,
        Self::BackoffNeverGrows,
        Self::RedialNever,
        Self::ClosedUnnoticed,
        Self::WakeLost,
        Self::ForeignNotWoken,
        Self::PongNever,
        Self::NotUnderstoodAnswered,
    ];
}

#[cfg(feature = "mutants")]
impl Node {
    /// From now on this fault is made.
    pub fn set_mutant(&mut self, mutant: Mutant) {
        self.mutant = Some(mutant);
    }

    /// What this node knows, for an oracle.
    pub fn replica(&self) -> &herd_replica::Replica {
        &self.replica
    }

    /// The links that were opened and have not been closed, each with the bytes that are held for it: of
    /// input that is not whole yet, and of output beside reports.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, usize, usize)> {
        self.links.iter().map(|(&id, link)| {
            let (input, control) = link.held_bytes();
            (id, input, control)
        })
    }

    /// The link that is up with the peer of this name.
    pub fn link_with(&self, name: &str) -> Option<LinkId> {
        self.peers.iter().find(|peer| !peer.gone && peer.settings.name == name)?.link
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

#[cfg(not(feature = "mutants"))]
impl Node {
    #[expect(clippy::unused_self, reason = "the other one needs it")]
    pub(crate) fn is(&self, _mutant: Mutant) -> bool {
        false
    }
}
