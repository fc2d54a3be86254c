//! Manifests and the lock file: versions and lints are named once, in the root.
//!
//! Read line by line, in the plain shape in which our manifests are written; a shape that is not
//! understood is a finding, never passed over.

use super::{Files, Findings};

const CRATES_IO: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
const INHERITED: &[&str] = &["version", "edition", "rust-version", "license", "publish"];

pub(super) fn check(files: &Files, found: &mut Findings) {
    for (path, text) in super::with_extension(files, "toml") {
        if path.ends_with("/Cargo.toml") {
            check_member(path, text, found);
        }
    }
    match files.get("Cargo.lock") {
        Some(Some(lock)) => check_lock(lock, found),
        _ => found.fail("Cargo.lock", "must be tracked"),
    }
}

fn check_member(path: &str, text: &str, found: &mut Findings) {
    let mut table = String::new();
    let mut open = 0_usize;
    let mut lints_inherited = false;
    let mut inherited: Vec<&str> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let at = format!("{path}:{number}");
        let line = line.split(" #").next().unwrap_or(line).trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // A list or table that goes on over several lines belongs to the key that opened it.
        let was_open = open;
        open += line.matches(['[', '{']).count();
        open = open.saturating_sub(line.matches([']', '}']).count());
        if was_open > 0 {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            header.trim_end_matches(']').clone_into(&mut table);
            if table.starts_with("lints.") {
                found.fail(&at, "lints are named in the root alone: [workspace.lints]");
            } else if is_one_dependency(&table) {
                found.fail(&at, "write it as `name.workspace = true` or `{ workspace = true, … }`");
            }
            continue;
        }
        let from_root = line.contains("workspace = true");
        if table == "lints" {
            lints_inherited |= line == "workspace = true";
            if line != "workspace = true" {
                found.fail(&at, "lints are named in the root alone: [workspace.lints]");
            }
        } else if table.ends_with("dependencies") && !from_root {
            found.fail(&at, "versions are named in the root alone: [workspace.dependencies]");
        } else if table == "package" && from_root {
            inherited.extend(line.split('.').next());
        }
    }
    if !lints_inherited {
        found.fail(path, "must have `[lints]` with `workspace = true`");
    }
    for key in INHERITED.iter().filter(|key| !inherited.contains(key)) {
        found.fail(path, format!("must have `{key}.workspace = true`"));
    }
}

/// Whether `table` is the long form `[dependencies.name]`.
fn is_one_dependency(table: &str) -> bool {
    table.rsplit_once('.').is_some_and(|(before, _)| before.ends_with("dependencies"))
}

fn check_lock(lock: &str, found: &mut Findings) {
    for (number, line) in (1..).zip(lock.lines()) {
        if line.starts_with("source = ") && line != CRATES_IO {
            found.fail(format!("Cargo.lock:{number}"), "a source other than the public index");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::files_of;
    use super::*;

    const PLAIN: &str = "\
[package]
name = \"herd-x\"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
publish.workspace = true

[lints]
workspace = true

[dependencies]
";

    #[test]
    fn inherited_dependencies_pass() {
        expect("", &[]);
        expect("a.workspace = true # why\n[dev-dependencies]\nb = { workspace = true }\n", &[]);
        expect("a = { workspace = true, features = [\n  \"x\",\n  \"y\",\n] }\n", &[]);
        expect(
            "[target.'cfg(unix)'.dependencies]\na.workspace = true\n[[bin]]\nname = \"x\"\n",
            &[],
        );
    }

    #[test]
    fn versions_of_ones_own_fail() {
        let versions = "versions are named in the root alone: [workspace.dependencies]";
        for line in ["a = \"1\"", "a = { version = \"1\" }", "a = { path = \"../a\" }"] {
            expect(line, &[&format!("core/x/Cargo.toml:13: {versions}")]);
            expect(
                &format!("[target.'cfg(unix)'.build-dependencies]\n{line}"),
                &[&format!("core/x/Cargo.toml:14: {versions}")],
            );
        }
        expect(
            "[dependencies.a]\nversion = \"1\"",
            &["core/x/Cargo.toml:13: write it as `name.workspace = true` or \
               `{ workspace = true, … }`"],
        );
    }

    #[test]
    fn lints_of_ones_own_fail() {
        expect(
            "[lints.clippy]\npedantic = \"allow\"",
            &["core/x/Cargo.toml:13: lints are named in the root alone: [workspace.lints]"],
        );
    }

    #[test]
    fn what_is_not_inherited_is_named() {
        let mut found = Findings::default();
        check_member(
            "x/Cargo.toml",
            &PLAIN.replace("workspace = true\n\n[dep", "\n[dep"),
            &mut found,
        );
        check_member("x/Cargo.toml", &PLAIN.replace("edition.workspace", "edition"), &mut found);
        assert_eq!(
            found.failures,
            [
                "x/Cargo.toml: must have `[lints]` with `workspace = true`",
                "x/Cargo.toml: must have `edition.workspace = true`",
            ]
        );
    }

    #[test]
    fn lock_names_the_public_index_alone() {
        let mut found = Findings::default();
        check_lock(&format!("[[package]]\n{CRATES_IO}\n"), &mut found);
        assert!(found.failures.is_empty());
        check_lock("source = \"git+https://example.org/x\"\n", &mut found);
        assert_eq!(found.failures, ["Cargo.lock:1: a source other than the public index"]);
        let mut found = Findings::default();
        check(&files_of(&[]), &mut found);
        assert_eq!(found.failures, ["Cargo.lock: must be tracked"]);
    }

    #[track_caller]
    fn expect(more: &str, failures: &[&str]) {
        let mut found = Findings::default();
        check_member("core/x/Cargo.toml", &format!("{PLAIN}{more}"), &mut found);
        assert_eq!(found.failures, failures, "{more}");
    }
}
