//! The links of a server: dialing when the node says so, and counting them to the end.

use crate::config::Config;
use crate::link::{self, Socket};
use herd_front::{Host, Order, Phase};
use herd_node::{Event, PeerId};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::{debug, info, warn};

/// The links of one server.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    host: Arc<Host>,
    /// By peer number.
    addresses: Arc<Vec<SocketAddr>>,
    settings: link::Settings,
    connect_timeout: Duration,
    running: watch::Sender<usize>,
}

impl Links {
    pub(crate) fn new(host: Arc<Host>, config: &Config, name: &str) -> Self {
        let addresses = config.neighbors(name).iter().map(|neighbor| neighbor.address).collect();
        let limits = &config.limits;
        let settings = link::Settings {
            line_bytes_max: limits.max_line_bytes,
            dead_after: limits.link_dead,
            write_timeout: limits.write_timeout,
        };
        let connect_timeout = limits.hello_timeout;
        let running = watch::Sender::new(0);
        Self { host, addresses: Arc::new(addresses), settings, connect_timeout, running }
    }

    /// Drives a connection on which another server has said hello.
    pub(crate) async fn run_accepted(&self, socket: Socket, start: &[u8]) {
        let link = self.host.enter(herd_node::Node::handle_accepted);
        let _running = Running::begin(&self.running);
        link::run(&self.host, link, socket, start, self.settings).await;
    }

    async fn dial(self, peer: PeerId) {
        if self.host.phase() > Phase::Serving {
            return;
        }
        let Some(&address) = self.addresses.get(peer.0) else { return };
        let connected = match timeout(self.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no connection within {:?}", self.connect_timeout)),
        };
        match connected {
            Ok(stream) => {
                debug!(%address, "dialed");
                let Some(link) = self.host.enter(|node, now| node.handle_connected(peer, now))
                else {
                    return;
                };
                let _running = Running::begin(&self.running);
                link::run(&self.host, link, Socket { stream, address }, &[], self.settings).await;
            }
            Err(error) => {
                let name = self.host.enter(|node, now| {
                    node.handle_connect_failed(peer, error.clone(), now);
                    node.peer_name(peer).to_owned()
                });
                debug!(peer = name, %address, error, "cannot reach a neighbour");
            }
        }
    }

    /// Returns when no link is left.
    pub(crate) async fn all_gone(&self) {
        let mut running = self.running.subscribe();
        // The sender lives as long as this borrow: waiting cannot fail.
        let _none = running.wait_for(|&count| count == 0).await;
    }
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

/// Carries out what the node orders, until the server ends.
pub(crate) async fn run(links: Links, mut orders: mpsc::UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Connect(peer) => {
                tokio::spawn(links.clone().dial(peer));
            }
            Order::Event(event) => tell(event),
        }
    }
}

/// Writes what the node has to say to the log.
fn tell(event: Event) {
    match event {
        Event::LinkUp { peer, dialed, plain } => {
            let protocol = if plain { "at" } else { "native" };
            info!(peer, dialed, protocol, "link up");
        }
        Event::CaughtUp { peer, after } => info!(peer, ?after, "caught up with a neighbour"),
        Event::LinkDown { peer, reason } => {
            let peer = peer.as_deref().unwrap_or("?");
            warn!(peer, %reason, "link down");
        }
        Event::NotUnderstood { peer, line } => warn!(peer, line, "not understood by a neighbour"),
        Event::Clamped { ahead } => {
            warn!(?ahead, "a report's time is far ahead of this server's clock");
        }
    }
}
