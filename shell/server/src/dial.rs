//! The links of a server: dialing when the node asks for it, and counting them to the end.

use crate::config::{Config, Neighbor};
use crate::link::{self, Socket};
use herd_front::{Host, Order, Phase, Seat};
use herd_node::{Event, Node, PeerId, ReplicaEvent};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

/// The links of one server.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    host: Arc<Host>,
    /// By name.
    peers: Arc<Mutex<BTreeMap<String, Arc<Peer>>>>,
    settings: link::Settings,
    connect_timeout: Duration,
    running: watch::Sender<usize>,
}

impl Links {
    pub(crate) fn new(host: Arc<Host>, config: &Config, name: &str) -> Self {
        let limits = &config.limits;
        let settings = link::Settings {
            line_bytes_max: limits.max_line_bytes,
            write_timeout: limits.write_timeout,
        };
        let connect_timeout = limits.hello_timeout;
        let running = watch::Sender::new(0);
        let links = Self { host, peers: Arc::default(), settings, connect_timeout, running };
        links.set_neighbors(config, name);
        links
    }

    /// Where peers are dialed from now on.
    pub(crate) fn set_neighbors(&self, config: &Config, name: &str) {
        let peer = |neighbor: Neighbor<'_>| {
            let (address, unreachable) = (neighbor.address, AtomicBool::new(false));
            (neighbor.name.to_owned(), Arc::new(Peer { address, unreachable }))
        };
        *self.peers.lock() = config.neighbors(name).into_iter().map(peer).collect();
    }

    /// Drives a connection on which another server has said hello; it was taken for a client's.
    pub(crate) async fn run_accepted(&self, socket: Socket<TcpStream>, start: &[u8], seat: Seat) {
        let _running = Running::begin(&self.running);
        // Not before: in between, a server that stops would not know of the connection.
        drop(seat);
        let Some(link) = self.host.open_link(|node, now| Some(node.handle_accepted(now))) else {
            return;
        };
        link::run(&self.host, link, socket, start, self.settings).await;
    }

    async fn dial(self, peer: PeerId) {
        if self.host.phase() > Phase::Serving {
            return;
        }
        let name = self.host.enter(|node, _now| node.peer_name(peer).to_owned());
        let Some(settings) = self.peers.lock().get(&name).cloned() else {
            // The config has just lost it, and the node is about to be told.
            let error = "no peer any more".to_owned();
            self.host.enter(|node, now| node.handle_connect_failed(peer, error, now));
            return;
        };
        let address = settings.address;
        let connected = match timeout(self.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no connection within {:?}", self.connect_timeout)),
        };
        let stream = match connected {
            Ok(stream) => stream,
            Err(error) => {
                // Told once; the attempts go on for as long as the peer is away.
                if settings.unreachable.swap(true, Relaxed) {
                    debug!(peer = name, %address, error, "still cannot reach a peer");
                } else {
                    warn!(peer = name, %address, error, "cannot reach a peer");
                }
                self.host.enter(|node, now| node.handle_connect_failed(peer, error, now));
                return;
            }
        };
        settings.unreachable.store(false, Relaxed);
        info!(peer = name, %address, "dialed a peer");
        let Some(link) = self.host.open_link(|node, now| node.handle_connected(peer, now)) else {
            return;
        };
        let _running = Running::begin(&self.running);
        link::run(&self.host, link, Socket { stream, address }, &[], self.settings).await;
    }

    /// Looks for a sign of life of a peer on whose link nothing comes: even where its process is starved, the system
    /// there accepts connections.
    async fn probe(self, peer: PeerId) {
        let name = self.host.enter(|node, _now| node.peer_name(peer).to_owned());
        let Some(settings) = self.peers.lock().get(&name).cloned() else { return };
        let connected = timeout(self.connect_timeout, TcpStream::connect(settings.address)).await;
        let is_alive = match connected {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
            Err(_) => false,
        };
        debug!(peer = name, is_alive, "a peer is silent");
        if is_alive {
            self.host.enter(|node: &mut Node, now| node.handle_sign_of_life(peer, now));
        }
    }

    /// Returns when no link is left.
    pub(crate) async fn all_gone(&self) {
        let mut running = self.running.subscribe();
        // The sender lives as long as this borrow: waiting cannot fail.
        let _none = running.wait_for(|&count| count == 0).await;
    }
}

/// A peer, as it is dialed.
#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    /// The last attempt failed, and the log knows.
    unreachable: AtomicBool,
}

/// Counts a link for as long as it lives.
struct Running<'a>(&'a watch::Sender<usize>);

impl<'a> Running<'a> {
    fn begin(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Carries out what the node asks for, until the server ends.
pub(crate) async fn run(links: Links, mut orders: mpsc::UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Connect(peer) => {
                tokio::spawn(links.clone().dial(peer));
            }
            Order::Probe(peer) => {
                tokio::spawn(links.clone().probe(peer));
            }
            Order::Event(event) => tell(event),
        }
    }
}

/// Writes what the node has to say to the log.
fn tell(event: Event) {
    match event {
        Event::LinkUp { peer, dialed, incarnation, frames } => {
            let protocol = if frames.is_some() { "native" } else { "at" };
            info!(peer, dialed, incarnation, protocol, frames, "link up");
        }
        Event::CaughtUp { peer, after } => info!(peer, ?after, "caught up with a peer"),
        Event::LinkDown { peer, reason } => {
            let peer = peer.as_deref().unwrap_or("?");
            warn!(peer, %reason, "link down");
        }
        Event::Replica(ReplicaEvent::Repaired { records }) => {
            error!(
                records,
                "records were missing here although they had been confirmed; they have been fetched. \
                 Nothing is lost, but this must not happen: please report it with both logs"
            );
        }
        Event::Renewed { incarnation } => {
            warn!(
                incarnation,
                "a peer knew a later incarnation of this server: it has taken a new one and keeps all records. \
                 Was the clock of this machine set back?"
            );
        }
        Event::SecondOfOwnName => {
            error!("another process of this server's name runs in the herd: stop one of the two");
        }
        Event::Replica(event) => info!(?event, "agreement between servers"),
        Event::NotUnderstood { peer, line } => warn!(peer, line, "not understood by a peer"),
        Event::Clamped { ahead } => {
            warn!(?ahead, "a report's time is far ahead of this server's clock");
        }
    }
}
