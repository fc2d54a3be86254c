//! Addresses that no other process has.
//!
//! The system hands out the ports. Between that and the server's own bind a port is nobody's, and a
//! killed server must find its port free when it comes back; so each herd also has a loopback address
//! of its own, where neither other tests nor anybody's outgoing connections take ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// A loopback address that only one herd of one test uses.
#[derive(Clone, Copy, Debug)]
pub struct Address(IpAddr);

impl Address {
    /// One that no herd of this process has; another process has it only if its id is the same modulo
    /// 65,536, and then the ports still differ.
    pub fn unused() -> Self {
        static USED: AtomicU8 = AtomicU8::new(0);
        let [.., high, low] = process::id().to_be_bytes();
        // The first two are left to everybody else.
        let net = 2 + USED.fetch_add(1, Relaxed) % 250;
        let own = IpAddr::V4(Ipv4Addr::new(127, net, high, low));
        // Only Linux has the whole of 127/8 without being told so.
        match TcpListener::bind((own, 0)) {
            Ok(_) => Self(own),
            Err(_) => Self(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        }
    }

    /// A listener on a port of the system's choice.
    #[track_caller]
    pub fn listen(self) -> TcpListener {
        TcpListener::bind((self.0, 0)).expect("the system has a free port")
    }

    /// So many ports that are free now, no two the same.
    #[track_caller]
    pub fn free_ports(self, count: usize) -> Vec<SocketAddr> {
        let listeners: Vec<_> = (0..count).map(|_| self.listen()).collect();
        let address = |listener: &TcpListener| listener.local_addr().expect("it is bound");
        listeners.iter().map(address).collect()
    }
}
