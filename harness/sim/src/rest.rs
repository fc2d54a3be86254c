//! The end of a history: everything is healed, and then all servers must agree, and fall silent.

use crate::oracle::{is_future, is_void, stored, visible};
use crate::plan::{Absence, Edge, Kind, Time, Trouble, nanos};
use crate::rank::{Rank, key_bytes};
use crate::report::Count;
use crate::tuning::has_small_tables;
use crate::world::{SECOND_NS, START_NS, Sent, World, name};
use herd_replica::{Origin, Replica};
use std::collections::BTreeSet;
use std::time::Duration;

/// Whatever is slow takes its time, but ends.
const AGREES_WITHIN_NS: u64 = 600 * SECOND_NS;

/// How long it takes at most, on fast links, until what a dead server said to some is known to all: that its links are
/// lost is noticed, streams are asked for elsewhere, silence is noticed, and buckets are compared hop by hop.
const PROMPT_NS: u64 = 20 * SECOND_NS;

/// Between two looks at whether servers agree.
const LOOKS_EVERY_NS: u64 = SECOND_NS / 4;

/// A busy replica looks at its timers this often.
const TICK_NS: u64 = SECOND_NS / 50;

/// A walk that changes a key could look at so many others instead.
const LOOKS_PER_CHANGE: u64 = 16;

/// Under these keys all write once more.
const LAST_KEYS: usize = 2000;

/// Rounds of writes until every stream flows along a tree.
const ROUNDS_MAX: usize = 12;

impl World {
    pub(crate) fn rest(&mut self) -> Result<(), String> {
        self.heal()?;
        let floors = self.floors();
        if self.plan.has_liar() {
            return self.go_on_with_a_liar();
        }
        if self.plan.kind == Kind::Prompt {
            return self.be_prompt(&floors);
        }
        self.agree()?;
        self.run_for(LOOKS_EVERY_NS)?;
        self.check_floors(&floors)?;
        self.check_due()?;
        self.check_labels()?;
        self.check_kept()?;
        self.report.count_many(Count::StreamlessRests, self.lacks_streams().into());
        // The rest takes long; the histories are many.
        let small = has_small_tables(&self.plan.tuning);
        if self.chance.per_mille(if small { 400 } else { 120 }) {
            self.fall_silent()?;
            self.write_once_more()?;
            self.agree()?;
        }
        self.let_the_future_come()?;
        self.check_kept()
    }

    fn heal(&mut self) -> Result<(), String> {
        self.note(|_| "heal".to_owned());
        self.end_twin();
        for server in 0..self.plan.servers {
            self.set_clock_right(server, 0);
            self.trouble(server, Trouble::Repaired);
            self.servers[server].lifetime = 0;
            let is_other = self.servers[server].lifetime_now != 0;
            let has_other = is_other && self.plan.lifetimes[0] != self.plan.lifetimes[1];
            if has_other || self.knows_the_future(server) {
                self.crash(server);
            }
        }
        self.set_cuts(|_| true, [false; 2]);
        for wire in self.wires.iter_mut().filter(|wire| wire.breaks_at < u64::MAX) {
            // Of two connections one goes now.
            wire.breaks_at = wire.breaks_at.min(self.now_ns + 2 * SECOND_NS);
        }
        for line in &mut self.lines {
            line.lives_ns = None;
        }
        for server in 0..self.plan.servers {
            self.put_back(server);
            if self.absence(server) == Some(Absence::Dead) {
                self.crash(server);
                self.servers[server].is_out = true;
            } else {
                self.start(server);
            }
        }
        self.run_for(0)
    }

    /// Whether a server has, or knows, an incarnation that only a wrong clock can have made.
    fn knows_the_future(&self, server: usize) -> bool {
        let latest = START_NS.unsigned_abs() + self.now_ns + 80_000 * SECOND_NS;
        let this = &self.servers[server];
        let knows = |other: usize| {
            let known = this.replica.as_ref().and_then(|r| r.latest_incarnation(&name(other)));
            known.is_some_and(|known| known > latest)
        };
        this.incarnation > latest || (0..self.plan.servers).any(knows)
    }

