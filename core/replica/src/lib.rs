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

mod census;
mod collect;
mod feed;
mod link;
mod log;
mod members;
mod mutants;
mod origin;
mod replica;
mod send;
mod store;
#[cfg(test)]
mod tests;
mod tuning;

pub use census::{Census, StreamState};
pub use feed::Cursor;
#[cfg(feature = "mutants")]
pub use mutants::Mutant;
pub use origin::Origin;
pub use replica::{
    Applied, Event, Fault, Happenings, LinkId, Output, Record, Redundancy, Replica, Settings, Sink,
};
pub use tuning::Tuning;
