//! What one or two replicas do, without a network.

use crate::{
    Applied, Cursor, Fault, LinkId, Origin, Output, Record, Redundancy, Replica, Settings, Sink,
    Tuning,
};
use herd_proto::peer::{ABOUT_BYTES_MAX, Decoded, Message};
use herd_proto::{Instant, Now, UnixTime};
use std::time::Duration;

pub(crate) const LINK: LinkId = LinkId(1);

#[test]
fn values_of_any_kind_spread_unread() {
    let (mut a, mut b) = linked();
    // A report, and an article of a kind that nobody here has heard of, told apart by its key.
    let article = [0, 255, b'\n', 7];
    let records =
        [(b"report/kiwi".as_slice(), b"Hill +1+2 3 +0.1".as_slice()), (b"news/1", &article)];
    for (key, value) in records {
        assert_eq!(a.update(record(key, 5, value), now(5)), Applied::Newer);
    }
    talk(&mut a, &mut b);
    for (key, value) in records {
        assert_eq!(b.get(key), Some(record(key, 5, value)));
    }
    assert_eq!(b.len(), 2);
}

#[test]
fn a_feed_shows_each_key_once_as_it_is_now() {
    let mut replica = replica("a");
    replica.update(record(b"k", 1, b"old"), now(1));
    replica.update(record(b"gone", 1, b"x"), now(1));
    let mut cursor = Cursor::default();
    assert_eq!(replica.poll_feed(&mut cursor, LinkId(9)), Some(record(b"k", 1, b"old")));
    replica.forget(b"gone", now(2));
    for effective_s in 2..5000 {
        replica.update(record(b"k", effective_s, b"new"), now(effective_s));
    }
    let last = Some(record(b"k", 4999, b"new"));
    assert_eq!(replica.poll_feed(&mut cursor, LinkId(9)), last);
    assert_eq!(replica.poll_feed(&mut cursor, LinkId(9)), None);
    assert_eq!(replica.poll_feed(&mut Cursor::default(), LinkId(9)), last);
}

#[test]
fn a_neighbour_whose_clock_is_wrong_is_shut_out() {
    let (mut a, mut b) = linked();
    a.update(record(b"k", 10 + 120, b"as far as two right clocks can differ"), now(10));
    talk(&mut a, &mut b);
    assert_eq!(b.len(), 1);
    a.update(record(b"k", 10 + 122, b"further"), now(10));
    let frames = transmit(&mut a);
    deliver(&frames, &mut b);
    let closed = std::iter::from_fn(|| b.poll_output())
        .any(|output| output == Output::Close(LINK, Fault::ClockAhead { ahead_s: 122 }));
    assert!(closed);
    assert_eq!(b.get(b"k").map(|known| known.effective_ns), Some(130_000_000_000));
}

#[test]
fn streams_share_a_link_that_keeps_up_with_none() {
    /// More than the link takes before all is written anew, and enough for sweeping.
    const KEYS: u16 = 1100;
    const TAKEN_AT_ONCE: usize = 400;
    let from_c = LinkId(2);
    let (mut a, mut b) = linked();
    let mut c = replica("c");
    a.open_link(from_c, now(0));
    c.open_link(LINK, now(0));
    for round in 1..40 {
        let now = Now { instant: Instant::from_nanos(round * 100_000_000), ..now(10) };
        let effective_s = i64::try_from(round).unwrap();
        for number in 0..KEYS {
            let number = number.to_be_bytes();
            for (writer, name) in [(&mut a, b"a"), (&mut c, b"c")] {
                let key = [name.as_slice(), &number].concat();
                assert_eq!(writer.update(record(&key, effective_s, b""), now), Applied::Newer);
            }
        }
        for replica in [&mut a, &mut b, &mut c] {
            replica.handle_timeout(now);
        }
        // Between a and c nothing is ever in the way.
        deliver_over(from_c, &transmit_over(LINK, usize::MAX, &mut c, now), &mut a, now);
        deliver_over(LINK, &transmit_over(from_c, usize::MAX, &mut a, now), &mut c, now);
        deliver_over(LINK, &transmit_over(LINK, TAKEN_AT_ONCE, &mut a, now), &mut b, now);
        deliver_over(LINK, &transmit_over(LINK, usize::MAX, &mut b, now), &mut a, now);
    }
    for name in [b"a", b"c"] {
        let known = b.records().filter(|record| record.key.starts_with(name)).count();
        assert_eq!(known, usize::from(KEYS), "of {}", name.escape_ascii());
    }
}

