//! Who is waited for: members come, go, and come again.

use super::{Held, OriginIx, Replica};
use crate::settings::LinkId;
use crate::tests::{deliver_over, linked, record, talk_at, transmit_over};
use herd_proto::peer::Message;
use herd_proto::{Instant, Now, UnixTime};

const LINK: LinkId = LinkId(1);

/// The number by which the other side of the link means this node, and C.
const A: u16 = 500;
const C: u16 = 501;

fn at(seconds: u64) -> Now {
    let unix = UnixTime::from_nanos(10_000_000_000);
    Now { instant: Instant::from_nanos(seconds * 1_000_000_000), unix }
}

/// A node with one update of its own that its one configured neighbour holds too.
fn a() -> (Replica, Replica) {
    let (mut a, mut b) = linked();
    a.update(record(b"k", 1, b"x"), at(0));
    for second in 1..4 {
        a.handle_timeout(at(second));
        b.handle_timeout(at(second));
        talk_at(&mut a, &mut b, at(second));
    }
    assert_eq!(stable_for_all(&mut a), 1);
    a.handle(LINK, &Message::Origin { number: A, server: "a", incarnation: 1 }, at(4));
    a.handle(LINK, &Message::Origin { number: C, server: "c", incarnation: 7 }, at(4));
    (a, b)
}

/// As the next tick finds it.
fn stable_for_all(a: &mut Replica) -> u64 {
    a.stabilize(at(4));
    a.streams[OriginIx::ME.at()].stable_for_all
}

/// C says how far it holds A's stream.
fn word_of_c(a: &mut Replica, counter: u64, version: u64) {
    let versions = vec![(A, version)];
    a.handle(LINK, &Message::Member { origin: C, counter, versions, about: b"" }, at(4));
}

fn has_left(a: &Replica, name: &str) -> Option<bool> {
    a.members().find(|member| member.name == name).map(|member| member.has_left)
}

#[test]
fn a_member_that_no_config_names_is_waited_for_once_it_was_heard() {
    let (mut a, _b) = a();
    word_of_c(&mut a, 1, 0);
    assert_eq!(stable_for_all(&mut a), 0);
    word_of_c(&mut a, 2, 1);
    assert_eq!(stable_for_all(&mut a), 1);
    assert_eq!(has_left(&a, "c"), Some(false));
}

#[test]
fn who_has_left_is_waited_for_again_only_when_it_says_something_new() {
    let (mut a, _b) = a();
    word_of_c(&mut a, 1, 0);
    a.handle(LINK, &Message::Left { origin: C, counter: 2 }, at(4));
    assert_eq!((stable_for_all(&mut a), has_left(&a, "c")), (1, Some(true)));
    // What others pass on late.
    word_of_c(&mut a, 1, 0);
    word_of_c(&mut a, 2, 0);
    assert_eq!((stable_for_all(&mut a), has_left(&a, "c")), (1, Some(true)));
    word_of_c(&mut a, 3, 0);
    assert_eq!((stable_for_all(&mut a), has_left(&a, "c")), (0, Some(false)));
    // A new life of it, too.
    a.handle(LINK, &Message::Left { origin: C, counter: 4 }, at(4));
    a.handle(LINK, &Message::Origin { number: C, server: "c", incarnation: 8 }, at(4));
    word_of_c(&mut a, 1, 0);
    assert_eq!((stable_for_all(&mut a), has_left(&a, "c")), (0, Some(false)));
}

#[test]
fn a_server_that_the_config_names_no_more_has_left_for_all() {
    let (mut a, mut b) = a();
    word_of_c(&mut a, 5, 0);
    let names = |names: &[&str]| names.iter().map(|&name| name.into()).collect();
    a.set_members(names(&["a", "b", "c", "d"]), at(4));
    assert_eq!(stable_for_all(&mut a), 0);
    a.set_members(names(&["a", "b"]), at(4));
    assert_eq!((stable_for_all(&mut a), has_left(&a, "c")), (1, Some(true)));
    assert_eq!(has_left(&a, "d"), None, "nobody ever heard of it");
    talk_at(&mut a, &mut b, at(4));
    assert_eq!(has_left(&b, "c"), Some(true));
    word_of_c(&mut a, 6, 0);
    assert_eq!(stable_for_all(&mut a), 0, "it lives");
}

