//! Servers that no config names any more, that announce that they leave, and that return.

use crate::plan::{Absence, Step};
use crate::rank::{Rank, key_of, rank_of};
use crate::report::Count;
use crate::world::{SECOND_NS, World, name};
use herd_replica::{Held, Replica};
use std::rc::Rc;
use std::time::Duration;

/// A leaving server waits for so long until everything it holds is held by others.
const LEAVES_WITHIN_NS: u64 = 5 * SECOND_NS;

impl World {
    /// Those of `tellers`, a bit each, no longer name a server in their config; its lines are cut.
    pub(crate) fn take_out(&mut self, server: usize, tellers: u64) {
        if self.servers[server].is_out {
            return;
        }
        self.report.count(Count::TakenOut);
        self.servers[server].is_out = true;
        self.cut_all_of(server, [true; 2]);
        let one = (server + 1) % self.plan.servers;
        for teller in (0..self.plan.servers).filter(|&teller| teller != server) {
            if (tellers >> teller & 1 == 1 || teller == one)
                && self.servers[teller].config.remove(&server)
            {
                self.read_config(teller);
            }
        }
    }

    /// All configs name a server, its lines are whole, and it is up, with what it held unless it had left.
    pub(crate) fn put_back(&mut self, server: usize) {
        if !self.servers[server].is_out {
            return;
        }
        self.servers[server].is_out = false;
        for teller in 0..self.plan.servers {
            if self.servers[teller].config.insert(server) {
                self.read_config(teller);
            }
        }
        self.cut_all_of(server, [false; 2]);
        if self.servers[server].has_left {
            self.crash(server);
        }
        if self.servers[server].replica.is_some() {
            self.report.count(Count::Returns);
        } else {
            self.report.count(Count::Joins);
            self.start(server);
        }
    }

    fn read_config(&mut self, server: usize) {
        let now = self.now(server);
        let names = self.servers[server].config.iter().copied().map(name).collect();
        if let Some(replica) = &mut self.servers[server].replica {
            replica.set_members(names, now);
            self.fed.push(server);
        }
    }

    /// A server announces that it leaves, waits until others hold what it holds, and is gone.
    pub(crate) fn leave(&mut self, server: usize) -> Result<(), String> {
        let now = self.now(server);
        if self.servers[server].is_out || self.servers[server].replica.is_none() {
            return Ok(());
        }
        self.report.count(Count::Leaves);
        self.servers[server].has_left = true;
        if let Some(replica) = &mut self.servers[server].replica {
            replica.leave(now);
            self.fed.push(server);
        }
        let end = self.now_ns + LEAVES_WITHIN_NS;
        while self.now_ns < end {
            self.run_for(SECOND_NS / 10)?;
            let held = self.servers[server].replica.as_ref().map(Replica::held_elsewhere);
            if held == Some(Held::ByPeers) {
                self.report.count(Count::HeldElsewhere);
                self.check_held_without(server)?;
                break;
            }
        }
        self.servers[server].is_out = true;
        self.crash(server);
        // What it had written down no one waits for.
        self.lose_disk(server);
        Ok(())
    }

    /// A process was killed: what it stored counts for peers until they notice.
    pub(crate) fn remember_lost(&mut self, server: usize, replica: &Replica) {
        let leaves = |(_, step): &(Duration, Step)| matches!(step, Step::Leave(_));
        if !self.plan.steps.iter().any(leaves) {
            return;
        }
        let keys = 0..self.oracle.keys();
        let mut lost: Vec<_> = keys.map(|key| crate::oracle::stored(replica, key)).collect();
        for record in replica.futures() {
            if let Some((key, rank)) = key_of(record.key).zip(rank_of(&record))
                && let Some(known) = lost.get_mut(key)
            {
                *known = (*known).max(Some(rank));
            }
        }
        let lost: Rc<[Option<Rank>]> = lost.into();
        for wire in &mut self.wires {
            for (end, known) in wire.ends.iter().zip(&mut wire.lost) {
                if end.server == server && end.open {
                    *known = Some(Rc::clone(&lost));
                }
            }
        }
    }

    /// Whether a peer that held this record was killed, and the server has not noticed yet.
    fn died_unnoticed_with(&self, server: usize, key: usize, rank: Rank) -> bool {
        self.wires.iter().any(|wire| {
            let sides = wire.ends.iter().zip(wire.lost.iter().rev());
            sides.filter(|(end, _)| end.server == server && end.open).any(|(_, lost)| {
                let lost = lost.as_ref().and_then(|lost| lost.get(key).copied().flatten());
                lost >= Some(rank)
            })
        })
    }

    /// Whatever a server stores some other stores as well.
    fn check_held_without(&self, server: usize) -> Result<(), String> {
        let Some(replica) = &self.servers[server].replica else { return Ok(()) };
        if self.plan.has_liar() {
            // It may be the one that says it holds everything.
            return Ok(());
        }
        let now = self.now(server);
        for key in 0..self.oracle.keys() {
            let Some(rank) = crate::oracle::stored(replica, key) else { continue };
            let holds = |other: usize| {
                let replica = self.servers[other].replica.as_ref();
                let is_honest = self.absence(other) != Some(Absence::Lying);
                let stores = replica.is_some_and(|replica| {
                    // One that is ahead of the other's clock is kept beside what it stores.
                    crate::oracle::stored(replica, key) >= Some(rank)
                        || crate::oracle::is_void(replica, key, &rank, self.now(other))
                });
                is_honest && stores
            };
            // A second process of another's name may be the one.
            let others = (0..self.servers.len()).filter(|&other| other != server);
            if !others.into_iter().any(holds)
                && !self.died_unnoticed_with(server, key, rank)
                && !crate::oracle::is_void(replica, key, &rank, now)
            {
                return Err(format!(
                    "server {server} leaves, and no other has key {key}: {rank:?}"
                ));
            }
        }
        Ok(())
    }
}
