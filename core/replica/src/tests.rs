//! Two or three replicas that talk without a network.

mod bounds;

use super::*;
use herd_proto::peer::{BatchWriter, Decoded, KEYS_MAX, KeyDigest, Message, decode_batch};
use herd_proto::{Instant, Now, UnixTime};
use std::time::Duration;

fn at(ms: u64) -> Now {
    ahead(ms, 0)
}

/// A clock that is ahead.
fn ahead(ms: u64, ahead_s: i64) -> Now {
    let ns = i64::try_from(ms * 1_000_000).unwrap() + (1_000_000 + ahead_s) * 1_000_000_000;
    Now { instant: Instant::from_nanos(ms * 1_000_000), unix: UnixTime::from_nanos(ns) }
}

fn settings(name: &str) -> Settings {
    Settings {
        origin: Origin { server: name.into(), incarnation: 1 },
        members: ["a", "b", "c"].map(Into::into).into(),
        redundancy: Redundancy::Ways(1),
        future_skew_max: Duration::from_mins(1),
        forget_after: Duration::from_mins(10),
        horizon: Duration::from_hours(24),
        expire_after: None,
        seed: 7,
        tuning: Tuning { segment_arrivals: 4, ..Tuning::default() },
    }
}

fn record<'a>(key: &'a [u8], ms: u64, value: &'a [u8]) -> Record<'a> {
    let ns = at(ms).unix.nanos();
    Record { key, effective_ns: ns, received_ns: ns, tombstone: false, value }
}

/// A herd in a room: replicas, the links between them, and one clock.
struct Room {
    replicas: Vec<Replica>,
    /// Link number, and its two ends.
    links: Vec<(u64, usize, usize)>,
    opened: u64,
    ms: u64,
    ahead_s: Vec<i64>,
    events: Vec<(usize, Event)>,
    closed: Vec<Fault>,
}

struct Bytes<'a>(BatchWriter<'a>, usize);

impl Sink for Bytes<'_> {
    fn put(&mut self, message: &Message<'_>) {
        self.0.push(message);
        self.1 += 1;
    }

    fn is_full(&self) -> bool {
        self.1 >= 8
    }
}

impl Room {
    fn new(names: &[&str]) -> Self {
        Self::with(names.iter().map(|name| settings(name)).collect())
    }

    fn with(settings: Vec<Settings>) -> Self {
        let ahead_s = vec![0; settings.len()];
        let replicas = settings.into_iter().map(|s| Replica::new(s, at(0))).collect();
        Self {
            replicas,
            links: Vec::new(),
            opened: 0,
            ms: 0,
            ahead_s,
            events: Vec::new(),
            closed: Vec::new(),
        }
    }

    fn now(&self, one: usize) -> Now {
        ahead(self.ms, self.ahead_s[one])
    }

    fn link(&mut self, one: usize, other: usize) {
        self.open(one, other);
        self.run(0);
    }

    fn open(&mut self, one: usize, other: usize) {
        self.opened += 1;
        let id = LinkId(self.opened);
        for (here, there) in [(one, other), (other, one)] {
            let peer = self.replicas[there].settings.origin.server.clone();
            let now = self.now(here);
            self.replicas[here].open_link(id, &peer, now);
        }
        self.links.push((id.0, one, other));
    }

    fn cut(&mut self, one: usize, other: usize) {
        let gone: Vec<_> =
            self.links.iter().copied().filter(|&(_, a, b)| (a, b) == (one, other)).collect();
        self.links.retain(|link| !gone.contains(link));
        for (id, a, b) in gone {
            for end in [a, b] {
                let now = self.now(end);
                self.replicas[end].close_link(LinkId(id), now);
            }
        }
    }

    /// Lets time pass.
    fn run(&mut self, ms: u64) {
        let end = self.ms + ms;
        loop {
            while self.exchange() {}
            if self.ms >= end {
                return;
            }
            self.ms = (self.ms + 20).min(end);
            for one in 0..self.replicas.len() {
                let now = self.now(one);
                if self.replicas[one].poll_timeout() <= now.instant {
                    self.replicas[one].handle_timeout(now);
                }
            }
        }
    }

