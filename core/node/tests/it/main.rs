//! Several nodes on one made-up clock, joined by made-up wires.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod clocks;
mod herd;
mod links;
mod membership;
mod nearby;
mod random;
mod replay;
mod rivals;
mod scripted;
mod starved;
mod versions;
mod view;
mod wire;
