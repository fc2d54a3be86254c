//! What happened in histories, counted: what never happened was not tested.

use crate::plan::Kind;

macro_rules! counts {
    ($($name:ident $what:literal,)*) => {
        /// One thing that may happen in a history.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Count { $($name,)* }

        const COUNTS: &[&str] = &[$($what,)*];
    };
}

counts! {
    Updates "updates accepted",
    Refused "updates not newer than what was known",
    Collisions "updates with the time of the record before",
    Relays "updates relayed by foreign servers",
    WrongPhones "updates from phones ahead of their server",
    BehindForgotten "updates from before a forgetting",
    Forgets "keys forgotten",
    VoidReplaced "expired or future records replaced by lesser ones",
    Futures "records of the future reissued by their server",
    ExpiredAtRest "records that had expired at rest",
    Crashes "processes killed",
    Stops "orderly stops",
    PowerCuts "power cuts",
    KillAlls "all servers killed at once",
    Storms "storms of restarts",
    StormStarts "starts in storms",
    Lifetimes "starts with another lifetime of records",
    Joins "servers that joined with nothing",
    Returns "servers that returned with what they held",
    TakenOut "servers taken out of configs",
    Leaves "servers that left",
    HeldElsewhere "leaving servers that everything was held without",
    Cuts "edges cut",
    OneWayCuts "edges cut one way",
    Splits "splits",
    Breaks "connections broken",
    Flaps "connections that broke by themselves",
    PartialParcels "parcels received in part",
    CorruptParcels "parcels corrupted",
    Doubles "second connections",
    SlowEdges "histories with byte rates",
    Skews "histories with skewed clocks",
    Jumps "clock jumps",
    YearJumps "clock jumps by a year",
    RefusedClocks "connections ended because of a clock",
    FaultyClocks "connections ended because of an incarnation",
    Twins "second processes of one name",
    EqualTwins "second processes of one incarnation",
    Renewals "incarnations renewed while running",
    Mute "histories with a mute server",
    Thin "histories with a thin server",
    Lying "histories with a lying server",
    Forged "messages forged",
    LiarsClosed "connections to a liar closed",
    DeadAtRest "histories with a server dead at the end",
    DiskStarts "starts from a disk",
    Written "records written to disks",
    Acknowledged "updates acknowledged as durable",
    Syncs "fsyncs",
    WriteErrors "writes or fsyncs that failed",
    Compactions "journals compacted",
    Torn "torn ends cut off",
    Holes "holes in journals",
    Copies "directories copied",
    Restores "older copies put in place",
    Damages "bits changed on disks",
    DisksLost "directories lost",
    CatchUps "catch-ups completed",
    OriginsEnded "origins ended",
    Repaired "repairs (lawful ones)",
    SmallTables "histories with small tables",
    OriginsFull "origins that found no stream, or no name, free",
    StreamlessRests "rests at which some origin had no stream somewhere",
    QuietChecks "rests at which nothing more was sent",
    PromptRests "rests that came soon after a server died",
    ExactChecks "rests after which each write was sent N-1 times",
    FutureRests "rests at which records of the future came due",
}

/// What happened in histories that ended well: in all of them together, and in how many.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    counts: [(u64, u64); COUNTS.len()],
    kinds: [u64; Kind::ALL.len()],
}

impl Default for Report {
    fn default() -> Self {
        Self { counts: [(0, 0); COUNTS.len()], kinds: [0; Kind::ALL.len()] }
    }
}

impl Report {
    pub(crate) fn count(&mut self, what: Count) {
        self.count_many(what, 1);
    }

    pub(crate) fn count_many(&mut self, what: Count, times: u64) {
        let (all, histories) = &mut self.counts[what as usize];
        *all += times;
        *histories = u64::from(*all > 0);
    }

    pub(crate) fn of(&self, what: Count) -> u64 {
        self.counts[what as usize].0
    }

    pub(crate) fn set_kind(&mut self, kind: Kind) {
        self.kinds[kind as usize] = 1;
    }

    /// Adds another report.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine = (mine.0 + theirs.0, mine.1 + theirs.1);
        }
        for (mine, theirs) in self.kinds.iter_mut().zip(other.kinds) {
            *mine += theirs;
        }
    }

    /// Each thing with how often it happened, and in how many histories.
    pub fn counts(&self) -> Vec<(String, u64, u64)> {
        let things = COUNTS.iter().zip(self.counts);
        let things = things.map(|(what, (all, histories))| ((*what).to_owned(), all, histories));
        let kinds = Kind::ALL.iter().zip(self.kinds);
        let kinds =
            kinds.map(|(kind, times)| (format!("histories of kind {kind:?}"), times, times));
        things.chain(kinds).collect()
    }
}
