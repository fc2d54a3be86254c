//! How links come up, end, and are refused.

use crate::herd::Herd;
use herd_node::{CloseReason, Event, PeerId, PeerState};
use herd_proto::Command;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn states(herd: &Herd, at: usize) -> Vec<PeerState> {
    herd.nodes[at].as_ref().unwrap().peers().map(|peer| peer.state).collect()
}

#[test]
fn two_neighbors_end_with_one_link_though_both_dial_at_first() {
    for seed in 0..50 {
        let mut herd = Herd::new(2, &[(0, 1)], seed);
        herd.run(3 * SECOND);
        assert_eq!(states(&herd, 0), [PeerState::Up], "seed {seed}");
        assert_eq!(states(&herd, 1), [PeerState::Up], "seed {seed}");
        let quiet = herd.events.len();
        herd.run(60 * SECOND);
        assert_eq!(herd.events.len(), quiet, "seed {seed}: {:?}", &herd.events[quiet..]);
    }
}

#[test]
fn a_report_reaches_all_and_a_server_that_comes_back_catches_up_within_a_second() {
    for seed in 0..20 {
        let edges = [(0, 1), (0, 2), (1, 3), (2, 3), (2, 4), (3, 4)];
        let mut herd = Herd::new(5, &edges, seed);
        herd.run(SECOND);
        herd.report(0, "kiwi", "+1+2", "1700000000");
        herd.run(SECOND);
        for killed in 0..5 {
            herd.kill(killed);
            herd.run(20 * SECOND);
            herd.report((killed + 1) % 5, "kiwi", "+3+4", &format!("170000000{}", killed + 1));
            herd.start(killed);
            herd.run(SECOND);
            let lines: Vec<_> = (0..5).map(|at| herd.at_line(at, "kiwi").unwrap()).collect();
            assert!(lines.iter().all(|line| *line == lines[0]), "seed {seed}: {lines:?}");
            assert!(lines[0].ends_with(&format!("170000000{}\n", killed + 1)), "{lines:?}");
        }
    }
}

#[test]
fn both_halves_of_a_split_go_on_and_merge() {
    let mut herd = Herd::new(4, &[(0, 1), (1, 2), (2, 3)], 7);
    herd.run(SECOND);
    herd.cut.insert((1, 2), true);
    herd.run(10 * SECOND);
    let node = herd.nodes[1].as_ref().unwrap();
    assert!(node.readiness(herd.now()).ready, "a lost neighbor does not make a server unready");
    herd.report(0, "left", "+1+2", "1700000001");
    herd.report(3, "right", "+3+4", "1700000001");
    herd.run(SECOND);
    assert!(herd.at_line(1, "left").is_some() && herd.at_line(1, "right").is_none());
    assert!(herd.at_line(2, "right").is_some() && herd.at_line(2, "left").is_none());
    herd.cut.clear();
    herd.run(6 * SECOND);
    for at in 0..4 {
        assert!(herd.at_line(at, "left").is_some() && herd.at_line(at, "right").is_some());
    }
}

#[test]
fn a_silent_neighbor_is_given_up_and_found_again() {
    let mut herd = Herd::new(2, &[(0, 1)], 3);
    herd.run(SECOND);
    herd.cut.insert((0, 1), true);
    herd.run(2 * SECOND);
    let gave_up = |event: &(usize, Event)| {
        matches!(&event.1, Event::LinkDown { reason: CloseReason::Dead(_), .. })
    };
    assert!(herd.events.iter().any(gave_up), "{:?}", herd.events);
    herd.cut.clear();
    herd.run(6 * SECOND);
    assert_eq!(states(&herd, 0), [PeerState::Up]);
    assert_eq!(states(&herd, 1), [PeerState::Up]);
}

#[test]
fn a_report_from_the_future_hides_only_a_minute_of_later_ones() {
    let mut herd = Herd::new(2, &[(0, 1)], 5);
    herd.run(SECOND);
    herd.report(0, "kiwi", "+1+2", "9000000000");
    herd.run(SECOND);
    let told = |event: &(usize, Event)| matches!(event.1, Event::Clamped { .. });
    assert_eq!(herd.events.iter().filter(|event| told(event)).count(), 1);
    // The clock started at 1,700,000,000 s and has run for some seconds.
    herd.report(1, "kiwi", "+3+4", "1700000050");
    herd.run(SECOND);
    assert!(herd.at_line(0, "kiwi").unwrap().ends_with(" +1+2 9000000000\n"));
    herd.report(1, "kiwi", "+5+6", "1700000070");
    herd.run(SECOND);
    for at in 0..2 {
        assert!(herd.at_line(at, "kiwi").unwrap().ends_with(" +5+6 1700000070\n"));
    }
}

#[test]
fn a_line_of_a_foreign_server_counts_the_same_whenever_it_is_heard() {
    let mut herd = Herd::new(2, &[(0, 1)], 6);
    herd.run(SECOND);
    let hear = |herd: &mut Herd, at: usize, line: &str| {
        let Command::At(line) = Command::parse(line.as_bytes()) else { panic!("{line}") };
        let now = herd.now();
        herd.nodes[at].as_mut().unwrap().handle_relay(&line, now);
        herd.drain(at);
    };
    // Two reports of a server whose clock is ten minutes ahead, told again and again.
    let (first, second) = ("AT F +0.1 kiwi +1+2 1700000600", "AT F +0.1 kiwi +3+4 1700000601");
    for _ in 0..3 {
        hear(&mut herd, 0, first);
        hear(&mut herd, 1, second);
        herd.run(SECOND);
        for at in 0..2 {
            assert_eq!(herd.at_line(at, "kiwi").unwrap(), format!("{second}\n"));
        }
    }
    let sent = |herd: &Herd| {
        let nodes = herd.nodes.iter().flatten();
        nodes.flat_map(herd_node::Node::peers).map(|peer| peer.counters.records_sent).sum::<u64>()
    };
    assert!(sent(&herd) <= 2, "{} records for two reports", sent(&herd));
    // What can be believed is newer, however old.
    herd.report(0, "kiwi", "+5+6", "1600000000");
    herd.run(SECOND);
    assert!(herd.at_line(1, "kiwi").unwrap().ends_with(" kiwi +5+6 1600000000\n"));
}

#[test]
fn a_foreign_server_may_speak_before_it_has_read_a_hello() {
    let mut herd = Herd::new(2, &[(0, 1)], 8);
    herd.kill(1);
    let now = herd.now();
    let node = herd.nodes[0].as_mut().unwrap();
    let link = node.handle_connected(PeerId(0), now).unwrap();
    let (line, answer) = ("AT B +0.5 kiwi +1+2 1699999999\n", "? GEOHERD/1 news A 1 -\n");
    node.handle_link_input(link, format!("{line}{answer}{line}").as_bytes(), now);
    herd.drain(0);
    assert_eq!(states(&herd, 0), [PeerState::Up], "{:?}", herd.events);
    assert_eq!(herd.at_line(0, "kiwi").as_deref(), Some(line));
}
