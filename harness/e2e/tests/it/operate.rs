//! What operators see of the whole herd, and what they can do.

use herd_e2e::{FIVE, Herd, PATIENCE, Plan, Proxy, geoherd, iamat, wait_for, wait_until};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A server that loses a neighbor in its first moments is not ready; these tests do not wait for them
/// to pass.
const GRACE: &str = "\"100ms\"";

const EXPIRE_AFTER: &str = "GEOHERD_HERD_EXPIRE_AFTER";

/// What a command printed to both outputs, and its exit code.
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(geoherd());
    command.args(arguments).env_remove("GEOHERD_CONFIG").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Outcome {
    let output = command(arguments).output().expect("the program can be called");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    Outcome { code: output.status.code(), stdout, stderr }
}

/// Runs a command against the http address of `name`.
fn ask(herd: &Herd, name: &str, arguments: &[&str]) -> Outcome {
    let address = herd.http_address(name).to_string();
    run(&[arguments, &["--server", &address]].concat())
}

fn herd_view(herd: &Herd, name: &str) -> Value {
    let answer = herd.get(name, "/herd");
    assert_eq!(answer.code, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).expect("JSON")
}

fn server<'a>(view: &'a Value, name: &str) -> &'a Value {
    let servers = view["servers"].as_array().expect("a list");
    let found = servers.iter().find(|server| server["server"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {view}"))
}

/// `POST` with more headers, each with its line end.
fn post(herd: &Herd, name: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    post_to(herd.http_address(name), path, headers, body)
}

fn post_to(address: SocketAddr, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    (code.expect("an HTTP answer"), answer)
}

#[test]
fn every_server_tells_of_all_five() {
    let mut herd = Plan::five().set("limits.ready_grace", GRACE).start();
    let at = herd.client("Singleton").report(&iamat("kiwi"));
    herd.agree(&FIVE, &at);
    for asked in FIVE {
        // Counts are told to others once a minute.
        let view = wait_for("all is well", Duration::from_secs(80), || {
            let view = herd_view(&herd, asked);
            let told = |name: &&str| {
                let server = server(&view, name);
                server["state"] == "ready" && server["clients"] == 1
            };
            (view["well"] == true && FIVE.iter().all(told)).then_some(view)
        });
        assert_eq!((&view["herd"], &view["asked"]), (&"news".into(), &asked.into()));
        assert_eq!(view["problems"], Value::Array(Vec::new()));
        for name in FIVE {
            let server = server(&view, name);
            assert!(server["resident_bytes"].as_u64().is_some_and(|b| b > 1_000_000), "{server}");
            assert!(server["version"].as_str().is_some_and(|v| v.starts_with("0.")), "{server}");
            assert!(server["heard_ago_s"].as_f64().is_some_and(|ago| ago < 15.0), "{server}");
            assert_eq!((&server["lag_updates"], &server["lag_ms"]), (&0.into(), &0.into()));
            let streams = server["streams"].as_array().expect("a list");
            if name != asked {
                assert!(streams.is_empty(), "only the server that is asked lists them: {server}");
                continue;
            }
            let own = streams.iter().find(|stream| stream["server"] == "Singleton");
            let own = own.unwrap_or_else(|| panic!("no stream of Singleton: {server}"));
            assert_eq!((&own["version"], &own["behind"]), (&1.into(), &0.into()), "{own}");
        }
        let singleton = server(&view, "Singleton");
        assert_eq!(singleton["updates"], 1);
        let links = singleton["links"].as_array().expect("a list");
        let mut peers: Vec<_> = links.iter().map(|l| l["server"].as_str().expect("text")).collect();
        peers.sort_unstable();
        assert_eq!(peers, ["Campbell", "Jaquez", "Smith"]);
        assert!(links.iter().all(|l| l["state"] == "up" && l["protocol"] == "native"), "{links:?}");
    }
    let table = ask(&herd, "Hill", &["status"]);
    assert_eq!((table.code, table.stderr.as_str()), (Some(0), ""), "{}", table.stdout);
    assert!(table.stdout.contains("seen from Hill at "), "{}", table.stdout);
    assert!(table.stdout.contains("5 servers, all is well"), "{}", table.stdout);
    for part in ["\nCampbell  ", "\nCampbell–Singleton", "\nHill–Jaquez ", "  native"] {
        assert!(table.stdout.contains(part), "{part:?} is not in {}", table.stdout);
    }

    // Whoever is killed is shown as gone by all others, with what it said last and its age.
    herd.kill9("Campbell");
    for asked in ["Hill", "Smith"] {
        wait_until("Campbell is shown as gone", || {
            let view = herd_view(&herd, asked);
            let gone = server(&view, "Campbell");
            gone["state"] == "unreachable" && gone["clients"] == 1
        });
    }
    let json = ask(&herd, "Hill", &["status", "--json"]);
    assert_eq!((json.code, json.stdout.lines().count()), (Some(1), 1), "{}", json.stdout);
    let view: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(view["well"], false);
    let problems = view["problems"].as_array().expect("a list");
    let told =
        |part: &str| problems.iter().any(|one| one.as_str().is_some_and(|p| p.contains(part)));
    assert!(told("Campbell cannot be reached"), "{problems:?}");
    assert!(told("Campbell–Smith") && told("Campbell–Singleton"), "{problems:?}");
    let table = ask(&herd, "Hill", &["status"]);
    assert!(table.code == Some(1) && table.stdout.contains("! Campbell cannot be reached"));

    herd.start("Campbell");
    wait_until("all is well again", || herd_view(&herd, "Hill")["well"] == true);
}

#[test]
fn both_halves_of_a_split_see_the_other_as_gone() {
    let plan = Plan::line(&["A1", "A2", "B1"]).set("limits.ready_grace", GRACE);
    let mut herd = plan.lay_out();
    let (to_b, to_a) = (Proxy::to(herd.address("B1")), Proxy::to(herd.address("A2")));
    herd.route("A2", "B1", to_b.address());
    herd.route("B1", "A2", to_a.address());
    for name in ["A1", "A2", "B1"] {
        herd.launch(name);
    }
    for name in ["A1", "A2", "B1"] {
        herd.wait_ready(name);
        wait_until("all is well", || herd_view(&herd, name)["well"] == true);
    }
    to_a.cut();
    to_b.cut();
    let state = |asked: &str, of: &str| server(&herd_view(&herd, asked), of)["state"].clone();
    wait_until("the split is seen", || {
        state("A1", "B1") == "unreachable" && state("B1", "A1") == "unreachable"
    });
    assert_eq!(state("A1", "A2"), "ready");
    let at = herd.client("A1").report(&iamat("kiwi"));
    herd.agree(&["A2"], &at);
    to_a.mend();
    to_b.mend();
    for name in ["A1", "A2", "B1"] {
        wait_until("all is well again", || herd_view(&herd, name)["well"] == true);
    }
}

#[test]
fn status_can_be_watched_by_a_script() {
    let mut herd = Plan::line(&["Hill", "Jaquez"]).start();
    let address = herd.http_address("Hill").to_string();
    let mut command = command(&["status", "--watch", "--json", "--server", &address]);
    let mut watch = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("one more").expect("text");
        serde_json::from_str(&line).expect("one document a line")
    };
    while next()["well"] != true {}
    herd.kill9("Jaquez");
    while next()["well"] == true {}
    // It goes on when nobody answers.
    herd.kill9("Hill");
    let said = loop {
        let said = next();
        if said.get("error").is_some() {
            break said;
        }
    };
    assert!(said["error"].as_str().is_some_and(|e| e.contains("nobody listens at")), "{said}");
    herd.launch("Hill");
    while next().get("servers").is_none() {}
    // A reader that has seen enough ends it, well.
    drop(lines);
    let ended = wait_for("it ends", Duration::from_secs(20), || watch.try_wait().expect("ours"));
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn who_cannot_be_asked_is_told_with_code_2() {
    let herd = Plan::one("Hill").start();
    let line = herd.address("Hill").to_string();
    let config = herd.config("Hill").to_str().expect("text").to_owned();
    let well = run(&["status", "--config", &config]);
    assert_eq!(well.code, Some(0), "{}{}", well.stdout, well.stderr);
    let well = run(&["status", "--config", &config, "--server", "Hill"]);
    assert_eq!(well.code, Some(0), "{}{}", well.stdout, well.stderr);
    for (arguments, complaint) in [
        (&["status", "--server", &line][..], "is where clients talk to a server; name its http"),
        (
            &["forget", "kiwi", "--server", &line],
            "is where clients talk to a server; name its http",
        ),
        (&["status", "--server", "127.0.0.1:1"], "nobody listens at 127.0.0.1:1"),
        (&["status", "--server", "Hill"], "together with --config FILE"),
        (&["status", "--config", &config, "--server", "Hil"], "did you mean Hill?"),
        (&["forget", "two words"], "is no name of a client"),
    ] {
        let outcome = run(arguments);
        assert_eq!(outcome.code, Some(2), "{arguments:?}");
        assert!(outcome.stderr.contains(complaint), "{complaint:?}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "");
    }
}

#[test]
fn a_client_is_forgotten_by_all_servers() {
    let herd = Plan::five().start();
    let kiwi = herd.client("Campbell").report(&iamat("kiwi.example"));
    let plum = herd.client("Campbell").report(&iamat("plum.example"));
    herd.agree(&FIVE, &kiwi);
    herd.agree(&FIVE, &plum);
    let outcome = ask(&herd, "Hill", &["forget", "kiwi.example"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "kiwi.example is forgotten\n"));
    for name in FIVE {
        let mut client = herd.client(name);
        wait_until(&format!("{name} has forgotten it"), || client.locate("kiwi.example").is_none());
        // As one that was never heard of, whatever is asked.
        let question = "WHATSAT kiwi.example 10 5";
        assert_eq!(client.ask(question), format!("? {question}"));
        assert_eq!(client.ask("WHATSAT nobody 10 5"), "? WHATSAT nobody 10 5");
        assert_eq!(client.locate("plum.example").as_ref(), Some(&plum), "others stay");
        assert!((herd.metrics(name).value("geoherd_clients") - 1.0).abs() < 0.5);
    }
    for name in ["Hill", "Smith"] {
        let outcome = ask(&herd, name, &["forget", "kiwi.example"]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), "kiwi.example is unknown\n"));
    }
    // The same report again is older than the forgetting; a new one is not.
    let late = format!("IAMAT kiwi.example {} {}", kiwi.location, kiwi.time);
    herd.client("Smith").report(&late);
    assert_eq!(herd.client("Smith").locate("kiwi.example"), None);
    let back = herd.client("Smith").report(&iamat("kiwi.example"));
    herd.agree(&FIVE, &back);
}

