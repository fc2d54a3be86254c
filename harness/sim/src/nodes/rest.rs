//! The end of a history: everything is healed, the herd comes to rest, agrees, and stays quiet.

use crate::nodes::config::Being;
use crate::nodes::plan::Time;
use crate::nodes::seen::Seen;
use crate::nodes::stranger::NOBODY;
use crate::nodes::wire::Is;
use crate::nodes::world::{SECOND_NS, START_NS, World};
use herd_node::PeerState;

/// Back-offs, hellos, adoptions and subscriptions take seconds each and may follow one another; but they
/// end.
const REST_MAX_NS: u64 = 60 * SECOND_NS;

/// The herd is looked at so often.
const LOOK_NS: u64 = SECOND_NS / 2;

/// It is at rest when so many looks showed nothing new: longer than anything waits before it acts.
const LOOKS: usize = 6;

/// Of a link at rest, each way: two pings and two answers a second, and what members tell every ten.
const QUIET_BYTES_PER_S: u64 = 600;

impl World {
    /// From now on nothing goes wrong.
    pub(crate) fn heal(&mut self) -> Result<(), String> {
        self.note(|_| "-- heal".into());
        self.banish();
        if let Some(lost) = self.plan.lost {
            self.tally.see(Seen::Lost);
            self.crash(lost, true);
        }
        for edge in 0..self.edges.len() {
            self.mend(edge);
        }
        for host in 0..self.hosts.len() {
            self.hosts[host].starved_until = 0;
            if self.is_frozen(host) {
                self.hosts[host].frozen_until = self.now_ns;
                self.thaw(host);
            }
        }
        for conn in self.live.clone() {
            if self.conns[conn].ends[0].host == NOBODY {
                self.close_end(conn, 0, "", true);
            }
        }
        // A clock that is wrong by more than others accept keeps links down: all are set to the latest
        // time that any has shown, so that no report lies in anybody's future.
        let latest_ns = self.oracle.latest_ns - START_NS - self.now_ns.cast_signed();
        let least_ns = self.hosts.iter().map(|host| host.ahead_ns).min().unwrap_or(0);
        if latest_ns - least_ns > 55 * SECOND_NS.cast_signed() {
            for host in 0..self.hosts.len() {
                self.set_clock(host, latest_ns);
            }
        }
        for host in 0..self.plan.hosts() {
            if self.plan.lost != Some(host) {
                self.start(host);
            }
        }
        self.carry_out()?;
        self.check()
    }

    /// Waits until all agree, all links are up, and nothing more is said.
    pub(crate) fn come_to_rest(&mut self) -> Result<(), String> {
        let start_ns = self.now_ns;
        let mut quiet = 0;
        let mut traffic = self.traffic();
        let mut agreed_ns = None;
        while quiet < LOOKS {
            if self.now_ns - start_ns > REST_MAX_NS {
                return Err(match self.differences() {
                    Some(difference) => format!("at rest: {difference}"),
                    None => format!("never quiet: {traffic:?} to {:?}", self.traffic()),
                });
            }
            self.run_until(self.now_ns + LOOK_NS)?;
            let now = self.traffic();
            let calm = now == traffic && self.differences().is_none() && !self.is_comparing();
            traffic = now;
            if calm {
                agreed_ns.get_or_insert(self.now_ns);
                quiet += 1;
            } else {
                agreed_ns = None;
                quiet = 0;
            }
        }
        let took_ns = agreed_ns.unwrap_or(self.now_ns) - start_ns;
        self.tally.settled_ms_max = self.tally.settled_ms_max.max(took_ns / 1_000_000);
        Ok(())
    }

    /// Every server still passes on what it is told.
    pub(crate) fn write_once_more(&mut self) -> Result<(), String> {
        for host in 0..self.plan.hosts() {
            self.write(host, &format!("last{host}"), Time::Ago(0), 0)?;
        }
        Ok(())
    }

    /// Nothing happens any more but what keeps links alive.
    pub(crate) fn rest(&mut self) -> Result<(), String> {
        let (traffic, bytes) = (self.traffic(), self.bytes());
        if self.plan.rest_ns > 10 * SECOND_NS {
            self.tally.see(Seen::LongRests);
        }
        self.run_until(self.now_ns + self.plan.rest_ns)?;
        if let Some(difference) = self.differences() {
            return Err(format!("after a rest: {difference}"));
        }
        if self.traffic() != traffic {
            return Err(format!("not quiet: {traffic:?} to {:?}", self.traffic()));
        }
        let spent = self.bytes() - bytes;
        let allowed = self.plan.edges.len() as u64 * 2 * QUIET_BYTES_PER_S;
        if spent * SECOND_NS > allowed * self.plan.rest_ns {
            return Err(format!("{spent} bytes were sent while nothing happened"));
        }
        self.check_rest()
    }

    /// Whether some server has not ended a comparison, in which sums go over slow links though nothing is lacking.
    fn is_comparing(&self) -> bool {
        let servers = self.hosts.iter().filter_map(|host| host.server());
        servers.into_iter().any(|server| server.node.replica().is_comparing())
    }

    fn up(&self, host: usize) -> bool {
        !self.hosts[host].is_down()
    }

    /// Entries sent, lines of foreign servers, links that came up.
    fn traffic(&self) -> (u64, u64, u64) {
        let mut traffic = (0, 0, 0);
        for host in &self.hosts {
            match &host.is {
                Being::Server(server) => {
                    let stats = server.node.replica().stats();
                    traffic.0 += stats.sent + stats.donated;
                    let ups = server.node.peers().map(|peer| peer.counters.links_up);
                    traffic.2 += ups.sum::<u64>();
                }
                Being::Foreign(foreign) => traffic.1 += foreign.traffic,
                Being::Down => {}
            }
        }
        traffic
    }

