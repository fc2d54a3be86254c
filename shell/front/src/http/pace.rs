//! The pace of requests that enter the node many times.

use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

/// How long such a request works before it rests. The system interrupts a thread that always works at any moment, and
/// mostly while it holds the lock, for which all others then wait.
const WORKS: Duration = Duration::from_millis(1);

/// How long it rests: as short as the runtime can.
const RESTS: Duration = Duration::from_millis(1);

/// When to rest.
#[derive(Debug)]
pub(super) struct Pace {
    rested: Instant,
}

impl Pace {
    /// Work begins now.
    pub(super) fn start() -> Self {
        Self { rested: Instant::now() }
    }

    /// Lets others work, and rests if it is time to; to be called between two times that the node is entered.
    pub(super) async fn keep(&mut self) {
        if self.rested.elapsed() < WORKS {
            return yield_now().await;
        }
        sleep(RESTS).await;
        self.rested = Instant::now();
    }
}
