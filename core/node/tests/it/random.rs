//! Random histories of reports, cuts, kills and restarts against a model that knows every report.

use crate::herd::{Herd, START_NS, name};
use std::collections::BTreeMap;
use std::time::Duration;

const CLIENTS: [&str; 3] = ["kiwi", "rhea", "emu"];

#[test]
fn after_any_history_all_living_servers_agree_on_the_greatest_report() {
    for seed in 0..300 {
        run(seed);
    }
}

fn run(seed: u64) {
    let count = [2, 3, 4, 5, 6][usize::try_from(seed).unwrap() % 5];
    let mut edges: Vec<_> = (1..count).map(|at| (at - 1, at)).collect();
    if count > 2 && seed.is_multiple_of(3) {
        edges.push((0, count - 1));
    }
    let mut herd = Herd::new(count, &edges, seed);
    let mut newest: BTreeMap<&str, (i64, String, String)> = BTreeMap::new();
    for _ in 0..60 {
        match herd.chance.below(10) {
            0 => {
                let &(a, b) = herd.chance.pick(&edges).unwrap();
                let cut = herd.is_cut(a, b);
                herd.cut.insert((a, b), !cut);
            }
            1 => {
                herd.cut.clear();
                herd.run(Duration::from_secs(12));
                // Only where all are there and agree does a kill lose nothing.
                if let Some(missing) = herd.nodes.iter().position(Option::is_none) {
                    herd.start(missing);
                } else {
                    let at = herd.chance.below(count);
                    herd.kill(at);
                }
            }
            2 => herd.pass(Duration::from_secs(2)),
            3..=5 => {
                for _ in 0..20 {
                    herd.carry();
                }
            }
            _ => {
                let at = herd.chance.below(count);
                let client = herd.chance.pick(&CLIENTS).unwrap();
                let seconds =
                    START_NS / 1_000_000_000 + i64::try_from(herd.chance.below(4)).unwrap();
                let location = format!("+{}+2", herd.chance.below(3));
                if herd.report(at, client, &location, &seconds.to_string()) {
                    let rank = (seconds, name(at), location);
                    let old = newest.entry(client).or_insert_with(|| rank.clone());
                    *old = old.clone().max(rank);
                }
            }
        }
    }
    herd.cut.clear();
    for at in 0..count {
        if herd.nodes[at].is_none() {
            herd.start(at);
        }
    }
    herd.run(Duration::from_secs(20));
    for (client, (seconds, server, location)) in &newest {
        for at in 0..count {
            let line = herd.at_line(at, client).unwrap_or_default();
            let fields: Vec<_> = line.split_whitespace().collect();
            let expected =
                ["AT", server, "*", client, location, &seconds.to_string()].map(str::to_owned);
            let same = fields.len() == 6
                && fields.iter().zip(&expected).all(|(got, want)| want == "*" || got == want);
            assert!(same, "seed {seed}, server {at}: {line:?}, expected {expected:?}");
            assert_eq!(Some(&line), herd.at_line(0, client).as_ref(), "seed {seed}");
        }
    }
}
