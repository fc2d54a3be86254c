//! Who belongs to the herd: nodes that join though nobody's config named them, are taken out and come back
//! later with what they remember, or leave.
//!
//! That nothing forgotten comes back is promised among members. A node that is none may hold what the
//! others lack; they forget a key without waiting for it, and when it comes back they cannot know that what
//! it brings is older than what they dropped. So what only such a node holds counts as said anew. What the
//! others held as well when it went is promised: it may not come back with it.

use crate::history::{Sim, name};
use herd_replica::Replica;
use std::collections::BTreeSet;

/// What is known of one node.
#[derive(Debug)]
pub(crate) struct Standing {
    /// The nodes that its config names, itself among them.
    pub(crate) config: BTreeSet<usize>,
    /// Some other node may not wait for it.
    pub(crate) is_out: bool,
    /// It has said that it leaves, and has only that to say until it starts anew.
    pub(crate) has_left: bool,
}

impl Standing {
    /// Of each node at first: all know each other, but for the guest.
    pub(crate) fn at_first(nodes: usize, guest: Option<usize>) -> Vec<Self> {
        let is_named = |by: usize, node: usize| Some(node) != guest || Some(by) == guest;
        (0..nodes)
            .map(|node| Self {
                config: (0..nodes).filter(|&other| is_named(node, other)).collect(),
                is_out: Some(node) == guest,
                has_left: false,
            })
            .collect()
    }
}

impl Sim {
    /// Those of `tellers`, a bit each, no longer name a node in their config; its links are cut.
    pub(crate) fn take_out(&mut self, node: usize, tellers: u64) {
        if self.standing[node].is_out || self.plan.nodes < 2 {
            return;
        }
        self.report.taken_out += 1;
        self.count_out(node);
        self.set_cuts(|(a, b)| a == node || b == node, [true; 2]);
        let someone = (node + 1) % self.plan.nodes;
        for teller in (0..self.plan.nodes).filter(|&teller| teller != node) {
            if (tellers >> teller & 1 == 1 || teller == someone)
                && self.standing[teller].config.remove(&node)
            {
                self.read_config(teller);
            }
        }
    }

    /// The neighbours of a node name it in their config, its links are whole, and it is up; with what it
    /// remembers, unless it had crashed or said that it leaves.
    pub(crate) fn put_back(&mut self, node: usize) {
        if !self.standing[node].is_out {
            return;
        }
        let edges = self.plan.edges.clone();
        for (a, b) in edges.into_iter().filter(|&(a, b)| a == node || b == node) {
            let neighbour = a + b - node;
            if self.standing[neighbour].config.insert(node) {
                self.read_config(neighbour);
            }
        }
        self.set_cuts(|(a, b)| a == node || b == node, [false; 2]);
        if self.standing[node].has_left {
            self.crash(node);
        }
        if self.nodes[node].is_some() {
            self.report.returns += 1;
        } else {
            self.report.joins += 1;
            self.start(node);
        }
    }

    /// A node says that it leaves; a crash is to follow.
    pub(crate) fn leave(&mut self, node: usize) {
        let now = self.now(node);
        if self.nodes[node].is_none() || self.standing[node].is_out {
            return;
        }
        self.report.leaves += 1;
        self.count_out(node);
        self.standing[node].has_left = true;
        if let Some(replica) = &mut self.nodes[node] {
            replica.leave(now);
            self.fed.push(node);
        }
    }

    fn read_config(&mut self, node: usize) {
        let now = self.now(node);
        let names = self.standing[node].config.iter().copied().map(name).collect();
        if let Some(replica) = &mut self.nodes[node] {
            replica.set_members(names, now);
            self.fed.push(node);
        }
    }

    /// A node starts with nothing: it does not wait for those that its config does not name, until it
    /// hears of them.
    pub(crate) fn forget_members(&mut self, node: usize) {
        self.standing[node].has_left = false;
        for other in 0..self.plan.nodes {
            if !self.standing[node].config.contains(&other) {
                self.count_out(other);
            }
        }
    }

    /// From now on nobody need wait for a node.
    fn count_out(&mut self, node: usize) {
        self.standing[node].is_out = true;
        // What it holds though nobody committed it there it may issue again.
        self.excuse(node, true);
    }

    /// Whoever is known to all others is a member again; until then what only it holds is excused, as is
    /// what it takes without knowing of what was forgotten.
    pub(crate) fn settle_standing(&mut self) {
        for node in 0..self.plan.nodes {
            if self.standing[node].is_out {
                self.excuse(node, false);
                // Nor does it take up commits before it has fetched everything, so it may issue again what it
                // shows without one, as its own: nobody waits for that.
                if let Some(replica) = &self.nodes[node] {
                    self.oracle.excuse_uncommitted(replica);
                }
                // What was forgotten until now may be gone everywhere without its having heard of it.
                self.oracle.missed(node, self.now_ns);
                // What is on a disk nobody has waited for before its node is up, and that it was out is to be
                // known then: the others may have dropped tombstones of what it brings.
                let is_back = self.nodes[node].is_some() || self.directories[node].is_none();
                self.standing[node].is_out = !(is_back && self.is_known(node));
            }
        }
    }

    fn is_known(&self, node: usize) -> bool {
        let name = name(node);
        let waits = |replica: &Replica| {
            replica.members().any(|member| *member.name == *name && !member.has_left)
        };
        let others = self.nodes.iter().enumerate().filter(|&(other, _)| other != node);
        !self.standing[node].has_left && others.filter_map(|(_, r)| r.as_ref()).all(waits)
    }

    pub(crate) fn excuse(&mut self, node: usize, uncommitted: bool) {
        let Some(replica) = &self.nodes[node] else { return };
        let others =
            self.nodes.iter().enumerate().filter(|&(other, _)| other != node || uncommitted);
        let others: Vec<_> = others.filter_map(|(_, other)| other.as_ref()).collect();
        self.oracle.excuse(replica, &others);
    }
}
