//! What one node knows, and how nodes come to agree on it.
//!
//! A [`Replica`] holds the newest record of every key and passes on what is newer than it knew, to
//! every link but the one it came from. Values are opaque: they are compared and copied, never read.
//! Nothing here knows a wire format, a socket, a timer or a peer's name; a link is a number.
//!
//! Absent on purpose: queues. What a link still has to be told is a position in one log of latest
//! changes, so a neighbour that is slow, frozen or away costs no memory, and one that comes back is
//! sent each key once, as it is now.

mod log;
mod replica;
mod table;

pub use replica::{Applied, LinkId, Record, Replica, Source};
