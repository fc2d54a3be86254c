//! The herd in Python: a process a server, linked as it is told.

use super::Found;
use crate::process::{Process, Scratch};
use anyhow::{Context as _, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program, so that nothing has to be found when it is run.
const PROGRAM: &str = include_str!("../../../bench-peers/at_herd.py");

const MISSING: &str = "python3 is not installed: apt install python3 python3-uvloop";

/// Running servers.
#[derive(Debug)]
pub(crate) struct PythonHerd {
    pub(crate) servers: Vec<PythonServer>,
    /// On what its servers run: uvloop, or asyncio's own loop.
    pub(crate) kind: String,
    _dir: Scratch,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct PythonServer {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

impl PythonHerd {
    /// Starts them one after another; of each link the later one dials.
    pub(crate) fn start(names: &[&str], links: &[(&str, &str)]) -> Result<Found<Self>> {
        let Some(python) = interpreter() else { return Ok(Found::Missing(MISSING)) };
        let dir = Scratch::new()?;
        let program = dir.path().join("at_herd.py");
        std::fs::write(&program, PROGRAM)?;
        let mut herd = Self { servers: Vec::new(), kind: String::new(), _dir: dir };
        for name in names {
            let mut command = Command::new(&python);
            command.arg(&program).arg(name);
            for server in &herd.servers {
                let there = server.name.as_str();
                if links.iter().any(|&(a, b)| (a, b) == (*name, there) || (b, a) == (*name, there))
                {
                    command.args(["--peer", &server.address.to_string()]);
                }
            }
            let process = Process::start(&mut command, &program.with_file_name(name))?;
            // ready: NAME on KIND at ADDRESS
            let mut words = process.ready.split(' ').skip(3).step_by(2);
            let (kind, address) = words.next().zip(words.next()).context("no line when ready")?;
            kind.clone_into(&mut herd.kind);
            let address = address.parse()?;
            herd.servers.push(PythonServer { name: (*name).to_owned(), address, process });
        }
        Ok(Found::Here(herd))
    }

    /// Processor time of all servers so far, seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        self.servers.iter().map(|server| server.process.cpu()).sum()
    }
}

/// The first on the path that has uvloop, as that may not be the first of all; else that.
fn interpreter() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let all = std::env::split_paths(&path).map(|dir| dir.join("python3"));
    let running: Vec<PathBuf> = all.filter(|python| runs(python, "pass")).collect();
    running.iter().find(|python| runs(python, "import uvloop")).or(running.first()).cloned()
}

fn runs(python: &Path, code: &str) -> bool {
    let silent = Stdio::null;
    let mut command = Command::new(python);
    command.args(["-c", code]).stdin(silent()).stdout(silent()).stderr(silent());
    command.status().is_ok_and(|status| status.success())
}
