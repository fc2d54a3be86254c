//! The line protocol without sockets: what a conversation answers, in which order, within which bounds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod session;
