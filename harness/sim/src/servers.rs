//! Processes that start, end, and take another incarnation; two processes of one name.

use crate::oracle::FUTURE_SKEW_MAX;
use crate::plan::nanos;
use crate::report::Count;
use crate::world::{Line, SECOND_NS, START_NS, World, name};
use herd_replica::{Mutant, Origin, Redundancy, Replica, Settings, Tuning};
use herd_store::Identity;

const DAY_NS: u64 = 86_400 * SECOND_NS;

impl World {
    /// Starts a server that is down, from its disk if it has one.
    pub(crate) fn start(&mut self, server: usize) {
        if self.servers[server].replica.is_some() {
            return;
        }
        self.starts += 1;
        // Two starts at one moment of virtual time would be some time apart.
        let by_clock = self.now(server).unix.nanos().cast_unsigned() + self.starts;
        let is_kept = self.mutant == Some(Mutant::IncarnationKept);
        let kept = START_NS.unsigned_abs() + server as u64;
        self.start_as(server, if is_kept { kept } else { by_clock }, is_kept);
    }

    /// Starts a process of this incarnation, or a later one if its disk asks for that.
    fn start_as(&mut self, server: usize, incarnation: u64, is_forced: bool) {
        let storage = match self.open_directory(server) {
            Ok(storage) => storage,
            Err(error) => return self.note(|_| format!("server {server} does not start: {error}")),
        };
        let next = storage.as_ref().map_or(incarnation, |s| s.next_incarnation(incarnation));
        // One that a wrong clock left on the disk counts for nothing.
        let next = if next > incarnation + DAY_NS { incarnation } else { next };
        let incarnation = if is_forced { incarnation } else { next };
        let this = &mut self.servers[server];
        if this.lifetime_now != this.lifetime {
            this.lifetime_now = this.lifetime;
            self.report.count(Count::Lifetimes);
        }
        let this = &mut self.servers[server];
        this.incarnation = incarnation;
        this.has_left = false;
        this.was_full = false;
        this.renewal = None;
        this.clocks_at =
            if self.plan.has_clocks() { self.now_ns + SECOND_NS / 10 } else { u64::MAX };
        let mut replica = Replica::new(self.settings(server, incarnation), self.now(server));
        self.dial_at = None;
        self.oracle.begin(server);
        if let Some(storage) = storage
            && let Err(error) = self.load(server, storage, &mut replica)
        {
            // It cannot start; later it may.
            self.oracle.end(server);
            return self.note(|_| format!("server {server} does not start: {error}"));
        }
        self.note(|_| format!("server {server} starts as {incarnation}"));
        self.servers[server].replica = Some(replica);
        self.fed.push(server);
        if let Err(what) = self.check_acknowledged(server) {
            self.fault = Some(what);
        }
    }

    fn settings(&mut self, server: usize, incarnation: u64) -> Settings {
        let this = &self.servers[server];
        let lifetime = self.plan.lifetimes[this.lifetime_now];
        Settings {
            origin: Origin { server: name(this.name), incarnation },
            members: this.config.iter().copied().map(name).collect(),
            redundancy: match self.plan.redundancy {
                0 => Redundancy::All,
                ways => Redundancy::Ways(ways),
            },
            future_skew_max: FUTURE_SKEW_MAX,
            forget_after: self.plan.forget_after,
            horizon: lifetime.horizon,
            expire_after: lifetime.expire_after,
            seed: self.chance.next(),
            tuning: Tuning { mutant: self.mutant, ..self.plan.tuning.clone() },
        }
    }

    /// A process is killed.
    pub(crate) fn crash(&mut self, server: usize) {
        let Some(replica) = self.servers[server].replica.take() else { return };
        self.report.count(Count::Crashes);
        self.remember_lost(server, &replica);
        self.leave_directory(server);
        self.servers[server].renewal = None;
        self.oracle.end(server);
        self.break_all_of(server);
    }

    pub(crate) fn restart(&mut self, server: usize) {
        self.crash(server);
        self.start(server);
    }

