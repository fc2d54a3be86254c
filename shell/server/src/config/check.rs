//! Looking at the herd as a whole: what no single value shows.

use super::{Config, Problem, Provider, format_duration, key, suggest};
use herd_proto::{NAME_BYTES_MAX, is_name};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Three times what servers leave at most between two heartbeats.
const FORGET_AFTER_USUAL: Duration = Duration::from_secs(30);

/// What [`Config::check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Why no server can run with this config.
    pub errors: Vec<Problem>,
    /// What works, but hardly as it is meant.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Looks for everything that can be wrong without opening a port: names, neighbors, a herd in
    /// several parts or one that would fall apart, addresses that two would share, limits that
    /// contradict one another.
    pub fn check(&self) -> Report {
        let mut report = Report::default();
        self.check_names(&mut report);
        self.check_neighbors(&mut report);
        self.check_parts(&mut report);
        self.check_addresses(&mut report);
        self.check_limits(&mut report);
        self.check_places(&mut report);
        self.check_filter(&mut report);
        Problem::sort(&mut report.errors);
        Problem::sort(&mut report.warnings);
        report
    }

    fn check_names(&self, report: &mut Report) {
        let white = |c: char| c.is_whitespace() || c.is_control();
        let herd = &self.herd.name;
        if herd.is_empty() || herd.chars().count() > HERD_NAME_CHARS_MAX || herd.contains(white) {
            let message = format!(
                "{herd:?} is no name for a herd; write 1 to {HERD_NAME_CHARS_MAX} characters without white space"
            );
            report.errors.push(self.problem("herd.name", message));
        }
        for name in self.servers.keys() {
            if !is_name(name) {
                let message = format!(
                    "{name:?} is no name for a server; write 1 to {NAME_BYTES_MAX} bytes without white space or control characters"
                );
                report.errors.push(self.problem(&key::child("servers", name), message));
            }
        }
        if self.servers.is_empty() {
            let message = "the herd has no servers; add a table such as [servers.Hill] with listen = \"127.0.0.1:12000\"";
            report.errors.push(self.problem("servers", message));
        }
    }

    fn check_neighbors(&self, report: &mut Report) {
        for (name, server) in &self.servers {
            let list = Self::server_key(name, "neighbors");
            for (index, neighbor) in server.neighbors.iter().enumerate() {
                let key = key::element(&list, index);
                if neighbor == name {
                    let message = "a server is no neighbor of itself; remove it";
                    report.errors.push(self.problem(&key, message));
                } else if !self.servers.contains_key(neighbor) {
                    let known = self.servers.keys().map(String::as_str);
                    let hint = suggest::hint(neighbor, known, || {
                        format!("; add [{}] or remove it", key::child("servers", neighbor))
                    });
                    let message = format!("there is no server {neighbor:?}{hint}");
                    report.errors.push(self.problem(&key, message));
                } else if server.neighbors.iter().take(index).any(|n| n == neighbor) {
                    let message = format!("{neighbor:?} is named twice; remove one");
                    report.warnings.push(self.problem(&key, message));
                }
            }
        }
    }

    fn check_parts(&self, report: &mut Report) {
        let parts = self.parts(None);
        if parts.len() > 1 {
            let message = format!(
                "the herd is in {} parts that would never hear of one another: {}; make servers of different parts neighbors",
                parts.len(),
                listed(&parts)
            );
            // The table of the first part that is cut off is the likeliest place to mend it.
            let stray = parts.iter().skip(1).find_map(|part| part.first());
            let key = stray.map_or("servers".to_owned(), |name| key::child("servers", name));
            report.errors.push(self.problem(&key, message));
            return;
        }
        for name in self.servers.keys() {
            let parts = self.parts(Some(name));
            if parts.len() > 1 {
                let message = format!(
                    "without {name} the herd falls into {} parts: {}; link them some other way too",
                    parts.len(),
                    listed(&parts)
                );
                report.warnings.push(self.problem(&key::child("servers", name), message));
            }
        }
    }

    fn check_addresses(&self, report: &mut Report) {
        let mut uses: Vec<Use<'_>> = Vec::new();
        for (name, server) in &self.servers {
            let home = server.listen.ip();
            let fields = [("listen", Some(server.listen)), ("http", server.http)];
            for (field, address) in fields.into_iter().filter_map(|(f, a)| Some((f, a?))) {
                let key = Self::server_key(name, field);
                let this = Use { server: name, key, address, home };
                if let Some(first) = uses.iter().find(|first| first.shares_port(&this)) {
                    let place = match self.line_of(&first.key) {
                        Some(line) => format!("{} in line {line}", first.key),
                        None => first.key.clone(),
                    };
                    let (list, doubt) = if first.same_machine(&this) {
                        (&mut report.errors, "")
                    } else {
                        (&mut report.warnings, " if both servers run on one machine")
                    };
                    let message = format!(
                        "{address} is taken by {place} ({}){doubt}; choose another port",
                        first.address
                    );
                    list.push(self.problem(&this.key, message));
                }
                uses.push(this);
            }
            let key = Self::server_key(name, "listen");
            if server.listen.port() == 0 {
                let message = "port 0 would be another one at each start, and neighbors must know where to dial; write a fixed port";
                report.errors.push(self.problem(&key, message));
            }
            if home.is_unspecified() && !self.neighbors(name).is_empty() {
                let message = format!(
                    "neighbors dial {} as it stands, which leads each to its own machine; write the address they reach this server by",
                    server.listen
                );
                report.warnings.push(self.problem(&key, message));
            }
        }
    }

    fn check_limits(&self, report: &mut Report) {
        let limits = &self.limits;
        if self.herd.forget_after < FORGET_AFTER_USUAL {
            let message = "is so short that servers which are only quiet count as absent; make it 30s or longer";
            report.warnings.push(self.problem("herd.forget_after", message));
        }
        if self.herd.horizon.is_zero() {
            let message = "would forget every client at once; leave it out for the default of 30d";
            report.errors.push(self.problem("herd.horizon", message));
        } else if self.herd.expire_after.is_some_and(|after| after > self.herd.horizon) {
            let message = format!(
                "is longer than herd.horizon ({}), after which no report is kept; make it shorter, or the horizon longer",
                format_duration(self.herd.horizon)
            );
            report.errors.push(self.problem("herd.expire_after", message));
        }
        if self.herd.expire_after.is_some_and(|after| after.is_zero()) {
            let message =
                "would forget every client at once; leave it out if no client is to be forgotten";
            report.errors.push(self.problem("herd.expire_after", message));
        }
        for (key, duration) in [
            ("places.google.timeout", self.places.google.timeout),
            ("limits.write_timeout", limits.write_timeout),
            ("limits.dial_backoff_min", limits.dial_backoff_min),
            ("limits.dial_backoff_max", limits.dial_backoff_max),
            ("limits.link_idle", limits.link_idle),
            ("limits.link_dead", limits.link_dead),
            ("limits.link_dead_wan", limits.link_dead_wan),
            ("limits.hello_timeout", limits.hello_timeout),
        ] {
            if duration == Duration::ZERO {
                let message = "must be longer than nothing; leave it out for the default";
                report.errors.push(self.problem(key, message));
            }
        }
        if limits.dial_backoff_max < limits.dial_backoff_min {
            let message = "is shorter than limits.dial_backoff_min; make it at least as long";
            report.errors.push(self.problem("limits.dial_backoff_max", message));
        }
        for (key, dead) in
            [("limits.link_dead", limits.link_dead), ("limits.link_dead_wan", limits.link_dead_wan)]
        {
            if dead <= limits.link_idle {
                let message = "is not longer than limits.link_idle, so that every quiet link would be dropped; make it two or three times as long";
                report.errors.push(self.problem(key, message));
            }
        }
    }

    fn check_places(&self, report: &mut Report) {
        let google = &self.places.google;
        if self.places.provider == Provider::Google
            && google.base_url.as_ref().is_some_and(super::BaseUrl::is_open_to_eavesdroppers)
        {
            let message = "the key would cross the network in the clear; use https";
            report.warnings.push(self.problem("places.google.base_url", message));
        }
    }

    fn check_filter(&self, report: &mut Report) {
        let filter = &self.log.filter;
        if let Err(error) = EnvFilter::builder().parse(filter) {
            let message = format!(
                "{filter:?} is no filter ({error}); write a level, such as \"info\", or levels by part as in RUST_LOG"
            );
            report.errors.push(self.problem("log.filter", message));
        }
    }
}

