//! `places`: answers about places out of the embedded data.
//!
//! First the question itself, in this process: nearest 20 within 50 km in a dense city. Then whole WHATSATs
//! over loopback, one after another and pipelined. Every answer asked for alone is checked, and of the
//! others some.
//!
//! Absent: providers on the network, whose time is theirs.

use crate::Options;
use crate::herd::{Herd, Plan, Server};
use crate::machine;
use crate::pipeline::Pipeline;
use crate::probe::{Probe, time_text, unix_nanos};
use crate::process;
use crate::table::{Cell, Section, Sorted, Spread, grouped};
use anyhow::{Context as _, Result, ensure};
use herd_geo::Point;
use herd_places::Query;
use memchr::{memchr, memmem};
use serde_json::Value;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Los Angeles, around which are far more places than are asked for.
const MIDDLE: (f64, f64) = (34.05, -118.25);
/// Questions are asked around so many points north of it.
const POINTS: u32 = 100;
const STEP_DEG: f64 = 0.001;
/// Places in an answer, and how far they may be.
const BOUND: u8 = 20;
const RADIUS_KM: u32 = 50;

/// Connections that ask without waiting.
const CONNECTIONS: usize = 4;

/// How an answer ends: the end of the document and the one empty line.
const END: &[u8] = b"\n\n";

/// More than any answer with so many places has.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// No answer takes this long, also on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

pub(crate) fn measure(options: &Options) -> Result<Vec<Section>> {
    let summary = herd_atlas::summary();
    ensure!(summary.towns > 0, "this build has no places embedded");
    Ok(vec![alone(options)?, whole(options)?])
}

/// The question in this process.
fn alone(options: &Options) -> Result<Section> {
    let mut section = Section::new(
        "20 nearest places within 50 km in a dense city, microseconds, without a server",
        "Found and printed as JSON, one after another in one thread.",
        &["asked", "p50", "p99", "max", "answer bytes"],
    );
    let gazetteer = herd_atlas::gazetteer()?;
    let now = i64::try_from(unix_nanos() / 1_000_000_000)?;
    let (mut times, mut bytes) = (Vec::new(), Vec::new());
    for number in 0..options.size(200 * POINTS, POINTS) {
        let (lat, lon) = point(number % POINTS);
        let center = Point::new(lat, lon)?;
        let query = Query { center, radius_m: f64::from(RADIUS_KM) * 1e3, bound: BOUND };
        let began = Instant::now();
        let answer = black_box(gazetteer.nearby(black_box(&query), now));
        times.push(began.elapsed().as_secs_f64() * 1e6);
        bytes.push(answer.as_str().len() as f64);
        if number < POINTS {
            check_document(answer.as_str().as_bytes())?;
        }
    }
    let times = Sorted::new(times);
    section.row([
        Cell::text(format!("{BOUND} within {RADIUS_KM} km")),
        Cell::figure(times.at(0.5), 1),
        Cell::figure(times.at(0.99), 1),
        Cell::figure(times.at(1.0), 1),
        Cell::count(Spread::of(bytes).median),
    ]);
    Ok(section)
}

fn point(number: u32) -> (f64, f64) {
    (MIDDLE.0 + f64::from(number) * STEP_DEG, MIDDLE.1)
}

