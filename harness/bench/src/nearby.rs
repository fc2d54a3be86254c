//! `nearby`: who is near a point, asked of one server that knows very many clients in one city, and of Redis with the
//! same points.
//!
//! Asked over the wire, one question after another. The time inside the server is what it says itself: without
//! reading the question and printing the answer for ours (`Server-Timing`), the whole command for Redis (its
//! `commandstats`). Some answers of both are compared, member by member. *Absent:* the index alone, without a
//! server: that is `index`.

mod ask;
mod wait;

use crate::Options;
use crate::city::Chance;
use crate::herd::Herd;
use crate::load::{Expect, Load, Motion, Requests, Target};
use crate::peers::Found;
use crate::peers::redis::Redis;
use crate::table::{Cell, Section, Sorted, Spread, grouped};
use anyhow::{Context as _, Result, ensure};
use ask::{Asker, Question, same};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// One kind of question.
#[derive(Clone, Copy, Debug)]
struct Shape {
    radius_km: f64,
    count: usize,
    /// How often it is asked in each round: of ours, and of Redis, where some take half a second.
    questions: usize,
    of_redis: usize,
}

/// The last is everybody near, as far as one answer goes.
const SHAPES: [Shape; 4] = [
    Shape { radius_km: 1.0, count: 20, questions: 1000, of_redis: 200 },
    Shape { radius_km: 5.0, count: 20, questions: 1000, of_redis: 20 },
    Shape { radius_km: 50.0, count: 20, questions: 1000, of_redis: 3 },
    Shape { radius_km: 1.0, count: 1000, questions: 300, of_redis: 100 },
];

/// Connections over which clients report; each carries many, as gateways do.
const CONNECTIONS: usize = 4;

/// Moves a second.
const MOVES: u32 = 200_000;

/// The server has taken in all clients within this after it answered them.
const KNOWN_WITHIN: Duration = Duration::from_secs(20);

pub(crate) fn measure(options: &Options) -> Result<Vec<Section>> {
    let clients = options.size(1_000_000, 4000);
    let town = Town {
        clients,
        // A quick run shows that it works, on machines that are busy with other tests.
        rate: options.size(MOVES, 2000) / u32::try_from(CONNECTIONS)?,
        threads: options.threads,
    };
    let herd = Herd::of_one(options, false)?;
    let first = herd.first()?;
    let server = Place { address: first.address, expect: Expect::At(first.name.clone()) };
    let loaded = town.load(&server)?;
    herd.all_know(clients, KNOWN_WITHIN)?;
    let mut rest = Section::new(
        &format!("The nearest of {} clients in one city, µs", grouped(clients as f64)),
        &format!(
            "Asked at random points of the city, half of all within 9 km of its middle; medians of the rounds, but \
             p99 is of all. Inside: without reading and printing, as the server tells it; Redis: the command. \
             Loaded over the wire with {} reports/s",
            grouped(loaded)
        ),
        &[
            "radius, at most",
            "found",
            "inside",
            "inside p99",
            "round trip",
            "Redis inside",
            "Redis round trip",
            "Redis/inside",
            "ratio min–max",
        ],
    );
    let redis = match Redis::start()? {
        Found::Here(redis) => {
            let place = Place { address: redis.address, expect: Expect::Count };
            rest.remark(&format!("(Redis {}).", grouped(town.load(&place)?)));
            let known = crate::peers::redis::Asker::connect(redis.address)?.members()?;
            ensure!(known == clients as u64, "Redis knows {known} clients, not {clients}");
            Some((redis, place))
        }
        missing @ Found::Missing(_) => {
            missing.or_row(&mut rest);
            None
        }
    };
    let redis_at = redis.as_ref().map(|(redis, _)| redis.address);
    let mut runs = Vec::new();
    for round in 0..options.rounds() {
        runs.push(Round::run(options, round, &town, &server, first.http, redis_at)?);
    }
    let mut moving = Section::new(
        &format!(
            "The same while {} of them a second move by some meters, µs",
            grouped(f64::from(town.rate) * CONNECTIONS as f64)
        ),
        "Of rest: ratio of the medians of one round.",
        &[
            "radius, at most",
            "moves/s",
            "inside",
            "inside p99",
            "round trip",
            "of rest",
            "ratio min–max",
        ],
    );
    let compared: usize = runs.iter().map(|round| round.compared).sum();
    if redis.is_some() {
        rest.remark(&format!("Of {compared} questions both answered the same."));
    }
    for (at, shape) in SHAPES.iter().enumerate() {
        rows(shape, at, &runs, &mut rest, &mut moving)?;
    }
    let waits = wait::measure(options, &town, &server, first.http, redis_at)?;
    Ok(vec![rest, moving, waits])
}

