//! Finds the folders of the crates that carry data.

use crate::Outcome;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of each package, by name.
pub(crate) type Folders = BTreeMap<String, PathBuf>;

/// Asks cargo where it keeps the packages of this build: first without a network, and if not all of
/// them are here yet, with one.
pub(crate) fn folders() -> Outcome<Folders> {
    let metadata = metadata(&["--offline"]).or_else(|_| metadata(&[]))?;
    // The versions of these crates are named there.
    if let Some(root) = metadata.get("workspace_root").and_then(Value::as_str) {
        let manifest = Path::new(root).join("Cargo.toml");
        println!("cargo::rerun-if-changed={}", manifest.display());
    }
    let packages = metadata.get("packages").and_then(Value::as_array).ok_or("no packages")?;
    let folder = |package: &Value| {
        let name = package.get("name")?.as_str()?;
        let manifest = Path::new(package.get("manifest_path")?.as_str()?);
        Some((name.to_owned(), manifest.parent()?.to_owned()))
    };
    Ok(packages.iter().filter_map(folder).collect())
}

/// Has cargo run this script again next time: a file that is not there always counts as changed.
pub(crate) fn look_again() {
    println!("cargo::rerun-if-changed=map-data-not-found");
}

fn metadata(more: &[&str]) -> Outcome<Value> {
    let manifest = Path::new(&env("CARGO_MANIFEST_DIR")?).join("Cargo.toml");
    let output = Command::new(env("CARGO")?)
        .args(["metadata", "--locked", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .args(more)
        .output()?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        let error =
            told.lines().find(|line| line.starts_with("error")).unwrap_or("no reason given");
        return Err(format!("cargo metadata: {error}").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn env(name: &str) -> Outcome<String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}").into())
}