    fn exchange(&mut self) -> bool {
        let mut any = false;
        for (id, a, b) in self.links.clone() {
            for (from, to) in [(a, b), (b, a)] {
                let mut bytes = Vec::new();
                let now = self.now(from);
                let mut sink = Bytes(BatchWriter::new(&mut bytes), 0);
                self.replicas[from].poll_transmit(LinkId(id), &mut sink, now);
                drop(sink);
                let mut rest = &bytes[..];
                let now = self.now(to);
                while let Some((batch, taken)) = decode_batch(rest).unwrap() {
                    for frame in batch {
                        let Decoded::Message(message) = frame.unwrap() else { panic!() };
                        any = true;
                        self.replicas[to].handle(LinkId(id), &message, now);
                    }
                    rest = &rest[taken..];
                }
            }
        }
        for one in 0..self.replicas.len() {
            while let Some(output) = self.replicas[one].poll_output() {
                match output {
                    Output::Event(event) => self.events.push((one, event)),
                    Output::Close(_, fault) => self.closed.push(fault),
                    Output::Transmit(_) | Output::Journal | Output::Journaled(_) => {}
                }
            }
        }
        any
    }

    fn say(&mut self, one: usize, key: &[u8], value: &[u8]) -> Applied {
        let now = self.now(one);
        let ns = now.unix.nanos();
        let record = Record { key, effective_ns: ns, received_ns: ns, tombstone: false, value };
        self.replicas[one].update(record, now)
    }

    fn shows(&self, one: usize, key: &[u8]) -> Option<Vec<u8>> {
        let now = self.now(one);
        let record = self.replicas[one].get(key)?;
        self.replicas[one].is_shown(&record, now.unix).then(|| record.value.to_vec())
    }

    fn stats(&self) -> ReplicaStats {
        let mut sum = ReplicaStats::default();
        for replica in &self.replicas {
            sum.add(&replica.stats());
        }
        sum
    }

    /// Replaces one by a new process that knows nothing but some records.
    fn restart(&mut self, one: usize, keeps: bool) {
        let mut settings = self.replicas[one].settings.clone();
        settings.origin.incarnation += 1;
        let now = self.now(one);
        let mut next = Replica::new(settings, now);
        if keeps {
            for record in self.replicas[one].records() {
                next.load(record, now);
            }
        }
        for (_, a, b) in self.links.clone() {
            if a == one || b == one {
                self.cut(a, b);
            }
        }
        self.replicas[one] = next;
    }
}

fn line() -> Room {
    let mut room = Room::new(&["a", "b", "c"]);
    room.link(0, 1);
    room.link(1, 2);
    room.run(2_000);
    room
}

#[test]
fn an_update_reaches_everyone_once() {
    let mut room = line();
    assert_eq!(room.say(0, b"k", b"x"), Applied::Newer);
    assert_eq!(room.say(0, b"k", b"x"), Applied::NotNewer);
    room.run(100);
    assert!((0..3).all(|one| room.shows(one, b"k").as_deref() == Some(b"x")));
    assert_eq!(room.stats().sent, 2);
    room.run(200_000);
    assert_eq!((room.stats().sent, room.stats().fetched_new), (2, 0));
    assert!(room.replicas.iter().all(|replica| replica.census().arrivals == 0));
}

#[test]
fn an_empty_server_gets_everything_by_buckets_and_then_by_streams() {
    let mut room = line();
    for key in 0..3_000_u64 {
        room.say((key % 3) as usize, &key.to_be_bytes(), b"value");
        if key % 100 == 0 {
            room.run(20);
        }
    }
    room.run(5_000);
    room.restart(2, false);
    room.link(1, 2);
    room.run(3_000);
    assert_eq!(room.replicas[2].len(), 3_000);
    assert!(room.replicas[2].is_caught_up(LinkId(3)));
    let sent = room.stats().sent;
    room.say(0, b"new", b"x");
    room.run(100);
    assert_eq!(room.shows(2, b"new").as_deref(), Some(b"x".as_slice()));
    assert_eq!(room.stats().sent - sent, 2);
    assert_eq!(room.stats().repairs, 0);
    assert_eq!(room.replicas[0].streams().count(), 3);
}

