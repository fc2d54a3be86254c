//! One server of the herd as a state machine without I/O.
//!
//! The vocabulary is `handle_*` in and `poll_*` out. Whoever drives a [`Node`] passes both clocks
//! with every call ([`Now`](herd_proto::Now)), and after every `handle_*` drains
//! [`poll_output`](Node::poll_output) before the next one. What is to be done at a time comes from
//! [`poll_timeout`](Node::poll_timeout); what is to be sent to a peer is fetched with
//! [`poll_transmit`](Node::poll_transmit) when its socket has room, so a slow peer queues
//! nothing here.
//!
//! Absent on purpose: how a client's protocol looks (`shell/front`) and how servers agree
//! (`core/replica`). Between servers only bytes go in and out, so the driver does not know what
//! is in them.

mod about;
mod clocks;
mod greeting;
mod herd;
mod link;
mod links;
mod membership;
mod memory;
mod mutants;
mod nearby;
mod node;
mod output;
mod own_time;
mod peers;
mod penalty;
mod renewal;
mod replay;
mod silence;
mod stats;
mod transcript;
mod watch;

pub use about::{About, Alarm, Comparisons, LinkAbout};
pub use herd::{ServerView, Standing, StreamView};
pub use link::Dialect;
pub use membership::Relinked;
pub use memory::Recovery;
#[cfg(feature = "mutants")]
pub use mutants::Mutant;
pub use nearby::{Nearby, NearestSearch, NearestStep};
pub use node::{Ceiling, Located, Node, Relayed, Settings};
pub use output::{CloseReason, Event, Output, Refusal};
pub use peers::{DialRole, PeerId, PeerSettings, PeerState, PeerStatus, Readiness};
pub use stats::{Counters, DELAY_BOUNDS_NS, Histogram, PeerCounters};
pub use transcript::Transcript;
pub use watch::HostFacts;

pub use herd_replica::{
    ComparisonReport, Event as ReplicaEvent, Held, JournalId, LinkId, Redundancy, Told, Tuning,
    Verdict,
};
