//! A quick run of everything: the answers are right and the figures are written.

use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn everything_is_measured_once_and_answered_rightly() {
    let bench = Path::new(env!("CARGO_BIN_EXE_herd-bench"));
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(bench)
        .args(["all", "--quick", "--out"])
        .arg(out.path())
        .arg("--server")
        .arg(server(bench))
        .output()
        .unwrap();
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{errors}");
    let document = std::fs::read(out.path().join("all.json")).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    assert!(document["machine"]["cores"].as_u64().unwrap() > 0);
    let sections = document["sections"].as_array().unwrap();
    let rows = sections.iter().map(|section| section["rows"].as_array().unwrap().len());
    assert_eq!(rows.collect::<Vec<_>>(), [5, 3, 4, 3, 2], "{said}");
}

#[test]
fn every_row_about_replication_is_measured_once() {
    let bench = Path::new(env!("CARGO_BIN_EXE_herd-bench"));
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(bench)
        .args(["replication", "--quick", "--out"])
        .arg(out.path())
        .arg("--server")
        .arg(server(bench))
        .output()
        .unwrap();
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{errors}");
    let document = std::fs::read(out.path().join("replication.json")).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    let sections = document["sections"].as_array().unwrap();
    let rows = sections.iter().map(|section| section["rows"].as_array().unwrap().len());
    assert_eq!(rows.collect::<Vec<_>>(), [1, 2, 1, 1, 1, 2, 3], "{said}");
    // A count does not depend on how fast a machine is.
    let payloads = sections[0]["rows"][0]["streams"].as_f64().unwrap();
    assert!(payloads >= 4.0, "{said}");
}

/// The server beside the bench, built if this test runs without the rest of the workspace.
fn server(bench: &Path) -> PathBuf {
    let path = bench.with_file_name("geoherd");
    if !path.exists() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        let built = build.args(["build", "--locked", "--package", "geoherd"]).status();
        assert!(built.is_ok_and(|status| status.success()), "geoherd does not build");
    }
    path
}