#[test]
fn strangers_change_nothing() {
    let herd = Plan::one("Hill").start();
    let at = herd.client("Hill").report(&iamat("kiwi"));
    // A page in a browser on this machine, of whatever origin.
    let (code, answer) = post(&herd, "Hill", "/forget", "Origin: http://127.0.0.1\r\n", "kiwi");
    assert_eq!(code, 403, "{answer}");
    assert_eq!(post(&herd, "Hill", "/forget", "", "two words").0, 400);
    assert_eq!(post(&herd, "Hill", "/forget", "", "").0, 400);
    assert_eq!(post(&herd, "Hill", "/forget", "", &"x".repeat(2000)).0, 413);
    assert_eq!(herd.get("Hill", "/forget").code, 405);
    assert_eq!(herd.client("Hill").locate("kiwi"), Some(at.clone()));

    let herd = Plan::one("Hill").set("limits.operate_from", "\"nobody\"").start();
    herd.client("Hill").report(&iamat("kiwi"));
    let (code, answer) = post(&herd, "Hill", "/forget", "", "kiwi");
    assert_eq!(code, 403, "{answer}");
    let outcome = ask(&herd, "Hill", &["forget", "kiwi"]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("limits.operate_from"), "{}", outcome.stderr);
    assert!(herd.client("Hill").locate("kiwi").is_some());
}