    fn set_clock_right(&mut self, server: usize, skew_ns: i64) {
        if self.servers[server].skew_ns != skew_ns {
            self.set_clock(server, skew_ns);
        }
    }

    /// The servers that must agree, with their replicas.
    fn honest(&self) -> impl Iterator<Item = (usize, &Replica)> {
        let present = (0..self.plan.servers).filter(|&server| self.absence(server).is_none());
        present.filter_map(|server| Some((server, self.servers[server].replica.as_ref()?)))
    }

    /// The greatest records that any server stores now.
    fn floors(&self) -> Vec<Option<Rank>> {
        let due = |(server, replica): (usize, &Replica), key| {
            // Clocks were set right a moment ago, which replicas may not have noticed yet.
            stored(replica, key).filter(|rank| !is_future(rank, self.now(server).unix))
        };
        let greatest = |key| self.honest().filter_map(|one| due(one, key)).max();
        (0..self.oracle.keys()).map(greatest).collect()
    }

    fn check_floors(&mut self, floors: &[Option<Rank>]) -> Result<(), String> {
        let mut expired = 0;
        for (server, replica) in self.honest() {
            let now = self.now(server);
            for (key, floor) in floors.iter().enumerate() {
                let Some(floor) = floor else { continue };
                let stored = stored(replica, key);
                if stored < Some(*floor) {
                    let is_gone = is_void(replica, key, floor, now)
                        || self.oracle.has_lost_to_expired(replica, key, floor, now);
                    if !is_gone {
                        return Err(format!(
                            "server {server} at rest lacks {floor:?} of key {key}: {stored:?}"
                        ));
                    }
                    expired += 1;
                }
            }
        }
        self.report.count_many(Count::ExpiredAtRest, expired);
        Ok(())
    }

    /// Clients are shown nothing before it is due, and what is not due is set aside as soon as servers have walked over
    /// all that they store.
    fn check_due(&mut self) -> Result<(), String> {
        let end = self.now_ns + self.walks_within_ns();
        loop {
            let Some((early, is_shown)) = self.early() else { return Ok(()) };
            if is_shown || self.now_ns >= end {
                return Err(early);
            }
            self.run_for(LOOKS_EVERY_NS)?;
        }
    }

    /// A record that is stored before it is due though its place beside is free, and whether clients are shown it.
    fn early(&self) -> Option<(String, bool)> {
        let mut waits = None;
        for (server, replica) in self.honest() {
            let now = self.now(server);
            for key in 0..self.oracle.keys() {
                let bytes = key_bytes(key);
                if !stored(replica, key).is_some_and(|rank| is_future(&rank, now.unix)) {
                    continue;
                }
                if replica.get(&bytes).is_some_and(|record| replica.is_shown(&record, now.unix)) {
                    return Some((
                        format!("server {server} shows key {key} before it is due"),
                        true,
                    ));
                }
                if replica.futures().all(|record| record.key != bytes) {
                    let what = format!("server {server} stores key {key} before it is due");
                    waits.get_or_insert((what, false));
                }
            }
        }
        waits
    }

    /// Each label counts, and so stands in a log, once streams that have ended were walked over.
    fn check_labels(&mut self) -> Result<(), String> {
        let end = self.now_ns + AGREES_WITHIN_NS;
        loop {
            let dead = self
                .honest()
                .map(|(server, replica)| (server, replica.census()))
                .find(|(_, census)| census.labels > census.arrivals);
            let Some((server, census)) = dead else { return Ok(()) };
            if self.now_ns >= end {
                return Err(format!("server {server} keeps labels of no stream: {census:?}"));
            }
            self.run_for(LOOKS_EVERY_NS)?;
        }
    }

    /// How long a walk over the largest table takes, after one that is under way.
    fn walks_within_ns(&self) -> u64 {
        let slots = self.honest().map(|(_, replica)| replica.places()).max().unwrap_or_default();
        let walked = u64::from(self.plan.tuning.walked_max.max(1));
        let ticks = u64::from(slots) * LOOKS_PER_CHANGE / walked + 2;
        2 * ticks * TICK_NS
    }

