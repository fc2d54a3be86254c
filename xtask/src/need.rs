//! What a machine must have before the check can run, and how it comes to have it.

use crate::shell;
use anyhow::{Context as _, Result, bail};

/// One thing that a part of the check calls.
struct Need {
    name: &'static str,
    /// A command that succeeds where the thing is installed.
    probe: &'static [&'static str],
    why: &'static str,
    from: Source,
    /// Whether the check cannot do without it.
    must: bool,
}

#[derive(Clone, Copy)]
enum Source {
    Rustup(&'static str),
    Debian(&'static str),
    Cargo(&'static str),
}

const NEEDS: &[Need] = &[
    Need {
        name: "rustfmt",
        probe: &["cargo", "fmt", "--version"],
        why: "the format check",
        from: Source::Rustup("rustfmt"),
        must: true,
    },
    Need {
        name: "clippy",
        probe: &["cargo", "clippy", "--version"],
        why: "the lints",
        from: Source::Rustup("clippy"),
        must: true,
    },
    Need {
        name: "cc",
        probe: &["cc", "--version"],
        why: "a C compiler: the linker, and the cryptography under TLS",
        from: Source::Debian("build-essential"),
        must: true,
    },
    Need {
        name: "git",
        probe: &["git", "--version"],
        why: "tidy asks it which files are ours",
        from: Source::Debian("git"),
        must: true,
    },
    Need {
        name: "cargo-nextest",
        probe: &["cargo", "nextest", "--version"],
        why: "faster tests; without it cargo test runs them",
        from: Source::Cargo("cargo-nextest"),
        must: false,
    },
    Need {
        name: "cargo-deny",
        probe: &["cargo", "deny", "--version"],
        why: "licenses and doubles; without it that part is skipped",
        from: Source::Cargo("cargo-deny"),
        must: false,
    },
    Need {
        name: "valgrind",
        probe: &["valgrind", "--version"],
        why: "counting instructions; without it that part is skipped",
        from: Source::Debian("valgrind"),
        must: false,
    },
    Need {
        name: "ip",
        probe: &["ip", "-V"],
        why: "tests in network namespaces; without it those are skipped",
        from: Source::Debian("iproute2"),
        must: false,
    },
    Need {
        name: "nft",
        probe: &["nft", "-v"],
        why: "links that drop packets, in the same tests",
        from: Source::Debian("nftables"),
        must: false,
    },
    Need {
        name: "faketime",
        probe: &["faketime", "--version"],
        why: "servers with a wrong clock; without it those tests are skipped",
        from: Source::Debian("faketime"),
        must: false,
    },
    Need {
        name: "redis-server",
        probe: &["redis-server", "--version"],
        why: "a peer of the benchmarks; without it those rows say so",
        from: Source::Debian("redis-server"),
        must: false,
    },
    Need {
        name: "uvloop",
        // Debian's module is found by Debian's interpreter alone.
        probe: &["/usr/bin/python3", "-c", "import uvloop"],
        why: "the other peer, a herd in Python; without it that one is slower, or left out",
        from: Source::Debian("python3-uvloop"),
        must: false,
    },
];

/// Reports what is missing and installs it when `install` or `CI=true` allows.
///
/// # Errors
///
/// When something is missing that the check needs, and could not be installed.
pub(crate) fn run(install: bool) -> Result<()> {
    let may_install = install || std::env::var("CI").is_ok_and(|ci| ci == "true" || ci == "1");
    let mut missing: Vec<&Need> = NEEDS.iter().filter(|need| report(need)).collect();
    if may_install && !missing.is_empty() {
        get(&missing)?;
        missing.retain(|need| !shell::succeeds(need.probe));
    }
    missing.retain(|need| need.must);
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|need| need.name).collect();
        bail!("missing: {} (the lines above say how to install it)", names.join(", "));
    }
    Ok(())
}

/// Prints whether `need` is met; true if it is missing.
fn report(need: &Need) -> bool {
    if shell::succeeds(need.probe) {
        println!("{:<14} found", need.name);
        return false;
    }
    let word = if need.must { "MISSING" } else { "not there" };
    println!("{:<14} {word}: {}; get it with `{}`", need.name, need.why, need.from.command());
    true
}

impl Source {
    fn command(self) -> String {
        match self {
            Source::Rustup(component) => format!("rustup component add {component}"),
            Source::Debian(package) => format!("apt-get install {package}"),
            Source::Cargo(package) => format!("cargo install --locked {package}"),
        }
    }
}

fn get(missing: &[&Need]) -> Result<()> {
    let mut packages = Vec::new();
    for need in missing {
        match need.from {
            Source::Rustup(component) => {
                shell::run(shell::command("rustup").args(["component", "add", component]))?;
            }
            Source::Debian(package) => packages.push(package),
            // Compiling a tool takes longer than doing without it.
            Source::Cargo(_) => {}
        }
    }
    if packages.is_empty() {
        return Ok(());
    }
    let user = shell::output(shell::command("id").arg("-u"))?;
    if user.trim() != "0" || !shell::succeeds(&["apt-get", "--version"]) {
        return Ok(());
    }
    shell::run(shell::command("apt-get").arg("update")).context("cannot read the package lists")?;
    shell::run(
        shell::command("apt-get")
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}
