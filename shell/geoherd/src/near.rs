//! `geoherd near`: who is near a point, as one server knows it.

use crate::admin::Admin;
use crate::output;
use anyhow::Context as _;
use clap::Args;
use herd_geo::Point;
use serde::Deserialize;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Show the clients nearest to a point
///
/// Any server can be asked; each answers from its own memory, at any radius in some microseconds. Nearest first,
/// equally near ones in the same order each time.
///
/// Servers tell this only where `http` is a loopback address, or the config allows it
/// (`limits.operate_from`).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd near +34.068930-118.445127
  geoherd near +34.068930-118.445127 --radius 1.5 --count 100
  geoherd near -33.86+151.21 --server 127.0.0.1:12103 --json

Exit codes:
  0  somebody is there
  1  nobody is
  2  nobody could be asked, or the server refuses")]
pub(crate) struct Arguments {
    /// Where, ISO 6709
    #[arg(value_name = "POINT", allow_hyphen_values = true)]
    point: Point,
    /// How far away at most, kilometers
    #[arg(long, value_name = "KM", default_value_t = 50.0)]
    radius: f64,
    /// How many at most, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 20)]
    count: usize,
    #[command(flatten)]
    admin: Admin,
    /// Print what the server answers, a JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Deserialize)]
struct Answer {
    nearby: Vec<Found>,
}

#[derive(Debug, Deserialize)]
struct Found {
    client: String,
    location: String,
    time: String,
    distance_m: f64,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { point, radius, count, admin, json } = arguments;
    let mut at = String::new();
    herd_geo::write_iso6709(*point, DECIMALS, &mut at);
    let path = format!("/nearby?at={at}&radius={radius}&count={count}");
    let answer = admin.targets()?.get(&path)?;
    let found: Answer = serde_json::from_str(&answer.body)
        .with_context(|| format!("what {} answers is not understood", answer.from))?;
    let text = if *json { format!("{}\n", answer.body.trim()) } else { table(&found.nearby) };
    output::print(text.as_bytes())?;
    Ok(if found.nearby.is_empty() { output::NO.into() } else { ExitCode::SUCCESS })
}

/// Nearer than a millimeter at the equator.
const DECIMALS: usize = 9;

fn table(found: &[Found]) -> String {
    if found.is_empty() {
        return "nobody is there\n".to_owned();
    }
    let width = found.iter().map(|one| one.client.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for Found { client, location, time, distance_m } in found {
        // Writing to a String cannot fail.
        let _infallible =
            writeln!(text, "{:>12}  {client:width$}  {location}  {time}", far(*distance_m));
    }
    text
}

/// A distance as people read it.
fn far(meters: f64) -> String {
    if meters < 1000.0 { format!("{meters:.1} m") } else { format!("{:.2} km", meters / 1000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let found = |client: &str, distance_m| Found {
            client: client.to_owned(),
            location: "+1+2".to_owned(),
            time: "3".to_owned(),
            distance_m,
        };
        assert_eq!(
            table(&[found("kiwi", 3.21), found("cassowary", 12_345.0)]),
            "       3.2 m  kiwi       +1+2  3\n    12.35 km  cassowary  +1+2  3\n"
        );
        assert_eq!(table(&[]), "nobody is there\n");
    }
}