/// Where clients report.
#[derive(Clone, Debug)]
struct Place {
    address: SocketAddr,
    expect: Expect,
}

/// All clients.
#[derive(Clone, Copy, Debug)]
struct Town {
    clients: usize,
    /// Moves a second of each connection.
    rate: u32,
    threads: usize,
}

impl Town {
    fn target(&self, place: &Place) -> Target {
        let clients = self.clients / CONNECTIONS;
        Target {
            address: place.address,
            expect: place.expect.clone(),
            connections: CONNECTIONS,
            depth: 500.min(clients),
            clients,
            prefix: "walker-".to_owned(),
            motion: Motion::City,
            rate: None,
            reports_max: clients as u64,
        }
    }

    /// Everybody reports once; returns how many did in a second.
    fn load(&self, place: &Place) -> Result<f64> {
        let began = Instant::now();
        let said = Load::start(&[self.target(place)], self.threads).finish()?;
        let sent: u64 = said.iter().map(Requests::sent).sum();
        ensure!(sent == self.clients as u64, "{sent} clients reported, not {}", self.clients);
        Ok(sent as f64 / began.elapsed().as_secs_f64())
    }

    /// They move until that is stopped, and do already when this returns.
    fn walk(&self, place: &Place) -> Load {
        let target = Target {
            motion: Motion::Walk,
            rate: Some(self.rate),
            reports_max: u64::MAX,
            ..self.target(place)
        };
        let load = Load::start(&[target], self.threads);
        load.await_answers();
        load
    }
}

/// Answers to one kind of question, µs.
#[derive(Debug, Default)]
struct Times {
    inside: Vec<f64>,
    round_trip: Vec<f64>,
    found: Vec<f64>,
}

impl Times {
    fn inside(&self) -> f64 {
        Sorted::new(self.inside.clone()).at(0.5)
    }

    fn round_trip(&self) -> f64 {
        Sorted::new(self.round_trip.clone()).at(0.5)
    }
}

/// All kinds of questions at rest, of Redis too, and while all move.
struct Round {
    rest: Vec<Times>,
    redis: Vec<Times>,
    moving: Vec<Times>,
    /// While each kind was asked.
    moves_per_second: Vec<f64>,
    compared: usize,
}

impl Round {
    fn run(
        options: &Options,
        number: usize,
        town: &Town,
        server: &Place,
        http: SocketAddr,
        redis: Option<SocketAddr>,
    ) -> Result<Self> {
        let mut ours = Asker::server(http)?;
        let mut theirs = redis.map(Asker::redis).transpose()?;
        let (mut rest, mut of_redis, mut moving) = (Vec::new(), Vec::new(), Vec::new());
        let mut compared = 0;
        let questions = |shape: &Shape| points(number, shape, options.size(shape.questions, 5));
        for shape in &SHAPES {
            rest.push(ask_all(&mut ours, &questions(shape)?)?);
            if let Some(theirs) = &mut theirs {
                let some = points(number, shape, options.size(shape.of_redis, 2))?;
                of_redis.push(ask_all(theirs, &some)?);
                // They move after the first round, each as it likes.
                for question in some.iter().filter(|_| number == 0) {
                    let (our, their) = (ours.ask(question)?, theirs.ask(question)?);
                    same(question, &our.near()?, &their.near()?)?;
                    compared += 1;
                }
            }
        }
        let load = town.walk(server);
        load.pass(options.warm_up());
        let mut moves_per_second = Vec::new();
        for shape in &SHAPES {
            let questions = questions(shape)?;
            let (began, before) = (Instant::now(), load.answered());
            moving.push(ask_all(&mut ours, &questions)?);
            let moves = load.answered() - before;
            moves_per_second.push(moves as f64 / began.elapsed().as_secs_f64());
        }
        load.stop()?;
        Ok(Self { rest, redis: of_redis, moving, moves_per_second, compared })
    }
}

