//! A process that ends with the value that stands for it.

use crate::wait::{PATIENCE, wait_for};
use rustix::process::{Pid, kill_process};
use std::fs;
use std::io::ErrorKind;
use std::process::{Child, Command, ExitStatus};

pub use rustix::process::Signal;

/// A child process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`. While cargo puts a new build in its place a program is missing or busy for a
    /// moment.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let child = wait_for("the program can be started", PATIENCE, || match command.spawn() {
            Ok(child) => Some(child),
            Err(error) => {
                let soon = [ErrorKind::NotFound, ErrorKind::ExecutableFileBusy];
                assert!(soon.contains(&error.kind()), "{command:?}: {error}");
                None
            }
        });
        Self { child, ended: None }
    }

    /// Its id in decimal, as in `/proc`.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        assert_eq!(self.ended, None, "it has ended, and its id may be another's");
        kill_process(Pid::from_child(&self.child), signal).expect("it is ours to signal");
    }

    /// Ends it at once, as a crash or a power cut would, and returns when it is gone.
    #[track_caller]
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.exit();
    }

    /// How it ended, if it has.
    #[track_caller]
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("it is our child");
        }
        self.ended
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn exit(&mut self) -> ExitStatus {
        wait_for("the process ends", PATIENCE, || self.ended())
    }

    /// Its resident memory.
    #[track_caller]
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.expect("the system tells the resident size") * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Neither can fail for a child that has not been waited for, and both are harmless for one that
        // has: the standard library remembers.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}
