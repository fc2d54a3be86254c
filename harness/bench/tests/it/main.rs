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
    // A peer that is missing has one row that says so.
    let (redis, python) = (is_installed("redis-server"), is_installed("python3"));
    let of_peers = [redis, python].map(|is_there| if is_there { 3 } else { 1 });
    let (near, waits) = if redis { (4, 8) } else { (5, 5) };
    let expected = [5, of_peers.iter().sum(), 4, 4, 3, 2, near, 4, waits];
    assert_eq!(rows.collect::<Vec<_>>(), expected, "{said}");
}

#[test]
fn a_missing_peer_is_told_and_no_failure() {
    let bench = Path::new(env!("CARGO_BIN_EXE_herd-bench"));
    let out = tempfile::tempdir().unwrap();
    for (measure, missing) in
        [("line", &["redis-server", "python3"][..]), ("nearby", &["redis-server"])]
    {
        let output = Command::new(bench)
            .args([measure, "--quick", "--out"])
            .arg(out.path())
            .arg("--server")
            .arg(server(bench))
            .env("PATH", "")
            .output()
            .unwrap();
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}\n{errors}");
        for program in missing {
            assert!(said.contains(&format!("{program} is not installed: apt install")), "{said}");
        }
    }
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
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