#[test]
fn a_restart_with_a_disk_costs_what_differs() {
    let mut room = line();
    for key in 0..2_000_u64 {
        room.say(2, &key.to_be_bytes(), b"value");
        room.run(if key % 100 == 0 { 20 } else { 0 });
    }
    room.run(5_000);
    let before = room.replicas[1].stats();
    room.restart(2, true);
    for key in 0..10_u64 {
        room.say(0, &key.to_be_bytes(), b"newer");
    }
    room.run(1_000);
    room.link(1, 2);
    room.run(3_000);
    assert_eq!(room.shows(2, &3_u64.to_be_bytes()).as_deref(), Some(b"newer".as_slice()));
    let after = room.replicas[1].stats();
    assert!(after.donated <= 30, "{after:?}");
    assert!(after.sent - before.sent <= 10, "{after:?}");
    assert!(room.replicas[2].is_caught_up(LinkId(3)));
}

#[test]
fn both_halves_of_a_split_merge() {
    let mut room = line();
    room.cut(1, 2);
    room.say(0, b"k", b"early");
    room.run(50);
    room.say(2, b"k", b"late");
    room.say(2, b"only", b"there");
    room.run(1_000);
    room.link(1, 2);
    room.run(1_000);
    for one in 0..3 {
        assert_eq!(room.shows(one, b"k").as_deref(), Some(b"late".as_slice()));
        assert_eq!(room.shows(one, b"only").as_deref(), Some(b"there".as_slice()));
    }
    room.run(100_000);
    let stats = room.stats();
    assert_eq!((stats.repairs, stats.fetched_new), (0, 0), "{stats:?}");
    let roots: Vec<_> = room.replicas.iter().map(|r| r.table.sums.root()).collect();
    assert!(roots.iter().all(|&root| root == roots[0]));
}

#[test]
fn what_is_forgotten_stays_forgotten() {
    let mut room = line();
    room.say(0, b"k", b"x");
    room.run(100);
    room.cut(1, 2);
    let now = room.now(0);
    assert!(room.replicas[0].forget(b"k", now));
    room.run(100);
    let now = room.now(2);
    let late = Record { effective_ns: now.unix.nanos() - 1_000_000_000, ..record(b"k", 0, b"z") };
    let late = Record { received_ns: now.unix.nanos(), ..late };
    room.replicas[2].update(late, now);
    room.link(1, 2);
    room.run(1_000);
    assert!((0..3).all(|one| room.shows(one, b"k").is_none()));
}

#[test]
fn what_a_dead_server_sent_to_some_reaches_all() {
    let mut room = Room::new(&["a", "b", "c"]);
    room.link(0, 1);
    room.run(1_500);
    // It is passed to b alone, and never committed.
    let now = room.now(1);
    let origin = Message::Origin { number: 900, server: "dead", incarnation: 5 };
    room.replicas[1].handle(LinkId(1), &origin, now);
    let ns = now.unix.nanos();
    let entry = Message::Entry {
        origin: 900,
        sequence: 4,
        key: b"k",
        effective_ns: ns,
        received_ns: ns,
        tombstone: false,
        value: b"x",
    };
    room.replicas[1].handle(LinkId(1), &entry, now);
    room.link(1, 2);
    room.run(3_000);
    assert!((0..3).all(|one| room.shows(one, b"k").is_some()));
    assert_eq!(room.stats().repairs, 0);
}

#[test]
fn a_record_of_the_future_is_hidden_until_it_is_due() {
    let mut room = line();
    room.ahead_s[0] = 300;
    room.say(0, b"k", b"x");
    room.ahead_s[0] = 0;
    room.run(1_000);
    assert!((0..3).all(|one| room.shows(one, b"k").is_none()));
    room.run(400_000);
    assert!((0..3).all(|one| room.shows(one, b"k").is_some()));
    assert_eq!(room.stats().repairs, 0);
    // One that is far ahead is not kept beside anything.
    room.ahead_s[0] = 3_600;
    room.run(40);
    room.say(0, b"k", b"far");
    room.run(40);
    room.ahead_s[0] = 0;
    room.run(1_000);
    assert_eq!(room.shows(2, b"k").as_deref(), Some(b"x".as_slice()));
    let now = room.now(0);
    assert!(room.replicas[0].reissue(b"k", now));
    room.run(1_000);
    for one in 0..3 {
        assert_eq!(room.shows(one, b"k").as_deref(), Some(b"far".as_slice()), "{one}");
    }
}

