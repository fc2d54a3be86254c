//! Peers that come and go while nodes live, and nodes that take a new incarnation.

use crate::herd::{Herd, START_NS, name, peer};
use herd_node::{CloseReason, Event, Held, PeerState, Relinked};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn agree(herd: &Herd, client: &str, nodes: &[usize]) {
    let lines: Vec<_> = nodes.iter().map(|&at| herd.at_line(at, client)).collect();
    assert!(lines[0].is_some() && lines.iter().all(|line| *line == lines[0]), "{lines:?}");
}

/// Gives a node other peers; the herd as its config has it is those and itself.
fn relink(herd: &mut Herd, at: usize, others: &[usize]) -> Relinked {
    let members = others.iter().chain([&at]).map(|&at| name(at).into()).collect();
    let peers = others.iter().map(|&other| peer(at, other)).collect();
    let now = herd.now();
    let relinked = herd.nodes[at].as_mut().unwrap().set_neighbors(peers, members, now);
    herd.drain(at);
    relinked
}

fn states(herd: &Herd, at: usize) -> Vec<(String, PeerState)> {
    let node = herd.nodes[at].as_ref().unwrap();
    node.peers().map(|peer| (peer.name, peer.state)).collect()
}

#[test]
fn a_server_joins_by_one_peer_that_is_told_of_it() {
    // D is linked to C in its own config alone.
    let mut herd = Herd::with(4, &[(0, 1), (1, 2), (2, 3)], 1, |at, settings| {
        if at < 3 {
            settings.members.remove("D");
            settings.peers.retain(|peer| peer.name != "D");
        }
    });
    herd.report(0, "kiwi", "+1+2", "1700000001");
    herd.run(8 * SECOND);
    assert!(herd.at_line(3, "kiwi").is_none());
    let refused = |event: &(usize, Event)| {
        matches!(&event.1, Event::LinkDown { reason: CloseReason::Refused(_), .. })
    };
    assert!(herd.events.iter().any(refused), "it knocks, and is refused");
    let relinked = relink(&mut herd, 2, &[1, 3]);
    assert_eq!((relinked.added, relinked.removed), (vec!["D".to_owned()], Vec::new()));
    herd.run(8 * SECOND);
    agree(&herd, "kiwi", &[0, 1, 2, 3]);
    herd.report(3, "rhea", "+1+2", "1700000001");
    herd.report(1, "emu", "+1+2", "1700000001");
    herd.run(2 * SECOND);
    agree(&herd, "rhea", &[0, 1, 2, 3]);
    agree(&herd, "emu", &[0, 1, 2, 3]);
    // All know that it is one of them.
    let known = |herd: &Herd| {
        let servers = herd.nodes[0].as_ref().unwrap().herd(herd.now());
        servers.into_iter().map(|server| server.name).collect::<Vec<_>>()
    };
    assert_eq!(known(&herd), ["A", "B", "C", "D"]);

    let relinked = relink(&mut herd, 2, &[1]);
    assert_eq!((relinked.added, relinked.removed), (Vec::new(), vec!["D".to_owned()]));
    herd.run(8 * SECOND);
    assert_eq!(states(&herd, 2), [("B".to_owned(), PeerState::Up)]);
    assert_eq!(states(&herd, 3), [("C".to_owned(), PeerState::Down)]);
    assert_eq!(known(&herd), ["A", "B", "C"]);
    herd.report(0, "kiwi", "+3+4", "1700000002");
    herd.run(2 * SECOND);
    agree(&herd, "kiwi", &[0, 1, 2]);
    assert_ne!(herd.at_line(3, "kiwi"), herd.at_line(0, "kiwi"));
    // And again.
    relink(&mut herd, 2, &[1, 3]);
    herd.run(8 * SECOND);
    agree(&herd, "kiwi", &[0, 1, 2, 3]);
}

#[test]
fn links_that_stay_are_left_alone() {
    let mut herd = Herd::new(3, &[(0, 1), (1, 2)], 1);
    herd.run(2 * SECOND);
    let before = herd.events.len();
    let relinked = relink(&mut herd, 1, &[0, 2]);
    assert_eq!(relinked, Relinked::default());
    herd.run(2 * SECOND);
    assert_eq!(herd.events.len(), before, "{:?}", &herd.events[before..]);
}

#[test]
fn who_leaves_is_no_member_any_more_anywhere() {
    let mut herd = Herd::new(4, &[(0, 1), (1, 2), (2, 3)], 1);
    herd.run(2 * SECOND);
    herd.report(3, "kiwi", "+1+2", "1700000001");
    herd.run(3 * SECOND);
    let now = herd.now();
    let node = herd.nodes[3].as_mut().unwrap();
    assert_eq!(node.held_elsewhere(), Held::ByPeers);
    node.handle_leave(now);
    herd.drain(3);
    herd.run(SECOND);
    herd.kill(3);
    herd.run(SECOND);
    for at in 0..3 {
        let servers = herd.nodes[at].as_ref().unwrap().herd(herd.now());
        let names: Vec<_> = servers.iter().map(|server| &*server.name).collect();
        assert_eq!(names, ["A", "B", "C"], "as {} has it", name(at));
    }
    // It may come again.
    herd.start(3);
    herd.run(8 * SECOND);
    let servers = herd.nodes[0].as_ref().unwrap().herd(herd.now());
    assert_eq!(servers.len(), 4);
    agree(&herd, "kiwi", &[0, 1, 2, 3]);
}

