//! The answering side of a comparison by buckets.
//!
//! Answers are kept as what is to be looked up, not as bytes, and are bounded by what a peer may have asked for and
//! not got yet.

use crate::ids::KeyIx;
use herd_proto::peer::KeyDigest;
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(crate) struct Donor {
    pub(crate) answers: VecDeque<Answer>,
    /// Digests and buckets that were asked for and not answered yet.
    pub(crate) weight: usize,
    /// The other side erased what was received before this.
    pub(crate) peer_cutoff_ns: i64,
    /// Its last question, and the number of the last unlabeled record then.
    pub(crate) asked: Option<(u64, u64)>,
    /// The other side has every unlabeled record up to here.
    pub(crate) unlabeled_held: u64,
}

#[derive(Debug)]
pub(crate) enum Answer {
    /// The other side's root: that it is the same, or all ranges. Decided when it is sent, so that versions and sums
    /// are of one moment.
    Root { token: u64, root: u64 },
    /// The buckets of one range.
    Buckets { range: u8 },
    /// What the other side lacks of one bucket, from what it listed.
    Bucket { bucket: u16, all: bool, seed: u64, keys: Vec<KeyDigest> },
    /// The same, found, and to be sent from `next` on.
    Keys { bucket: u16, keys: Vec<(KeyIx, bool)>, next: usize, weight: usize },
}
