//! What peers may say and ask for is bounded, and so are the tables that they fill.

use super::*;

#[test]
fn lies_are_faults_and_change_nothing() {
    let mut room = line();
    room.say(0, b"k", b"x");
    room.run(100);
    let lies = [
        Message::Commit { origin: 0, from: 1 << 40, to: 1 << 41 },
        Message::Commit { origin: 0, from: 0, to: u64::MAX },
        Message::Watermark { origin: 0, version: u64::MAX },
        Message::Watermark { origin: 777, version: 1 },
        Message::Origin { number: 3, server: "z", incarnation: u64::MAX },
    ];
    for lie in lies {
        room.closed.clear();
        let link = room.links.iter().find(|&&(_, a, b)| (a, b) == (0, 1)).unwrap();
        let (id, now) = (LinkId(link.0), room.now(1));
        room.replicas[1].handle(id, &lie, now);
        room.exchange();
        assert_eq!(room.closed.len(), 1, "{lie:?}");
        room.cut(0, 1);
        room.link(0, 1);
        room.run(1_500);
        assert!((0..3).all(|one| room.shows(one, b"k").is_some()), "{lie:?}");
    }
}

#[test]
fn no_one_else_moves_the_numbers_of_this_server() {
    let mut room = line();
    room.say(0, b"k", b"x");
    room.run(100);
    let me = room.replicas[0].settings.origin.clone();
    let version = |room: &Room| {
        room.replicas[0].versions().find(|(origin, _)| **origin == me).map(|(_, version)| version)
    };
    assert_eq!(version(&room), Some(1));
    let ns = room.now(0).unix.nanos();
    let number = 900;
    let lies = [
        Message::Origin { number, server: &me.server, incarnation: me.incarnation },
        Message::Watermark { origin: number, version: 70 },
        Message::Commit { origin: number, from: 1, to: 70 },
        Message::Gap { origin: number, since: 70 },
        Message::Entry {
            origin: number,
            sequence: 71,
            key: b"lie",
            effective_ns: ns,
            received_ns: ns,
            tombstone: false,
            value: b"y",
        },
    ];
    for lie in lies {
        let now = room.now(0);
        room.replicas[0].handle(LinkId(1), &lie, now);
    }
    // A comparison raises versions of others, and never this one.
    let token = {
        let now = room.now(0);
        room.replicas[0].compare_now(now);
        room.replicas[0].handle_timeout(now);
        let mut asked = Asked(None);
        room.replicas[0].poll_transmit(LinkId(1), &mut asked, now);
        asked.0.expect("the root is asked for")
    };
    let now = room.now(0);
    let same = Message::Same { token, versions: vec![(number, 90)] };
    room.replicas[0].handle(LinkId(1), &same, now);
    room.exchange();
    assert_eq!(version(&room), Some(1));
    assert!(room.replicas[0].get(b"lie").is_none());
    assert!(room.events.contains(&(0, Event::OwnStreamAhead)), "{:?}", room.events);
}

#[test]
fn names_that_no_config_knows_are_bounded_and_what_they_wrote_spreads_all_the_same() {
    let mut room = line();
    for guest in 0..100_u16 {
        let (number, name) = (900 + guest, format!("guest-{guest}"));
        let now = room.now(0);
        let ns = now.unix.nanos();
        let origin = Message::Origin { number, server: &name, incarnation: 5 };
        room.replicas[0].handle(LinkId(1), &origin, now);
        let entry = Message::Entry {
            origin: number,
            sequence: 1,
            key: name.as_bytes(),
            effective_ns: ns,
            received_ns: ns,
            tombstone: false,
            value: b"x",
        };
        room.replicas[0].handle(LinkId(1), &entry, now);
    }
    room.run(4_000);
    for replica in &room.replicas {
        assert_eq!(replica.len(), 100);
        assert!(replica.census().names <= 3 + 64, "{:?}", replica.census());
        assert!(replica.streams().count() <= 3 + 64);
    }
    assert!(room.closed.is_empty(), "{:?}", room.closed);
}

