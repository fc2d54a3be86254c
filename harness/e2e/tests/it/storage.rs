//! What a server knows after its process has ended.

use herd_e2e::{Herd, Plan, Process, iamat, wait_until};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A herd that keeps its memory in its own directory.
fn durable(plan: &Plan) -> Herd {
    let mut herd = plan.lay_out();
    let dir = herd.dir().join("data");
    herd.set("storage.dir", format!("{:?}", dir.display().to_string()));
    start_all(&mut herd);
    herd
}

fn names(herd: &Herd) -> Vec<String> {
    herd.names().into_iter().map(str::to_owned).collect()
}

fn start_all(herd: &mut Herd) {
    let names = names(herd);
    for name in &names {
        herd.launch(name);
    }
    for name in &names {
        herd.wait_ready(name);
    }
}

fn data(herd: &Herd, name: &str) -> PathBuf {
    herd.dir().join("data").join(name)
}

/// The one file of a directory whose name begins so.
#[track_caller]
fn file(dir: &Path, start: &str) -> PathBuf {
    let entries = fs::read_dir(dir).expect("the directory is there");
    let files = entries.map(|entry| entry.expect("it can be read").path());
    let begins = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start))
    };
    let found: Vec<_> = files.filter(begins).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[test]
fn all_killed_at_once_know_everything_again() {
    let mut herd = durable(&Plan::five());
    let mut told = Vec::new();
    for round in 0..3 {
        for name in names(&herd) {
            let mut client = herd.client(&name);
            for number in 0..20 {
                told.push(client.report(&iamat(&format!("client-{round}-{number}-of-{name}"))));
            }
        }
        // Nobody is waited for: what was answered last may not have spread.
        for name in names(&herd) {
            herd.kill9(&name);
        }
        start_all(&mut herd);
    }
    for at in &told {
        herd.agree(&herd.names(), at);
    }
    let log = herd.log("Hill");
    assert!(log.contains("recovered the data directory"), "{log}");
}

#[test]
fn a_forgotten_client_stays_forgotten_after_a_crash() {
    let mut herd = durable(&Plan::line(&["Hill", "Jaquez"]));
    let at = herd.client("Hill").report(&iamat("kiwi"));
    herd.agree(&["Hill", "Jaquez"], &at);
    let mut command = std::process::Command::new(herd_e2e::geoherd());
    command.args(["forget", "kiwi", "--server", &herd.http_address("Hill").to_string()]);
    assert!(Process::start(command.stdout(Stdio::null())).exit().success());
    wait_until("nobody knows it", || {
        ["Hill", "Jaquez"].iter().all(|name| herd.client(name).locate("kiwi").is_none())
    });
    // That it is forgotten is written down as an update is.
    let after = herd.client("Hill").report(&iamat("emu"));
    for name in ["Hill", "Jaquez"] {
        herd.kill9(name);
    }
    start_all(&mut herd);
    herd.agree(&["Hill", "Jaquez"], &after);
    assert!(herd.client("Hill").locate("kiwi").is_none());
}

#[test]
fn what_was_known_before_a_stop_is_answered_after_it() {
    let mut herd = durable(&Plan::one("Hill"));
    let (early, late) = (iamat("kiwi"), iamat("kiwi"));
    let newest = herd.client("Hill").report(&late);
    assert!(herd.terminate("Hill").success());
    start_all(&mut herd);
    // It is no news, so nothing is written down that the reply could wait for.
    herd.client("Hill").report(&early);
    herd.agree(&["Hill"], &newest);
}

#[test]
fn a_copied_directory_is_recovered() {
    let mut herd = durable(&Plan::one("Hill"));
    let at = herd.client("Hill").report(&iamat("kiwi"));
    assert!(herd.terminate("Hill").success());
    let (dir, copy) = (data(&herd, "Hill"), herd.dir().join("copy"));
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&dir).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, copy.join(from.file_name().unwrap())).unwrap();
    }
    fs::remove_dir_all(&dir).unwrap();
    fs::rename(&copy, &dir).unwrap();
    start_all(&mut herd);
    herd.agree(&["Hill"], &at);
    let log = herd.log("Hill");
    assert!(log.contains("recovered the data directory"), "{log}");
}

