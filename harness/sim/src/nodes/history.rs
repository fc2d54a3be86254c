//! One history: its steps, its healing, its end.

use crate::nodes::config::{Being, FUTURE_SKEW_MAX, Host, Neighbor};
use crate::nodes::drive::KERNEL_TIMEOUT_NS;
use crate::nodes::oracle::key_of;
use crate::nodes::plan::{Dials, Step, Time};
use crate::nodes::seen::Seen;
use crate::nodes::wire::{Conn, Is};
use crate::nodes::world::{Ev, START_NS, World};
use herd_proto::{Command, Report, UnixTime, effective_time};

/// Second servers and intruders at most.
const GUESTS_MAX: usize = 4;

/// All of these are right, and are to be kept as they are.
const PLACES: [&str; 4] =
    ["+1+2", "+34.068930-118.445127/", "-3404.136+11826.708", "+00.50+000.50"];

/// How a foreign server prints a difference.
const DIFFERENCES: [&str; 5] = ["+0.263873386", "+0.26387", "-1.5", "+12", "+0.00000000012345"];

/// What is reported as of a second of its own lies so long before everything.
const PAST_S: i64 = 1_000;

impl World {
    pub(crate) fn history(&mut self) -> Result<(), String> {
        for (pause_ns, step) in std::mem::take(&mut self.plan.steps) {
            self.run_until(self.now_ns + pause_ns)?;
            self.note(|_| format!("-- {step:?}"));
            self.step(step)?;
            self.carry_out()?;
            self.check()?;
        }
        self.heal()?;
        self.come_to_rest()?;
        self.write_once_more()?;
        self.come_to_rest()?;
        self.rest()?;
        self.sum_up();
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Write { host, client, time, place } => {
                self.write(host, &format!("kiwi{client}"), time, place)?;
            }
            Step::Burst { host, clients } => {
                self.tally.see(Seen::Bursts);
                for client in 0..clients {
                    self.write(host, &format!("kiwi{client}"), Time::Now, client)?;
                }
            }
            Step::Crash(host, loud) => self.crash(host, loud),
            Step::Start(host) => self.start(host),
            Step::Restart(host, loud) => {
                if !self.hosts[host].is_down() {
                    self.tally.see(Seen::QuickRestarts);
                    self.crash(host, loud);
                    self.start(host);
                }
            }
            Step::Freeze(host, ms) => {
                if !self.hosts[host].is_down() {
                    self.tally.see(Seen::Freezes);
                    self.hosts[host].frozen_until = self.now_ns + ms * 1_000_000;
                    self.oracle.excuse(host);
                    self.after(ms * 1_000_000, Ev::Thaw { host });
                }
            }
            Step::Starve(host, seconds) => {
                if !self.hosts[host].is_down() {
                    self.tally.see(Seen::Starved);
                    self.hosts[host].starved_until = self.now_ns + seconds * 1_000_000_000;
                    self.starve(host);
                }
            }
            Step::Corrupt(edge) => {
                for conn in self.along(edge) {
                    self.corrupt(conn);
                }
            }
            Step::SetClock(host, ahead_s) => {
                self.tally.see(Seen::ClockJumps);
                self.set_clock(host, ahead_s * 1_000_000_000);
            }
            Step::Cut(edge, ways) => self.cut(edge, ways),
            Step::Dials(edge, dials) => self.edges[edge].dials = dials,
            Step::Mend(edge) => self.mend(edge),
            Step::MendAll => (0..self.edges.len()).for_each(|edge| self.mend(edge)),
            Step::Break(edge) => {
                for conn in self.along(edge) {
                    self.tally.see(Seen::Breaks);
                    for side in 0..2 {
                        self.close_end(conn, side, "reset", true);
                    }
                }
            }
            Step::BlackHole(edge, ways) => {
                for conn in self.along(edge) {
                    let both = ways == [true; 2];
                    self.tally.see(if both { Seen::BlackHoles } else { Seen::HalfBlackHoles });
                    for (pipe, silent) in self.conns[conn].pipes.iter_mut().zip(ways) {
                        pipe.silent |= silent;
                    }
                    self.after(KERNEL_TIMEOUT_NS, Ev::KernelEnds { conn, cuts: u64::MAX });
                }
            }
            Step::Stranger(host, talk) => self.stranger(host, talk),
            Step::Twin(host) => {
                let name = self.hosts[host].name.clone();
                let neighbors = self.hosts[host].neighbors.clone();
                let neighbors = neighbors.into_iter().map(|n| Neighbor { edge: None, ..n });
                self.welcome(Host::new(name, neighbors.collect()), Seen::Twins);
            }
            Step::Intruder(host, herd) => {
                let neighbor = self.hosts[host].neighbors.first().map_or(0, |first| first.host);
                let name = if herd { self.hosts[neighbor].name.clone() } else { "Z".to_owned() };
                let mut intruder = Host::new(name, vec![Neighbor { host, edge: None }]);
                intruder.herd = if herd { "other" } else { "news" };
                self.welcome(intruder, if herd { Seen::OtherHerd } else { Seen::Unknown });
            }
            Step::Banish => self.banish(),
            Step::Nonsense(host) => self.foreign_nonsense(host),
        }
        Ok(())
    }

    fn welcome(&mut self, mut guest: Host, seen: Seen) {
        if self.hosts.len() < self.plan.hosts() + GUESTS_MAX {
            guest.guest = true;
            self.tally.see(seen);
            self.hosts.push(guest);
            self.start(self.hosts.len() - 1);
        }
    }

    /// Whoever does not belong here is killed.
    pub(crate) fn banish(&mut self) {
        for host in self.plan.hosts()..self.hosts.len() {
            self.crash(host, true);
        }
    }

    // ---- reports ----

    pub(crate) fn write(
        &mut self,
        host: usize,
        client: &str,
        time: Time,
        place: u64,
    ) -> Result<(), String> {
        // Of two servers of one name either may be asked.
        let mut host = host;
        let twin = (self.plan.hosts()..self.hosts.len()).find(|&twin| {
            !self.hosts[twin].is_down()
                && self.hosts[twin].name == self.hosts[host].name
                && self.hosts[twin].herd == "news"
        });
        if let Some(twin) = twin.filter(|_| self.chance.per_mille(300)) {
            host = twin;
        }
        if self.hosts[host].is_down() || self.is_frozen(host) {
            return Ok(());
        }
        let now_ns = self.unix_ns(host);
        let second_ns = 1_000_000_000;
        let time_ns = match time {
            Time::Now => now_ns,
            Time::Second(second) => START_NS - (PAST_S + second) * second_ns,
            Time::Ago(seconds) => now_ns - seconds * second_ns,
            Time::Ahead(seconds) => now_ns + seconds * second_ns,
        };
        self.tally.see(match time {
            Time::Now => Seen::Reports,
            Time::Second(_) => Seen::Equal,
            Time::Ago(_) => Seen::Past,
            Time::Ahead(_) => Seen::Future,
        });
        let place = PLACES[usize::try_from(place).unwrap_or(0) % PLACES.len()];
        let (seconds, rest) = (time_ns / second_ns, time_ns % second_ns);
        let zeros = ["", "0"][self.chance.index(2)];
        let line = format!("IAMAT {client} {place} {zeros}{seconds}.{rest:09}");
        if self.plan.is_foreign(host) {
            if matches!(time, Time::Ahead(_)) {
                self.tally.see(Seen::Forged);
            }
            let difference = DIFFERENCES[self.chance.index(DIFFERENCES.len())];
            self.foreign_report(host, &line, difference);
            return Ok(());
        }
        let Command::Iamat(iamat) = Command::parse(line.as_bytes()) else {
            return Err(format!("the simulator itself is wrong: {line:?}"));
        };
        self.note(|world| format!("{} {line}", world.hosts[host].name));
        let mut value = Vec::new();
        let received = UnixTime::from_nanos(now_ns);
        Report::encode_received(&self.hosts[host].name, &iamat, received, &mut value);
        let difference = self.enter(host, |node, now| node.handle_report(&iamat, now));
        let Some(Some(difference)) = difference else { return Ok(()) };
        let effective_ns = effective_time(iamat.time, difference, FUTURE_SKEW_MAX).nanos();
        let key = key_of(client);
        self.oracle.said(&key, value.clone(), effective_ns, true);
        self.carry_out()?;
        self.check()?;
        // What was answered is there, unless it lost to what a wrong clock made.
        if self.oracle.is_set_back(host) {
            return Ok(());
        }
        let shown = self.oracle.shown(host, &key);
        if shown.is_none_or(|shown| *shown < (effective_ns, value)) {
            return Err(format!("server {host} shows {shown:?} after it was told {line}"));
        }
        let found =
            self.hosts[host].server().and_then(|server| server.node.locate(client, received));
        if found.is_none() {
            return Err(format!("server {host} does not find {client}, whom it was told of"));
        }
        Ok(())
    }

    // ---- servers ----

    /// A server loses its memory. Killed, its connections are closed for it; else nobody is told.
    pub(crate) fn crash(&mut self, host: usize, loud: bool) {
        if self.hosts[host].is_down() {
            return;
        }
        self.tally.see(match (self.plan.is_foreign(host), loud) {
            (true, _) => Seen::ForeignCrashes,
            (false, true) => Seen::Kills,
            (false, false) => Seen::PowerCuts,
        });
        self.crashed = true;
        self.count_happenings(host);
        self.note(|world| format!("{} is gone", world.hosts[host].name));
        self.hosts[host].is = Being::Down;
        self.hosts[host].frozen_until = 0;
        self.hosts[host].starved_until = 0;
        for conn in self.live.clone() {
            for side in 0..2 {
                let end = &mut self.conns[conn].ends[side];
                if end.host != host || !end.open {
                    continue;
                }
                if loud {
                    self.close_end(conn, side, "killed", true);
                    continue;
                }
                end.open = false;
                end.pending.clear();
                for pipe in &mut self.conns[conn].pipes {
                    pipe.silent = true;
                }
                if self.conns[conn].is_over() {
                    self.live.retain(|&other| other != conn);
                }
                // Once it is back it knows nothing of the connection, and says so when it hears of it.
                let wait = self.chance.below(KERNEL_TIMEOUT_NS);
                self.after(wait, Ev::Reset { conn, side: 1 - side });
            }
        }
    }

    /// A starved server is stopped for half a second to two, and then runs for a ninth of that.
    pub(crate) fn starve(&mut self, host: usize) {
        if self.hosts[host].is_down() || self.now_ns >= self.hosts[host].starved_until {
            return;
        }
        let pause_ns = 500_000_000 + self.chance.below(1_500_000_000);
        self.hosts[host].frozen_until = self.now_ns + pause_ns;
        self.oracle.excuse(host);
        self.after(pause_ns, Ev::Thaw { host });
        self.after(pause_ns + pause_ns / 9, Ev::Starve { host });
    }

    /// The wall clock of a server is set.
    pub(crate) fn set_clock(&mut self, host: usize, ahead_ns: i64) {
        if ahead_ns < self.hosts[host].ahead_ns {
            self.oracle.set_back(host);
        }
        self.hosts[host].ahead_ns = ahead_ns;
        self.hosts[host].clock_set_ns = self.now_ns;
        self.note_clocks();
    }

    // ---- edges ----

    /// One byte on its way between two servers that have said hello becomes another. Lines have no checksum.
    fn corrupt(&mut self, conn: usize) {
        /// More than any hello has.
        const PAST_HELLO_BYTES: usize = 300;
        let Conn { ends, pipes, .. } = &mut self.conns[conn];
        let are_links = ends
            .iter()
            .all(|end| matches!(end.is, Is::Link(_)) && end.received >= PAST_HELLO_BYTES);
        let foreign = ends.iter().any(|end| self.plan.is_foreign(end.host));
        let pieces = pipes.iter_mut().flat_map(|pipe| &mut pipe.pieces);
        let mut pieces: Vec<_> = pieces.filter(|piece| !piece.bytes.is_empty()).collect();
        if !are_links || foreign || pieces.is_empty() {
            return;
        }
        let at = self.chance.index(pieces.len());
        let bytes = &mut pieces[at].bytes;
        let at = self.chance.index(bytes.len());
        bytes[at] ^= 1 << self.chance.below(8);
        self.tally.see(Seen::Corrupted);
    }

    fn along(&self, edge: usize) -> Vec<usize> {
        let on = |&conn: &usize| self.conns[conn].edge == Some(edge);
        self.live.iter().copied().filter(on).collect()
    }

    fn cut(&mut self, edge: usize, ways: [bool; 2]) {
        self.tally.see(if ways == [true; 2] { Seen::Cuts } else { Seen::HalfCuts });
        self.edges[edge].cut = ways;
        self.edges[edge].cuts += 1;
        let cuts = self.edges[edge].cuts;
        for conn in self.along(edge) {
            self.after(KERNEL_TIMEOUT_NS, Ev::KernelEnds { conn, cuts });
            // The other way may have been cut before.
            for side in 0..2 {
                self.schedule(conn, side);
            }
        }
    }

    pub(crate) fn mend(&mut self, edge: usize) {
        self.edges[edge].cut = [false; 2];
        self.edges[edge].dials = Dials::Reach;
        for conn in self.along(edge) {
            for side in 0..2 {
                self.schedule(conn, side);
            }
        }
    }
}
