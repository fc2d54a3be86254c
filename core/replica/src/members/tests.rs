//! Who is waited for: members come, go, and come again.

use super::{Held, OriginIx, Replica};
use crate::settings::LinkId;
use crate::tests::{linked, record, talk_at};
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
