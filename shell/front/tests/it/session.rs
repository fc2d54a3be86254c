//! Conversations with a host that knows nothing else.

use herd_front::line::{Limits, MayRelay, Session};
use herd_front::{Clock, Host, HostParts, Places, Remote};
use herd_node::{Node, Settings};
use herd_places::{Desk, Document, Limits as DeskLimits, Status};
use proptest::prelude::*;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

const LIMITS: Limits =
    Limits { line_bytes_max: 8192, reply_bytes_max: 4096, waiting_answers_max: 4 };

fn host(places: Places) -> Arc<Host> {
    let second = Duration::from_secs(1);
    let settings = Settings {
        herd: "news".into(),
        name: "Hill".into(),
        incarnation: 1,
        frames: herd_proto::Versions::CURRENT,
        seed: 1,
        peers: Vec::new(),
        members: ["Hill".into()].into(),
        redundancy: herd_node::Redundancy::Ways(1),
        forget_after: second,
        horizon: Duration::from_hours(30 * 24),
        expire_after: None,
        future_skew_max: 60 * second,
        ceiling: herd_node::Ceiling::default(),
        line_bytes_max: 8192,
        ping_every: second,
        hello_within: second,
        backoff_min: second,
        backoff_max: second,
        ready_grace: second,
    };
    let clock = Clock::start();
    let node = Node::new(settings, clock.now());
    Host::new(HostParts { node, clock, herd: "news".into(), places, traffic: None }).0
}

/// All replies to `pieces`, taken as they come.
fn converse(pieces: &[&[u8]], host: &Host, may_relay: MayRelay) -> String {
    let mut session = Session::new(LIMITS, may_relay, "test".into());
    let mut replies = Vec::new();
    for piece in pieces {
        session.handle_input(piece, host);
        take(&mut session, host, &mut replies);
    }
    session.handle_end(host);
    take(&mut session, host, &mut replies);
    assert!(session.is_done());
    String::from_utf8_lossy(&replies).into_owned()
}

fn take(session: &mut Session, host: &Host, replies: &mut Vec<u8>) {
    loop {
        replies.extend_from_slice(session.replies());
        session.sent(session.replies().len());
        if !session.handle_backlog(host) {
            return;
        }
    }
}

/// Differences depend on the clock.
fn without_differences(replies: &str) -> String {
    let mut out = String::new();
    for line in replies.lines() {
        let mut fields: Vec<_> = line.split(' ').collect();
        if fields.first() == Some(&"AT") {
            fields[2] = "±";
        }
        out += &fields.join(" ");
        out += "\n";
    }
    out
}

#[track_caller]
fn check(input: &[u8], expected: &str) {
    let got = converse(&[input], &host(Places::Nobody), MayRelay::Yes);
    assert_eq!(without_differences(&got), expected, "{}", input.escape_ascii());
}

#[test]
fn every_line_gets_its_reply_in_order() {
    check(b"", "");
    check(b"\n \r\n\t\n", "");
    check(b"hello\n", "? hello\n");
    check(b"hello \r\n", "? hello \n");
    check(b"no line feed", "? no line feed\n");
    check(b"IAMAT kiwi +1+2 3\n", "AT Hill ± kiwi +1+2 3\n");
    check(b" IAMAT\tkiwi +1+2\r3 \r\n", "AT Hill ± kiwi +1+2 3\n");
    check(
        b"IAMAT kiwi +1+2 3\nIAMAT kiwi +1+2 2",
        "AT Hill ± kiwi +1+2 3\nAT Hill ± kiwi +1+2 2\n",
    );
    check(b"WHATSAT kiwi 1 1\n", "? WHATSAT kiwi 1 1\n");
    check(b"AT Smith +0.1 kiwi +1+2 3\nx\n", "? x\n");
    check(b"AT Smith 0.1 kiwi +1+2 3\n", "? AT Smith 0.1 kiwi +1+2 3\n");
    check(b"GEOHERD/1 what\n", "? GEOHERD/1 what\n");
}

#[test]
fn bytes_that_are_no_text_come_back_as_they_were() {
    let mut session = Session::new(LIMITS, MayRelay::Yes, "test".into());
    session.handle_input(b"IAMAT \xff\xfe\x00 \r\n", &host(Places::Nobody));
    assert_eq!(session.replies(), b"? IAMAT \xff\xfe\x00 \r\n");
}

#[test]
fn an_older_report_is_answered_but_not_kept() {
    check(
        b"IAMAT kiwi +1+2 3\nIAMAT kiwi +5+6 2\nWHATSAT kiwi 0 0\n",
        "AT Hill ± kiwi +1+2 3\nAT Hill ± kiwi +5+6 2\nAT Hill ± kiwi +1+2 3\n{\n   \
         \"html_attributions\" : [],\n   \"results\" : [],\n   \"status\" : \"ZERO_RESULTS\"\n}\n\n",
    );
}

#[test]
fn only_who_may_speak_for_a_server_is_believed() {
    let host = host(Places::Nobody);
    // Received now: what was received long ago is not kept.
    let received_s = host.now().unix.seconds();
    let at = format!("AT Smith +{}.1 kiwi +1+2 3", received_s - 3);
    let got = converse(&[at.as_bytes()], &host, MayRelay::No);
    assert_eq!(got, format!("? {at}\n"));
    assert_eq!(host.enter(|node, _| node.clients()), 0);
    converse(&[at.as_bytes()], &host, MayRelay::Yes);
    assert_eq!(host.enter(|node, _| node.clients()), 1);
}

