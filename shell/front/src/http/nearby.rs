//! `GET /nearby?at=+34.06-118.44&radius=5&count=20`: who is near a point, nearest first, JSON.
//!
//! The search runs under the node's lock, as a rule in one step of some microseconds, whatever the radius. Where many
//! clients around the point have expired it takes more steps, between which the lock is free. The answer is printed
//! afterwards.

use crate::host::Host;
use crate::http::pace::Pace;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use herd_geo::{EARTH_RADIUS_M, Point};
use herd_node::{Nearby, NearestSearch, NearestStep};
use serde::Serialize;
use serde_json::json;
use std::ops::ControlFlow;
use std::time::Instant;

/// Clients in one answer at most: what is copied under the lock stays below half a millisecond.
const COUNT_MAX: usize = 1000;
/// The same if the question does not say.
const COUNT: usize = 20;

/// The answer as it is printed.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    nearby: Vec<Found<'a>>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Found<'a> {
    client: &'a str,
    location: &'a str,
    time: &'a str,
    server: &'a str,
    /// To the millimeter.
    distance_m: f64,
}

/// What was found, copied under the lock into one piece of memory.
#[derive(Debug, Default)]
struct Copied {
    text: String,
    /// Where client, location, time and server of each end in the text, and how far away it is.
    found: Vec<([usize; 4], f64)>,
}

impl Copied {
    fn of(clients: &[Nearby<'_>]) -> Self {
        let mut copied = Self::default();
        for near in clients {
            copied.push(near);
        }
        copied
    }

    fn push(&mut self, near: &Nearby<'_>) {
        let Nearby { client, report, distance_m } = near;
        let ends = [*client, report.location, report.time, report.server].map(|field| {
            self.text.push_str(field);
            self.text.len()
        });
        self.found.push((ends, *distance_m));
    }

    fn answer(&self) -> Answer<'_> {
        let mut start = 0;
        let found = self.found.iter().map(|(ends, distance_m)| {
            let [client, location, time, server] = ends.map(|end| {
                let field = self.text.get(start..end).unwrap_or_default();
                start = end;
                field
            });
            let distance_m = (distance_m * 1000.0).round() / 1000.0;
            Found { client, location, time, server, distance_m }
        });
        Answer { nearby: found.collect() }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Question {
    at: Point,
    radius_m: f64,
    count: usize,
}

pub(super) async fn nearby(host: &Host, uri: &Uri) -> Response {
    let question = match Question::parse(uri.query().unwrap_or_default()) {
        Ok(question) => question,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, &why),
    };
    let Question { at, radius_m, count } = question;
    let begun = Instant::now();
    let copied = search(host, NearestSearch::new(at, radius_m, count)).await;
    let took_ms = begun.elapsed().as_secs_f64() * 1000.0;
    let Some(copied) = copied else {
        let why = "this server has just started, and is still reading where everyone is; ask again";
        return refuse(StatusCode::SERVICE_UNAVAILABLE, why);
    };
    // How long it took without reading and printing, as browsers and benches understand it.
    let timing = [("server-timing", format!("nearby;dur={took_ms:.4}"))];
    (timing, Json(copied.answer())).into_response()
}

/// None while the server does not know yet where its clients are.
async fn search(host: &Host, mut search: NearestSearch) -> Option<Copied> {
    let mut pace = Pace::start();
    loop {
        let step = host.enter(|node, now| match node.nearest(&mut search, now) {
            NearestStep::Recovering => ControlFlow::Break(None),
            NearestStep::Unfinished => ControlFlow::Continue(()),
            NearestStep::Found(clients) => ControlFlow::Break(Some(Copied::of(&clients))),
        });
        if let ControlFlow::Break(copied) = step {
            return copied;
        }
        pace.keep().await;
    }
}

fn refuse(code: StatusCode, why: &str) -> Response {
    (code, Json(json!({ "error": why }))).into_response()
}

impl Question {
    fn parse(query: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "write ?at=+34.068930-118.445127&radius=5&count=20 (kilometers)";
        let (mut at, mut radius_km, mut count) = (None, 50.0, COUNT);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "at" => {
                    let text = value.replace("%2B", "+").replace("%2b", "+");
                    at = Some(text.parse::<Point>().map_err(|e| format!("at: {e}; {EXAMPLE}"))?);
                }
                "radius" => {
                    let within = |km: &f64| *km >= 0.0 && km.is_finite();
                    radius_km = value
                        .parse()
                        .ok()
                        .filter(within)
                        .ok_or_else(|| format!("radius: {value} is no distance; {EXAMPLE}"))?;
                }
                "count" => {
                    let within = |count: &usize| (1..=COUNT_MAX).contains(count);
                    count = value.parse().ok().filter(within).ok_or_else(|| {
                        format!("count: {value} is not between 1 and {COUNT_MAX}; {EXAMPLE}")
                    })?;
                }
                other => return Err(format!("{other} means nothing here; {EXAMPLE}")),
            }
        }
        let at = at.ok_or_else(|| format!("at is missing; {EXAMPLE}"))?;
        // Farther than the antipode is nobody.
        let radius_m = (radius_km * 1000.0).min(4.0 * EARTH_RADIUS_M);
        Ok(Self { at, radius_m, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_or_refused_with_what_to_write() {
        let asked = Question::parse("at=%2B34.5-118.25&radius=0.5&count=7").unwrap();
        let at = Point::new(34.5, -118.25).unwrap();
        assert_eq!(asked, Question { at, radius_m: 500.0, count: 7 });
        let asked = Question::parse("at=+34.5-118.25").unwrap();
        assert_eq!(asked, Question { at, radius_m: 50_000.0, count: COUNT });
        for (query, word) in [
            ("", "at is missing"),
            ("at=34,118", "not an ISO 6709 point"),
            ("at=+1+2&radius=-1", "-1 is no distance"),
            ("at=+1+2&radius=NaN", "NaN is no distance"),
            ("at=+1+2&count=0", "0 is not between"),
            ("at=+1+2&count=1001", "1001 is not between"),
            ("at=+1+2&limit=3", "limit means nothing"),
        ] {
            let error = Question::parse(query).unwrap_err();
            assert!(error.contains(word) && error.contains("write ?at="), "{query}: {error}");
        }
    }
}
