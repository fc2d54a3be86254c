//! `--config`: finding, reading and checking the config, for every subcommand that has one.

use anyhow::Context as _;
use clap::Args;
use herd_server::config::{Config, ConfigErrors};
use std::fs;
use std::path::PathBuf;

/// Which config.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The config of the herd
    #[arg(long = "config", value_name = "FILE", env = "GEOHERD_CONFIG")]
    pub(crate) path: PathBuf,
}

impl ConfigFile {
    /// Reads the file and the environment; looks at nothing as a whole.
    pub(crate) fn load(&self) -> anyhow::Result<Config> {
        let path = self.path.display();
        let text = fs::read_to_string(&self.path).with_context(|| {
            format!("{path}: cannot be read; begin one with `geoherd config example > herd.toml`")
        })?;
        Ok(Config::load(&text, &self.path, environment())?)
    }

    /// Reads it, refuses it if a check finds errors, and prints what the check warns of.
    pub(crate) fn load_checked(&self) -> anyhow::Result<Config> {
        let config = self.load()?;
        let report = config.check();
        for warning in &report.warnings {
            eprintln!("warning: {warning}");
        }
        if report.errors.is_empty() {
            Ok(config)
        } else {
            Err(ConfigErrors { problems: report.errors }.into())
        }
    }
}

/// The environment as text. A name that is none cannot be ours; a value that is none has its strange
/// bytes replaced, so that whoever reads it complains.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    })
}
