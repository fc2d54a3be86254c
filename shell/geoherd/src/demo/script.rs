//! `--once`: a conversation that is written down beforehand, with real servers, every reply checked.

use super::herd::Herd;
use super::line::{Conversation, now};
use crate::output;
use anyhow::Context as _;
use herd_geo::{Point, distance_m};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A reply that was not as it must be.
#[derive(Debug, thiserror::Error)]
#[error("wrong reply of {server} to {command:?}\n  expected: {expected}\n       got: {got}")]
pub(super) struct WrongReply {
    server: &'static str,
    command: String,
    expected: String,
    got: String,
}

/// Holds the conversation and prints it.
///
/// # Errors
///
/// [`WrongReply`] if a reply was wrong or did not come in time; others if it could not be held at all.
pub(super) async fn converse(herd: &Herd) -> anyhow::Result<()> {
    // With fewer than five servers some play two parts, but never the one that is killed.
    let part = |wanted: usize| wanted.min(herd.members().len() - 1);
    let (first, victim, asked) = (0, part(2), part(3));
    let mut script = Script { herd, conversations: BTreeMap::new() };

    let members = herd.members().iter().enumerate();
    let servers = members.map(|(place, member)| {
        let pid = herd.pid(place).unwrap_or_default();
        format!("#   {} at {}, process {pid}\n", member.name, member.listen)
    });
    let count = herd.members().len();
    let servers: String = servers.collect();
    print(&format!("# A herd of {count} servers, each a process of its own:\n{servers}"))?;

    let name = |place: usize| herd.members().get(place).map_or("?", |member| member.name);
    let (first_name, asked_name, victim_name) = (name(first), name(asked), name(victim));
    print(&format!("\n# kiwi.example tells {first_name} that it is in Valletta, Malta\n"))?;
    let valletta = script.report(first, "kiwi.example", "+35.898900+14.514600").await?;

    print(&format!(
        "\n# {asked_name} has heard of it, and knows what is near: the same AT line, then places\n"
    ))?;
    script.places(asked, "kiwi.example", "0.5", 3, &valletta).await?;

    print(&format!(
        "\n# heron.example tells {asked_name} that it is at UCLA; {first_name} is asked\n"
    ))?;
    let westwood = script.report(asked, "heron.example", "+34.068930-118.445127").await?;
    script.places(first, "heron.example", "10", 5, &westwood).await?;

    print(&format!(
        "\n# What is no command comes back with a question mark: {first_name}, {asked_name}, {victim_name}\n"
    ))?;
    for (place, command) in [
        (first, "WHERE IS kiwi.example"),
        (asked, "WHATSAT kiwi.example 51 5"),
        (victim, "IAMAT kiwi.example"),
    ] {
        script.expect_exactly(place, command, &format!("? {command}")).await?;
    }

    herd.kill(victim)?;
    script.conversations.remove(&victim);
    print(&format!(
        "\n# {victim_name} is killed (SIGKILL); kiwi.example has gone to Sliema and tells {first_name}\n"
    ))?;
    let sliema = script.report(first, "kiwi.example", "+35.912200+14.504200").await?;
    for place in (0..count).filter(|place| ![first, victim].contains(place)) {
        print(&format!("\n# {} has heard of it\n", name(place)))?;
        script.whereabouts(place, "kiwi.example", &sliema).await?;
    }

    print(&format!(
        "\n# {victim_name} is started again, knowing nothing, and is asked until it knows\n"
    ))?;
    let start = Instant::now();
    herd.restart(victim)?;
    herd.ready(victim).await?;
    script.whereabouts(victim, "kiwi.example", &sliema).await?;
    let caught_up = start.elapsed();
    script.whereabouts(victim, "heron.example", &westwood).await?;
    print(&format!(
        "\n# {victim_name} had caught up {} ms after its start\n# Every reply was as it must be\n",
        caught_up.as_millis()
    ))
}

struct Script<'a> {
    herd: &'a Herd,
    conversations: BTreeMap<usize, Conversation>,
}

/// What to think of a reply.
enum Verdict {
    Right,
    /// Right so far, but the server may not have heard of it yet; what is awaited.
    NotYet(String),
    /// What it should have been.
    Wrong(String),
}

