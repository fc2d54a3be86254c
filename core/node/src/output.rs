//! What a node asks its driver to do, and what it tells the operator.

use crate::peers::PeerId;
use herd_proto::Versions;
use herd_replica::LinkId;
use std::time::Duration;

/// One effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Open a connection to this peer, then call
    /// [`handle_connected`](crate::Node::handle_connected) or
    /// [`handle_connect_failed`](crate::Node::handle_connect_failed).
    Connect(PeerId),
    /// Open a connection to this peer and close it again. If it was accepted or refused, call
    /// [`handle_sign_of_life`](crate::Node::handle_sign_of_life).
    Probe(PeerId),
    /// There is something to send on this link: [`poll_transmit`](crate::Node::poll_transmit).
    Transmit(LinkId),
    /// Send what `poll_transmit` still gives, as far as the socket takes it, close, and say
    /// [`handle_link_closed`](crate::Node::handle_link_closed).
    Close(LinkId),
    /// There is something to persist: [`poll_journal`](crate::Node::poll_journal).
    Journal,
    /// Changes up to this [`position`](crate::Node::position) are persisted.
    Journaled(u64),
    /// For the log.
    Event(Event),
}

/// Something an operator may want to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A link to a peer is up.
    LinkUp {
        /// Its name.
        peer: String,
        /// Whether this side opened the connection.
        dialed: bool,
        /// The peer's incarnation; 0 if it speaks nothing but AT lines.
        incarnation: u64,
        /// The version of the frames that both speak; None if the other side speaks nothing but AT
        /// lines.
        frames: Option<u8>,
    },
    /// All that a peer knew when the link came up has arrived.
    CaughtUp {
        /// Its name.
        peer: String,
        /// How long that took.
        after: Duration,
    },
    /// A link, or the attempt at one, has ended.
    LinkDown {
        /// The peer, if it had said its name.
        peer: Option<String>,
        /// Why.
        reason: CloseReason,
    },
    /// A peer answered `? …` to something sent to it.
    NotUnderstood {
        /// Its name.
        peer: String,
        /// Its words.
        line: String,
    },
    /// A peer knew a later incarnation of this server, or more of its stream than it wrote: it has taken a new one.
    Renewed {
        /// The new incarnation.
        incarnation: u64,
    },
    /// Another process of this server's name runs somewhere in the herd: its incarnation is later, though this
    /// process was started long ago.
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
    /// Nothing was received for too long.
    #[error("nothing received for {0:?}")]
    Dead(Duration),
    /// The other side did not say hello in time.
    #[error("no hello within {0:?}")]
    NoHello(Duration),
    /// A newer connection to the same peer took its place.
    #[error("replaced by a newer connection")]
    Replaced,
    /// The config of this node was reloaded, and the other is no peer in it any more, or one of another protocol.
    #[error("the config no longer links the two servers so")]
    Unlinked,
    /// This node takes a new incarnation.
    #[error("this server takes a new incarnation")]
    Renewed,
    /// This node leaves the herd for good.
    #[error("this server leaves the herd")]
    Leaving,
    /// This node is told to stop.
    #[error("this server stops")]
    Stopping,
    /// Another process of the same name came, and this one did not answer when it was asked.
    #[error("silent while a new process of its name came")]
    Outlived,
    /// This side will not talk to it.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The other side will not talk to this one; its words.
    #[error("refused by the other side: {0}")]
    RefusedByPeer(String),
    /// The other side closed the link; its reason.
    #[error("ended by the other side: {0}")]
    EndedByPeer(String),
    /// A message that breaks the protocol.
    #[error("{0}")]
    Fault(herd_replica::Fault),
    /// Input that is no line or batch of frames between servers.
    #[error("not understood: {0}")]
    Nonsense(String),
}

impl CloseReason {
    /// Whether the peer broke the protocol.
    pub fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Fault(_) | Self::Nonsense(_) | Self::Refused(Refusal::IncarnationAhead { .. })
        )
    }

    /// Whether a time-out ended the link.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Dead(_) | Self::NoHello(_))
    }
}

