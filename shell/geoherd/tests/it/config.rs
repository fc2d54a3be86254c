//! `check`, `config` and what `serve` says before it opens a port.

use crate::{Outcome, geoherd, geoherd_with};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

#[test]
fn the_example_is_in_order() {
    let example = geoherd(&["config", "example"]).stdout;
    let outcome = check(&example, &[]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    assert!(outcome.stdout.contains("herd news, servers 5, links 6: no errors\n"), "{outcome:?}");
    assert!(outcome.stdout.contains("  Jaquez     127.0.0.1:12001  http 127.0.0.1:12101"));
}

#[test]
fn the_reference_page_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.md");
    let written = fs::read_to_string(page).unwrap_or_default();
    assert!(
        written == geoherd(&["config", "reference"]).stdout,
        "docs/config.md is not what the config's structs say; run: \
         cargo run -p geoherd -- config reference > docs/config.md"
    );
}

#[test]
fn the_schema_is_json() {
    let schema = geoherd(&["config", "schema"]).stdout;
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(schema["properties"]["limits"]["properties"]["max_line_bytes"]["minimum"], 80);
}

#[test]
fn mistakes_are_told_with_file_line_and_key() {
    let outcome = check("[herd]\nname = \"news\"\n[servers.A]\nlsiten = \"127.0.0.1:1\"\n", &[]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
    assert!(
        outcome.stderr.contains(
            "herd.toml:4: servers.A.lsiten: there is no such key; did you mean `listen`?\n"
        ),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains("herd.toml:3: servers.A.listen: is missing"), "{outcome:?}");

    let outcome = check(&format!("{TWO}[servers.C]\nlisten = \"127.0.0.1:1\"\n"), &[]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains(":8: servers.C: the herd is in 2 parts"), "{outcome:?}");
    assert!(
        outcome
            .stderr
            .contains(":9: servers.C.listen: 127.0.0.1:1 is taken by servers.A.listen in line 4"),
        "{outcome:?}"
    );
}

#[test]
fn what_is_only_risky_is_told_and_passes() {
    let text = format!("{TWO}[servers.C]\nlisten = \"127.0.0.1:3\"\nneighbors = [\"B\"]\n");
    let outcome = check(&text, &[]);
    assert_eq!(outcome.code, Some(0));
    assert!(
        outcome.stderr.starts_with("warning: ")
            && outcome.stderr.contains("without B the herd falls into 2 parts: A | C"),
        "{outcome:?}"
    );
}

#[test]
fn the_environment_wins_over_the_file() {
    let moved = check(TWO, &[("GEOHERD_SERVERS_A_LISTEN", "127.0.0.1:77")]);
    assert!(moved.code == Some(0) && moved.stdout.contains("A  127.0.0.1:77"), "{moved:?}");
    let wrong = check(TWO, &[("GEOHERD_LIMITS_MAX_CONECTIONS", "7")]);
    assert_eq!(wrong.code, Some(2));
    assert_eq!(
        wrong.stderr,
        "error: GEOHERD_LIMITS_MAX_CONECTIONS: sets no key of the config; did you mean GEOHERD_LIMITS_MAX_CONNECTIONS?\n"
    );
}

#[test]
fn programs_can_read_what_check_found() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("herd.toml");
    for (text, ok, line) in [(TWO, true, None), ("[herd]\nname = 1\n", false, Some(2))] {
        fs::write(&file, text).unwrap();
        let outcome = geoherd(&[Path::new("check"), "--config".as_ref(), &file, "--json".as_ref()]);
        let found: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!((found["ok"].as_bool(), outcome.code), (Some(ok), Some(if ok { 0 } else { 2 })));
        assert_eq!(found["errors"][0]["line"].as_u64(), line, "{found}");
    }
}

#[test]
fn a_key_for_google_that_is_missing_is_told() {
    let text = format!("{TWO}[places]\nprovider = \"google\"\n");
    let outcome = check(&text, &[("GOOGLE_PLACES_KEY", "")]);
    assert!(outcome.code == Some(0) && outcome.stderr.contains("is no key"), "{outcome:?}");
    let outcome = check(&text, &[("GOOGLE_PLACES_KEY", "AIzaExample")]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_server_that_the_config_lacks_is_not_served() {
    let outcome = with_config(TWO, &["serve", "a"], &[]);
    assert_eq!(outcome.code, Some(2));
    assert!(
        outcome.stderr.contains(
            "herd.toml:3: servers: there is no server \"a\"; did you mean `A`? The config has A, B"
        ),
        "{outcome:?}"
    );
}

#[test]
fn a_config_that_is_wrong_is_not_served() {
    let outcome = with_config(&format!("{TWO}[limit]\n"), &["serve", "A"], &[]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("herd.toml:8: limit: there is no such key"), "{outcome:?}");
}

#[test]
fn a_config_that_is_not_there_can_be_begun() {
    let outcome = geoherd(&["check", "--config", "/no/such/herd.toml"]);
    assert_eq!(outcome.code, Some(2));
    assert!(
        outcome
            .stderr
            .contains("/no/such/herd.toml: cannot be read; begin one with `geoherd config example"),
        "{outcome:?}"
    );
}

const TWO: &str = "\
[herd]
name = \"news\"
[servers.A]
listen = \"127.0.0.1:1\"
neighbors = [\"B\"]
[servers.B]
listen = \"127.0.0.1:2\"
";

fn check(text: &str, environment: &[(&str, &str)]) -> Outcome {
    with_config(text, &["check"], environment)
}

fn with_config(text: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("herd.toml");
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    geoherd_with(&[arguments, &["--config", file]].concat(), environment, "")
}
