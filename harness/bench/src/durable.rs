//! `durable`: what it costs that reports outlive their process, measured on real processes and files.
//!
//! Each row of the table that the store promises is a measure of its own. Files lie where temporary files
//! do; set TMPDIR to measure another disk.

mod always;
mod anew;
mod answers;
mod start;

use crate::Options;
use crate::table::Section;
use clap::ValueEnum;
use std::path::Path;

/// Which rows to measure, and with how many clients.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Rows; without any all of them
    #[arg(value_name = "ROW")]
    rows: Vec<Row>,
    /// Clients where there are to be many
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    clients: usize,
    /// How often all of them report, for `anew`
    #[arg(long, value_name = "N", default_value_t = 20)]
    times: usize,
}

/// One thing to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Row {
    /// IAMATs answered by a server that writes them down, against one that does not
    Answers,
    /// Answers that wait for the disk, against what the disk does
    Always,
    /// What clients notice while a file is written anew, and how large the directory gets
    Anew,
    /// How long a start takes, and what memory it leaves
    Start,
}

/// A row's name and how to measure it.
pub(crate) type Measure = fn(&Options, &Args) -> anyhow::Result<Vec<Section>>;

impl Args {
    /// The rows asked for, in the order of the table.
    pub(crate) fn rows(&self) -> Vec<(&'static str, Measure)> {
        let all: [(Row, &'static str, Measure); 4] = [
            (Row::Answers, "answers", answers::measure),
            (Row::Always, "always", always::measure),
            (Row::Anew, "anew", anew::measure),
            (Row::Start, "start", start::measure),
        ];
        let asked = |row| self.rows.is_empty() || self.rows.contains(&row);
        all.into_iter().filter(|&(row, ..)| asked(row)).map(|(_, name, m)| (name, m)).collect()
    }

    fn clients(&self, options: &Options) -> usize {
        options.size(self.clients, 2000)
    }
}

/// The default of the config.
const EVERY_50_MS: &str = "50ms";

/// Bytes of all files in a directory; one that goes meanwhile counts for nothing.
pub(crate) fn bytes_in(dir: &Path) -> anyhow::Result<u64> {
    let sizes =
        std::fs::read_dir(dir)?.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
    Ok(sizes.sum())
}

/// Whether a file is being written anew there.
fn is_written_anew(dir: &Path) -> anyhow::Result<bool> {
    let mut names = std::fs::read_dir(dir)?.filter_map(|entry| Some(entry.ok()?.file_name()));
    Ok(names.any(|name| name.to_string_lossy().ends_with(".part")))
}
