//! The links of the demo as wires that can be cut: each leads through a relay in the demo itself.
//!
//! A server believes that its neighbor listens where the relay does. While a wire is whole, what comes
//! to one end leaves at the other; when it is cut, both ends close, and whoever dials is turned away.

use anyhow::Context as _;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// A wire for each link. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Wires {
    wires: Vec<Wire>,
    relays: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Wire {
    ends: (usize, usize),
    whole: Arc<watch::Sender<bool>>,
}

/// Where one server finds another.
pub(super) type Routes = BTreeMap<(usize, usize), SocketAddr>;

impl Wires {
    /// Lays a wire for each link between servers at these addresses, and says which server dials which
    /// address to come to which other.
    pub(super) async fn lay(
        links: &[(usize, usize)],
        addresses: &[SocketAddr],
    ) -> anyhow::Result<(Self, Routes)> {
        let mut laid = Self { wires: Vec::new(), relays: Vec::new() };
        let mut routes = Routes::new();
        for &ends in links {
            let whole = Arc::new(watch::Sender::new(true));
            // Either side may dial, so each has an end to dial.
            for (from, to) in [ends, (ends.1, ends.0)] {
                let Some(&target) = addresses.get(to) else { continue };
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
                let listener = listener.context("no free port for a link")?;
                let address = listener.local_addr().context("no free port for a link")?;
                routes.insert((from, to), address);
                laid.relays.push(tokio::spawn(relay(listener, target, whole.clone())));
            }
            laid.wires.push(Wire { ends, whole });
        }
        Ok((laid, routes))
    }

    /// The two servers of each wire, and whether it is whole.
    pub(super) fn all(&self) -> impl Iterator<Item = ((usize, usize), bool)> {
        self.wires.iter().map(|wire| (wire.ends, *wire.whole.borrow()))
    }

    /// Cuts a wire that is whole, mends one that is cut; whether it is whole now.
    pub(super) fn toggle(&self, wire: usize) -> Option<bool> {
        let wire = self.wires.get(wire)?;
        wire.whole.send_modify(|whole| *whole = !*whole);
        Some(*wire.whole.borrow())
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        for relay in &self.relays {
            relay.abort();
        }
        for wire in &self.wires {
            // Connections end with their wire; their tasks are nobody else's.
            wire.whole.send_replace(false);
        }
    }
}

async fn relay(listener: TcpListener, target: SocketAddr, whole: Arc<watch::Sender<bool>>) {
    loop {
        let Ok((near, _)) = listener.accept().await else {
            // Out of files, perhaps; it does not help to ask at once.
            sleep(ACCEPT_AGAIN_AFTER).await;
            continue;
        };
        if *whole.borrow() {
            tokio::spawn(carry(near, target, whole.subscribe()));
        }
    }
}

const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

async fn carry(mut near: TcpStream, target: SocketAddr, mut whole: watch::Receiver<bool>) {
    let passed = async {
        let mut far = TcpStream::connect(target).await?;
        // What leaves one server at once arrives at once.
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        copy_bidirectional(&mut near, &mut far).await
    };
    tokio::select! {
        // However it ends, both servers see their end close and know what to do.
        _ended = passed => {}
        _cut = whole.wait_for(|whole| !whole) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    const DEADLINE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_wire_carries_until_it_is_cut_and_again_when_it_is_mended() {
        let servers = [TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0")];
        let [one, other] = servers;
        let (one, other) = (one.await.unwrap(), other.await.unwrap());
        let addresses = [one.local_addr().unwrap(), other.local_addr().unwrap()];
        let (wires, routes) = Wires::lay(&[(0, 1)], &addresses).await.unwrap();
        assert_eq!(wires.all().collect::<Vec<_>>(), [((0, 1), true)]);
        let check = async {
            for (from, to, server) in [(0, 1, &other), (1, 0, &one)] {
                let mut near = TcpStream::connect(routes[&(from, to)]).await.unwrap();
                let (mut far, _) = server.accept().await.unwrap();
                near.write_all(b"hello").await.unwrap();
                let mut heard = [0; 5];
                far.read_exact(&mut heard).await.unwrap();
                assert_eq!(&heard, b"hello");
                far.write_all(b"heard").await.unwrap();
                near.read_exact(&mut heard).await.unwrap();
                assert_eq!(&heard, b"heard");

                assert_eq!(wires.toggle(0), Some(false));
                let mut end = [0; 1];
                assert!(matches!(near.read(&mut end).await, Ok(0) | Err(_)));
                assert!(matches!(far.read(&mut end).await, Ok(0) | Err(_)));
                let mut turned_away = TcpStream::connect(routes[&(from, to)]).await.unwrap();
                assert!(matches!(turned_away.read(&mut end).await, Ok(0) | Err(_)));
                assert_eq!(wires.toggle(0), Some(true));
            }
        };
        timeout(DEADLINE, check).await.unwrap();
    }
}
