//! What a server writes down, and what it does not.

use herd_e2e::{Plan, iamat, iamat_at, wait_until};
use std::fs;

#[test]
fn connections_and_messages_are_logged_with_their_peer() {
    let herd = Plan::line(&["Hill", "Jaquez"]).set("log.traffic", true).start();
    let mut client = herd.client("Hill");
    let peer = client.stream().local_addr().unwrap().to_string();
    let report = iamat_at("kiwi", "1520023934.918963997");
    let at = client.report(&report);
    client.ask("nonsense");
    herd.agree(&["Jaquez"], &at);
    client.end_input();
    client.rest();
    let has = |name: &str, words: &[&str]| {
        herd.log(name).lines().any(|line| words.iter().all(|word| line.contains(word)))
    };
    for words in [
        &["connection accepted", peer.as_str()][..],
        &["connection closed", &peer],
        &[&format!("{peer} < {report}")],
        &[&format!("{peer} > {}", at.line())],
        &[&format!("{peer} < nonsense")],
        &[&format!("{peer} > ? nonsense")],
        &[" > ", &at.line()],
        &["link up", "Jaquez"],
    ] {
        wait_until(&format!("the log has {words:?}"), || has("Hill", words));
    }
    // Messages between servers are there too, on both sides.
    wait_until("Jaquez has it", || has("Jaquez", &[" < ", &at.line()]));
    let dialed = |name: &str| has(name, &["dialed a peer"]);
    assert!(dialed("Hill") || dialed("Jaquez"), "{}", herd.log("Hill"));
}

#[test]
fn lost_and_returned_neighbors_are_logged() {
    let mut herd = Plan::line(&["Hill", "Jaquez"]).start();
    herd.kill9("Jaquez");
    wait_until("the loss is told", || herd.log("Hill").contains("link down"));
    let ups = herd.log("Hill").matches("link up").count();
    herd.start("Jaquez");
    wait_until("the return is told", || herd.log("Hill").matches("link up").count() > ups);
}

#[test]
fn no_message_is_logged_where_that_is_turned_off() {
    let mut herd = Plan::line(&["Hill", "Jaquez"]).set("log.traffic", false).start();
    let at = herd.client("Hill").report(&iamat("a-private-person"));
    herd.agree(&["Jaquez"], &at);
    herd.client("Hill").ask("a private thought");
    for name in ["Hill", "Jaquez"] {
        herd.terminate(name);
        let log = herd.log(name);
        assert!(log.contains("connection accepted"), "{log}");
        assert!(!log.contains("private") && !log.contains("TRAFFIC"), "{log}");
    }
}

#[test]
fn a_log_that_has_grown_is_set_aside() {
    const FILE_BYTES_MAX: usize = 8192;
    let mut herd = Plan::one("Hill")
        .set("log.traffic", true)
        .set("log.max_file_bytes", FILE_BYTES_MAX)
        .set("log.max_files", 3)
        .start();
    let mut client = herd.client("Hill");
    for _ in 0..400 {
        client.report(&iamat("kiwi"));
    }
    let last = client.report(&iamat("the-last"));
    herd.terminate("Hill");
    assert!(herd.log("Hill").contains("stopped"));
    let mut sizes = Vec::new();
    let mut text = String::new();
    for entry in fs::read_dir(herd.log_dir()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        sizes.push((name, entry.metadata().unwrap().len()));
        text += &fs::read_to_string(entry.path()).unwrap();
    }
    sizes.sort();
    let names: Vec<&str> = sizes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Hill.log", "Hill.log.1", "Hill.log.2", "Hill.log.3"]);
    // Lines are written in blocks, and only a block that is larger itself makes a larger file.
    assert!(sizes.iter().all(|(_, size)| *size <= FILE_BYTES_MAX as u64), "{sizes:?}");
    assert!(text.contains(&last.line()));
    assert!(text.lines().all(|line| line.starts_with("20")), "no line is torn");
}

#[test]
fn one_large_batch_does_not_make_one_large_file() {
    const FILE_BYTES_MAX: u64 = 16 << 10;
    let mut herd = Plan::one("Hill")
        .set("log.traffic", true)
        .set("log.max_file_bytes", FILE_BYTES_MAX)
        .set("log.max_files", 2)
        .start();
    let mut client = herd.client("Hill");
    client.send("nonsense\n".repeat(20_000));
    for _ in 0..20_000 {
        client.line();
    }
    herd.terminate("Hill");
    for entry in fs::read_dir(herd.log_dir()).unwrap() {
        let entry = entry.unwrap();
        let bytes = entry.metadata().unwrap().len();
        // A block of messages is not parted; it has at most a few dozen of them.
        assert!(bytes <= 2 * FILE_BYTES_MAX, "{}: {bytes} bytes", entry.path().display());
    }
}

#[test]
fn hostile_lines_cannot_forge_or_color_the_log() {
    let mut herd =
        Plan::one("Hill").set("log.traffic", true).set("log.filter", "\"trace\"").start();
    let mut client = herd.client("Hill");
    for line in [
        &b"\x1b[2J\x1b[31mred\n"[..],
        b"bell\x07back\x08del\x7f\n",
        b"\r2030-01-01T00:00:00Z TRAFFIC 1.2.3.4:5 < forged\n",
        b"\xff\xfe\x00\x01\n",
        "next\u{85}line sep\u{2028}rtl\u{202e}x\u{9b}31m\n".as_bytes(),
        b"GEOHERD/1 news \x1b[31m 1 -\n",
        b"AT a\x1b[2Jb +0.1 kiwi +1+2 3\n",
    ] {
        client.send(line);
        client.line_bytes();
    }
    let mut link = herd.client("Hill");
    link.send("GEOHERD/1 \u{1f44b} Hill\u{2028} 1 -\n\x1b[2J\n");
    link.end_input();
    link.rest();
    herd.terminate("Hill");
    let log = fs::read(herd.log_dir().join("Hill.log")).unwrap();
    let log = String::from_utf8(log).expect("a log is text");
    for line in log.lines() {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(line.starts_with("20"), "{line:?}");
    }
    assert!(log.contains("forged") && !log.contains("\n2030"), "{log}");
}

#[test]
fn a_log_for_programs_has_one_object_a_line() {
    let mut herd = Plan::line(&["Hill", "Jaquez"])
        .set("log.traffic", true)
        .set("log.format", "\"json\"")
        .start();
    let mut client = herd.client("Hill");
    client.report(&iamat("kiwi"));
    client.send(b"\x1b\xff\"quoted\"\n");
    client.line_bytes();
    herd.terminate("Hill");
    let log = herd.log("Hill");
    let mut received = 0;
    for line in log.lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect("one object a line");
        assert!(object["timestamp"].is_string() && object["level"].is_string(), "{line}");
        received += usize::from(object["direction"] == "received");
    }
    assert!(received >= 2, "{log}");
}
