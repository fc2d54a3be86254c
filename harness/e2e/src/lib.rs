//! Built daemons on loopback, driven from outside.
//!
//! Here is what the tests in `tests/it` drive them with: [`Plan`] starts a herd of real processes,
//! [`Client`] speaks the line protocol, [`Proxy`] is a wire that can be cut, [`Foreign`] a server that
//! knows nothing but AT lines, [`Provider`] stands in for a place provider that misbehaves. Whatever is
//! started ends with the value that stands for it, also on a panic.
//!
//! Of the product nothing is linked in but the codec between servers, whose bytes the vectors of `docs/protocol.md`
//! pin: elsewhere a fault in a codec must not hide behind the same fault here.
//! What goes wrong in this crate fails the test by a panic.

#![expect(clippy::missing_panics_doc, reason = "a helper fails its test by panicking")]

mod binary;
mod client;
mod foreign;
mod herd;
mod http;
mod line;
mod peer;
mod ports;
mod process;
mod provider;
mod proxy;
mod wait;

pub use binary::geoherd;
pub use client::Client;
pub use foreign::{Foreign, Manner};
pub use herd::{FIVE, Herd, Plan};
pub use http::{Metrics, Response, get};
pub use line::{At, at_line, iamat, iamat_at, unix_now, unix_now_plus};
pub use peer::Peer;
pub use ports::Address;
pub use process::{Process, Signal};
pub use provider::{Call, Provider, Reply};
pub use proxy::Proxy;
pub use wait::{PATIENCE, settled, wait_for, wait_until};