    /// How long it takes until nothing is kept for a server that is gone.
    fn lets_go_within_ns(&self) -> u64 {
        let all_are_there = (0..self.plan.servers).all(|one| self.servers[one].replica.is_some());
        let forgets = if all_are_there { 0 } else { self.forget_after_ns() };
        let arrivals = self.honest().map(|(_, replica)| replica.census().arrivals as u64);
        let ticks =
            arrivals.max().unwrap_or(0) / self.plan.tuning.trimmed_segments_max.max(1) as u64;
        forgets + ticks * TICK_NS + self.walks_within_ns()
    }

    /// What a server said before it died is the same everywhere soon, and then nothing is sent any more.
    fn be_prompt(&mut self, floors: &[Option<Rank>]) -> Result<(), String> {
        self.agree_within(PROMPT_NS)?;
        self.check_floors(floors)?;
        self.check_kept()?;
        let end = self.now_ns + PROMPT_NS;
        loop {
            self.sent = Sent::default();
            self.run_for(2 * SECOND_NS)?;
            let sent = self.sent;
            if sent.entries + sent.others + sent.watermarks == 0 {
                self.report.count(Count::PromptRests);
                // What was under way may have come after all were the same.
                return self.difference().map_or(Ok(()), |what| Err(format!("not soon, {what}")));
            }
            if self.now_ns >= end {
                return Err(format!("not silent soon: in 2 s {sent:?}"));
            }
        }
    }

    pub(crate) fn agree(&mut self) -> Result<(), String> {
        self.agree_within(AGREES_WITHIN_NS)
    }

    fn agree_within(&mut self, span_ns: u64) -> Result<(), String> {
        let end = self.now_ns + span_ns;
        loop {
            let Some(difference) = self.difference() else { return Ok(()) };
            if self.now_ns >= end {
                return Err(format!("at rest, {difference}"));
            }
            self.run_for(LOOKS_EVERY_NS)?;
        }
    }

    /// Two servers that show different records, if there are any.
    fn difference(&self) -> Option<String> {
        let (first, one) = self.honest().next()?;
        let now = self.now(first);
        for key in 0..self.oracle.keys() {
            let here = visible(one, key, now);
            for (server, other) in self.honest() {
                let there = visible(other, key, now);
                if here != there {
                    return Some(format!(
                        "server {first} holds {here:?} of key {key}, server {server} {there:?}"
                    ));
                }
            }
        }
        None
    }

    /// Nothing is sent any more but heartbeats and one root per link and comparison.
    fn fall_silent(&mut self) -> Result<(), String> {
        self.know_who_is_there()?;
        let window = 2 * nanos(self.plan.tuning.compare_every).max(SECOND_NS);
        let end = self.now_ns + AGREES_WITHIN_NS + self.lets_go_within_ns();
        loop {
            self.sent = Sent::default();
            // A second connection between two servers, which compares as the first does, is lost within 2 s.
            let connections = self.wires.iter().filter(|w| w.ends.iter().any(|end| end.open));
            let directions = 2 * connections.count() as u64;
            self.run_for(window)?;
            let sent = self.sent;
            let is_slow = matches!(self.plan.absent, Some((_, Absence::Mute | Absence::Thin)));
            let is_silent = sent.entries + sent.others + sent.watermarks == 0;
            let held = self.check_streams().and_then(|()| self.check_streamless());
            if (is_silent || is_slow) && held.is_ok() {
                self.report.count(Count::QuietChecks);
                return if is_slow { Ok(()) } else { self.check_roots(sent, window, directions) };
            }
            if self.now_ns >= end {
                held?;
                return Err(format!("never silent: in {} s {sent:?}", window / SECOND_NS));
            }
        }
    }

    /// One comparison in each direction of a connection within `compare_every`.
    fn check_roots(&self, sent: Sent, window: u64, directions: u64) -> Result<(), String> {
        let rounds = window / nanos(self.plan.tuning.compare_every).max(1) + 2;
        if sent.roots > directions * rounds || sent.answers > 2 * (sent.roots + directions) {
            return Err(format!("too many comparisons at rest: {sent:?} on {directions}"));
        }
        Ok(())
    }

