//! What must hold at every moment of a server's life.

use crate::nodes::config::{BACKOFF_MIN, FUTURE_SKEW_MAX};
use crate::nodes::plan::nanos;
use crate::nodes::seen::{Seen, Tally};
use crate::nodes::world::SECOND_NS;
use herd_node::{CloseReason, Event, Node, PeerState, ReplicaEvent};
use herd_proto::peer::FRAME_BYTES_MAX;
use herd_replica::Origin;
use std::collections::{BTreeMap, VecDeque};

/// By what two reports of one client are ordered.
pub(crate) type Rank = (i64, Vec<u8>);

/// What was said of one key: by value the effective time, and whether one of ours was told it, so that it
/// counts as it stands.
type Claims = BTreeMap<Vec<u8>, (i64, bool)>;

/// What was said, and what every server has shown and done.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    said: BTreeMap<Vec<u8>, Claims>,
    lives: BTreeMap<usize, Life>,
    /// The latest time that any clock has shown.
    pub(crate) latest_ns: i64,
    /// There are foreign servers.
    foreign: bool,
    /// Some clock was set back: reports that were stamped ahead may have been issued again.
    was_set_back: bool,
    /// Something that was wrong where it could not be told at once.
    pub(crate) wrong: Option<String>,
}

/// One life of one server.
#[derive(Debug, Default)]
struct Life {
    signature: [u64; 5],
    shown: BTreeMap<Vec<u8>, Rank>,
    versions: BTreeMap<Origin, u64>,
    peers: Vec<Watch>,
    links_changed: bool,
    /// A link to this neighbor gave way to another, which is still to come up.
    replaced: Option<String>,
    /// The latest incarnation with which each peer was linked.
    incarnations: BTreeMap<String, u64>,
    /// A peer broke the protocol, and is kept away.
    faulted: bool,
    /// The clock was set back: what was shown may not be due any more.
    set_back: bool,
}

/// How a server dials one neighbor.
#[derive(Debug, Default)]
struct Watch {
    links_up: u64,
    up_at: Option<u64>,
    /// The last dials.
    dials: VecDeque<u64>,
    /// It must be dialed by this moment: a link that lived long was lost.
    redial_by: Option<u64>,
}

/// So many dials of one neighbor in a row...
const DIALS: usize = 8;
/// ...take at least so long, if waits double. A server whose clock was set dials once without a wait, and not again
/// within this.
const DIALS_SPAN_NS: u64 = 5 * SECOND_NS / 2;
/// A dial and its hello are over after this, though the machine that was dialed shows signs of life.
const DIAL_MAX_NS: u64 = 8 * SECOND_NS;
/// What may go out beyond what was asked for: the message that reaches it, and what goes before reports.
const BEYOND_BUDGET_BYTES: usize = 8 * 1024;
/// A timer may be late, and a server just woken.
const LATE_NS: u64 = SECOND_NS / 20;

pub(crate) fn key_of(client: &str) -> Vec<u8> {
    [b"r", client.as_bytes()].concat()
}

impl Oracle {
    /// Of a world with or without foreign servers.
    pub(crate) fn new(foreign: bool) -> Self {
        Self { foreign, ..Self::default() }
    }

    /// A server begins a life with so many neighbors.
    pub(crate) fn begin(&mut self, host: usize, peers: usize) {
        let peers = (0..peers).map(|_| Watch::default()).collect();
        self.lives.insert(host, Life { peers, ..Life::default() });
    }

    /// A server does nothing for a while: no date binds it.
    pub(crate) fn excuse(&mut self, host: usize) {
        for watch in self.lives.get_mut(&host).into_iter().flat_map(|life| &mut life.peers) {
            watch.redial_by = None;
        }
    }

    /// The clock of a server is set back.
    pub(crate) fn set_back(&mut self, host: usize) {
        if let Some(life) = self.lives.get_mut(&host) {
            life.set_back = true;
        }
        self.was_set_back = true;
    }

    /// Whether any clock was set back: what was not due for a while is told again when it is.
    pub(crate) fn any_set_back(&self) -> bool {
        self.was_set_back
    }

    /// Whether the clock of a server was set back: what it holds may not be due any more.
    pub(crate) fn is_set_back(&self, host: usize) -> bool {
        self.lives.get(&host).is_some_and(|life| life.set_back)
    }

    /// Somebody reported this: to one of ours, whose clock bounds its time, or not.
    pub(crate) fn said(&mut self, key: &[u8], value: Vec<u8>, effective_ns: i64, exact: bool) {
        self.said.entry(key.to_vec()).or_default().insert(value, (effective_ns, exact));
    }

    /// What a server shows of a key.
    pub(crate) fn shown(&self, host: usize, key: &[u8]) -> Option<&Rank> {
        self.lives.get(&host)?.shown.get(key)
    }

    pub(crate) fn view(&self, host: usize) -> Option<&BTreeMap<Vec<u8>, Rank>> {
        self.lives.get(&host).map(|life| &life.shown)
    }

