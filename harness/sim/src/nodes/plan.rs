//! What kind of history a seed makes.

use crate::chance::Chance;

/// The size and temper of one history, and what happens in it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many servers of ours, 2 to 8.
    pub servers: usize,
    /// The foreign ones; they are numbered after ours.
    pub foreign: Vec<ForeignPlan>,
    /// Which are neighbors.
    pub edges: Vec<(usize, usize)>,
    /// A byte takes at most so long one way.
    pub delay_ns: u64,
    /// How long each byte occupies a connection.
    pub byte_ns: u64,
    /// How bytes are cut to pieces on their way.
    pub pieces: Pieces,
    /// Bytes that may be on their way in one direction.
    pub room: usize,
    /// Bytes that a server is asked for at once.
    pub send_bytes: usize,
    /// A timer fires at most so late.
    pub late_ns: u64,
    /// In how many ways each stream is asked for; zero for all.
    pub redundancy: usize,
    /// Arrivals from which on a link that is behind scans.
    pub scan_arrivals_min: u64,
    /// How far each server's clock is ahead at first, seconds.
    pub skews_s: Vec<i64>,
    /// A server that is lost before all is healed, and never comes back.
    pub lost: Option<usize>,
    /// How long the herd is watched when it is at rest.
    pub rest_ns: u64,
    /// A server that speaks as a later version would.
    pub newer: Option<usize>,
    /// What happens, each after a pause of so many nanoseconds.
    pub steps: Vec<(u64, Step)>,
}

/// A foreign server.
#[derive(Clone, Copy, Debug)]
pub struct ForeignPlan {
    /// What it does with a line.
    pub habit: Habit,
    /// Its neighbors of ours believe it to be one of us until it answers their hello.
    pub taken_for_ours: bool,
    /// It says what it has to say over connections that it opens itself.
    pub dials: bool,
}

/// What a foreign server does with an AT line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Tells all neighbors but the sender, if it is newer than what it has.
    Flood,
    /// Tells everyone everything that one of ours says, the sender too.
    Echo,
    /// Floods, and tells everything it has to whoever connects.
    Resend,
}

/// How bytes are cut to pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// As large as a read may be.
    Whole,
    /// Of any size up to this.
    UpTo(u64),
    /// The first hundreds of bytes one by one.
    Single,
}

/// One thing that happens. Servers that are not there do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A client's report to one of ours, or to a foreign server.
    Write {
        /// Where.
        host: usize,
        /// Whose.
        client: u64,
        /// Of which time.
        time: Time,
        /// Which location.
        place: u64,
    },
    /// Reports of the first so many clients.
    Burst {
        /// Where.
        host: usize,
        /// How many.
        clients: u64,
    },
    /// A server ends: killed, or without a word.
    Crash(usize, bool),
    /// It is started.
    Start(usize),
    /// Both at once.
    Restart(usize, bool),
    /// A server does nothing for so many milliseconds.
    Freeze(usize, u64),
    /// A server runs for a tenth of the time, for so many seconds.
    Starve(usize, u64),
    /// A byte on its way along an edge becomes another.
    Corrupt(usize),
    /// A server's clock is set so many seconds ahead of the right one.
    SetClock(usize, i64),
    /// Nothing gets through an edge in these directions; bytes on their way wait.
    Cut(usize, [bool; 2]),
    /// Dials along an edge come to nothing in this way.
    Dials(usize, Dials),
    /// An edge is as it should be.
    Mend(usize),
    /// All edges are.
    MendAll,
    /// What is connected along an edge is reset.
    Break(usize),
    /// What is connected along an edge falls silent for good, in these directions.
    BlackHole(usize, [bool; 2]),
    /// Somebody connects who is no server.
    Stranger(usize, Talk),
    /// A second server of this one's name is started.
    Twin(usize),
    /// A server that does not belong here becomes this one's neighbor: of another herd, or unknown.
    Intruder(usize, bool),
    /// All second servers and intruders end.
    Banish,
    /// A foreign server says something that is no line, wherever it speaks.
    Nonsense(usize),
}

/// Of which time a report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Of the server's clock.
    Now,
    /// Of the start of a second so long before the history: others report of that too.
    Second(i64),
    /// So many seconds ago.
    Ago(i64),
    /// So many seconds ahead of the server's clock.
    Ahead(i64),
}

/// What happens to dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dials {
    /// They reach whom they shall.
    Reach,
    /// They are refused.
    Refused,
    /// Nobody answers.
    Hang,
    /// They reach this server of ours.
    Astray(usize),
}