#[test]
fn a_clock_that_runs_ahead_makes_a_server_give_up_nothing_that_it_would_reissue() {
    let mut room = Room::new(&["a"]);
    room.ahead_s[0] = 300;
    room.run(40);
    room.say(0, b"k", b"x");
    room.ahead_s[0] = 0;
    room.run(1_000);
    assert_eq!(room.replicas[0].futures().count(), 1);
    room.ahead_s[0] = 365 * 86_400;
    let now = room.now(0);
    assert!(!room.replicas[0].reissue(b"k", now));
    room.run(1_000);
    room.ahead_s[0] = 0;
    room.run(1_000);
    let now = room.now(0);
    assert!(room.replicas[0].reissue(b"k", now));
    assert!(room.shows(0, b"k").is_some());
}

#[test]
fn what_expires_is_hidden_at_once_and_erased_after_a_steady_while() {
    let short = |name: &str| Settings {
        expire_after: Some(Duration::from_mins(1)),
        tuning: Tuning { erase_after: Duration::from_secs(100), ..settings(name).tuning },
        ..settings(name)
    };
    let mut room = Room::with(vec![short("a"), short("b")]);
    room.link(0, 1);
    room.say(0, b"k", b"x");
    room.run(59_000);
    assert!(room.shows(1, b"k").is_some());
    room.run(2_000);
    assert!((0..2).all(|one| room.shows(one, b"k").is_none() && room.replicas[one].len() == 1));
    room.run(60_000);
    assert!((0..2).all(|one| room.replicas[one].census().keys == 0));
    // A clock that jumps hides, and does not erase.
    room.say(0, b"k", b"y");
    room.run(1_000);
    room.ahead_s[1] = 365 * 86_400;
    room.run(3_000);
    assert!(room.shows(1, b"k").is_none());
    room.ahead_s[1] = 0;
    room.run(1_000);
    assert!(room.shows(1, b"k").is_some());
    assert_eq!(room.stats().repairs, 0);
}

#[test]
fn a_journal_takes_each_key_as_it_is_then() {
    let mut room = Room::new(&["a"]);
    let replica = &mut room.replicas[0];
    for key in 0..10_u8 {
        replica.update(record(&[key], 1, b"x"), at(1));
    }
    let journal = replica.open_journal();
    let mut taken = Vec::new();
    let told = replica
        .poll_journal(journal, |record| {
            taken.push(record.key.to_vec());
            taken.len() < 4
        })
        .unwrap();
    assert_eq!((told.is_all, told.upto, taken.len()), (false, 0, 4));
    replica.update(record(&[1], 2, b"y"), at(2));
    replica.update(record(&[1], 3, b"z"), at(2));
    let position = replica.position();
    let told = replica.poll_journal(journal, |record| {
        taken.push(record.key.to_vec());
        true
    });
    assert_eq!(told, Some(Told { upto: position, is_all: true }));
    assert_eq!(taken.len(), 11);
    replica.handle_journaled(&told.unwrap());
    assert_eq!(replica.journaled(), position);
}

#[test]
fn two_donors_share_the_work() {
    let mut room = Room::new(&["a", "b", "c"]);
    room.link(0, 1);
    for key in 0..4_000_u64 {
        room.say(0, &key.to_be_bytes(), b"value");
        room.run(if key % 100 == 0 { 20 } else { 0 });
    }
    room.run(5_000);
    room.open(0, 2);
    room.open(1, 2);
    room.run(3_000);
    assert_eq!(room.replicas[2].len(), 4_000);
    let donated = [0, 1].map(|one| room.replicas[one].stats().donated);
    assert!(donated.iter().sum::<u64>() <= 4_200, "{donated:?}");
    assert!(donated.iter().all(|&one| one > 500), "{donated:?}");
}

#[test]
fn restarts_leave_nothing_behind() {
    let mut room = line();
    for _ in 0..300 {
        room.say(2, b"k", b"x");
        room.run(20);
        room.restart(2, false);
        room.link(1, 2);
        room.run(60);
    }
    room.run(3_000);
    assert!(room.shows(0, b"k").is_some());
    assert!(room.replicas.iter().all(|replica| replica.streams().count() <= 3));
    assert!(room.replicas.iter().all(|replica| replica.census().names <= 3));
    assert_eq!(room.stats().repairs, 0);
}

