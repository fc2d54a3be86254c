//! Servers of other makes: they know nothing but AT lines, and are not careful with them.
//!
//! They order reports by the client's time as it stands in the line, and pass every text on as it came.

use crate::nodes::config::FUTURE_SKEW_MAX;
use crate::nodes::oracle::key_of;
use crate::nodes::plan::{ForeignPlan, Habit};
use crate::nodes::seen::Seen;
use crate::nodes::wire::Is;
use crate::nodes::world::World;
use herd_proto::{At, Command, Frame, Report, effective_time};
use std::collections::{BTreeMap, BTreeSet};

/// What a foreign server knows.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub(crate) plan: ForeignPlan,
    /// By client: time and line.
    known: BTreeMap<String, (i64, String)>,
    /// All lines that it was ever told, or wrote.
    pub(crate) heard: BTreeSet<String>,
    /// Lines heard and lines said.
    pub(crate) traffic: u64,
}

impl Foreign {
    pub(crate) fn new(plan: ForeignPlan) -> Self {
        Self { plan, known: BTreeMap::new(), heard: BTreeSet::new(), traffic: 0 }
    }

    /// Whether a line is newer than what is known.
    fn learn(&mut self, at: &At<'_>, line: &str) -> bool {
        self.heard.insert(line.to_owned());
        let time = at.report.time.nanos();
        let newer = self.known.get(at.report.client).is_none_or(|(known, _)| *known < time);
        if newer {
            self.known.insert(at.report.client.to_owned(), (time, line.to_owned()));
        }
        newer
    }
}

impl World {
    /// A connection of a foreign server is open: some tell all that they know.
    pub(crate) fn foreign_greets(&mut self, conn: usize, side: usize) {
        let [a, b] = &self.conns[conn].ends;
        let host = if side == 0 { a.host } else { b.host };
        let Is::Foreign { speaks, heard, .. } = self.conns[conn].ends[side].is else { return };
        let Some(foreign) = self.hosts[host].foreign() else { return };
        // Some speak first; others wait for the first line where one is bound to come, and tell everything
        // after their answer.
        let waits = self.waits(conn, side) && !heard;
        if !speaks || waits || foreign.plan.habit != Habit::Resend {
            return;
        }
        let lines: Vec<_> = foreign.known.values().map(|(_, line)| line.clone()).collect();
        self.tally.see(Seen::ForeignStates);
        for line in lines {
            self.foreign_says(conn, side, &line);
        }
        self.pump(conn, side);
    }

    fn foreign_says(&mut self, conn: usize, side: usize, line: &str) {
        let end = &mut self.conns[conn].ends[side];
        if !end.open {
            return;
        }
        let Is::Foreign { told, said, .. } = &mut end.is else { return };
        said.insert(line.to_owned());
        let Command::At(at) = Command::parse(line.as_bytes()) else { return };
        let effective = effective_time(at.report.time, at.difference, FUTURE_SKEW_MAX).nanos();
        let mut value = Vec::new();
        Report::encode_relayed(&at, &mut value);
        let best = told.entry(at.report.client.to_owned()).or_default();
        if *best < (effective, value.clone()) {
            *best = (effective, value);
        }
        end.pending.extend(line.bytes());
        end.pending.push_back(b'\n');
        self.tally.see(Seen::ForeignTold);
        let host = end.host;
        if let Some(foreign) = self.hosts[host].foreign_mut() {
            foreign.traffic += 1;
        }
    }

    pub(crate) fn foreign_hears(&mut self, conn: usize, side: usize, bytes: &[u8]) {
        let end = &mut self.conns[conn].ends[side];
        let Is::Foreign { framer, heard, .. } = &mut end.is else { return };
        let first = !*heard;
        let lines: Vec<Vec<u8>> = framer
            .feed(bytes)
            .map(|frame| match frame {
                Frame::Line(line) | Frame::TooLong(line) => line.to_vec(),
            })
            .collect();
        framer.settle();
        *heard |= !lines.is_empty();
        let greets = first && *heard;
        for line in lines {
            self.foreign_hears_line(conn, side, &line);
        }
        if greets && self.waits(conn, side) {
            self.foreign_greets(conn, side);
        }
        self.pump(conn, side);
    }

    fn waits(&self, conn: usize, side: usize) -> bool {
        let [a, b] = &self.conns[conn].ends;
        let taken = self.hosts[b.host].foreign().is_some_and(|f| f.plan.taken_for_ours);
        side == 1 && !self.plan.is_foreign(a.host) && taken && b.host % 2 == 0
    }

