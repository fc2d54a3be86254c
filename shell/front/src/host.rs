//! The one door to the server's state: a short lock around the node, both clocks, and the delivery of
//! what the node asks for.
//!
//! A connection enters once for a whole batch of input. No I/O and no waiting happens inside; effects
//! are delivered after the lock is free again. How long the lock is [held](holds) is counted.

use crate::durability::Durability;
use crate::places::Places;
use crate::process::Process;
use crate::stats::Stats;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Notify};
use crate::traffic::TrafficLog;
use herd_node::{Event, HostFacts, LinkId, Node, Output, PeerId};
use herd_proto::{Instant, Now, UnixTime};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};

mod holds;
#[cfg(test)]
mod interleavings;

use self::holds::Hold;
pub(crate) use self::holds::{HOLD_BOUNDS, LockHolds};

/// What the shell's tasks share.
#[derive(Debug)]
pub struct Host {
    locked: Mutex<Locked>,
    clock: Clock,
    links: Mutex<BTreeMap<LinkId, Arc<LinkSignal>>>,
    orders: mpsc::UnboundedSender<Order>,
    /// When the timer task will wake, nanoseconds; `u64::MAX` for never.
    armed: AtomicU64,
    timer: Notify,
    /// This server's name, for replies.
    pub name: String,
    /// The herd's name.
    pub herd: String,
    /// Where answers about places come from.
    pub places: Places,
    /// What the protocols count.
    pub stats: Stats,
    /// Which replies may go out.
    pub durability: Durability,
    /// Where messages are logged, if they are.
    pub traffic: Option<TrafficLog>,
    phase: watch::Sender<Phase>,
    /// A client has gone while the server stops.
    pub(crate) seat_given_up: Notify,
}

/// The state behind the lock.
#[derive(Debug)]
struct Locked {
    node: Node,
    /// Behind the same lock, so that counting needs no atomic operations.
    holds: LockHolds,
}

/// What a [`Host`] is made of.
#[derive(Debug)]
pub struct HostParts {
    /// The state.
    pub node: Node,
    /// Both clocks.
    pub clock: Clock,
    /// The herd's name.
    pub herd: String,
    /// Where answers about places come from.
    pub places: Places,
    /// Where messages are logged, if they are.
    pub traffic: Option<TrafficLog>,
}

/// What the node asks of the tasks that own no connection yet.
///
/// Their channel has no bound of its own: the node has at most one dial and one probe under way for each peer.
#[derive(Debug)]
pub enum Order {
    /// Dial this peer.
    Connect(PeerId),
    /// See whether connections to this peer are accepted or refused.
    Probe(PeerId),
    /// Log this.
    Event(Event),
}

impl Host {
    /// A host and the orders that its node gives.
    pub fn new(parts: HostParts) -> (Arc<Self>, mpsc::UnboundedReceiver<Order>) {
        let (orders, receiver) = mpsc::unbounded_channel();
        let host = Self {
            name: parts.node.name().to_owned(),
            locked: Mutex::new(Locked { node: parts.node, holds: LockHolds::default() }),
            clock: parts.clock,
            links: Mutex::default(),
            orders,
            armed: AtomicU64::new(u64::MAX),
            timer: Notify::new(),
            herd: parts.herd,
            places: parts.places,
            stats: Stats::default(),
            durability: Durability::default(),
            traffic: parts.traffic,
            phase: watch::Sender::new(Phase::Serving),
            seat_given_up: Notify::new(),
        };
        (Arc::new(host), receiver)
    }

    /// Both clocks now.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Enters the node. `visit` must not block: everyone else waits for it.
    pub fn enter<R>(&self, visit: impl FnOnce(&mut Node, Now) -> R) -> R {
        let now = self.now();
        let mut outputs = Vec::new();
        let (result, timeout) = {
            let mut locked = self.locked.lock();
            let hold = Hold::begin();
            let Locked { node, holds } = &mut *locked;
            let result = visit(node, now);
            while let Some(output) = node.poll_output() {
                outputs.push(output);
            }
            let timeout = node.poll_timeout();
            holds.record(hold.end());
            (result, timeout)
        };
        if timeout.is_some_and(|at| at.nanos() < self.armed.load(Ordering::Relaxed)) {
            self.timer.notify_one();
        }
        for output in outputs {
            self.deliver(output);
        }
        result
    }

    /// Holds of the lock so far, by how long they took.
    pub(crate) fn lock_holds(&self) -> LockHolds {
        self.locked.lock().holds.clone()
    }

    /// What the node is to be told of this process; reads it from the system.
    pub fn facts(&self, version: &str) -> HostFacts {
        HostFacts {
            program: version.to_owned(),
            resident_bytes: Process::resident_bytes(),
            draining: self.phase() > Phase::Serving,
        }
    }

