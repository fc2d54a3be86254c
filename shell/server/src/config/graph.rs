//! Who is whose neighbor, who dials, and what a herd falls apart into.

use super::{Config, Limits, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// A neighbor of one server, seen from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it listens.
    pub address: SocketAddr,
    /// What is spoken with it.
    pub protocol: Protocol,
    /// How long it may be silent; the same from either end.
    pub dead_after: Duration,
    /// Which of the two names the other.
    pub naming: Naming,
}

/// Which of two neighbors names the other in its `neighbors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The one that asks names the other.
    Ours,
    /// The other names the one that asks.
    Theirs,
    /// Each names the other.
    Both,
}

impl Config {
    /// The neighbors of the server `name` by name: those it names and those that name it. A name that
    /// no server has is left out, and so is the server itself; [`check`](Self::check) reports both.
    pub fn neighbors<'a>(&'a self, name: &str) -> Vec<Neighbor<'a>> {
        let far = self.servers.get(name).is_some_and(|server| server.wan);
        let others = self.servers.iter().filter(|(other, _)| *other != name);
        others
            .filter_map(|(other, server)| {
                let naming = self.naming(name, other)?;
                let (address, protocol) = (server.listen, server.protocol);
                let wan = far || server.wan;
                let Limits { link_dead, link_dead_wan, .. } = self.limits;
                let dead_after = if wan { link_dead_wan } else { link_dead };
                Some(Neighbor { name: other, address, protocol, dead_after, naming })
            })
            .collect()
    }

    /// True if it is for `me` to dial `other`: the lower name dials, or the one that names the other
    /// where only one does. A server that speaks plain AT lines is always dialed by its neighbors,
    /// as it may not know how to dial. False if the two are no neighbors.
    pub fn dials(&self, me: &str, other: &str) -> bool {
        let Some(naming) = self.naming(me, other) else { return false };
        let foreign = |name| self.servers.get(name).is_some_and(|s| s.protocol == Protocol::At);
        match (foreign(me), foreign(other)) {
            (false, true) => true,
            (true, false) => false,
            (false, false) | (true, true) => match naming {
                Naming::Ours => true,
                Naming::Theirs => false,
                Naming::Both => me < other,
            },
        }
    }

    fn naming(&self, me: &str, other: &str) -> Option<Naming> {
        let names = |from: &str, to: &str| {
            self.servers.get(from).is_some_and(|s| s.neighbors.iter().any(|n| n == to))
        };
        match (names(me, other), names(other, me)) {
            _ if me == other => None,
            (true, true) => Some(Naming::Both),
            (true, false) => Some(Naming::Ours),
            (false, true) => Some(Naming::Theirs),
            (false, false) => None,
        }
    }

    /// The parts of the herd between which there is no way, without the server `lost`; each part and
    /// all of them by name.
    pub(super) fn parts<'a>(&'a self, lost: Option<&str>) -> Vec<Vec<&'a str>> {
        let mut links: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, server) in &self.servers {
            links.entry(name).or_default();
            for other in server.neighbors.iter().filter(|n| self.servers.contains_key(*n)) {
                links.entry(name).or_default().push(other);
                links.entry(other).or_default().push(name);
            }
        }
        let mut unseen: BTreeSet<&str> =
            links.keys().copied().filter(|name| Some(*name) != lost).collect();
        let mut parts = Vec::new();
        while let Some(first) = unseen.pop_first() {
            let mut part = vec![first];
            let mut seen = 0;
            while let Some(name) = part.get(seen) {
                let next = links.get(name).into_iter().flatten();
                let new: Vec<&str> = next.filter(|n| unseen.remove(**n)).copied().collect();
                part.extend(new);
                seen += 1;
            }
            part.sort_unstable();
            parts.push(part);
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::load;
    use super::*;

    #[test]
    fn naming_one_end_is_enough() {
        let config = herd(&[("B", "\"A\"", ""), ("A", "", ""), ("C", "\"A\"", "")]);
        let names: Vec<_> = config.neighbors("A").iter().map(|n| (n.name, n.naming)).collect();
        assert_eq!(names, [("B", Naming::Theirs), ("C", Naming::Theirs)]);
        let [a] = config.neighbors("B")[..] else { panic!("one neighbor") };
        assert_eq!((a.name, a.naming), ("A", Naming::Ours));
        assert_eq!(a.address, config.servers["A"].listen);
    }

    #[test]
    fn both_ends_of_a_link_wait_as_long() {
        let config =
            herd(&[("A", "\"B\", \"C\"", ""), ("B", "\"C\"", "wan = true"), ("C", "", "")]);
        for (me, other, ms) in [
            ("A", "B", 5000),
            ("B", "A", 5000),
            ("C", "B", 5000),
            ("A", "C", 1500),
            ("C", "A", 1500),
        ] {
            let neighbors = config.neighbors(me);
            let found = neighbors.iter().find(|neighbor| neighbor.name == other).unwrap();
            assert_eq!(found.dead_after, Duration::from_millis(ms), "{me} {other}");
        }
    }

    #[test]
    fn exactly_one_of_two_neighbors_dials() {
        let config = herd(&[
            ("A", "\"B\"", ""),
            ("B", "\"A\"", ""),
            ("C", "\"A\"", ""),
            ("F", "\"A\"", "protocol = \"at\""),
        ]);
        for (me, other, dials) in [
            ("A", "B", true),
            ("B", "A", false),
            ("A", "C", false),
            ("C", "A", true),
            ("A", "F", true),
            ("F", "A", false),
            ("B", "C", false),
            ("A", "A", false),
        ] {
            assert_eq!(config.dials(me, other), dials, "{me} {other}");
        }
    }

    #[test]
    fn parts_are_what_remains_linked() {
        let config = herd(&[("A", "\"B\"", ""), ("B", "\"C\"", ""), ("C", "", ""), ("D", "", "")]);
        assert_eq!(config.parts(None), [vec!["A", "B", "C"], vec!["D"]]);
        assert_eq!(config.parts(Some("B")), [vec!["A"], vec!["C"], vec!["D"]]);
    }

    fn herd(servers: &[(&str, &str, &str)]) -> Config {
        let mut text = "[herd]\nname = \"news\"\n".to_owned();
        for (index, (name, neighbors, more)) in servers.iter().enumerate() {
            let port = 12000 + index;
            let listen = format!("[servers.{name}]\nlisten = \"127.0.0.1:{port}\"\n");
            text.extend([&listen, "neighbors = [", neighbors, "]\n", more, "\n"]);
        }
        load(&text).unwrap()
    }
}