#[test]
fn what_follows_a_refused_record_in_one_batch_is_not_taken() {
    let (mut a, mut b) = linked();
    a.update(record(b"k", 10 + 121, b"of a wrong clock"), now(10));
    // The record and the commit that counts on it.
    let frames = transmit(&mut a);
    deliver(&frames, &mut b);
    assert!(b.is_empty());
    let held = |replica: &Replica| {
        replica.versions().find(|(origin, _)| &*origin.server == "a").map(|(_, version)| version)
    };
    assert_eq!(held(&a), Some(1));
    assert_eq!(held(&b), Some(0), "it would never ask for the record again");
}

/// While a member is away nothing that is superseded can go, however often it is superseded.
#[test]
fn what_waits_to_be_collected_is_listed_once() {
    let (mut a, mut b) = linked();
    for second in (10..2_000).step_by(2) {
        for (writer, effective_s) in [(&mut a, second), (&mut b, second + 1)] {
            let newer = writer.update(record(b"k", effective_s, b"v"), now(effective_s));
            assert_eq!(newer, Applied::Newer);
        }
        talk(&mut a, &mut b);
    }
    assert!(a.collector.len() <= 2, "{} on the list", a.collector.len());
    assert!(b.collector.len() <= 2, "{} on the list", b.collector.len());
}

/// What the far side of a slow link shows of a key is never older than the time in which the link can carry
/// every key once, and a moment: neither later nor at the start, when keys come while others are sent.
#[test]
fn what_a_slow_link_shows_is_as_old_as_all_keys_take_at_most() {
    /// Milliseconds between two times that the link takes something.
    const STEP_MS: u64 = 37;
    /// Of a thousand messages a second, and five thousand updates.
    const TAKEN_AT_ONCE: usize = 37;
    const TAKEN_AT_FIRST: usize = 16;
    const TAKEN_AT_FIRST_STEPS: u64 = TAKEN_AT_FIRST as u64;
    const UPDATES_AT_ONCE: i64 = 185;
    const UPDATES_A_SECOND: i64 = 5_000;
    const KEYS: u16 = 10_000;
    let (mut a, mut b) = linked();
    let keys = i64::from(KEYS);
    // The number of the update that is shown of each key; every key is updated in turn.
    let mut shown: Vec<Option<i64>> = vec![None; usize::from(KEYS)];
    let (mut updates, mut oldest) = (0, 0);
    for step in 0..1_000 {
        let now = Now { instant: Instant::from_nanos(step * STEP_MS * 1_000_000), ..now(100) };
        for _ in 0..UPDATES_AT_ONCE {
            let key = u16::try_from(updates % keys).unwrap().to_be_bytes();
            let record = Record { key: &key, effective_ns: updates, tombstone: false, value: b"" };
            assert_eq!(a.update(record, now), Applied::Newer);
            updates += 1;
        }
        for replica in [&mut a, &mut b] {
            replica.handle_timeout(now);
        }
        // At first a socket takes much at once, and then nothing for as long.
        let taken = match step {
            0 => TAKEN_AT_FIRST * TAKEN_AT_ONCE,
            1..TAKEN_AT_FIRST_STEPS => 0,
            _ => TAKEN_AT_ONCE,
        };
        deliver_over(LINK, &transmit_over(LINK, taken, &mut a, now), &mut b, now);
        deliver_over(LINK, &transmit_over(LINK, usize::MAX, &mut b, now), &mut a, now);
        for (number, shown) in (0..KEYS).zip(&mut shown) {
            let first = i64::from(number);
            let since = shown.map_or(first, |shown| shown + keys);
            *shown = b.get(&number.to_be_bytes()).map(|record| record.effective_ns);
            oldest = oldest.max(updates - since);
        }
    }
    let all_once = keys * UPDATES_A_SECOND / 1_000;
    assert!(oldest <= all_once + UPDATES_A_SECOND, "{} s", oldest / UPDATES_A_SECOND);
}