impl Script<'_> {
    /// Reports a position now and returns the AT line of the answer.
    async fn report(&mut self, place: usize, client: &str, at: &str) -> anyhow::Result<String> {
        let name = self.name(place);
        let time = now();
        let command = format!("IAMAT {client} {at} {time}");
        let lines = self
            .exchange(place, &command, |lines| match lines {
                [line] if is_answer(line, name, &format!("{client} {at} {time}")) => Verdict::Right,
                _ => Verdict::Wrong(format!("AT {name} +SECONDS.NNNNNNNNN {client} {at} {time}")),
            })
            .await?;
        Ok(lines.into_iter().next().unwrap_or_default())
    }

    /// Asks for places near a client until the server knows of this report of it.
    async fn places(
        &mut self,
        place: usize,
        client: &str,
        radius_km: &str,
        bound: usize,
        report: &str,
    ) -> anyhow::Result<()> {
        let command = format!("WHATSAT {client} {radius_km} {bound}");
        let center = center_of(report)?;
        let judge = |lines: &[String]| {
            judge_answer(lines, &command, report, |document| {
                judge_places(document, center, radius_km.parse().unwrap_or(0.0), bound)
            })
        };
        self.exchange(place, &command, judge).await?;
        Ok(())
    }

    /// Asks where a client is, and for no places, until the server knows of this report of it.
    async fn whereabouts(
        &mut self,
        place: usize,
        client: &str,
        report: &str,
    ) -> anyhow::Result<()> {
        let command = format!("WHATSAT {client} 0 0");
        let judge = |lines: &[String]| {
            judge_answer(lines, &command, report, |document| {
                let results = document.get("results")?.as_array()?;
                (results.is_empty() && document.get("status")? == "ZERO_RESULTS").then_some(())
            })
        };
        self.exchange(place, &command, judge).await?;
        Ok(())
    }

    async fn expect_exactly(
        &mut self,
        place: usize,
        command: &str,
        reply: &str,
    ) -> anyhow::Result<()> {
        self.exchange(place, command, |lines| {
            if lines == [reply] { Verdict::Right } else { Verdict::Wrong(reply.to_owned()) }
        })
        .await?;
        Ok(())
    }

    /// Sends a command, again as long as it is too early for the reply, and prints both once they are
    /// final.
    async fn exchange(
        &mut self,
        place: usize,
        command: &str,
        judge: impl Fn(&[String]) -> Verdict,
    ) -> anyhow::Result<Vec<String>> {
        let server = self.name(place);
        let wrong = |expected: String, got: String| {
            let command = command.to_owned();
            WrongReply { server, command, expected, got }
        };
        let deadline = Instant::now() + SPREAD_DEADLINE;
        print(&format!("> {command}\n"))?;
        loop {
            let reply = self.ask(place, command).await;
            let lines = reply.map_err(|error| wrong("a reply".to_owned(), format!("{error:#}")))?;
            let verdict = judge(&lines);
            if matches!(verdict, Verdict::NotYet(_)) && Instant::now() < deadline {
                tokio::time::sleep(ASK_AGAIN).await;
                continue;
            }
            print(&format!("< {}\n", lines.join("\n< ")))?;
            return match verdict {
                Verdict::Right => Ok(lines),
                Verdict::NotYet(expected) | Verdict::Wrong(expected) => {
                    Err(wrong(expected, lines.join("\n            ")).into())
                }
            };
        }
    }

    async fn ask(&mut self, place: usize, command: &str) -> anyhow::Result<Vec<String>> {
        let member = self.herd.members().get(place).context("no such server")?;
        let mut conversation = match self.conversations.remove(&place) {
            Some(conversation) => conversation,
            None => Conversation::open(member.listen).await.context("cannot connect")?,
        };
        let lines = conversation.ask(command).await.context("no reply")?;
        self.conversations.insert(place, conversation);
        Ok(lines)
    }

    fn name(&self, place: usize) -> &'static str {
        self.herd.members().get(place).map_or("?", |member| member.name)
    }
}

/// A report is everywhere after some milliseconds; this is for a machine that does many other things.
const SPREAD_DEADLINE: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_millis(2);

fn print(text: &str) -> anyhow::Result<()> {
    output::print(text.as_bytes())
}

/// Whether a line is `AT server DIFFERENCE operands`.
fn is_answer(line: &str, server: &str, operands: &str) -> bool {
    let rest =
        line.strip_prefix("AT ").and_then(|rest| rest.strip_prefix(server)?.strip_prefix(' '));
    rest.and_then(|rest| rest.split_once(' '))
        .is_some_and(|(difference, rest)| is_difference(difference) && rest == operands)
}

/// Whether a text is a sign, seconds, a point and nine digits, and less than a minute: the clocks are
/// one and the same.
fn is_difference(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    unsigned.split_once('.').is_some_and(|(seconds, fraction)| {
        digits(seconds)
            && digits(fraction)
            && fraction.len() == 9
            && seconds.parse().is_ok_and(|s: u32| s < 60)
    })
}