/// Somewhere in the city; the same for ours and Redis.
fn points(round: usize, shape: &Shape, count: usize) -> Result<Vec<Question>> {
    /// Far from the seeds of connections, or questions would be asked where clients are.
    const SEEDS: usize = 1_000_000;
    let mut chance = Chance((SEEDS + round) as u64);
    let &Shape { radius_km, count: count_max, .. } = shape;
    let question = |_| Ok(Question::new(chance.in_city()?, radius_km, count_max));
    (0..count).map(question).collect()
}

fn ask_all(asker: &mut Asker, questions: &[Question]) -> Result<Times> {
    let mut times = Times::default();
    for question in questions {
        let answer = asker.ask_timed(question)?;
        times.inside.push(answer.inside_us.context("no time inside the server")?);
        times.round_trip.push(answer.round_trip_us);
        times.found.push(answer.near()?.len() as f64);
    }
    Ok(times)
}

fn rows(
    shape: &Shape,
    at: usize,
    runs: &[Round],
    rest: &mut Section,
    moving: &mut Section,
) -> Result<()> {
    let over = |of: &dyn Fn(&Round) -> Option<f64>| -> Option<Spread> {
        Some(Spread::of(runs.iter().map(of).collect::<Option<Vec<_>>>()?))
    };
    let known =
        |of: &dyn Fn(&Round) -> Option<f64>| over(of).context("every round asks everything");
    let p99 = |of: fn(&Round) -> &Vec<Times>| {
        let times = runs.iter().filter_map(|run| of(run).get(at));
        Sorted::new(times.flat_map(|times| times.inside.iter().copied()).collect()).at(0.99)
    };
    let name = format!("{} km, {}", shape.radius_km, shape.count);
    let inside = known(&|run| Some(run.rest.get(at)?.inside()))?;
    let ratio = over(&|run| Some(run.redis.get(at)?.inside() / run.rest.get(at)?.inside()));
    let redis = |of: &dyn Fn(&Round) -> Option<f64>| {
        over(of).map_or_else(|| Cell::text("-"), |spread| Cell::figure(spread.median, 1))
    };
    rest.row([
        Cell::text(name.clone()),
        Cell::count(known(&|run| Some(Spread::of(run.rest.get(at)?.found.clone()).median))?.median),
        Cell::figure(inside.median, 1),
        Cell::figure(p99(|run| &run.rest), 1),
        Cell::figure(known(&|run| Some(run.rest.get(at)?.round_trip()))?.median, 1),
        redis(&|run| Some(run.redis.get(at)?.inside())),
        redis(&|run| Some(run.redis.get(at)?.round_trip())),
        redis(&|run| Some(run.redis.get(at)?.inside() / run.rest.get(at)?.inside())),
        ratio.map_or_else(
            || Cell::text("-"),
            |ratio| Cell::span(&ratio, |ratio| format!("{ratio:.1}")),
        ),
    ]);
    let ratio = known(&|run| Some(run.moving.get(at)?.inside() / run.rest.get(at)?.inside()))?;
    moving.row([
        Cell::text(name),
        Cell::count(known(&|run| run.moves_per_second.get(at).copied())?.median),
        Cell::figure(known(&|run| Some(run.moving.get(at)?.inside()))?.median, 1),
        Cell::figure(p99(|run| &run.moving), 1),
        Cell::figure(known(&|run| Some(run.moving.get(at)?.round_trip()))?.median, 1),
        Cell::figure(ratio.median, 2),
        Cell::span(&ratio, |ratio| format!("{ratio:.2}")),
    ]);
    Ok(())
}
