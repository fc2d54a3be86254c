//! What a plan's steps do to the world.

use crate::oracle::{FUTURE_SKEW_MAX, stored};
use crate::plan::{Step, Time, nanos};
use crate::rank::{Rank, key_bytes, rank_of, value_bytes, value_of};
use crate::report::Count;
use crate::world::{SECOND_NS, World};
use herd_proto::Record;
use herd_replica::{Applied, LinkId, Replica};

/// The link of all foreign servers.
const FOREIGN: LinkId = LinkId(u64::MAX);

/// A client's report, or a forgetting.
struct Update {
    key: usize,
    effective_ns: i64,
    received_ns: i64,
    value: u16,
    relayed: bool,
}

impl World {
    pub(crate) fn step(&mut self, step: Step) -> Result<(), String> {
        self.note(|_| format!("{step:?}"));
        match step {
            Step::Write { server, key, time, value, relayed } => {
                self.write(server, key, time, value, relayed)?;
            }
            Step::Burst { server, keys } => {
                for key in 0..keys {
                    self.write(server, key, Time::Now, (key % 3) as u8, false)?;
                }
            }
            Step::Forget { server, key } => self.forget(server, key)?,
            Step::Crash(server) => self.crash(server),
            Step::Start(server) => self.start(server),
            Step::Restart(server) => self.restart(server),
            Step::Storm { server, times, every_ms } => {
                self.report.count(Count::Storms);
                for _ in 0..times {
                    self.restart(server);
                    self.report.count(Count::StormStarts);
                    self.run_for(u64::from(every_ms) * 1_000_000)?;
                }
            }
            Step::Stop(server) => self.stop(server),
            Step::PowerCut(server) => self.cut_power(server),
            Step::KillAll { power } => {
                self.report.count(Count::KillAlls);
                for server in 0..self.plan.servers {
                    if power { self.cut_power(server) } else { self.crash(server) }
                }
            }
            Step::StartAll => {
                let out = |world: &Self, server: usize| world.servers[server].is_out;
                for server in 0..self.plan.servers {
                    if !out(self, server) {
                        self.start(server);
                    }
                }
            }
            Step::OtherLifetime(server) => {
                let this = &mut self.servers[server];
                this.lifetime = 1 - this.lifetime;
            }
            Step::Cut(ends, ways) => {
                let one_way = ways != [true; 2];
                self.report.count(if one_way { Count::OneWayCuts } else { Count::Cuts });
                self.set_cuts(|line| line == ends, ways);
            }
            Step::Heal(ends) => self.set_cuts(|line| line == ends, [false; 2]),
            Step::Break(ends) => self.break_line(ends)?,
            Step::Double(ends) => self.double(ends)?,
            Step::Isolate(server) => {
                self.report.count(Count::Cuts);
                self.cut_all_of(server, [true; 2]);
            }
            Step::Split(servers) => {
                self.report.count(Count::Splits);
                self.set_cuts(|(a, b)| (servers >> a & 1) != (servers >> b & 1), [true; 2]);
            }
            Step::HealAll => self.set_cuts(|_| true, [false; 2]),
            Step::Jump(server, seconds) => self.jump(server, seconds),
            Step::TakeOut(server, tellers) => self.take_out(server, tellers),
            Step::PutBack(server) => self.put_back(server),
            Step::Leave(server) => self.leave(server)?,
            Step::Disk(server, trouble) => self.trouble(server, trouble),
            Step::Twin { of, same_incarnation } => self.start_twin(of, same_incarnation),
            Step::EndTwin => self.end_twin(),
        }
        self.look_at_fed()
    }

