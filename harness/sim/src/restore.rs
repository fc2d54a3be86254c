//! A node made from what stands on its disk.

use crate::disk::Shared;
use crate::history::{SECOND_NS, Sim, name};
use crate::keeper::Keeper;
use crate::rest::difference;
use herd_replica::{Applied, Journaled, Mutant, Record, Replica, Restore, RestoreError, Settings};
use herd_store::{Found, Life, Loaded, OpenError, Storage};

/// A disk that takes records one by one takes long.
const REST_MAX_NS: u64 = 200 * SECOND_NS;

/// What was read.
struct Read {
    storage: Storage<Shared>,
    loaded: Loaded,
    restore: Restore,
    behind_hole: Vec<Entry>,
}

struct Entry {
    key: Vec<u8>,
    effective_ns: i64,
    tombstone: bool,
    value: Vec<u8>,
}

impl Sim {
    /// Starts a node from its disk; with this incarnation, unless its last life was closed. None if the
    /// disk does not let it.
    pub(crate) fn read_disk(
        &mut self,
        node: usize,
        incarnation: u64,
    ) -> Result<Option<Replica>, String> {
        let Some(directory) = &self.directories[node] else { return Ok(None) };
        let (plan, place) = (directory.plan, directory.place.to_string());
        let disk = directory.disk.clone();
        let now = self.now(node);
        let settings = self.settings(node, incarnation);
        // If the last life was closed it is gone on with: whether it was is known for certain when
        // everything was read, so then that may have to be done again.
        let last = self.last_life(&disk, &place)?;
        let mut settings_of = settings.clone();
        settings_of.origin.incarnation = last.unwrap_or(incarnation);
        let Some(mut read) = self.read(&disk, settings_of, node)? else { return Ok(None) };
        let unclean = self.mutant == Some(Mutant::UncleanGoesOn);
        let goes_on = last.is_some() && (read.loaded.is_closed || unclean);
        if last.is_some() && !goes_on {
            let Some(again) = self.read(&disk, settings.clone(), node)? else { return Ok(None) };
            read = Read { loaded: read.loaded, ..again };
        }
        let Read { mut storage, loaded, restore, behind_hole } = read;
        let incarnation = if goes_on { last.unwrap_or(incarnation) } else { incarnation };
        let life = Life { server: name(node).into(), incarnation, place, ..Life::default() };
        if storage.begin_life(life).is_err() {
            self.report.disks.starts_failed += 1;
            return Ok(None);
        }
        let (mut replica, live) = if storage.is_sound() {
            let (replica, live) = restore.finish_journaled();
            if let Some(directory) = &mut self.directories[node] {
                directory.durable_ns = self.now_ns;
            }
            (replica, Some(live))
        } else {
            (restore.finish(), None)
        };
        let disks = &mut self.report.disks;
        disks.restarts += u64::from(loaded.file.is_some());
        disks.first_starts += u64::from(loaded.file.is_none());
        disks.closed += u64::from(goes_on);
        disks.torn += u64::from(loaded.torn_bytes > 0);
        disks.holes += u64::from(!loaded.holes.is_empty());
        disks.unreadable += loaded.unreadable.len() as u64;
        disks.behind_holes += behind_hole.len() as u64;
        for Entry { key, effective_ns, tombstone, value } in &behind_hole {
            let (effective_ns, tombstone) = (*effective_ns, *tombstone);
            let record = Record { key, effective_ns, tombstone, value };
            if replica.update(record, now) == Applied::Newer {
                self.oracle.issued(&record, &replica);
            }
        }
        self.note(|_| format!("start {node} as {incarnation} from {loaded:?}"));
        self.oracle.check_safe(node, &replica)?;
        self.keepers[node] = Some(Keeper::new(plan, self.mutant, storage, live, self.now_ns));
        Ok(Some(replica))
    }

