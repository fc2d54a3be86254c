//! How servers tell one another, and go on when some of them cannot be told.

use herd_e2e::{FIVE, Herd, Plan, Process, Proxy, iamat, iamat_at, settled, wait_until};
use std::fs;
use std::process::Stdio;

/// The servers of `herd` but `without`.
fn others<'a>(herd: &'a Herd, without: &str) -> Vec<&'a str> {
    herd.names().into_iter().filter(|name| *name != without).collect()
}

#[test]
fn a_report_at_any_server_is_known_at_all_five() {
    let herd = Plan::five().start();
    for name in FIVE {
        let at = herd.client(name).report(&iamat(&format!("heard-by-{name}")));
        assert_eq!(at.server, name);
        herd.agree(&herd.names(), &at);
    }
    // A client moves on from server to server, and its newest report is what all know.
    let mut at = None;
    for name in FIVE {
        at = Some(herd.client(name).report(&iamat("traveler")));
    }
    herd.agree(&herd.names(), &at.unwrap());
}

#[test]
fn the_herd_goes_on_without_any_one_server_and_takes_it_back() {
    let mut herd = Plan::five().start();
    let mut known = vec![herd.client("Hill").report(&iamat("from-the-start"))];
    herd.agree(&herd.names(), &known[0]);
    for lost in FIVE {
        herd.kill9(lost);
        let rest: Vec<String> = others(&herd, lost).into_iter().map(str::to_owned).collect();
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        for name in &rest {
            let at = herd.client(name).report(&iamat(&format!("{name}-without-{lost}")));
            herd.agree(&rest, &at);
            known.push(at);
        }
        herd.launch(lost);
        let http = herd.http_address(lost);
        wait_until(&format!("{lost} is back"), || herd_e2e::get(http, "/healthz").is_ok());
        let took: f64 = known.iter().map(|at| herd.agree(&[lost], at).as_secs_f64()).sum();
        println!("{lost}, empty, had caught up {took:.3} s after it answered");
        assert!(took < 5.0, "{took} s");
        herd.wait_ready(lost);
        // It is a member like any other again.
        let at = herd.client(lost).report(&iamat(&format!("{lost}-returned")));
        herd.agree(&herd.names(), &at);
        known.push(at);
    }
}

#[test]
fn a_restarted_server_is_ready_only_when_it_has_caught_up() {
    let mut herd = Plan::line(&["Hill", "Jaquez"]).start();
    let mut client = herd.client("Hill");
    for batch in 0..20 {
        let lines: Vec<String> =
            (0..500).map(|n| iamat(&format!("client-{batch}-{n}")) + "\n").collect();
        client.send(lines.concat());
        for _ in &lines {
            client.line();
        }
    }
    let last = client.report(&iamat("the-last"));
    herd.agree(&["Jaquez"], &last);
    herd.kill9("Jaquez");
    herd.start("Jaquez");
    assert_eq!(herd.client("Jaquez").locate("the-last"), Some(last));
    assert!(herd.metrics("Jaquez").value("geoherd_clients") >= 10_001.0);
}

#[test]
fn both_halves_of_a_split_go_on_and_merge() {
    let plan = Plan::line(&["A1", "A2", "B1", "B2"]);
    let mut herd = plan.lay_out();
    // Each side reaches the other through a wire.
    let to_b = Proxy::to(herd.address("B1"));
    let to_a = Proxy::to(herd.address("A2"));
    herd.route("A2", "B1", to_b.address());
    herd.route("B1", "A2", to_a.address());
    for name in ["A1", "A2", "B1", "B2"] {
        herd.launch(name);
    }
    for name in ["A1", "A2", "B1", "B2"] {
        herd.wait_ready(name);
    }
    let before = herd.client("A1").report(&iamat("before"));
    herd.agree(&herd.names(), &before);
    for round in 0..2 {
        to_b.cut();
        to_a.cut();
        let (left, right) = (format!("left{round}"), format!("right{round}"));
        let left = herd.client("A1").report(&iamat(&left));
        herd.agree(&["A1", "A2"], &left);
        let right = herd.client("B2").report(&iamat(&right));
        herd.agree(&["B1", "B2"], &right);
        // One client whom both halves hear: the later report must win on all sides.
        let earlier = herd.client("B2").report(&iamat("between"));
        let later = herd.client("A1").report(&iamat("between"));
        herd.agree(&["B1", "B2"], &earlier);
        assert_eq!(herd.client("B1").locate(&left.client), None);
        assert_eq!(herd.client("A2").locate(&right.client), None);
        to_b.mend();
        to_a.mend();
        for at in [&left, &right, &later] {
            herd.agree(&herd.names(), at);
        }
    }
}