    pub(crate) fn write(
        &mut self,
        server: usize,
        key: usize,
        time: Time,
        value: u8,
        relayed: bool,
    ) -> Result<(), String> {
        let wall = self.now(server).unix.nanos();
        let second = SECOND_NS.cast_signed();
        let forgotten = self.forgotten_ns.get(key).copied().filter(|&ns| ns > 0);
        let effective_ns = match time {
            Time::Now => wall,
            Time::Second(ago) => wall / second * second - ago * second,
            Time::Ago(ago) => wall - ago,
            Time::Future(ahead) => wall + ahead * second,
            Time::Forgotten => forgotten.unwrap_or(wall),
            Time::BeforeForgotten(ago) => forgotten.unwrap_or(wall) - ago,
        };
        // Only values with a writer can be reissued by it; others may be equal at two servers.
        let writer = self.plan.has_clocks() && !relayed;
        let count = self.report.of(Count::Updates);
        let value = value_of(value, writer.then_some(self.servers[server].name), count);
        // A foreign server names the time at which it received what it relays.
        let ago = if relayed { self.chance.below(3 * SECOND_NS).cast_signed() } else { 0 };
        let received_ns = wall - ago;
        let latest = self.now(server).unix.saturating_add(FUTURE_SKEW_MAX).nanos();
        let update = Update { key, effective_ns, received_ns, value, relayed };
        if forgotten.is_some_and(|forgotten| effective_ns <= forgotten) {
            self.report.count(Count::BehindForgotten);
        }
        if effective_ns > wall {
            self.report.count(Count::WrongPhones);
        }
        // A node bounds what clients say.
        let update = Update { effective_ns: effective_ns.min(latest), ..update };
        self.update(server, &update)
    }

    /// A server accepts a report, or not, as it should.
    fn update(&mut self, server: usize, update: &Update) -> Result<(), String> {
        let &Update { key, effective_ns, received_ns, value, relayed } = update;
        let now = self.now(server);
        let has_left = self.servers[server].has_left;
        let Some(replica) = self.servers[server].replica.as_mut().filter(|_| !has_left) else {
            return Ok(());
        };
        let before = stored(replica, key);
        let mut bytes = self.spare.pop().unwrap_or_default();
        value_bytes(value, &mut bytes);
        let name = key_bytes(key);
        let tombstone = false;
        let record = Record { key: &name, effective_ns, received_ns, tombstone, value: &bytes };
        let applied =
            if relayed { replica.relay(record, FOREIGN, now) } else { replica.update(record, now) };
        self.spare.push(bytes);
        self.note(|_| format!("  {key} {effective_ns} {value}: {applied:?}"));
        if applied != Applied::Newer {
            self.report.count(Count::Refused);
            return self.touched(server);
        }
        let replica = self.servers[server].replica.as_ref();
        let Some(after) = replica.and_then(|replica| stored(replica, key)) else {
            return Err(format!("server {server} accepted key {key}, and does not store it"));
        };
        let is_as_said = after.value == value
            && !after.tombstone
            && after.effective_ns == effective_ns
            && after.received_ns == received_ns;
        if !is_as_said {
            return Err(format!("server {server} made {after:?} of {effective_ns} {value}"));
        }
        self.report.count(Count::Updates);
        self.report.count_many(Count::Relays, relayed.into());
        let collides = before.is_some_and(|before| before.effective_ns == after.effective_ns);
        self.report.count_many(Count::Collisions, collides.into());
        self.accepted(server, key)?;
        self.touched(server)
    }

    /// A server stores under a key what it has just accepted, and numbered.
    pub(crate) fn accepted(&mut self, server: usize, key: usize) -> Result<(), String> {
        let Some(replica) = &self.servers[server].replica else { return Ok(()) };
        let Some(rank) = stored(replica, key) else { return Ok(()) };
        self.accepted_as(server, key, rank)
    }

    fn accepted_as(&mut self, server: usize, key: usize, rank: Rank) -> Result<(), String> {
        let Some(replica) = &self.servers[server].replica else { return Ok(()) };
        let position = replica.position();
        if self.absence(server) != Some(crate::plan::Absence::Lying) {
            let Some(replica) = &self.servers[server].replica else { return Ok(()) };
            self.oracle.accept(key, rank, replica, self.now_ns)?;
        }
        if let Some(writer) = &mut self.servers[server].writer {
            writer.wait(position, key, rank);
        }
        Ok(())
    }

