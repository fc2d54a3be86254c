//! The bytes that this program exchanges with its peers, as kept in files and as documented.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod bytes;
mod document;
mod golden;
mod samples;
