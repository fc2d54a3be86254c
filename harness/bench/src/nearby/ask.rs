//! One question, asked of either, and whether both answer the same.

use crate::load::{REDIS_KEY, location};
use crate::peers::redis::{self, Reply};
use crate::probe::Http;
use anyhow::{Context as _, Result, bail, ensure};
use herd_geo::{EARTH_RADIUS_M, Point};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

/// Who is near, at most so many.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// As both read it, to the same digits.
    at: String,
    radius_km: f64,
    count: usize,
}

impl Question {
    pub(super) fn new(at: Point, radius_km: f64, count: usize) -> Self {
        Self { at: location(at), radius_km, count }
    }
}

/// A connection over which questions go.
pub(super) enum Asker {
    Server(Http),
    Redis(redis::Asker),
}

/// What came back, and when.
pub(super) struct Answer {
    /// As the server tells it.
    pub(super) inside_us: Option<f64>,
    pub(super) round_trip_us: f64,
    body: Body,
}

enum Body {
    Json(Vec<u8>),
    Reply(Reply),
}

impl Asker {
    pub(super) fn server(http: SocketAddr) -> Result<Self> {
        Ok(Self::Server(Http::connect(http)?))
    }

    pub(super) fn redis(address: SocketAddr) -> Result<Self> {
        Ok(Self::Redis(redis::Asker::connect(address)?))
    }

    pub(super) fn ask(&mut self, question: &Question) -> Result<Answer> {
        let Question { at, radius_km, count } = question;
        match self {
            Self::Server(http) => {
                let path = format!("/nearby?at={at}&radius={radius_km}&count={count}");
                let began = Instant::now();
                let answer = http.get(&path)?;
                let round_trip_us = micros(began);
                let inside_us = answer.inside_us()?;
                Ok(Answer { inside_us, round_trip_us, body: Body::Json(answer.body) })
            }
            Self::Redis(redis) => {
                let lon_at = at.rfind(['+', '-']).context("a point has two signs")?;
                let (lat, lon) = at.split_at(lon_at);
                let (radius_m, count) = ((radius_km * 1000.0).to_string(), count.to_string());
                let near =
                    ["FROMLONLAT", lon, lat.trim_start_matches('+'), "BYRADIUS", &radius_m, "m"];
                let how = ["ASC", "COUNT", &count, "WITHDIST"];
                let parts = [&["GEOSEARCH", REDIS_KEY][..], &near, &how].concat();
                let began = Instant::now();
                let reply = redis.ask(&parts)?;
                Ok(Answer {
                    inside_us: None,
                    round_trip_us: micros(began),
                    body: Body::Reply(reply),
                })
            }
        }
    }

    /// The same, with the time inside Redis too, for which it has to be asked before and after.
    pub(super) fn ask_timed(&mut self, question: &Question) -> Result<Answer> {
        let before = self.redis_micros()?;
        let mut answer = self.ask(question)?;
        if let Some((before, after)) = before.zip(self.redis_micros()?) {
            answer.inside_us = Some(after - before);
        }
        Ok(answer)
    }

    fn redis_micros(&mut self) -> Result<Option<f64>> {
        match self {
            Self::Server(_) => Ok(None),
            Self::Redis(redis) => redis.micros("geosearch").map(Some),
        }
    }
}

fn micros(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e6
}

/// Clients with their distance in meters.
pub(super) type Near = BTreeMap<String, f64>;

impl Answer {
    /// Who is near.
    pub(super) fn near(self) -> Result<Near> {
        match self.body {
            Body::Json(text) => {
                let answer: Value = serde_json::from_slice(&text)?;
                let near = answer["nearby"].as_array().context("an answer is a list")?;
                let of = |found: &Value| {
                    let client = found["client"].as_str()?.to_owned();
                    Some((client, found["distance_m"].as_f64()?))
                };
                near.iter().map(of).collect::<Option<_>>().context("each has a name and a distance")
            }
            Body::Reply(reply) => {
                let of = |pair: Reply| -> Result<(String, f64)> {
                    match <[Reply; 2]>::try_from(pair.list()?) {
                        Ok([client, distance]) => Ok((client.text()?, distance.text()?.parse()?)),
                        Err(other) => bail!("Redis answered {other:?} for a client"),
                    }
                };
                reply.list()?.into_iter().map(of).collect()
            }
        }
    }
}

/// What Redis takes for the Earth's radius.
const REDIS_EARTH_RADIUS_M: f64 = 6_372_797.560_856;

/// Points differ by that much at most: Redis keeps 26 bits of each of its numbers, and two points count.
const ROUNDED_M: f64 = 1.0;

/// Whether both answers have the same members, but for those whose distance is that of the last.
pub(super) fn same(question: &Question, ours: &Near, theirs: &Near) -> Result<()> {
    let scale = EARTH_RADIUS_M / REDIS_EARTH_RADIUS_M;
    let radius_m = question.radius_km * 1000.0;
    let is_full = ours.len() == question.count;
    let last_m = if is_full { ours.values().copied().fold(0.0, f64::max) } else { radius_m };
    // For Redis the circle itself is a little smaller.
    let margin_m = ROUNDED_M + if is_full { 0.0 } else { radius_m * (1.0 - scale) };
    for (client, &our_m) in ours {
        let their_m = theirs.get(client).map(|their_m| their_m * scale);
        let is_same = match their_m {
            Some(their_m) => (our_m - their_m).abs() <= ROUNDED_M,
            None => (our_m - last_m).abs() <= margin_m,
        };
        ensure!(is_same, "{client} is near {}: {our_m} m, Redis {their_m:?}", question.at);
    }
    for (client, their_m) in theirs.iter().filter(|(client, _)| !ours.contains_key(*client)) {
        let is_last = (their_m * scale - last_m).abs() <= margin_m;
        ensure!(is_last, "{client} is near {}: only Redis, {their_m} m", question.at);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_may_be_others() {
        let question = |count| Question { at: "+34-118".to_owned(), radius_km: 1.0, count };
        let near = |members: &[(&str, f64)]| -> Near {
            members.iter().map(|&(name, meters)| (name.to_owned(), meters)).collect()
        };
        let ours = near(&[("a", 10.0), ("b", 20.0)]);
        assert!(same(&question(2), &ours, &ours).is_ok());
        assert!(same(&question(2), &ours, &near(&[("a", 10.5), ("c", 20.4)])).is_ok());
        assert!(same(&question(2), &ours, &near(&[("a", 10.5), ("c", 22.0)])).is_err());
        assert!(same(&question(2), &ours, &near(&[("a", 13.0), ("b", 20.0)])).is_err());
        // Fewer than asked for: only what is at the edge.
        assert!(same(&question(3), &ours, &near(&[("b", 20.0)])).is_err());
        let edge = near(&[("a", 10.0), ("b", 20.0), ("e", 999.9)]);
        assert!(same(&question(9), &edge, &ours).is_ok());
        assert!(same(&question(9), &ours, &edge).is_ok());
    }
}