#[test]
fn labels_of_a_stream_that_ended_give_their_memory_back() {
    let mut room = line();
    room.run(3_000);
    // A peer that is away for a short while keeps labels from being trimmed.
    room.cut(1, 2);
    for _ in 0..3 {
        room.say(0, b"k", b"x");
        room.run(20);
        room.say(1, b"k", b"y");
        room.run(20);
    }
    assert_eq!(room.replicas[1].census().labels, 1);
    room.restart(0, false);
    room.link(0, 1);
    room.run(3_000);
    assert_eq!(room.replicas[1].census().labels, 0);
}

#[test]
fn a_comparison_between_an_entry_and_its_commit_opens_no_gap() {
    for is_committed in [true, false] {
        let mut room = line();
        let (ns, later) = (room.now(1).unix.nanos(), at(room.ms + 1_000));
        let entry = Message::Entry {
            origin: 0,
            sequence: 1,
            key: b"k",
            effective_ns: ns,
            received_ns: ns,
            tombstone: false,
            value: b"x",
        };
        let (now, between) = (room.now(1), &mut room.replicas[1]);
        between.handle(LinkId(1), &entry, now);
        find_same(between, now);
        let at = between.streams.find("a", 1).unwrap();
        assert_eq!(between.streams.version(at), 0);
        if is_committed {
            between.handle(LinkId(1), &Message::Commit { origin: 0, from: 0, to: 1 }, now);
        } else {
            // Its server may be dead: what was compared counts.
            find_same(between, later);
        }
        assert_eq!(between.streams.version(at), 1);
        let subscription = between.links.open[&LinkId(2)].subscriptions.get(at).unwrap();
        assert_eq!(subscription.gap.is_none(), is_committed);
    }
}

/// Compares on link 1, whose other side has written once and stores the same.
fn find_same(replica: &mut Replica, now: Now) {
    replica.compare_now(now);
    replica.handle_timeout(now);
    let mut asked = Asked(None);
    replica.poll_transmit(LinkId(1), &mut asked, now);
    let token = asked.0.expect("the root is asked for");
    replica.handle(LinkId(1), &Message::Same { token, versions: vec![(0, 1)] }, now);
}

/// The token of a question for the root.
struct Asked(Option<u64>);

impl Sink for Asked {
    fn put(&mut self, message: &Message<'_>) {
        if let Message::Compare { token, .. } = *message {
            self.0 = Some(token);
        }
    }

    fn is_full(&self) -> bool {
        false
    }
}

#[test]
fn what_a_server_stamped_ahead_counts_again_after_a_restart_with_a_right_clock() {
    let mut room = line();
    // Far less than a link would allow, and too far for what is stamped to be due.
    room.ahead_s[0] = 7_200;
    room.cut(0, 1);
    room.say(0, b"k", b"x");
    room.ahead_s[0] = 0;
    room.restart(0, true);
    room.link(0, 1);
    room.run(1_000);
    let now = room.now(0);
    assert!(room.shows(0, b"k").is_none());
    assert!(room.replicas[0].reissue(b"k", now));
    room.run(1_000);
    assert!((0..3).all(|one| room.shows(one, b"k").is_some()));
    assert!(room.replicas.iter().all(|replica| replica.futures().next().is_none()));
}

#[test]
fn kinds_and_values_that_no_server_here_can_read_are_passed_on_byte_for_byte() {
    let mut room = line();
    let value: Vec<u8> = (0..=u8::MAX).rev().collect();
    room.say(0, b"\xfe of a later version", &value);
    room.run(100);
    let found = room.shows(2, b"\xfe of a later version");
    assert_eq!(found, Some(value.clone()), "by a stream");
    let mut room = Room::new(&["a", "b", "c"]);
    room.say(0, b"\xfe of a later version", &value);
    room.restart(0, true);
    room.link(0, 1);
    room.link(1, 2);
    room.run(3_000);
    assert_eq!(room.shows(2, b"\xfe of a later version"), Some(value), "by buckets");
}

#[test]
fn a_server_knows_when_it_has_caught_up() {
    let mut room = Room::new(&["a", "b"]);
    for key in 0..3_000_u64 {
        room.say(0, &key.to_be_bytes(), b"value");
    }
    room.open(0, 1);
    assert!(!room.replicas[1].is_caught_up(LinkId(1)));
    room.run(5_000);
    assert_eq!(room.replicas[1].len(), 3_000);
    assert!(room.replicas[1].is_caught_up(LinkId(1)));
    assert!(room.events.contains(&(1, Event::CaughtUp(LinkId(1)))), "{:?}", room.events);
}
