//! `geoherd serve`: one server of the herd in the foreground, until it is told to stop.

use crate::config_file::ConfigFile;
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use herd_server::config::{Config, LogFormat, Report, nearest};
use herd_server::{Options, ReadConfig, serve};
use std::path::PathBuf;
use std::process::ExitCode;

/// Run one server of the herd
///
/// Runs in the foreground and prints one line with its addresses when it is ready. SIGTERM or Ctrl-C
/// makes it answer what it has received and end with 0. SIGHUP makes it read the config anew and follow
/// what has changed of its neighbors; what needs a restart is named in the log.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd serve Hill --config herd.toml
  geoherd serve Hill --config herd.toml --log-dir /var/log/geoherd --log-format json
  GEOHERD_LIMITS_MAX_CONNECTIONS=100 geoherd serve Hill --config herd.toml")]
pub(crate) struct Arguments {
    /// Which server of the config
    name: String,
    #[command(flatten)]
    config: ConfigFile,
    /// Where what must outlive the server is kept
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where NAME.log is written, over `log.dir` of the config
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
    /// How a log line looks, over `log.format` of the config
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<Format>,
    /// What is logged, as in RUST_LOG, over `log.filter` of the config
    #[arg(long, value_name = "FILTER")]
    log_filter: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

pub(crate) fn run(arguments: Arguments, version: &'static str) -> anyhow::Result<ExitCode> {
    let config = arguments.over(arguments.config.load_checked()?);
    let name = arguments.name.clone();
    if !config.servers.contains_key(&name) {
        return Err(unknown(&name, &config));
    }
    let data_dir = arguments.data_dir.clone();
    let read_config = ReadConfig::new(move || {
        let config = arguments.config.load().map_err(|error| format!("{error:#}"))?;
        let Report { errors, .. } = config.check();
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        if errors.is_empty() { Ok(arguments.over(config)) } else { Err(errors.join("; ")) }
    });
    let options = Options { name, config, data_dir, version, read_config };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    runtime.block_on(serve(options))?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    /// The config with the flags over it.
    fn over(&self, mut config: Config) -> Config {
        config.log.dir = self.log_dir.clone().or(config.log.dir);
        config.log.filter = self.log_filter.clone().unwrap_or(config.log.filter);
        config.log.format = match self.log_format {
            Some(Format::Text) => LogFormat::Text,
            Some(Format::Json) => LogFormat::Json,
            None => config.log.format,
        };
        config
    }
}

fn unknown(name: &str, config: &Config) -> anyhow::Error {
    let known: Vec<&str> = config.servers.keys().map(String::as_str).collect();
    let meant = nearest(name, known.iter().copied());
    let hint = meant.map_or_else(String::new, |meant| format!("did you mean `{meant}`? "));
    let known = known.join(", ");
    let message = format!("there is no server {name:?}; {hint}The config has {known}");
    config.problem("servers", message).into()
}
