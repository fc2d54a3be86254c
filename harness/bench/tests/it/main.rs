//! A quick run of everything: the answers are right and the figures are written.

use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn everything_is_measured_once_and_answered_rightly() {
    let (document, said) = measured("all");
    assert!(document["machine"]["cores"].as_u64().unwrap() > 0);
    let took = document["took_s"].as_object().unwrap();
    // The names are in order of the alphabet.
    assert_eq!(
        took.keys().map(String::as_str).collect::<Vec<_>>(),
        [
            "connections",
            "flood",
            "index",
            "line",
            "memory",
            "nearby",
            "places",
            "scale",
            "threads",
            "visible"
        ]
    );
    // How many rows about the index there are is its own affair; a peer that is missing has one row that says so.
    let (redis, python) = (is_installed("redis-server"), is_installed("python3"));
    let of_peers = [redis, python].map(|is_there| if is_there { 3 } else { 1 });
    let (near, waits) = if redis { (4, 8) } else { (5, 5) };
    let expected = [5, of_peers.iter().sum(), 4, 4, 2, 3, near, 4, waits, 2, 4, 3, 2, 2, 6, 1, 2];
    assert_eq!(rows(&document).get(..expected.len()).unwrap(), expected, "{said}");
}

#[test]
fn connections_are_all_answered() {
    let (document, said) = measured("connections");
    assert_eq!(rows(&document), [2, 4, 3], "{said}");
}

#[test]
fn a_server_is_filled_in_stages() {
    let (document, said) = measured("scale");
    assert_eq!(rows(&document), [2, 2, 6], "{said}");
    // Within fifty kilometers are all of a city: enough for an answer.
    assert_eq!(document["sections"][2]["rows"][5]["found"], 20.0, "{said}");
}

#[test]
fn places_are_answered() {
    let (document, said) = measured("places");
    assert_eq!(rows(&document), [1, 2], "{said}");
    assert!(document["sections"][1]["rows"][1]["answers/s"].as_f64().unwrap() > 0.0, "{said}");
}

#[test]
fn threads_are_compared() {
    let (document, said) = measured("threads");
    assert_eq!(rows(&document), [3], "{said}");
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
    let (document, said) = measured("replication");
    assert_eq!(rows(&document), [1, 2, 1, 1, 1, 2, 3], "{said}");
    // A count does not depend on how fast a machine is.
    let payloads = document["sections"][0]["rows"][0]["streams"].as_f64().unwrap();
    assert!(payloads >= 4.0, "{said}");
}

#[test]
fn every_row_about_agreement_after_faults_is_measured_once() {
    let (document, said) = measured("agree");
    assert_eq!(rows(&document), [1, 1, 2, 1, 2, 1, 4, 1, 1], "{said}");
}

/// What a quick run of this measure wrote, and what it said.
fn measured(what: &str) -> (serde_json::Value, String) {
    let bench = Path::new(env!("CARGO_BIN_EXE_herd-bench"));
    let out = tempfile::tempdir().expect("a temporary directory");
    let output = Command::new(bench)
        .args([what, "--quick", "--out"])
        .arg(out.path())
        .arg("--server")
        .arg(server(bench))
        .output()
        .expect("the bench starts");
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{errors}");
    let document =
        std::fs::read(out.path().join(format!("{what}.json"))).expect("figures are written");
    (serde_json::from_slice(&document).expect("figures are JSON"), said.into_owned())
}

/// How many rows each section has.
fn rows(document: &serde_json::Value) -> Vec<usize> {
    let sections = document["sections"].as_array().expect("there are sections");
    sections.iter().map(|section| section["rows"].as_array().map_or(0, Vec::len)).collect()
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
