//! Connections: two pipes of bytes, late, in pieces of any size, of bounded room, that end anywhere.

use herd_node::LinkId;
use herd_proto::Framer;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One connection.
#[derive(Debug)]
pub(crate) struct Conn {
    /// The one who dialed, and the one who accepted.
    pub(crate) ends: [End; 2],
    /// What is on its way to each end.
    pub(crate) pipes: [Pipe; 2],
    /// Which edge of the plan it runs along, if any.
    pub(crate) edge: Option<usize>,
    pub(crate) delay_ns: u64,
}

/// One side of a connection.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) host: usize,
    pub(crate) open: bool,
    pub(crate) is: Is,
    /// Bytes that its program has written and its pipe has had no room for.
    pub(crate) pending: VecDeque<u8>,
    /// Its program wants to close it once everything is written.
    pub(crate) closing: bool,
    /// Counts what was written: a write that does not end is given up.
    pub(crate) writes: u64,
    pub(crate) watched: bool,
    /// When something last arrived.
    pub(crate) heard_ns: u64,
    /// When the machine at the other end last showed a sign of life.
    pub(crate) alive_ns: u64,
    /// Bytes that have arrived.
    pub(crate) received: usize,
}

/// Who drives an end.
#[derive(Debug)]
pub(crate) enum Is {
    /// A link of a server of ours.
    Link(LinkId),
    /// Accepted by a server of ours: the first line decides.
    Accepting(Vec<u8>),
    /// Accepted by a server of ours, and no link.
    Session(Framer),
    /// A foreign server.
    Foreign {
        framer: Framer,
        /// The newest that it was told to say here: effective time and value.
        told: BTreeMap<String, (i64, Vec<u8>)>,
        /// All lines that it has said here.
        said: BTreeSet<String>,
        /// It writes what it passes on here.
        speaks: bool,
        /// It has heard a line here.
        heard: bool,
    },
    /// Nobody: bytes come from a script, and are taken or not.
    Script { deaf: bool },
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    pub(crate) pieces: VecDeque<Piece>,
    pub(crate) bytes: usize,
    pub(crate) last_ns: u64,
    /// An event is under way that looks at the first piece.
    pub(crate) scheduled: bool,
    /// Nothing comes out of it any more, and nobody is told.
    pub(crate) silent: bool,
}

/// Some bytes that arrive together.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) at_ns: u64,
    pub(crate) bytes: Vec<u8>,
    /// The end of the stream; or a reset.
    pub(crate) ends: bool,
}

impl End {
    pub(crate) fn new(host: usize, is: Is, now_ns: u64) -> Self {
        Self {
            host,
            open: true,
            is,
            pending: VecDeque::new(),
            closing: false,
            writes: 0,
            watched: false,
            heard_ns: now_ns,
            alive_ns: now_ns,
            received: 0,
        }
    }
}

impl Conn {
    /// Whether anything can still happen here.
    pub(crate) fn is_over(&self) -> bool {
        !self.ends.iter().any(|end| end.open)
    }
}
