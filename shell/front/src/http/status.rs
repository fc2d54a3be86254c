//! What `/status` and `/readyz` say.

use crate::durability::Mode;
use crate::host::{Host, Phase};
use herd_node::{PeerState, PeerStatus};
use serde::Serialize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Whether clients should be sent here.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are the JSON members")]
pub(super) struct Ready {
    pub(super) ready: bool,
    /// What stands in the way; empty when ready.
    reasons: Vec<String>,
    /// Peers without a link that is up and caught up.
    missing: Vec<Missing>,
    /// How reports are kept.
    storage: Storage,
}

#[derive(Debug, Serialize)]
struct Storage {
    /// `memory`, `durable`, `degraded` or `refusing`.
    state: &'static str,
    /// Why the disk takes nothing now.
    error: Option<String>,
    /// Bytes of the file that counts.
    bytes: Option<u64>,
}

impl Storage {
    fn of(host: &Host) -> Self {
        let disk = host.durability.disk();
        let state = match (host.durability.mode(), &disk) {
            (Mode::Memory, None) => "memory",
            (Mode::Memory, Some(_)) => "degraded",
            (Mode::Durable, _) => "durable",
            (Mode::Refused, _) => "refusing",
        };
        let bytes = disk.as_ref().map(|disk| disk.bytes);
        Self { state, error: disk.and_then(|disk| disk.trouble), bytes }
    }
}

#[derive(Debug, Serialize)]
struct Missing {
    server: String,
    state: &'static str,
}

pub(super) fn readiness(host: &Host) -> Ready {
    let readiness = host.enter(|node, now| node.readiness(now));
    let draining = host.phase() > Phase::Serving;
    let storage = Storage::of(host);
    let refusing = host.durability.mode() == Mode::Refused;
    let ready = readiness.ready && !draining && !refusing;
    let mut reasons = Vec::new();
    if refusing {
        let error = storage.error.as_deref().unwrap_or("the disk fails");
        reasons.push(format!("reports are refused: {error}"));
    }
    if draining {
        reasons.push("stopping: no new clients are taken".to_owned());
    }
    if !readiness.ready {
        let waits = readiness.missing.iter().map(|(name, state)| match state {
            PeerState::CatchingUp => format!("catching up with {name}"),
            PeerState::Down | PeerState::Connecting | PeerState::Up => {
                format!("waiting for the link to {name}")
            }
        });
        reasons.extend(waits);
    }
    let missing = readiness.missing.into_iter();
    let missing = missing.map(|(server, state)| Missing { server, state: state.word() }).collect();
    Ready { ready, reasons, missing, storage }
}

/// One server, as it sees itself.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    herd: String,
    server: String,
    version: &'static str,
    ready: bool,
    uptime_s: f64,
    clients: usize,
    connections: u64,
    updates: u64,
    storage: Storage,
    links: Vec<LinkStatus>,
}

#[derive(Debug, Serialize)]
struct LinkStatus {
    server: String,
    protocol: &'static str,
    state: &'static str,
    /// How long it has been in that state.
    for_s: f64,
    /// Milliseconds; null until it was measured.
    round_trip_ms: Option<f64>,
    last_error: Option<String>,
    records_sent: u64,
    records_received: u64,
    bytes_sent: u64,
    bytes_received: u64,
    /// Links that ended because nothing came for too long.
    timeouts: u64,
    /// Links that ended because the peer broke the protocol.
    faults: u64,
}

pub(super) fn status(host: &Host, version: &'static str) -> Status {
    let ready = readiness(host).ready;
    host.enter(|node, now| Status {
        herd: host.herd.clone(),
        server: host.name.clone(),
        version,
        ready,
        uptime_s: Duration::from_nanos(now.instant.nanos()).as_secs_f64(),
        clients: node.clients(),
        connections: host.stats.open.load(Relaxed),
        updates: node.counters().updates,
        storage: Storage::of(host),
        links: node.peers().map(|peer| link(peer, now.instant)).collect(),
    })
}

fn link(peer: PeerStatus, now: herd_proto::Instant) -> LinkStatus {
    LinkStatus {
        protocol: peer.dialect.word(),
        state: peer.state.word(),
        for_s: now.since(peer.since).as_secs_f64(),
        round_trip_ms: peer.round_trip.map(|trip| trip.as_secs_f64() * 1e3),
        last_error: peer.last_error,
        records_sent: peer.counters.records_sent,
        records_received: peer.counters.records_received,
        bytes_sent: peer.counters.bytes_sent,
        bytes_received: peer.counters.bytes_received,
        timeouts: peer.counters.timeouts,
        faults: peer.counters.faults,
        server: peer.name,
    }
}
