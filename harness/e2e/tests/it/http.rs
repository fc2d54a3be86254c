//! Health, readiness, status and metrics.

use herd_e2e::{Herd, Plan, at_line, iamat, wait_until};
use serde_json::Value;

fn json(herd: &Herd, name: &str, path: &str) -> (u16, Value) {
    let answer = herd.get(name, path);
    assert!(answer.head.to_ascii_lowercase().contains("content-type: application/json"));
    (answer.code, serde_json::from_str(&answer.body).expect("JSON"))
}

#[test]
fn a_server_is_healthy_before_it_is_ready() {
    let mut herd = Plan::line(&["Hill", "Jaquez"]).set("limits.ready_grace", "\"60s\"").lay_out();
    herd.launch("Hill");
    let http = herd.http_address("Hill");
    wait_until("it answers", || herd_e2e::get(http, "/healthz").is_ok());
    assert_eq!(herd.get("Hill", "/healthz").code, 200);
    let (code, ready) = json(&herd, "Hill", "/readyz");
    assert_eq!((code, &ready["ready"]), (503, &Value::Bool(false)));
    let reasons = ready["reasons"].as_array().unwrap();
    assert!(reasons.iter().any(|reason| reason.as_str().unwrap().contains("Jaquez")), "{ready}");
    assert_eq!(ready["missing"][0]["server"], "Jaquez", "{ready}");
    assert_eq!(herd.metrics("Hill").value("geoherd_link_up{peer=\"Jaquez\"}").to_bits(), 0);
    // Clients are served all the same.
    herd.client("Hill").report(&iamat("kiwi"));

    herd.start("Jaquez");
    herd.wait_ready("Hill");
    let (_, ready) = json(&herd, "Hill", "/readyz");
    assert_eq!(ready["reasons"], Value::Array(Vec::new()));
}

#[test]
fn a_server_without_its_neighbor_is_ready_after_a_while() {
    let mut herd = Plan::line(&["Hill", "Jaquez"]).set("limits.ready_grace", "\"300ms\"").lay_out();
    herd.start("Hill");
    let (code, ready) = json(&herd, "Hill", "/readyz");
    assert_eq!((code, &ready["ready"]), (200, &Value::Bool(true)));
    assert_eq!(ready["missing"][0]["server"], "Jaquez", "{ready}");
}

#[test]
fn what_happens_is_counted() {
    let herd = Plan::line(&["Hill", "Jaquez"]).start();
    herd.wait_linked("Hill", &["Jaquez"]);
    herd.wait_linked("Jaquez", &["Hill"]);
    let mut client = herd.client("Hill");
    let at = client.report("IAMAT kiwi +1+2 1520023934");
    client.report("IAMAT kiwi +1+2 1520023933");
    client.report("IAMAT phone +1+2 9000000000");
    client.ask("nonsense");
    let line = at_line("Elsewhere", "other", "+1+2", "1520023934");
    client.send(format!("{line}\nWHATSAT other 0 0\n"));
    client.line();
    client.document();
    herd.agree(&["Jaquez"], &at);
    wait_until("Jaquez knows all three", || herd.metrics("Jaquez").value("geoherd_clients") >= 3.0);

    let hill = herd.metrics("Hill");
    for (name, value) in [
        ("geoherd_clients", 3.0),
        ("geoherd_updates_total", 2.0),
        ("geoherd_reports_not_newer_total", 1.0),
        ("geoherd_relayed_total", 1.0),
        ("geoherd_clamped_times_total", 1.0),
        ("geoherd_peer_records_sent_total{peer=\"Jaquez\"}", 3.0),
        ("geoherd_peer_records_received_total{peer=\"Jaquez\"}", 0.0),
        ("geoherd_link_up{peer=\"Jaquez\"}", 1.0),
        ("geoherd_propagation_seconds_count", 0.0),
        ("geoherd_connections", 1.0),
    ] {
        assert!((hill.value(name) - value).abs() < 0.5, "{name}: {}", hill.value(name));
    }
    assert!(hill.sum("geoherd_messages_total") >= 6.0);
    assert!(hill.value("process_resident_memory_bytes") > 1e6);
    let jaquez = herd.metrics("Jaquez");
    for (name, value) in [
        ("geoherd_updates_total", 0.0),
        ("geoherd_peer_records_received_total{peer=\"Hill\"}", 3.0),
        ("geoherd_propagation_seconds_count", 3.0),
        ("geoherd_propagation_seconds_bucket{le=\"+Inf\"}", 3.0),
    ] {
        assert!((jaquez.value(name) - value).abs() < 0.5, "{name}: {}", jaquez.value(name));
    }
}

#[test]
fn holds_of_the_lock_are_counted_by_how_long_they_took() {
    const HOLDS: &str = "geoherd_lock_hold_seconds";
    let herd = Plan::one("Hill").start();
    let before = herd.metrics("Hill");
    let mut client = herd.client("Hill");
    // Each waits for its answer, so each is a hold of its own.
    for number in 0..20 {
        client.report(&format!("IAMAT kiwi +1+2 15200239{number:02}"));
    }
    let after = herd.metrics("Hill");
    let count = format!("{HOLDS}_count");
    assert!(after.value(&count) >= before.value(&count) + 20.0);
    let sum = format!("{HOLDS}_sum");
    assert!(before.value(&sum) > 0.0 && after.value(&sum) > before.value(&sum));
    // Each bucket counts the shorter holds too. One of them ends at the 2 ms that no hold may exceed.
    let up_to = |bound: &str| after.value(&format!("{HOLDS}_bucket{{le=\"{bound}\"}}"));
    let counts = ["0.00001", "0.0001", "0.001", "0.002", "0.1", "+Inf"].map(up_to);
    assert!(counts.is_sorted(), "{counts:?}");
    assert!((counts[5] - after.value(&count)).abs() < 0.5, "{counts:?}");
}

#[test]
fn status_tells_of_every_link() {
    let herd = Plan::five().start();
    herd.client("Singleton").report(&iamat("kiwi"));
    wait_until("Campbell knows of it", || {
        json(&herd, "Campbell", "/status").1["clients"].as_u64() == Some(1)
    });
    let (code, status) = json(&herd, "Campbell", "/status");
    assert_eq!(code, 200);
    assert_eq!((&status["herd"], &status["server"]), (&"news".into(), &"Campbell".into()));
    assert_eq!(status["ready"], true);
    let links = status["links"].as_array().unwrap();
    let names: Vec<&str> = links.iter().map(|link| link["server"].as_str().unwrap()).collect();
    assert_eq!(names, ["Singleton", "Smith"]);
    for link in links {
        assert_eq!((&link["state"], &link["protocol"]), (&"up".into(), &"native".into()));
    }
    wait_until("round trips are measured", || {
        let (_, status) = json(&herd, "Campbell", "/status");
        let links = status["links"].as_array().unwrap();
        links.iter().all(|link| link["round_trip_ms"].as_f64().is_some_and(|ms| ms > 0.0))
    });
}

#[test]
fn other_paths_are_not_found() {
    let herd = Plan::one("Hill").start();
    assert_eq!(herd.get("Hill", "/nothing-here").code, 404);
    assert_eq!(herd.get("Hill", "/").code, 200);
}