    fn foreign_hears_line(&mut self, conn: usize, side: usize, line: &[u8]) {
        let host = self.conns[conn].ends[side].host;
        let text = String::from_utf8_lossy(line).into_owned();
        if text.trim().is_empty() {
            return;
        }
        if let Some(foreign) = self.hosts[host].foreign_mut() {
            foreign.traffic += 1;
        }
        let Command::At(at) = Command::parse(text.as_bytes()) else {
            // Whoever asks is answered, whatever it is, also an answer. Two of them would never end.
            let sender = self.conns[conn].ends[1 - side].host;
            if self.plan.is_foreign(sender) || side == 0 {
                return;
            }
            let end = &mut self.conns[conn].ends[side];
            end.pending.extend(format!("? {text}\n").bytes());
            return;
        };
        self.tally.see(Seen::ForeignLines);
        let sender = self.conns[conn].ends[1 - side].host;
        let ours = !self.plan.is_foreign(sender);
        if ours && at.server == self.hosts[host].name {
            self.tally.see(Seen::ForeignLoops);
        }
        let Is::Foreign { said, .. } = &self.conns[conn].ends[side].is else { return };
        if said.contains(&text) && self.only_way(host) {
            self.oracle.wrong =
                Some(format!("{sender} tells a foreign server what that said: {text}"));
        }
        let Some(foreign) = self.hosts[host].foreign_mut() else { return };
        let newer = foreign.learn(&at, &text);
        let echoes = foreign.plan.habit == Habit::Echo;
        if newer || ours && echoes {
            self.foreign_spreads(host, (!echoes).then_some(sender), &text);
        }
    }

    /// Whether what this foreign server said can have come to ours in one way only: nobody else tells it,
    /// and nobody has lost what it heard.
    fn only_way(&self, host: usize) -> bool {
        let alone = self.plan.foreign.len() == 1 && self.hosts[host].neighbors.len() == 1;
        // One that tells everything at first may do so while it is told the same.
        let plain = |foreign: &Foreign| !foreign.plan.dials && foreign.plan.habit != Habit::Resend;
        alone
            && self.hosts[host].foreign().is_some_and(plain)
            && !self.crashed
            && !self.oracle.any_set_back()
            && self.hosts.len() == self.plan.hosts()
    }

    /// A foreign server tells all its neighbors but one.
    pub(crate) fn foreign_spreads(&mut self, host: usize, but: Option<usize>, line: &str) {
        for conn in self.live.clone() {
            for side in 0..2 {
                let [a, b] = &self.conns[conn].ends;
                let (end, other) = if side == 0 { (a, b) } else { (b, a) };
                let speaks = matches!(end.is, Is::Foreign { speaks: true, .. });
                if end.host == host && end.open && speaks && but != Some(other.host) {
                    self.foreign_says(conn, side, line);
                    self.pump(conn, side);
                }
            }
        }
    }

    /// A foreign server says to everyone what nobody understands.
    pub(crate) fn foreign_nonsense(&mut self, host: usize) {
        for conn in self.live.clone() {
            for side in 0..2 {
                let end = &mut self.conns[conn].ends[side];
                if end.host == host && end.open && matches!(end.is, Is::Foreign { .. }) {
                    self.tally.see(Seen::ForeignNonsense);
                    end.pending.extend(b"AT the moment I cannot say\n");
                    self.pump(conn, side);
                }
            }
        }
    }

    /// A client of a foreign server reports. Its clock runs as it likes, and it prints as it likes.
    pub(crate) fn foreign_report(&mut self, host: usize, iamat: &str, difference: &str) {
        let name = self.hosts[host].name.clone();
        let Command::Iamat(report) = Command::parse(iamat.as_bytes()) else { return };
        let line = format!(
            "AT {name} {difference} {} {} {}",
            report.client, report.location, report.time_text
        );
        let Command::At(at) = Command::parse(line.as_bytes()) else { return };
        let effective = effective_time(at.report.time, at.difference, FUTURE_SKEW_MAX).nanos();
        let mut value = Vec::new();
        Report::encode_relayed(&at, &mut value);
        self.oracle.said(&key_of(report.client), value, effective, false);
        let Some(foreign) = self.hosts[host].foreign_mut() else { return };
        if foreign.learn(&at, &line) {
            self.note(|_| line.clone());
            self.tally.see(Seen::ForeignReports);
            self.foreign_spreads(host, None, &line);
        }
    }
}
