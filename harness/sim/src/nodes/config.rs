//! Who is in the world, and how each server is told to be.

use crate::nodes::Fault;
use crate::nodes::foreign::Foreign;
use crate::nodes::plan::Plan;
use herd_node::{DialRole, Dialect, LinkId, Node, PeerSettings, Redundancy, Settings, Tuning};
use herd_proto::Versions;
use std::collections::BTreeMap;
use std::time::Duration;

/// A report may be ordered so far ahead of its server's clock.
pub(crate) const FUTURE_SKEW_MAX: Duration = Duration::from_mins(1);
pub(crate) const DEAD_AFTER: Duration = Duration::from_millis(1500);
pub(crate) const HELLO_WITHIN: Duration = Duration::from_millis(1500);
pub(crate) const BACKOFF_MIN: Duration = Duration::from_millis(50);
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(5);
pub(crate) const LINE_BYTES_MAX: usize = 8192;

/// Somebody who has an address.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) herd: &'static str,
    pub(crate) neighbors: Vec<Neighbor>,
    /// How far its clock is ahead of the right one.
    pub(crate) ahead_ns: i64,
    /// It does nothing before this moment.
    pub(crate) frozen_until: u64,
    /// Until then it runs for a tenth of the time.
    pub(crate) starved_until: u64,
    /// When its clock was last set.
    pub(crate) clock_set_ns: u64,
    /// Counts its starts.
    pub(crate) life: u64,
    /// The greatest incarnation it ever had.
    pub(crate) incarnation: u64,
    /// Not of the plan: it ends before the herd comes to rest.
    pub(crate) guest: bool,
    pub(crate) is: Being,
}

#[derive(Debug)]
pub(crate) enum Being {
    Down,
    Server(Box<Server>),
    Foreign(Foreign),
}

/// A running server of ours.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) node: Node,
    pub(crate) started_ns: u64,
    /// When its timer fires.
    pub(crate) timer_ns: u64,
    /// Where each link is: connection and side.
    pub(crate) links: BTreeMap<LinkId, (usize, usize)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Neighbor {
    pub(crate) host: usize,
    pub(crate) edge: Option<usize>,
}

impl Host {
    pub(crate) fn new(name: String, neighbors: Vec<Neighbor>) -> Self {
        Self {
            name,
            herd: "news",
            neighbors,
            ahead_ns: 0,
            frozen_until: 0,
            starved_until: 0,
            clock_set_ns: 0,
            life: 0,
            incarnation: 0,
            guest: false,
            is: Being::Down,
        }
    }

    pub(crate) fn server(&self) -> Option<&Server> {
        match &self.is {
            Being::Server(server) => Some(server),
            Being::Down | Being::Foreign(_) => None,
        }
    }

    pub(crate) fn server_mut(&mut self) -> Option<&mut Server> {
        match &mut self.is {
            Being::Server(server) => Some(server),
            Being::Down | Being::Foreign(_) => None,
        }
    }

    pub(crate) fn foreign_mut(&mut self) -> Option<&mut Foreign> {
        match &mut self.is {
            Being::Foreign(foreign) => Some(foreign),
            Being::Down | Being::Server(_) => None,
        }
    }

    pub(crate) fn foreign(&self) -> Option<&Foreign> {
        match &self.is {
            Being::Foreign(foreign) => Some(foreign),
            Being::Down | Being::Server(_) => None,
        }
    }

    pub(crate) fn is_down(&self) -> bool {
        matches!(self.is, Being::Down)
    }
}

impl Plan {
    pub(crate) fn is_foreign(&self, host: usize) -> bool {
        host >= self.servers && host < self.hosts()
    }

    /// The hosts of the plan, none of them started.
    pub(crate) fn found(&self) -> Vec<Host> {
        let neighbors = |at: usize| {
            let ends = (0..).zip(&self.edges).filter_map(|(edge, &(a, b))| {
                let host = if a == at { Some(b) } else { (b == at).then_some(a) }?;
                Some(Neighbor { host, edge: Some(edge) })
            });
            ends.collect()
        };
        let mut hosts: Vec<_> =
            (0..self.hosts()).map(|at| Host::new(name(self, at), neighbors(at))).collect();
        for (host, &ahead_s) in hosts.iter_mut().zip(&self.skews_s) {
            host.ahead_ns = ahead_s * 1_000_000_000;
        }
        hosts
    }

    /// What the server at `at` is told at its start.
    pub(crate) fn settings(&self, hosts: &[Host], at: usize, seed: u64) -> Settings {
        let me = &hosts[at];
        let peer = |neighbor: &Neighbor| {
            let foreign = self.is_foreign(neighbor.host);
            let at_once = foreign && !self.foreign[neighbor.host - self.servers].taken_for_ours;
            let name = hosts[neighbor.host].name.clone();
            let always = foreign || me.name < name || me.guest;
            PeerSettings {
                name,
                dialect: if at_once { Dialect::At } else { Dialect::Native },
                role: if always { DialRole::Always } else { DialRole::Once },
                dead_after: DEAD_AFTER,
            }
        };
        Settings {
            herd: me.herd.into(),
            name: me.name.clone(),
            incarnation: me.incarnation,
            frames: Versions::CURRENT,
            seed,
            peers: me.neighbors.iter().map(peer).collect(),
            members: (0..self.servers).map(|at| name(self, at).into()).collect(),
            redundancy: match self.redundancy {
                0 => Redundancy::All,
                ways => Redundancy::Ways(ways),
            },
            forget_after: Duration::from_mins(10),
            horizon: Duration::from_hours(30 * 24),
            expire_after: None,
            future_skew_max: FUTURE_SKEW_MAX,
            ceiling: herd_node::Ceiling::default(),
            line_bytes_max: LINE_BYTES_MAX,
            ping_every: Duration::from_millis(500),
            hello_within: HELLO_WITHIN,
            backoff_min: BACKOFF_MIN,
            backoff_max: BACKOFF_MAX,
            ready_grace: Duration::from_secs(3),
        }
    }

    pub(crate) fn tuning(&self, fault: Option<Fault>) -> Tuning {
        let mutant = match fault {
            Some(Fault::Replica(mutant)) => Some(mutant),
            Some(Fault::Node(_)) | None => None,
        };
        Tuning { scan_arrivals_min: self.scan_arrivals_min, mutant, ..Tuning::default() }
    }
}

fn name(plan: &Plan, at: usize) -> String {
    if at < plan.servers {
        char::from(b'A' + u8::try_from(at).unwrap_or(0)).to_string()
    } else {
        format!("foreign{}", at - plan.servers)
    }
}
