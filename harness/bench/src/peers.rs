//! Other programs that servers are compared with, where they are installed.
//!
//! What each is for and leaves out is in `harness/bench-peers`. A peer that is missing is no failure: whoever
//! wants it shows in a row what is missing and how to get it.

pub(crate) mod python;
pub(crate) mod redis;

use crate::table::{Cell, Section};

/// A peer that runs, or what to say of one that is not installed.
#[derive(Debug)]
pub(crate) enum Found<T> {
    Here(T),
    Missing(&'static str),
}

impl<T> Found<T> {
    /// The peer; where it is missing a row says so.
    pub(crate) fn or_row(self, section: &mut Section) -> Option<T> {
        match self {
            Self::Here(peer) => Some(peer),
            Self::Missing(what) => {
                section.row([Cell::text(what)]);
                None
            }
        }
    }
}