/// Through a server.
fn whole(options: &Options) -> Result<Section> {
    let mut section = Section::new(
        "The same by WHATSAT over loopback",
        "From the question until the end of its answer, microseconds, and answers in a second; medians of the \
         rounds. CPU: of the server, for each answer. Cores: how many were busy.",
        &[
            "asked",
            "p50",
            "p99",
            "answers/s",
            "min–max",
            "MB/s",
            "CPU µs",
            "server cores",
            "load cores",
        ],
    );
    let herd = Herd::start(options, &Plan { names: &["Hill"], places: true, ..Plan::default() })?;
    let server = herd.first()?;
    let questions = Arc::new(questions(server)?);
    let (mut single, mut deep) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds() {
        single.push(one_by_one(options, server, &questions)?);
        deep.push(pipelined(options, server, &questions)?);
    }
    let none = || Cell::text("-");
    let over = |part| Spread::of(single.iter().map(|times| times.at(part))).median;
    let figures = [Cell::figure(over(0.5), 1), Cell::figure(over(0.99), 1)];
    let row = [Cell::text("1 connection, depth 1")].into_iter().chain(figures);
    section.row(row.chain((0..6).map(|_| none())));
    let over = |figure: fn(&Rate) -> f64| Spread::of(deep.iter().map(figure));
    let rate = over(|rate| rate.answers / rate.seconds);
    section.row([
        Cell::text(format!("{CONNECTIONS} connections, pipelined")),
        none(),
        none(),
        Cell::count(rate.median),
        Cell::span(&rate, grouped),
        Cell::count(over(|rate| rate.bytes / rate.seconds / 1e6).median),
        Cell::figure(over(|rate| rate.cpu * 1e6 / rate.answers).median, 2),
        Cell::figure(over(|rate| rate.cpu / rate.seconds).median, 2),
        Cell::figure(over(|rate| rate.own_cpu / rate.seconds).median, 2),
    ]);
    Ok(section)
}

/// What is asked, and the end of the AT line that answers it.
struct Question {
    line: String,
    tail: String,
}

/// Puts a client at each point; the questions about them.
fn questions(server: &Server) -> Result<Vec<Question>> {
    let mut probe = Probe::connect(server.address)?;
    let time = time_text(unix_nanos());
    let mut questions = Vec::new();
    for number in 0..POINTS {
        let (lat, lon) = point(number);
        let name = format!("asker{number:03}.example");
        let text = format!("{name} {lat:+010.6}{lon:+011.6} {time}");
        probe.send(format!("IAMAT {text}\n").as_bytes())?;
        let tail = format!(" {text}");
        let said = probe.line()?;
        let right = said.ends_with(tail.as_bytes());
        ensure!(right, "a report was answered {:?}", String::from_utf8_lossy(said));
        questions.push(Question { line: format!("WHATSAT {name} {RADIUS_KM} {BOUND}\n"), tail });
    }
    Ok(questions)
}