    fn deliver(&self, output: Output) {
        let order = match output {
            Output::Transmit(link) => return self.signal(link, false),
            Output::Close(link) => return self.signal(link, true),
            Output::Journal => return self.durability.ring(),
            Output::Journaled(position) => return self.durability.note_safe(position),
            Output::Connect(peer) => Order::Connect(peer),
            Output::Probe(peer) => Order::Probe(peer),
            Output::Event(event) => Order::Event(event),
        };
        // Nobody listens any more only when the server is stopping.
        let _stopping = self.orders.send(order);
    }

    fn signal(&self, link: LinkId, close: bool) {
        if let Some(signal) = self.links.lock().get(&link) {
            if close {
                signal.closing.store(true, Ordering::Release);
            }
            signal.wake.notify_one();
        }
    }

    /// Enters the node for a link that begins. Its task may come to [`link_signal`](Self::link_signal)
    /// late: what the node tells it meanwhile waits there.
    pub fn open_link(&self, open: impl FnOnce(&mut Node, Now) -> Option<LinkId>) -> Option<LinkId> {
        self.enter(|node, now| {
            let link = open(node, now)?;
            self.links.lock().entry(link).or_default();
            Some(link)
        })
    }

    /// Where the task of `link` hears what to do. Ask for it before the link's first input.
    pub fn link_signal(&self, link: LinkId) -> Arc<LinkSignal> {
        self.links.lock().entry(link).or_default().clone()
    }

    /// Puts into `buffer` what is to be sent on `link` next, `budget` bytes or little more, and waits until
    /// there is something. False, and nothing in it, when all is sent and the link is to be closed.
    pub async fn next_transmit(
        &self,
        link: LinkId,
        signal: &LinkSignal,
        buffer: &mut Vec<u8>,
        budget: usize,
    ) -> bool {
        loop {
            // Looked at first: what the node says last, it says before it asks for the end.
            let closing = signal.is_closing();
            let leaving = self.phase() == Phase::Leaving;
            buffer.clear();
            self.enter(|node, now| node.poll_transmit(link, buffer, budget, now));
            if !buffer.is_empty() {
                return true;
            } else if closing {
                return false;
            } else if leaving {
                // All is sent; the other side is told why nothing more comes.
                self.enter(|node, now| node.handle_link_end(link, now));
            } else {
                // An idle link keeps no buffer.
                *buffer = Vec::new();
                tokio::select! {
                    () = signal.woken() => {}
                    () = self.reached(Phase::Leaving) => {}
                }
            }
        }
    }

    /// The task of `link` has ended.
    pub fn forget_link(&self, link: LinkId) {
        self.links.lock().remove(&link);
    }

    /// Calls the node when its timers are due; ends with the process.
    pub async fn run_timers(&self) {
        loop {
            let due = self.locked.lock().node.poll_timeout();
            self.armed.store(due.map_or(u64::MAX, Instant::nanos), Ordering::Relaxed);
            // A timer set between the two lines above is seen here.
            if self.locked.lock().node.poll_timeout() != due {
                continue;
            }
            let wait = due.map(|at| at.since(self.now().instant));
            match wait {
                Some(Duration::ZERO) => self.enter(Node::handle_timeout),
                Some(wait) => {
                    // Either way the loop looks again.
                    let _elapsed = tokio::time::timeout(wait, self.timer.notified()).await;
                }
                None => self.timer.notified().await,
            }
        }
    }

    /// The server begins the next phase of its life; it never goes back.
    pub fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|now| std::mem::replace(now, (*now).max(phase)) < phase);
    }

    /// Where the server is in its life.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Returns when `phase` has begun.
    pub async fn reached(&self, phase: Phase) {
        let mut watched = self.phase.subscribe();
        // The sender lives as long as this borrow: waiting cannot fail.
        let _reached = watched.wait_for(|&now| now >= phase).await;
    }
}

/// Where a server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It takes clients.
    Serving,
    /// It answers what was asked, and takes no more.
    Draining,
    /// Its clients are gone; neighbors are sent what they lack, and their links closed.
    Leaving,
}

/// What the node tells the task of one link.
#[derive(Debug, Default)]
pub struct LinkSignal {
    closing: AtomicBool,
    wake: Notify,
}

impl LinkSignal {
    /// Whether the link is to be closed.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Returns when there may be something to send, or the link is to be closed.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }
}

/// Both clocks of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Tokio's, so that both stand still in a test whose time is made up.
    started: tokio::time::Instant,
}

impl Clock {
    /// Counts its moments from now.
    pub fn start() -> Self {
        Self { started: tokio::time::Instant::now() }
    }

    /// Reads both.
    pub fn now(&self) -> Now {
        let instant = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // A clock before 1970 reads as 1970: every report is then from the future, and clamped.
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let unix = i64::try_from(unix.as_nanos()).unwrap_or(i64::MAX);
        Now { instant: Instant::from_nanos(instant), unix: UnixTime::from_nanos(unix) }
    }
}
