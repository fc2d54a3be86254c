//! The inputs to begin with: one file each, named for what is special about it.

use crate::Target;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};

/// One input of a corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// The name of its file.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// The corpus of `target` in the order of its names, so that a seed means the same everywhere.
///
/// # Errors
///
/// When its folder cannot be read.
pub fn load(target: &Target) -> Result<Vec<Seed>> {
    let folder = folder(target.corpus_dir);
    let entries = std::fs::read_dir(&folder)
        .with_context(|| format!("{} has no corpus in {}", target.name, target.corpus_dir))?;
    let mut seeds = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {name}"))?;
        seeds.push(Seed { name, bytes });
    }
    seeds.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(seeds)
}

/// `below`, as seen from this crate.
pub fn folder(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}
