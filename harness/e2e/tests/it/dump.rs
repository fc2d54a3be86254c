//! Dumps, loads and the check of a data directory: `geoherd dump`, `load` and `verify`.

use herd_e2e::{FIVE, Herd, Plan, geoherd, iamat, wait_until};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a command printed to both outputs, and its exit code.
#[derive(Debug)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(arguments: &[&str]) -> Outcome {
    let mut command = Command::new(geoherd());
    command.args(arguments).env_remove("GEOHERD_CONFIG").stdin(Stdio::null());
    let output = command.output().expect("the program can be called");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    Outcome { code: output.status.code(), stdout, stderr }
}

#[track_caller]
fn dump(herd: &Herd, name: &str) -> String {
    let outcome = run(&["dump", "--server", &herd.http_address(name).to_string()]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    outcome.stdout
}

fn load(herd: &Herd, name: &str, file: &Path, more: &[&str]) -> Outcome {
    let address = herd.http_address(name).to_string();
    run(&[&["load", &shown(file), "--server", &address], more].concat())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A herd that keeps its memory in its own directory.
fn durable(plan: &Plan) -> Herd {
    let mut herd = plan.lay_out();
    let dir = herd.dir().join("data");
    herd.set("storage.dir", format!("{:?}", shown(&dir)));
    let names: Vec<_> = herd.names().into_iter().map(str::to_owned).collect();
    for name in &names {
        herd.launch(name);
    }
    for name in &names {
        herd.wait_ready(name);
    }
    herd
}

fn data(herd: &Herd, name: &str) -> PathBuf {
    herd.dir().join("data").join(name)
}

/// Some clients at every server, with names that need care in JSON.
fn populate(herd: &Herd, each: usize) {
    for name in herd.names() {
        let mut client = herd.client(name);
        for number in 0..each {
            client.report(&iamat(&format!("client-{number}-of-{name}")));
        }
    }
    let mut client = herd.client(herd.names()[0]);
    for name in ["\"quoted\\", "ключ", "🥝", "{\"client\":1}"] {
        client.report(&iamat(name));
    }
}

#[test]
fn servers_that_know_the_same_give_the_same_dump_and_a_load_gives_it_back() {
    let herd = Plan::five().start();
    populate(&herd, 40);
    let wanted = 5 * 40 + 4;
    wait_until("all know all", || {
        FIVE.iter().all(|name| dump(&herd, name).lines().count() == wanted)
    });
    let first = dump(&herd, "Hill");
    let names: Vec<Value> =
        first.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let names: Vec<&str> = names.iter().map(|line| line["client"].as_str().unwrap()).collect();
    assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    for name in FIVE {
        assert_eq!(dump(&herd, name), first, "{name}");
    }
    let at = herd.client("Smith").locate("client-3-of-Campbell").expect("it is known");
    let line = format!(
        "{{\"client\":\"{}\",\"server\":\"Campbell\",\"difference\":\"{}\",\"location\":\"{}\",\
         \"time\":\"{}\"}}\n",
        at.client, at.difference, at.location, at.time
    );
    assert!(first.contains(&line), "{line} is not in {first}");

    let file = herd.dir().join("herd.jsonl");
    let address = herd.http_address("Hill").to_string();
    let written = run(&["dump", "--server", &address, "--output", &shown(&file)]);
    assert_eq!((written.code, written.stdout.as_str()), (Some(0), ""), "{written:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), first);

    // A herd that knows nothing then knows the same, on every server.
    let other = Plan::five().start();
    let loaded = load(&other, "Jaquez", &file, &["--json"]);
    assert_eq!(loaded.code, Some(0), "{loaded:?}");
    let said: Value = serde_json::from_str(&loaded.stdout).expect("JSON");
    assert_eq!((&said["taken"], &said["newer"]), (&wanted.into(), &wanted.into()), "{said}");
    for name in FIVE {
        wait_until("the dump is the same", || dump(&other, name) == first);
    }
    // To say it again changes nothing.
    let again = load(&other, "Smith", &file, &[]);
    assert!(again.stdout.contains("loaded 204 clients: 0 new"), "{again:?}");
    assert_eq!(dump(&other, "Smith"), first);
}

#[test]
fn a_dump_of_a_directory_is_that_of_its_server() {
    let mut herd = durable(&Plan::one("Hill"));
    populate(&herd, 50);
    let forget = ["forget", "ключ", "--server", &herd.http_address("Hill").to_string()];
    assert_eq!(run(&forget).code, Some(0));
    let dir = shown(&data(&herd, "Hill"));
    let in_use = run(&["dump", "--data-dir", &dir]);
    assert_eq!(in_use.code, Some(2), "{in_use:?}");
    let before = dump(&herd, "Hill");
    assert!(!before.contains("ключ") && before.lines().count() == 53, "{before}");
    herd.kill9("Hill");
    let after = run(&["dump", "--data-dir", &dir]);
    assert_eq!((after.code, after.stdout), (Some(0), before.clone()), "{}", after.stderr);
    // Looking has changed nothing.
    let verified = run(&["verify", "--data-dir", &dir]);
    assert!(verified.code == Some(0) && verified.stdout.contains("\nsound\n"), "{verified:?}");
    herd.start("Hill");
    assert_eq!(dump(&herd, "Hill"), before);
}

#[test]
fn a_loaded_dump_outlives_its_server() {
    let herd = Plan::one("Hill").start();
    populate(&herd, 20);
    let file = herd.dir().join("herd.jsonl");
    let whole = dump(&herd, "Hill");
    fs::write(&file, &whole).unwrap();
    let mut other = durable(&Plan::one("Jaquez").set("storage.fsync", "\"always\""));
    assert_eq!(load(&other, "Jaquez", &file, &[]).code, Some(0));
    // What was answered is written down; and what is known already is answered after an orderly stop, too.
    assert!(other.terminate("Jaquez").success());
    other.start("Jaquez");
    assert_eq!(load(&other, "Jaquez", &file, &[]).code, Some(0));
    other.kill9("Jaquez");
    let dir = shown(&data(&other, "Jaquez"));
    assert_eq!(run(&["dump", "--data-dir", &dir]).stdout, whole);
}

#[test]
fn malformed_lines_are_told_and_all_others_are_taken() {
    let herd = Plan::one("Hill").start();
    populate(&herd, 3);
    let whole = dump(&herd, "Hill");
    let other = Plan::one("Jaquez").start();
    let file = other.dir().join("herd.jsonl");
    fs::write(&file, format!("no JSON\n\n{whole}{{\"client\":\"kiwi\"}}\n")).unwrap();
    let outcome = load(&other, "Jaquez", &file, &[]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let told: Vec<_> = outcome.stderr.lines().collect();
    assert!(told[0].starts_with("line 1: "), "{told:?}");
    let last = format!("line {}: missing field `server`", whole.lines().count() + 3);
    assert_eq!((told.len(), told[1]), (2, last.as_str()), "{told:?}");
    assert_eq!(dump(&other, "Jaquez"), whole);
}

#[test]
fn a_load_that_was_cut_off_goes_on() {
    let herd = Plan::one("Hill").start();
    let file = herd.dir().join("herd.jsonl");
    // Received within the horizon.
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 10;
    let line = |number| {
        format!(
            "{{\"client\":\"client-{number:05}\",\"server\":\"Smith\",\"difference\":\"+0.1\",\
             \"location\":\"+1.5-2.5\",\"time\":\"{time}\"}}\n"
        )
    };
    let whole: String = (0..2000).map(line).collect();
    fs::write(&file, &whole).unwrap();
    // As a load that was killed left it: a thousand lines were answered.
    let offset = line(0).len() * 1000;
    let changed = fs::metadata(&file).unwrap().modified().unwrap();
    let changed = changed.duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let address = herd.http_address("Hill");
    let bookmark = herd.dir().join("herd.jsonl.progress");
    let kept = format!(
        "{{\"server\":\"{address}\",\"file_bytes\":{},\"file_changed_ns\":{changed},\
         \"offset\":{offset},\"line\":1000}}",
        whole.len()
    );
    fs::write(&bookmark, &kept).unwrap();
    let outcome = load(&herd, "Hill", &file, &["--resume"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stderr.contains("going on behind line 1000"), "{outcome:?}");
    assert_eq!(dump(&herd, "Hill"), whole[offset..]);
    assert!(!bookmark.exists(), "it goes away at the end");
    // One that speaks of another file is not believed.
    fs::write(&bookmark, kept.replace("\"offset\"", "\"offset\":1,\"x\"")).unwrap();
    fs::write(&file, whole.replace(&time.to_string(), &(time + 1).to_string())).unwrap();
    let outcome = load(&herd, "Hill", &file, &["--resume"]);
    assert!(outcome.stderr.contains("beginning from the start"), "{outcome:?}");
    assert!(outcome.stdout.contains("loaded 2000 clients: 2000 new"), "{outcome:?}");
}

#[test]
fn a_load_where_nobody_takes_it_says_so() {
    let mut herd = Plan::one("Hill").set("limits.operate_from", "\"nobody\"").start();
    let file = herd.dir().join("herd.jsonl");
    let line = "{\"client\":\"k\",\"server\":\"S\",\"difference\":\"+0.1\",\"location\":\"+1+2\",\
                \"time\":\"17\"}\n";
    fs::write(&file, line).unwrap();
    let refused = load(&herd, "Hill", &file, &[]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("limits.operate_from"), "{refused:?}");
    let address = herd.http_address("Hill").to_string();
    let refused = run(&["dump", "--server", &address]);
    assert!(
        refused.code == Some(2) && refused.stderr.contains("limits.operate_from"),
        "{refused:?}"
    );
    herd.kill9("Hill");
    let gone = load(&herd, "Hill", &file, &[]);
    assert!(gone.code == Some(2) && gone.stderr.contains("nobody listens"), "{gone:?}");
}

#[test]
fn every_start_takes_a_new_incarnation_and_writes_it_down() {
    let mut herd = durable(&Plan::line(&["Hill", "Jaquez"]));
    let incarnation = |herd: &Herd| -> u64 {
        let outcome = run(&["verify", "--data-dir", &shown(&data(herd, "Hill")), "--json"]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        let said: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
        let text = said["identity"]["incarnation"].as_str().expect("text");
        text.parse().expect("a number")
    };
    let at = herd.client("Hill").report(&iamat("kiwi"));
    herd.agree(&["Hill", "Jaquez"], &at);
    assert!(herd.terminate("Hill").success());
    let first = incarnation(&herd);
    let files = ["journal-1", "identity"].map(|name| data(&herd, "Hill").join(name));
    let kept = files.each_ref().map(|file| fs::read(file).unwrap());
    herd.start("Hill");
    let at = herd.client("Hill").report(&iamat("emu"));
    herd.agree(&["Hill", "Jaquez"], &at);
    assert!(herd.terminate("Hill").success());
    let second = incarnation(&herd);
    assert!(second > first, "{second} after {first}");
    // An older copy put back in place shows nothing that its peer did not know.
    for (file, bytes) in files.iter().zip(kept) {
        fs::write(file, bytes).unwrap();
    }
    herd.start("Hill");
    herd.agree(&["Hill"], &at);
    assert!(herd.terminate("Hill").success());
    let third = incarnation(&herd);
    assert!(third > second, "{third} after {second}");
}

#[test]
fn a_directory_is_checked_byte_for_byte() {
    let mut herd = durable(&Plan::one("Hill"));
    populate(&herd, 30);
    let dir = data(&herd, "Hill");
    let verify = || run(&["verify", "--data-dir", &shown(&dir)]);
    let in_use = verify();
    assert_eq!(in_use.code, Some(2), "{in_use:?}");
    assert!(in_use.stderr.contains("is in use by another process"), "{in_use:?}");
    assert!(herd.terminate("Hill").success());

    let sound = verify();
    assert_eq!((sound.code, sound.stderr.as_str()), (Some(0), ""), "{sound:?}");
    for part in ["server    Hill of herd news", "34 clients", "\nsound\n"] {
        assert!(sound.stdout.contains(part), "{part:?} is not in {}", sound.stdout);
    }

    let journal = dir.join("journal-1");
    let whole = fs::read(&journal).unwrap();
    let mut bytes = whole.clone();
    let place = bytes.windows(9).position(|window| window == b"client-17").unwrap();
    bytes[place] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let damaged = verify();
    assert_eq!(damaged.code, Some(1), "{damaged:?}");
    assert!(damaged.stdout.contains("! journal-1: bytes "), "{damaged:?}");
    let json = run(&["verify", "--data-dir", &shown(&dir), "--json"]);
    assert_eq!(json.code, Some(1), "{json:?}");
    let said: Value = serde_json::from_str(&json.stdout).expect("JSON");
    let finding = &said["findings"][0];
    let byte = |end: &str| finding[end].as_u64().unwrap();
    assert!((byte("from")..byte("to")).contains(&(place as u64)), "{place}: {finding}");
    assert_eq!((&said["sound"], &said["clients"]), (&false.into(), &33.into()), "{said}");
    // A dump has what is left, and says that something is missing.
    let left = run(&["dump", "--data-dir", &shown(&dir)]);
    assert_eq!((left.code, left.stdout.lines().count()), (Some(1), 33), "{left:?}");
    assert!(left.stderr.contains("is not sound"), "{left:?}");

    fs::write(&journal, &whole[..whole.len() - 5]).unwrap();
    // What a crash may leave is no damage.
    let cut = verify();
    assert!(cut.code == Some(0) && cut.stdout.contains("torn end"), "{cut:?}");
    fs::write(&journal, &whole).unwrap();

    // A later version of the program may say things that this one cannot read.
    let mut bytes = fs::read(dir.join("identity")).unwrap();
    bytes[8] = 2;
    fs::write(dir.join("identity"), bytes).unwrap();
    let damaged = verify();
    assert!(
        damaged.code == Some(1) && damaged.stdout.contains("! identity: bytes 0 to "),
        "{damaged:?}"
    );

    for (place, words) in [
        (herd.dir().join("nowhere"), "No such file"),
        (herd.dir().join("data"), "is not the data directory of a server"),
        (herd.dir().to_owned(), "is not the data directory of a server"),
    ] {
        let missing = run(&["verify", "--data-dir", &shown(&place)]);
        assert!(missing.code == Some(2) && missing.stderr.contains(words), "{missing:?}");
    }
}
