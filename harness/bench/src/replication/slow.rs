//! `slow`: a server behind a link that takes a fifth of what is written.
//!
//! A line of three; the last is reached over the slow link alone. What it shows is then never the latest,
//! but no key may be forgotten: the age of what it shows of any key is bounded by the time in which
//! the link can carry every key once. And whoever sends must not keep what it cannot send.

use super::Args;
use crate::Options;
use crate::ears::{Ears, of_server};
use crate::herd::{Herd, Plan};
use crate::machine::pass;
use crate::pace::{Pace, Paced};
use crate::table::{Cell, Section, Sorted};
use crate::wires::{Manner, Wires};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const NAMES: [&str; 3] = ["Hill", "Smith", "Campbell"];
const LINKS: [(&str, &str); 2] = [("Hill", "Smith"), ("Smith", "Campbell")];

/// Bytes that a record has on a link, its share of what else goes there included; as measured. Only
/// chooses how slow the link is; what counts is what then came over it.
const RECORD_BYTES: u32 = 111;

pub(super) fn measure(options: &Options, args: &Args) -> Result<Vec<Section>> {
    let seconds = args.slow(options);
    let mut section = Section::new(
        &format!(
            "A link at a fifth of the update rate for {} s: a line of three, the last behind it",
            seconds.as_secs_f64()
        ),
        "Age: from the moment since which a report shown at the last server was no longer the newest, until \
         the next of that client was shown. Must be keys / rate + 1 s at most, where the rate is that of the \
         records that came over the link. Memory: of the server before the link, resident MB, after a fifth \
         of the time and at the end. Oldest at: when the greatest age came to its end, seconds after the start. \
         Relinked: how often the link was given up and made anew; then its sweep begins anew too.",
        &[
            "writers",
            "keys",
            "updates/s",
            "link records/s",
            "age p50 s",
            "p99 s",
            "max s",
            "allowed s",
            "unheard",
            "MB then",
            "MB end",
            "oldest at s",
            "relinked",
        ],
    );
    for writers in [1, 2] {
        slow(options, seconds, writers, &mut section)?;
    }
    Ok(vec![section])
}

fn slow(options: &Options, time: Duration, writers: usize, section: &mut Section) -> Result<()> {
    let rate = options.size(5000, 1000);
    let keys = options.size(10_000, 500);
    let ears = Ears::of(&NAMES)?;
    let wires = Wires::new(Manner::default())?;
    let slow = Manner { rate: Some(rate / 5 * RECORD_BYTES), ..Manner::default() };
    wires.set_manner("Smith", "Campbell", slow);
    let foreign = ears.foreign();
    let plan = Plan {
        names: &NAMES,
        links: &LINKS,
        foreign: &foreign,
        wires: Some(&wires),
        ..Plan::default()
    };
    let herd = Herd::start(options, &plan)?;
    let sharers = u32::try_from(writers)?;
    let pace = Pace { rate: rate / sharers, clients: keys / sharers };
    let smith = herd.server("Smith")?;
    let campbell = herd.server("Campbell")?;
    let came = || -> Result<f64> { Ok(campbell.links_sum("records_received")? as f64) };
    let begun = Instant::now();
    let load = Paced::start(herd.servers.iter().take(writers), pace)?;
    pass(time / 5);
    ensure!(load.sent() > 0, "nothing was reported");
    let (memory, came_then, then) = (smith.process.resident_bytes()?, came()?, Instant::now());
    pass(time * 4 / 5);
    let (memory_end, came_end, end) = (smith.process.resident_bytes()?, came()?, Instant::now());
    let sent = load.stop()? as f64 / begun.elapsed().as_secs_f64();
    let through = (came_end - came_then) / (end - then).as_secs_f64();
    let heard = ears.take();
    // What was sent of each client, as the server next to the writers heard it or, of its own, said.
    let newest = sent_of_each(&heard)?;
    let (ages, unheard, oldest_at) = ages(&newest, of_server(&heard, 2)?);
    let relinked = campbell.links_established("Smith")?.saturating_sub(1);
    let allowed = f64::from(keys) / through + 1.0;
    let mb = |bytes: u64| Cell::figure(bytes as f64 / 1e6, 1);
    section.row([
        Cell::count(writers as f64),
        Cell::count(f64::from(keys)),
        Cell::count(sent),
        Cell::count(through),
        Cell::figure(ages.at(0.5), 2),
        Cell::figure(ages.at(0.99), 2),
        Cell::figure(ages.at(1.0), 2),
        Cell::figure(allowed, 2),
        Cell::count(unheard as f64),
        mb(memory),
        mb(memory_end),
        Cell::figure(oldest_at, 1),
        Cell::count(relinked as f64),
    ]);
    Ok(())
}

