//! `geoherd check`: everything that can be found wrong with a config without opening a port.

use crate::config_file::ConfigFile;
use crate::output;
use clap::Args;
use herd_server::config::{Config, ConfigErrors, Protocol, Provider, Report};
use serde_json::json;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Check a config without starting anything
///
/// Prints a summary of the herd and ends with 0, or what is wrong, where and what to do, and ends
/// with 2.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd check --config herd.toml
  geoherd check --config herd.toml --json | jq .errors")]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Print one JSON object instead
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (config, report) = match arguments.config.load() {
        Ok(config) => {
            let report = check(&config);
            (Some(config), report)
        }
        Err(error) => {
            let ConfigErrors { problems } = error.downcast()?;
            (None, Report { errors: problems, warnings: Vec::new() })
        }
    };
    if arguments.json {
        let text = format!("{:#}\n", as_json(config.as_ref(), &report));
        output::print(text.as_bytes())?;
    } else {
        report.warnings.iter().for_each(|problem| eprintln!("warning: {problem}"));
        report.errors.iter().for_each(|problem| eprintln!("error: {problem}"));
        if let Some(config) = config.filter(|_| report.errors.is_empty()) {
            output::print(summary(&config).as_bytes())?;
        }
    }
    Ok(if report.errors.is_empty() { ExitCode::SUCCESS } else { output::USAGE.into() })
}

/// The config's own check, and whether this environment has the key it asks for; the servers may run
/// in another, so that is a warning.
fn check(config: &Config) -> Report {
    let mut report = config.check();
    if config.places.provider == Provider::Google {
        let key = config.google_key(|name| std::env::var(name).ok());
        report.warnings.extend(key.err());
    }
    report
}

fn summary(config: &Config) -> String {
    let links: usize = config.servers.keys().map(|name| config.neighbors(name).len()).sum();
    let mut text = format!(
        "{}: herd {}, servers {}, links {}: no errors\n",
        config.file().display(),
        config.herd.name,
        config.servers.len(),
        links / 2
    );
    let width = config.servers.keys().map(|name| name.chars().count()).max().unwrap_or_default();
    for (name, server) in &config.servers {
        let neighbors = config.neighbors(name);
        let neighbors: Vec<&str> = neighbors.iter().map(|neighbor| neighbor.name).collect();
        // Writing to a String cannot fail.
        let _infallible = write!(text, "  {name:width$}  {}", server.listen);
        if let Some(http) = server.http {
            let _infallible = write!(text, "  http {http}");
        }
        if server.protocol == Protocol::At {
            text.push_str("  plain AT lines");
        }
        if !neighbors.is_empty() {
            let _infallible = write!(text, "  neighbors {}", neighbors.join(", "));
        }
        text.push('\n');
    }
    text
}

fn as_json(config: Option<&Config>, report: &Report) -> serde_json::Value {
    let servers: Option<Vec<_>> = config.map(|config| {
        let one = |(name, server): (&String, &herd_server::config::Server)| {
            let neighbors = config.neighbors(name);
            let neighbors: Vec<&str> = neighbors.iter().map(|neighbor| neighbor.name).collect();
            json!({ "name": name, "listen": server.listen, "http": server.http, "neighbors": neighbors })
        };
        config.servers.iter().map(one).collect()
    });
    let printed = |problems: &[herd_server::config::Problem]| -> Vec<_> {
        let one = |problem: &herd_server::config::Problem| {
            let mut object = json!(problem);
            object["text"] = problem.to_string().into();
            object
        };
        problems.iter().map(one).collect()
    };
    json!({
        "ok": report.errors.is_empty(),
        "herd": config.map(|config| &config.herd.name),
        "servers": servers,
        "errors": printed(&report.errors),
        "warnings": printed(&report.warnings),
    })
}
