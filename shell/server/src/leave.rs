//! Leaving the herd for good: not before what this server knows is held elsewhere.

use herd_front::Host;
use herd_front::http::LeaveOutcome;
use herd_node::Held;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long it may take until what was written last is held elsewhere. Peers say so within some
/// 20 ms of a round trip, unless they are behind.
pub(crate) const LEAVE_WITHIN: Duration = Duration::from_secs(10);

/// What a stop may take beyond its deadline, so that the operator who asked for it gets an answer.
pub(crate) const MARGIN: Duration = Duration::from_secs(1);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Returns once all that this server holds is held by every peer that is linked.
///
/// # Errors
///
/// A sentence that says what would be lost, if they do not hold it by then.
pub(crate) async fn held_elsewhere(host: &Host, deadline: Instant) -> Result<(), String> {
    loop {
        let held = host.enter(|node, _now| node.held_elsewhere());
        let late = Instant::now() >= deadline;
        match held {
            Held::ByPeers => return Ok(()),
            Held::Nowhere if late => {
                return Err(
                    "no neighbor is linked, so what only this server holds would be lost; \
                            repair a link first, or stop it with SIGTERM if it may be lost"
                        .to_owned(),
                );
            }
            Held::NotByAllPeers if late => {
                return Err("a neighbor does not yet hold all that this server holds; try again \
                            when the herd is quieter, or stop it with SIGTERM if it may be lost"
                    .to_owned());
            }
            Held::Nowhere | Held::NotByAllPeers => {}
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The outcome of a leave whose server takes no more clients.
pub(crate) fn outcome(held: &Result<(), String>) -> LeaveOutcome {
    match held {
        Ok(()) => LeaveOutcome::Left,
        Err(_) => LeaveOutcome::LeftInDoubt(
            "a link was lost meanwhile: what it took in last may be lost with it".to_owned(),
        ),
    }
}