    /// Streams known are those of the servers that are up, and of no one who was silent for long.
    fn know_who_is_there(&mut self) -> Result<(), String> {
        let end = self.now_ns + self.forget_after_ns().min(20 * SECOND_NS) + 120 * SECOND_NS;
        loop {
            let Some(stranger) = self.stranger() else { return Ok(()) };
            if self.now_ns >= end {
                return Err(stranger);
            }
            self.run_for(SECOND_NS)?;
        }
    }

    /// A stream known at rest though its server is not there.
    fn stranger(&self) -> Option<String> {
        let forgets = self.forget_after_ns() <= 20 * SECOND_NS;
        let is_there = |origin: &Origin| {
            let mut named = self.servers.iter().take(self.plan.servers);
            named.any(|server| {
                let is_up = server.replica.is_some();
                name(server.name) == origin.server
                    && (is_up && server.incarnation == origin.incarnation || !is_up && !forgets)
            })
        };
        for (server, replica) in self.honest() {
            let streams = replica.streams().map(|stream| stream.origin);
            let mut strangers =
                streams.filter(|&origin| !is_there(origin) && !self.is_unheard(server, origin));
            if let Some(origin) = strangers.next() {
                return Some(format!("server {server} at rest knows the stream of {origin:?}"));
            }
        }
        None
    }

    /// Whether no peer can tell a server that an incarnation has ended: none has a stream of the later one.
    fn is_unheard(&self, server: usize, origin: &Origin) -> bool {
        if self.forget_after_ns() <= 20 * SECOND_NS || !has_small_tables(&self.plan.tuning) {
            return false;
        }
        let mut peers = self.honest().filter(|&(other, _)| self.are_linked(server, other));
        peers.all(|(_, peer)| {
            let is_later = |other: &Origin| {
                other.server == origin.server && other.incarnation > origin.incarnation
            };
            !peer.streams().any(|stream| is_later(stream.origin))
        })
    }

    /// At rest everyone holds every stream as far as its own server does.
    fn check_streams(&self) -> Result<(), String> {
        for (server, replica) in self.honest() {
            for stream in replica.streams() {
                let own = |(_, other): &(usize, &Replica)| {
                    other.streams().next().is_some_and(|own| own.origin == stream.origin)
                };
                let version = self
                    .honest()
                    .find(own)
                    .and_then(|(_, other)| other.streams().next().map(|stream| stream.version));
                let reaches = || self.reached(stream.origin).contains(&server);
                if version.is_some_and(|version| version != stream.version) && reaches() {
                    return Err(format!("server {server} at rest: {stream:?} of {version:?}"));
                }
            }
            check_census(replica, self.plan.tuning.segment_arrivals, self.waiting(server, replica))
                .map_err(|what| format!("server {server} {what}"))?;
        }
        Ok(())
    }

    /// Streams of a server that some peer does not have: their labels wait for it. A peer that is slow or mute counts.
    fn waiting(&self, server: usize, replica: &Replica) -> u64 {
        let peers = (0..self.plan.servers).filter(|&other| self.are_linked(server, other));
        let peers: Vec<_> =
            peers.filter_map(|other| self.servers[other].replica.as_ref()).collect();
        let is_lacking = |origin: &Origin| {
            peers.iter().any(|peer| peer.streams().all(|stream| stream.origin != origin))
        };
        replica.streams().filter(|stream| is_lacking(stream.origin)).count() as u64
    }

    /// The servers that a stream reaches from its own. It ends where a table is full, and where a later incarnation is
    /// known, which a server that started with its clock set back may not learn from its own peers; whoever is behind
    /// may have it from an earlier time.
    fn reached(&self, origin: &Origin) -> BTreeSet<usize> {
        let small = has_small_tables(&self.plan.tuning);
        let has_it = |(_, replica): &(usize, &Replica)| {
            let latest = replica.latest_incarnation(&origin.server);
            let is_ended = latest.is_some_and(|latest| latest > origin.incarnation);
            !is_ended && (!small || replica.streams().any(|stream| stream.origin == origin))
        };
        let is_own = |(_, replica): &(usize, &Replica)| {
            replica.streams().next().is_some_and(|own| own.origin == origin)
        };
        let have_it: BTreeSet<_> = self.honest().filter(has_it).map(|(server, _)| server).collect();
        let mut reached: BTreeSet<_> =
            self.honest().find(is_own).map(|(own, _)| own).into_iter().collect();
        loop {
            let before = reached.len();
            for &Edge { ends: (a, b), .. } in &self.plan.edges {
                if reached.contains(&a) || reached.contains(&b) {
                    reached.extend([a, b].into_iter().filter(|end| have_it.contains(end)));
                }
            }
            if reached.len() == before {
                return reached;
            }
        }
    }

