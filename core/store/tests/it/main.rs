//! What the store promises to other versions of this program.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod fixtures;
