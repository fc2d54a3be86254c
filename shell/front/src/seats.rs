//! How many clients are connected, and when the last has gone.

use crate::host::{Host, Phase};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A client's seat among those that may be connected at once, from the moment it was accepted: a server
/// that stops waits for whoever has one.
#[derive(Debug)]
pub struct Seat(Arc<Host>);

impl Seat {
    /// One more client is connected.
    pub fn take(host: &Arc<Host>) -> Self {
        host.stats.open.fetch_add(1, Relaxed);
        Self(host.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.stats.open.fetch_sub(1, Relaxed);
        // Whoever reads an earlier phase here has given up the seat before anybody waits for it: the
        // phase's own lock orders the two.
        if self.0.phase() > Phase::Serving {
            self.0.seat_given_up.notify_waiters();
        }
    }
}

impl Host {
    /// Returns when no client is connected. Only from [`Phase::Draining`] on is anybody told of it.
    pub async fn clients_gone(&self) {
        loop {
            // Listens before it looks: a client that goes in between is heard.
            let given_up = self.seat_given_up.notified();
            if self.stats.open.load(Relaxed) == 0 {
                return;
            }
            given_up.await;
        }
    }
}
