//! What is wrong with a config, where, and what to do about it.

use super::{Config, key};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// One mistake. Prints as `FILE:LINE: KEY: what is wrong; what to do`, with the name of the variable
/// in place of file and line if the value came from the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Problem {
    /// The config file, as it was named.
    pub file: PathBuf,
    /// The line of the key, or of the nearest table around it; from 1.
    pub line: Option<usize>,
    /// The environment variable that set the value, if one did.
    pub variable: Option<String>,
    /// The key, such as `servers.Hill.listen`; empty if the text could not be read as TOML.
    pub key: String,
    /// What is wrong; what to do.
    pub message: String,
}

impl Problem {
    /// Sorts as one reads: variables first, then the file from its beginning.
    pub(super) fn sort(problems: &mut [Self]) {
        problems.sort_by_key(|problem| (problem.variable.is_none(), problem.line));
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.variable, self.line) {
            (Some(variable), _) => f.write_str(variable)?,
            (None, Some(line)) => write!(f, "{}:{line}", self.file.display())?,
            (None, None) => write!(f, "{}", self.file.display())?,
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything that is wrong with a config that could not be loaded; never empty. Prints one problem
/// a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// Those of variables first, then by line.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl Config {
    /// A problem with the value of `key`, for whoever finds out later that it cannot be used, such as
    /// an address that another program has.
    pub fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        self.source.problem(key, message)
    }

    /// The line of the file in which `key` stands, from 1; `None` if the file does not have it.
    /// [`server_key`](Self::server_key) builds keys of servers.
    pub fn line_of(&self, key: &str) -> Option<usize> {
        self.source.lines.get(key).copied()
    }

    /// The key of one field of one server, quoted where it must be: `servers.Hill.listen`.
    pub fn server_key(name: &str, field: &str) -> String {
        key::child(&key::child("servers", name), field)
    }

    /// The file this config was loaded from, as it was named.
    pub fn file(&self) -> &Path {
        &self.source.file
    }
}

/// Where each value came from.
#[derive(Clone, Default)]
pub(super) struct Source {
    pub(super) file: PathBuf,
    /// Key to line, for tables, keys and elements of lists.
    pub(super) lines: BTreeMap<String, usize>,
    /// Key to the variable that set it.
    pub(super) variables: BTreeMap<String, String>,
}

impl Source {
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        let around = |known: &str| key::is_within(key, known);
        // Of the keys around this one the longest is the nearest.
        let line = self
            .lines
            .iter()
            .filter(|(k, _)| around(k))
            .max_by_key(|(k, _)| k.len())
            .map(|(_, &l)| l);
        let variable = self.variables.iter().find(|(k, _)| around(k)).map(|(_, name)| name.clone());
        let (key, message) = (key.to_owned(), message.into());
        Problem { file: self.file.clone(), line, variable, key, message }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())
    }
}
