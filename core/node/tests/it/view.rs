//! The whole herd as each of its servers sees it, and forgetting.

use crate::herd::Herd;
use herd_node::{HostFacts, ServerView, Standing};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn view(herd: &Herd, at: usize) -> Vec<ServerView> {
    herd.nodes[at].as_ref().unwrap().herd(herd.now())
}

/// How each server stands to the one at `at`: itself, reached, not reached, never heard.
fn standings(herd: &Herd, at: usize) -> String {
    let mark = |view: ServerView| match view.standing {
        Standing::Own => '*',
        Standing::Reachable => '+',
        Standing::Unreachable => '-',
        Standing::Unheard => '?',
    };
    view(herd, at).into_iter().map(mark).collect()
}

#[test]
fn any_server_tells_of_every_server() {
    let mut herd = Herd::new(4, &[(0, 1), (1, 2), (2, 3)], 3);
    let facts = HostFacts { program: "9.9".into(), resident_bytes: Some(4096), draining: false };
    herd.nodes[3].as_mut().unwrap().set_host_facts(facts);
    herd.run(SECOND);
    herd.report(3, "kiwi", "+1+2", "1700000000");
    herd.report(3, "plum", "+1+2", "1700000000");
    // Counts are told once a minute.
    herd.run(62 * SECOND);
    assert_eq!(standings(&herd, 0), "*+++");
    let far = view(&herd, 0).pop().unwrap();
    assert_eq!((far.name.as_str(), far.incarnation), ("D", Some(4)));
    assert!(far.heard_ago.is_some_and(|ago| ago < 11 * SECOND), "{far:?}");
    let about = far.about.unwrap();
    assert_eq!((about.state.as_str(), about.program.as_str()), ("ready", "9.9"));
    assert_eq!((about.clients, about.updates, about.resident_bytes), (2, 2, Some(4096)));
    assert_eq!((about.lag_updates, about.lag), (0, Duration::ZERO));
    let link = &about.links[0];
    assert_eq!((link.peer.as_str(), link.state.as_str(), link.records_sent), ("C", "up", 2));
    let asked = view(&herd, 0).swap_remove(0);
    let stream = asked.streams.iter().find(|stream| stream.server == "D").unwrap();
    assert_eq!((stream.incarnation, stream.version, stream.behind), (4, 2, 0));
}

#[test]
fn who_is_gone_is_shown_as_gone_with_the_age_of_what_is_shown() {
    let mut herd = Herd::new(4, &[(0, 1), (1, 2), (2, 3)], 5);
    herd.run(3 * SECOND);
    herd.cut.insert((1, 2), true);
    herd.run(5 * SECOND);
    assert_eq!(standings(&herd, 0), "*+--");
    assert_eq!(standings(&herd, 3), "--+*");
    herd.run(20 * SECOND);
    let far = view(&herd, 0).pop().unwrap();
    assert!(far.heard_ago.is_some_and(|ago| ago > 20 * SECOND), "{far:?}");
    herd.cut.clear();
    herd.run(10 * SECOND);
    assert_eq!(standings(&herd, 0), "*+++");
    herd.kill(3);
    herd.run(3 * SECOND);
    assert_eq!(standings(&herd, 0), "*++-");
    // A server that starts while another is away has never heard from it.
    herd.kill(0);
    herd.start(0);
    herd.run(3 * SECOND);
    assert_eq!(standings(&herd, 0), "*++-", "others pass on its last word");
    let mut alone = Herd::new(2, &[(0, 1)], 6);
    alone.kill(1);
    alone.run(SECOND);
    assert_eq!(standings(&alone, 0), "*?");
}

#[test]
fn a_server_that_is_to_stop_says_so() {
    let mut herd = Herd::new(2, &[(0, 1)], 8);
    herd.run(3 * SECOND);
    let facts = HostFacts { draining: true, ..HostFacts::default() };
    herd.nodes[1].as_mut().unwrap().set_host_facts(facts);
    herd.run(3 * SECOND);
    let states: Vec<_> = view(&herd, 0).into_iter().map(|one| one.about.unwrap().state).collect();
    assert_eq!(states, ["ready", "draining"]);
}

#[test]
fn who_is_forgotten_is_unknown_everywhere() {
    let mut herd = Herd::new(3, &[(0, 1), (1, 2)], 9);
    herd.run(SECOND);
    herd.report(0, "kiwi", "+1+2", "1700000000");
    herd.run(SECOND);
    let now = herd.now();
    let node = herd.nodes[2].as_mut().unwrap();
    assert!(node.handle_forget("kiwi", now));
    assert!(!node.handle_forget("kiwi", now), "it is unknown by now");
    assert!(!node.handle_forget("nobody", now));
    herd.run(SECOND);
    for at in 0..3 {
        assert_eq!(herd.at_line(at, "kiwi"), None);
        assert_eq!(herd.nodes[at].as_ref().unwrap().clients(), 0);
    }
    // A client that was forgotten may come back.
    herd.report(0, "kiwi", "+3+4", "1700000009");
    herd.run(SECOND);
    assert!(herd.at_line(2, "kiwi").is_some_and(|line| line.contains("+3+4")));
}
