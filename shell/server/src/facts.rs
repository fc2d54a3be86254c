//! Telling the node what only its process can know, so that the whole herd can be told.

use herd_front::{Host, Phase};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// As often as servers tell one another what they are like.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Tells it again and again; ends with the process.
pub(crate) async fn run(host: Arc<Host>, version: &'static str) {
    loop {
        let facts = host.facts(version);
        let draining = facts.draining;
        host.enter(|node, _now| node.set_host_facts(facts));
        tokio::select! {
            () = sleep(TELL_EVERY) => {}
            // The others should know before it is gone.
            () = host.reached(Phase::Draining), if !draining => {}
        }
    }
}