    /// Links on which a stream may be sent to a server that has dropped it, which takes its entries like records of a
    /// bucket: it asked for it before, and its table is full since.
    fn still_sent(&self) -> u64 {
        let ends_at = |origin: &Origin| {
            let reached = self.reached(origin);
            let is_end =
                |edge: &&Edge| reached.contains(&edge.ends.0) != reached.contains(&edge.ends.1);
            self.plan.edges.iter().filter(is_end).count() as u64
        };
        self.own_streams().map(ends_at).sum()
    }

    /// The own stream of each server that is there.
    fn own_streams(&self) -> impl Iterator<Item = &Origin> {
        self.honest().filter_map(|(_, replica)| Some(replica.streams().next()?.origin))
    }

    /// Whether some server has no stream of another.
    fn lacks_streams(&self) -> bool {
        let servers = self.honest().count();
        has_small_tables(&self.plan.tuning)
            && self.honest().any(|(_, replica)| {
                let known: Vec<_> = replica.streams().map(|stream| stream.origin).collect();
                self.own_streams().filter(|own| known.contains(own)).count() < servers
            })
    }

    /// A server lacks a stream that a peer has only if its table is full, which it says, or if it takes it for ended.
    fn check_streamless(&self) -> Result<(), String> {
        let most = self.plan.tuning.streams_max;
        for (server, replica) in self.honest() {
            let known: BTreeSet<_> = replica.streams().map(|stream| stream.origin).collect();
            if known.len() > most {
                return Err(format!("server {server} has {} streams of {most}", known.len()));
            }
            let peers = self.honest().filter(|&(other, _)| self.are_linked(server, other));
            for (peer, other) in peers {
                let is_lacking = |origin: &&Origin| {
                    let latest = replica.latest_incarnation(&origin.server);
                    self.is_of_now(origin)
                        && !known.contains(*origin)
                        && latest.is_none_or(|latest| latest <= origin.incarnation)
                };
                let mut lacks = other.streams().map(|stream| stream.origin).filter(is_lacking);
                if let Some(origin) = lacks.next()
                    && !(known.len() == most && self.servers[server].was_full)
                {
                    return Err(format!(
                        "server {server} has no stream of {origin:?}, as {peer} has, and {} of {most}",
                        known.len()
                    ));
                }
            }
        }
        Ok(())
    }

    fn are_linked(&self, one: usize, other: usize) -> bool {
        self.plan.edges.iter().any(|edge| edge.ends == (one, other) || edge.ends == (other, one))
    }

    /// Whether a stream is that of a server that is there.
    fn is_of_now(&self, origin: &Origin) -> bool {
        self.own_streams().any(|own| own == origin)
    }

    /// Every server writes, and again, until each write is sent to each other server once.
    fn write_once_more(&mut self) -> Result<(), String> {
        // Where a stream takes longer than its watermark by far, it is asked for elsewhere, and comes twice.
        let is_near = self.plan.delay <= Duration::from_millis(3) || self.plan.servers <= 3;
        let is_exact = self.plan.redundancy == 1
            && is_near
            && self.plan.absent.is_none()
            && self.plan.edges.iter().all(|edge| edge.rate.is_none());
        let pause = SECOND_NS / 2 + 4 * nanos(self.plan.delay);
        let (mut sent, mut expected) = (0, 0);
        for round in 0..ROUNDS_MAX {
            self.sent = Sent::default();
            for server in 0..self.plan.servers {
                if self.absence(server).is_none() {
                    let (key, value) = (LAST_KEYS + server, (round % 2) as u8);
                    self.write(server, key, Time::Now, value, false)?;
                    self.run_for(pause)?;
                }
            }
            self.run_for(4 * pause)?;
            sent = self.sent.entries;
            // Buckets bring the rest, if some server has no stream of it.
            let reached = self.own_streams().map(|own| self.reached(own).len() as u64);
            expected = reached.map(|servers| servers.saturating_sub(1)).sum();
            if !is_exact || sent >= expected && sent <= expected + self.still_sent() {
                self.report.count_many(Count::ExactChecks, is_exact.into());
                return Ok(());
            }
        }
        Err(format!("writes that {expected} servers lack are sent {sent} times"))
    }

