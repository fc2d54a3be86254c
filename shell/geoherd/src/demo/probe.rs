//! Watching the herd from outside: how long a report takes to be everywhere, what is near somebody, how
//! the servers are. Only the line protocol and `/status` are used; anybody could.

use super::chance::Chance;
use super::http;
use super::line::Conversation;
use super::news::{Nearby, News, Report, Spread};
use super::people;
use super::plan::Member;
use super::script::place_of;
use herd_geo::distance_m;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Follows some reports: asks every other server, over and over, until it answers with the report.
///
/// The time runs from sending the report to the last answer, so it holds both conversations too: never
/// less than what the herd took. Reports that come while one is followed are let go.
pub(super) async fn follow_reports(
    members: Vec<Member>,
    mut reports: mpsc::Receiver<Report>,
    news: mpsc::Sender<News>,
) {
    let mut conversations: Vec<Option<Conversation>> = members.iter().map(|_| None).collect();
    loop {
        sleep(FOLLOW_EVERY).await;
        for (conversation, member) in conversations.iter_mut().zip(&members) {
            // Before there is something to measure.
            if conversation.is_none() {
                *conversation = timeout(ANSWERS_WITHIN, answering(member)).await.ok().flatten();
            }
        }
        // What has waited is late already.
        while reports.try_recv().is_ok() {}
        let Some(report) = reports.recv().await else { return };
        let mut others = JoinSet::new();
        for (server, conversation) in conversations.iter_mut().enumerate() {
            if server != report.server
                && let Some(conversation) = conversation.take()
            {
                others.spawn(await_report(server, conversation, report.clone()));
            }
        }
        let mut spread = None;
        while let Some(Ok(outcome)) = others.join_next().await {
            match outcome {
                // It died; whoever is dead need not know.
                None => {}
                Some((server, conversation, after)) => {
                    if let Some(slot) = conversations.get_mut(server) {
                        *slot = Some(conversation);
                    }
                    spread = Some(match (spread, after) {
                        (Some(Spread::Missing(server)), _) => Spread::Missing(server),
                        (_, None) => Spread::Missing(server),
                        (Some(Spread::All(longest)), Some(after)) => {
                            Spread::All(longest.max(after))
                        }
                        (None, Some(after)) => Spread::All(after),
                    });
                }
            }
        }
        if let Some(spread) = spread
            && news.send(News::Spread { person: report.person, spread }).await.is_err()
        {
            return;
        }
    }
}

/// A conversation with a server that answers: one that has just been started listens before it can.
async fn answering(member: &Member) -> Option<Conversation> {
    let mut conversation = Conversation::open(member.listen).await.ok()?;
    conversation.ask("?").await.ok()?;
    Some(conversation)
}

const ANSWERS_WITHIN: Duration = Duration::from_millis(100);

/// Some reports a second tell as much as all of them, and leave the machine to the herd.
const FOLLOW_EVERY: Duration = Duration::from_millis(80);

/// Asks one server until it knows the report: after how long, `None` if not in time. `None` for all if
/// it does not answer.
async fn await_report(
    server: usize,
    mut conversation: Conversation,
    report: Report,
) -> Option<(usize, Conversation, Option<Duration>)> {
    let command = format!("WHATSAT {} 0 0", people::name(report.person));
    while report.sent.elapsed() < SPREAD_DEADLINE {
        let lines = conversation.ask(&command).await.ok()?;
        let after = report.sent.elapsed();
        // Times have one width here, so the later one is the greater text.
        let time = lines.first().and_then(|line| line.rsplit(' ').next());
        if time.is_some_and(|time| time >= report.time.as_str())
            && lines.first().is_some_and(|line| line.starts_with("AT "))
        {
            return Some((server, conversation, Some(after)));
        }
        if after > ASK_PATIENTLY_AFTER {
            sleep(Duration::from_millis(5)).await;
        }
    }
    Some((server, conversation, None))
}

const SPREAD_DEADLINE: Duration = Duration::from_secs(2);
const ASK_PATIENTLY_AFTER: Duration = Duration::from_millis(20);

/// Asks a server of its choice what is near the person that is watched.
pub(super) async fn look_around(
    members: Vec<Member>,
    watched: watch::Receiver<usize>,
    mut chance: Chance,
    news: mpsc::Sender<News>,
) {
    let mut watched = watched;
    let places: Vec<usize> = (0..members.len()).collect();
    loop {
        let person = *watched.borrow_and_update();
        let mut soon = true;
        if let Some(&server) = chance.pick(&places)
            && let Some(member) = members.get(server)
            && let Some(places) = places_near(member, &people::name(person)).await
        {
            if news.send(News::Nearby(Nearby { person, server, places })).await.is_err() {
                return;
            }
            soon = false;
        }
        // A server that is down or has not heard of them: ask another one.
        let pause = if soon { ASK_ANOTHER_AFTER } else { LOOK_EVERY };
        tokio::select! {
            () = sleep(pause) => {}
            changed = watched.changed() => if changed.is_err() { return },
        }
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(4);
const ASK_ANOTHER_AFTER: Duration = Duration::from_millis(300);

/// `WHATSAT name 0.5 4`, read.
async fn places_near(member: &Member, name: &str) -> Option<Vec<(String, f64)>> {
    let mut conversation = Conversation::open(member.listen).await.ok()?;
    let lines = conversation.ask(&format!("WHATSAT {name} 0.5 4")).await.ok()?;
    let (at, document) = lines.split_first()?;
    let center: herd_geo::Point = at.strip_prefix("AT ")?.split(' ').nth(3)?.parse().ok()?;
    let document: Value = serde_json::from_str(&document.join("\n")).ok()?;
    let results = document.get("results")?.as_array()?;
    let place = |result: &Value| {
        let name = result.get("name")?.as_str()?.to_owned();
        Some((name, distance_m(center, place_of(result)?)))
    };
    Some(results.iter().filter_map(place).collect())
}

/// Asks one server again and again how it is.
pub(super) async fn watch_server(server: usize, member: Member, news: mpsc::Sender<News>) {
    loop {
        let start = Instant::now();
        let status = http::status(member.http, STATUS_PATIENCE).await;
        if news.send(News::Asked { server, status }).await.is_err() {
            return;
        }
        sleep(STATUS_EVERY.saturating_sub(start.elapsed())).await;
    }
}

const STATUS_EVERY: Duration = Duration::from_millis(500);
const STATUS_PATIENCE: Duration = Duration::from_millis(450);