#[test]
fn an_old_report_of_a_forgotten_key_is_not_newer() {
    let mut replica = replica("a");
    replica.update(record(b"k", 5, b"x"), now(5));
    assert!(replica.forget(b"k", now(6)));
    assert!(!replica.forget(b"k", now(7)));
    assert_eq!(replica.update(record(b"k", 6, b"x"), now(8)), Applied::NotNewer);
    assert!(replica.is_empty());
    assert_eq!(replica.update(record(b"k", 7, b"x"), now(8)), Applied::Newer);
    assert_eq!(replica.len(), 1);
}

#[test]
fn what_a_member_says_of_itself_is_told_unread_and_no_oftener_than_need_be() {
    let (mut a, mut b) = linked();
    let mut heard_at_b = |about: &[u8], is_news: bool, ms: u64| {
        a.set_about(about, is_news);
        a.handle_timeout(later(ms));
        talk(&mut a, &mut b);
        let state = b.members().find(|member| member.name == "a").unwrap();
        state.word.map(|word| word.about.to_vec()).unwrap_or_default()
    };
    // The first word is due at once, news after a second, the rest after ten.
    assert_eq!(heard_at_b(b"\0ready\xff", false, 20), b"\0ready\xff");
    assert_eq!(heard_at_b(b"draining", true, 500), b"\0ready\xff");
    assert_eq!(heard_at_b(b"draining", true, 1100), b"draining");
    assert_eq!(heard_at_b(b"more memory", false, 5000), b"draining");
    assert_eq!(heard_at_b(b"more memory", false, 11_200), b"more memory");
    // More than may be told is not told at all.
    assert_eq!(heard_at_b(&[1; ABOUT_BYTES_MAX + 1], true, 13_000), b"");
}

#[test]
fn a_stream_is_behind_from_when_a_neighbour_was_known_to_be_ahead() {
    let (mut a, mut b) = linked();
    b.update(record(b"k", 1, b"x"), now(1));
    talk(&mut a, &mut b);
    let behind = |a: &Replica| {
        let stream = a.streams().find(|stream| &*stream.origin.server == "b").unwrap();
        (stream.behind, stream.behind_since.map(Instant::nanos))
    };
    a.handle_timeout(later(20));
    assert_eq!(behind(&a), (0, None));
    let version = 4;
    a.handle(LINK, &Message::Watermark { origin: 0, version }, later(30));
    a.handle_timeout(later(40));
    a.handle_timeout(later(60));
    assert_eq!(behind(&a), (3, Some(40_000_000)));
    a.close_link(LINK, later(70));
    a.handle_timeout(later(80));
    assert_eq!(behind(&a), (0, None));
}

fn later(ms: u64) -> Now {
    Now { instant: Instant::from_nanos(ms * 1_000_000), unix: now(10).unix }
}

#[test]
fn a_tombstone_that_was_dropped_elsewhere_is_repeated_for_a_late_report() {
    let (mut a, mut b) = linked();
    a.update(record(b"k", 5, b"x"), now(10));
    talk(&mut a, &mut b);
    assert!(b.forget(b"k", now(10)));
    talk(&mut a, &mut b);
    // a drops it; b does not, since nobody tells it the time.
    for s in 1..200 {
        a.handle_timeout(later(1000 * s));
        talk(&mut a, &mut b);
        if s < 3 {
            b.handle_timeout(later(1000 * s));
            talk(&mut a, &mut b);
        }
    }
    assert_eq!((a.get(b"k"), b.get(b"k").map(|known| known.tombstone)), (None, Some(true)));
    assert_eq!(a.update(record(b"k", 4, b"said again"), now(10)), Applied::Newer);
    talk(&mut a, &mut b);
    assert_eq!((a.len(), b.len()), (1, 0));
    b.handle_timeout(later(200_000));
    talk(&mut a, &mut b);
    assert_eq!((a.len(), b.len()), (0, 0));
    assert_eq!(b.happenings().tombstones_repeated, 1);
}

