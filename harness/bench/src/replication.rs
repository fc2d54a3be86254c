//! `replication`: how the servers agree, measured on real processes.
//!
//! Each row of the table that the design promises is a measure of its own, with streams
//! (`redundancy = 1`) beside plain flooding (`redundancy = "all"`) in the same run where that tells
//! something. What needs packets to be lost is elsewhere: here links are wires that keep order.

mod bootstrap;
mod cut;
mod gap;
mod graph;
mod latency;
mod memory;
mod payloads;
mod slow;

use crate::Options;
use crate::herd::Herd;
use crate::table::Section;
use anyhow::{Result, ensure};
use clap::ValueEnum;
use std::time::Duration;

/// Which rows to measure, and how long the long ones take.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Rows; without any all of them
    #[arg(value_name = "ROW")]
    rows: Vec<Row>,
    /// How long a link is slow, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    slow_seconds: u64,
    /// How long a link is cut before it is mended, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    cut_seconds: u64,
    /// Clients where there are to be many
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    clients: usize,
}

/// One thing to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Row {
    /// Messages that carry an update, for each update
    Payloads,
    /// How much later than with flooding an update is everywhere
    Latency,
    /// What is sent after a long cut, and whether anyone waits meanwhile
    Cut,
    /// How long an empty server takes to hold everything, and what its donor's clients notice
    Bootstrap,
    /// How long deliveries stop when a link falls silent
    Gap,
    /// What a server shows that is reached by a link far too slow
    Slow,
    /// Bytes for each client at each server
    Memory,
}

/// A row's name and how to measure it.
pub(crate) type Measure = fn(&Options, &Args) -> Result<Vec<Section>>;

impl Args {
    /// The rows asked for, in the order of the table.
    pub(crate) fn rows(&self) -> Vec<(&'static str, Measure)> {
        let all: [(Row, &'static str, Measure); 7] = [
            (Row::Payloads, "payloads", payloads::measure),
            (Row::Latency, "latency", latency::measure),
            (Row::Cut, "cut", cut::measure),
            (Row::Bootstrap, "bootstrap", bootstrap::measure),
            (Row::Gap, "gap", gap::measure),
            (Row::Slow, "slow", slow::measure),
            (Row::Memory, "memory", memory::measure),
        ];
        let asked = |row| self.rows.is_empty() || self.rows.contains(&row);
        all.into_iter().filter(|&(row, ..)| asked(row)).map(|(_, name, m)| (name, m)).collect()
    }

    fn clients(&self, options: &Options) -> usize {
        options.size(self.clients, 2000)
    }

    fn cut(&self, options: &Options) -> Duration {
        options.size(Duration::from_secs(self.cut_seconds), Duration::from_millis(2500))
    }

    fn slow(&self, options: &Options) -> Duration {
        options.size(Duration::from_secs(self.slow_seconds), Duration::from_secs(3))
    }
}

/// The values of the setting that are compared.
const STREAMS: &str = "1";
const FLOODING: &str = "\"all\"";

/// So long a herd may take to agree on very many clients.
const AGREED_WITHIN: Duration = Duration::from_mins(3);

/// Waits until no server has sent a record for a while: everything is everywhere.
pub(crate) fn at_rest(herd: &Herd) -> Result<()> {
    /// Longer than watermarks and repairs of a tree take.
    const QUIET_FOR: Duration = Duration::from_millis(700);
    let deadline = std::time::Instant::now() + AGREED_WITHIN;
    let sent = || -> Result<u64> {
        herd.servers.iter().map(|server| server.links_sum("records_sent")).sum()
    };
    let mut before = sent()?;
    loop {
        crate::machine::pass(QUIET_FOR);
        let now = sent()?;
        if now == before {
            return Ok(());
        }
        ensure!(std::time::Instant::now() < deadline, "the herd goes on and on sending records");
        before = now;
    }
}