    fn forget(&mut self, server: usize, key: usize) -> Result<(), String> {
        let now = self.now(server);
        let has_left = self.servers[server].has_left;
        let Some(replica) = self.servers[server].replica.as_mut().filter(|_| !has_left) else {
            return Ok(());
        };
        if replica.forget(&key_bytes(key), now) {
            // Before the clock is looked at again, the tombstone of a record that was ahead is as well.
            let ahead = replica.futures().find(|record| record.key == key_bytes(key));
            let stored = replica.get(&key_bytes(key));
            let tombstone = stored.filter(|record| record.tombstone).or(ahead);
            let Some(rank) = tombstone.as_ref().and_then(rank_of).filter(|rank| rank.tombstone)
            else {
                let held = (replica.get(&key_bytes(key)), replica.futures().next());
                return Err(format!(
                    "server {server} forgot key {key} without a tombstone: {held:?}"
                ));
            };
            self.report.count(Count::Forgets);
            if self.forgotten_ns.len() <= key {
                self.forgotten_ns.resize(key + 1, 0);
            }
            self.forgotten_ns[key] = self.forgotten_ns[key].max(rank.effective_ns);
            self.note(|_| format!("  forgotten: {rank:?}"));
            self.accepted_as(server, key, rank)?;
        }
        self.touched(server)
    }

    /// Sets a clock to so many seconds before or after what its plan says.
    pub(crate) fn jump(&mut self, server: usize, seconds: i64) {
        let planned = self.plan.skews_s.get(server).copied().unwrap_or_default();
        let skew_ns = planned.saturating_add(seconds) * SECOND_NS.cast_signed();
        if self.servers[server].skew_ns == skew_ns {
            return;
        }
        self.report.count(Count::Jumps);
        self.report.count_many(Count::YearJumps, u64::from(seconds > 86_400));
        self.set_clock(server, skew_ns);
    }

    pub(crate) fn set_clock(&mut self, server: usize, skew_ns: i64) {
        self.servers[server].skew_ns = skew_ns;
        self.oracle.see_skew(skew_ns);
        let now = self.now(server);
        if let Some(replica) = &mut self.servers[server].replica {
            replica.clock_jumped(now);
            self.fed.push(server);
        }
        for server in &mut self.servers {
            server.clocks_at = server.clocks_at.min(self.now_ns + SECOND_NS / 10);
        }
    }

    /// A node compares its clock with those of its peers, which its pings tell, and reissues what it stamped
    /// with a clock that was ahead.
    pub(crate) fn look_at_clocks(&mut self, server: usize) -> Result<(), String> {
        self.servers[server].clocks_at = self.now_ns + SECOND_NS;
        let mut peers = Vec::new();
        for wire in 0..self.wires.len() {
            let one = &self.wires[wire];
            let Some(side) = one.ends.iter().position(|end| end.server == server) else { continue };
            if !one.is_open() {
                continue;
            }
            let peer = one.ends[1 - side].server;
            if self.clocks_clash(server, peer) {
                self.report.count(Count::RefusedClocks);
                self.break_wire(wire);
            } else {
                peers.push(peer);
            }
        }
        let own = self.servers[server].skew_ns;
        let differs =
            |&&peer: &&usize| self.servers[peer].skew_ns.abs_diff(own) > nanos(FUTURE_SKEW_MAX);
        let agrees = 2 * peers.iter().filter(differs).count() <= peers.len();
        let name = self.servers[server].name;
        let now = self.now(server);
        let Some(replica) = &mut self.servers[server].replica else { return Ok(()) };
        replica.set_clock_agrees(agrees);
        for key in own_futures(replica, name) {
            let Some(replica) = &mut self.servers[server].replica else { return Ok(()) };
            let before = stored(replica, key);
            replica.reissue(&key_bytes(key), now);
            if stored(replica, key) != before {
                self.report.count(Count::Futures);
                self.accepted(server, key)?;
            }
        }
        self.fed.push(server);
        Ok(())
    }
}

/// The keys of records of the future that this server wrote.
fn own_futures(replica: &Replica, name: usize) -> Vec<usize> {
    let own = |record: Record<'_>| {
        let writer = rank_of(&record).map(|rank| crate::rank::writer_of(rank.value));
        (writer == Some(name)).then(|| crate::rank::key_of(record.key)).flatten()
    };
    replica.futures().filter_map(own).collect()
}
