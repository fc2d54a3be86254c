//! `index`: what it costs to know where everyone is: to move, to be asked, to be held.
//!
//! One thread, in this process, no server. Beside each figure stands what could do no more than its
//! least part: overwriting a flat list, copying answers that are known; and `rstar`, an R-tree.

use crate::Options;
use crate::city::{Chance, LAT_DEG, LON_DEG, index_of, leaf, middle, nanos, offset, rtree_of};
use crate::table::{Cell, Section, Sorted, Spread};
use anyhow::{Result, ensure};
use herd_geo::{Point, UnitVector, chord_squared};
use herd_index::{Area, Circle, Index};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;

/// How far to go.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Ten million clients too; takes a gigabyte and some minutes
    #[arg(long)]
    large: bool,
}

pub(crate) fn measure(options: &Options, args: &Args) -> Result<Vec<Section>> {
    let clients = options.size(1_000_000, 5000);
    let mut moves = Section::new(
        "Moves of up to 5 m, one client after another at random, ns",
        "City: normal, half of all within 9 km of its middle. Flat: the same points overwritten in a list by \
         number, unit vectors calculated too. Jump: to anywhere in the city. R-tree: removed and inserted.",
        &[
            "clients",
            "flat",
            "move",
            "lowest",
            "highest",
            "of flat",
            "jump",
            "insert",
            "R-tree move",
        ],
    );
    let mut memory = Section::new(
        "Memory",
        "Bytes a client of all that is taken, used or not.",
        &["who and where", "clients", "bytes/client"],
    );
    moved(options, clients, true, &mut moves, &mut memory)?;
    if args.large {
        moved(options, clients * 10, false, &mut moves, &mut memory)?;
    }
    let crowd = one_place(options, clients, &mut memory)?;
    let thin = thin(options, clients, &mut memory)?;
    Ok(vec![moves, nearest(options, clients)?, within(options, clients)?, crowd, thin, memory])
}

/// Everybody moves, a million at a time.
fn moved(
    options: &Options,
    clients: usize,
    compare: bool,
    moves: &mut Section,
    memory: &mut Section,
) -> Result<()> {
    let mut chance = Chance(1);
    let mut at: Vec<Point> = (0..clients).map(|_| chance.in_city()).collect::<Result<_>>()?;
    let started = Instant::now();
    let mut index = index_of(&at)?;
    let insert = nanos(started, clients);
    memory.row([
        Cell::text("city, fresh"),
        Cell::count(clients as f64),
        Cell::figure(index.bytes() as f64 / clients as f64, 1),
    ]);
    let mut tree = compare.then(|| rtree_of(&at));
    let mut flat: Vec<([f64; 3], Point)> = at.iter().map(|&at| ([0.0; 3], at)).collect();
    let batch = options.size(1_000_000, 1000);
    let (mut flats, mut indexed, mut jumps, mut trees) = (vec![], vec![], vec![], vec![]);
    for _ in 0..options.rounds() {
        let steps = (0..batch)
            .map(|_| {
                let key = chance.below(clients);
                let point = chance.near(at[key], 5.0)?;
                Ok((key, std::mem::replace(&mut at[key], point), point))
            })
            .collect::<Result<Vec<_>>>()?;
        let started = Instant::now();
        for &(key, _, point) in &steps {
            flat[key] = (UnitVector::from(point).0, point);
        }
        flats.push(nanos(started, batch));
        let started = Instant::now();
        for &(key, _, point) in &steps {
            index.put(u32::try_from(key)?, point);
        }
        indexed.push(nanos(started, batch));
        if let Some(tree) = &mut tree {
            let some = steps.iter().take(batch / 20);
            let started = Instant::now();
            for &(key, before, point) in some {
                tree.remove(&leaf(key, before));
                tree.insert(leaf(key, point));
            }
            trees.push(nanos(started, batch / 20));
            for &(key, before, point) in steps.iter().skip(batch / 20) {
                tree.remove(&leaf(key, before));
                tree.insert(leaf(key, point));
            }
        }
    }
    black_box(&flat);
    memory.row([
        Cell::text("city, after moves"),
        Cell::count(clients as f64),
        Cell::figure(index.bytes() as f64 / clients as f64, 1),
    ]);
    let far: Vec<_> = (0..batch)
        .map(|_| Ok((chance.below(clients), chance.in_city()?)))
        .collect::<Result<_>>()?;
    for half in far.chunks(batch / 4) {
        let started = Instant::now();
        for &(key, point) in half {
            index.put(u32::try_from(key)?, point);
        }
        jumps.push(nanos(started, half.len()));
    }
    memory.row([
        Cell::text("city, after jumps"),
        Cell::count(clients as f64),
        Cell::figure(index.bytes() as f64 / clients as f64, 1),
    ]);
    ensure!(index.len() == clients, "{} in the index, not {clients}", index.len());
    let (flat, index) = (Spread::of(flats), Spread::of(indexed));
    moves.row([
        Cell::count(clients as f64),
        Cell::figure(flat.median, 0),
        Cell::figure(index.median, 0),
        Cell::figure(index.min, 0),
        Cell::figure(index.max, 0),
        Cell::figure(index.median / flat.median, 2),
        Cell::figure(Spread::of(jumps).median, 0),
        Cell::figure(insert, 0),
        if compare { Cell::figure(Spread::of(trees).median, 0) } else { Cell::text("-") },
    ]);
    Ok(())
}