#[test]
fn an_address_that_is_open_to_strangers_changes_nothing_unless_the_config_says_so() {
    for (operate_from, expected) in [(None, 403), (Some("\"anyone\""), 200)] {
        let mut plan = Plan::one("Hill");
        if let Some(from) = operate_from {
            plan = plan.set("limits.operate_from", from);
        }
        // A port that is free at one address may be taken at another, and this needs it at all of them;
        // so the system gives it to the server itself, which says which it is.
        let mut herd = plan.variable("GEOHERD_SERVERS_HILL_HTTP", "0.0.0.0:0").lay_out();
        herd.launch("Hill");
        let port = wait_for("it says where it listens", PATIENCE, || {
            let printed = herd.printed("Hill");
            let (_, rest) = printed.split_once("http://0.0.0.0:")?;
            let (port, _) = rest.split_once(|at: char| !at.is_ascii_digit())?;
            port.parse().ok()
        });
        herd.client("Hill").report(&iamat("kiwi"));
        let loopback = SocketAddr::from(([127, 0, 0, 1], port));
        let (code, answer) = post_to(loopback, "/forget", "", "kiwi");
        assert_eq!(code, expected, "{operate_from:?}: {answer}");
    }
}

#[test]
fn programs_find_the_metrics_by_their_names() {
    let herd = Plan::line(&["Hill", "Jaquez"]).start();
    let at = herd.client("Hill").report(&iamat("kiwi"));
    herd.agree(&["Jaquez"], &at);
    wait_until("Jaquez counts it", || {
        herd.metrics("Jaquez").value("geoherd_propagation_seconds_count") > 0.5
    });
    let text = herd.get("Jaquez", "/metrics").body;
    for (name, kind) in [
        ("geoherd_peer_records_sent", "counter"),
        ("geoherd_peer_records_received", "counter"),
        ("geoherd_peer_bytes_sent", "counter"),
        ("geoherd_updates", "counter"),
        ("geoherd_audit_repairs", "counter"),
        ("geoherd_clients", "gauge"),
        ("geoherd_link_up", "gauge"),
        ("geoherd_incarnations", "gauge"),
        ("geoherd_link_timeouts", "counter"),
        ("geoherd_peer_faults", "counter"),
        ("geoherd_lock_hold_seconds", "histogram"),
        ("geoherd_propagation_seconds", "histogram"),
    ] {
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}: {text}");
    }
    let (hill, jaquez) = (herd.metrics("Hill"), herd.metrics("Jaquez"));
    for (metrics, name, value) in [
        (&hill, "geoherd_peer_records_sent_total{peer=\"Jaquez\"}", 1.0),
        (&jaquez, "geoherd_peer_records_sent_total{peer=\"Hill\"}", 0.0),
        (&jaquez, "geoherd_peer_records_received_total{peer=\"Hill\"}", 1.0),
        (&hill, "geoherd_updates_total", 1.0),
        (&jaquez, "geoherd_updates_total", 0.0),
        (&hill, "geoherd_audit_repairs_total", 0.0),
        (&hill, "geoherd_clients", 1.0),
        (&jaquez, "geoherd_clients", 1.0),
        (&hill, "geoherd_link_up{peer=\"Jaquez\"}", 1.0),
        (&jaquez, "geoherd_propagation_seconds_count", 1.0),
        (&jaquez, "geoherd_propagation_seconds_bucket{le=\"+Inf\"}", 1.0),
    ] {
        assert!((metrics.value(name) - value).abs() < 0.5, "{name}: {}", metrics.value(name));
    }
    assert!(hill.value("geoherd_peer_bytes_sent_total{peer=\"Jaquez\"}") > 50.0);
    assert!(jaquez.value("geoherd_propagation_seconds_sum") < 20.0);
}