    /// The incarnation under which the last life in a directory goes on, if it was closed here.
    fn last_life(&mut self, disk: &Shared, place: &str) -> Result<Option<u64>, String> {
        let storage = Storage::open(disk.clone(), 0).map_err(|error| error.to_string())?;
        let unclean = self.mutant == Some(Mutant::UncleanGoesOn);
        let is_here = |life: &&Life| life.place == place || self.mutant == Some(Mutant::CopyGoesOn);
        let life = storage.life().filter(|life| life.closed.is_some() || unclean).filter(is_here);
        Ok(life.map(|life| life.incarnation))
    }

    /// None if the disk fails.
    fn read(
        &mut self,
        disk: &Shared,
        settings: Settings,
        node: usize,
    ) -> Result<Option<Read>, String> {
        let seed = self.chance.next();
        let mutant = self.mutant;
        let open = || -> Result<_, OpenError> {
            let mut storage = Storage::open(disk.clone(), seed)?;
            storage.set_mutant(mutant);
            Ok(storage)
        };
        let mut storage = open().map_err(|error| error.to_string())?;
        let mut restore = Restore::new(settings, self.now(node));
        let mut behind_hole = Vec::new();
        let mut outcome: Result<(), RestoreError> = Ok(());
        let mut lines = Vec::new();
        let traced = self.trace.is_some();
        let loaded = storage.load(|found| match found {
            Found::Sound(journaled) => {
                if traced {
                    lines.push(format!("  read {journaled:?}"));
                }
                if outcome.is_ok() {
                    outcome = restore.take(&journaled);
                }
            }
            Found::BehindHole(Journaled::Entry { record, .. }) => {
                let Record { key, effective_ns, tombstone, value } = record;
                let (key, value) = (key.to_vec(), value.to_vec());
                behind_hole.push(Entry { key, effective_ns, tombstone, value });
            }
            Found::BehindHole(_) => {}
        });
        for line in lines {
            self.note(|_| line);
        }
        outcome.map_err(|error| format!("node {node} cannot read its journal: {error}"))?;
        match loaded {
            Ok(loaded) => Ok(Some(Read { storage, loaded, restore, behind_hole })),
            Err(OpenError::Disk(_)) => {
                self.report.disks.starts_failed += 1;
                Ok(None)
            }
            Err(error) => Err(format!("node {node}: {error}")),
        }
    }

    /// A slow disk has some time to take everything.
    pub(crate) fn come_to_rest_on_disk(&mut self, node: usize) -> Result<(), String> {
        let end = self.now_ns + REST_MAX_NS;
        while self.keepers[node].as_ref().is_some_and(|keeper| !keeper.is_at_rest()) {
            if self.now_ns > end {
                return Err(format!("node {node} at rest has not written down everything"));
            }
            self.run_until(self.now_ns + SECOND_NS)?;
        }
        Ok(())
    }

    /// At rest a node's disk tells all that the node knows.
    pub(crate) fn check_disk(&mut self, node: usize) -> Result<(), String> {
        let (Some(directory), true) = (&self.directories[node], self.keepers[node].is_some())
        else {
            return Ok(());
        };
        let disk = directory.disk.copied();
        let settings = self.settings(node, u64::MAX);
        let Some(read) = self.read(&disk, settings, node)? else {
            return Err(format!("what node {node} has written cannot be read"));
        };
        let (replica, Some(known)) = (read.restore.finish(), &self.nodes[node]) else {
            return Ok(());
        };
        for (one, other) in [(known, &replica), (&replica, known)] {
            if let Some((one, other)) = difference(one, other) {
                return Err(format!("node {node} and its disk differ: {one} and {other}"));
            }
        }
        for stream in known.streams() {
            let other = replica.streams().find(|other| other.origin == stream.origin);
            let on_disk = other.map(|other| (other.version, other.floor));
            let (version, floor) = on_disk.unwrap_or_default();
            // A floor that the last life raised may have been above what this one held at first.
            if version != stream.version || floor < stream.floor || floor > version {
                return Err(format!("node {node} and its disk differ: {stream:?} and {on_disk:?}"));
            }
        }
        Ok(())
    }
}