#[test]
fn a_too_long_line_is_answered_at_once_with_its_start() {
    let host = host(Places::Nobody);
    let mut session = Session::new(LIMITS, MayRelay::Yes, "test".into());
    session.handle_input(&[b'x'; 8192], &host);
    assert_eq!(session.replies(), b"");
    session.handle_input(b"x", &host);
    let expected = format!("? {} ...\n", "x".repeat(80));
    assert_eq!(session.replies(), expected.as_bytes());
    session.handle_input(&vec![b'x'; 1 << 20], &host);
    session.handle_input(b"\nok?\n", &host);
    assert_eq!(session.replies(), format!("{expected}? ok?\n").as_bytes());
}

#[test]
fn who_takes_no_replies_is_not_listened_to() {
    let host = host(Places::Nobody);
    let mut session = Session::new(LIMITS, MayRelay::Yes, "test".into());
    let line = [b"IAMAT kiwi +1+2 3\n".as_slice(), &[b'x'; 300], b"\n"].concat();
    let flood = line.repeat(200);
    session.handle_input(&flood, &host);
    assert!(!session.wants_input());
    assert!(session.replies().len() < LIMITS.reply_bytes_max + 64 * 400, "bounded by one batch");
    let mut replies = Vec::new();
    take(&mut session, &host, &mut replies);
    let text = String::from_utf8(replies).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("AT ")).count(), 200);
    assert_eq!(text.lines().filter(|line| line.starts_with("? x")).count(), 200);
    assert!(session.wants_input());
}

#[test]
fn replies_stay_in_order_while_an_answer_is_awaited() {
    let remote = Arc::new(Remote::new(Desk::new(DeskLimits::default())));
    let host = host(Places::Remote(remote.clone()));
    let mut session = Session::new(LIMITS, MayRelay::Yes, "test".into());
    let mut cx = Context::from_waker(Waker::noop());
    session.handle_input(b"IAMAT kiwi +1+2 3\nWHATSAT kiwi 1 1\nIAMAT kiwi +5+6 7\n", &host);
    session.handle_input(b"WHATSAT kiwi 2 1\nbye\n", &host);
    // What comes after the question is done, but not told before its answer.
    let newest =
        host.enter(|node, now| node.locate("kiwi", now.unix).unwrap().report.time.to_owned());
    assert_eq!(newest, "7");
    let first = "AT Hill ± kiwi +1+2 3\n";
    let told =
        |session: &Session| without_differences(std::str::from_utf8(session.replies()).unwrap());
    assert!(!session.poll_answers(&host, &mut cx));
    assert_eq!(told(&session), first);

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (fetch_a, query_a) = runtime.block_on(remote.next_fetch());
    let (fetch_b, query_b) = runtime.block_on(remote.next_fetch());
    assert_eq!((query_a.radius_m, query_b.radius_m), (1000.0, 2000.0));
    let answer = |status| Document::failure(status, "");
    remote.done(fetch_b, answer(Status::RequestDenied));
    assert!(!session.poll_answers(&host, &mut cx), "the second answer waits for the first");
    remote.done(fetch_a, answer(Status::OverQueryLimit));
    assert!(session.poll_answers(&host, &mut cx));
    let text = told(&session);
    let at = |needle| text.find(needle).unwrap_or_else(|| panic!("{needle} in {text}"));
    let order = [at("OVER_QUERY_LIMIT"), at("kiwi +5+6 7"), at("REQUEST_DENIED"), at("? bye")];
    assert!(order.is_sorted(), "{text}");
}

#[test]
fn only_so_many_answers_are_awaited() {
    let remote = Arc::new(Remote::new(Desk::new(DeskLimits::default())));
    let host = host(Places::Remote(remote.clone()));
    let mut session = Session::new(LIMITS, MayRelay::Yes, "test".into());
    session.handle_input(b"IAMAT kiwi +1+2 3\n", &host);
    session.handle_input(&b"WHATSAT kiwi 1 1\n".repeat(10), &host);
    assert!(!session.wants_input());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut replies = Vec::new();
    while !session.wants_input() {
        let (fetch, _) = runtime.block_on(remote.next_fetch());
        remote.done(fetch, Document::empty());
        session.poll_answers(&host, &mut cx);
        take(&mut session, &host, &mut replies);
    }
    while session.poll_answers(&host, &mut cx) {}
    take(&mut session, &host, &mut replies);
    session.handle_end(&host);
    let text = String::from_utf8(replies).unwrap();
    assert_eq!(text.matches("ZERO_RESULTS").count() + waiting(&mut session, &remote, &host), 10);
}

/// Lets the rest be answered and counts the answers.
fn waiting(session: &mut Session, remote: &Remote, host: &Host) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut replies = Vec::new();
    while !session.is_done() {
        let (fetch, _) = runtime.block_on(remote.next_fetch());
        remote.done(fetch, Document::empty());
        session.poll_answers(host, &mut cx);
        take(session, host, &mut replies);
    }
    String::from_utf8(replies).unwrap().matches("ZERO_RESULTS").count()
}

proptest! {
    #[test]
    fn any_bytes_get_replies_and_the_cuts_change_nothing(
        lines in prop::collection::vec(prop_oneof![
            Just("IAMAT kiwi +1+2 3".as_bytes().to_vec()),
            Just("WHATSAT kiwi 1 1".as_bytes().to_vec()),
            Just("AT Smith +0.1 emu +1+2 3".as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..40),
            Just(vec![b'y'; 9000]),
        ], 0..20),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let text = lines.join(&b'\n');
        let whole = converse(&[&text], &host(Places::Nobody), MayRelay::Yes);
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        ends.extend([0, text.len()]);
        ends.sort_unstable();
        let pieces: Vec<_> = ends.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect();
        let cut = converse(&pieces, &host(Places::Nobody), MayRelay::Yes);
        prop_assert_eq!(without_differences(&whole), without_differences(&cut));
    }
}