#[test]
fn neighbors_are_compared_when_an_operator_asks() {
    let mut herd = Plan::line(&["Campbell", "Hill", "Jaquez"]).start();
    let at = herd.client("Hill").report(&iamat("kiwi"));
    herd.agree(&["Campbell", "Hill", "Jaquez"], &at);
    herd.wait_linked("Hill", &["Campbell", "Jaquez"]);
    let rounds = || herd.metrics("Hill").value("geoherd_audit_rounds_total");
    let before = rounds();
    let outcome = ask(&herd, "Hill", &["audit"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{}", outcome.stdout);
    for part in ["Campbell  same", "Jaquez    same", "nothing was repaired"] {
        assert!(outcome.stdout.contains(part), "{part:?} is not in {}", outcome.stdout);
    }
    assert!(rounds() >= before + 2.0, "each neighbor was really compared with");
    let view = herd_view(&herd, "Hill");
    assert!(server(&view, "Hill")["audits"]["rounds"].as_u64() >= Some(2));
    herd.kill9("Jaquez");
    wait_until("the link is down", || {
        herd.metrics("Hill").value("geoherd_link_up{peer=\"Jaquez\"}") < 0.5
    });
    let outcome = ask(&herd, "Hill", &["audit"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("Jaquez    is not linked"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("Campbell  same"), "{}", outcome.stdout);
}

#[test]
fn servers_that_are_written_to_compare_well() {
    let herd = Plan::line(&["Hill", "Jaquez"]).start();
    herd.wait_linked("Hill", &["Jaquez"]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = herd.client("Jaquez");
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let lines: Vec<_> = (0..20).map(|n| iamat(&format!("walker{n}")) + "\n").collect();
                client.send(lines.concat());
                for _ in &lines {
                    client.line();
                }
            }
        });
        wait_until("the writer is at it", || herd.metrics("Hill").value("geoherd_clients") > 19.5);
        let outcome = ask(&herd, "Hill", &["audit"]);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(outcome.code, Some(0), "{}{}", outcome.stdout, outcome.stderr);
    });
    assert!(herd.metrics("Hill").value("geoherd_audit_repairs_total") < 0.5);
}