fn nearest(options: &Options, clients: usize) -> Result<Section> {
    let mut section = Section::new(
        "The nearest 20 in a city, µs",
        "Asked from where clients are. R-tree: the same question, its distances by unit vectors only.",
        &["radius km", "median", "p99", "found", "R-tree median", "R-tree p99"],
    );
    let mut chance = Chance(2);
    let at: Vec<Point> = (0..clients).map(|_| chance.in_city()).collect::<Result<_>>()?;
    let (index, tree) = (index_of(&at)?, rtree_of(&at));
    for radius_km in [1.0, 5.0, 50.0] {
        let (mut times, mut rtree_times, mut found) = (vec![], vec![], vec![]);
        for _ in 0..options.size(4000, 20) {
            let from = at[chance.below(clients)];
            let from = chance.near(from, 50.0)?;
            let started = Instant::now();
            let near = black_box(index.nearest(from, radius_km * 1000.0, 20));
            times.push(nanos(started, 1) / 1000.0);
            let UnitVector(center) = from.into();
            let limit = chord_squared(radius_km * 1000.0);
            let started = Instant::now();
            let same: Vec<u32> = tree
                .nearest_neighbor_iter_with_distance_2(center)
                .take(20)
                .take_while(|&(_, squared)| squared <= limit)
                .map(|(leaf, _)| leaf.data)
                .collect();
            rtree_times.push(nanos(started, 1) / 1000.0);
            ensure!(near.iter().map(|near| near.key).eq(same), "both answer the same");
            found.push(near.len() as f64);
        }
        let (times, rtree_times) = (Sorted::new(times), Sorted::new(rtree_times));
        section.row([
            Cell::figure(radius_km, 0),
            Cell::figure(times.at(0.5), 1),
            Cell::figure(times.at(0.99), 1),
            Cell::count(Spread::of(found).median),
            Cell::figure(rtree_times.at(0.5), 1),
            Cell::figure(rtree_times.at(0.99), 1),
        ]);
    }
    Ok(section)
}

fn within(options: &Options, clients: usize) -> Result<Section> {
    let mut section = Section::new(
        "All within 1 km where 10,000 are, µs",
        "Copy: the same answers, known beforehand, from one list to another. Gather: from a flat list of points, \
         by their numbers. All go into a list that has room. Every time another place, out of more than fit the caches.",
        &["clients", "found", "median", "p99", "copy", "gather", "of copy", "of gather"],
    );
    let mut chance = Chance(3);
    // Evenly over a square in which every circle of 1 km holds 10,000.
    let side_m = (clients as f64 / 10_000.0 * std::f64::consts::PI).sqrt() * 1000.0;
    let square = |chance: &mut Chance, edge_m: f64| {
        offset(
            middle()?,
            (chance.part() - 0.5) * (side_m - edge_m),
            (chance.part() - 0.5) * (side_m - edge_m),
        )
    };
    let at: Vec<Point> = (0..clients).map(|_| square(&mut chance, 0.0)).collect::<Result<_>>()?;
    let index = index_of(&at)?;
    let places = options.size(200, 2);
    let mut known = Vec::new();
    for _ in 0..places {
        let area = Area::from(Circle::new(square(&mut chance, 2000.0)?, 1000.0));
        let mut answers = Vec::new();
        collect(&index, &area, &mut answers);
        known.push((area, answers));
    }
    let mut out = Vec::with_capacity(clients);
    let (mut visits, mut copies, mut gathers) = (vec![], vec![], vec![]);
    for _ in 0..options.rounds() {
        for (area, answers) in &known {
            out.clear();
            let started = Instant::now();
            collect(&index, area, &mut out);
            visits.push(nanos(started, 1) / 1000.0);
            ensure!(out.len() == answers.len(), "as many as before");
        }
        for (_, answers) in &known {
            out.clear();
            let started = Instant::now();
            for &answer in black_box(answers) {
                out.push(answer);
            }
            black_box(&out);
            copies.push(nanos(started, 1) / 1000.0);
        }
        for (_, answers) in &known {
            out.clear();
            let started = Instant::now();
            for &(key, _) in black_box(answers) {
                out.push((key, at[key as usize]));
            }
            black_box(&out);
            gathers.push(nanos(started, 1) / 1000.0);
        }
    }
    let found = Spread::of(known.iter().map(|(_, answers)| answers.len() as f64)).median;
    let visits = Sorted::new(visits);
    let (copy, gather) = (Sorted::new(copies).at(0.5), Sorted::new(gathers).at(0.5));
    section.row([
        Cell::count(clients as f64),
        Cell::count(found),
        Cell::figure(visits.at(0.5), 1),
        Cell::figure(visits.at(0.99), 1),
        Cell::figure(copy, 1),
        Cell::figure(gather, 1),
        Cell::figure(visits.at(0.5) / copy, 2),
        Cell::figure(visits.at(0.5) / gather, 2),
    ]);
    Ok(section)
}

