//! Where the program under test is, and building it if it is not what the sources say.
//!
//! Cargo tells only the tests of a package itself where its program is. So it is looked for beside the
//! test program, and built in the same profile when it is missing or older than a file it was made of.
//! Cargo is not called otherwise: with nextest each test is a process, and each would wait for cargo's
//! lock.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The path of the program. `HERD_E2E_BINARY` in the environment names another one.
#[track_caller]
pub fn geoherd() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| env::var_os("HERD_E2E_BINARY").map_or_else(find, PathBuf::from))
}

fn find() -> PathBuf {
    let test = env::current_exe().expect("the system tells which program this is");
    // TARGET/PROFILE/deps/it-HASH
    let profile = test.ancestors().nth(2).expect("a test lies in target/PROFILE/deps");
    let binary = profile.join(format!("geoherd{}", env::consts::EXE_SUFFIX));
    if !is_fresh(&binary) {
        build(profile);
    }
    binary
}

/// Whether it is there and no file that cargo names as one of its sources is newer.
fn is_fresh(binary: &Path) -> bool {
    let changed = |path: &Path| -> Option<SystemTime> { fs::metadata(path).ok()?.modified().ok() };
    let Some(built) = changed(binary) else { return false };
    let Ok(sources) = fs::read_to_string(binary.with_extension("d")) else { return false };
    let Some((_, sources)) = sources.split_once(": ") else { return false };
    let root = root();
    // A blank in a path has a backslash before it; such a path is not found, and cargo is asked.
    let sources = sources.split_whitespace().map(|path| root.join(path));
    sources.into_iter().all(|path| changed(&path).is_some_and(|changed| changed <= built))
}

fn build(profile: &Path) {
    let name = profile.file_name().expect("a profile has a name").to_string_lossy();
    let name = if name == "debug" { "dev" } else { &*name };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root()).args(["build", "--quiet", "--package", "geoherd"]);
    command.args(["--profile", name]).arg("--target-dir");
    command.arg(profile.parent().expect("a profile lies in the target directory"));
    let status = command.status().expect("cargo can be called");
    assert!(status.success(), "the program under test does not build");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
