//! Wall clocks that differ, and clocks that are set while nodes run.

use crate::herd::{Herd, START_NS};
use crate::scripted::{Scripted, messages};
use herd_node::{CloseReason, Event, PeerState, Refusal};
use herd_proto::peer::Message;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const SECOND_NS: i64 = 1_000_000_000;

fn is_linked(herd: &Herd, at: usize) -> bool {
    herd.nodes[at].as_ref().unwrap().peers().all(|peer| peer.state == PeerState::Up)
}

fn alarms(herd: &Herd, at: usize) -> Vec<String> {
    let about = herd.nodes[at].as_ref().unwrap().about(herd.now_at(at));
    about.alarms.into_iter().map(|alarm| alarm.kind).collect()
}

/// How often each node has refused a peer for its clock.
fn refusals(herd: &Herd, at: usize) -> usize {
    let is_it = |(who, event): &&(usize, Event)| {
        let Event::LinkDown { reason: CloseReason::Refused(refusal), .. } = event else {
            return false;
        };
        *who == at && matches!(refusal, Refusal::ClocksDiffer { .. })
    };
    herd.events.iter().filter(is_it).count()
}

#[test]
fn servers_link_whose_clocks_differ_by_less_than_twice_the_skew() {
    for ahead_s in [-118, 62, 118] {
        let mut herd = Herd::new(2, &[(0, 1)], 1);
        herd.ahead_ns[1] = ahead_s * SECOND_NS;
        herd.run(2 * SECOND);
        herd.report(1, "kiwi", "+1+2", "1700000000");
        // A client with a clock that is ahead as well.
        herd.report(1, "rhea", "+1+2", "1700000170");
        herd.run(60 * SECOND);
        assert!(is_linked(&herd, 0) && herd.at_line(0, "kiwi").is_some(), "{ahead_s} s");
        assert_eq!((refusals(&herd, 0), refusals(&herd, 1)), (0, 0));
        let downs = herd.events.iter().filter(|(_, e)| matches!(e, Event::LinkDown { .. }));
        let no_more = downs.filter(|(_, event)| !format!("{event:?}").contains("AlreadyLinked"));
        assert_eq!(no_more.count(), 1, "the one that both dialed at first: {:?}", herd.events);
    }
}

#[test]
fn clocks_that_differ_more_keep_two_servers_apart_until_one_is_set_and_both_say_why() {
    for ahead_s in [-7200, -130, 130, 7200] {
        let mut herd = Herd::new(2, &[(0, 1)], 1);
        herd.ahead_ns[1] = ahead_s * SECOND_NS;
        herd.run(20 * SECOND);
        herd.report(1, "kiwi", "+1+2", "1700000000");
        for at in 0..2 {
            assert!(refusals(&herd, at) >= 4, "at least every 5 s, by {at}: {:?}", herd.events);
            assert_eq!(alarms(&herd, at), ["clock-differs"]);
        }
        herd.ahead_ns[1] = 0;
        herd.run(6 * SECOND);
        assert!(is_linked(&herd, 0) && is_linked(&herd, 1), "{ahead_s} s: {:?}", herd.events);
        assert!(herd.at_line(0, "kiwi").is_some());
    }
}

#[test]
fn a_server_whose_clock_is_set_wrong_is_cut_off_and_whole_again_when_it_is_set_right() {
    let mut herd = Herd::new(3, &[(0, 1), (1, 2), (0, 2)], 1);
    herd.run(3 * SECOND);
    assert!(is_linked(&herd, 1));
    herd.ahead_ns[1] = 7200 * SECOND_NS;
    herd.run(2 * SECOND);
    for peer in herd.nodes[1].as_ref().unwrap().peers() {
        assert_eq!(peer.state, PeerState::Down);
    }
    assert!(is_linked(&herd, 0) || refusals(&herd, 0) > 0);
    assert_eq!(alarms(&herd, 1), ["own-clock-wrong"]);
    assert_eq!(alarms(&herd, 0), ["clock-differs"], "its clock agrees with another");
    // What it takes meanwhile, by its own clock.
    herd.report(1, "kiwi", "+1+2", "1700007200");
    herd.report(1, "rhea", "+1+2", "1699990000");
    herd.ahead_ns[1] = 0;
    herd.run(10 * SECOND);
    for at in 0..3 {
        assert!(is_linked(&herd, at));
        assert!(herd.at_line(at, "kiwi").is_some(), "{at} lacks kiwi");
        assert!(herd.at_line(at, "rhea").is_some(), "{at} lacks rhea");
    }
    // The client's later reports count, too.
    herd.report(2, "kiwi", "+3+4", "1700000090");
    herd.run(SECOND);
    for at in 0..3 {
        assert!(herd.at_line(at, "kiwi").unwrap().contains("+3+4"));
    }
}

#[test]
fn a_refusal_names_both_servers_and_the_difference() {
    let mut node = Scripted::new(|_| {});
    let theirs_ms = START_NS / 1_000_000 + 130_000;
    let link = node.accept(&format!("GEOHERD/1 news A 7 at={theirs_ms}"));
    assert_eq!(node.closing, [link]);
    let said = node.said(link);
    assert!(said.starts_with(b"GEOHERD/1 news B 1 at="), "the peer is to see the difference, too");
    let [Message::Bye { reason }] = messages(&said)[..] else { panic!("{}", said.escape_ascii()) };
    assert!(
        reason.starts_with(
            "the clock of \"A\" is 130s ahead of the clock of \"B\", which is more than 120s"
        ),
        "{reason}"
    );
}

#[test]
#[expect(clippy::wildcard_enum_match_arm, reason = "one kind of message is looked for")]
fn a_clock_that_is_found_wrong_by_a_ping_ends_the_link() {
    let mut node = Scripted::new(|_| {});
    let link = node.accept("GEOHERD/1 news A 7 -");
    let said = node.said(link);
    let ping = messages(&said).into_iter().find_map(|message| match message {
        Message::Ping { sent, unix_ns } => Some((sent, unix_ns)),
        _ => None,
    });
    let (sent, unix_ns) = ping.expect("a new link is pinged at once");
    assert_eq!(unix_ns, START_NS);
    // It may have answered at any moment of the 10 s that it took.
    node.pass(10 * SECOND / 10);
    let near = Message::Pong { sent, unix_ns: START_NS + 121 * SECOND_NS - SECOND_NS / 10 };
    node.hear_message(link, &near);
    assert_eq!(node.closing, []);
    node.hear_message(link, &Message::Pong { sent, unix_ns: START_NS - 125 * SECOND_NS });
    assert_eq!(node.closing, [link]);
    assert!(node.ends()[0].to_string().starts_with("refused: the clock of \"B\" is 125"));
}