fn one_place(options: &Options, clients: usize, memory: &mut Section) -> Result<Section> {
    let mut section = Section::new(
        "The nearest 20 where all are at one point, µs",
        "Ties are in the order of keys.",
        &["asked from", "median", "p99"],
    );
    let mut index = index_of(&vec![middle()?; clients])?;
    memory.row([
        Cell::text("one point"),
        Cell::count(clients as f64),
        Cell::figure(index.bytes() as f64 / clients as f64, 1),
    ]);
    for (name, from) in [
        ("there", middle()?),
        ("1 km away", offset(middle()?, 1000.0, 0.0)?),
        ("the other side", Point::new(-LAT_DEG, LON_DEG + 180.0)?),
    ] {
        let mut times = Vec::new();
        for _ in 0..options.size(4000, 20) {
            let started = Instant::now();
            let near = black_box(index.nearest(from, f64::INFINITY, 20));
            times.push(nanos(started, 1) / 1000.0);
            ensure!(near.iter().map(|near| near.key).eq(0..20), "ties are in the order of keys");
        }
        let times = Sorted::new(times);
        section.row([
            Cell::text(name),
            Cell::figure(times.at(0.5), 2),
            Cell::figure(times.at(0.99), 2),
        ]);
    }
    let mut chance = Chance(4);
    let mut times = Vec::new();
    for _ in 0..options.size(100_000, 100) {
        let key = u32::try_from(chance.below(clients))?;
        let away = chance.near(middle()?, 500.0)?;
        let started = Instant::now();
        index.put(key, away);
        index.put(key, middle()?);
        times.push(nanos(started, 2) / 1000.0);
    }
    let times = Sorted::new(times);
    section.row([
        Cell::text("a client leaves, or comes back"),
        Cell::figure(times.at(0.5), 2),
        Cell::figure(times.at(0.99), 2),
    ]);
    Ok(section)
}

fn thin(options: &Options, clients: usize, memory: &mut Section) -> Result<Section> {
    let mut section = Section::new(
        "The nearest 20 where clients are spread over the globe, µs",
        "All: each one within the radius, counted.",
        &["radius km", "median", "p99", "found", "all median", "all"],
    );
    let mut chance = Chance(5);
    let anywhere = |chance: &mut Chance| -> Result<Point> {
        let lat_deg = (chance.part() * 2.0 - 1.0).asin().to_degrees();
        Ok(Point::new(lat_deg, chance.part() * 360.0 - 180.0)?)
    };
    let at: Vec<Point> = (0..clients).map(|_| anywhere(&mut chance)).collect::<Result<_>>()?;
    let index = index_of(&at)?;
    memory.row([
        Cell::text("spread over the globe"),
        Cell::count(clients as f64),
        Cell::figure(index.bytes() as f64 / clients as f64, 1),
    ]);
    for radius_km in [0.001, 1.0, 100.0, 20_016.0] {
        let (mut times, mut founds, mut all_times, mut alls) = (vec![], vec![], vec![], vec![]);
        for number in 0..options.size(4000, 20) {
            let from = anywhere(&mut chance)?;
            let started = Instant::now();
            let near = black_box(index.nearest(from, radius_km * 1000.0, 20));
            times.push(nanos(started, 1) / 1000.0);
            founds.push(near.len() as f64);
            if number >= 20 && radius_km > 1000.0 {
                continue;
            }
            let area = Area::from(Circle::new(from, radius_km * 1000.0));
            let mut all = 0_usize;
            let started = Instant::now();
            let _whole: ControlFlow<()> = index.visit(&area, |_, _| {
                all += 1;
                ControlFlow::Continue(())
            });
            all_times.push(nanos(started, 1) / 1000.0);
            alls.push(all as f64);
        }
        let times = Sorted::new(times);
        section.row([
            Cell::figure(radius_km, 3),
            Cell::figure(times.at(0.5), 2),
            Cell::figure(times.at(0.99), 2),
            Cell::count(Spread::of(founds).median),
            Cell::figure(Spread::of(all_times).median, 2),
            Cell::count(Spread::of(alls).median),
        ]);
    }
    Ok(section)
}

fn collect(index: &Index<u32>, area: &Area, out: &mut Vec<(u32, Point)>) {
    let _whole: ControlFlow<()> = index.visit(area, |key, point| {
        out.push((key, point));
        ControlFlow::Continue(())
    });
}
