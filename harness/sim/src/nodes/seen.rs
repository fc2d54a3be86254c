//! What ever happened in the histories, counted: a thing that never happened was not tested.

macro_rules! seen {
    ($($name:ident: $text:literal,)*) => {
        /// Something that may happen in a history.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Seen {
            $(#[doc = $text] $name,)*
        }

        const NAMES: &[&str] = &[$($text),*];
    };
}

seen! {
    Reports: "reports by clients",
    Future: "reports from further ahead than is allowed",
    Equal: "reports of a time that another has",
    Past: "reports of a time long past",
    Bursts: "bursts of reports",
    ForeignReports: "reports by clients of foreign servers",
    Forged: "AT lines of a time far ahead",
    Kills: "servers killed",
    PowerCuts: "servers gone without a word",
    QuickRestarts: "servers back within milliseconds",
    OlderLives: "servers back with a smaller incarnation",
    Freezes: "servers stopped for a while",
    ClockJumps: "clocks set",
    Cuts: "links cut both ways",
    HalfCuts: "links cut one way",
    BlackHoles: "connections that fall silent for good",
    HalfBlackHoles: "connections that fall silent in one way",
    Breaks: "connections reset",
    MidHello: "connections that end within a hello",
    MidFrame: "connections that end within a frame",
    DialsRefused: "dials refused",
    DialsHung: "dials that hang",
    DialsAstray: "dials that reach the wrong server",
    BothDialed: "pairs that dialed each other at once",
    Full: "pipes that were full",
    Stuck: "connections that took nothing for too long",
    KernelTimeouts: "connections that the kernel gave up",
    OneByte: "pieces of one byte",
    Strangers: "strangers who speak nonsense",
    Silent: "strangers who say nothing",
    Impostors: "strangers who say the name of a neighbor",
    Deaf: "strangers who take nothing",
    Twins: "second servers of one name",
    OtherHerd: "servers of another herd",
    Unknown: "servers that are no neighbors",
    LinksUp: "links up",
    Dead: "links given up as silent",
    NoHello: "links without a hello in time",
    Replaced: "links replaced",
    AlreadyLinked: "second links refused",
    SecondRefused: "second running servers refused",
    Outlived: "links ended for a new life of their server",
    LivesRenewed: "servers that took a new life",
    LinksRenewed: "links ended for a new life of this server",
    SecondOfOwnName: "servers that heard of another of their name",
    Refused: "hellos refused for what they say",
    RefusedByPeer: "refusals heard",
    EndedByPeer: "last words heard",
    ClocksDiffer: "links refused for clocks that differ",
    Superseded: "links refused to an older process",
    KeptAway: "peers kept away after a fault",
    Starved: "servers run for a tenth of the time",
    Probes: "signs of life asked for",
    Corrupted: "bytes corrupted on their way",
    Newer: "batches of a later version",
    Nonsense: "links ended for nonsense",
    Clamped: "reports clamped, as told",
    NotUnderstood: "answers with a question mark",
    Comparisons: "comparisons ended",
    Differing: "comparisons in which something differed",
    Fetched: "records fetched by comparisons",
    Duplicates: "entries come twice",
    Resubscriptions: "subscriptions moved",
    Scans: "scans of links that are behind",
    ForeignLines: "lines told to foreign servers",
    ForeignTold: "lines told by foreign servers",
    ForeignStates: "whole states told by foreign servers",
    ForeignNonsense: "foreign servers that speak nonsense",
    Relays: "AT lines on connections of foreign servers",
    Discovered: "foreign servers found out by their answer",
    ForeignLoops: "lines that came back through a foreign server",
    ForeignCrashes: "foreign servers that lost their memory",
    Lost: "servers that never came back",
    LongRests: "long rests",
    Eights: "herds of eight",
}

/// How often each thing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    counts: [u64; NAMES.len()],
    /// The longest time a herd took to come to rest, milliseconds.
    pub settled_ms_max: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { counts: [0; NAMES.len()], settled_ms_max: 0 }
    }
}

impl Tally {
    pub(crate) fn see(&mut self, what: Seen) {
        self.add_many(what, 1);
    }

    pub(crate) fn add_many(&mut self, what: Seen, times: u64) {
        if let Some(count) = self.counts.get_mut(what as usize) {
            *count += times;
        }
    }

    /// Adds up.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.settled_ms_max = self.settled_ms_max.max(other.settled_ms_max);
    }

    /// Each thing and how often it happened.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        NAMES.iter().copied().zip(self.counts).collect()
    }
}