/// A client of a writer.
type Client = (u16, u32);

/// When each client's reports were sent, as the first server to hear them told.
fn sent_of_each(heard: &[Vec<crate::ears::Heard>]) -> Result<BTreeMap<Client, Vec<u64>>> {
    let mut sent: BTreeMap<Client, Vec<u64>> = BTreeMap::new();
    for writer in 0..2 {
        let own = of_server(heard, writer)?.iter().filter(|h| usize::from(h.writer) == writer);
        for heard in own {
            sent.entry((heard.writer, heard.client)).or_default().push(heard.sent);
        }
    }
    for times in sent.values_mut() {
        times.sort_unstable();
    }
    Ok(sent)
}

/// How old what was shown became, seconds; how many clients were never shown at all; and when the greatest
/// age came to its end, seconds after the first report.
fn ages(sent: &BTreeMap<Client, Vec<u64>>, heard: &[crate::ears::Heard]) -> (Sorted, usize, f64) {
    let mut shown: BTreeMap<Client, u64> = BTreeMap::new();
    let mut ages = Vec::new();
    let begin = sent.values().filter_map(|times| times.first()).min().copied().unwrap_or(0);
    let end = heard.last().map_or(0, |last| last.at);
    // Nothing shown is as old as the first report that should be; something, as old as the next one.
    let age = |client: &Client, shown: u64, at: u64| {
        let times = sent.get(client)?;
        let next = times.get(times.partition_point(|&time| time <= shown))?;
        let since_begin = at.saturating_sub(begin) as f64 / 1e9;
        (*next < at).then(|| ((at - next) as f64 / 1e9, since_begin))
    };
    for heard in heard {
        let client = (heard.writer, heard.client);
        let before = shown.insert(client, heard.sent).unwrap_or(0);
        ages.extend(age(&client, before, heard.at));
    }
    let last =
        sent.keys().filter_map(|client| age(client, shown.get(client).copied().unwrap_or(0), end));
    ages.extend(last);
    let unheard = sent.keys().filter(|client| !shown.contains_key(client)).count();
    let oldest = ages.iter().copied().max_by(|one, other| one.0.total_cmp(&other.0));
    let ages = Sorted::new(ages.into_iter().map(|(age, _)| age).collect());
    (ages, unheard, oldest.map_or(f64::NAN, |(_, at)| at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ears::Heard;

    #[test]
    fn an_age_begins_with_the_first_report_that_is_not_shown() {
        let second = 1_000_000_000;
        let sent = BTreeMap::from([
            ((0, 1), vec![second, 3 * second, 5 * second]),
            ((0, 2), vec![2 * second]),
        ]);
        let heard = |sent: u64, at: u64| Heard {
            writer: 0,
            client: 1,
            sent: sent * second,
            at: at * second,
        };
        let (ages, unheard, oldest_at) = ages(&sent, &[heard(1, 2), heard(5, 8)]);
        // One second until the first was shown, five since the second was not, six without the other client.
        assert_eq!(format!("{ages:?}"), "Sorted([1.0, 5.0, 6.0])");
        assert_eq!(unheard, 1);
        assert!((oldest_at - 7.0).abs() < 1e-9, "{oldest_at}");
    }
}