#[test]
fn cut_vertices_that_die_split_the_herd_and_join_it_when_they_return() {
    let names = ["A", "B", "C", "D", "E"];
    let mut herd = Plan::line(&names).start();
    herd.kill9("C");
    let left = herd.client("A").report(&iamat("left"));
    let right = herd.client("E").report(&iamat("right"));
    herd.agree(&["A", "B"], &left);
    herd.agree(&["D", "E"], &right);
    assert_eq!(herd.client("D").locate("left"), None);
    herd.start("C");
    herd.agree(&names, &left);
    herd.agree(&names, &right);
}

#[test]
fn a_frozen_server_delays_nobody_and_grows_nobody() {
    const CLIENTS: usize = 100;
    const ROUNDS: usize = 400;
    let mut herd = Plan::five().start();
    let frozen = "Campbell";
    let mut client = herd.client("Hill");
    // What the table of clients takes is not what is looked for.
    let mut newest = None;
    let mut round = |newest: &mut Option<_>| {
        let lines: Vec<String> =
            (0..CLIENTS).map(|n| iamat(&format!("walker{n}")) + "\n").collect();
        client.send(lines.concat());
        for _ in &lines {
            *newest = Some(client.line());
        }
    };
    for _ in 0..20 {
        round(&mut newest);
    }
    herd.freeze(frozen);
    let neighbors = ["Smith", "Singleton"];
    let mut resident = || neighbors.map(|name| herd.process(name).resident_bytes());
    let before = resident();
    for _ in 0..ROUNDS {
        round(&mut newest);
    }
    let after = resident();
    for ((name, before), after) in neighbors.iter().zip(before).zip(after) {
        let grown_kb = after.saturating_sub(before) >> 10;
        println!("{name}: {} kB, grown by {grown_kb} kB", before >> 10);
        assert!(grown_kb < 8 << 10, "{name} grew by {grown_kb} kB");
    }
    let last = herd_e2e::At::parse(&newest.unwrap());
    let rest: Vec<&str> = others(&herd, frozen);
    let took = herd.agree(&rest, &last);
    println!("the four others agreed {took:?} after the last of {} updates", CLIENTS * ROUNDS);
    let at = herd.client("Jaquez").report(&iamat("while-frozen"));
    herd.agree(&rest, &at);
    herd.thaw(frozen);
    let took = herd.agree(&[frozen], &last) + herd.agree(&[frozen], &at);
    println!("thawed, it had caught up after {took:?}");
    let at = herd.client(frozen).report(&iamat("thawed"));
    herd.agree(&FIVE, &at);
}

#[test]
fn every_loop_of_a_full_mesh_dies() {
    const REPORTS: usize = 20;
    let herd = Plan::mesh(&FIVE).start();
    for number in 0..REPORTS {
        let name = FIVE[number % FIVE.len()];
        let at = herd.client(name).report(&iamat(&format!("client{number}")));
        if number % FIVE.len() == 0 {
            herd.agree(&FIVE, &at);
        }
    }
    let received = || -> f64 {
        FIVE.map(|name| herd.metrics(name).sum("geoherd_peer_records_received_total")).iter().sum()
    };
    let received = settled("the herd falls silent", received);
    // Each server must hear of each report that is not its own, and no link carries one twice in one
    // direction.
    let (least, most) = (4 * REPORTS, 20 * REPORTS);
    println!("{received} records received for {REPORTS} reports; {least} to {most} are right");
    assert!((least as f64..=most as f64).contains(&received));
}

#[test]
fn two_herds_never_mix() {
    let mut herd = Plan::line(&["Hill", "Jaquez"]).set("limits.ready_grace", "\"0s\"").lay_out();
    herd.start("Hill");
    // The same addresses in another herd.
    let mut other = herd.command("Jaquez");
    let path = herd.config("Jaquez").to_owned();
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config.replace("name = \"news\"", "name = \"olds\"")).unwrap();
    other.stdout(Stdio::null()).stderr(Stdio::null());
    let _other = Process::start(&mut other);
    wait_until("both tell of the refusal", || {
        ["Hill", "Jaquez"].iter().all(|name| herd.log(name).contains("this is herd"))
    });
    let at = herd.client("Hill").report(&iamat_at("kiwi", "1520023934"));
    assert_eq!(herd.client("Jaquez").locate(&at.client), None);
}
