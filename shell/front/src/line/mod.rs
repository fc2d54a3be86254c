//! The line protocol: IAMAT, WHATSAT, AT.
//!
//! [`Session`] is the protocol without a socket: bytes in, replies in order out. [`serve`] owns the
//! socket. A connection whose first line is a server's hello is handed back to the caller, who drives
//! it as a link.

mod serve;
mod session;

pub use serve::{Ended, serve};
pub use session::{Limits, MayRelay, Session};