/// Judges the answer to a WHATSAT: the report exactly as it was first answered, then a document that
/// is right if `places` finds nothing amiss.
fn judge_answer(
    lines: &[String],
    command: &str,
    report: &str,
    places: impl FnOnce(&Value) -> Option<()>,
) -> Verdict {
    let expected = format!("{report}, then JSON with what was asked for, nearest first");
    match lines {
        [line] if *line == format!("? {command}") => Verdict::NotYet(expected),
        // An older report of that client.
        [at, ..] if at.starts_with("AT ") && at != report => Verdict::NotYet(expected),
        [_, document @ .., end] if end.is_empty() => {
            let document = serde_json::from_str(&document.join("\n")).ok();
            match document.as_ref().and_then(places) {
                Some(()) => Verdict::Right,
                None => Verdict::Wrong(expected),
            }
        }
        _ => Verdict::Wrong(expected),
    }
}

/// Whether a document has one result or more, `bound` at most, all within the radius, nearest first.
fn judge_places(document: &Value, center: Point, radius_km: f64, bound: usize) -> Option<()> {
    // Distances are computed from printed coordinates, a centimeter apart from the true ones.
    const ROUNDING_M: f64 = 1.0;
    let results = document.get("results")?.as_array()?;
    let right_count = !results.is_empty() && results.len() <= bound;
    let distances: Option<Vec<f64>> =
        results.iter().map(|result| Some(distance_m(center, place_of(result)?))).collect();
    let distances = distances?;
    let in_order = distances.is_sorted_by(|near, far| *near <= *far + ROUNDING_M);
    let within = distances.iter().all(|away_m| *away_m <= radius_km * 1e3 + ROUNDING_M);
    (right_count && in_order && within && document.get("status")? == "OK").then_some(())
}

/// Where a result of a WHATSAT lies.
pub(super) fn place_of(result: &Value) -> Option<Point> {
    let location = result.get("geometry")?.get("location")?;
    Point::new(location.get("lat")?.as_f64()?, location.get("lng")?.as_f64()?).ok()
}

fn center_of(report: &str) -> anyhow::Result<Point> {
    let text = report.split(' ').nth(4).context("a report has a location")?;
    text.parse().with_context(|| format!("{text} is a location"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const REPORT: &str = "AT Hill +0.000263873 kiwi +35.898900+14.514600 1700000000.000000000";

    #[test]
    fn an_answer_names_the_server_and_repeats_the_operands() {
        let operands = "kiwi +35.898900+14.514600 1700000000.000000000";
        assert!(is_answer(REPORT, "Hill", operands));
        for (line, server) in [
            (REPORT, "Hil"),
            (REPORT, "Smith"),
            (&REPORT.replace("+0.000263873", "0.000263873")[..], "Hill"),
            (&REPORT.replace("+0.000263873", "+0.00026387"), "Hill"),
            (&REPORT.replace("+0.000263873", "+60.000263873"), "Hill"),
            (&REPORT.replace("kiwi", "kiwi "), "Hill"),
            (&format!("{REPORT} "), "Hill"),
        ] {
            assert!(!is_answer(line, server, operands), "{line}");
        }
    }

    #[test]
    fn places_must_be_some_and_the_nearest_first() {
        let center = center_of(REPORT).unwrap();
        let near = json!({ "geometry": { "location": { "lat": 35.899, "lng": 14.5146 } } });
        let far = json!({ "geometry": { "location": { "lat": 35.9, "lng": 14.5146 } } });
        let judge = |results: &[&Value], bound| {
            let document = json!({ "results": results, "status": "OK" });
            judge_places(&document, center, 0.5, bound).is_some()
        };
        assert!(judge(&[&near], 1) && judge(&[&near, &far], 3) && judge(&[&near, &near], 2));
        assert!(!judge(&[], 3) && !judge(&[&far, &near], 3) && !judge(&[&near, &far], 1));
        assert!(!judge(&[&json!({})], 3));
    }

    #[test]
    fn it_is_too_early_for_a_reply_but_never_too_late_for_a_wrong_one() {
        let judge = |lines: &[&str]| {
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            judge_answer(&lines, "WHATSAT kiwi 0 0", REPORT, |_| Some(()))
        };
        assert!(matches!(judge(&["? WHATSAT kiwi 0 0"]), Verdict::NotYet(_)));
        assert!(matches!(judge(&["AT Hill +0.1 kiwi +1+1 1", "{}", ""]), Verdict::NotYet(_)));
        assert!(matches!(judge(&[REPORT, "{", "}", ""]), Verdict::Right));
        assert!(matches!(judge(&[REPORT, "{", ""]), Verdict::Wrong(_)));
        assert!(matches!(judge(&[REPORT]), Verdict::Wrong(_)));
        assert!(matches!(judge(&["? WHATSAT kiwi 0"]), Verdict::Wrong(_)));
    }
}
