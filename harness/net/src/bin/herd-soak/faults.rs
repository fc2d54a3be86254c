//! What breaks: chosen by chance, several things at a time, each for a while.
//!
//! Never all servers at once: before any is killed, one that has been up for a while and is ready stays
//! alive, and all that stay and can answer are asked for everything they have.

use crate::ask::Asker;
use crate::chance::Chance;
use crate::model::{Model, client_name};
use crate::place;
use anyhow::{Result, ensure};
use herd_net::{FIVE, FIVE_LINKS, Herd};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The herd and what is broken of it.
#[derive(Debug)]
pub(crate) struct Faults {
    herd: Herd,
    model: Arc<Model>,
    chance: Chance,
    active: Vec<(Instant, Fault)>,
    /// Since when each server has run.
    started: BTreeMap<&'static str, Instant>,
    counts: BTreeMap<&'static str, u64>,
    /// Kinds still to come before any comes again.
    deck: Vec<Kind>,
    next: Instant,
}

/// What can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kill,
    KillSeveral,
    Freeze,
    Cut,
    OneWay,
    Down,
    Slow,
}

/// How often each kind comes, of so many.
const DECK: [Kind; 12] = [
    Kind::Kill,
    Kind::Kill,
    Kind::KillSeveral,
    Kind::Freeze,
    Kind::Freeze,
    Kind::Cut,
    Kind::Cut,
    Kind::OneWay,
    Kind::OneWay,
    Kind::Down,
    Kind::Slow,
    Kind::Slow,
];

