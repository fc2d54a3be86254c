//! Each case: what is made ready uncounted, and what is then done so many times.

use herd_geo::Point;
use herd_index::Index;
use herd_node::{DialRole, Dialect, JournalId, LinkId, Node, PeerSettings, Redundancy, Settings};
use herd_places::Query;
use herd_proto::{Command, Frame, Framer, Iamat, Instant, Now, Report, UnixTime, Versions};
use std::time::Duration;

/// One thing that is counted.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// How many operations one run is.
    pub(crate) operations: usize,
    pub(crate) prepare: fn() -> Run,
}

type Run = Box<dyn FnMut() -> u64>;

/// Clients known before anything is counted: enough that tables have their usual depth, few enough that making
/// them ready under callgrind takes a second.
const CLIENTS: usize = 20_000;
/// Operations a run, so that what begins and ends it does not count.
const OPERATIONS: usize = 2_000;
/// An answer about places costs as much as a hundred updates.
const ANSWERS: usize = 100;

pub(crate) const ALL: &[Case] = &[
    Case { name: "parse-iamat", operations: OPERATIONS, prepare: parse_iamat },
    Case { name: "report-known", operations: OPERATIONS, prepare: report_known },
    Case { name: "report-new", operations: OPERATIONS, prepare: report_new },
    Case { name: "locate", operations: OPERATIONS, prepare: locate },
    Case { name: "spread-say", operations: OPERATIONS, prepare: spread_say },
    Case { name: "spread-hear", operations: OPERATIONS, prepare: spread_hear },
    Case { name: "journal", operations: OPERATIONS, prepare: journal },
    Case { name: "index-move", operations: OPERATIONS, prepare: index_move },
    Case { name: "index-nearest-20", operations: ANSWERS, prepare: index_nearest },
    Case { name: "places-dense-20", operations: ANSWERS, prepare: places_dense },
];

/// What a client says: one line without its line feed.
fn line(client: usize, second: usize) -> String {
    let (north, east) = (34.068_930 + client as f64 / 1e6, 118.445_127 - second as f64 / 1e6);
    format!("IAMAT walker-{client:06} +{north:.6}-{east:.6} {}.918963997", 1_520_023_934 + second)
}

fn lines(second: usize, count: usize) -> Vec<String> {
    // One after another is not how clients come.
    (0..count).map(|at| line(at * 7_919 % CLIENTS, second)).collect()
}

fn now(second: usize) -> Now {
    let ns = 1_000_000_000 * (second as u64 + 1);
    let unix = UnixTime::parse(&format!("{}.5", 1_520_023_935 + second));
    Now { instant: Instant::from_nanos(ns), unix: unix.unwrap_or(UnixTime::from_nanos(0)) }
}

fn iamat(line: &str) -> Option<Iamat<'_>> {
    if let Command::Iamat(iamat) = Command::parse(line.as_bytes()) { Some(iamat) } else { None }
}

fn settings(name: &str, peers: Vec<PeerSettings>) -> Settings {
    Settings {
        herd: "news".to_owned(),
        name: name.to_owned(),
        incarnation: 1,
        seed: 1,
        members: ["Hill", "Jaquez"].into_iter().map(Into::into).collect(),
        peers,
        frames: Versions::CURRENT,
        redundancy: Redundancy::Ways(1),
        forget_after: Duration::from_mins(10),
        horizon: Duration::from_hours(30 * 24),
        expire_after: None,
        future_skew_max: Duration::from_mins(1),
        ceiling: herd_node::Ceiling::default(),
        line_bytes_max: 8192,
        ping_every: Duration::from_hours(1),
        hello_within: Duration::from_hours(1),
        backoff_min: Duration::from_secs(1),
        backoff_max: Duration::from_secs(5),
        ready_grace: Duration::from_secs(3),
    }
}

fn report(node: &mut Node, lines: &[String], now: Now) -> u64 {
    let mut out = Vec::new();
    for iamat in lines.iter().filter_map(|line| iamat(line)) {
        if let Some(difference) = node.handle_report(&iamat, now) {
            Report::write_received("Hill", difference, &iamat, &mut out);
        }
    }
    out.len() as u64
}

/// A node that knows all clients.
fn knowing(settings: Settings) -> Node {
    let mut node = Node::new(settings, now(0));
    report(&mut node, &lines(0, CLIENTS), now(0));
    drain(&mut node);
    node
}

fn drain(node: &mut Node) {
    while node.poll_output().is_some() {}
}

fn parse_iamat() -> Run {
    let text = lines(0, OPERATIONS).join("\n") + "\n";
    Box::new(move || {
        let mut framer = Framer::new(8192);
        let frames = framer.feed(text.as_bytes());
        let parsed = frames.filter(|frame| {
            let Frame::Line(line) = frame else { return false };
            matches!(Command::parse(line), Command::Iamat(_))
        });
        parsed.count() as u64
    })
}

fn report_known() -> Run {
    let mut node = knowing(settings("Hill", Vec::new()));
    let lines = lines(1, OPERATIONS);
    Box::new(move || report(&mut node, &lines, now(1)))
}

fn report_new() -> Run {
    let mut node = knowing(settings("Hill", Vec::new()));
    let lines: Vec<_> = (0..OPERATIONS).map(|at| line(CLIENTS + at, 1)).collect();
    Box::new(move || report(&mut node, &lines, now(1)))
}

fn locate() -> Run {
    let node = knowing(settings("Hill", Vec::new()));
    let names: Vec<_> =
        (0..OPERATIONS).map(|at| format!("walker-{:06}", at * 7_919 % CLIENTS)).collect();
    Box::new(move || {
        let mut out = Vec::new();
        for name in &names {
            if let Some(found) = node.locate(name, now(1).unix) {
                found.report.write_at(name, &mut out);
            }
        }
        out.len() as u64
    })
}

