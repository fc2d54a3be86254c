//! How a server refuses to start, and how it stops.

use herd_e2e::{At, Client, Herd, Plan, Process, Provider, Reply, Signal, iamat, wait_until};
use std::fs;
use std::process::{Command, Output, Stdio};

/// Runs a command that must end by itself.
#[track_caller]
fn run(command: &mut Command, herd: &Herd) -> Output {
    let file = |end: &str| herd.dir().join(format!("run.{end}"));
    let create = |end: &str| Stdio::from(fs::File::create(file(end)).expect("there is room"));
    command.stdout(create("out")).stderr(create("err"));
    let status = Process::start(command).exit();
    let read = |end: &str| fs::read(file(end)).expect("it was written");
    Output { status, stdout: read("out"), stderr: read("err") }
}

/// Checks that it ends with 2 and says each of `words`.
#[track_caller]
fn check_refusal(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty(), "{output:?}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing: {said}");
    }
}

/// In which line of `text` a line begins with `start`, from 1.
#[track_caller]
fn line_of(text: &str, start: &str) -> usize {
    1 + text.lines().position(|line| line.starts_with(start)).expect("it is there")
}

#[test]
fn a_ready_server_prints_one_line_with_its_addresses() {
    let herd = Plan::one("Hill").start();
    // It answers that it is ready a moment before it prints so.
    wait_until("it prints a line", || herd.printed("Hill").ends_with('\n'));
    let printed = herd.printed("Hill");
    assert_eq!(printed.lines().count(), 1, "{printed}");
    for address in [herd.address("Hill"), herd.http_address("Hill")] {
        assert!(printed.contains(&address.to_string()), "{printed}");
    }
}

#[test]
fn a_port_in_use_is_told_with_file_line_and_key() {
    let herd = Plan::one("Hill").start();
    let output = run(&mut herd.command("Hill"), &herd);
    let config = herd.config("Hill");
    let text = fs::read_to_string(config).unwrap();
    let place = format!("{}:{}", config.display(), line_of(&text, "listen ="));
    let address = herd.address("Hill").to_string();
    check_refusal(&output, &[&place, "servers.Hill.listen", &address, "in use"]);
    // The first one goes on.
    herd.client("Hill").report(&iamat("kiwi"));
}

#[test]
fn a_taken_http_port_is_told_with_its_own_key() {
    let herd = Plan::one("Hill").lay_out();
    let _taken = std::net::TcpListener::bind(herd.http_address("Hill")).unwrap();
    let output = run(&mut herd.command("Hill"), &herd);
    let config = herd.config("Hill");
    let text = fs::read_to_string(config).unwrap();
    let place = format!("{}:{}", config.display(), line_of(&text, "http ="));
    check_refusal(&output, &[&place, "servers.Hill.http", "in use"]);
}

#[test]
fn an_unknown_name_is_told_with_those_that_exist() {
    let herd = Plan::five().lay_out();
    let mut command = herd.command("Hill");
    let config = herd.config("Hill").display().to_string();
    let mut other = Command::new(command.get_program());
    other.args(["serve", "Hil", "--config", &config]);
    check_refusal(&run(&mut other, &herd), &[&config, "Hil", "Hill", "Campbell"]);
    // A file that does not exist.
    command = Command::new(command.get_program());
    command.args(["serve", "Hill", "--config", "no/such/file.toml"]);
    check_refusal(&run(&mut command, &herd), &["no/such/file.toml"]);
}

#[test]
fn a_mistake_in_the_config_is_told_with_its_line() {
    for (key, value, words) in [
        ("limits.max_conections", "3", &["limits.max_conections", "max_connections"][..]),
        ("limits.max_connections", "\"many\"", &["limits.max_connections"]),
        ("limits.max_connections", "0", &["limits.max_connections"]),
        ("limits.drain_timeout", "\"5 parsecs\"", &["limits.drain_timeout"]),
        ("log.max_file_bytes", "1", &["log.max_file_bytes"]),
        ("limits.accept_at_from", "\"someone\"", &["limits.accept_at_from"]),
    ] {
        let herd = Plan::one("Hill").set(key, value).lay_out();
        let output = run(&mut herd.command("Hill"), &herd);
        let text = fs::read_to_string(herd.config("Hill")).unwrap();
        let (_, name) = key.rsplit_once('.').unwrap();
        let place = format!("Hill.toml:{}", line_of(&text, name));
        check_refusal(&output, &[&[place.as_str()], words].concat());
    }
    let herd = Plan::new(&["Hill"], &[("Hill", "Nobody")]).lay_out();
    check_refusal(&run(&mut herd.command("Hill"), &herd), &["Hill.toml:5", "Nobody"]);
    let herd = Plan::new(&["Hill", "Smith"], &[]).lay_out();
    check_refusal(&run(&mut herd.command("Hill"), &herd), &["Hill.toml:", "Smith", "parts"]);
    let herd = Plan::one("Hill").lay_out();
    let mut command = herd.command("Hill");
    fs::write(herd.config("Hill"), "[herd]\nname = \"news\"\n\nthis is no TOML\n").unwrap();
    check_refusal(&run(&mut command, &herd), &["Hill.toml:4"]);
}

