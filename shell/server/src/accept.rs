//! Taking connections: bounded in number, told in the log, each a task of its own.

use crate::config::{AcceptAtFrom, Config, Protocol};
use crate::dial::Links;
use crate::lanes::Lanes;
use crate::link::Socket;
use herd_front::line::{Ended, Limits, MayRelay, serve};
use herd_front::{Host, Seat};
use parking_lot::RwLock;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tracing::{info, warn};

/// Everything a client's task needs.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    host: Arc<Host>,
    links: Links,
    limits: Limits,
    write_timeout: Duration,
    connections_max: u64,
    relays: Arc<RwLock<Relays>>,
}

/// Who may speak for a server without having said hello.
#[derive(Clone, Debug)]
enum Relays {
    Anyone,
    /// The machines of the foreign servers that are peers.
    From(BTreeSet<IpAddr>),
}

impl Relays {
    fn new(config: &Config, name: &str) -> Self {
        match config.accept_at_from(name) {
            AcceptAtFrom::Anyone => Self::Anyone,
            AcceptAtFrom::Peers => {
                let neighbors = config.neighbors(name).into_iter();
                let foreign = neighbors.filter(|neighbor| neighbor.protocol == Protocol::At);
                Self::From(foreign.map(|n| n.address.ip()).collect())
            }
        }
    }
}

impl Clients {
    pub(crate) fn new(host: Arc<Host>, links: Links, config: &Config, name: &str) -> Self {
        let limits = &config.limits;
        Self {
            host,
            links,
            limits: Limits {
                line_bytes_max: limits.max_line_bytes,
                reply_bytes_max: limits.max_reply_bytes,
                waiting_answers_max: limits.max_waiting_answers,
            },
            write_timeout: limits.write_timeout,
            connections_max: limits.max_connections as u64,
            relays: Arc::new(RwLock::new(Relays::new(config, name))),
        }
    }

    /// Who may speak for a server from now on; connections that are open keep what they may.
    pub(crate) fn set_neighbors(&self, config: &Config, name: &str) {
        *self.relays.write() = Relays::new(config, name);
    }

    fn may_relay(&self, peer: IpAddr) -> MayRelay {
        match &*self.relays.read() {
            Relays::Anyone => MayRelay::Yes,
            Relays::From(machines) if machines.contains(&peer) => MayRelay::Yes,
            Relays::From(_) => MayRelay::No,
        }
    }

    async fn serve(self, stream: TcpStream, peer: SocketAddr, seat: Seat) {
        // Small replies leave at once; a socket that refuses is about to fail anyway.
        let _refused = stream.set_nodelay(true);
        info!(%peer, "connection accepted");
        let (host, may_relay) = (&*self.host, self.may_relay(peer.ip()));
        let ended = serve(stream, peer, self.limits, may_relay, self.write_timeout, host).await;
        match ended {
            Ended::ByClient => info!(%peer, "connection closed by the client"),
            Ended::Drained => info!(%peer, "connection closed: stopping"),
            Ended::Stalled => {
                host.stats.stalled.fetch_add(1, Relaxed);
                info!(%peer, "connection dropped: the client takes no replies");
            }
            Ended::Failed(error) => info!(%peer, %error, "connection lost"),
            Ended::BecameLink(stream, start) => {
                // Apart, so that a client's task need not have room for a link's.
                let socket = Socket { stream, address: peer };
                Box::pin(self.links.run_accepted(socket, &start, seat)).await;
            }
        }
    }
}

/// Takes connections and deals them out until it is aborted.
pub(crate) async fn run(clients: Clients, listener: TcpListener, lanes: Arc<Lanes>) {
    /// After this error the system needs time more than anything else: out of files or memory.
    const AFTER_ERROR: Duration = Duration::from_millis(50);
    loop {
        let stats = &clients.host.stats;
        match listener.accept().await {
            Ok((stream, peer)) if stats.open.load(Relaxed) >= clients.connections_max => {
                stats.turned_away.fetch_add(1, Relaxed);
                warn!(%peer, limit = clients.connections_max, "connection turned away: too many");
                drop(stream);
            }
            Ok((stream, peer)) => {
                stats.accepted.fetch_add(1, Relaxed);
                // Taken here and not by the task, which may begin when nobody waits for it any more.
                let seat = Seat::take(&clients.host);
                let clients = clients.clone();
                lanes.serve(stream, move |stream| clients.serve(stream, peer, seat));
            }
            // The client was gone before it was taken.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                warn!(%error, "cannot take connections");
                sleep(AFTER_ERROR).await;
            }
        }
    }
}
