//! Starts from a disk, and what happens to disks.

use crate::disk::{Directory, Writer};
use crate::oracle::{stored, stores_forged};
use crate::plan::Trouble;
use crate::report::Count;
use crate::world::{World, name};
use herd_replica::Replica;
use herd_store::{Damage, Failure, Identity, MemoryDisk, Storage};

impl World {
    /// Opens the directory of a server, if it has one; an error says that it cannot start.
    pub(crate) fn open_directory(
        &mut self,
        server: usize,
    ) -> Result<Option<Storage<MemoryDisk>>, String> {
        let seed = self.chance.next();
        let Some(directory) = &mut self.servers[server].directory else { return Ok(None) };
        let disk = std::mem::take(&mut directory.disk);
        // The directory is as it was if anything fails.
        let kept = disk.clone();
        Storage::open(disk, seed).map(Some).map_err(|error| {
            directory.disk = kept;
            error.to_string()
        })
    }

    /// Loads what a directory holds into a replica that has just started, and goes on writing there.
    pub(crate) fn load(
        &mut self,
        server: usize,
        mut storage: Storage<MemoryDisk>,
        replica: &mut Replica,
    ) -> Result<(), String> {
        let now = self.now(server);
        self.report.count(Count::DiskStarts);
        let loaded = storage.load(|record| replica.load(record, now));
        let this = &mut self.servers[server];
        let identity = Identity {
            herd: "herd".to_owned(),
            server: name(this.name).into(),
            incarnation: this.incarnation,
        };
        let started = loaded.map_err(|error| error.to_string()).and_then(|loaded| {
            let torn = loaded.journals.iter().filter(|journal| journal.torn_bytes > 0).count();
            self.report.count_many(Count::Torn, torn as u64);
            let is_hole = |damage: &Damage| matches!(damage, Damage::Hole);
            let holes = loaded.findings.iter().filter(|finding| is_hole(&finding.damage)).count();
            self.report.count_many(Count::Holes, holes as u64);
            storage.start_incarnation(identity, now.unix).map_err(|error| error.to_string())
        });
        let Some(directory) = &mut this.directory else { return Ok(()) };
        if let Err(error) = started {
            self.report.count(Count::WriteErrors);
            directory.disk = storage.into_disk();
            return Err(error);
        }
        this.writer = Some(Writer::new(storage, directory.plan, replica, self.now_ns));
        Ok(())
    }

    /// What clients were told to be durable is there after a start, but for one record for each bit that
    /// changed.
    pub(crate) fn check_acknowledged(&mut self, server: usize) -> Result<(), String> {
        let now = self.now(server);
        let this = &mut self.servers[server];
        let (Some(replica), Some(directory)) = (&this.replica, &mut this.directory) else {
            return Ok(());
        };
        let flips = directory.flips;
        let mut lost: Vec<usize> = Vec::new();
        let oracle = &self.oracle;
        directory.acknowledged.retain(|one| {
            let stored = stored(replica, one.key);
            // A server whose clock was set back may have reissued it with a lesser time.
            let is_there = stored >= Some(one.rank)
                || oracle.has_liar && stores_forged(replica, one.key, &one.rank)
                || stored.is_some_and(|stored| stored.value == one.rank.value)
                || oracle.is_excused(replica, one.key, &one.rank, now);
            if !is_there && !lost.contains(&one.key) {
                lost.push(one.key);
            }
            is_there
        });
        // What a bit took may have been hidden by a newer record that was not fsynced, until that was lost as well.
        directory.flips = flips.saturating_sub(lost.len());
        if lost.len() > flips {
            return Err(format!("server {server} lost acknowledged records of the keys {lost:?}"));
        }
        Ok(())
    }

    pub(crate) fn wake_writer(&mut self, server: usize) {
        let now_ns = self.now_ns;
        if let Some(writer) = &mut self.servers[server].writer {
            writer.wake(now_ns);
        }
    }

