//! Two connections under one server's name: of one process, of one that was restarted, of two.

use crate::herd::START_NS;
use crate::scripted::{Scripted, batch, messages};
use herd_node::{CloseReason, LinkId};
use herd_proto::peer::Message;
use std::time::Duration;

const OLD: &str = "GEOHERD/1 news A 7 -";
const NEW: &str = "GEOHERD/1 news A 8 -";

/// When the pings among `bytes` were sent.
fn pings(bytes: &[u8]) -> Vec<u64> {
    let sent = |message| if let Message::Ping { sent, .. } = message { Some(sent) } else { None };
    messages(bytes).into_iter().filter_map(sent).collect()
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
    node.hear_message(old, &Message::Pong { sent: asked - 1, unix_ns: START_NS });
    assert_eq!(node.closing, []);
    node.hear_message(old, &Message::Pong { sent: asked, unix_ns: START_NS });
    assert_eq!(node.closing, [new]);
    let said = node.said(new);
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("REFUSED another running server of the name \"A\""), "{said}");
    let [CloseReason::Refused(_)] = node.ends()[..] else { panic!("{:?}", node.ends()) };
    // The first goes on as if nothing had been.
    node.hear_message(old, &Message::Ping { sent: 5, unix_ns: START_NS });
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
    node.hear_message(old, &Message::Pong { sent: asked, unix_ns: START_NS });
    assert_eq!(node.closing, [new]);
    let [bye] = Scripted::byes(&node.said(new)).try_into().unwrap();
    assert!(bye.contains("another running server"), "{bye}");
}

#[test]
fn a_server_that_was_restarted_takes_its_place_as_soon_as_the_old_connection_ends() {
    let (mut node, old, new) = contested();
    node.lose(old);
    assert!(node.said(new).starts_with(b"GEOHERD/1 news B 1 at="));
    assert_eq!(node.closing, []);
}

#[test]
fn a_server_that_was_restarted_takes_its_place_when_the_old_one_does_not_answer() {
    let (mut node, old, new) = contested();
    // It says something that was on its way, but no answer.
    node.hear_message(old, &Message::Ping { sent: 1, unix_ns: START_NS });
    node.pass(Duration::from_millis(700));
    assert_eq!(node.closing, []);
    node.pass(Duration::from_millis(100));
    assert_eq!(node.closing, [old]);
    assert_eq!(node.ends(), [&CloseReason::Outlived]);
    assert!(node.said(new).starts_with(b"GEOHERD/1 news B 1 at="));
}

#[test]
fn what_a_newcomer_says_while_it_waits_is_heard_once_it_is_let_in() {
    let mut node = Scripted::new(|_| {});
    let old = node.accept("GEOHERD/1 news C 7 -");
    node.said(old);
    // It was dialed and has answered, so it speaks at once.
    let new = node.connect(1);
    let mut bytes = b"GEOHERD/1 news C 8 -\n".to_vec();
    bytes.extend(batch(&Message::Ping { sent: 77, unix_ns: START_NS }));
    node.hear(new, &bytes);
    node.said(new);
    node.lose(old);
    let said = node.said(new);
    let is_pong = |message: &Message<'_>| matches!(message, Message::Pong { sent: 77, .. });
    assert!(messages(&said).iter().any(is_pong), "{}", said.escape_ascii());
}

#[test]
fn of_two_newcomers_one_is_let_in() {
    let (mut node, old, first) = contested();
    let second = node.accept(NEW);
    let third = node.accept("GEOHERD/1 news A 9 -");
    node.lose(old);
    // The first takes the place; both others might be of other processes.
    assert_eq!(node.closing, []);
    let [asked] = pings(&node.said(first))[..] else { panic!("asked for the sake of the others") };
    node.hear_message(first, &Message::Pong { sent: asked, unix_ns: START_NS });
    assert_eq!(node.closing, [second, third]);
}

#[test]
fn a_newcomer_that_leaves_changes_nothing() {
    let (mut node, old, new) = contested();
    node.lose(new);
    node.hear_message(old, &Message::Ping { sent: 1, unix_ns: START_NS });
    node.pass(Duration::from_secs(1));
    assert_eq!(node.closing, []);
}

#[test]
fn a_second_process_with_the_same_incarnation_is_refused_while_the_first_answers() {
    let mut node = Scripted::new(|_| {});
    let first = node.accept(OLD);
    node.said(first);
    node.pass(Duration::from_millis(10));
    let second = node.accept(OLD);
    let [asked] = pings(&node.said(first))[..] else { panic!("the first one is asked") };
    node.hear_message(first, &Message::Pong { sent: asked, unix_ns: START_NS });
    assert_eq!(node.closing, [second]);
    assert!(node.ends()[0].to_string().contains("another running server"), "{:?}", node.ends());
}

#[test]
fn an_older_process_is_told_which_incarnation_to_pass() {
    let mut node = Scripted::new(|_| {});
    let later = node.accept(NEW);
    node.lose(later);
    let older = node.accept(OLD);
    assert_eq!(node.closing, [older]);
    let said = node.said(older);
    assert_eq!(said, b"REFUSED a known incarnation 8 of \"A\" is later than 7\n");
}

#[test]
fn an_incarnation_of_the_far_future_is_refused_and_counted_as_a_fault() {
    let mut node = Scripted::new(|_| {});
    let day = 24 * 3600 * 1_000_000_000;
    let link = node.accept(&format!("GEOHERD/1 news A {} -", START_NS + day));
    assert_eq!(node.closing, []);
    node.lose(link);
    let link = node.accept(&format!("GEOHERD/1 news A {} -", START_NS + 3 * day));
    assert_eq!(node.closing, [link]);
    assert_eq!(node.node.peers().next().unwrap().counters.faults, 1);
}
