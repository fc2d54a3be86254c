//! `POST /audit`: this server compares what it knows with its peers, and says what that showed.
//!
//! While reports come in, two servers that agree differ all the same by what is on its way. So peers are compared
//! with again for a while in the hope of a quiet moment, and what differs then counts only if the other server
//! believed that this one had it.

use crate::host::Host;
use herd_node::{ComparisonReport, Dialect, PeerState};
use herd_proto::Instant;
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant as Deadline, sleep};

/// What a comparison showed.
#[derive(Debug, Serialize)]
pub(super) struct AuditDocument {
    server: String,
    /// Whether every peer was compared with, and nothing was missing that should not.
    same: bool,
    neighbors: Vec<Compared>,
    /// Comparisons that had not ended when the time was up.
    under_way: usize,
    /// Records that were missing here although they had been confirmed, and were fetched meanwhile. Any at all means a
    /// fault in a program or a disk.
    repaired: u64,
    /// The same since the server started.
    repaired_ever: u64,
    /// Comparisons since the server started.
    rounds_ever: u64,
}

#[derive(Debug, Serialize)]
struct Compared {
    server: String,
    /// `same`; `moving`: it differed by what was on its way; `silent`: it did not answer in time;
    /// `unlinked`: its link is not up; `plain`: it speaks AT lines alone and cannot compare.
    outcome: &'static str,
}

/// How long two servers may go on differing by what is on its way: until then they are compared again
/// in the hope of a quiet moment.
const QUIET_WITHIN: Duration = Duration::from_secs(3);

/// When an answer is given in any case.
const ANSWER_WITHIN: Duration = Duration::from_secs(12);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) async fn audit(host: &Host) -> AuditDocument {
    let begun = Deadline::now();
    let repairs_before = host.enter(|node, _now| node.comparisons().repairs);
    let mut started = start(host);
    loop {
        sleep(LOOK_EVERY).await;
        let report = host.enter(|node, _now| node.comparisons());
        let compared =
            |verdict: Option<herd_node::Verdict>| verdict.filter(|verdict| verdict.at >= started);
        let verdicts: Vec<_> = report.links.iter().map(|&(_, verdict)| compared(verdict)).collect();
        let all = verdicts.iter().all(Option::is_some);
        let quiet = verdicts.iter().flatten().all(|verdict| verdict.ranges_differing == 0);
        let over = begun.elapsed() >= ANSWER_WITHIN;
        let settled = all && report.under_way == 0 && (quiet || begun.elapsed() >= QUIET_WITHIN);
        if settled || over {
            return document(host, &report, started, repairs_before);
        }
        if all && !quiet && begun.elapsed() < QUIET_WITHIN {
            started = start(host);
        }
    }
}

fn start(host: &Host) -> Instant {
    host.enter(|node, now| {
        node.compare_now(now);
        now.instant
    })
}

fn document(
    host: &Host,
    report: &ComparisonReport,
    started: Instant,
    repairs_before: u64,
) -> AuditDocument {
    let neighbors: Vec<_> = host.enter(|node, _now| {
        let verdict_of = |name: &str| {
            let found = report.links.iter().find(|(id, _)| node.link_peer(*id) == name);
            found.and_then(|&(_, verdict)| verdict).filter(|verdict| verdict.at >= started)
        };
        let compared = |peer: herd_node::PeerStatus| {
            let outcome = match (peer.dialect, peer.state, verdict_of(&peer.name)) {
                (Dialect::At, ..) => "plain",
                (Dialect::Native, _, Some(verdict)) if verdict.ranges_differing == 0 => "same",
                (Dialect::Native, _, Some(_)) => "moving",
                (Dialect::Native, PeerState::Up | PeerState::CatchingUp, None) => "silent",
                (Dialect::Native, PeerState::Down | PeerState::Connecting, None) => "unlinked",
            };
            Compared { server: peer.name, outcome }
        };
        node.peers().map(compared).collect()
    });
    let repaired = report.repairs - repairs_before;
    let lasting = report.under_way > 0 || repaired > 0;
    let all = neighbors.iter().all(|one| !matches!(one.outcome, "silent" | "unlinked"));
    AuditDocument {
        server: host.name.clone(),
        same: all && !lasting,
        neighbors,
        under_way: report.under_way,
        repaired,
        repaired_ever: report.repairs,
        rounds_ever: report.rounds,
    }
}
