//! What differs between two readings of a config, and what of it a running server can follow.

use super::{Config, key};
use serde_json::Value;
use std::collections::BTreeMap;

/// Keys whose values differ, as people write them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// A running server follows these.
    pub live: Vec<String>,
    /// These count from its next start.
    pub at_start: Vec<String>,
}

impl Config {
    /// What of `other` is not as it is here, for the server `name`.
    pub fn difference(&self, other: &Self, name: &str) -> Difference {
        let (ours, theirs) = (values(self), values(other));
        let mut keys: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let differing = keys.into_iter().filter(|key| ours.get(*key) != theirs.get(*key)).cloned();
        let (live, at_start) = differing.partition(|key| is_live(key, name));
        Difference { live, at_start }
    }
}

/// A server follows changes of who its neighbors are and how they are reached; its own sockets stay.
fn is_live(changed: &str, name: &str) -> bool {
    let own = key::child("servers", name);
    if key::is_within(changed, &own) {
        return ["neighbors", "wan"].iter().any(|field| changed == key::child(&own, field));
    }
    key::is_within(changed, "servers") || LIVE_LIMITS.contains(&changed)
}

/// What a server tells its node about neighbors anyway.
const LIVE_LIMITS: [&str; 3] =
    ["limits.link_dead", "limits.link_dead_wan", "limits.accept_at_from"];

/// Every value by its key; lists whole.
fn values(config: &Config) -> BTreeMap<String, Value> {
    fn collect(key: &str, value: Value, found: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(table) => {
                for (name, below) in table {
                    collect(&key::child(key, &name), below, found);
                }
            }
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                found.insert(key.to_owned(), value);
            }
        }
    }
    let mut found = BTreeMap::new();
    // A config came from text, so it can be written as text.
    collect("", serde_json::to_value(config).unwrap_or_default(), &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::load;

    const OLD: &str = "[herd]\nname = \"news\"\n[servers.Hill]\nlisten = \"127.0.0.1:1\"\n\
                       [servers.Smith]\nlisten = \"127.0.0.1:2\"\n";

    #[track_caller]
    fn check(new: &str, live: &[&str], at_start: &[&str]) {
        let difference = load(OLD).unwrap().difference(&load(new).unwrap(), "Hill");
        assert_eq!(difference.live, live);
        assert_eq!(difference.at_start, at_start);
    }

    #[test]
    fn neighbors_are_live_and_sockets_are_not() {
        check(OLD, &[], &[]);
        let more = "neighbors = [\"Hill\"]\n[limits]\nmax_connections = 7\nlink_dead = \"2s\"\n";
        check(
            &format!("{OLD}{more}"),
            &["limits.link_dead", "servers.Smith.neighbors"],
            &["limits.max_connections"],
        );
        check(
            &OLD.replace(":1", ":3").replace(":2", ":4"),
            &["servers.Smith.listen"],
            &["servers.Hill.listen"],
        );
        let without = OLD.split("[servers.Smith]").next().unwrap();
        let hill = format!("{without}neighbors = []\nwan = true\nhttp = \"127.0.0.1:9\"\n");
        check(
            &hill,
            &[
                "servers.Hill.wan",
                "servers.Smith.listen",
                "servers.Smith.neighbors",
                "servers.Smith.protocol",
                "servers.Smith.wan",
            ],
            &["servers.Hill.http"],
        );
    }

    #[test]
    fn a_name_with_a_dot_is_told_apart() {
        let old = OLD.replace("servers.Smith", "servers.\"Hill.listen\"");
        let new = old.replace(":2", ":5");
        let difference = load(&old).unwrap().difference(&load(&new).unwrap(), "Hill");
        assert_eq!(difference.live, ["servers.\"Hill.listen\".listen"]);
    }
}
