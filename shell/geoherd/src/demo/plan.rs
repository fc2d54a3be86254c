//! Which servers there are, who is linked with whom, and the config that says so.

use super::wires::Routes;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// As many servers as there are names.
pub(super) const SERVERS_MAX: u8 = 26;

/// The five of the example config first.
const NAMES: [&str; SERVERS_MAX as usize] = [
    "Hill",
    "Jaquez",
    "Smith",
    "Campbell",
    "Singleton",
    "Borg",
    "Vella",
    "Camilleri",
    "Farrugia",
    "Zammit",
    "Galea",
    "Micallef",
    "Grech",
    "Attard",
    "Spiteri",
    "Azzopardi",
    "Mifsud",
    "Caruana",
    "Muscat",
    "Agius",
    "Pace",
    "Fenech",
    "Schembri",
    "Abela",
    "Sammut",
    "Gauci",
];

/// One server of the demo.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) listen: SocketAddr,
    pub(super) http: SocketAddr,
}

/// The first `addresses.len()` servers at these addresses (the line protocol, then HTTP).
pub(super) fn members(addresses: &[(SocketAddr, SocketAddr)]) -> Vec<Member> {
    let all = NAMES.iter().zip(addresses);
    all.map(|(name, (listen, http))| Member { name, listen: *listen, http: *http }).collect()
}

/// The links among the first `count` servers, by their places in the list. From three servers on no
/// single loss splits them.
pub(super) fn links(count: usize) -> Vec<(usize, usize)> {
    let mut links: Vec<_> = EXAMPLE.into_iter().filter(|&(_, to)| to < count).collect();
    // Fewer than five lack some of the example's links; one more closes the ring again.
    match count {
        3 => links.push((1, 2)),
        4 => links.push((1, 3)),
        _ => {}
    }
    // Each further one is linked with two that are there, one of them near the center, so that the
    // longest way grows with the logarithm of the number.
    links.extend((EXAMPLE_SERVERS..count).flat_map(|one| [(one / 2, one), (one - 1, one)]));
    links
}

const EXAMPLE_SERVERS: usize = 5;
const EXAMPLE: [(usize, usize); 6] = [(0, 1), (0, 2), (2, 3), (1, 4), (2, 4), (3, 4)];

/// The config of these servers, as the one at place `reader` reads it: its neighbors are where its
/// wires to them begin. Traffic is not logged: the people of a demo would fill the disk.
pub(super) fn config(members: &[Member], reader: usize, routes: &Routes) -> String {
    let links = links(members.len());
    let mut text = "[herd]\nname = \"demo\"\n".to_owned();
    for (index, Member { name, listen, http }) in members.iter().enumerate() {
        let neighbors = links.iter().filter(|(from, _)| *from == index);
        let neighbors: Vec<&str> =
            neighbors.filter_map(|&(_, to)| Some(members.get(to)?.name)).collect();
        let listen = routes.get(&(reader, index)).unwrap_or(listen);
        // Writing to a String cannot fail.
        let _infallible = write!(
            text,
            "\n[servers.{name}]\nlisten = \"{listen}\"\nhttp = \"{http}\"\nneighbors = {neighbors:?}\n"
        );
    }
    text.push_str("\n[places]\nprovider = \"embedded\"\n\n[log]\ntraffic = false\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use herd_server::config::Config;
    use std::path::Path;

    #[test]
    fn every_number_of_servers_makes_a_herd_that_no_single_loss_splits() {
        for count in 1..=usize::from(SERVERS_MAX) {
            let address = |port: usize| format!("127.0.0.1:{port}").parse().unwrap();
            let addresses: Vec<_> =
                (0..count).map(|n| (address(5000 + n), address(6000 + n))).collect();
            let wires = links(count).into_iter().flat_map(|(a, b)| [(a, b), (b, a)]);
            let routes: Routes =
                wires.zip(7000..).map(|(way, port)| (way, address(port))).collect();
            for reader in 0..count {
                let text = config(&members(&addresses), reader, &routes);
                let config =
                    Config::load(&text, Path::new("demo.toml"), std::iter::empty()).unwrap();
                assert_eq!(config.servers.len(), count);
                let report = config.check();
                let right = report.errors.is_empty() && report.warnings.is_empty();
                assert!(right, "{count}: {report:?}");
                let name = NAMES[reader];
                assert_eq!(config.servers[name].listen, addresses[reader].0);
                for neighbor in config.neighbors(name) {
                    assert!(neighbor.address.port() >= 7000, "{name} dials {neighbor:?} directly");
                }
            }
        }
    }

    #[test]
    fn five_are_linked_as_in_the_example() {
        let example = Config::load(
            herd_server::config::EXAMPLE,
            Path::new("example.toml"),
            std::iter::empty(),
        )
        .unwrap();
        for (index, name) in NAMES.iter().enumerate().take(EXAMPLE_SERVERS) {
            let mut ours: Vec<&str> = links(EXAMPLE_SERVERS)
                .iter()
                .filter_map(|&(a, b)| (a == index).then_some(b).or((b == index).then_some(a)))
                .map(|other| NAMES[other])
                .collect();
            let mut theirs: Vec<_> = example.neighbors(name).iter().map(|n| n.name).collect();
            ours.sort_unstable();
            theirs.sort_unstable();
            assert_eq!(ours, theirs, "{name}");
        }
    }
}
