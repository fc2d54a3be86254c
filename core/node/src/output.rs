//! What a node asks its driver to do, and what it tells the operator.

use crate::peers::PeerId;
use herd_proto::Versions;
use herd_replica::LinkId;
use std::time::Duration;

/// One effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Open a connection to this neighbour, then say
    /// [`handle_connected`](crate::Node::handle_connected) or
    /// [`handle_connect_failed`](crate::Node::handle_connect_failed).
    Connect(PeerId),
    /// There is something to send on this link: [`poll_transmit`](crate::Node::poll_transmit).
    Transmit(LinkId),
    /// Send what `poll_transmit` still gives, as far as the socket takes it, close, and say
    /// [`handle_link_closed`](crate::Node::handle_link_closed).
    Close(LinkId),
    /// There is something to write down: [`poll_journal`](crate::Node::poll_journal).
    Journal,
    /// Clients' updates up to this [`position`](crate::Node::position) are safe.
    Journaled(u64),
    /// For the log.
    Event(Event),
}

/// Something an operator may want to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A neighbour can be talked to.
    LinkUp {
        /// Its name.
        peer: String,
        /// Whether this side opened the connection.
        dialed: bool,
        /// The version of the frames that both speak; None if the other side speaks nothing but AT
        /// lines.
        frames: Option<u8>,
    },
    /// All that a neighbour knew when the link came up has arrived.
    CaughtUp {
        /// Its name.
        peer: String,
        /// How long that took.
        after: Duration,
    },
    /// A link, or the attempt at one, has ended.
    LinkDown {
        /// The neighbour, if it had said its name.
        peer: Option<String>,
        /// Why.
        reason: CloseReason,
    },
    /// A neighbour answered `? …` to something sent to it.
    NotUnderstood {
        /// Its name.
        peer: String,
        /// Its words.
        line: String,
    },
    /// A neighbour knows more of this node's own stream than this node, or of a later life: what is
    /// written from now on belongs to a new one.
    Renewed {
        /// The new incarnation.
        incarnation: u64,
    },
    /// Another life of this node's name is later than this one, though this one began long ago: another
    /// server of the name lives somewhere in the herd.
    SecondOfOwnName,
    /// Something happened in the agreement between servers.
    Replica(herd_replica::Event),
    /// A report claimed a time so far ahead that it is ordered as if it were nearer. Told at most
    /// once a second; counted always.
    Clamped {
        /// How far ahead of this server's clock it was.
        ahead: Duration,
    },
}

/// Why a link ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The socket was closed or failed; the driver's words.
    #[error("{0}")]
    Socket(String),
    /// Nothing was heard for too long.
    #[error("nothing heard for {0:?}")]
    Dead(Duration),
    /// The other side did not say hello in time.
    #[error("no hello within {0:?}")]
    NoHello(Duration),
    /// A newer connection to the same neighbour took its place.
    #[error("replaced by a newer connection")]
    Replaced,
    /// The config of this node was read anew, and the other is no neighbour in it any more, or one that
    /// is spoken to otherwise.
    #[error("the config no longer links the two servers so")]
    Unlinked,
    /// This node begins a new life.
    #[error("this server takes a new incarnation")]
    Renewed,
    /// This node leaves the herd for good.
    #[error("this server leaves the herd")]
    Leaving,
    /// This node is told to stop.
    #[error("this server stops")]
    Stopping,
    /// Another life of the same server came, and this one did not answer when it was asked.
    #[error("silent while a new server of its name came")]
    Outlived,
    /// This side will not talk to it.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The other side will not talk to this one; its words.
    #[error("refused by the other side: {0}")]
    RefusedByPeer(String),
    /// The other side ended the link; its last words.
    #[error("ended by the other side: {0}")]
    EndedByPeer(String),
    /// What it said cannot be gone on with.
    #[error("{0}")]
    Fault(herd_replica::Fault),
    /// Something that is no line or frame between servers.
    #[error("not understood: {0}")]
    Nonsense(String),
}

/// Why this node does not accept another as its neighbour. The words go to the other side.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Two herds never mix.
    #[error(
        "this is herd {ours:?}, not {theirs:?}: give both servers the same herd.name, or mend the address"
    )]
    OtherHerd {
        /// The name of this node's herd.
        ours: String,
        /// The name it said.
        theirs: String,
    },
    /// The configuration of this node does not link it to that name.
    #[error(
        "{0:?} is no neighbour in this server's config: name it there and send SIGHUP, or take this server out of its neighbors"
    )]
    NotANeighbor(String),
    /// Somebody claims this node's own name.
    #[error(
        "{0:?} is this server's own name: two servers of one name run, or one dialed itself; stop one, or mend the address"
    )]
    OwnName(String),
    /// Another server answered at a neighbour's address.
    #[error(
        "expected {expected:?} here, but {found:?} answered: mend servers.{expected}.listen in the config"
    )]
    WrongServer {
        /// Whom the configuration names for that address.
        expected: String,
        /// Who said hello.
        found: String,
    },
    /// Whoever dialed meant to dial another server.
    #[error(
        "this is {ours:?}, and {to:?} was expected at this address: mend servers.{to}.listen in the config"
    )]
    MeantForAnother {
        /// Whom the other side expected.
        to: String,
        /// This node's name.
        ours: String,
    },
    /// A server of that name lives and is linked, and another one came.
    #[error(
        "another living server of the name {0:?} is linked: stop one of the two, or give each a name of its own"
    )]
    SecondOfName(String),
    /// The two programs are too far apart.
    #[error(
        "this server speaks frames of version {ours} and the other of version {theirs}; run programs that have one in common"
    )]
    NoCommonFrames {
        /// What this node speaks.
        ours: Versions,
        /// What the other said that it speaks.
        theirs: Versions,
    },
    /// A connection between the two exists already, and stays.
    #[error("already linked")]
    AlreadyLinked,
}
