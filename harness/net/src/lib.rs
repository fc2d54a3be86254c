//! Built daemons in network namespaces, with wires between them that can fail as real ones do.
//!
//! A [`Lab`] is one namespace a server, one pair of virtual interfaces a link, and one more namespace
//! for whoever drives the servers; nothing of it is seen outside. Links are taken down, made to drop
//! packets both ways or one way, slowed, or led over a [`Wire`] of ours that delays and loses packets.
//! A [`Herd`] is a herd of real processes in a lab.
//!
//! Left out: what needs no packets. That is in `herd-e2e`, which also runs where no namespaces may be
//! made. Whether they may here, [`why_not`] tells.

#![expect(clippy::missing_panics_doc, reason = "a helper fails its test by panicking")]

mod herd;
mod lab;
mod tool;
mod wire;

pub use herd::{FIVE, FIVE_LINKS, Herd};
pub use lab::{Lab, why_not};
pub use wire::{Manner, Wire};