#[test]
fn what_a_peer_may_ask_for_and_name_on_one_link_is_bounded() {
    let mut room = line();
    let (id, now) = (LinkId(1), room.now(0));
    let digest = KeyDigest { key: 1, effective_ns: 2, digest: 3 };
    let question =
        Message::AskBucket { bucket: 0, all: false, seed: 1, keys: vec![digest; KEYS_MAX] };
    for asked in 1..=64 {
        room.replicas[0].handle(id, &question, now);
        let is_open = room.replicas[0].links.open.contains_key(&id);
        assert_eq!(is_open, asked < 64, "each weighs one more than its keys");
    }
    room.exchange();
    assert_eq!(room.closed, [Fault::AskedTooMuch(64 * KEYS_MAX)]);
    room.closed.clear();
    room.cut(0, 1);
    room.link(0, 1);
    let id = LinkId(room.opened);
    for number in 0..2_000 {
        let origin = Message::Origin { number, server: "a", incarnation: 1 };
        room.replicas[0].handle(id, &origin, now);
        if !room.replicas[0].links.open.contains_key(&id) {
            assert_eq!(number, 1_024);
            return;
        }
    }
    panic!("a peer may name as many origins as it likes");
}

/// What a test's replicas have in common, with other bounds.
fn bounded(name: &str, change: impl Fn(&mut Tuning)) -> Settings {
    let mut settings = settings(name);
    change(&mut settings.tuning);
    settings
}

#[test]
fn a_full_table_of_streams_stops_neither_a_start_nor_a_link_nor_a_record() {
    for streams_max in [0, 1, 2] {
        let change = |tuning: &mut Tuning| tuning.streams_max = streams_max;
        let mut room = Room::with(["a", "b", "c"].map(|name| bounded(name, change)).into());
        room.link(0, 1);
        room.link(1, 2);
        for one in 0..3 {
            room.say(one, &one.to_be_bytes(), b"x");
        }
        // Those that have no stream wait for the comparison that each minute brings.
        room.run(130_000);
        for (one, replica) in room.replicas.iter().enumerate() {
            assert_eq!(replica.len(), 3, "server {one} with {streams_max}");
            assert!(replica.streams().count() <= streams_max.max(1));
            assert_eq!(replica.comparisons().repairs, 0);
        }
        assert!(room.events.contains(&(1, Event::OriginsFull)));
        assert!(room.closed.is_empty(), "{:?}", room.closed);
    }
}

#[test]
fn a_name_that_found_no_room_gets_a_stream_on_the_same_link_once_the_config_has_it() {
    let mut far = settings("d");
    far.members.insert("d".into());
    let mut middle = settings("a");
    middle.members.insert("d".into());
    let near = bounded("b", |tuning| tuning.guests_max = 0);
    let mut room = Room::with(vec![middle, near, far]);
    room.link(0, 1);
    room.link(0, 2);
    room.say(2, b"k", b"x");
    room.run(130_000);
    let knows = |room: &Room| room.replicas[1].streams().any(|s| &*s.origin.server == "d");
    assert!(!knows(&room));
    assert!(room.events.contains(&(1, Event::OriginsFull)));
    assert!(room.shows(1, b"k").is_some());
    let now = room.now(1);
    room.replicas[1].set_members(["a", "b", "d"].map(Into::into).into(), now);
    room.run(15_000);
    assert!(knows(&room));
    room.say(2, b"k", b"y");
    room.run(100);
    assert_eq!(room.shows(1, b"k"), Some(b"y".to_vec()), "by its stream");
}

#[test]
fn of_peers_that_were_linked_lately_a_bounded_number_counts() {
    let names = ["a", "b", "c"];
    let change = |tuning: &mut Tuning| tuning.recent_max = 1;
    let mut room = Room::with(names.map(|name| bounded(name, change)).into());
    room.link(0, 1);
    room.link(0, 2);
    room.say(0, b"k", b"x");
    room.run(1_000);
    room.cut(0, 1);
    room.cut(0, 2);
    for number in 0..100_u8 {
        room.say(0, &[number], b"y");
    }
    room.run(1_000);
    // What is trimmed since one of them no longer counts comes to it by buckets.
    room.link(0, 1);
    room.link(0, 2);
    room.run(5_000);
    assert!(room.replicas.iter().all(|replica| replica.len() == 101));
    assert!(room.closed.is_empty(), "{:?}", room.closed);
}