    /// A server dials a neighbor; its clock was last set at `clock_set_ns`.
    pub(crate) fn dials(
        &mut self,
        host: usize,
        peer: usize,
        clock_set_ns: u64,
        now_ns: u64,
    ) -> Result<(), String> {
        let watch = self.lives.get_mut(&host).and_then(|life| life.peers.get_mut(peer));
        let Some(watch) = watch else { return Ok(()) };
        watch.redial_by = None;
        watch.dials.push_back(now_ns);
        if watch.dials.len() > DIALS + 1 {
            watch.dials.pop_front();
        }
        let since = |count: usize| watch.dials.iter().nth_back(count - 1).copied();
        // One more is right if the clock was set meanwhile.
        let was_set = since(DIALS).is_some_and(|first| clock_set_ns >= first);
        let most = DIALS + usize::from(was_set);
        if since(most).is_some_and(|first| now_ns - first < DIALS_SPAN_NS) {
            return Err(format!("server {host} dials a neighbor {most} times in a row"));
        }
        Ok(())
    }

    /// What a server says on a link.
    pub(crate) fn sends(&mut self, host: usize, bytes: &[u8], budget: usize) {
        if bytes.len() > budget + BEYOND_BUDGET_BYTES {
            let sent = bytes.len();
            self.wrong = Some(format!("server {host} sends {sent} bytes where {budget} may go"));
        }
    }

    /// What a server has to say for its log.
    pub(crate) fn heard(&mut self, host: usize, event: &Event, tally: &mut Tally) {
        let changed = matches!(event, Event::LinkUp { .. } | Event::LinkDown { .. });
        if let Some(life) = self.lives.get_mut(&host) {
            life.links_changed |= changed;
            life.note_replaced(event);
            if let Event::Replica(ReplicaEvent::OriginEnded { server, incarnation }) = event {
                let ended = Origin { server: server.clone(), incarnation: *incarnation };
                life.versions.remove(&ended);
            }
            if let Event::LinkDown { reason, .. } = event {
                life.faulted |= reason.is_fault();
            }
            if let Event::LinkUp { peer, incarnation, frames: Some(_), .. } = event {
                let latest = life.incarnations.entry(peer.clone()).or_default();
                if incarnation < latest {
                    self.wrong = Some(format!("server {host} links an older {peer} than before"));
                }
                *latest = (*latest).max(*incarnation);
            }
        }
        match event {
            Event::LinkUp { .. } => tally.see(Seen::LinksUp),
            Event::LinkDown { reason, .. } => match reason {
                CloseReason::Dead(_) => tally.see(Seen::Dead),
                CloseReason::NoHello(_) => tally.see(Seen::NoHello),
                CloseReason::Replaced => tally.see(Seen::Replaced),
                CloseReason::Refused(refusal) => {
                    let why = refusal.to_string();
                    tally.see(match &why[..] {
                        "already linked" => Seen::AlreadyLinked,
                        why if why.starts_with("another running server") => Seen::SecondRefused,
                        why if why.starts_with("the clock of") => Seen::ClocksDiffer,
                        why if why.starts_with("a known incarnation") => Seen::Superseded,
                        why if why.contains("is kept away") => Seen::KeptAway,
                        _ => Seen::Refused,
                    });
                }
                CloseReason::RefusedByPeer(_) => tally.see(Seen::RefusedByPeer),
                CloseReason::EndedByPeer(_) => tally.see(Seen::EndedByPeer),
                CloseReason::Outlived => tally.see(Seen::Outlived),
                CloseReason::Renewed => tally.see(Seen::LinksRenewed),
                CloseReason::Fault(_) => {
                    self.wrong = Some(format!("server {host}: {reason}"));
                }
                CloseReason::Nonsense(_) => tally.see(Seen::Nonsense),
                CloseReason::Socket(_)
                | CloseReason::Unlinked
                | CloseReason::Leaving
                | CloseReason::Stopping => {}
            },
            Event::NotUnderstood { .. } => tally.see(Seen::NotUnderstood),
            Event::Clamped { .. } => tally.see(Seen::Clamped),
            Event::Renewed { .. } => tally.see(Seen::LivesRenewed),
            Event::SecondOfOwnName => tally.see(Seen::SecondOfOwnName),
            // Nothing here breaks a memory, so whatever differs for good is a fault.
            Event::Replica(ReplicaEvent::Repaired { records }) => {
                self.wrong = Some(format!("server {host} repairs {records} records"));
            }
            Event::CaughtUp { .. } | Event::Replica(_) => {}
        }
    }

