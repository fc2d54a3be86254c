//! What a node makes of frames that are none of its version, or none at all.

use crate::scripted::Scripted;
use herd_node::{CloseReason, LinkId};
use herd_proto::peer::Message;

const HELLO_OF_A: &str = "GEOHERD/1 news A 7 -";

fn linked() -> (Scripted, LinkId) {
    let mut node = Scripted::new(|_| {});
    let link = node.accept(HELLO_OF_A);
    let said = node.said(link);
    assert!(said.starts_with(b"GEOHERD/1 news B 1 -\n"), "{}", said.escape_ascii());
    (node, link)
}

#[test]
fn an_unknown_frame_that_may_be_skipped_is() {
    let (mut node, link) = linked();
    node.hear(link, &[5, 0, 0, 0, 0x7f, 1, 2, 3, 4]);
    assert_eq!(node.ends(), [] as [&CloseReason; 0]);
    node.hear_message(link, &Message::Ping { sent: 3 });
    let mut pong = Vec::new();
    Message::Pong { sent: 3 }.encode(&mut pong);
    assert!(node.said(link).starts_with(&pong), "the link goes on");
}

#[test]
fn an_unknown_frame_that_must_be_understood_ends_the_link_and_both_sides_hear_why() {
    let (mut node, link) = linked();
    node.hear(link, &[2, 0, 0, 0, 0xff, 1]);
    check_end(&mut node, link, "a frame of type 0xff, which this version");
}

#[test]
fn malformed_frames_end_the_link_and_both_sides_hear_why() {
    for (bytes, words) in [
        (&[3, 0, 0, 0, 0x84, 1, 2][..], "a malformed frame of type 0x84"),
        (&[1, 0, 0, 0, 0xa0], "a malformed frame of type 0xa0"),
        (&[0, 0, 0, 0], "a frame of 0 bytes"),
        (b"REFU", "a frame of 1430668626 bytes"),
    ] {
        let (mut node, link) = linked();
        node.hear(link, bytes);
        check_end(&mut node, link, words);
    }
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
fn a_neighbour_that_falls_silent_is_told_so() {
    let (mut node, link) = linked();
    node.pass(std::time::Duration::from_secs(2));
    let byes = Scripted::byes(&node.said(link));
    assert_eq!(byes, ["nothing heard for 1.5s"], "the way there may be whole");
}

#[test]
fn a_distant_neighbour_may_be_silent_for_longer() {
    let seconds = std::time::Duration::from_secs;
    let mut node = Scripted::new(|settings| settings.peers[0].dead_after = seconds(5));
    let (far, near) = (node.accept(HELLO_OF_A), node.accept("GEOHERD/1 news C 7 -"));
    assert_eq!(node.node.link_dead_after(far), Some(seconds(5)));
    node.pass(seconds(4));
    assert_eq!(node.closing, [near]);
    node.pass(seconds(2));
    assert_eq!(node.closing, [near, far]);
    assert_eq!(node.ends()[1].to_string(), "nothing heard for 5s");
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
        ("GEOHERD/1 news A 1 to=C", "mend servers.C.listen"),
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
    check_end(&mut node, link, "mend servers.A.listen");
}

#[track_caller]
fn check_end(node: &mut Scripted, link: LinkId, words: &str) {
    assert_eq!(node.closing, [link]);
    let [told] = Scripted::byes(&node.said(link)).try_into().expect("one BYE");
    assert!(told.contains(words), "{told}");
    let [reason] = node.ends()[..] else { panic!("{:?}", node.ends()) };
    assert!(reason.to_string().contains(words), "{reason}");
}
