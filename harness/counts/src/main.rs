//! The core's hot functions, one at a time, so that their instructions can be counted.
//!
//! Counts do not depend on what else the machine does, so they can be compared from one change to the next; times
//! cannot. `cargo xtask counts` runs each case under callgrind, which counts while [`measured`] runs and nothing
//! else, and compares with `counts.json`. *Absent:* times, sockets, threads; what a cache would do.

mod cases;

use std::hint::black_box;
use std::process::ExitCode;

/// What is counted: callgrind is told this function's name.
#[inline(never)]
fn measured(run: &mut dyn FnMut() -> u64) -> u64 {
    black_box(run())
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(name) = args.next() else {
        // What can be counted, a line each: its name and how many operations are one run.
        for case in cases::ALL {
            println!("{} {}", case.name, case.operations);
        }
        return ExitCode::SUCCESS;
    };
    let Some(case) = cases::ALL.iter().find(|case| case.name == name) else {
        eprintln!("error: no case {name}; without a name all of them are listed");
        return ExitCode::FAILURE;
    };
    let mut run = (case.prepare)();
    println!("{}: {}", case.name, measured(&mut run));
    ExitCode::SUCCESS
}
