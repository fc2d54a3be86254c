//! What breaks between servers or to them, and that they agree all the same.

use herd_e2e::{At, Metrics, PATIENCE, iamat, iamat_at, unix_now, wait_for, wait_until};
use herd_net::{FIVE, Herd, Manner, why_not};
use std::collections::BTreeMap;
use std::time::Duration;

/// A herd of the seeds' five in namespaces; none where those may not be made, which is said.
fn five(manner: Option<Manner>) -> Option<Herd> {
    if let Some(why) = why_not() {
        println!("SKIPPED: {why}");
        return None;
    }
    Some(Herd::five(manner).expect("namespaces can be made"))
}

/// Waits until each of `names` says `at` of its client.
#[track_caller]
fn agree(herd: &Herd, names: &[&str], at: &At) {
    for name in names {
        let mut client = herd.client(name);
        wait_until(&format!("{name} knows {}", at.line()), || {
            client.locate(&at.client).as_ref() == Some(at)
        });
    }
}

/// At the end: all five tell the same of each client, and know no other.
#[track_caller]
fn all_equal(herd: &Herd, newest: &BTreeMap<String, At>) {
    for at in newest.values() {
        agree(herd, &FIVE, at);
    }
    for name in FIVE {
        let clients = metrics(herd, name).value("geoherd_clients");
        assert!((clients - newest.len() as f64).abs() < 0.5, "{name} knows {clients} clients");
    }
}

#[track_caller]
fn metrics(herd: &Herd, name: &str) -> Metrics {
    herd.metrics(name).expect("it answers")
}

/// What was said last of each client, for the end.
#[derive(Default)]
struct Said(BTreeMap<String, At>);

impl Said {
    #[track_caller]
    fn report(&mut self, herd: &Herd, name: &str, client: &str) -> At {
        let at = herd.client(name).report(&iamat(client));
        self.0.insert(client.to_owned(), at.clone());
        at
    }
}

#[test]
fn what_a_silent_cut_keeps_back_comes_another_way() {
    let Some(herd) = five(None) else { return };
    let mut said = Said::default();
    for name in FIVE {
        let at = said.report(&herd, name, &format!("before-{name}"));
        agree(&herd, &FIVE, &at);
    }
    herd.lab().cut("Hill", "Smith").unwrap();
    // Nobody is told that nothing comes any more; reports go on.
    for round in 0..20 {
        for name in FIVE {
            said.report(&herd, name, &format!("during-{name}-{round}"));
        }
    }
    for at in said.0.values() {
        agree(&herd, &FIVE, at);
    }
    herd.lab().mend("Hill", "Smith").unwrap();
    wait_linked(&herd, "Hill", "Smith", true);
    said.report(&herd, "Hill", "after");
    all_equal(&herd, &said.0);
}

#[test]
fn a_link_that_passes_one_way_only_is_given_up_and_taken_up_again() {
    let Some(herd) = five(None) else { return };
    let mut said = Said::default();
    said.report(&herd, "Hill", "before");
    herd.lab().cut_one_way("Smith", "Hill").unwrap();
    for round in 0..20 {
        said.report(&herd, "Smith", &format!("smith-{round}"));
        said.report(&herd, "Hill", &format!("hill-{round}"));
    }
    for at in said.0.values() {
        agree(&herd, &FIVE, at);
    }
    wait_linked(&herd, "Hill", "Smith", false);
    herd.lab().mend("Hill", "Smith").unwrap();
    wait_linked(&herd, "Hill", "Smith", true);
    all_equal(&herd, &said.0);
}

#[test]
fn two_halves_go_on_apart_and_become_one_again() {
    let Some(herd) = five(None) else { return };
    let (half, rest) = (["Hill", "Jaquez"], ["Campbell", "Singleton", "Smith"]);
    let between = [("Hill", "Smith"), ("Jaquez", "Singleton")];
    let mut said = Said::default();
    said.report(&herd, "Hill", "moves");
    for (one, other) in between {
        herd.lab().cut(one, other).unwrap();
    }
    for round in 0..10 {
        let at = said.report(&herd, "Jaquez", &format!("half-{round}"));
        agree(&herd, &half, &at);
        let at = said.report(&herd, "Campbell", &format!("rest-{round}"));
        agree(&herd, &rest, &at);
    }
    // The same moment told at both: the greater name wins everywhere, once they hear of each other.
    let time = unix_now();
    let at_hill = herd.client("Hill").report(&iamat_at("both", &time));
    let at_smith = herd.client("Smith").report(&iamat_at("both", &time));
    agree(&herd, &half, &at_hill);
    agree(&herd, &rest, &at_smith);
    said.0.insert("both".to_owned(), at_smith);
    // A client that moved from one half to the other.
    said.report(&herd, "Singleton", "moves");
    for (one, other) in between {
        herd.lab().mend(one, other).unwrap();
    }
    all_equal(&herd, &said.0);
}