    pub(crate) fn write_to_disk(&mut self, server: usize) -> Result<(), String> {
        let now = self.now(server);
        let this = &mut self.servers[server];
        if let (Some(replica), Some(writer), Some(directory)) =
            (&mut this.replica, &mut this.writer, &mut this.directory)
        {
            writer.work(replica, directory, now, &mut self.chance, &mut self.report);
        }
        self.touched(server)
    }

    pub(crate) fn write_everything(&mut self, server: usize) {
        let now = self.now(server);
        let this = &mut self.servers[server];
        if let (Some(replica), Some(writer), Some(directory)) =
            (&mut this.replica, &mut this.writer, &mut this.directory)
        {
            writer.finish(replica, directory, now, &mut self.chance, &mut self.report);
            let upto = replica.journaled();
            self.acknowledge(server, upto);
        }
    }

    /// Replies that waited go out.
    pub(crate) fn acknowledge(&mut self, server: usize, upto: u64) {
        let this = &mut self.servers[server];
        if let (Some(writer), Some(directory)) = (&mut this.writer, &mut this.directory) {
            let done = writer.take_done(upto);
            let text = self.trace.is_some().then(|| format!("{done:?}"));
            let count = directory.acknowledge(done.into_iter());
            self.report.count_many(Count::Acknowledged, count as u64);
            self.note(|_| format!("server {server} acknowledges {text:?} up to {upto}"));
        }
    }

    /// The process ends; its directory is left as it is.
    pub(crate) fn leave_directory(&mut self, server: usize) {
        let this = &mut self.servers[server];
        if let (Some(writer), Some(directory)) = (this.writer.take(), &mut this.directory) {
            directory.disk = writer.into_disk();
        }
    }

    pub(crate) fn cut_power(&mut self, server: usize) {
        if self.servers[server].replica.is_some() {
            self.report.count(Count::PowerCuts);
        }
        self.crash(server);
        if let Some(directory) = &mut self.servers[server].directory {
            directory.cut_power(&mut self.chance);
        }
    }

    pub(crate) fn lose_disk(&mut self, server: usize) {
        if let Some(directory) = &mut self.servers[server].directory {
            directory.lose();
        }
    }

    /// A copy of a directory, as one that is copied while it is in use.
    pub(crate) fn copy_of_directory(&self, server: usize) -> Option<Directory> {
        let this = &self.servers[server];
        let mut copy = this.directory.clone()?;
        if let Some(writer) = &this.writer {
            copy.disk = writer.disk().clone();
        }
        Some(copy)
    }

    pub(crate) fn trouble(&mut self, server: usize, trouble: Trouble) {
        let ends = matches!(trouble, Trouble::Restored | Trouble::Damaged | Trouble::Lost);
        if self.servers[server].directory.is_none() {
            return;
        }
        if ends {
            self.crash(server);
        }
        let copy = self.copy_of_directory(server);
        let this = &mut self.servers[server];
        let Some(directory) = &mut this.directory else { return };
        let disk = this.writer.as_mut().map_or(&mut directory.disk, Writer::disk_mut);
        match trouble {
            Trouble::Full(bytes) => disk.bytes_max = Some(disk.bytes() + bytes),
            Trouble::Fails(changes) => {
                let failures = [Failure::Nothing, Failure::Half, Failure::All];
                let failure = failures[self.chance.index(3)];
                disk.fail_at = Some((disk.changes() + 1 + changes, failure));
            }
            Trouble::Repaired => (disk.bytes_max, disk.fail_at) = (None, None),
            Trouble::Copied => {
                self.report.count(Count::Copies);
                directory.copied = copy.map(|copy| (copy.disk, copy.acknowledged));
            }
            Trouble::Restored => {
                let restored = directory.restore();
                self.report.count_many(Count::Restores, restored.into());
            }
            Trouble::Damaged => {
                let chance = &mut self.chance;
                if directory.disk.flip_a_bit(|limit| chance.index(limit)).is_some() {
                    self.report.count(Count::Damages);
                    directory.flips += 1;
                }
            }
            Trouble::Lost => {
                self.report.count(Count::DisksLost);
                directory.lose();
            }
            Trouble::Compacted => {
                if let Some(writer) = &mut this.writer {
                    writer.compact(self.now_ns);
                }
            }
        }
    }
}
