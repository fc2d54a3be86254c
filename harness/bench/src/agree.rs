//! `agree`: what the agreement of servers costs and how long it takes where something went wrong.
//!
//! Each row kills, cuts or starves real processes in its own way and measures until all servers show the same. The
//! calm side of the agreement is in `replication`; what the simulator decides (that they agree at all) is not
//! measured here.

mod donors;
mod flap;
mod known;
mod outages;
mod restarts;
mod revival;
mod split;
mod starved;
mod survivors;
mod updates;

use crate::Options;
use crate::table::Section;
use anyhow::Result;
use clap::ValueEnum;
use std::time::Duration;

/// Which rows to measure, and how many clients and rounds the long ones have.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Rows; without any all of them
    #[arg(value_name = "ROW")]
    rows: Vec<Row>,
    /// Clients where there are to be very many
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    clients: usize,
    /// Restarts of one server, for `restarts`
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    restarts: usize,
    /// No more restarts than fit into this time, for `restarts`, once without a disk and once with one
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    restart_seconds: u64,
}

/// One thing to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Row {
    /// What is sent again when a server that received everything is killed and started
    Revival,
    /// How long until the others agree when a server is killed under load and stays away
    Survivors,
    /// What very many restarts of one server leave behind
    Restarts,
    /// How long until all agree when all were killed under load, and how large their directories get
    Outages,
    /// An empty server behind a slow link that never lives as long as catching up takes
    Flap,
    /// What is sent when a herd was split for longer than it remembers servers
    Split,
    /// How long an empty server takes with one donor and with two
    Donors,
    /// What is sent for many updates over a link that breaks again and again
    Updates,
    /// All of `outages` with 0.3 of a core for all servers together
    Starved,
}

/// A row's name and how to measure it.
pub(crate) type Measure = fn(&Options, &Args) -> Result<Vec<Section>>;

impl Args {
    /// The rows asked for, in the order of the table.
    pub(crate) fn rows(&self) -> Vec<(&'static str, Measure)> {
        let all: [(Row, &'static str, Measure); 9] = [
            (Row::Revival, "revival", revival::measure),
            (Row::Survivors, "survivors", survivors::measure),
            (Row::Restarts, "restarts", restarts::measure),
            (Row::Outages, "outages", outages::measure),
            (Row::Flap, "flap", flap::measure),
            (Row::Split, "split", split::measure),
            (Row::Donors, "donors", donors::measure),
            (Row::Updates, "updates", updates::measure),
            (Row::Starved, "starved", starved::measure),
        ];
        let asked = |row| self.rows.is_empty() || self.rows.contains(&row);
        all.into_iter().filter(|&(row, ..)| asked(row)).map(|(_, name, m)| (name, m)).collect()
    }

    fn clients(&self, options: &Options) -> usize {
        options.size(self.clients, 2000)
    }
}

/// The servers and links of the example config.
const FIVE: [&str; 5] = ["Hill", "Jaquez", "Smith", "Campbell", "Singleton"];
const FIVE_LINKS: [(&str, &str); 6] = [
    ("Hill", "Jaquez"),
    ("Hill", "Smith"),
    ("Singleton", "Jaquez"),
    ("Singleton", "Smith"),
    ("Singleton", "Campbell"),
    ("Smith", "Campbell"),
];

/// Three in a line.
const THREE: [&str; 3] = ["Hill", "Jaquez", "Smith"];
const LINE: [(&str, &str); 2] = [("Hill", "Jaquez"), ("Jaquez", "Smith")];

/// The default of the config.
const EVERY_50_MS: &str = "50ms";

/// Nothing takes as long; whoever needs more is stuck.
const STUCK_AFTER: Duration = Duration::from_mins(3);
