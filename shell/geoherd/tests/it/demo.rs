//! `demo`: what it shows, and that nothing of it is left when it ends.

use crate::{Outcome, geoherd, geoherd_with};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[test]
fn the_conversation_goes_as_it_must() {
    if nothing_embedded() {
        return;
    }
    for servers in ["5", "2"] {
        let place = Place::new();
        let outcome = geoherd_with(
            &["demo", "--once", "--servers", servers],
            // A herd of somebody else's on this machine is no business of the demo.
            &[("TMPDIR", place.path()), ("GEOHERD_LOG_FILTER", "nonsense")],
            "",
        );
        let Outcome { code, stdout, stderr } = &outcome;
        assert_eq!((*code, stderr.as_str()), (Some(0), ""), "{outcome:?}");
        for line in stdout.lines() {
            let marked = ["# ", "> ", "< "].iter().any(|mark| line.starts_with(mark));
            assert!(line.is_empty() || marked, "{line:?}");
        }
        let count = |start: &str| stdout.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(count("> IAMAT kiwi.example +"), 2, "{stdout}");
        assert_eq!(count("< AT Hill +") + count("< AT Hill -"), count("< AT Hill "));
        assert_eq!(count("< ? WHERE IS kiwi.example"), 1);
        for part in ["Valletta", "Westwood", "\"status\" : \"OK\"", "is killed (SIGKILL)"] {
            assert!(stdout.contains(part), "{part:?} is not in {stdout}");
        }
        assert!(stdout.ends_with("# Every reply was as it must be\n"), "{stdout}");
        // The report of the server that was killed is known by all in the same words.
        let sliema: Vec<&str> = stdout
            .lines()
            .filter(|line| line.contains("AT Hill") && line.contains("+35.9122"))
            .collect();
        assert!(sliema.len() >= 2 && sliema.iter().all(|line| *line == sliema[0]), "{sliema:?}");
        place.assert_empty();
    }
}

#[test]
fn a_server_may_die_and_ctrl_c_ends_all() {
    if nothing_embedded() {
        return;
    }
    let place = Place::new();
    let mut demo = Demo::start(&place, &["--servers", "3", "--clients", "6"]);
    let jaquez = demo.wait_for("  Jaquez at ");
    assert_eq!(place.servers().len(), 3);
    let pid = jaquez.rsplit(' ').next().unwrap().parse().unwrap();
    demo.wait_for("3 of 3 servers up, 6 people");
    send("KILL", pid);
    demo.wait_for("Jaquez has ended; ");
    demo.wait_for("2 of 3 servers up, 6 people");
    send("INT", demo.child.id());
    assert_eq!(demo.wait(), Some(0));
    place.assert_empty();
}

