//! The people of the demo: who they are, and how each tells the herd where it is.

use super::chance::Chance;
use super::line::{Conversation, location, now};
use super::news::{News, Report};
use super::plan::Member;
use super::walker::{Territory, Walker};
use herd_atlas::{RoadNet, Travel};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

/// What all people share: the roads, and the servers they may talk to.
#[derive(Debug)]
pub(super) struct World {
    net: RoadNet,
    territories: Vec<Territory>,
    members: Vec<Member>,
}

impl World {
    /// The roads of Malta and these servers; `None` if this build has no roads.
    pub(super) fn new(net: RoadNet, members: &[Member]) -> Option<Self> {
        let territories = [Travel::Walk, Travel::Cycle, Travel::Drive];
        let territories = territories.map(|travel| Territory::largest(&net, travel)).into();
        let world = Self { net, territories, members: members.to_vec() };
        let inhabited = (0..TRAVELS.len()).all(|number| world.settle(number, 0).is_some());
        inhabited.then_some(world)
    }

    /// The person of that number, somewhere on the roads.
    pub(super) fn settle(&self, number: usize, seed: u64) -> Option<Person> {
        let travel = *TRAVELS.get(number % TRAVELS.len())?;
        let territory = self.territories.iter().position(|one| one.travel() == travel)?;
        let mut chance = Chance::new(seed ^ (number as u64).wrapping_mul(0x0005_deec_e66d));
        let walker = Walker::start(&self.net, self.territories.get(territory)?, &mut chance)?;
        Some(Person { number, name: name(number), travel, territory, walker, chance })
    }
}

/// In a herd of people, half walk and a quarter each cycle and drive.
const TRAVELS: [Travel; 4] = [Travel::Walk, Travel::Cycle, Travel::Walk, Travel::Drive];

/// Somebody with a phone.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) travel: Travel,
    /// Which of the world's.
    territory: usize,
    walker: Walker,
    chance: Chance,
}

impl Person {
    /// Goes about and reports a position about every second, for as long as somebody reads the news.
    pub(super) async fn live(mut self, world: Arc<World>, news: mpsc::Sender<News>) {
        // Not all at the same moment.
        tokio::time::sleep(FIX_EVERY.mul_f64(self.chance.fraction())).await;
        let mut ticks = interval(FIX_EVERY.mul_f64(self.chance.between(0.95, 1.05)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        let mut phone = Phone { server: self.any_server(&world), conversation: None };
        loop {
            ticks.tick().await;
            let elapsed = last.elapsed();
            last += elapsed;
            if self.chance.once_in(CHANGE_ONCE_IN) {
                phone = Phone { server: self.any_server(&world), conversation: None };
            }
            if let Some(report) = self.report(&world, elapsed, &mut phone).await
                && news.send(News::Reported(report)).await.is_err()
            {
                return;
            }
        }
    }

    /// Moves on and tells a server, another one if the usual one does not answer; `None` if none does.
    async fn report(
        &mut self,
        world: &World,
        elapsed: Duration,
        phone: &mut Phone,
    ) -> Option<Report> {
        let territory = world.territories.get(self.territory)?;
        self.walker.advance(&world.net, territory, elapsed, &mut self.chance);
        let fix = self.walker.fix(&world.net, &mut self.chance)?;
        for _ in 0..=world.members.len() {
            let (time, sent) = (now(), Instant::now());
            let command = format!("IAMAT {} {} {time}", self.name, location(fix));
            if phone.tell(world, &command).await.is_some() {
                return Some(Report {
                    person: self.number,
                    time,
                    sent,
                    fix,
                    street: self.walker.street(&world.net).to_owned(),
                    server: phone.server,
                });
            }
            *phone = Phone { server: self.any_server(world), conversation: None };
        }
        None
    }

    fn any_server(&mut self, world: &World) -> usize {
        let places: Vec<usize> = (0..world.members.len()).collect();
        self.chance.pick(&places).copied().unwrap_or_default()
    }
}

const FIX_EVERY: Duration = Duration::from_secs(1);

/// After so many reports somebody talks to another server, on the average.
const CHANGE_ONCE_IN: u64 = 30;

/// What somebody talks to a server with.
struct Phone {
    server: usize,
    conversation: Option<Conversation>,
}

impl Phone {
    /// Reports a position; `Some` if the server has answered as it must.
    async fn tell(&mut self, world: &World, command: &str) -> Option<()> {
        let mut conversation = match self.conversation.take() {
            Some(conversation) => conversation,
            None => Conversation::open(world.members.get(self.server)?.listen).await.ok()?,
        };
        let lines = conversation.ask(command).await.ok()?;
        self.conversation = Some(conversation);
        lines.first().is_some_and(|line| line.starts_with("AT ")).then_some(())
    }
}

/// The name of the person of that number: all different.
pub(super) fn name(number: usize) -> String {
    let name = NAMES.get(number % NAMES.len()).copied().unwrap_or_default();
    match number / NAMES.len() {
        0 => format!("{name}.example"),
        round => format!("{name}{}.example", round + 1),
    }
}

const NAMES: [&str; 48] = [
    "kiwi", "plum", "heron", "fig", "swift", "quince", "robin", "lime", "stork", "pear", "finch",
    "melon", "crane", "mango", "wren", "peach", "dove", "lemon", "rook", "cherry", "egret",
    "grape", "thrush", "papaya", "owl", "olive", "linnet", "date", "osprey", "apricot", "teal",
    "guava", "merlin", "currant", "plover", "medlar", "hoopoe", "carob", "starling", "lychee",
    "magpie", "pomelo", "petrel", "citron", "kestrel", "damson", "shrike", "loquat",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everybody_has_a_name_of_their_own() {
        let names: BTreeSet<String> = (0..500).map(name).collect();
        assert_eq!(names.len(), 500);
        assert!(names.iter().all(|name| herd_proto::is_name(name)));
        assert_eq!((name(0), name(48)), ("kiwi.example".to_owned(), "kiwi2.example".to_owned()));
    }
}
