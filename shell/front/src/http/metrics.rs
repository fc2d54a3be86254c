//! `/metrics`: everything that is counted, read out when asked.

use crate::host::{HOLD_BOUNDS, Host, LockHolds};
use crate::process::Process;
use herd_node::{ComparisonReport, Counters, DELAY_BOUNDS_NS, Histogram, PeerState, PeerStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// All metrics as OpenMetrics text.
pub(super) fn encode(host: &Arc<Host>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Readout { host: host.clone() }));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

struct Readout {
    host: Arc<Host>,
}

impl fmt::Debug for Readout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readout")
    }
}

impl Collector for Readout {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (counters, clients, peers, comparisons, incarnations) =
            self.host.enter(|node, _now| {
                let peers: Vec<_> = node.peers().collect();
                let comparisons = node.comparisons();
                (node.counters().clone(), node.clients(), peers, comparisons, node.incarnations())
            });
        let out = &mut Out { encoder: &mut encoder };
        write_node(out, &counters, clients)?;
        out.gauge(
            "geoherd_incarnations",
            "Streams known here, one for each incarnation of a server that has not ended",
            incarnations as u64,
        )?;
        write_lock_holds(out, &self.host.lock_holds())?;
        write_comparisons(out, &comparisons)?;
        write_peers(out, &peers)?;
        self.write_clients(out)?;
        self.write_storage(out)?;
        write_process(out)
    }
}

struct Out<'e, 'a> {
    encoder: &'e mut DescriptorEncoder<'a>,
}

impl Out<'_, '_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.metric(name, help, None, &ConstCounter::new(value))
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.metric(name, help, None, &ConstGauge::new(value.cast_signed()))
    }

    fn histogram(&mut self, name: &str, help: &str, values: &Histogram) -> fmt::Result {
        let bounds = DELAY_BOUNDS_NS.iter().map(|&ns| ns as f64 / 1e9);
        self.buckets(name, help, bounds, values.buckets(), values.sum_seconds())
    }

    /// A histogram whose last bucket is for what lies beyond every bound.
    fn buckets(
        &mut self,
        name: &str,
        help: &str,
        bounds: impl Iterator<Item = f64>,
        counts: &[u64],
        sum: f64,
    ) -> fmt::Result {
        let bounds = bounds.chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(counts.iter().copied()).collect();
        let mut encoder =
            self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }

    fn metric(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        metric: &impl EncodeMetric,
    ) -> fmt::Result {
        let kind = metric.metric_type();
        metric.encode(self.encoder.encode_descriptor(name, help, unit, kind)?)
    }
}

fn write_node(out: &mut Out<'_, '_>, counters: &Counters, clients: usize) -> fmt::Result {
    out.gauge("geoherd_clients", "Clients whose newest report is known here", clients as u64)?;
    out.counter(
        "geoherd_updates",
        "Reports taken from clients here that were newer than what was known",
        counters.updates,
    )?;
    out.counter(
        "geoherd_reports_not_newer",
        "Reports taken from clients here that were not newer than what was known",
        counters.not_newer,
    )?;
    out.counter(
        "geoherd_relayed",
        "AT lines taken from clients and from foreign servers that dialed in",
        counters.relayed,
    )?;
    out.counter(
        "geoherd_clamped_times",
        "Reports whose time was too far ahead of this server's clock",
        counters.clamped,
    )?;
    out.histogram(
        "geoherd_propagation_seconds",
        "From the receipt of a report by its first server to its arrival here",
        &counters.propagation,
    )
}

fn write_lock_holds(out: &mut Out<'_, '_>, holds: &LockHolds) -> fmt::Result {
    out.buckets(
        "geoherd_lock_hold_seconds",
        "How long the lock of this server's state was held; of long holds the CPU time",
        HOLD_BOUNDS.iter().map(Duration::as_secs_f64),
        holds.buckets(),
        holds.sum().as_secs_f64(),
    )
}

fn write_comparisons(out: &mut Out<'_, '_>, comparisons: &ComparisonReport) -> fmt::Result {
    out.counter("geoherd_audit_rounds", "Comparisons with peers", comparisons.rounds)?;
    out.counter(
        "geoherd_audit_repairs",
        "Records that a comparison found missing although they had been confirmed: each is an alarm",
        comparisons.repairs,
    )
}

