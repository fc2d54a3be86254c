//! The core does no I/O, and neither may what it is built of.
//!
//! `core/clippy.toml` bans the calls in our own lines; this bans the crates that would make them
//! for us, however deep. Asked of `cargo tree` a crate at a time: cargo's metadata adds up the
//! features of the whole workspace, and the shell may turn on what the core must not have.

use super::Findings;
use crate::shell;
use anyhow::Result;

/// Crate, and what it would bring. `iana-time-zone` is not among them: opening-hours turns on all
/// of chrono, and asks only the parts of it that calculate.
const BANNED: &[(&str, &str)] = &[
    ("async-io", "sockets"),
    ("async-std", "sockets"),
    ("axum", "sockets"),
    ("crossterm", "a terminal"),
    ("fastrand", "entropy of its own"),
    ("file-rotate", "files"),
    ("getrandom", "entropy of its own"),
    ("hyper", "sockets"),
    ("memmap2", "files"),
    ("mio", "sockets"),
    ("nix", "system calls"),
    ("num_cpus", "the size of the machine"),
    ("polling", "sockets"),
    ("quinn", "sockets"),
    ("rand", "entropy of its own"),
    ("rayon", "threads"),
    ("reqwest", "sockets"),
    ("rustix", "system calls"),
    ("smol", "sockets"),
    ("socket2", "sockets"),
    ("tempfile", "files"),
    ("tokio", "sockets and clocks"),
    ("ureq", "sockets"),
];

pub(super) fn check(found: &mut Findings) -> Result<()> {
    let metadata = super::arrows::metadata()?;
    for package in &metadata.packages {
        let core = metadata.workspace_root.join("core");
        if !package.manifest_path.starts_with(core) {
            continue;
        }
        let tree = shell::output(
            shell::cargo()
                .args(["tree", "--locked", "--edges", "normal", "--prefix", "none"])
                .args(["--format", "{p}", "--package", package.name.as_str()]),
        )?;
        check_tree(&package.name, &tree, found);
    }
    Ok(())
}

/// `tree`: a crate a line, name first.
fn check_tree(package: &str, tree: &str, found: &mut Findings) {
    let crates = tree.lines().filter_map(|line| line.split(' ').next());
    let crates: std::collections::BTreeSet<&str> = crates.collect();
    for (name, brings) in BANNED.iter().filter(|(name, _)| crates.contains(name)) {
        found.fail(
            package,
            format!(
                "the core must not be built of {name}, which brings {brings}; \
                 see `cargo tree -p {package} -e normal -i {name}`"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banned_crate_is_named_with_its_reason() {
        let tree = "herd-geo v0.1.0 (/herd)\nthiserror v2.0.0\ntokio v1.54.1\ntokio v1.54.1 (*)\n";
        let mut found = Findings::default();
        check_tree("herd-geo", tree, &mut found);
        assert_eq!(found.failures.len(), 1);
        assert!(found.failures[0].contains("tokio, which brings sockets and clocks"));
    }

    #[test]
    fn names_are_compared_whole() {
        let mut found = Findings::default();
        check_tree("herd-geo", "rand_core v0.9.0\ntokio-macros v2.0.0\n", &mut found);
        assert!(found.failures.is_empty());
    }
}
