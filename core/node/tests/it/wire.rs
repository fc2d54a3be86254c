//! Frames of other versions, and input that is none: what a node does with them.

use crate::herd::START_NS;
use crate::scripted::{Scripted, batch, messages};
use herd_node::{CloseReason, LinkId};
use herd_proto::Command;
use herd_proto::peer::Message;
use std::time::Duration;

const HELLO_OF_A: &str = "GEOHERD/1 news A 7 -";

fn linked() -> (Scripted, LinkId) {
    let mut node = Scripted::new(|_| {});
    let link = node.accept(HELLO_OF_A);
    let said = node.said(link);
    assert!(said.starts_with(b"GEOHERD/1 news B 1 at=1700000000000\n"), "{}", said.escape_ascii());
    (node, link)
}

/// A batch of one frame: its type, and its fields.
fn frame(kind: u8, fields: &[u8]) -> Vec<u8> {
    // A batch whose only frame is a BYE of the same length, with other bytes in it and a checksum for those.
    let mut body = vec![u8::try_from(fields.len() + 1).unwrap(), kind];
    body.extend(fields);
    sealed(&body)
}

fn sealed(body: &[u8]) -> Vec<u8> {
    let [a, b, c, ..] = u32::try_from(body.len()).unwrap().to_le_bytes();
    let seed = u64::from_le_bytes(*b"GEOHERD1");
    let sum = twox_hash::XxHash3_64::oneshot_with_seed(seed, body).to_le_bytes();
    let mut bytes = vec![a, b, c, a ^ b ^ c];
    bytes.extend(&sum[..4]);
    bytes.extend(body);
    bytes
}

fn is_pong(message: &Message<'_>) -> bool {
    matches!(message, Message::Pong { sent: 3, .. })
}

#[test]
fn an_unknown_frame_that_may_be_skipped_is() {
    let (mut node, link) = linked();
    node.hear(link, &frame(0x7f, &[1, 2, 3, 4]));
    assert_eq!(node.ends(), [] as [&CloseReason; 0]);
    node.hear_message(link, &Message::Ping { sent: 3, unix_ns: START_NS });
    assert!(messages(&node.said(link)).iter().any(is_pong), "the link goes on");
}

#[test]
fn fields_of_a_later_version_are_skipped() {
    let (mut node, link) = linked();
    let ping = batch(&Message::Ping { sent: 3, unix_ns: START_NS });
    // Behind the header and the length.
    let mut fields = ping[9..].to_vec();
    fields.extend(b"something new");
    let kind = fields.remove(0);
    node.hear(link, &frame(kind, &fields));
    assert!(messages(&node.said(link)).iter().any(is_pong), "it is a ping all the same");
}

#[test]
fn an_unknown_frame_that_must_be_understood_ends_the_link_and_both_sides_log_why() {
    let (mut node, link) = linked();
    node.hear(link, &frame(0xff, &[1]));
    check_end(&mut node, link, "unknown frame type 0xff");
}

#[test]
fn malformed_input_ends_the_link_and_both_sides_log_why() {
    let ping = batch(&Message::Ping { sent: 3, unix_ns: START_NS });
    let corrupt = |at: usize| {
        let mut bytes = ping.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    for (bytes, words) in [
        (b"REFU".to_vec(), "bad batch header"),
        (corrupt(0), "bad batch header"),
        (corrupt(5), "bad checksum"),
        (corrupt(12), "bad checksum"),
        (sealed(&[0]), "bad frame length"),
        (sealed(&[200, 1, 1]), "bad frame length"),
    ] {
        let (mut node, link) = linked();
        node.hear(link, &bytes);
        check_end(&mut node, link, words);
        assert_eq!(node.node.peers().next().unwrap().counters.faults, 1);
    }
}

#[test]
fn a_peer_that_broke_the_protocol_is_kept_away_for_a_while() {
    let (mut node, link) = linked();
    node.hear(link, b"REFU");
    node.lose(link);
    let again = node.accept(HELLO_OF_A);
    assert_eq!(node.closing, [link, again]);
    let said = node.said(again);
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.starts_with("REFUSED \"A\" broke the protocol and is kept away for another 1s"),
        "{said}"
    );
    node.lose(again);
    node.pass(Duration::from_secs(1));
    let later = node.accept(HELLO_OF_A);
    assert!(!node.closing.contains(&later));
}

#[test]
fn what_the_replica_cannot_go_on_with_ends_the_link_and_both_sides_hear_why() {
    let (mut node, link) = linked();
    node.hear_message(link, &Message::Watermark { origin: 9, version: 1 });
    check_end(&mut node, link, "origin 9 was not introduced");
}

#[test]
fn the_last_words_of_the_other_side_are_told() {
    let (mut node, link) = linked();
    node.hear_message(link, &Message::Bye { reason: "a frame of type 0xee\n" });
    assert_eq!(node.closing, [link]);
    let told: Vec<String> = node.ends().iter().map(ToString::to_string).collect();
    assert_eq!(told, ["ended by the other side: a frame of type 0xee\\n"]);
    assert_eq!(
        Scripted::byes(&node.said(link)),
        [] as [&str; 0],
        "two servers would go on for ever"
    );
}

#[test]
fn a_neighbor_that_falls_silent_is_told_so() {
    let (mut node, link) = linked();
    node.pass(Duration::from_secs(2));
    let byes = Scripted::byes(&node.said(link));
    assert_eq!(byes, ["nothing received for 1.5s"], "the way there may be whole");
}