#[test]
fn who_is_heard_of_no_more_is_shown_by_no_one() {
    let herd = Plan::line(&["Hill", "Jaquez"]).variable(EXPIRE_AFTER, "3s").start();
    let gone = herd.client("Hill").report(&iamat("gone"));
    herd.agree(&["Hill", "Jaquez"], &gone);
    let mut reporting = herd.client("Jaquez");
    wait_until("nobody knows it", || {
        let stays = reporting.report(&iamat("stays"));
        herd.agree(&["Hill"], &stays);
        ["Hill", "Jaquez"].iter().all(|name| herd.client(name).locate("gone").is_none())
    });
    assert!(herd.client("Hill").locate("stays").is_some());
    let repairs = |name| herd.metrics(name).value("geoherd_audit_repairs_total");
    assert!(repairs("Hill") + repairs("Jaquez") < 0.5);
}

#[test]
fn who_is_near_is_told_from_behind_very_many_who_have_expired() {
    /// More than one step of a search passes over.
    const GONE: usize = 20_000;
    let herd = Plan::one("Hill").variable(EXPIRE_AFTER, "3s").start();
    let mut client = herd.client("Hill");
    for first in (0..GONE).step_by(500) {
        let line = |at| format!("IAMAT gone-{at} +0.{at:06}+2 1520023934\n");
        let lines: Vec<_> = (first..first + 500).map(line).collect();
        client.send(lines.concat());
        (0..500).for_each(|_| drop(client.line()));
    }
    wait_until("all of them have expired", || {
        let last = format!("gone-{}", GONE - 1);
        herd.client("Hill").locate(&last).is_none()
    });
    let mut time = 1_520_023_934;
    // On a busy machine it may have expired too before the answer comes.
    wait_until("the one who stays is found", || {
        time += 1;
        client.report(&format!("IAMAT stays +0.5+2 {time}"));
        let near = herd.get("Hill", "/nearby?at=+0+2&radius=1000&count=5");
        let document: Value = serde_json::from_str(&near.body).unwrap();
        let found = document["nearby"].as_array().unwrap().iter();
        found.map(|one| one["client"].as_str().unwrap()).collect::<Vec<_>>() == ["stays"]
    });
}

#[test]
fn who_is_near_is_told_at_any_server_and_follows_whoever_moves_or_is_forgotten() {
    let herd = Plan::line(&["Hill", "Jaquez"]).start();
    let mut client = herd.client("Hill");
    for (name, location) in [("far", "+1.5+2"), ("near", "+1.0001+2"), ("here", "+1+2")] {
        client.report(&format!("IAMAT {name} {location} 1520023934.5"));
    }
    let near = |count: usize| -> Vec<String> {
        let path = format!("/nearby?at=+1+2&radius=100&count={count}");
        let document: Value = serde_json::from_str(&herd.get("Jaquez", &path).body).unwrap();
        let found = document["nearby"].as_array().unwrap().iter();
        found.map(|one| one["client"].as_str().unwrap().to_owned()).collect()
    };
    wait_until("Jaquez knows all three", || near(9) == ["here", "near", "far"]);
    assert_eq!(near(2), ["here", "near"]);
    client.report("IAMAT far +1+2.00001 1520023999.5");
    wait_until("Jaquez knows who has come nearer", || near(9) == ["here", "far", "near"]);
    let told = ask(&herd, "Jaquez", &["near", "+1+2", "--radius", "0.0005"]);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert!(told.stdout.ends_with("0.0 m  here  +1+2  1520023934.5\n"), "{}", told.stdout);
    assert_eq!(ask(&herd, "Jaquez", &["near", "-1-2"]).code, Some(1));
    assert_eq!(ask(&herd, "Jaquez", &["forget", "here"]).code, Some(0));
    wait_until("Jaquez has forgotten who was nearest", || near(9) == ["far", "near"]);
    let refused = herd.get("Jaquez", "/nearby?at=34,118");
    assert!(refused.code == 400 && refused.body.contains("write ?at="), "{}", refused.body);
}