/// Why this node does not accept another as its peer. The text goes to the other side.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Two herds never mix.
    #[error(
        "this is herd {ours:?}, not {theirs:?}: give both servers the same herd.name, or fix the address"
    )]
    OtherHerd {
        /// The name of this node's herd.
        ours: String,
        /// The name it said.
        theirs: String,
    },
    /// The configuration of this node does not link it to that name.
    #[error(
        "{0:?} is no neighbor in this server's config: name it there and send SIGHUP, or take this server out of its neighbors"
    )]
    NotANeighbor(String),
    /// A server claims this node's own name.
    #[error(
        "{0:?} is this server's own name: two servers of one name run, or one dialed itself; stop one, or fix the address"
    )]
    OwnName(String),
    /// Another server answered at a peer's address.
    #[error(
        "expected {expected:?} here, but {found:?} answered: fix servers.{expected}.listen in the config"
    )]
    WrongServer {
        /// Whom the configuration names for that address.
        expected: String,
        /// Who said hello.
        found: String,
    },
    /// The peer meant to dial another server.
    #[error(
        "this is {ours:?}, and {to:?} was expected at this address: fix servers.{to}.listen in the config"
    )]
    MeantForAnother {
        /// Whom the other side expected.
        to: String,
        /// This node's name.
        ours: String,
    },
    /// A server of that name is linked and answers, and another one came.
    #[error(
        "another running server of the name {0:?} is linked: stop one of the two, or give each a name of its own"
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
    /// The wall clocks of the two differ by more than both can work with.
    #[error(
        "the clock of {ahead:?} is {by:?} ahead of the clock of {behind:?}, which is more than {limit:?} \
         (2 x limits.max_future_skew): set the one that is wrong; both servers try again every few seconds"
    )]
    ClocksDiffer {
        /// The server whose clock is ahead of the other's.
        ahead: String,
        /// The server whose clock is behind.
        behind: String,
        /// The difference.
        by: Duration,
        /// The greatest difference that is accepted.
        limit: Duration,
    },
    /// A later incarnation of that server is known: the one that came has to take a new one.
    #[error("{SUPERSEDED}{known} of {name:?} is later than {found}")]
    Superseded {
        /// The server's name.
        name: String,
        /// The incarnation that it said.
        found: u64,
        /// The latest that is known here.
        known: u64,
    },
    /// The incarnation is of the future.
    #[error(
        "incarnation {found} of {name:?} is more than a day ahead of the clock of this server, and of any that is known"
    )]
    IncarnationAhead {
        /// The server's name.
        name: String,
        /// The incarnation that it said.
        found: u64,
    },
    /// The peer broke the protocol lately.
    #[error(
        "{name:?} broke the protocol and is kept away for another {left:?}; the log of this server says how"
    )]
    KeptAway {
        /// The server's name.
        name: String,
        /// How long it is kept away still.
        left: Duration,
    },
    /// A connection between the two exists already, and stays.
    #[error("already linked")]
    AlreadyLinked,
}

/// The start of [`Refusal::Superseded`]. The number behind it is read by the server that is refused.
const SUPERSEDED: &str = "a known incarnation ";

impl Refusal {
    /// The later incarnation that a peer names in its refusal, if it is one for that.
    pub(crate) fn later_incarnation(text: &str) -> Option<u64> {
        // A reason for closing a link says first that it is a refusal.
        let text = text.strip_prefix("refused: ").unwrap_or(text);
        let number = text.strip_prefix(SUPERSEDED)?.split(' ').next()?;
        number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse().ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_incarnation_is_read_where_it_was_written() {
        let refusal = Refusal::Superseded { name: "A".into(), found: 7, known: u64::MAX };
        assert_eq!(Refusal::later_incarnation(&refusal.to_string()), Some(u64::MAX));
        let reason = CloseReason::Refused(refusal).to_string();
        assert_eq!(Refusal::later_incarnation(&reason), Some(u64::MAX));
        for text in ["already linked", "a known incarnation", "a known incarnation +3 of", ""] {
            assert_eq!(Refusal::later_incarnation(text), None, "{text}");
        }
    }
}