/// What a stranger has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talk {
    /// Nothing.
    Silence,
    /// The beginning of a hello.
    HalfHello,
    /// Bytes of all kinds.
    Garbage,
    /// A hello with a neighbor's name, and silence.
    Impostor,
    /// The same, and a frame of an impossible length.
    ImpostorLong,
    /// The same, and frames that are unknown or malformed.
    ImpostorFrames,
    /// The same, and pings whose answers are never taken.
    ImpostorDeaf,
}

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of(chance: &mut Chance) -> Self {
        let servers_max = [2, 3, 3, 4, 7][chance.index(5)];
        let servers = 2 + chance.index(servers_max);
        let foreigners = [0, 0, 1, 1, 2][chance.index(5)];
        let foreign: Vec<_> = (0..foreigners)
            .map(|_| ForeignPlan {
                habit: [Habit::Flood, Habit::Echo, Habit::Resend][chance.index(3)],
                taken_for_ours: chance.per_mille(300),
                dials: chance.per_mille(350),
            })
            .collect();
        let skew_s = [0, 0, 1, 25][chance.index(4)];
        let mut plan = Self {
            servers,
            edges: edges(servers, &foreign, chance),
            foreign,
            delay_ns: [0, MS / 5, 3 * MS, 40 * MS, 150 * MS][chance.index(5)],
            byte_ns: [0, 0, 0, 2_000, 20_000][chance.index(5)],
            pieces: match chance.below(6) {
                0..=2 => Pieces::Whole,
                3 => Pieces::UpTo(20),
                4 => Pieces::UpTo(400),
                _ => Pieces::Single,
            },
            room: [64, 1_000, 64_000, 256_000][chance.index(4)],
            send_bytes: [64 * 1024, 64 * 1024, 4096, 300][chance.index(4)],
            late_ns: [0, 0, 10 * MS][chance.index(3)],
            redundancy: [1, 1, 2, 0][chance.index(4)],
            scan_arrivals_min: [1, 4, 1024][chance.index(3)],
            skews_s: (0..servers)
                .map(|_| i64::try_from(chance.below(2 * skew_s + 1)).unwrap_or(0))
                .map(|s| s - skew_s.cast_signed())
                .collect(),
            lost: None,
            newer: None,
            rest_ns: if chance.per_mille(30) { 60 * SECOND } else { 4 * SECOND },
            steps: Vec::new(),
        };
        // A slow connection must not take longer to drain than a neighbor's patience lasts, and one of
        // little room must not be far away, or pings alone would fill it.
        if plan.byte_ns > 2_000 {
            plan.room = plan.room.min(20_000);
        }
        if plan.room < 2_000 {
            plan.delay_ns = plan.delay_ns.min(3 * MS);
        }
        let lost = chance.index(servers);
        if chance.per_mille(150) && plan.is_connected_without(Some(lost)) {
            plan.lost = Some(lost);
        }
        plan.newer = chance.per_mille(200).then(|| chance.index(servers));
        plan.fill(chance);
        plan
    }

    /// How many servers there are, foreign ones too.
    pub fn hosts(&self) -> usize {
        self.servers + self.foreign.len()
    }

    fn fill(&mut self, chance: &mut Chance) {
        let steps = [4, 12, 30, 60][chance.index(4)];
        let many = chance.per_mille(100) && self.pieces == Pieces::Whole;
        let clients = if many { 300 } else { [1, 2, 3, 8][chance.index(4)] };
        let pause = [2 * MS, 40 * MS, 300 * MS, 1_500 * MS][chance.index(4)];
        // How many of a thousand things are what; the rest are reports.
        let crashes = [0, 60, 150][chance.index(3)];
        let nets = [0, 120, 300][chance.index(3)];
        let guests = [0, 0, 100][chance.index(3)];
        let clocks = [0, 0, 60][chance.index(3)];
        // A clock further ahead than others accept: links end until all clocks are right.
        let wild = chance.per_mille(100);
        if !self.foreign.is_empty() && chance.per_mille(300) {
            // A foreign server has something to tell before anybody is connected.
            let host = self.servers + chance.index(self.foreign.len());
            let client = chance.below(8);
            self.steps.push((0, Step::Write { host, client, time: Time::Second(0), place: 0 }));
        }
        for _ in 0..steps {
            let pause = if chance.per_mille(60) { 4 * SECOND } else { pause };
            let pause = chance.below(pause + 1);
            let host = chance.index(self.hosts());
            let server = chance.index(self.servers);
            let edge = chance.index(self.edges.len());
            let ways = [[true, true], [true, false], [false, true]][chance.index(3)];
            let mut dice = chance.below(1000);
            let mut falls = |part: u64| {
                let hit = dice < part;
                dice = dice.saturating_sub(part);
                hit
            };
            let step = if falls(crashes) {
                match chance.below(7) {
                    6 => Step::Starve(server, 2 + chance.below(10)),
                    0 => Step::Crash(host, chance.per_mille(500)),
                    1 | 2 => Step::Start(host),
                    // One that takes nothing for very long is given up by those who write to it.
                    3 if host >= self.servers => Step::Freeze(host, [700, 14_000][chance.index(2)]),
                    3 => Step::Freeze(host, [30, 700, 3_000][chance.index(3)]),
                    _ => Step::Restart(host, chance.per_mille(500)),
                }
            } else if falls(nets) {
                match chance.below(13) {
                    12 => Step::Corrupt(edge),
                    0 | 1 => Step::Cut(edge, ways),
                    2 => {
                        let astray = Dials::Astray(server);
                        Step::Dials(edge, [Dials::Refused, Dials::Hang, astray][chance.index(3)])
                    }
                    3..=5 => Step::Mend(edge),
                    6 => Step::MendAll,
                    7..=9 => Step::Break(edge),
                    _ => Step::BlackHole(edge, ways),
                }
            } else if falls(guests) {
                match chance.below(8) {
                    7 => Step::Nonsense(host),
                    0..=2 => Step::Stranger(server, talk(chance)),
                    3 => Step::Twin(server),
                    4 | 5 => Step::Intruder(server, chance.per_mille(500)),
                    _ => Step::Banish,
                }
            } else if falls(clocks) {
                let span = if wild { 400 } else { 25 };
                let ahead = i64::try_from(chance.below(2 * span + 1)).unwrap_or(0);
                Step::SetClock(server, ahead - span.cast_signed())
            } else if chance.per_mille(if many { 300 } else { 50 }) {
                Step::Burst { host, clients: 1 + chance.below(clients) }
            } else {
                let few = i64::try_from(chance.below(3)).unwrap_or(0);
                let time = match chance.below(12) {
                    0..=4 => Time::Now,
                    5..=7 => Time::Second(few),
                    8 => Time::Ago(1 + 1000 * few),
                    9 => Time::Ahead(59),
                    10 => Time::Ahead(100_000),
                    _ => Time::Ago(0),
                };
                let client = chance.below(clients.min(8));
                Step::Write { host, client, time, place: chance.below(4) }
            };
            if matches!(step, Step::Restart(..) | Step::Start(_)) && falls(clocks * 3) {
                // Its new life begins before the old one did.
                self.steps.push((0, Step::SetClock(host.min(self.servers - 1), -25)));
            }
            self.steps.push((pause, step));
        }
    }

    /// Whether every server of ours can be reached from every other over ours alone, a lost one left out.
    fn is_connected_without(&self, lost: Option<usize>) -> bool {
        let mut reached = vec![false; self.servers];
        let first = usize::from(lost == Some(0));
        reached[first] = true;
        for _ in 0..self.servers {
            for &(a, b) in &self.edges {
                if a.max(b) >= self.servers || lost.is_some_and(|lost| lost == a || lost == b) {
                    continue;
                }
                let either = reached[a] || reached[b];
                (reached[a], reached[b]) = (either, either);
            }
        }
        reached.into_iter().enumerate().all(|(at, reached)| reached || lost == Some(at))
    }
}

