//! Two connections under one server's name: of one life, of two, of two servers.

use crate::scripted::Scripted;
use herd_node::{CloseReason, LinkId};
use herd_proto::peer::{Decoded, Message};
use std::time::Duration;

const OLD: &str = "GEOHERD/1 news A 7 -";
const NEW: &str = "GEOHERD/1 news A 8 -";

/// The numbers of the pings among `bytes`, which may begin with a hello.
fn pings(bytes: &[u8]) -> Vec<u64> {
    let start = if bytes.starts_with(b"GEOHERD") {
        bytes.iter().position(|&b| b == b'\n').unwrap() + 1
    } else {
        0
    };
    let mut rest = &bytes[start..];
    let mut pings = Vec::new();
    while let Some((decoded, taken)) = Message::decode(rest).unwrap() {
        if let Decoded::Message(Message::Ping { sent }) = decoded {
            pings.push(sent);
        }
        rest = &rest[taken..];
    }
    pings
}

/// One that lives is linked, and another has said hello.
fn contested() -> (Scripted, LinkId, LinkId) {
    let mut node = Scripted::new(|_| {});
    let old = node.accept(OLD);
    node.said(old);
    node.pass(Duration::from_millis(10));
    let new = node.accept(NEW);
    assert_eq!(node.said(new), b"", "it waits");
    (node, old, new)
}

#[test]
fn a_second_living_server_is_refused() {
    let (mut node, old, new) = contested();
    let [asked] = pings(&node.said(old))[..] else { panic!("the old one is asked") };
    // What was on its way before proves nothing.
    node.hear_message(old, &Message::Pong { sent: asked - 1 });
    assert_eq!(node.closing, []);
    node.hear_message(old, &Message::Pong { sent: asked });
    assert_eq!(node.closing, [new]);
    let said = node.said(new);
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("REFUSED another living server of the name \"A\""), "{said}");
    let [CloseReason::Refused(_)] = node.ends()[..] else { panic!("{:?}", node.ends()) };
    // The first goes on as if nothing had been.
    node.hear_message(old, &Message::Ping { sent: 5 });
    assert!(!node.said(old).is_empty());
}

#[test]
fn a_second_living_server_at_the_address_that_is_dialed_is_refused_in_a_frame() {
    let mut node = Scripted::new(|_| {});
    let old = node.accept("GEOHERD/1 news C 7 -");
    node.said(old);
    let new = node.connect(1);
    node.hear(new, b"GEOHERD/1 news C 8 -\n");
    let [asked] = pings(&node.said(old))[..] else { panic!("the old one is asked") };
    node.hear_message(old, &Message::Pong { sent: asked });
    assert_eq!(node.closing, [new]);
    let [bye] = Scripted::byes(&node.said(new)).try_into().unwrap();
    assert!(bye.contains("another living server"), "{bye}");
}

#[test]
fn a_server_that_was_started_anew_takes_its_place_as_soon_as_the_old_connection_ends() {
    let (mut node, old, new) = contested();
    node.lose(old);
    assert!(node.said(new).starts_with(b"GEOHERD/1 news B 1 -\n"));
    assert_eq!(node.closing, []);
}

#[test]
fn a_server_that_was_started_anew_takes_its_place_when_the_old_one_does_not_answer() {
    let (mut node, old, new) = contested();
    // It says something that was on its way, but no answer.
    node.hear_message(old, &Message::Ping { sent: 1 });
    node.pass(Duration::from_millis(700));
    assert_eq!(node.closing, []);
    node.pass(Duration::from_millis(100));
    assert_eq!(node.closing, [old]);
    assert_eq!(node.ends(), [&CloseReason::Outlived]);
    assert!(node.said(new).starts_with(b"GEOHERD/1 news B 1 -\n"));
}

#[test]
fn what_a_newcomer_says_while_it_waits_is_heard_once_it_is_let_in() {
    let mut node = Scripted::new(|_| {});
    let old = node.accept("GEOHERD/1 news C 7 -");
    node.said(old);
    // It was dialed and has answered, so it speaks at once.
    let new = node.connect(1);
    let mut bytes = b"GEOHERD/1 news C 8 -\n".to_vec();
    Message::Ping { sent: 77 }.encode(&mut bytes);
    node.hear(new, &bytes);
    node.said(new);
    node.lose(old);
    let mut pong = Vec::new();
    Message::Pong { sent: 77 }.encode(&mut pong);
    let said = node.said(new);
    assert!(said.windows(pong.len()).any(|window| window == pong), "{}", said.escape_ascii());
}

#[test]
fn of_two_newcomers_one_is_let_in() {
    let (mut node, old, first) = contested();
    let second = node.accept(NEW);
    let third = node.accept("GEOHERD/1 news A 9 -");
    node.lose(old);
    // The second comes from where the first did, and takes its place; the third is of another life.
    assert_eq!(node.closing, [first]);
    let [asked] = pings(&node.said(second))[..] else { panic!("asked for the sake of the third") };
    node.hear_message(second, &Message::Pong { sent: asked });
    assert_eq!(node.closing, [first, third]);
}

#[test]
fn a_newcomer_that_leaves_changes_nothing() {
    let (mut node, old, new) = contested();
    node.lose(new);
    node.hear_message(old, &Message::Ping { sent: 1 });
    node.pass(Duration::from_secs(1));
    assert_eq!(node.closing, []);
}
