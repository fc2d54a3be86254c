//! The demo that goes on until it is stopped: people move, servers are killed and come back, all of it is
//! shown.

use super::board::Board;
use super::chance::Chance;
use super::herd::Herd;
use super::news::News;
use super::people::{Person, World};
use super::screen::{self, Key, Screen};
use super::{plain, probe, table};
use anyhow::Context as _;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

/// Shows `clients` people until somebody has seen enough. Stopping it at any point is as good as any
/// other: drop the future, end the herd.
pub(super) async fn watch(herd: Arc<Herd>, clients: usize, seed: u64) -> anyhow::Result<()> {
    let roads = herd_atlas::roads().context("cannot read the embedded roads")?;
    let world = World::new(roads, herd.members()).context(
        "this build has no roads embedded, so nobody can move; build it where the crates with the map \
         data can be fetched, or hold the conversation of `geoherd demo --once`",
    )?;
    let people: Vec<Person> = (0..clients).filter_map(|n| world.settle(n, seed)).collect();
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let board = Board::new(herd.members(), herd.wires().all(), &people, unix_s);
    let (news, hear) = mpsc::channel(NEWS_MAX);
    let (follow, followed) = mpsc::channel(1);
    let (watched, watching) = watch::channel(0);

    let members = herd.members().to_vec();
    for (server, member) in members.iter().enumerate() {
        tokio::spawn(probe::watch_server(server, member.clone(), news.clone()));
    }
    let chance = Chance::new(seed.rotate_left(32));
    tokio::spawn(probe::look_around(members.clone(), watching, chance, news.clone()));
    tokio::spawn(probe::follow_reports(members, followed, news.clone()));
    let world = Arc::new(world);
    for person in people {
        tokio::spawn(person.live(world.clone(), news.clone()));
    }

    let live = Live { herd, board, news, follow, watched, start: Instant::now() };
    if io::stdout().is_terminal() { live.on_screen(hear).await } else { live.in_lines(hear).await }
}

/// What happens between two looks of the shower, with a thousand people and a busy machine; then those
/// who tell the news wait.
const NEWS_MAX: usize = 1024;

struct Live {
    herd: Arc<Herd>,
    board: Board,
    news: mpsc::Sender<News>,
    /// Reports go here to be followed, if nobody else's is.
    follow: mpsc::Sender<super::news::Report>,
    /// Who is looked at.
    watched: watch::Sender<usize>,
    start: Instant,
}

impl Live {
    async fn on_screen(mut self, mut hear: mpsc::Receiver<News>) -> anyhow::Result<()> {
        let mut screen = Screen::take()?;
        let (press, mut pressed) = mpsc::channel(16);
        screen::listen(press);
        let mut redraw = interval(REDRAW_EVERY);
        redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(news) = hear.recv() => {
                    self.take_in(news);
                    continue;
                }
                key = pressed.recv() => match key {
                    Some(Key::Quit) | None => return Ok(()),
                    Some(key) => self.obey(key)?,
                },
                _ = redraw.tick() => self.look_after_servers(),
            }
            self.board.elapsed = self.start.elapsed();
            let drawn = screen.show(|width, height| table::draw(&self.board, width, height));
            drawn.context("cannot draw")?;
        }
    }

    async fn in_lines(mut self, mut hear: mpsc::Receiver<News>) -> anyhow::Result<()> {
        let mut text = plain::introduction(&self.board, &self.herd);
        let mut look = interval(LOOK_EVERY);
        let mut summary = interval(SUMMARY_EVERY);
        let mut round = 0;
        let mut told = None;
        loop {
            if !text.is_empty() {
                let mut out = io::stdout().lock();
                match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                    // Whoever was reading has seen enough.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                    written => written.context("cannot write to standard output")?,
                }
                text.clear();
            }
            tokio::select! {
                Some(news) = hear.recv() => self.take_in(news),
                _ = look.tick() => self.look_after_servers(),
                _ = summary.tick() => {
                    // The first tick comes at once, before anything has happened.
                    if self.board.reports > 0 {
                        text = plain::summary(&self.board, round);
                        round += 1;
                        self.watched.send_replace(round % self.board.people.len().max(1));
                    }
                }
            }
            self.board.elapsed = self.start.elapsed();
            if self.board.events.back() != told.as_ref() {
                told = self.board.events.back().cloned();
                if let Some((when, event)) = &told {
                    text.extend([super::board::clock(*when).as_str(), " ", event, "\n"]);
                }
            }
        }
    }

    fn take_in(&mut self, news: News) {
        if let News::Reported(report) = &news {
            // Full: another report is being followed.
            let _not_followed = self.follow.try_send(report.clone());
        }
        self.board.hear(news);
    }

    /// A server may also end without us.
    fn look_after_servers(&mut self) {
        for server in 0..self.board.servers.len() {
            let thought_to_run = self.board.servers.get(server).is_some_and(|server| server.runs);
            if thought_to_run && !self.herd.runs(server) {
                self.board.lost(server, "has ended");
            }
        }
    }

    fn obey(&mut self, key: Key) -> anyhow::Result<()> {
        let board = &mut self.board;
        let runs = board.servers.get(board.chosen_server).is_some_and(|server| server.runs);
        match key {
            Key::Quit | Key::Resize => {}
            Key::Server(step) => {
                board.chosen_server = moved(board.chosen_server, step, board.servers.len());
            }
            Key::Person(step) => {
                board.chosen_person = moved(board.chosen_person, step, board.people.len());
                self.watched.send_replace(board.chosen_person);
            }
            Key::Link(step) => {
                board.chosen_link = moved(board.chosen_link, step, board.links.len());
            }
            Key::Cut => {
                if let Some(whole) = self.herd.wires().toggle(board.chosen_link) {
                    board.wired(board.chosen_link, whole);
                }
            }
            Key::Kill if runs => {
                self.herd.kill(board.chosen_server)?;
                board.lost(board.chosen_server, "was killed (SIGKILL)");
            }
            Key::Kill => {
                let name = board.server_name(board.chosen_server);
                board.note(format!("{name} is down already; r starts it again"));
            }
            Key::Restart if runs => {
                let name = board.server_name(board.chosen_server);
                board.note(format!("{name} is running; k kills it"));
            }
            Key::Restart => self.restart(self.board.chosen_server),
        }
        Ok(())
    }

    fn restart(&mut self, server: usize) {
        let start = Instant::now();
        match self.herd.restart(server) {
            Ok(()) => {
                self.board.starting(server);
                let (herd, news) = (self.herd.clone(), self.news.clone());
                tokio::spawn(async move {
                    let outcome = herd.ready(server).await.map(|()| start.elapsed());
                    // Nobody listens when the demo ends.
                    let _unheard = news.send(News::Restarted { server, outcome }).await;
                });
            }
            Err(error) => {
                let outcome = Err(error);
                self.board.hear(News::Restarted { server, outcome });
            }
        }
    }
}

fn moved(from: usize, step: isize, count: usize) -> usize {
    match (from.checked_add_signed(step), count.checked_sub(1)) {
        (Some(to), Some(last)) => to.min(last),
        _ => 0,
    }
}

/// Often enough for a table of people who report once a second.
const REDRAW_EVERY: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(250);
const SUMMARY_EVERY: Duration = Duration::from_secs(3);
