//! The small numbers by which the machines name things to each other.
//!
//! They live apart from what they name, so that no machine has to import another one for a number.

/// A connection to a peer, for as long as it lasts. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// The slot of a key in the table. Given to another key once the key is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyIx(pub(crate) u32);

/// The slot of a stream. Given to another stream once the origin has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OriginIx(pub(crate) u16);

impl OriginIx {
    /// This server's own stream.
    pub(crate) const ME: Self = Self(0);

    pub(crate) fn at(self) -> usize {
        usize::from(self.0)
    }
}

/// The position at which a label was appended to a log: 1, 2, 3 … A slot that is reused goes on counting
/// where any log before it ended, so (slot, arrival) names a label for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrival(pub(crate) u64);

/// One server process: its name, and a number that grows with every start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The server's name.
    pub server: Box<str>,
    /// Nanoseconds since 1970 at its start, or more if a later one was known.
    pub incarnation: u64,
}

/// A position of a key in a stream: when the stream is passed on across `sequence`, what the key stores is
/// sent, labeled so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) origin: OriginIx,
    pub(crate) sequence: u64,
    pub(crate) arrival: Arrival,
    /// The link that brought it, to which it need not be sent back.
    pub(crate) from: Option<LinkId>,
}