fn write_peers(out: &mut Out<'_, '_>, peers: &[PeerStatus]) -> fmt::Result {
    for (name, help, read) in PEER_COUNTERS {
        let mut family = out.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for peer in peers {
            let labels = [("peer", peer.name.as_str())];
            ConstCounter::new(read(peer)).encode(family.encode_family(&labels)?)?;
        }
    }
    for (name, help, read) in PEER_GAUGES {
        let mut family = out.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for peer in peers {
            let labels = [("peer", peer.name.as_str())];
            ConstGauge::new(read(peer)).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// Name, help, and where the value stands.
type PeerMetric<T> = (&'static str, &'static str, fn(&PeerStatus) -> T);

const PEER_COUNTERS: [PeerMetric<u64>; 7] = [
    ("geoherd_peer_records_sent", "Records sent to a peer", |p| p.counters.records_sent),
    ("geoherd_peer_records_received", "Records received from a peer, newer or not", |p| {
        p.counters.records_received
    }),
    ("geoherd_peer_bytes_sent", "Bytes sent to a peer", |p| p.counters.bytes_sent),
    ("geoherd_peer_bytes_received", "Bytes received from a peer", |p| p.counters.bytes_received),
    ("geoherd_link_established", "Times a link to a peer came up", |p| p.counters.links_up),
    (
        "geoherd_link_timeouts",
        "Links to a peer that ended because nothing came for too long",
        |p| p.counters.timeouts,
    ),
    ("geoherd_peer_faults", "Links to a peer that ended because it broke the protocol", |p| {
        p.counters.faults
    }),
];

const PEER_GAUGES: [PeerMetric<f64>; 2] = [
    ("geoherd_link_up", "Whether the link to a peer is up", |peer| {
        f64::from(u8::from(matches!(peer.state, PeerState::Up | PeerState::CatchingUp)))
    }),
    ("geoherd_link_round_trip_seconds", "The last round trip measured on a link", |peer| {
        peer.round_trip.map_or(f64::NAN, |trip| trip.as_secs_f64())
    }),
];

impl Readout {
    /// Nothing where reports are kept in memory only.
    fn write_storage(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let Some(disk) = self.host.durability.disk() else { return Ok(()) };
        let failing = u64::from(disk.trouble.is_some());
        let help = "Whether the disk takes nothing now, so that nothing is durable";
        out.gauge("geoherd_storage_failing", help, failing)?;
        out.gauge("geoherd_storage_bytes", "Bytes of the file that counts", disk.bytes)
    }

    fn write_clients(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let stats = &self.host.stats;
        let kind = MetricType::Counter;
        let help = "Lines received from clients, by kind and outcome";
        let mut family = out.encoder.encode_descriptor("geoherd_messages", help, None, kind)?;
        for (kind, count) in stats.lines() {
            let (kind, outcome) = kind.labels();
            let labels = [("kind", kind), ("outcome", outcome)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        let counters = [
            ("geoherd_client_bytes_received", "Bytes received from clients", &stats.bytes_received),
            ("geoherd_client_bytes_sent", "Bytes sent to clients", &stats.bytes_sent),
            ("geoherd_connections_accepted", "Connections accepted", &stats.accepted),
            ("geoherd_connections_turned_away", "Connections beyond the limit", &stats.turned_away),
            (
                "geoherd_connections_stalled",
                "Clients dropped because they took no reply for too long",
                &stats.stalled,
            ),
            (
                "geoherd_provider_calls_answered",
                "Questions that a provider on the network answered",
                &stats.fetches_answered,
            ),
            (
                "geoherd_provider_calls_failed",
                "Questions that a provider on the network failed to answer",
                &stats.fetches_failed,
            ),
            (
                "geoherd_log_lines_lost",
                "Lines of the log that could not be written in time, or at all",
                &stats.log_lines_lost,
            ),
        ];
        for (name, help, value) in counters {
            out.counter(name, help, value.load(Relaxed))?;
        }
        out.gauge(
            "geoherd_connections",
            "Connections of clients open now",
            stats.open.load(Relaxed),
        )
    }
}

/// What the operating system says of this process; nothing where it does not say it in /proc.
fn write_process(out: &mut Out<'_, '_>) -> fmt::Result {
    let Some(process) = Process::read() else { return Ok(()) };
    let resident = "Resident memory of the process, bytes";
    out.gauge("process_resident_memory_bytes", resident, process.resident_bytes)?;
    out.gauge("process_open_fds", "Open file descriptors of the process", process.open_fds)?;
    out.gauge("process_threads", "Threads of the process", process.threads)?;
    let cpu = ConstCounter::new(process.cpu_seconds);
    out.metric("process_cpu_seconds", "Processor time the process used, seconds", None, &cpu)
}
