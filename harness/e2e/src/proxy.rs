//! A wire between two servers that a test can cut and mend.

use crate::ports::Address;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Passes on what comes to one address to another, while it is whole.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    wire: Arc<Mutex<Wire>>,
}

#[derive(Debug, Default)]
struct Wire {
    cut: bool,
    ended: bool,
    /// Both ends of all connections since it was last cut.
    open: Vec<TcpStream>,
}

impl Proxy {
    /// A whole wire to `target`.
    #[track_caller]
    pub fn to(target: SocketAddr) -> Self {
        let listener = Address::unused().listen();
        let address = listener.local_addr().expect("it is bound");
        let wire = Arc::new(Mutex::new(Wire::default()));
        let shared = wire.clone();
        thread::spawn(move || accept(&listener, target, &shared));
        Self { address, wire }
    }

    /// Its near end.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections, and each that comes as soon as it does.
    pub fn cut(&self) {
        let mut wire = lock(&self.wire);
        wire.cut = true;
        for stream in wire.open.drain(..) {
            // It may have ended already.
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        lock(&self.wire).cut = false;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        lock(&self.wire).ended = true;
        // So that the thread looks up and sees it.
        let _woken = TcpStream::connect(self.address);
    }
}

fn lock(wire: &Mutex<Wire>) -> MutexGuard<'_, Wire> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, target: SocketAddr, wire: &Mutex<Wire>) {
    for near in listener.incoming() {
        if lock(wire).ended {
            return;
        }
        let Ok(near) = near else { continue };
        let Ok(far) = TcpStream::connect(target) else { continue };
        let mut wire = lock(wire);
        if wire.cut {
            continue;
        }
        for (from, to) in [(&near, &far), (&far, &near)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
            thread::spawn(move || pass_on(from, to));
        }
        wire.open.extend([near, far]);
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(buffer.get(..count).unwrap_or_default()).is_err() {
            break;
        }
    }
    // The other end hears of it too.
    let _gone = to.shutdown(Shutdown::Both);
    let _gone = from.shutdown(Shutdown::Both);
}
