//! Reloading the config while the server runs: what can be changed is changed at once, the rest is
//! named in the log. A config with errors changes nothing.

use crate::accept::Clients;
use crate::config::{Config, Difference, Protocol};
use crate::dial::Links;
use herd_front::Host;
use herd_node::{DialRole, Dialect, PeerSettings, Relinked};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use tracing::{error, info, warn};

/// Reads the config from where it came at first, flags and environment over it, and checks it; or says
/// what is wrong, where, and what to do.
pub struct ReadConfig(Box<dyn Fn() -> Result<Config, String> + Send + Sync>);

impl ReadConfig {
    /// That way.
    pub fn new(read: impl Fn() -> Result<Config, String> + Send + Sync + 'static) -> Self {
        Self(Box::new(read))
    }
}

impl fmt::Debug for ReadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadConfig")
    }
}

/// What follows the config while the server runs.
pub(crate) struct Follower {
    pub(crate) host: Arc<Host>,
    pub(crate) links: Links,
    pub(crate) clients: Clients,
    pub(crate) read: ReadConfig,
    pub(crate) name: String,
    /// What the server was started with.
    pub(crate) started_with: Config,
    /// What it follows now.
    pub(crate) follows: Config,
}

impl Follower {
    /// Reads and follows.
    pub(crate) fn reload(&mut self) {
        let name = &self.name;
        let read = (self.read.0)().and_then(|config| {
            if config.servers.contains_key(name) {
                return Ok(config);
            }
            let missing =
                format!("there is no server {name:?} any more; add it, or stop this server");
            Err(config.problem("servers", missing).to_string())
        });
        let config = match read {
            Ok(config) => config,
            Err(problems) => {
                error!(%problems, "config reload failed; keeping the current config");
                return;
            }
        };
        let Difference { live, .. } = self.follows.difference(&config, name);
        let Difference { at_start, .. } = self.started_with.difference(&config, name);
        self.links.set_neighbors(&config, name);
        self.clients.set_neighbors(&config, name);
        let relinked = self
            .host
            .enter(|node, now| node.set_neighbors(neighbors(name, &config), members(&config), now));
        let Relinked { added, removed } = relinked;
        info!(
            changed = live.join(", "),
            linked = added.join(", "),
            unlinked = removed.join(", "),
            "config reloaded"
        );
        if !at_start.is_empty() {
            warn!("needs a restart: {}", at_start.join(", "));
        }
        self.follows = config;
    }
}

/// The peers of a server, as its node must know them.
pub(crate) fn neighbors(name: &str, config: &Config) -> Vec<PeerSettings> {
    let ours = config.servers.get(name).map(|server| server.protocol);
    let peers = config.neighbors(name).into_iter().map(|neighbor| PeerSettings {
        name: neighbor.name.to_owned(),
        dialect: match (ours, neighbor.protocol) {
            (Some(Protocol::At), _) | (_, Protocol::At) => Dialect::At,
            _ => Dialect::Native,
        },
        role: if config.dials(name, neighbor.name) { DialRole::Always } else { DialRole::Once },
        dead_after: neighbor.dead_after,
    });
    peers.collect()
}

/// The servers of the herd that speak this product's protocol.
pub(crate) fn members(config: &Config) -> BTreeSet<Box<str>> {
    let native = config.servers.iter().filter(|(_, server)| server.protocol == Protocol::Native);
    native.map(|(name, _)| name.as_str().into()).collect()
}