#[test]
fn an_orphan_that_comes_late_is_issued_again_too_and_none_twice() {
    let (_, mut b) = linked();
    for (number, (sequence, key)) in (0..).zip([(2, b"k2"), (1, b"k1")]) {
        let value = b"x".as_slice();
        let entry =
            Message::Entry { origin: 0, sequence, key, effective_ns: 1, tombstone: false, value };
        b.handle(LINK, &entry, later(5000 * number));
        for ms in (0..4000).step_by(100) {
            b.handle_timeout(later(5000 * number + ms));
        }
        assert_eq!(b.happenings().adopted, number + 1);
    }
    assert_eq!(b.own_version(), 2);
}

/// Holds a's tombstone, and beneath it what c, which is gone, has said before and nobody has committed.
fn hiding() -> Replica {
    let (_, mut b) = linked();
    let entry = |origin, effective_ns, tombstone, value| {
        let (sequence, key) = (1, b"k".as_slice());
        Message::Entry { origin, sequence, key, effective_ns, tombstone, value }
    };
    for message in [
        Message::Origin { number: 5, server: "c", incarnation: 1 },
        entry(5, 1, false, b"x"),
        entry(0, 2, true, b""),
        Message::Commit { origin: 0, from: 0, to: 1 },
    ] {
        b.handle(LINK, &message, now(10));
    }
    assert!(b.get(b"k").unwrap().tombstone);
    transmit(&mut b);
    b
}

#[test]
fn what_was_withheld_is_sent_before_the_commit_that_speaks_of_it() {
    const LISTENER: LinkId = LinkId(2);
    let mut b = hiding();
    b.open_link(LISTENER, now(10));
    for message in [
        Message::Origin { number: 0, server: "a", incarnation: 1 },
        Message::Origin { number: 5, server: "c", incarnation: 1 },
        Message::Watermark { origin: 0, version: 1 },
        Message::Greeted,
        Message::Subscribe { origin: 5, from: 0 },
    ] {
        b.handle(LISTENER, &message, now(10));
    }
    let said = |b: &mut Replica| -> Vec<(bool, bool)> {
        let sent = transmit_over(LISTENER, usize::MAX, b, now(10));
        let mut frames = &sent[..];
        let mut kinds = Vec::new();
        while let Some((decoded, taken)) = Message::decode(frames).unwrap() {
            let Decoded::Message(message) = decoded else { panic!("it speaks our version") };
            let is_report = matches!(message, Message::Entry { tombstone: false, .. });
            let is_commit = matches!(message, Message::Commit { to: 1, .. });
            if is_report || is_commit {
                kinds.push((is_report, is_commit));
            }
            frames = &frames[taken..];
        }
        kinds
    };
    assert_eq!(said(&mut b), [], "it holds the tombstone, and may drop it before this comes");
    b.handle(LINK, &Message::Commit { origin: 5, from: 0, to: 1 }, now(10));
    assert_eq!(said(&mut b), [(true, false), (false, true)], "the report, and then its commit");
}

#[test]
fn what_a_tombstone_hid_stays_hidden_when_a_snapshot_shows_that_one_to_be_dropped() {
    let mut b = hiding();
    for message in [
        Message::Floor { origin: 0, sequence: 2 },
        Message::Commit { origin: 0, from: 1, to: 2 },
        Message::SnapshotBegin,
        Message::Commit { origin: 0, from: 0, to: 2 },
        Message::SnapshotEnd,
    ] {
        b.handle(LINK, &message, now(10));
    }
    let known = b.get(b"k").unwrap();
    assert_eq!((known.effective_ns, known.tombstone, known.value), (2, true, &[0, 0, 0, 1][..]));
    assert_eq!((b.happenings().discarded, b.is_bootstrapping()), (1, false));
}