    /// Looks at a server after something was done to it.
    pub(crate) fn check(&mut self, host: usize, node: &Node, now_ns: u64) -> Result<(), String> {
        for (link, input, control) in node.links() {
            if input > FRAME_BYTES_MAX + 64 * 1024 || control > 2 * 64 * 1024 {
                return Err(format!("holds too much for {link:?}: {input} in, {control} out"));
            }
        }
        let Some(life) = self.lives.get_mut(&host) else { return Ok(()) };
        life.check_dials(node, now_ns)?;
        let happened = node.replica().stats();
        let versions: u64 = node.replica().versions().map(|(_, version)| version).sum();
        let keys = node.replica().keys() as u64;
        let futures = node.replica().futures().count() as u64;
        // An entry of an origin that has ended changes nothing that is counted.
        let root = node.replica().root();
        let signature = [happened.entries, root, keys, versions, futures];
        // What is due again shows without any such change.
        let is_same = std::mem::replace(&mut life.signature, signature) == signature;
        if is_same && !life.set_back {
            return Ok(());
        }
        life.check_streams(node)?;
        let reissued = self.was_set_back;
        life.check_view(node, &self.said, self.latest_ns, self.foreign, reissued)
    }
}

impl Life {
    fn note_replaced(&mut self, event: &Event) {
        match event {
            Event::LinkDown { peer, reason: CloseReason::Replaced } => {
                self.replaced.clone_from(peer);
            }
            Event::LinkUp { peer, .. } if self.replaced.as_ref() == Some(peer) => {
                self.replaced = None;
            }
            Event::LinkUp { .. }
            | Event::LinkDown { .. }
            | Event::CaughtUp { .. }
            | Event::Renewed { .. }
            | Event::SecondOfOwnName
            | Event::NotUnderstood { .. }
            | Event::Replica(_)
            | Event::Clamped { .. } => {}
        }
    }

    fn check_dials(&mut self, node: &Node, now_ns: u64) -> Result<(), String> {
        let faulted = std::mem::take(&mut self.faulted);
        if std::mem::take(&mut self.links_changed) {
            for (watch, status) in self.peers.iter_mut().zip(node.peers()) {
                let linked = matches!(status.state, PeerState::Up | PeerState::CatchingUp);
                let other = watch.links_up != status.counters.links_up;
                if linked && (watch.up_at.is_none() || other) {
                    watch.up_at = Some(now_ns);
                    watch.redial_by = None;
                }
                watch.links_up = status.counters.links_up;
                let lived = watch.up_at.filter(|_| !linked).map(|up| now_ns - up);
                if let Some(lived) = lived {
                    watch.up_at = None;
                    let last = watch.dials.back().copied().unwrap_or_default();
                    // A link that came and went meanwhile was none that lived long.
                    if lived >= SECOND_NS && !other {
                        watch.dials.clear();
                        if now_ns >= last + DIAL_MAX_NS && !faulted {
                            watch.redial_by = Some(now_ns + nanos(BACKOFF_MIN) + LATE_NS);
                        }
                    }
                }
            }
        }
        let late = |watch: &Watch| watch.redial_by.is_some_and(|by| by < now_ns);
        if let Some(peer) = &self.replaced {
            return Err(format!("has given up a link to {peer} for none"));
        }
        if self.peers.iter().any(late) {
            return Err("does not dial at once a neighbor that was linked for long".into());
        }
        Ok(())
    }

    fn check_streams(&mut self, node: &Node) -> Result<(), String> {
        for stream in node.replica().streams() {
            let before = self.versions.get(stream.origin).copied().unwrap_or_default();
            if stream.version < before {
                return Err(format!("went back from {before}: {stream:?}"));
            }
            if stream.version > before {
                self.versions.insert(stream.origin.clone(), stream.version);
            }
        }
        Ok(())
    }

    /// It shows only what was said, word for word, and never goes back.
    fn check_view(
        &mut self,
        node: &Node,
        said: &BTreeMap<Vec<u8>, Claims>,
        latest_ns: i64,
        foreign: bool,
        reissued: bool,
    ) -> Result<(), String> {
        if self.set_back {
            self.shown.clear();
        }
        let mut keys = 0;
        for record in node.replica().records() {
            keys += 1;
            let now = (record.effective_ns, record.value);
            let before = self.shown.get(record.key);
            if before.is_some_and(|before| (before.0, &before.1[..]) == now) {
                continue;
            }
            let (key, value) = (record.key.escape_ascii(), record.value.escape_ascii());
            if before.is_some_and(|before| (before.0, &before.1[..]) > now) {
                return Err(format!("went back on {key}: {before:?} to {} {value}", now.0));
            }
            let Some(&(effective_ns, exact)) =
                said.get(record.key).and_then(|said| said.get(record.value))
            else {
                return Err(format!("shows of {key} what nobody said: {value}"));
            };
            // By way of a foreign server a report counts as it stands, or as not to be believed.
            let believed_ns =
                latest_ns.saturating_add(nanos(FUTURE_SKEW_MAX * 3 / 2).cast_signed());
            let right = now.0 == effective_ns && (exact || now.0 <= believed_ns)
                || now.0 == effective_ns - i64::MAX && foreign
                || now.0 < effective_ns && reissued;
            if !right {
                let off = now.0.saturating_sub(effective_ns);
                return Err(format!("orders {key} {value} by a wrong time, {off} ns off"));
            }
            self.shown.insert(record.key.to_vec(), (now.0, now.1.to_vec()));
        }
        if keys < self.shown.len() {
            return Err("does not show what it has shown".into());
        }
        Ok(())
    }
}