/// Microseconds that each answer took.
fn one_by_one(options: &Options, server: &Server, questions: &[Question]) -> Result<Sorted> {
    let mut stream = TcpStream::connect(server.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let mut buffer = vec![0; ANSWER_BYTES_MAX];
    let mut times = Vec::new();
    let (began, warm) = (Instant::now(), options.warm_up());
    for question in questions.iter().cycle() {
        let sent = Instant::now();
        stream.write_all(question.line.as_bytes())?;
        let mut filled = 0;
        while !buffer[..filled].ends_with(END) {
            let count = stream.read(&mut buffer[filled..])?;
            ensure!(count > 0, "the server closed a connection, or an answer does not end");
            filled += count;
        }
        let took = sent.elapsed();
        check_answer(&buffer[..filled], &server.name, question)?;
        let so_far = began.elapsed();
        if so_far > warm {
            times.push(took.as_secs_f64() * 1e6);
        }
        if so_far > warm + options.seconds() {
            break;
        }
    }
    Ok(Sorted::new(times))
}

/// What many answers at once took.
struct Rate {
    answers: f64,
    bytes: f64,
    seconds: f64,
    /// Processor time of the server and of the load, seconds.
    cpu: f64,
    own_cpu: f64,
}

/// What all connections have got so far.
#[derive(Debug, Default)]
struct Got {
    answers: AtomicU64,
    bytes: AtomicU64,
    stopping: AtomicBool,
}

fn pipelined(options: &Options, server: &Server, questions: &Arc<Vec<Question>>) -> Result<Rate> {
    let got = Arc::new(Got::default());
    let ask = |_| ask(server, questions.clone(), got.clone());
    let pipelines = (0..CONNECTIONS).map(ask).collect::<Result<Vec<_>>>()?;
    machine::pass(options.warm_up());
    let look = || -> Result<_> {
        let (answers, bytes) = (got.answers.load(Relaxed), got.bytes.load(Relaxed));
        Ok((Instant::now(), answers, bytes, server.process.cpu()?, process::own_cpu()?))
    };
    let (began, answers, bytes, cpu, own_cpu) = look()?;
    machine::pass(options.seconds());
    let (ended, answers_then, bytes_then, cpu_then, own_cpu_then) = look()?;
    got.stopping.store(true, Relaxed);
    pipelines.into_iter().try_for_each(Pipeline::finish)?;
    Ok(Rate {
        answers: (answers_then - answers) as f64,
        bytes: (bytes_then - bytes) as f64,
        seconds: (ended - began).as_secs_f64(),
        cpu: cpu_then - cpu,
        own_cpu: own_cpu_then - own_cpu,
    })
}

/// Asks all questions in turn over one connection, again and again.
fn ask(server: &Server, questions: Arc<Vec<Question>>, got: Arc<Got>) -> Result<Pipeline> {
    /// Turns unanswered at once: a server is never without work, and what is to be answered when all
    /// stops is not worth many seconds.
    const TURNS: usize = 10;
    /// Of so many answers one is looked at more closely than where it begins and ends.
    const LOOK_AT_ONE_OF: usize = 200;
    let turn: String = questions.iter().map(|question| question.line.as_str()).collect();
    let (taken, may_ask) = mpsc::channel();
    for _ in 0..TURNS {
        taken.send(())?;
    }
    let asking = got.clone();
    let ask = move |bytes: &mut Vec<u8>| {
        // An error: nobody reads any more, and the reader tells why.
        if !asking.stopping.load(Relaxed) && may_ask.recv().is_ok() {
            bytes.extend_from_slice(turn.as_bytes());
        }
    };
    let begins = format!("AT {} ", server.name);
    let name = server.name.clone();
    let mut answered = 0;
    let take = move |bytes: &[u8]| {
        let mut whole = 0;
        while let Some(end) = memmem::find(bytes.get(whole..).unwrap_or_default(), END) {
            let answer = bytes.get(whole..whole + end + END.len()).unwrap_or_default();
            ensure!(answer.starts_with(begins.as_bytes()), "an answer begins wrongly");
            let at = answered % questions.len();
            if let (0, Some(question)) = (answered % LOOK_AT_ONE_OF, questions.get(at)) {
                check_answer(answer, &name, question)?;
            }
            answered += 1;
            if at + 1 == questions.len() {
                // The writer has ended only when all is asked.
                let _ended = taken.send(());
            }
            whole += answer.len();
            got.answers.fetch_add(1, Relaxed);
        }
        got.bytes.fetch_add(whole as u64, Relaxed);
        Ok(whole)
    };
    Pipeline::start(server.address, ask, take)
}

/// An answer is the AT line, a document, an empty line.
fn check_answer(answer: &[u8], server: &str, question: &Question) -> Result<()> {
    let line = memchr(b'\n', answer).context("an answer has lines")?;
    let (line, document) = answer.split_at(line);
    let right = line.starts_with(format!("AT {server} ").as_bytes())
        && line.ends_with(question.tail.as_bytes());
    ensure!(right, "{} was answered {:?}", question.line, String::from_utf8_lossy(line));
    ensure!(document.ends_with(END), "an answer does not end with an empty line");
    check_document(document)
}

/// It has as many results as were asked for, and says so.
fn check_document(document: &[u8]) -> Result<()> {
    let document: Value = serde_json::from_slice(document)?;
    let results = document["results"].as_array().map_or(0, Vec::len);
    ensure!(results == usize::from(BOUND), "an answer has {results} results, not {BOUND}");
    ensure!(document["status"] == "OK", "an answer says {}", document["status"]);
    Ok(())
}
