//! The arrows between rooms: which crate may import which.
//!
//! A room is a folder, so the rule is a property of where a file lies. Every kind of dependency
//! counts, those of tests and build scripts too. A new row or arrow is a decision: docs/decisions/.

use super::Findings;
use crate::shell;
use anyhow::{Context as _, Result};
use cargo_metadata::{Metadata, MetadataCommand};

/// Room, and the rooms that it may import. `*` stands for every room of a folder.
const ARROWS: &[(&str, &[&str])] = &[
    ("core/geo", &[]),
    ("core/proto", &["core/geo"]),
    ("core/index", &["core/geo"]),
    ("core/replica", &["core/geo", "core/proto"]),
    ("core/store", &["core/proto"]),
    ("core/places", &["core/geo", "core/index"]),
    ("core/node", &["core/*"]),
    ("shell/atlas", &["core/geo", "core/places"]),
    ("shell/front", &["core/*"]),
    ("shell/server", &["core/*", "shell/atlas", "shell/front"]),
    ("shell/geoherd", &["core/*", "shell/atlas", "shell/server"]),
    // The same servers and clients, in another network.
    ("harness/net", &["harness/e2e"]),
    ("harness/torture", &["harness/e2e"]),
    // Leaves: nobody imports them but each other the fuzz targets.
    ("harness/*", &["core/*", "shell/*", "harness/fuzz"]),
    ("xtask", &["core/*", "shell/*", "harness/fuzz"]),
];

/// What cargo says about the packages of the workspace; dependencies are not resolved for it.
pub(super) fn metadata() -> Result<Metadata> {
    MetadataCommand::new()
        .current_dir(shell::root())
        .no_deps()
        .exec()
        .context("cargo metadata cannot read the workspace")
}

pub(super) fn check(metadata: &Metadata, found: &mut Findings) {
    let room_of = |folder: &str| {
        let folder = folder.strip_prefix(metadata.workspace_root.as_str())?;
        folder.strip_prefix(['/', '\\']).map(|room| room.replace('\\', "/"))
    };
    for package in &metadata.packages {
        let folder = package.manifest_path.parent().map_or("", |folder| folder.as_str());
        let Some(room) = room_of(folder) else { continue };
        let Some((_, allowed)) = ARROWS.iter().find(|(pattern, _)| matches(pattern, &room)) else {
            found.fail(&room, "a room that xtask/src/tidy/arrows.rs does not know; give it a row");
            continue;
        };
        for dependency in &package.dependencies {
            let Some(path) = &dependency.path else { continue };
            match room_of(path.as_str()) {
                None => found.fail(&room, format!("{path} lies outside the repository")),
                Some(to) if allowed.iter().any(|pattern| matches(pattern, &to)) => {}
                Some(to) => {
                    found.fail(&room, format!("must not import {to} ({})", dependency.kind));
                }
            }
        }
    }
}

fn matches(pattern: &str, room: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(folder) => room.strip_prefix(folder).is_some_and(|rest| !rest.contains('/')),
        None => pattern == room,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn allowed_arrows_pass() {
        expect("core/geo", &[], &[]);
        expect("core/proto", &[("core/geo", "normal")], &[]);
        expect("core/node", &[("core/replica", "normal"), ("core/places", "dev")], &[]);
        expect("shell/atlas", &[("core/places", "build")], &[]);
        expect("shell/server", &[("shell/atlas", "normal"), ("core/node", "normal")], &[]);
        expect("harness/e2e", &[("shell/geoherd", "dev"), ("harness/fuzz", "normal")], &[]);
    }

    #[test]
    fn every_other_arrow_is_named() {
        let geo_proto = "core/geo: must not import core/proto (normal)";
        expect("core/geo", &[("core/proto", "normal")], &[geo_proto]);
        let dev = "core/proto: must not import core/replica (dev)";
        expect("core/proto", &[("core/replica", "dev")], &[dev]);
        let upward = "core/node: must not import shell/server (normal)";
        expect("core/node", &[("shell/server", "normal")], &[upward]);
        let build = "shell/atlas: must not import core/node (build)";
        expect("shell/atlas", &[("core/node", "build")], &[build]);
        let leaf = "shell/geoherd: must not import harness/fuzz (dev)";
        expect("shell/geoherd", &[("harness/fuzz", "dev")], &[leaf]);
        let sibling = "harness/e2e: must not import harness/bench (normal)";
        expect("harness/e2e", &[("harness/bench", "normal")], &[sibling]);
    }

    #[test]
    fn a_room_without_a_row_is_named() {
        let unknown = "core/new: a room that xtask/src/tidy/arrows.rs does not know; give it a row";
        expect("core/new", &[], &[unknown]);
    }

    #[test]
    fn a_star_stands_for_one_folder() {
        assert!(matches("core/*", "core/geo"));
        assert!(!matches("core/*", "core/geo/deeper"));
        assert!(!matches("core/*", "shell/core"));
        assert!(matches("xtask", "xtask"));
    }

    #[track_caller]
    fn expect(room: &str, imports: &[(&str, &str)], failures: &[&str]) {
        let mut found = Findings::default();
        check(&made_up(room, imports), &mut found);
        assert_eq!(found.failures, failures);
    }

    /// What cargo would say about a workspace of one package, `room`, at `/herd`.
    fn made_up(room: &str, imports: &[(&str, &str)]) -> Metadata {
        let dependencies: Vec<Value> = imports
            .iter()
            .map(|(to, kind)| {
                json!({
                    "name": to.replace('/', "-"), "source": null, "req": "*", "kind": kind,
                    "rename": null, "optional": false, "uses_default_features": true,
                    "features": [], "target": null, "registry": null, "path": format!("/herd/{to}"),
                })
            })
            .collect();
        let id = format!("path+file:///herd/{room}#0.1.0");
        let metadata = json!({
            "packages": [{
                "name": room.replace('/', "-"), "version": "0.1.0", "id": id,
                "source": null, "dependencies": dependencies, "targets": [], "features": {},
                "manifest_path": format!("/herd/{room}/Cargo.toml"), "edition": "2024",
            }],
            "workspace_members": [id], "resolve": null, "workspace_root": "/herd",
            "target_directory": "/herd/target", "version": 1, "metadata": null,
        });
        serde_json::from_value(metadata).expect("cargo's own form")
    }
}