    /// A process writes everything down and ends.
    pub(crate) fn stop(&mut self, server: usize) {
        if self.servers[server].replica.is_some() {
            self.report.count(Count::Stops);
            self.write_everything(server);
            self.crash(server);
        }
    }

    /// A node that learns that others know more of its name than it does: it takes a later incarnation, at once
    /// or, if it did so lately, after a while.
    pub(crate) fn plan_renewal(&mut self, server: usize, least: u64) {
        let after = self.chance.below(SECOND_NS);
        let this = &mut self.servers[server];
        let (at, known) = this.renewal.unwrap_or((self.now_ns + after, 0));
        this.renewal = Some((at, known.max(least)));
    }

    pub(crate) fn renew(&mut self, server: usize) {
        let Some((_, least)) = self.servers[server].renewal.take() else { return };
        if self.servers[server].replica.is_none() {
            return;
        }
        self.break_all_of(server);
        let now = self.now(server);
        self.starts += 1;
        // Two processes of one name that pass each other must not meet at one number.
        let apart = self.chance.below(1 << 20);
        let by_clock = now.unix.nanos().cast_unsigned() + self.starts;
        let this = &mut self.servers[server];
        this.incarnation = by_clock.max(least).max(this.incarnation + 1) + apart;
        let incarnation = this.incarnation;
        if let Some(replica) = &mut this.replica {
            replica.renew(incarnation, now);
        }
        let identity =
            Identity { herd: "herd".to_owned(), server: name(this.name).into(), incarnation };
        if let Some(writer) = &mut this.writer
            && writer.storage_mut().start_incarnation(identity, now.unix).is_err()
        {
            self.report.count(Count::WriteErrors);
        }
        self.report.count(Count::Renewals);
        self.note(|_| format!("server {server} goes on as {incarnation}"));
        self.fed.push(server);
    }

    // ---- two processes of one name ----

    /// The place of a second process.
    fn twin(&self) -> usize {
        self.plan.servers
    }

    pub(crate) fn start_twin(&mut self, of: usize, same_incarnation: bool) {
        let twin = self.twin();
        if self.servers[twin].replica.is_some() || self.servers[of].replica.is_none() {
            return;
        }
        let original = &self.servers[of];
        let (incarnation, config) = (original.incarnation, original.config.clone());
        let (skew_ns, lifetime) = (original.skew_ns, original.lifetime);
        let directory = self.copy_of_directory(of);
        let place = &mut self.servers[twin];
        place.name = of;
        place.config = config;
        place.skew_ns = skew_ns;
        place.lifetime = lifetime;
        place.directory = directory;
        let lines: Vec<_> = self.lines.iter().map(|line| line.ends).collect();
        for (a, b) in lines.into_iter().filter(|&(a, b)| a == of || b == of) {
            let ends = if a == of { (twin, b) } else { (a, twin) };
            let dial_at = self.now_ns;
            self.lines.push(Line { ends, rate: None, lives_ns: None, cut: [false; 2], dial_at });
        }
        self.report.count(Count::Twins);
        // Where numbers are used twice, versions are wrong until both have renewed.
        if same_incarnation {
            self.report.count(Count::EqualTwins);
            let origin = Origin { server: name(of), incarnation };
            self.oracle.share(&origin);
            self.may_repair = true;
            self.start_as(twin, incarnation, true);
        } else {
            self.start(twin);
        }
    }

    pub(crate) fn end_twin(&mut self) {
        let twin = self.twin();
        self.crash(twin);
        self.servers[twin].directory = None;
        for wire in 0..self.wires.len() {
            let (a, b) = self.lines[self.wires[wire].edge].ends;
            if a == twin || b == twin {
                self.close_ends(wire);
            }
        }
        // No line of the plan leads there, so its own are the last.
        self.wires.retain(|wire| {
            let (a, b) = self.lines[wire.edge].ends;
            a != twin && b != twin
        });
        self.lines.retain(|line| line.ends.0 != twin && line.ends.1 != twin);
        self.dial_at = None;
    }

    /// How long it takes until a silent process is noticed by everyone.
    pub(crate) fn forget_after_ns(&self) -> u64 {
        nanos(self.plan.forget_after)
    }
}