#[test]
fn links_that_go_down_and_up_leave_nothing_behind() {
    let Some(herd) = five(None) else { return };
    let mut said = Said::default();
    for round in 0..3 {
        // Jaquez is alone.
        herd.lab().down("Hill", "Jaquez").unwrap();
        herd.lab().down("Singleton", "Jaquez").unwrap();
        said.report(&herd, "Jaquez", &format!("alone-{round}"));
        let at = said.report(&herd, "Campbell", &format!("others-{round}"));
        agree(&herd, &["Campbell", "Hill", "Singleton", "Smith"], &at);
        herd.lab().up("Hill", "Jaquez").unwrap();
        herd.lab().up("Singleton", "Jaquez").unwrap();
        for at in said.0.values() {
            agree(&herd, &FIVE, at);
        }
    }
    all_equal(&herd, &said.0);
}

#[test]
fn behind_slow_links_the_newest_arrives_and_what_was_overtaken_does_not() {
    /// Some fifty records a second.
    const BYTES_PER_S: u32 = 8_000;
    const CLIENTS: u32 = 40;
    const ROUNDS: u32 = 100;
    let Some(herd) = five(None) else { return };
    let mut said = Said::default();
    said.report(&herd, "Hill", "before");
    for (one, other) in [("Smith", "Campbell"), ("Singleton", "Campbell")] {
        herd.lab().slow(one, other, BYTES_PER_S).unwrap();
    }
    let received = |name: &str| metrics(&herd, name).sum("geoherd_peer_records_received_total");
    let before = received("Campbell");
    let mut client = herd.client("Hill");
    for _ in 0..ROUNDS {
        for number in 0..CLIENTS {
            let at = client.report(&iamat(&format!("often-{number}")));
            said.0.insert(at.client.clone(), at);
        }
    }
    for at in said.0.values() {
        agree(&herd, &FIVE, at);
    }
    let came = received("Campbell") - before;
    assert!(came < f64::from(CLIENTS * ROUNDS) / 2.0, "{came} records over links for a few");
    for (one, other) in [("Smith", "Campbell"), ("Singleton", "Campbell")] {
        herd.lab().fast(one, other).unwrap();
    }
    all_equal(&herd, &said.0);
}

#[test]
fn servers_killed_again_and_again_under_load_come_back_to_the_same() {
    let Some(mut herd) = five(None) else { return };
    let mut said = Said::default();
    for round in 0..2 {
        for lost in FIVE {
            herd.kill9(lost);
            let rest: Vec<&str> = FIVE.into_iter().filter(|name| *name != lost).collect();
            // What the four that live have heard must not be lost.
            for (at, name) in rest.iter().enumerate() {
                said.report(&herd, name, &format!("{round}-{lost}-{at}"));
                said.report(&herd, name, "everywhere");
            }
            herd.launch(lost);
            // The next one is killed when this one has all that it alone could hand on.
            herd.wait_ready(lost);
            for at in said.0.values() {
                agree(&herd, &[lost], at);
            }
        }
    }
    all_equal(&herd, &said.0);
}

#[test]
fn a_server_that_stands_still_is_given_up_and_catches_up() {
    let Some(mut herd) = five(None) else { return };
    let mut said = Said::default();
    said.report(&herd, "Smith", "before");
    all_equal(&herd, &said.0);
    herd.freeze("Smith", true);
    let rest = ["Campbell", "Hill", "Jaquez", "Singleton"];
    for round in 0..20 {
        for name in rest {
            said.report(&herd, name, &format!("{name}-{round}"));
        }
    }
    for at in said.0.values() {
        agree(&herd, &rest, at);
    }
    wait_linked(&herd, "Hill", "Smith", false);
    herd.freeze("Smith", false);
    herd.wait_ready("Smith");
    all_equal(&herd, &said.0);
}

#[test]
fn late_and_lossy_wires_lose_nothing() {
    let manner = Manner {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(10),
        lost_per_mille: 20,
    };
    let Some(herd) = five(Some(manner)) else { return };
    let mut said = Said::default();
    for round in 0..20 {
        for name in FIVE {
            said.report(&herd, name, &format!("{name}-{round}"));
            said.report(&herd, name, "everywhere");
        }
    }
    all_equal(&herd, &said.0);
    let wire = herd.lab().wire("Hill", "Smith").unwrap();
    let lost = wait_for("the wire loses a packet", PATIENCE, || {
        let (passed, lost) = wire.counts();
        (lost > 0).then_some((passed, lost))
    });
    println!("passed and lost: {lost:?}");
}

#[track_caller]
fn wait_linked(herd: &Herd, name: &str, peer: &str, linked: bool) {
    wait_until(&format!("{name}'s link to {peer} is up: {linked}"), || {
        let metrics = metrics(herd, name);
        (metrics.value(&format!("geoherd_link_up{{peer=\"{peer}\"}}")) > 0.0) == linked
    });
}
