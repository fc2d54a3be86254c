//! What a node counts. Plain numbers: whoever shows them reads a copy.

/// Upper ends of a histogram's buckets, nanoseconds. From a loopback hop to a link that
/// was cut for a while.
pub const DELAY_BOUNDS_NS: [u64; 15] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    30_000_000_000,
];

/// Counts since the node started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reports of this node's own clients that were newer than what was known.
    pub updates: u64,
    /// Reports of this node's own clients that were not.
    pub not_newer: u64,
    /// Reports of clients that were turned away, since this server is full.
    pub turned_away: u64,
    /// AT lines from clients and foreign servers that dialed in, newer or not.
    pub relayed: u64,
    /// Reports whose claimed time was clamped.
    pub clamped: u64,
    /// How long ago a report was received by its first server when it arrived here from a peer.
    pub propagation: Histogram,
}

/// Counts of what went over the links to one peer, all its connections added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounters {
    /// Records sent.
    pub records_sent: u64,
    /// Records received, newer or not.
    pub records_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Times a link came up.
    pub links_up: u64,
    /// Links that ended since nothing came for too long, hellos among them.
    pub timeouts: u64,
    /// Links that ended since the peer broke the protocol.
    pub faults: u64,
}

/// How many values fell below each of [`DELAY_BOUNDS_NS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; DELAY_BOUNDS_NS.len() + 1],
    sum_ns: u128,
}

impl Histogram {
    /// Counts one value; the time two clocks disagree by may make it negative, which counts as zero.
    pub fn record(&mut self, value_ns: i64) {
        let value_ns = u64::try_from(value_ns).unwrap_or(0);
        let bucket = DELAY_BOUNDS_NS.partition_point(|&bound| bound < value_ns);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.sum_ns += u128::from(value_ns);
    }

    /// Counts per bucket; the last is for what lies beyond every bound.
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// All values added up, seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_the_bucket_whose_end_they_do_not_pass() {
        let mut histogram = Histogram::default();
        for value in [-5, 0, 100_000, 100_001, 30_000_000_000, 30_000_000_001] {
            histogram.record(value);
        }
        let counts = histogram.buckets();
        assert_eq!((counts[0], counts[1], counts[14], counts[15]), (3, 1, 1, 1));
        assert_eq!(histogram.count(), 6);
    }
}