#[test]
fn a_server_that_lives_says_so_when_it_was_taken_out() {
    let (mut a, mut b) = a();
    b.set_members(["b".into()].into(), at(4));
    assert_eq!(has_left(&b, "a"), Some(true));
    talk_at(&mut a, &mut b, at(4));
    a.handle_timeout(at(20));
    talk_at(&mut a, &mut b, at(20));
    assert_eq!(has_left(&b, "a"), Some(false));
    assert_eq!(has_left(&a, "a"), Some(false));
}

#[test]
fn who_leaves_says_nothing_else_any_more() {
    let (mut a, mut b) = a();
    assert_eq!(a.held_elsewhere(), Held::ByAll);
    a.leave(at(4));
    for second in 5..30 {
        a.handle_timeout(at(second));
        talk_at(&mut a, &mut b, at(second));
    }
    assert_eq!(has_left(&b, "a"), Some(true));
}

#[test]
fn what_is_held_here_alone_is_known() {
    let (mut a, mut b) = a();
    a.update(record(b"other", 1, b"x"), at(4));
    assert_eq!(a.held_elsewhere(), Held::NotByAllNeighbors);
    for second in 5..8 {
        a.handle_timeout(at(second));
        b.handle_timeout(at(second));
        talk_at(&mut a, &mut b, at(second));
    }
    assert_eq!(a.held_elsewhere(), Held::ByAll);
    // Somebody who cannot be asked is not known to hold it.
    word_of_c(&mut a, 1, 1);
    a.handle_timeout(at(8));
    assert_eq!(a.held_elsewhere(), Held::ByNeighbors);
    a.close_link(LINK, at(8));
    assert_eq!(a.held_elsewhere(), Held::Nowhere);
}

#[test]
fn a_neighbour_cannot_fill_memory_with_members() {
    let (mut a, _b) = a();
    for number in 0..1000_u16 {
        let server = format!("s{number}");
        let message = Message::Origin { number, server: &server, incarnation: 1 };
        a.handle(LINK, &message, at(4));
        let versions = Vec::new();
        a.handle(
            LINK,
            &Message::Member { origin: number, counter: 1, versions, about: b"" },
            at(4),
        );
    }
    assert_eq!(a.members().count(), 2 + super::UNCONFIGURED_MAX);
}

/// A and B talk for so many seconds from `from` on.
fn pass_time(a: &mut Replica, b: &mut Replica, from: u64, seconds: u64) {
    for second in from..from + seconds {
        a.handle_timeout(at(second));
        b.handle_timeout(at(second));
        talk_at(a, b, at(second));
    }
}

#[test]
fn what_was_forgotten_while_its_own_server_was_out_does_not_come_back_with_it() {
    let (mut a, mut b) = a();
    a.update(record(b"kept", 1, b"x"), at(4));
    pass_time(&mut a, &mut b, 4, 3);
    a.close_link(LINK, at(7));
    b.close_link(LINK, at(7));
    b.set_members(["b".into()].into(), at(7));
    assert!(b.forget(b"k", at(7)));
    // Long enough for the tombstone to go.
    for second in 8..200 {
        b.handle_timeout(at(second));
    }
    assert_eq!(b.get(b"k"), None);
    a.update(record(b"news", 1, b"x"), at(200));
    b.set_members(["a".into(), "b".into()].into(), at(200));
    a.open_link(LINK, at(200));
    b.open_link(LINK, at(200));
    pass_time(&mut a, &mut b, 200, 10);
    for replica in [&a, &b] {
        let known = |key: &[u8]| replica.get(key).is_some();
        assert_eq!((known(b"k"), known(b"kept"), known(b"news")), (false, true, true));
    }
}