    /// Records that wrong clocks stamped come due, and all servers still agree.
    fn let_the_future_come(&mut self) -> Result<(), String> {
        const FAR_NS: i64 = 30_000 * SECOND_NS.cast_signed();
        let latest = self.honest().flat_map(|(_, replica)| {
            replica.futures().map(|record| record.effective_ns.max(record.received_ns))
        });
        let Some(latest) = latest.max() else { return Ok(()) };
        let ahead = latest - START_NS - self.now_ns.cast_signed();
        let lives_long = self.plan.lifetimes[0].expire_after.is_none()
            && nanos(self.plan.lifetimes[0].horizon) > 2 * FAR_NS.unsigned_abs();
        if ahead > FAR_NS || !lives_long {
            return Ok(());
        }
        self.note(|_| "the future comes".to_owned());
        self.report.count(Count::FutureRests);
        for server in 0..self.plan.servers {
            self.set_clock_right(server, ahead + SECOND_NS.cast_signed());
        }
        self.run_for(SECOND_NS)?;
        self.agree()
    }

    /// With a liar in the herd the others cannot be promised to agree. Their links go on, what they write
    /// reaches each of them, and their memory is bounded.
    fn go_on_with_a_liar(&mut self) -> Result<(), String> {
        self.run_for(20 * SECOND_NS)?;
        let mut written = Vec::new();
        for server in 0..self.plan.servers {
            if self.absence(server).is_none() {
                let key = LAST_KEYS + server;
                self.write(server, key, Time::Now, 1, false)?;
                let replica = self.servers[server].replica.as_ref();
                written.extend(replica.and_then(|r| stored(r, key)).map(|rank| (key, rank)));
            }
        }
        let end = self.now_ns + AGREES_WITHIN_NS;
        while let Some(lack) = self.lack(&written) {
            if self.now_ns >= end {
                return Err(format!("with a liar, {lack}"));
            }
            self.run_for(SECOND_NS)?;
        }
        for (server, replica) in self.honest() {
            let streams = replica.streams().count();
            if streams > STREAMS_MAX.min(self.plan.tuning.streams_max) {
                return Err(format!("server {server} knows {streams} streams"));
            }
        }
        self.check_kept()
    }

    fn lack(&self, written: &[(usize, Rank)]) -> Option<String> {
        for (server, replica) in self.honest() {
            for (key, rank) in written {
                let stored = stored(replica, *key);
                if stored < Some(*rank) && !is_void(replica, *key, rank, self.now(server)) {
                    return Some(format!(
                        "server {server} lacks {rank:?} of key {key}: {stored:?}"
                    ));
                }
            }
        }
        None
    }
}

/// Streams that a liar can make a server know: eight of each of 64 names, and those of members.
const STREAMS_MAX: usize = 64 * 8 + 100;

/// Keys that no history has more of; a bound for what may be kept beside them.
const SEGMENTS_MAX: u64 = 3;

/// At rest nothing is kept but what is needed to go on.
fn check_census(replica: &Replica, segment: u64, waiting: u64) -> Result<(), String> {
    let census = replica.census();
    let keys = census.keys as u64;
    // Labels wait for a peer that has no stream of them, one of each stream at most for each key.
    let slack = SEGMENTS_MAX * segment * census.streams as u64 + 3 * keys * waiting;
    let is_bounded = census.labels as u64 <= slack
        && census.arrivals as u64 <= 3 * keys + slack
        && census.changes as u64 <= 3 * keys + 4 * segment.max(1024);
    if is_bounded { Ok(()) } else { Err(format!("keeps too much at rest: {census:?}")) }
}
