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
    /// What happened to disks.
    pub disks: Disks,
    /// Histories of each kind.
    pub kinds: [u64; Kind::ALL.len()],
    /// Histories on each sort of graph.
    pub graphs: [u64; Graph::ALL.len()],
}

/// What happened to disks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disks {
    /// Starts from a disk.
    pub restarts: u64,
    /// Starts with an empty disk.
    pub first_starts: u64,
    /// Starts after a life that was closed.
    pub closed: u64,
    /// Nodes with a disk that were killed.
    pub kills: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// All killed at once.
    pub all_at_once: u64,
    /// Clean stops.
    pub stops: u64,
    /// Stops that could not write down everything.
    pub stops_failed: u64,
    /// Starts that the disk did not let happen.
    pub starts_failed: u64,
    /// Torn ends cut off.
    pub torn: u64,
    /// Files with holes.
    pub holes: u64,
    /// Records read behind holes and issued anew.
    pub behind_holes: u64,
    /// Files that could not be read at all.
    pub unreadable: u64,
    /// Generations completed.
    pub generations: u64,
    /// Generations that a crash interrupted.
    pub generations_cut_short: u64,
    /// Generations given up.
    pub generations_given_up: u64,
    /// Writes that waited to be acknowledged.
    pub waited: u64,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Syncs.
    pub syncs: u64,
    /// Syncs that failed.
    pub syncs_failed: u64,
    /// Writes that failed.
    pub writes_failed: u64,
    /// Disks full.
    pub full: u64,
    /// Directories lost.
    pub lost: u64,
    /// Bits that changed.
    pub damaged: u64,
    /// Old copies of directories that took their place.
    pub copies_restored: u64,
}

impl Disks {
    fn add(&mut self, other: &Self) {
        self.restarts += other.restarts;
        self.first_starts += other.first_starts;
        self.closed += other.closed;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.all_at_once += other.all_at_once;
        self.stops += other.stops;
        self.stops_failed += other.stops_failed;
        self.starts_failed += other.starts_failed;
        self.torn += other.torn;
        self.holes += other.holes;
        self.behind_holes += other.behind_holes;
        self.unreadable += other.unreadable;
        self.generations += other.generations;
        self.generations_cut_short += other.generations_cut_short;
        self.generations_given_up += other.generations_given_up;
        self.waited += other.waited;
        self.acknowledged += other.acknowledged;
        self.syncs += other.syncs;
        self.syncs_failed += other.syncs_failed;
        self.writes_failed += other.writes_failed;
        self.full += other.full;
        self.lost += other.lost;
        self.damaged += other.damaged;
        self.copies_restored += other.copies_restored;
    }

    fn counts(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("nodes started from their disk", self.restarts),
            ("nodes started with an empty disk", self.first_starts),
            ("nodes that went on with their last life", self.closed),
            ("nodes with a disk killed", self.kills),
            ("power cuts", self.power_cuts),
            ("all nodes killed at once", self.all_at_once),
            ("clean stops", self.stops),
            ("stops that could not write everything", self.stops_failed),
            ("starts that a disk prevented", self.starts_failed),
            ("torn ends cut off", self.torn),
            ("files with holes", self.holes),
            ("records behind holes issued anew", self.behind_holes),
            ("files not readable at all", self.unreadable),
            ("generations completed", self.generations),
            ("generations cut short by a crash", self.generations_cut_short),
            ("generations given up", self.generations_given_up),
            ("writes that waited to be safe", self.waited),
            ("writes acknowledged as safe", self.acknowledged),
            ("syncs", self.syncs),
            ("syncs that failed", self.syncs_failed),
            ("writes that failed", self.writes_failed),
            ("disks full", self.full),
            ("directories lost", self.lost),
            ("bits changed on disks", self.damaged),
            ("old copies restored", self.copies_restored),
        ]
    }
}

impl Report {
    /// Whether any node started anew.
    pub(crate) fn has_restarts(&self) -> bool {
        self.crashes + self.disks.stops > 0
    }

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
        self.disks.add(&other.disks);
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
        let things = things.into_iter().chain(self.disks.counts());
        let things = things.map(|(what, times)| (what.to_owned(), times));
        things
            .chain(kinds.map(|(kind, times)| (format!("histories of kind {kind:?}"), times)))
            .chain(graphs.map(|(graph, times)| (format!("histories on a graph {graph:?}"), times)))
            .collect()
    }
}