#[test]
fn what_was_issued_again_while_out_is_not_passed_over() {
    // A has the entry, but not the commit.
    let (mut a, mut b) = a();
    b.update(record(b"k2", 1, b"x"), at(4));
    let entry = transmit_over(LINK, 1, &mut b, at(4));
    deliver_over(LINK, &entry, &mut a, at(4));
    assert!(a.get(b"k2").is_some());
    a.close_link(LINK, at(5));
    b.close_link(LINK, at(5));
    b.set_members(["b".into()].into(), at(5));
    assert!(b.forget(b"k2", at(5)));
    for second in 6..200 {
        a.handle_timeout(at(second));
        b.handle_timeout(at(second));
    }
    assert_eq!((a.happenings().adopted, b.get(b"k2")), (1, None));
    a.open_link(LINK, at(200));
    b.open_link(LINK, at(200));
    // One message at a time: A is asked for its stream, and answers, before the snapshot has come.
    loop {
        let to_a = transmit_over(LINK, 1, &mut b, at(200));
        let to_b = transmit_over(LINK, 1, &mut a, at(200));
        if to_a.is_empty() && to_b.is_empty() {
            break;
        }
        deliver_over(LINK, &to_a, &mut a, at(200));
        deliver_over(LINK, &to_b, &mut b, at(200));
    }
    pass_time(&mut a, &mut b, 200, 10);
    // Nobody but A held it as A's own: it is as if it had been said there anew.
    assert!(a.get(b"k2").is_some());
    assert_eq!(a.get(b"k2"), b.get(b"k2"));
}

#[test]
fn who_goes_on_with_its_last_life_is_heard_though_it_counts_its_words_anew() {
    let (mut a, mut b) = linked();
    let pass = |a: &mut Replica, b: &mut Replica, seconds: std::ops::Range<u64>| {
        for second in seconds {
            a.handle_timeout(at(second));
            b.handle_timeout(at(second));
            talk_at(a, b, at(second));
        }
    };
    pass(&mut a, &mut b, 1..60);
    b.close_link(LINK, at(60));
    // Nothing is missing, and nothing but its own words is counted anew.
    let mut a = crate::Restore::new(crate::tests::settings("a"), at(60)).finish();
    a.open_link(LinkId(2), at(60));
    b.open_link(LinkId(2), at(60));
    for second in 60..65 {
        crate::tests::talk_on(LinkId(2), &mut a, &mut b, at(second));
        a.handle_timeout(at(second));
        b.handle_timeout(at(second));
    }
    a.update(record(b"k", 1, b"x"), at(65));
    for second in 65..69 {
        a.handle_timeout(at(second));
        b.handle_timeout(at(second));
        crate::tests::talk_on(LinkId(2), &mut a, &mut b, at(second));
    }
    let word_of_a = b.members().find(|member| member.name == "a").and_then(|member| member.word);
    let word_of_a = word_of_a.unwrap();
    let own = word_of_a.versions.iter().find(|(origin, _)| *origin == word_of_a.origin);
    assert_eq!(own.map(|&(_, version)| version), Some(1));
}

#[test]
fn who_writes_things_down_says_that_it_holds_only_what_is_written() {
    let (mut a, mut b) = linked();
    let journal = b.open_journal();
    pass_time(&mut a, &mut b, 1, 3);
    a.update(record(b"k", 1, b"x"), at(4));
    pass_time(&mut a, &mut b, 4, 3);
    assert!(b.get(b"k").is_some());
    assert_eq!(a.held_elsewhere(), Held::ByNeighbors);
    let told = b.poll_journal(journal, |_| true).unwrap();
    pass_time(&mut a, &mut b, 7, 3);
    assert_eq!(a.held_elsewhere(), Held::ByNeighbors, "it is not on the disk yet");
    b.handle_lasting(&told);
    pass_time(&mut a, &mut b, 10, 3);
    assert_eq!(a.held_elsewhere(), Held::ByAll);
}

#[test]
fn what_was_read_from_a_disk_counts_as_held() {
    let (mut a, mut b) = linked();
    let journal = b.open_journal();
    a.update(record(b"k", 1, b"x"), at(4));
    pass_time(&mut a, &mut b, 4, 3);
    let mut restore = crate::Restore::new(crate::tests::settings("b"), at(7));
    b.poll_journal(journal, |journaled| restore.take(journaled).is_ok());
    let (mut b, _) = restore.finish_journaled();
    a.close_link(LINK, at(7));
    a.open_link(LINK, at(7));
    b.open_link(LINK, at(7));
    pass_time(&mut a, &mut b, 7, 12);
    assert_eq!(a.held_elsewhere(), Held::ByAll);
}
