//! Processes that are run only now and then keep their links.

use crate::herd::Herd;
use herd_node::{Event, PeerState};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// Runs the nodes in `starved` for a tenth of the time, with pauses of half a second to two seconds.
fn run_in_bursts(herd: &mut Herd, starved: &[usize], rounds: usize) {
    for _ in 0..rounds {
        for &at in starved {
            let pause = u32::try_from(500 + herd.chance.below(1500)).unwrap();
            herd.stop(at, pause * MS);
        }
        herd.run(2200 * MS);
    }
}

fn downs(herd: &Herd) -> Vec<String> {
    let down = |(at, event): &(usize, Event)| {
        let Event::LinkDown { reason, .. } = event else { return None };
        Some(format!("{at}: {reason}"))
    };
    herd.events.iter().filter_map(down).collect()
}

#[test]
fn processes_that_are_stopped_for_up_to_two_seconds_keep_their_links() {
    for (seed, starved) in [(1, &[0, 1, 2][..]), (2, &[1]), (3, &[0, 2])] {
        let mut herd = Herd::new(3, &[(0, 1), (1, 2), (0, 2)], seed);
        herd.run(3 * SECOND);
        let before = downs(&herd).len();
        run_in_bursts(&mut herd, starved, 40);
        assert_eq!(downs(&herd)[before..], [""; 0], "seed {seed}");
        herd.report(0, "kiwi", "+1+2", "1700000001");
        run_in_bursts(&mut herd, starved, 4);
        herd.run(SECOND);
        for at in 0..3 {
            assert!(herd.at_line(at, "kiwi").is_some(), "seed {seed}, {at}");
        }
    }
}

#[test]
fn processes_that_are_starved_from_their_start_link_at_all() {
    let mut herd = Herd::new(3, &[(0, 1), (1, 2), (0, 2)], 5);
    run_in_bursts(&mut herd, &[0, 1, 2], 10);
    herd.run(100 * MS);
    for node in herd.nodes.iter().flatten() {
        assert!(node.peers().all(|peer| peer.state == PeerState::Up), "{:?}", herd.events);
        assert_eq!(node.peers().map(|peer| peer.counters.timeouts).sum::<u64>(), 0);
    }
}

#[test]
fn a_process_that_is_stopped_for_long_is_given_up_and_counted() {
    let mut herd = Herd::new(2, &[(0, 1)], 6);
    herd.run(3 * SECOND);
    herd.stop(1, 60 * SECOND);
    herd.run(7 * SECOND);
    let node = herd.nodes[0].as_ref().unwrap();
    let peer = node.peers().next().unwrap();
    assert_ne!(peer.state, PeerState::Up);
    assert_eq!(peer.counters.timeouts, 1);
}
