//! Waiting for a condition with a deadline: the only way in which anything here waits.

use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// How long anything may take that should happen at once. Long, since it is only ever waited out by a
/// test that fails, and a machine that runs several suites at a time is slow.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(4);

/// Looks again and again until `look` finds something; `what` is said when it does not in time.
#[track_caller]
pub fn wait_for<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {within:?} in vain: {what}");
        park_timeout(PAUSE);
    }
}

/// Looks again and again until `holds` does.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, PATIENCE, || holds().then_some(()));
}

/// The value of `read` once it has stayed the same over many looks in a row: that something has come to
/// rest cannot be seen in one.
#[track_caller]
pub fn settled<T: PartialEq>(what: &str, mut read: impl FnMut() -> T) -> T {
    const LOOKS: u32 = 25;
    let mut last = read();
    let mut same = 0;
    wait_until(what, || {
        let now = read();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same >= LOOKS
    });
    last
}