    fn bytes(&self) -> u64 {
        let servers = self.hosts.iter().filter_map(|host| host.server());
        servers.flat_map(|server| server.node.peers()).map(|peer| peer.counters.bytes_sent).sum()
    }

    /// How the herd is not as it should be at rest.
    fn differences(&self) -> Option<String> {
        let mut expected = 0;
        for (edge, &(a, b)) in self.plan.edges.iter().enumerate() {
            if !self.up(a) || !self.up(b) {
                continue;
            }
            let conns = self.live.iter().filter(|&&conn| self.conns[conn].edge == Some(edge));
            let conns: Vec<_> = conns.collect();
            let dials = |host: usize| self.hosts[host].foreign().is_some_and(|f| f.plan.dials);
            let wanted = if self.plan.is_foreign(a) { 1 } else { 1 + usize::from(dials(b)) };
            if conns.len() != wanted {
                return Some(format!("{} connections between {a} and {b}: {conns:?}", conns.len()));
            }
            let open = |&&&conn: &&&usize| self.conns[conn].ends.iter().all(|end| end.open);
            if !conns.iter().all(|conn| open(&conn)) {
                return Some(format!("half a connection between {a} and {b}"));
            }
            expected += wanted;
        }
        if self.live.len() != expected {
            return Some(format!("{} connections instead of {expected}", self.live.len()));
        }
        let first = (0..self.plan.servers).find(|&host| self.up(host))?;
        let view = self.oracle.view(first)?;
        for host in 0..self.plan.servers {
            let Some(server) = self.hosts[host].server() else { continue };
            for (peer, neighbor) in server.node.peers().zip(&self.hosts[host].neighbors) {
                if self.up(neighbor.host) && peer.state != PeerState::Up {
                    return Some(format!("{host} has no link to {}: {peer:?}", peer.name));
                }
            }
            let other = self.oracle.view(host)?;
            if other != view {
                let key = view.iter().find(|(key, rank)| other.get(*key) != Some(*rank));
                return Some(format!(
                    "{first} and {host} differ: {key:?}; {} and {} keys",
                    view.len(),
                    other.len()
                ));
            }
        }
        self.foreign_difference(first)
    }

    /// A foreign server has heard what is newest, and what it said is known.
    fn foreign_difference(&self, first: usize) -> Option<String> {
        let node = &self.hosts[first].server()?.node;
        let mut lines = Vec::new();
        for record in node.replica().records() {
            let client = std::str::from_utf8(record.key.get(1..)?).ok()?;
            let mut line = Vec::new();
            node.locate_stored(client)?.report.write_at(client, &mut line);
            line.pop();
            lines.push(String::from_utf8(line).ok()?);
        }
        for (at, host) in self.hosts.iter().enumerate() {
            let Some(foreign) = host.foreign() else { continue };
            let linked =
                host.neighbors.iter().any(|n| n.host < self.plan.servers && self.up(n.host));
            if let Some(line) = lines.iter().find(|line| linked && !foreign.heard.contains(*line)) {
                return Some(format!("{at} was not told {line:?}"));
            }
        }
        for &conn in &self.live {
            for end in &self.conns[conn].ends {
                let Is::Foreign { told, .. } = &end.is else { continue };
                let other =
                    &self.conns[conn].ends[usize::from(end.host == self.conns[conn].ends[0].host)];
                if self.plan.is_foreign(other.host) {
                    continue;
                }
                for (client, said) in told {
                    // What lies later may have been clamped by whoever heard it.
                    let past = said.0 < START_NS - 500 * SECOND_NS.cast_signed();
                    let shown = self.oracle.shown(other.host, &super::oracle::key_of(client));
                    if past && shown.is_none_or(|shown| shown < said) {
                        return Some(format!("{} did not take {client} {said:?}", other.host));
                    }
                }
            }
        }
        None
    }

    fn check_rest(&self) -> Result<(), String> {
        for (at, host) in self.hosts.iter().enumerate() {
            let Some(server) = host.server() else { continue };
            if server.node.links().count() != server.links.len() {
                return Err(format!("server {at} holds links that are closed"));
            }
            for (peer, neighbor) in server.node.peers().zip(&host.neighbors) {
                let native = neighbor.host < self.plan.servers && self.up(neighbor.host);
                if native && peer.round_trip.is_none() {
                    return Err(format!("server {at} does not know how far away {} is", peer.name));
                }
            }
        }
        Ok(())
    }

    /// Adds up what only servers know.
    pub(crate) fn sum_up(&mut self) {
        for host in 0..self.hosts.len() {
            self.count_happenings(host);
        }
    }

    pub(crate) fn count_happenings(&mut self, host: usize) {
        let Some(server) = self.hosts[host].server() else { return };
        let happened = server.node.replica().stats();
        let discovered =
            server.node.peers().zip(&self.hosts[host].neighbors).filter(|(peer, n)| {
                let foreign = self.plan.is_foreign(n.host);
                foreign && peer.dialect == herd_node::Dialect::Native && peer.counters.links_up > 0
            });
        let discovered = discovered.count() as u64;
        self.tally.add_many(Seen::Discovered, discovered);
        self.tally.add_many(Seen::Comparisons, happened.comparisons);
        self.tally.add_many(Seen::Differing, happened.comparisons_differing);
        self.tally.add_many(Seen::Fetched, happened.fetched_new);
        self.tally.add_many(Seen::Duplicates, happened.duplicates);
        self.tally.add_many(Seen::Resubscriptions, happened.resubscriptions);
        self.tally.add_many(Seen::Scans, happened.scans);
    }
}