/// An address that a server binds.
struct Use<'a> {
    server: &'a str,
    key: String,
    address: SocketAddr,
    /// Where the server listens, which tells its machine.
    home: IpAddr,
}

impl Use<'_> {
    /// True if one machine cannot bind both.
    fn shares_port(&self, other: &Self) -> bool {
        let (a, b) = (self.address.ip(), other.address.ip());
        // The system lets `[::]` take the port for IPv4 too.
        let any = |one: IpAddr, two: IpAddr| {
            one.is_unspecified() && (one.is_ipv6() || one.is_ipv4() == two.is_ipv4())
        };
        self.address.port() == other.address.port()
            && self.address.port() != 0
            && (a == b || any(a, b) || any(b, a))
    }

    /// False only if the two servers listen at addresses of which no machine is likely to have both.
    fn same_machine(&self, other: &Self) -> bool {
        let special = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
        self.server == other.server
            || self.home == other.home
            || special(self.home)
            || special(other.home)
            || !(special(self.address.ip()) || special(other.address.ip()))
    }
}

fn listed(parts: &[Vec<&str>]) -> String {
    let parts: Vec<String> = parts.iter().map(|part| part.join(", ")).collect();
    parts.join(" | ")
}

/// The hello between servers carries it in one short line.
const HERD_NAME_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::EXAMPLE;
    use super::super::load::tests::load;

    #[test]
    fn the_example_has_nothing_to_complain_about() {
        let report = load(EXAMPLE).unwrap().check();
        assert_eq!((report.errors.as_slice(), report.warnings.as_slice()), (&[][..], &[][..]));
    }

    #[test]
    fn neighbors_must_exist() {
        let text = "[servers.Hill]\nlisten = \"127.0.0.1:1\"\nneighbors = [\n \"Smith\",\n \"Smiht\",\n \"Hill\", \"X\"]\n[servers.Smith]\nlisten = \"127.0.0.1:2\"\n";
        check(
            text,
            &[
                "herd.toml:7: servers.Hill.neighbors[1]: there is no server \"Smiht\"; did you mean `Smith`?",
                "herd.toml:8: servers.Hill.neighbors[2]: a server is no neighbor of itself; remove it",
                "herd.toml:8: servers.Hill.neighbors[3]: there is no server \"X\"; add [servers.X] or remove it",
            ],
            &[],
        );
    }

    #[test]
    fn a_herd_must_hang_together() {
        let text = "[servers.A]\nlisten = \"127.0.0.1:1\"\nneighbors = [\"B\"]\n[servers.B]\nlisten = \"127.0.0.1:2\"\n[servers.C]\nlisten = \"127.0.0.1:3\"\n";
        check(
            text,
            &[
                "herd.toml:8: servers.C: the herd is in 2 parts that would never hear of one another: A, B | C; make servers of different parts neighbors",
            ],
            &[],
        );
    }

    #[test]
    fn a_server_that_holds_the_herd_together_is_named() {
        let text = "[servers.A]\nlisten = \"127.0.0.1:1\"\n[servers.B]\nlisten = \"127.0.0.1:2\"\nneighbors = [\"A\", \"C\"]\n[servers.C]\nlisten = \"127.0.0.1:3\"\n";
        check(
            text,
            &[],
            &[
                "herd.toml:5: servers.B: without B the herd falls into 2 parts: A | C; link them some other way too",
            ],
        );
    }

    #[test]
    fn no_two_may_share_an_address() {
        let text = "[servers.A]\nlisten = \"127.0.0.1:1\"\nhttp = \"127.0.0.1:1\"\nneighbors = [\"B\"]\n[servers.B]\nlisten = \"127.0.0.2:2\"\nhttp = \"0.0.0.0:1\"\n";
        check(
            text,
            &[
                "herd.toml:5: servers.A.http: 127.0.0.1:1 is taken by servers.A.listen in line 4 (127.0.0.1:1); choose another port",
                "herd.toml:9: servers.B.http: 0.0.0.0:1 is taken by servers.A.listen in line 4 (127.0.0.1:1); choose another port",
            ],
            &[],
        );
    }

    #[test]
    fn servers_on_different_machines_may_use_one_loopback_port() {
        let text = "[servers.A]\nlisten = \"10.0.0.1:1\"\nhttp = \"127.0.0.1:9\"\nneighbors = [\"B\"]\n[servers.B]\nlisten = \"10.0.0.2:1\"\nhttp = \"127.0.0.1:9\"\n";
        check(
            text,
            &[],
            &[
                "herd.toml:9: servers.B.http: 127.0.0.1:9 is taken by servers.A.http in line 5 (127.0.0.1:9) if both servers run on one machine; choose another port",
            ],
        );
    }

    #[test]
    fn http_may_take_any_free_port_but_listen_may_not() {
        check(
            "[servers.A]\nlisten = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n",
            &[
                "herd.toml:4: servers.A.listen: port 0 would be another one at each start, and neighbors must know where to dial; write a fixed port",
            ],
            &[],
        );
    }

    #[test]
    fn neighbors_cannot_dial_an_address_that_is_everywhere() {
        check(
            "[servers.A]\nlisten = \"0.0.0.0:1\"\nneighbors = [\"B\"]\n[servers.B]\nlisten = \"10.0.0.1:2\"\n",
            &[],
            &[
                "herd.toml:4: servers.A.listen: neighbors dial 0.0.0.0:1 as it stands, which leads each to its own machine; write the address they reach this server by",
            ],
        );
    }

    #[test]
    fn limits_must_not_contradict_one_another() {
        check(
            "[servers.A]\nlisten = \"127.0.0.1:1\"\n[limits]\nlink_idle = \"2s\"\ndial_backoff_max = \"10ms\"\nhello_timeout = \"0s\"\n",
            &[
                "herd.toml:5: limits.link_dead: is not longer than limits.link_idle, so that every quiet link would be dropped; make it two or three times as long",
                "herd.toml:7: limits.dial_backoff_max: is shorter than limits.dial_backoff_min; make it at least as long",
                "herd.toml:8: limits.hello_timeout: must be longer than nothing; leave it out for the default",
            ],
            &[],
        );
    }

    #[test]
    fn who_is_quiet_is_not_absent() {
        check(
            "forget_after = \"20s\"\n[servers.A]\nlisten = \"127.0.0.1:1\"\n",
            &[],
            &[
                "herd.toml:3: herd.forget_after: is so short that servers which are only quiet count as absent; make it 30s or longer",
            ],
        );
    }

    #[test]
    fn nothing_is_kept_beyond_the_horizon() {
        let server = "[servers.A]\nlisten = \"127.0.0.1:1\"\n";
        check(&format!("horizon = \"7d\"\nexpire_after = \"7d\"\n{server}"), &[], &[]);
        check(
            &format!("horizon = \"7d\"\nexpire_after = \"8d\"\n{server}"),
            &[
                "herd.toml:4: herd.expire_after: is longer than herd.horizon (7d), after which no report is kept; make it shorter, or the horizon longer",
            ],
            &[],
        );
        check(
            &format!("expire_after = \"31d\"\n{server}"),
            &[
                "herd.toml:3: herd.expire_after: is longer than herd.horizon (30d), after which no report is kept; make it shorter, or the horizon longer",
            ],
            &[],
        );
        check(
            &format!("horizon = \"0s\"\n{server}"),
            &[
                "herd.toml:3: herd.horizon: would forget every client at once; leave it out for the default of 30d",
            ],
            &[],
        );
    }

    #[test]
    fn a_filter_is_a_level_or_levels_by_part() {
        let herd = "[servers.A]\nlisten = \"127.0.0.1:1\"\n[log]\nfilter =";
        check(&format!("{herd} \"warn,herd_server=debug\""), &[], &[]);
        check(
            &format!("{herd} \"herd_server=loud\""),
            &[
                "herd.toml:6: log.filter: \"herd_server=loud\" is no filter (error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5); write a level, such as \"info\", or levels by part as in RUST_LOG",
            ],
            &[],
        );
    }

    #[test]
    fn a_herd_needs_servers_with_names() {
        check(
            "",
            &[
                "herd.toml: servers: the herd has no servers; add a table such as [servers.Hill] with listen = \"127.0.0.1:12000\"",
            ],
            &[],
        );
        check(
            "[servers.\"a b\"]\nlisten = \"127.0.0.1:1\"\n",
            &[
                "herd.toml:3: servers.\"a b\": \"a b\" is no name for a server; write 1 to 255 bytes without white space or control characters",
            ],
            &[],
        );
    }

    #[test]
    fn a_key_does_not_travel_in_the_clear() {
        let text = "[servers.A]\nlisten = \"127.0.0.1:1\"\n[places]\nprovider = \"google\"\n[places.google]\nbase_url = \"http://example.org\"\n";
        check(
            text,
            &[],
            &[
                "herd.toml:8: places.google.base_url: the key would cross the network in the clear; use https",
            ],
        );
    }

    /// Two lines for the herd's name come before `text`.
    #[track_caller]
    fn check(text: &str, errors: &[&str], warnings: &[&str]) {
        let report = load(&format!("[herd]\nname = \"news\"\n{text}")).unwrap().check();
        let printed = |list: &[super::Problem]| -> Vec<String> {
            list.iter().map(ToString::to_string).collect()
        };
        assert_eq!(printed(&report.errors), errors);
        assert_eq!(printed(&report.warnings), warnings);
    }
}
