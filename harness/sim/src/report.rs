//! What happened in histories, counted: what never happened was not tested.

use crate::plan::{Graph, Kind};
use herd_replica::Happenings;

/// What happened in histories that ended well.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// What the replicas did, all of them added up.
    pub happenings: Happenings,
    /// Writes taken as newer.
    pub updates: u64,
    /// Writes of a time that the key had already.
    pub collisions: u64,
    /// Writes of the very time of which the key was forgotten.
    pub tombstone_ties: u64,
    /// Writes from before the key was forgotten, taken by a server that no longer knew, or never had.
    pub revenants: u64,
    /// Writes of a time later than any right clock showed.
    pub futures: u64,
    /// Nodes that lost their memory.
    pub crashes: u64,
    /// Nodes that came to a herd with nothing, though they were not waited for.
    pub joins: u64,
    /// Nodes taken out of it.
    pub taken_out: u64,
    /// Nodes that came back to it with what they remembered.
    pub returns: u64,
    /// Nodes that said that they leave.
    pub leaves: u64,
    /// Links cut, one way or both.
    pub cuts: u64,
    /// Connections lost without a cut.
    pub breaks: u64,
    /// Connections lost in the middle of a frame.
    pub partial_frames: u64,
    /// Second connections between nodes that had one.
    pub doubles: u64,
    /// Clocks set forward or back.
    pub jumps: u64,
    /// Links closed because of the other's clock.
    pub quarantines: u64,
    /// Keys forgotten.
    pub forgets: u64,
    /// Histories whose clocks differed.
    pub skewed: u64,
    /// Histories of each kind.
    pub kinds: [u64; Kind::ALL.len()],
    /// Histories on each sort of graph.
    pub graphs: [u64; Graph::ALL.len()],
}

impl Report {
    /// Adds up.
    pub fn add(&mut self, other: &Self) {
        self.happenings.add(&other.happenings);
        self.updates += other.updates;
        self.collisions += other.collisions;
        self.tombstone_ties += other.tombstone_ties;
        self.revenants += other.revenants;
        self.futures += other.futures;
        self.crashes += other.crashes;
        self.joins += other.joins;
        self.taken_out += other.taken_out;
        self.returns += other.returns;
        self.leaves += other.leaves;
        self.cuts += other.cuts;
        self.breaks += other.breaks;
        self.partial_frames += other.partial_frames;
        self.doubles += other.doubles;
        self.jumps += other.jumps;
        self.quarantines += other.quarantines;
        self.forgets += other.forgets;
        self.skewed += other.skewed;
        for (mine, theirs) in self.kinds.iter_mut().zip(other.kinds) {
            *mine += theirs;
        }
        for (mine, theirs) in self.graphs.iter_mut().zip(other.graphs) {
            *mine += theirs;
        }
    }

    /// How often each thing happened.
    pub fn counts(&self) -> Vec<(String, u64)> {
        let h = &self.happenings;
        let things = [
            ("updates taken as newer", self.updates),
            ("writes of a time already known", self.collisions),
            ("writes of a tombstone's time", self.tombstone_ties),
            ("writes older than a tombstone that was dropped", self.revenants),
            ("writes from the future", self.futures),
            ("nodes that lost their memory", self.crashes),
            ("nodes that joined with nothing", self.joins),
            ("nodes taken out", self.taken_out),
            ("nodes that came back with what they remembered", self.returns),
            ("nodes that left", self.leaves),
            ("links cut", self.cuts),
            ("connections lost", self.breaks),
            ("connections lost in the middle of a frame", self.partial_frames),
            ("second connections between two nodes", self.doubles),
            ("clocks set forward or back", self.jumps),
            ("links closed because of a clock", self.quarantines),
            ("keys forgotten", self.forgets),
            ("histories with skewed clocks", self.skewed),
            ("entries taken in", h.entries),
            ("entries sent", h.sent),
            ("entries come twice", h.duplicates),
            ("rounds of sweeping", h.sweeps),
            ("subscriptions moved", h.resubscriptions),
            ("orphans issued again", h.adopted),
            ("snapshots begun", h.snapshots),
            ("snapshots broken off", h.snapshots_broken),
            ("snapshots begun anew by their sender", h.snapshots_anew),
            ("entries discarded by snapshots", h.discarded),
            ("entries collected", h.collected),
            ("entries withheld, then sent", h.withheld_sent),
            ("tombstones collected", h.tombstones_collected),
            ("tombstones repeated", h.tombstones_repeated),
            ("audits", h.audits),
            ("audits that doubted something", h.audit_doubts),
            ("commits ignored", h.commits_ignored),
        ];
        let kinds = Kind::ALL.iter().zip(self.kinds);
        let graphs = Graph::ALL.iter().zip(self.graphs);
        let things = things.into_iter().map(|(what, times)| (what.to_owned(), times));
        things
            .chain(kinds.map(|(kind, times)| (format!("histories of kind {kind:?}"), times)))
            .chain(graphs.map(|(graph, times)| (format!("histories on a graph {graph:?}"), times)))
            .collect()
    }
}
