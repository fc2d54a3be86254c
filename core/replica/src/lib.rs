//! What one node knows, and how nodes come to agree on it.
//!
//! Every origin numbers its own updates; a node keeps, for each origin and key, what that origin last
//! wrote, and how far it holds the origin's stream. Streams flow along one tree each, chosen by who
//! delivers first. Values are opaque: they are compared and copied, never read.
//!
//! Nothing here knows a wire format, a socket or a clock; time is an argument, messages are values.
//!
//! Absent on purpose: queues. What a link still has to be told is a position in a log of arrivals, so a
//! neighbour that is slow, frozen or away costs no memory.

mod allowance;
mod audit;
mod by_origin;
mod census;
mod collect;
mod expiry;
mod feed;
mod intake;
mod journal;
mod key_bytes;
mod lag;
mod link;
mod log;
mod members;
mod mutants;
mod origin;
mod output;
mod replica;
mod send;
mod settings;
mod snapshot;
mod stable;
mod store;
mod sums;
#[cfg(test)]
mod tests;
mod ticks;
mod tuning;

pub use audit::{AuditReport, Verdict};
pub use census::{Census, StreamState};
pub use feed::Cursor;
pub use journal::{JournalId, Journaled, Restore, RestoreError, Told};
pub use members::{Held, MemberState, Word};
#[cfg(feature = "mutants")]
pub use mutants::Mutant;
pub use origin::Origin;
pub use output::{Event, Fault, Happenings, Output, Sink};
pub use replica::Replica;
pub use settings::{Applied, LinkId, Record, Redundancy, Settings};
pub use tuning::Tuning;
