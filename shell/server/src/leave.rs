//! Leaving the herd for good: not before what this server knows is held elsewhere.

use herd_front::Host;
use herd_front::http::LeaveOutcome;
use herd_node::Held;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long it may take until what was written last is held elsewhere. Neighbours say so within some
/// 20 ms of a round trip, servers further away within some seconds.
pub(crate) const LEAVE_WITHIN: Duration = Duration::from_secs(10);

/// What a stop may take beyond its deadline, so that whoever had the server leave hears of it.
pub(crate) const MARGIN: Duration = Duration::from_secs(1);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Returns once all that this server holds is held by others: by every server that was heard of lately,
/// or, when the time is up, at least by every neighbour.
///
/// # Errors
///
/// A sentence that says what would be lost, if not even neighbours hold it by then.
pub(crate) async fn held_elsewhere(host: &Host, deadline: Instant) -> Result<Held, String> {
    loop {
        let held = host.enter(|node, _now| node.held_elsewhere());
        let late = Instant::now() >= deadline;
        match held {
            Held::ByAll => return Ok(held),
            Held::ByNeighbors if late => return Ok(held),
            Held::Nowhere if late => {
                return Err(
                    "no neighbour is linked, so what only this server holds would be lost; \
                            mend a link first, or stop it with SIGTERM if it may be lost"
                        .to_owned(),
                );
            }
            Held::NotByAllNeighbors if late => {
                return Err("a neighbour does not yet hold all that this server holds; try again \
                            when the herd is quieter, or stop it with SIGTERM if it may be lost"
                    .to_owned());
            }
            Held::Nowhere | Held::NotByAllNeighbors | Held::ByNeighbors => {}
        }
        sleep(LOOK_EVERY).await;
    }
}

/// How a leave ends whose server takes no more clients.
pub(crate) fn outcome(held: &Result<Held, String>) -> LeaveOutcome {
    match held {
        Ok(Held::ByAll) => LeaveOutcome::Left,
        Ok(_) => LeaveOutcome::LeftToNeighbors,
        Err(_) => LeaveOutcome::LeftInDoubt(
            "a link was lost meanwhile: what it took in last may be lost with it".to_owned(),
        ),
    }
}
