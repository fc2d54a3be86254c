//! `memory`: bytes for each client.
//!
//! Resident memory of the server's process before and after, divided. Idle connections are with
//! `connections`.

use crate::Options;
use crate::herd::Herd;
use crate::load::{Expect, Load, Motion, Target};
use crate::table::{Cell, Section};
use anyhow::{Result, ensure};

pub(crate) fn measure(options: &Options) -> Result<Vec<Section>> {
    Ok(vec![clients(options)?])
}

fn clients(options: &Options) -> Result<Section> {
    let mut section = Section::new(
        "Memory for each client of one server",
        "Resident, after so many clients reported `rounds` times in all; text: name, location and time of \
         one report.",
        &["clients", "rounds", "resident MB", "bytes/client", "text bytes"],
    );
    for (clients, rounds) in options
        .size([(100_000, 1), (100_000, 4), (1_000_000, 1)], [(1000, 1), (1000, 4), (2000, 1)])
    {
        let herd = Herd::of_one(options, false)?;
        let server = herd.first()?;
        let before = server.process.resident_bytes()?;
        let connections = 4;
        let target = Target {
            address: server.address,
            expect: Expect::At(server.name.clone()),
            connections,
            depth: 100,
            clients: clients / connections,
            prefix: "walker-".to_owned(),
            motion: Motion::Still,
            rate: None,
            reports_max: (clients / connections * rounds) as u64,
        };
        let said = Load::start(&[target], options.threads).finish()?;
        let known = said.iter().map(|requests| requests.newest().count()).sum::<usize>();
        ensure!(known == clients, "{known} clients reported, not {clients}");
        let told = crate::herd::number(&server.status()?["clients"])?;
        ensure!(told == clients as u64, "the server knows {told} clients, not {clients}");
        let after = server.process.resident_bytes()?;
        let text = said.first().and_then(|requests| requests.last()).map_or(0, |r| r.len() - 2);
        section.row([
            Cell::count(clients as f64),
            Cell::count(rounds as f64),
            Cell::figure(after as f64 / 1e6, 1),
            Cell::figure(after.saturating_sub(before) as f64 / clients as f64, 1),
            Cell::count(text as f64),
        ]);
    }
    Ok(section)
}