#[test]
fn other_signals_end_all_too() {
    if nothing_embedded() {
        return;
    }
    for signal in ["TERM", "HUP"] {
        let place = Place::new();
        let mut demo = Demo::start(&place, &["--servers", "1", "--clients", "1"]);
        demo.wait_for("  Hill at ");
        send(signal, demo.child.id());
        assert_eq!(demo.wait(), Some(0), "{signal}");
        place.assert_empty();
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_it() {
    if nothing_embedded() {
        return;
    }
    let place = Place::new();
    let mut demo = Demo::start(&place, &["--servers", "1", "--clients", "1"]);
    demo.wait_for("  Hill at ");
    demo.lines = channel().1;
    assert_eq!(demo.wait(), Some(0));
    place.assert_empty();
}

#[test]
fn a_link_is_cut_and_mended_from_the_keyboard() {
    if nothing_embedded() {
        return;
    }
    let place = Place::new();
    // Two servers have one link, so a cut makes two halves.
    let mut demo = OnTerminal::start(&place, &["--servers", "2", "--clients", "4"]);
    demo.wait_for("Jaquez");
    demo.wait_for("2 of 2 up");
    demo.press("c");
    demo.wait_for("Hill–Jaquez is cut: 2 parts, Hill | Jaquez");
    demo.wait_for("0/1 links");
    // Each half takes reports that the other does not hear of.
    demo.wait_for("not all");
    demo.press("c");
    demo.wait_for("Hill–Jaquez is mended; the parts join");
    demo.wait_for("reports reach all again");
    demo.press("q");
    assert_eq!(ended(&mut demo.child), Some(0));
    place.assert_empty();
}

#[test]
fn numbers_out_of_range_are_told() {
    for (call, complaint) in [
        (&["demo", "--servers", "0"][..], "0 is not in 1..=26"),
        (&["demo", "--servers", "27"], "27 is not in 1..=26"),
        (&["demo", "--clients", "0"], "0 is not in 1..=500"),
        (&["demo", "--clients", "many"], "invalid digit"),
        (&["demo", "--once", "--servers", "1"], "use --servers 2 or more"),
        (&["demo", "--once", "--clients", "3"], "cannot be used with"),
    ] {
        let outcome = geoherd(call);
        assert!(outcome.code == Some(2) && outcome.stderr.contains(complaint), "{outcome:?}");
    }
}

/// A build without the map data has no demo.
fn nothing_embedded() -> bool {
    let summary = herd_atlas::summary();
    summary.roads == 0 || summary.osm_places == 0 || summary.towns == 0
}

/// Long enough for a busy machine.
const DEADLINE: Duration = Duration::from_mins(3);

/// A directory in which the demo keeps everything, so that whatever is left of it can be found.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// The command lines that name this directory: those of the demo's servers.
    fn servers(&self) -> Vec<String> {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let command_lines = processes.filter_map(|one| fs::read(one.path().join("cmdline")).ok());
        let texts = command_lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
        texts.filter(|text| text.contains(self.path())).collect()
    }

    #[track_caller]
    fn assert_empty(&self) {
        assert_eq!(self.servers(), [""; 0], "left over");
        let files: Vec<_> = fs::read_dir(self.0.path()).unwrap().flatten().collect();
        assert!(files.is_empty(), "left over: {files:?}");
    }
}

/// A demo that runs, its lines read as they come.
struct Demo {
    child: Child,
    lines: Receiver<String>,
}

impl Demo {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_geoherd"));
        command.arg("demo").args(arguments).env("TMPDIR", place.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            // Until nobody wants to know any more, which closes the pipe.
            stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        Self { child, lines }
    }

    /// The next line with such a part.
    fn wait_for(&self, part: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line =
                self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no line with {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Waits for its end.
    fn wait(&mut self) -> Option<i32> {
        ended(&mut self.child)
    }
}

/// Waits for the end of a process.
fn ended(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < deadline, "it goes on");
        std::thread::yield_now();
    }
}

/// A demo on a terminal of its own, with somebody at the keyboard.
struct OnTerminal {
    child: Child,
    keyboard: File,
    pieces: Receiver<Vec<u8>>,
    /// What was written since the last thing that was waited for.
    shown: Vec<u8>,
}

impl OnTerminal {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let path = ptsname(&terminal, Vec::new()).unwrap();
        let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).unwrap();
        let other_end = || File::options().read(true).write(true).open(path.to_str().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_geoherd"));
        command.arg("demo").args(arguments).env("TMPDIR", place.path()).env("TERM", "xterm");
        command.stdin(other_end().unwrap()).stdout(other_end().unwrap());
        let child = command.spawn().unwrap();
        let keyboard = File::from(terminal);
        let mut screen = keyboard.try_clone().unwrap();
        let (send, pieces) = channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            // Fails when the demo has closed its end.
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keyboard, pieces, shown: Vec::new() }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this has been written; what came before it is over.
    fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let found = self.shown.windows(text.len()).position(|part| part == text.as_bytes());
            if let Some(at) = found {
                self.shown.drain(..at + text.len());
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.pieces.recv_timeout(left) {
                Ok(piece) => self.shown.extend(piece),
                Err(error) => {
                    let from = self.shown.len().saturating_sub(2000);
                    let shown = String::from_utf8_lossy(&self.shown[from..]);
                    panic!("no {text:?}: {error}: {shown:?}")
                }
            }
        }
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            send("TERM", self.child.id());
            self.child.wait().unwrap();
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            // As a person would, so that its servers end too.
            send("TERM", self.child.id());
            self.child.wait().unwrap();
        }
    }
}

fn send(signal: &str, pid: u32) {
    // The shell's own, which is everywhere.
    let status =
        Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status().unwrap();
    assert!(status.success());
}