#[test]
fn both_signals_that_ask_to_stop_are_obeyed() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut herd = Plan::line(&["Hill", "Jaquez"]).start();
        let mut idle = herd.client("Hill");
        idle.report(&iamat("kiwi"));
        herd.process("Hill").signal(signal);
        assert_eq!(herd.process("Hill").exit().code(), Some(0), "{signal:?}");
        // An idle connection is closed in order.
        assert_eq!(idle.rest(), b"");
        assert!(Client::try_connect(herd.address("Hill")).is_err());
        let log = herd.log("Hill");
        assert!(log.contains("stopping") && log.contains("stopped"), "{log}");
        // The port is free at once.
        herd.start("Hill");
    }
}

#[test]
fn a_draining_server_answers_what_was_sent() {
    const CLIENTS: usize = 200;
    const REPORTS: usize = 50;
    let mut herd = Plan::one("Hill").start();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| herd.client("Hill")).collect();
    for client in &mut clients {
        client.report(&iamat("kiwi"));
    }
    let lines: Vec<String> = (0..REPORTS).map(|n| format!("IAMAT kiwi{n} +1+2 {n}\n")).collect();
    // All of it is on the server's side before the server is told to stop.
    herd.freeze("Hill");
    for client in &mut clients {
        client.send(lines.concat());
    }
    herd.process("Hill").signal(Signal::TERM);
    herd.thaw("Hill");
    let mut answered = 0;
    for client in &mut clients {
        let rest = String::from_utf8(client.rest()).unwrap();
        for (number, line) in rest.lines().enumerate() {
            assert_eq!(At::parse(line).client, format!("kiwi{number}"));
        }
        answered += rest.lines().count();
    }
    assert_eq!(answered, CLIENTS * REPORTS);
    assert_eq!(herd.process("Hill").exit().code(), Some(0));
}

#[test]
fn a_draining_server_waits_for_places_and_takes_no_new_clients() {
    let provider = Provider::start(Reply::Full(200, r#"{"results":[],"status":"OK"}"#.to_owned()));
    let mut herd = Plan::one("Hill")
        .set("places.provider", "\"google\"")
        .set("places.google.base_url", format!("{:?}", provider.url()))
        .variable("GOOGLE_PLACES_KEY", "not-a-secret")
        .start();
    let mut client = herd.client("Hill");
    let at = client.report(&iamat("kiwi"));
    provider.hold();
    client.send("WHATSAT kiwi 10 5\nafter\n");
    provider.wait_held(1);
    herd.process("Hill").signal(Signal::TERM);
    let address = herd.address("Hill");
    wait_until("new clients are refused", || Client::try_connect(address).is_err());
    provider.release();
    assert_eq!(client.line(), at.line());
    assert!(client.document().contains("\"status\" : \"OK\""));
    assert_eq!(client.rest(), b"? after\n");
    assert_eq!(herd.process("Hill").exit().code(), Some(0));
}

#[test]
fn a_drain_that_takes_too_long_is_cut_short() {
    let provider = Provider::start(Reply::Silence);
    let mut herd = Plan::one("Hill")
        .set("places.provider", "\"google\"")
        .set("places.google.base_url", format!("{:?}", provider.url()))
        .set("places.google.timeout", "\"60s\"")
        .set("limits.drain_timeout", "\"200ms\"")
        .variable("GOOGLE_PLACES_KEY", "not-a-secret")
        .start();
    let mut client = herd.client("Hill");
    client.report(&iamat("kiwi"));
    client.send("WHATSAT kiwi 10 5\n");
    wait_until("the provider is asked", || provider.calls().len() == 1);
    assert_eq!(herd.terminate("Hill").code(), Some(0));
}
