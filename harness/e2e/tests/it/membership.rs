//! Servers that join and leave while the herd runs.

use herd_e2e::{FIVE, Herd, Plan, Process, Signal, geoherd, iamat, wait_until};
use std::fs;
use std::process::{Command, Stdio};

/// The names of the servers that `name` counts to the herd.
fn herd_of(herd: &Herd, name: &str) -> Vec<String> {
    let view: serde_json::Value =
        serde_json::from_str(&herd.get(name, "/herd").body).expect("JSON");
    let servers = view["servers"].as_array().expect("a list");
    servers.iter().map(|server| server["server"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_sixth_server_joins_by_one_neighbor_and_is_taken_out_again() {
    let mut herd = Plan::five().start();
    let before = herd.client("Hill").report(&iamat("before"));
    herd.agree(&FIVE, &before);
    herd.add("Powell", &["Campbell"]);
    // An entry in one file, SIGHUP to one neighbor, and starting it.
    herd.reload("Campbell");
    herd.start("Powell");
    herd.wait_linked("Campbell", &["Powell", "Smith", "Singleton"]);
    herd.agree(&["Powell"], &before);
    let there = herd.client("Powell").report(&iamat("there"));
    let here = herd.client("Jaquez").report(&iamat("here"));
    let six = ["Campbell", "Hill", "Jaquez", "Powell", "Singleton", "Smith"];
    for at in [&there, &here] {
        herd.agree(&six, at);
    }
    for name in six {
        wait_until(&format!("{name} counts six"), || herd_of(&herd, name) == six);
    }
    // No link of the others was touched.
    assert_eq!(links_lost(&herd, "Campbell"), 0, "{}", herd.log("Campbell"));

    herd.remove("Powell");
    herd.reload("Campbell");
    for name in FIVE {
        wait_until(&format!("{name} counts five"), || herd_of(&herd, name) == FIVE);
    }
    let metrics = herd.metrics("Campbell");
    assert!(!metrics.has("geoherd_link_up{peer=\"Powell\"}"));
    let after = herd.client("Hill").report(&iamat("after"));
    herd.agree(&FIVE, &after);
}

#[test]
fn links_appear_and_disappear_without_a_restart() {
    let mut herd = Plan::line(&["Hill", "Jaquez", "Smith"]).start();
    herd.link("Hill", "Smith", true);
    herd.reload("Hill");
    herd.reload("Smith");
    herd.wait_linked("Hill", &["Jaquez", "Smith"]);
    herd.wait_linked("Smith", &["Jaquez", "Hill"]);
    herd.kill9("Jaquez");
    let at = herd.client("Hill").report(&iamat("kiwi"));
    herd.agree(&["Smith"], &at);
    herd.link("Hill", "Smith", false);
    herd.reload("Hill");
    wait_until("the link is gone, and both know why", || {
        ["Hill", "Smith"].iter().all(|name| herd.log(name).contains("no longer links the two"))
    });
}

#[test]
fn what_needs_a_restart_is_named_and_a_config_that_does_not_hold_changes_nothing() {
    let mut herd = Plan::line(&["Hill", "Jaquez"]).start();
    herd.set("limits.max_connections", 77);
    herd.set("limits.link_dead", "\"2s\"");
    herd.reload("Hill");
    wait_until("it is named", || {
        herd.log("Hill").contains("needs a restart: limits.max_connections")
    });
    let log = herd.log("Hill");
    assert!(log.contains("changed=\"limits.link_dead\""), "{log}");
    let text = fs::read_to_string(herd.config("Hill")).unwrap();
    for (broken, words) in [
        (text.replace("[servers.Jaquez]", "[servers.Jaquez]\ncolor = 1"), "servers.Jaquez.color"),
        (text.replace("\"Jaquez\"", "\"Jacques\""), "there is no server \"Jacques\""),
        (text.replace("Hill", "Mount"), "there is no server \"Hill\" any more"),
        ("no config at all".to_owned(), "is not TOML"),
    ] {
        herd.reload_text("Hill", &broken);
        wait_until(&format!("it says {words}"), || herd.log("Hill").contains(words));
    }
    assert_eq!(herd.log("Hill").matches("keeping the current config").count(), 4);
    let at = herd.client("Hill").report(&iamat("kiwi"));
    herd.agree(&["Jaquez"], &at);
    assert_eq!(links_lost(&herd, "Hill"), 0, "{}", herd.log("Hill"));
}

/// How often a link went down since the config was first reloaded. At the start one may: of two servers that
/// dial each other at once one connection goes again.
#[track_caller]
fn links_lost(herd: &Herd, name: &str) -> usize {
    let log = herd.log(name);
    let (_, since) = log.split_once("config reloaded").expect("it was");
    since.matches("link down").count()
}

/// Has a server leave; what that prints, and its exit code.
#[track_caller]
fn leave(herd: &Herd, name: &str, address_of: &str) -> (Option<i32>, String) {
    let path = herd.dir().join("leave.out");
    let out = || {
        Stdio::from(
            fs::File::options().create(true).append(true).open(&path).expect("there is room"),
        )
    };
    let address = herd.http_address(address_of).to_string();
    let mut command = Command::new(geoherd());
    command.args(["leave", name, "--server", &address]).env_remove("GEOHERD_CONFIG");
    command.stdin(Stdio::null()).stdout(out()).stderr(out());
    let status = Process::start(&mut command).exit();
    (status.code(), fs::read_to_string(path).expect("it was written"))
}

#[test]
fn a_server_leaves_when_the_others_hold_all_it_knows() {
    let mut herd = Plan::five().start();
    let names: Vec<String> = (0..50).map(|n| format!("client{n}")).collect();
    let mut client = herd.client("Smith");
    let reports: Vec<_> = names.iter().map(|name| client.report(&iamat(name))).collect();
    let (code, said) = leave(&herd, "Smith", "Smith");
    assert_eq!((code, said.as_str()), (Some(0), "Smith has left the herd\n"));
    assert_eq!(herd.process("Smith").exit().code(), Some(0));
    let rest = ["Campbell", "Hill", "Jaquez", "Singleton"];
    for at in &reports {
        herd.agree(&rest, at);
    }
    // Jaquez is no neighbor of it, and knows too.
    for name in rest {
        wait_until(&format!("{name} counts four"), || herd_of(&herd, name) == rest);
    }
    assert!(herd.log("Hill").contains("ended by the other side: this server leaves the herd"));
    // It is welcome again.
    herd.start("Smith");
    for name in FIVE {
        wait_until(&format!("{name} counts five"), || herd_of(&herd, name) == FIVE);
    }
}

#[test]
fn a_server_that_is_alone_says_so_and_stays() {
    let mut herd = Plan::line(&["Hill", "Jaquez"]).start();
    herd.kill9("Jaquez");
    let at = herd.client("Hill").report(&iamat("kiwi"));
    let (code, said) = leave(&herd, "Hill", "Hill");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("Hill stays: no neighbor is linked"), "{said}");
    assert_eq!(herd.client("Hill").locate("kiwi"), Some(at), "it goes on as before");
    herd.client("Hill").report(&iamat("rhea"));
}

#[test]
fn the_wrong_server_does_not_leave() {
    let herd = Plan::line(&["Hill", "Jaquez"]).start();
    let (code, said) = leave(&herd, "Jaquez", "Hill");
    assert_eq!(code, Some(2));
    assert!(said.contains("this is Hill"), "{said}");
}

#[test]
fn a_server_that_stops_says_so() {
    let mut herd = Plan::line(&["Hill", "Jaquez"]).start();
    herd.wait_linked("Hill", &["Jaquez"]);
    herd.process("Jaquez").signal(Signal::TERM);
    wait_until("Hill is told", || {
        herd.log("Hill").contains("ended by the other side: this server stops")
    });
}
