//! What tasks on several threads share: the lock, the counters and the bell.
//!
//! In this crate's own tests they are shuttle's, so that a test may run the threads in any order
//! (`host/interleavings.rs`). Left out: `watch` and `mpsc` are tokio's there too, and so is what is within
//! `Notify`: each of their calls is one step.

#[cfg(not(test))]
pub(crate) use parking_lot::Mutex;
#[cfg(test)]
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64};
#[cfg(not(test))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64};
#[cfg(not(test))]
pub(crate) use tokio::sync::Notify;

/// Shuttle's lock as `parking_lot` would have it: it is never poisoned.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

#[cfg(test)]
impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap()
    }
}

/// Tokio's, with a moment before each call in which others may run.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Notify(tokio::sync::Notify);

#[cfg(test)]
impl Notify {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn notify_one(&self) {
        shuttle::thread::yield_now();
        self.0.notify_one();
    }

    pub(crate) fn notify_waiters(&self) {
        shuttle::thread::yield_now();
        self.0.notify_waiters();
    }

    pub(crate) fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        shuttle::thread::yield_now();
        self.0.notified()
    }
}