/// Of a clock that is an hour ahead.
const AHEAD: u64 = START_NS.unsigned_abs() + 3_600_000_000_000;

/// Kills B, which has written, and starts it with other incarnations than a right clock would give.
fn reborn(incarnation: fn(u64) -> u64) -> Herd {
    let mut herd = Herd::with(3, &[(0, 1), (1, 2)], 1, move |at, settings| {
        if at == 1 {
            settings.incarnation = incarnation(settings.incarnation);
        }
    });
    herd.run(2 * SECOND);
    for second in 1..5 {
        herd.report(1, "kiwi", "+1+2", &format!("170000000{second}"));
    }
    herd.run(2 * SECOND);
    herd.kill(1);
    herd.run(SECOND);
    herd.start(1);
    // Before it has met anybody.
    herd.report(1, "early", "+5+6", "1700000001");
    herd.run(10 * SECOND);
    let renewed = herd.events.iter().filter(|(_, event)| matches!(event, Event::Renewed { .. }));
    assert_eq!(renewed.count(), 1, "{:?}", herd.events);
    herd.report(1, "kiwi", "+3+4", "1700000009");
    herd.run(2 * SECOND);
    agree(&herd, "kiwi", &[0, 1, 2]);
    assert!(herd.at_line(0, "kiwi").unwrap().ends_with("+3+4 1700000009\n"));
    agree(&herd, "early", &[0, 1, 2]);
    for at in 0..3 {
        assert!(states(&herd, at).iter().all(|(_, state)| *state == PeerState::Up));
    }
    herd
}

#[test]
fn a_server_that_comes_back_with_its_old_incarnation_takes_a_new_one() {
    reborn(|_| 5);
}

#[test]
fn a_server_whose_clock_was_set_back_takes_a_later_incarnation() {
    let herd = reborn(|incarnation| AHEAD - incarnation);
    // Its heartbeats count again.
    let servers = herd.nodes[0].as_ref().unwrap().herd(herd.now());
    let b = servers.iter().find(|server| server.name == "B").unwrap();
    assert!(b.heard_ago.unwrap() < Duration::from_secs(15), "{b:?}");
}

#[test]
fn no_two_processes_have_one_incarnation_though_the_clock_is_set_back_each_time() {
    let mut herd = Herd::with(2, &[(0, 1)], 1, |at, settings| {
        if at == 1 {
            settings.incarnation = AHEAD - settings.incarnation;
        }
    });
    herd.run(2 * SECOND);
    for (client, time) in [("first", "1700000001"), ("second", "1700000002")] {
        herd.kill(1);
        herd.run(SECOND);
        herd.start(1);
        let before = herd.events.len();
        let renewed =
            |(at, event): &(usize, Event)| *at == 1 && matches!(event, Event::Renewed { .. });
        while !herd.events.iter().skip(before).any(renewed) {
            assert!(herd.events.len() < before + 100, "{:?}", herd.events);
            if !herd.carry() {
                herd.pass(SECOND);
            }
        }
        // The first update of the new incarnation, before any peer knows of it.
        herd.report(1, client, "+1+2", time);
        herd.run(10 * SECOND);
    }
    agree(&herd, "first", &[0, 1]);
    agree(&herd, "second", &[0, 1]);
}

#[test]
fn two_servers_of_one_name_pass_each_other_ever_more_rarely_and_say_so() {
    // A second B, elsewhere in the herd, which was started later.
    let mut herd = Herd::with(4, &[(0, 1), (0, 2), (2, 3)], 1, |at, settings| {
        if at == 3 {
            settings.name = "B".into();
            settings.incarnation = 1000;
            settings.peers.retain(|peer| peer.name == "C");
        }
        if at == 2 {
            for peer in &mut settings.peers {
                if peer.name == "D" {
                    peer.name = "B".into();
                }
            }
        }
    });
    herd.kill(3);
    herd.run(90 * SECOND);
    herd.start(3);
    herd.run(120 * SECOND);
    let told = |wanted: fn(&Event) -> bool| {
        herd.events.iter().filter(|(at, event)| *at == 1 && wanted(event)).count()
    };
    let renewed = told(|event| matches!(event, Event::Renewed { .. }));
    assert!((2..=9).contains(&renewed), "{renewed} times: {:?}", herd.events);
    assert!(told(|event| matches!(event, Event::SecondOfOwnName)) > 0, "{:?}", herd.events);
    let alarms = herd.nodes[1].as_ref().unwrap().about(herd.now()).alarms;
    assert!(alarms.iter().any(|alarm| alarm.kind == "second-of-name"), "{alarms:?}");
    // What both took reaches all the same.
    herd.report(1, "kiwi", "+1+2", "1700000001");
    herd.report(3, "rhea", "+1+2", "1700000001");
    herd.run(40 * SECOND);
    agree(&herd, "kiwi", &[0, 1, 2, 3]);
    agree(&herd, "rhea", &[0, 1, 2, 3]);
}
