//! What one server stores, and how servers come to agree on it.
//!
//! Four machines, each with its own state: the *table* stores one record for each key, the greatest that was met;
//! *streams* number what each origin writes, and carry it once to every server; *links* know what each peer holds,
//! and compare by buckets what no stream can promise; the *herd* knows which incarnations are alive. `replica.rs`
//! composes them. `docs/replication.md` says why all servers become equal.
//!
//! Values are opaque: they are compared and copied, never read. Nothing here knows a socket or a clock; time is
//! an argument, messages are values. Absent on purpose: queues. What a link still has to be sent is a position
//! in a log, so a peer that is slow, hung or away costs no memory.

mod clock;
mod faults;
mod herd;
mod ids;
mod journal;
mod links;
mod output;
mod replica;
mod settings;
mod status;
mod streams;
mod table;
#[cfg(test)]
mod tests;
mod ticks;
mod tuning;
mod walk;

#[cfg(feature = "mutants")]
pub use faults::Mutant;
pub use herd::{MemberState, Word};
pub use herd_proto::Record;
pub use ids::{LinkId, Origin};
pub use journal::{JournalId, Told};
pub use links::{ComparisonReport, Verdict};
pub use output::{Event, Fault, Output, ReplicaStats, Sink};
pub use replica::Replica;
pub use settings::{Applied, Redundancy, Settings};
pub use status::{Census, Held, StreamState};
pub use table::Cursor;
pub use tuning::Tuning;
