//! One module per client protocol.
//!
//! A protocol is a pure half, bytes to requests and replies to bytes, and a short serving half that
//! owns a socket. All of them enter the server through [`Host`]; none knows another. Listening,
//! dialing and configuration are left to `shell/server`.

pub mod dump;
mod durability;
mod host;
pub mod http;
pub mod line;
mod places;
mod process;
mod seats;
mod stats;
mod sync;
mod traffic;

pub use durability::{Disk, Durability, Mode};
pub use host::{Clock, Host, HostParts, LinkSignal, Order, Phase};
pub use places::{Answer, Places, Remote};
pub use process::Process;
pub use seats::Seat;
pub use stats::{Kind, Stats, Tally};
pub use traffic::{Direction, TrafficLog, TrafficSink};