#[test]
fn a_distant_neighbor_may_be_silent_for_longer() {
    let seconds = Duration::from_secs;
    let mut node = Scripted::new(|settings| settings.peers[0].dead_after = seconds(5));
    let (far, near) = (node.accept(HELLO_OF_A), node.accept("GEOHERD/1 news C 7 -"));
    assert_eq!(node.node.link_patience(far), Some(seconds(20)));
    node.pass(seconds(4));
    assert_eq!(node.closing, [near]);
    node.pass(seconds(2));
    assert_eq!(node.closing, [near, far]);
    assert_eq!(node.ends()[1].to_string(), "nothing received for 5s");
}

#[test]
fn a_server_that_refuses_an_answer_says_so_in_a_frame() {
    // C has answered the hello, so it takes what comes for frames.
    let mut node = Scripted::new(|_| {});
    let link = node.connect(1);
    node.hear(link, b"GEOHERD/1 olds C 1 -\n");
    check_end(&mut node, link, "this is herd \"news\", not \"olds\"");
}

#[test]
fn a_server_that_refuses_a_hello_says_so_in_a_line() {
    let mut node = Scripted::new(|_| {});
    let link = node.accept("GEOHERD/1 olds A 1 -");
    let said = node.said(link);
    assert!(said.starts_with(b"REFUSED this is herd"), "{}", said.escape_ascii());
    assert_eq!(node.closing, [link]);
}

#[test]
fn every_refusal_says_what_to_do() {
    for (hello, words) in [
        ("GEOHERD/1 olds A 1 -", "give both servers the same herd.name"),
        ("GEOHERD/1 news B 1 -", "two servers of one name run"),
        ("GEOHERD/1 news X 1 -", "name it there and send SIGHUP"),
        ("GEOHERD/1 news A 1 to=C", "fix servers.C.listen"),
        ("GEOHERD/1 news A 1 frames=2-2", "run programs that have one in common"),
    ] {
        let mut node = Scripted::new(|_| {});
        let link = node.accept(hello);
        let said = node.said(link);
        let said = String::from_utf8_lossy(&said);
        assert!(said.starts_with("REFUSED ") && said.contains(words), "{hello}: {said}");
        let [reason] = node.ends()[..] else { panic!("{:?}", node.ends()) };
        assert!(reason.to_string().contains(words), "{reason}");
    }
    // The one that this side finds out when it has dialed.
    let mut node = Scripted::new(|_| {});
    let link = node.connect(0);
    node.hear(link, b"GEOHERD/1 news C 1 -\n");
    check_end(&mut node, link, "fix servers.A.listen");
}

#[track_caller]
fn check_end(node: &mut Scripted, link: LinkId, words: &str) {
    assert_eq!(node.closing, [link]);
    let [told] = Scripted::byes(&node.said(link)).try_into().expect("one BYE");
    assert!(told.contains(words), "{told}");
    let [reason] = node.ends()[..] else { panic!("{:?}", node.ends()) };
    assert!(reason.to_string().contains(words), "{reason}");
}

#[test]
fn an_alarm_is_raised_when_half_of_all_streams_are_in_use() {
    let names: Vec<String> = (0..600).map(|number| format!("server-{number}")).collect();
    let mut node = Scripted::new(|settings| {
        settings.members.extend(names.iter().map(|name| name.as_str().into()));
    });
    let link = node.accept(HELLO_OF_A);
    let introduce = |node: &mut Scripted, from: u16, to: u16| {
        for (number, name) in (from..to).zip(names.iter().skip(usize::from(from))) {
            node.hear_message(link, &Message::Origin { number, server: name, incarnation: 5 });
        }
        // Other frames keep the link, and the alarm is looked for once a second.
        for sent in 0..4 {
            node.hear_message(link, &Message::Ping { sent, unix_ns: START_NS });
            node.pass(Duration::from_millis(500));
        }
        let alarms = node.node.about(node.now()).alarms;
        alarms.iter().any(|alarm| alarm.kind == "origins-half")
    };
    assert!(!introduce(&mut node, 0, 500));
    assert!(introduce(&mut node, 500, 512));
    assert_eq!(node.closing, []);
}

#[test]
fn what_peers_sent_and_never_committed_and_tombstones_count_against_the_ceiling() {
    for tombstone in [false, true] {
        let mut node = Scripted::new(|settings| settings.ceiling.clients = 2);
        let link = node.accept(HELLO_OF_A);
        node.hear_message(link, &Message::Origin { number: 4, server: "A", incarnation: 7 });
        for (sequence, key) in [(5, b"rkiwi".as_slice()), (6, b"rrhea")] {
            node.hear_message(
                link,
                &Message::Entry {
                    origin: 4,
                    sequence,
                    key,
                    effective_ns: START_NS,
                    received_ns: START_NS,
                    tombstone,
                    value: if tombstone { b"" } else { b"A +1+2 1700000000 +0.1" },
                },
            );
        }
        let Command::Iamat(emu) = Command::parse(b"IAMAT emu +1+2 1700000000") else { panic!() };
        assert_eq!(node.node.handle_report(&emu, node.now()), None, "tombstones: {tombstone}");
        assert_eq!(node.node.counters().turned_away, 1);
    }
}