fn talk(chance: &mut Chance) -> Talk {
    let talks = [
        Talk::Silence,
        Talk::HalfHello,
        Talk::Garbage,
        Talk::Impostor,
        Talk::ImpostorLong,
        Talk::ImpostorFrames,
        Talk::ImpostorDeaf,
    ];
    chance.pick(&talks).unwrap_or(Talk::Silence)
}

/// A line, a star, a ring or a random tree of ours, with some links more; foreign servers are neighbors
/// of one or two of ours, and often of each other.
fn edges(servers: usize, foreign: &[ForeignPlan], chance: &mut Chance) -> Vec<(usize, usize)> {
    let mut edges: Vec<_> = match chance.below(4) {
        0 => (1..servers).map(|n| (n - 1, n)).collect(),
        1 => (1..servers).map(|n| (0, n)).collect(),
        2 if servers > 2 => (0..servers).map(|n| (n, (n + 1) % servers)).collect(),
        _ => (1..servers).map(|n| (chance.index(n), n)).collect(),
    };
    for _ in 0..chance.index(servers) {
        let (a, b) = (chance.index(servers), chance.index(servers));
        let known = |&(c, d): &(usize, usize)| (c, d) == (a, b) || (c, d) == (b, a);
        if a != b && !edges.iter().any(known) {
            edges.push((a, b));
        }
    }
    for other in servers..servers + foreign.len() {
        let first = chance.index(servers);
        edges.push((first, other));
        if chance.per_mille(600) {
            edges.push(((first + 1 + chance.index(servers - 1)) % servers, other));
        }
    }
    if foreign.len() == 2 && chance.per_mille(600) {
        edges.push((servers, servers + 1));
    }
    edges
}

pub(crate) fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
