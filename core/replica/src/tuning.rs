//! Sizes and times that are never a user's business, but that short histories make small.

use std::time::Duration;

/// See each field; the default is what servers run with.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// A link that is behind by so many arrivals twice in a row scans slot by slot. Default: 1024.
    pub scan_arrivals_min: u64,
    /// Arrivals in one segment of a log, which is compacted and trimmed as one. Default: 4096.
    pub segment_arrivals: u64,
    /// A stream of which nothing is held and so much was written is fetched by buckets, from all peers at once.
    /// Default: 1024.
    pub history_max: u64,
    /// Messages of one stream in a row, so that streams share a slow link. Default: 16.
    pub turn_messages: usize,
    /// Segments trimmed in one tick where labels beside the records have to be given back. Default: 4.
    pub trimmed_segments_max: usize,
    /// How often versions are advertised while they change. Default: 20 ms.
    pub watermarks_every: Duration,
    /// A stream that stands still for so long while a peer is ahead is asked for there. Default: 150 ms.
    pub behind_max: Duration,
    /// If all peers that are ahead were asked, the best one is asked again after this. Default: 2 s.
    pub ask_again_after: Duration,
    /// How often a member says something new of itself. Default: 1 s.
    pub tell_every: Duration,
    /// How often it says that it is alive. Default: 10 s.
    pub tell_every_idle: Duration,
    /// How often peers compare their sums. Default: 1 min.
    pub compare_every: Duration,
    /// A comparison that is due because something happened waits so long for more to happen. Default: 100 ms.
    pub compare_after: Duration,
    /// After a link came up, streams get so long to bring what they can before buckets are compared. Default: 1 s.
    pub compare_patience: Duration,
    /// A stream of which more arrived than was committed, and nothing for so long, has fallen silent. Default: 1 s.
    pub silent_after: Duration,
    /// A comparison without any progress for so long begins again. Default: 10 s.
    pub compare_stalled_after: Duration,
    /// A range that another link has taken is taken over after so long without another one. Default: 250 ms.
    pub steal_after: Duration,
    /// Digests and buckets asked for and not answered yet on one link. Default: 4096.
    pub asked_max: usize,
    /// Ranges looked into in a periodic comparison. Default: 8.
    pub periodic_ranges_max: usize,
    /// Buckets looked into in a periodic comparison. Default: 64.
    pub periodic_buckets_max: usize,
    /// Keys looked at in one step of a walk; an erased one counts sixteen times. Default: 2048, well below 2 ms.
    pub walked_max: u32,
    /// Expired records are erased in so many steps of their lifetime, all servers at the same moments. Default: 64.
    pub erase_steps: u32,
    /// Nothing is erased before clocks ran evenly for so long. Default: 10 min.
    pub erase_after: Duration,
    /// A record that is further ahead than this is kept only while its key has no other. Default: 10 min.
    pub far_future: Duration,
    /// Streams at most, this server's own among them; at least one. A full table costs speed alone: what has no stream
    /// spreads by buckets. Default: 1024, ten times the largest herd that is thought of.
    pub streams_max: usize,
    /// Names at most that the config does not know, since a peer must not fill memory with names. Default: 64, far more
    /// guests than a herd has.
    pub guests_max: usize,
    /// Peers that are not linked any more and still count, at most. Default: 256, more than any server has neighbors.
    pub recent_max: usize,
    /// A fault to be made on purpose. Default: none.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::Mutant>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            scan_arrivals_min: 1024,
            segment_arrivals: 4096,
            history_max: 1024,
            turn_messages: 16,
            trimmed_segments_max: 4,
            watermarks_every: Duration::from_millis(20),
            behind_max: Duration::from_millis(150),
            ask_again_after: Duration::from_secs(2),
            tell_every: Duration::from_secs(1),
            tell_every_idle: Duration::from_secs(10),
            compare_every: Duration::from_mins(1),
            compare_after: Duration::from_millis(100),
            compare_patience: Duration::from_secs(1),
            silent_after: Duration::from_secs(1),
            compare_stalled_after: Duration::from_secs(10),
            steal_after: Duration::from_millis(250),
            asked_max: 4096,
            periodic_ranges_max: 8,
            periodic_buckets_max: 64,
            walked_max: 2048,
            erase_steps: 64,
            erase_after: Duration::from_mins(10),
            far_future: Duration::from_mins(10),
            streams_max: 1024,
            guests_max: 64,
            recent_max: 256,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}