#[test]
fn another_servers_directory_is_refused() {
    let mut herd = durable(&Plan::line(&["Hill", "Jaquez"]));
    let refused = |herd: &Herd, words: &[&str]| {
        let err = herd.dir().join("refused.err");
        let mut command = herd.command("Jaquez");
        command.arg("--data-dir").arg(data(herd, "Hill"));
        command.stdout(Stdio::null()).stderr(fs::File::create(&err).unwrap());
        assert!(!Process::start(&mut command).exit().success());
        let said = fs::read_to_string(&err).unwrap();
        for word in words {
            assert!(said.contains(word), "{word:?} is not in {said}");
        }
    };
    herd.kill9("Jaquez");
    refused(&herd, &["is in use by another process", "stop that one"]);
    herd.kill9("Hill");
    refused(&herd, &["belongs to server Hill of herd", "not to server Jaquez"]);
}

#[test]
fn a_torn_end_is_cut() {
    let mut herd = durable(&Plan::one("Hill"));
    let at = herd.client("Hill").report(&iamat("kiwi"));
    herd.kill9("Hill");
    let journal = file(&data(&herd, "Hill"), "journal-");
    let mut bytes = fs::read(&journal).unwrap();
    let record = bytes.split_off(bytes.len() - 20);
    bytes.extend_from_slice(&record);
    bytes.extend_from_slice(&record[..9]);
    fs::write(&journal, &bytes).unwrap();
    start_all(&mut herd);
    herd.agree(&["Hill"], &at);
    assert!(herd.log("Hill").contains("torn end of a journal"), "{}", herd.log("Hill"));
    // And the file is gone on with.
    let later = herd.client("Hill").report(&iamat("emu"));
    herd.kill9("Hill");
    start_all(&mut herd);
    herd.agree(&["Hill"], &later);
}

#[test]
fn damage_is_set_aside_and_what_follows_it_is_kept() {
    let mut herd = durable(&Plan::one("Hill"));
    let mut client = herd.client("Hill");
    let told: Vec<_> = (0..50).map(|n| client.report(&iamat(&format!("client-{n}")))).collect();
    herd.kill9("Hill");
    let dir = data(&herd, "Hill");
    let journal = file(&dir, "journal-");
    let mut bytes = fs::read(&journal).unwrap();
    let place = bytes.windows(9).position(|window| window == b"client-25").unwrap();
    bytes[place] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    start_all(&mut herd);
    for (number, at) in told.iter().enumerate() {
        if number == 25 {
            assert!(herd.client("Hill").locate("client-25").is_none());
        } else {
            herd.agree(&["Hill"], at);
        }
    }
    wait_until("the file is set aside", || {
        let entries = fs::read_dir(&dir).unwrap();
        let mut names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.any(|name| name.starts_with("damaged-1-"))
    });
    // What was recovered is in a new journal.
    herd.client("Hill").report(&iamat("emu"));
    herd.kill9("Hill");
    start_all(&mut herd);
    herd.agree(&["Hill"], &told[49]);
}

#[test]
fn a_lost_directory_is_filled_by_the_neighbors() {
    let mut herd = durable(&Plan::line(&["Hill", "Jaquez"]));
    let at = herd.client("Hill").report(&iamat("kiwi"));
    herd.agree(&["Hill", "Jaquez"], &at);
    herd.kill9("Hill");
    fs::remove_dir_all(data(&herd, "Hill")).unwrap();
    herd.start("Hill");
    herd.agree(&["Hill", "Jaquez"], &at);
    // It is written down there as well.
    herd.client("Hill").report(&iamat("emu"));
    for name in ["Hill", "Jaquez"] {
        herd.kill9(name);
    }
    herd.launch("Hill");
    // It waits for Jaquez before it says that it is ready, and answers meanwhile.
    let address = herd.address("Hill");
    wait_until("Hill listens", || TcpStream::connect(address).is_ok());
    herd.agree(&["Hill"], &at);
}

#[test]
fn what_a_directory_may_not_take_is_told_and_answered_from_memory() {
    let mut herd = Plan::one("Hill").set("storage.max_disk", "\"20KB\"").lay_out();
    let dir = herd.dir().join("data");
    herd.set("storage.dir", format!("{:?}", dir.display().to_string()));
    start_all(&mut herd);
    let mut client = herd.client("Hill");
    let mut reported = 0;
    wait_until("the directory is full", || {
        for _ in 0..50 {
            client.report(&iamat(&format!("walker-{reported}")));
            reported += 1;
        }
        herd.get("Hill", "/readyz").body.contains("degraded")
    });
    let status = herd.get("Hill", "/status").body;
    assert!(status.contains("storage.max_disk, 20KB, is used up"), "{status}");
    assert!(herd.metrics("Hill").value("geoherd_storage_failing") > 0.5);
    let journal = fs::metadata(file(&data(&herd, "Hill"), "journal-")).unwrap().len();
    assert!(journal <= 20_000, "{journal}");
    let at = client.report(&iamat("one-more"));
    herd.agree(&["Hill"], &at);
}