#[test]
fn a_snapshot_brings_nothing_back_whose_tombstone_its_receiver_has_dropped_or_may_drop() {
    const STRANGER: LinkId = LinkId(2);
    for (to, is_dropped, expected) in [(STRANGER, false, 1), (LINK, false, 0), (LINK, true, 0)] {
        let mut b = hiding();
        b.open_link(STRANGER, now(10));
        if is_dropped {
            b.handle(LINK, &Message::Floor { origin: 0, sequence: 1 }, now(10));
        }
        b.handle(to, &Message::SnapshotRequest, now(10));
        let sent = transmit_over(to, usize::MAX, &mut b, now(10));
        let mut frames = &sent[..];
        let mut reports = 0;
        while let Some((decoded, taken)) = Message::decode(frames).unwrap() {
            let is_report =
                |message: &Message<'_>| matches!(message, Message::Entry { tombstone: false, .. });
            reports += usize::from(matches!(decoded, Decoded::Message(m) if is_report(&m)));
            frames = &frames[taken..];
        }
        assert_eq!(reports, expected, "{to:?} {is_dropped}");
    }
}

pub(crate) fn record<'a>(key: &'a [u8], effective_s: i64, value: &'a [u8]) -> Record<'a> {
    Record { key, effective_ns: effective_s * 1_000_000_000, tombstone: false, value }
}

pub(crate) fn now(s: i64) -> Now {
    Now { instant: Instant::from_nanos(0), unix: UnixTime::from_nanos(s * 1_000_000_000) }
}

pub(crate) fn replica(name: &str) -> Replica {
    Replica::new(settings(name), now(0))
}

pub(crate) fn settings(name: &str) -> Settings {
    Settings {
        origin: Origin { server: name.into(), incarnation: 1 },
        members: ["a", "b"].into_iter().map(Into::into).collect(),
        redundancy: Redundancy::Ways(1),
        future_skew_max: Duration::from_mins(1),
        forget_after: Duration::from_mins(10),
        expire_after: None,
        seed: 1,
        tuning: Tuning::default(),
    }
}

pub(crate) fn linked() -> (Replica, Replica) {
    let (mut a, mut b) = (replica("a"), replica("b"));
    a.open_link(LINK, now(0));
    b.open_link(LINK, now(0));
    talk(&mut a, &mut b);
    (a, b)
}

/// Until neither has anything to say.
fn talk(a: &mut Replica, b: &mut Replica) {
    talk_at(a, b, now(10));
}

/// The same at another time.
pub(crate) fn talk_at(a: &mut Replica, b: &mut Replica, now: Now) {
    talk_on(LINK, a, b, now);
}

/// The same on another link.
pub(crate) fn talk_on(link: LinkId, a: &mut Replica, b: &mut Replica, now: Now) {
    while exchange_on(link, a, b, now) {}
}

/// Each hears what the other has to say; false if neither has anything.
pub(crate) fn exchange_at(a: &mut Replica, b: &mut Replica, now: Now) -> bool {
    exchange_on(LINK, a, b, now)
}

fn exchange_on(link: LinkId, a: &mut Replica, b: &mut Replica, now: Now) -> bool {
    let (from_a, from_b) =
        (transmit_over(link, usize::MAX, a, now), transmit_over(link, usize::MAX, b, now));
    deliver_over(link, &from_a, b, now);
    deliver_over(link, &from_b, a, now);
    !from_a.is_empty() || !from_b.is_empty()
}

struct Frames {
    bytes: Vec<u8>,
    /// Messages until it is full.
    room: usize,
}

impl Sink for Frames {
    fn put(&mut self, message: &Message<'_>) {
        message.encode(&mut self.bytes);
        self.room = self.room.saturating_sub(1);
    }

    fn is_full(&self) -> bool {
        self.room == 0
    }
}

fn transmit(from: &mut Replica) -> Vec<u8> {
    transmit_over(LINK, usize::MAX, from, now(10))
}

pub(crate) fn transmit_over(link: LinkId, room: usize, from: &mut Replica, now: Now) -> Vec<u8> {
    let mut frames = Frames { bytes: Vec::new(), room };
    from.poll_transmit(link, &mut frames, now);
    frames.bytes
}

fn deliver(frames: &[u8], to: &mut Replica) {
    deliver_over(LINK, frames, to, now(10));
}

pub(crate) fn deliver_over(link: LinkId, mut frames: &[u8], to: &mut Replica, now: Now) {
    while let Some((decoded, taken)) = Message::decode(frames).unwrap() {
        if let Decoded::Message(message) = decoded {
            to.handle(link, &message, now);
        }
        frames = &frames[taken..];
    }
}