/// Two nodes with a link between them, over which all has been said.
struct Pair {
    hill: Node,
    jaquez: Node,
    /// The link as each of them numbers it.
    links: (LinkId, LinkId),
}

impl Pair {
    fn new() -> Self {
        let peer = |name: &str| PeerSettings {
            name: name.to_owned(),
            dialect: Dialect::Native,
            role: DialRole::Always,
            dead_after: Duration::from_hours(2),
        };
        let mut hill = knowing(settings("Hill", vec![peer("Jaquez")]));
        let mut jaquez = Node::new(settings("Jaquez", vec![peer("Hill")]), now(0));
        let links = (hill.handle_accepted(now(0)), jaquez.handle_accepted(now(0)));
        // One of them has dialed, so it says hello first.
        let dialed = hill.handle_connected(herd_node::PeerId(0), now(0));
        let links = (dialed.unwrap_or(links.0), links.1);
        let mut pair = Self { hill, jaquez, links };
        for ms in 0..200 {
            let at = Now { instant: Instant::from_nanos(1_000_000 * 20 * ms), ..now(0) };
            pair.talk(at);
            pair.hill.handle_timeout(at);
            pair.jaquez.handle_timeout(at);
        }
        assert_eq!(pair.jaquez.clients(), CLIENTS, "the two have not come together");
        pair
    }

    fn talk(&mut self, now: Now) {
        loop {
            let (there, back) = (self.say(now), self.answer(now));
            if there == 0 && back == 0 {
                return;
            }
        }
    }

    fn say(&mut self, now: Now) -> usize {
        let mut bytes = Vec::new();
        self.hill.poll_transmit(self.links.0, &mut bytes, usize::MAX, now);
        self.jaquez.handle_link_input(self.links.1, &bytes, now);
        drain(&mut self.hill);
        drain(&mut self.jaquez);
        bytes.len()
    }

    fn answer(&mut self, now: Now) -> usize {
        let mut bytes = Vec::new();
        self.jaquez.poll_transmit(self.links.1, &mut bytes, usize::MAX, now);
        self.hill.handle_link_input(self.links.0, &bytes, now);
        drain(&mut self.hill);
        drain(&mut self.jaquez);
        bytes.len()
    }
}

fn spread_say() -> Run {
    let mut pair = Pair::new();
    report(&mut pair.hill, &lines(10, OPERATIONS), now(10));
    Box::new(move || {
        let mut bytes = Vec::new();
        pair.hill.poll_transmit(pair.links.0, &mut bytes, usize::MAX, now(10));
        bytes.len() as u64
    })
}

fn spread_hear() -> Run {
    let mut pair = Pair::new();
    report(&mut pair.hill, &lines(10, OPERATIONS), now(10));
    let mut bytes = Vec::new();
    pair.hill.poll_transmit(pair.links.0, &mut bytes, usize::MAX, now(10));
    Box::new(move || {
        pair.jaquez.handle_link_input(pair.links.1, &bytes, now(10));
        bytes.len() as u64
    })
}

fn journal() -> Run {
    let mut node = knowing(settings("Hill", Vec::new()));
    let journal = node.open_journal();
    poll_all(&mut node, journal);
    report(&mut node, &lines(1, OPERATIONS), now(1));
    Box::new(move || poll_all(&mut node, journal))
}

/// Everything that a journal has to be told, which is not told in one go; returns how many records that were.
fn poll_all(node: &mut Node, journal: JournalId) -> u64 {
    let mut records = 0;
    let mut poll = || {
        node.poll_journal(journal, |_| {
            records += 1;
            true
        })
    };
    while poll().is_some_and(|told| !told.is_all) {}
    records
}

/// All clients in a city some kilometers wide, a step of a meter at a time.
fn city() -> Index<u32> {
    let mut index = Index::new();
    for key in 0..CLIENTS {
        move_to(&mut index, key, 0);
    }
    index
}

fn move_to(index: &mut Index<u32>, key: usize, step: usize) {
    let (north, east) = (key * 7_919 % CLIENTS, key * 104_729 % CLIENTS);
    let lat_deg = 34.0 + north as f64 / 2e5 + step as f64 / 1e5;
    let point = Point::new(lat_deg, -118.3 + east as f64 / 2e5);
    if let (Ok(key), Ok(point)) = (u32::try_from(key), point) {
        index.put(key, point);
    }
}

fn index_move() -> Run {
    let mut index = city();
    Box::new(move || {
        for at in 0..OPERATIONS {
            move_to(&mut index, at * 7_919 % CLIENTS, 1);
        }
        index.len() as u64
    })
}

fn index_nearest() -> Run {
    let index = city();
    Box::new(move || {
        let mut found = 0;
        for at in 0..ANSWERS {
            let Ok(center) = Point::new(34.05 + at as f64 / 1e4, -118.25) else { continue };
            found += index.nearest(center, 5_000.0, 20).len() as u64;
        }
        found
    })
}

/// Los Angeles, where every question finds far more places than it asks for.
fn places_dense() -> Run {
    let gazetteer = herd_atlas::gazetteer();
    Box::new(move || {
        let Ok(gazetteer) = &gazetteer else { return 0 };
        let mut bytes = 0;
        for at in 0..ANSWERS {
            let Ok(center) = Point::new(34.05 + at as f64 / 1e3, -118.25) else { continue };
            let query = Query { center, radius_m: 50_000.0, bound: 20 };
            bytes += gazetteer.nearby(&query, 1_520_023_934).as_str().len() as u64;
        }
        bytes
    })
}