type Link = (&'static str, &'static str);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    Killed(&'static str),
    Frozen(&'static str),
    Cut(Link),
    OneWay(Link),
    Down(Link),
    Slow(Link),
}

/// So many things are broken at once at most.
const ACTIVE_MAX: usize = 4;

/// A server counts on staying alive when it has run for so long.
const SETTLED: Duration = Duration::from_secs(5);

/// A living server that is not frozen answers within this, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(30);

impl Faults {
    pub(crate) fn new(herd: Herd, model: Arc<Model>, chance: Chance) -> Self {
        let (started, counts) = (BTreeMap::new(), BTreeMap::new());
        let (active, deck) = (Vec::new(), Vec::new());
        Self { herd, model, chance, active, started, counts, deck, next: Instant::now() }
    }

    pub(crate) fn herd(&self) -> &Herd {
        &self.herd
    }

    pub(crate) fn herd_mut(&mut self) -> &mut Herd {
        &mut self.herd
    }

    /// Starts all servers and waits until they are ready.
    pub(crate) fn start_all(&mut self) {
        for name in FIVE {
            self.launch(name);
        }
        for name in FIVE {
            self.herd.wait_ready(name);
        }
    }

    fn launch(&mut self, name: &'static str) {
        self.herd.launch(name);
        self.started.insert(name, Instant::now());
    }

    /// Ends what has lasted long enough, and begins something if it is time.
    pub(crate) fn step(&mut self) -> Result<()> {
        let now = Instant::now();
        let (over, active) =
            std::mem::take(&mut self.active).into_iter().partition(|(until, _)| *until <= now);
        self.active = active;
        let over: Vec<(Instant, Fault)> = over;
        for (_, fault) in over {
            self.heal(&fault)?;
        }
        for name in FIVE {
            let dead = self.active.iter().any(|(_, fault)| *fault == Fault::Killed(name));
            let ended = self.herd.process(name).ended();
            ensure!(
                dead || ended.is_none(),
                "{name} ended by itself: {ended:?}, {}",
                self.herd.printed(name)
            );
        }
        if now >= self.next {
            self.next = now + Duration::from_millis(self.chance.between(300, 3000));
            if self.active.len() < ACTIVE_MAX {
                self.begin()?;
            }
        }
        Ok(())
    }

    /// Ends everything that is broken.
    pub(crate) fn heal_all(&mut self) -> Result<()> {
        for (_, fault) in std::mem::take(&mut self.active) {
            self.heal(&fault)?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        let busy_links: BTreeSet<Link> = self.active.iter().filter_map(|(_, f)| f.link()).collect();
        let links: Vec<Link> =
            FIVE_LINKS.into_iter().filter(|link| !busy_links.contains(link)).collect();
        let busy: BTreeSet<&str> = self.active.iter().filter_map(|(_, f)| f.server()).collect();
        let servers: Vec<_> = FIVE.into_iter().filter(|name| !busy.contains(name)).collect();
        let link = self.chance.of(&links).copied();
        let server = self.chance.of(&servers).copied();
        if self.deck.is_empty() {
            self.deck = DECK.to_vec();
        }
        let at = usize::try_from(self.chance.below(self.deck.len() as u64))?;
        let kind = self.deck.swap_remove(at);
        let (fault, longest_ms) = match (kind, link, server) {
            (Kind::Kill, _, Some(name)) => return self.kill(&[name]),
            (Kind::KillSeveral, _, Some(_)) => {
                let others = usize::try_from(self.chance.between(2, 3))?;
                let mut victims = servers;
                while victims.len() > others {
                    let at = usize::try_from(self.chance.below(victims.len() as u64))?;
                    victims.swap_remove(at);
                }
                return self.kill(&victims);
            }
            (Kind::Freeze, _, Some(name)) => (Fault::Frozen(name), 6000),
            (Kind::Cut, Some(link), _) => (Fault::Cut(link), 8000),
            (Kind::OneWay, Some((one, other)), _) => {
                let turned = self.chance.below(2) == 0;
                (Fault::OneWay(if turned { (other, one) } else { (one, other) }), 8000)
            }
            (Kind::Down, Some(link), _) => (Fault::Down(link), 8000),
            (Kind::Slow, Some(link), _) => (Fault::Slow(link), 15_000),
            _ => return Ok(()),
        };
        let lab = self.herd.lab();
        match fault {
            Fault::Killed(_) => {}
            Fault::Frozen(name) => self.herd.freeze(name, true),
            Fault::Cut((one, other)) => lab.cut(one, other)?,
            Fault::OneWay((from, to)) => lab.cut_one_way(from, to)?,
            Fault::Down((one, other)) => lab.down(one, other)?,
            Fault::Slow((one, other)) => {
                let bytes_per_s = u32::try_from(self.chance.between(4_000, 60_000))?;
                lab.slow(one, other, bytes_per_s)?;
            }
        }
        self.lasts(fault, 200, longest_ms);
        Ok(())
    }

    fn lasts(&mut self, fault: Fault, shortest_ms: u64, longest_ms: u64) {
        *self.counts.entry(fault.name()).or_default() += 1;
        let lasts = Duration::from_millis(self.chance.between(shortest_ms, longest_ms));
        self.active.push((Instant::now() + lasts, fault));
    }

    /// Kills some at once, if enough stay alive.
    fn kill(&mut self, victims: &[&'static str]) -> Result<()> {
        let unwell: BTreeSet<&str> = self.active.iter().filter_map(|(_, f)| f.server()).collect();
        let stays = |name: &&&str| !victims.contains(name) && !unwell.contains(**name);
        let stays: Vec<&'static str> = FIVE.iter().filter(stays).copied().collect();
        let settled = |name: &&'static str| {
            let up = self.started.get(name).is_some_and(|since| since.elapsed() > SETTLED);
            up && self.herd.is_ready(name)
        };
        if !stays.iter().any(settled) {
            *self.counts.entry("kills spared").or_default() += 1;
            return Ok(());
        }
        for name in &stays {
            self.look(name)?;
        }
        for name in victims {
            self.model.dies(place(name)?);
            self.herd.kill9(name);
            // What was acknowledged between the two is gone too.
            self.model.dies(place(name)?);
        }
        if victims.len() > 1 {
            *self.counts.entry("several killed at once").or_default() += 1;
        }
        for name in victims {
            self.lasts(Fault::Killed(name), 10, 3000);
        }
        Ok(())
    }

    /// Asks a server that lives what it shows of every client, and has that compared; the lines it said.
    pub(crate) fn look(&self, name: &str) -> Result<Vec<Option<String>>> {
        /// So many questions at once: their answers fit into the sockets' buffers.
        const AT_ONCE: u32 = 200;
        let server = place(name)?;
        let (life, floors) = self.model.floors(server);
        let mut asker = Asker::connect(self.herd.address(name), PATIENCE)?;
        let mut lines = Vec::new();
        let clients = self.model.clients();
        for first in (0..clients).step_by(AT_ONCE as usize) {
            let some = first..(first + AT_ONCE).min(clients);
            let mut questions = String::new();
            for client in some.clone() {
                writeln!(questions, "WHATSAT {} 0 0", client_name(client))?;
            }
            asker.send(&questions)?;
            for client in some {
                let at = asker.located()?;
                let floor = floors.get(client as usize).and_then(Option::as_ref);
                self.model.shown(server, life, client, at.as_ref(), floor);
                lines.push(at.map(|at| at.line()));
            }
        }
        Ok(lines)
    }

    fn heal(&mut self, fault: &Fault) -> Result<()> {
        let lab = self.herd.lab();
        match *fault {
            Fault::Killed(name) => self.launch(name),
            Fault::Frozen(name) => self.herd.freeze(name, false),
            Fault::Cut((one, other)) | Fault::OneWay((one, other)) => lab.mend(one, other)?,
            Fault::Down((one, other)) => lab.up(one, other)?,
            Fault::Slow((one, other)) => lab.fast(one, other)?,
        }
        Ok(())
    }

    /// What is broken now.
    pub(crate) fn now(&self) -> String {
        let what: Vec<String> = self.active.iter().map(|(_, fault)| fault.to_string()).collect();
        if what.is_empty() { "nothing broken".to_owned() } else { what.join(", ") }
    }

    /// How often each thing was broken.
    pub(crate) fn counts(&self) -> String {
        let counts: Vec<_> =
            self.counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        counts.join(", ")
    }
}

impl Fault {
    fn name(&self) -> &'static str {
        match self {
            Self::Killed(_) => "killed",
            Self::Frozen(_) => "frozen",
            Self::Cut(_) => "cut",
            Self::OneWay(_) => "cut one way",
            Self::Down(_) => "link down",
            Self::Slow(_) => "slow",
        }
    }

    fn server(&self) -> Option<&'static str> {
        match *self {
            Self::Killed(name) | Self::Frozen(name) => Some(name),
            Self::Cut(_) | Self::OneWay(_) | Self::Down(_) | Self::Slow(_) => None,
        }
    }

    /// As it stands in the list of links.
    fn link(&self) -> Option<Link> {
        match *self {
            Self::Killed(_) | Self::Frozen(_) => None,
            Self::Cut(link) | Self::OneWay(link) | Self::Down(link) | Self::Slow(link) => {
                let turned = (link.1, link.0);
                Some(if FIVE_LINKS.contains(&link) { link } else { turned })
            }
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.name();
        match self {
            Self::Killed(server) | Self::Frozen(server) => write!(f, "{server} {name}"),
            Self::Cut((one, other)) | Self::Down((one, other)) | Self::Slow((one, other)) => {
                write!(f, "{one}-{other} {name}")
            }
            Self::OneWay((from, to)) => write!(f, "{from}->{to} {name}"),
        }
    }
}
