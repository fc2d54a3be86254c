//! A server that lies: an honest replica whose messages are forged now and then on their way out.

use crate::chance::Chance;
use herd_proto::peer::{BatchWriter, Message, SUMS, VALUE_BYTES_MAX};

/// Of a thousand messages so many are forged, and after so many another one is made up.
const FORGED: u64 = 150;
const MADE_UP: u64 = 50;

/// Says a message, or something like it, and perhaps more. Returns how many lies that were.
pub(crate) fn tell(message: &Message<'_>, chance: &mut Chance, out: &mut BatchWriter<'_>) -> u64 {
    let mut lies = 0;
    if chance.per_mille(FORGED) {
        lies += 1;
        // One of eight is left out.
        if !chance.per_mille(125) {
            out.push(&forge(message.clone(), chance));
        }
    } else {
        out.push(message);
    }
    if chance.per_mille(MADE_UP) {
        lies += 1;
        let value = vec![b'!'; chance.index(VALUE_BYTES_MAX)];
        let made_up = make_up(&value, chance);
        out.push(&made_up);
    }
    lies
}

fn number(near: u64, chance: &mut Chance) -> u64 {
    match chance.below(9) {
        0 => 0,
        1 => near.wrapping_add(1),
        2 => near.saturating_sub(1),
        3 => near.wrapping_mul(2),
        4 => u64::MAX,
        5 => 1 << 62,
        6 => near.wrapping_add(chance.below(100)),
        _ => chance.below(100),
    }
}

fn time(near: i64, chance: &mut Chance) -> i64 {
    const HOUR_NS: i64 = 3_600_000_000_000;
    match chance.below(6) {
        0 => i64::MAX,
        1 => i64::MIN,
        2 => near.saturating_add(HOUR_NS),
        3 => near.saturating_add(100_000_000_000),
        4 => near.saturating_sub(1),
        _ => near.saturating_add(1),
    }
}

fn sums(sums: &mut [u64], chance: &mut Chance) {
    if chance.per_mille(500) {
        sums.fill(0);
    } else if let Some(sum) = sums.get_mut(chance.index(SUMS)) {
        *sum = chance.next();
    }
}

fn forge<'a>(mut message: Message<'a>, chance: &mut Chance) -> Message<'a> {
    match &mut message {
        Message::Origin { incarnation, .. } => match chance.below(4) {
            0 => *incarnation += 1,
            1 => *incarnation = number(*incarnation, chance),
            2 => *incarnation += 3_600_000_000_000,
            _ => *incarnation = 0,
        },
        Message::Watermark { version, .. } => *version = number(*version, chance),
        Message::Subscribe { from, .. } => *from = number(*from, chance),
        Message::Gap { since, .. } => *since = number(*since, chance),
        Message::Unsubscribe { origin } => *origin = chance.small(4),
        Message::Entry { sequence, effective_ns, received_ns, origin, .. } => {
            match chance.below(4) {
                0 => *sequence = number(*sequence, chance),
                1 => *effective_ns = time(*effective_ns, chance),
                2 => *received_ns = time(*received_ns, chance),
                _ => *origin = chance.small(4),
            }
        }
        Message::Commit { from, to, origin } => match chance.below(3) {
            0 => *from = number(*from, chance),
            1 => *to = number(*to, chance),
            _ => *origin = chance.small(4),
        },
        Message::Member { counter, origin, .. } | Message::Left { counter, origin } => {
            if chance.per_mille(500) {
                *counter = number(*counter, chance);
            } else {
                *origin = chance.small(4);
            }
        }
        Message::Compare { token, cutoff_ns, root } => match chance.below(3) {
            0 => *token = chance.next(),
            1 => *cutoff_ns = time(*cutoff_ns, chance),
            _ => *root = chance.next(),
        },
        Message::Same { token, versions } => {
            *token = if chance.per_mille(300) { chance.next() } else { *token };
            forge_versions(versions, chance);
        }
        Message::Ranges { cutoff_ns, versions, sums: all, .. } => {
            if chance.per_mille(300) {
                *cutoff_ns = time(*cutoff_ns, chance);
            }
            sums(all, chance);
            forge_versions(versions, chance);
        }
        Message::AskRange { range } => *range = chance.byte(),
        Message::Buckets { range, sums: all } => {
            if chance.per_mille(300) {
                *range = chance.byte();
            }
            sums(all, chance);
        }
        Message::AskBucket { bucket, all, keys, .. } => match chance.below(3) {
            0 => *bucket = chance.word(),
            1 => *all = !*all,
            _ => keys.clear(),
        },
        Message::Record { claimed, effective_ns, received_ns, .. } => match chance.below(3) {
            0 => *claimed = !*claimed,
            1 => *effective_ns = time(*effective_ns, chance),
            _ => *received_ns = time(*received_ns, chance),
        },
        Message::BucketDone { bucket } => *bucket = chance.word(),
        Message::Compared { token } => *token = chance.next(),
        Message::Ping { sent, unix_ns } | Message::Pong { sent, unix_ns } => {
            *sent = chance.next();
            *unix_ns = time(*unix_ns, chance);
        }
        Message::Greeted | Message::CompareHint | Message::Bye { .. } => {
            message = make_up(&[], chance);
        }
    }
    message
}

fn forge_versions(versions: &mut [(u16, u64)], chance: &mut Chance) {
    for (_, version) in versions {
        if chance.per_mille(500) {
            *version = number(*version, chance);
        }
    }
}

/// A message out of nothing.
fn make_up<'a>(value: &'a [u8], chance: &mut Chance) -> Message<'a> {
    const NAMES: [&str; 6] = ["n0", "n1", "n2", "stranger", "another", "third"];
    const START_NS: u64 = 1_700_000_000_000_000_000;
    let origin = chance.small(6);
    let effective_ns = time(START_NS.cast_signed(), chance);
    let received_ns = time(START_NS.cast_signed(), chance);
    let key = crate::rank::KEYS[chance.index(crate::rank::KEYS.len())];
    match chance.below(14) {
        0 => Message::Origin {
            number: origin,
            server: NAMES[chance.index(NAMES.len())],
            incarnation: number(START_NS, chance),
        },
        1 => Message::Watermark { origin, version: number(10, chance) },
        2 => Message::Commit { origin, from: number(0, chance), to: number(10, chance) },
        3 => Message::Same { token: chance.next(), versions: vec![(origin, number(10, chance))] },
        4 => Message::Left { origin, counter: number(10, chance) },
        5 => Message::Subscribe { origin, from: number(0, chance) },
        6 => Message::Gap { origin, since: number(10, chance) },
        7 => Message::BucketDone { bucket: chance.word() },
        8 => Message::Compare { token: chance.next(), cutoff_ns: i64::MIN, root: 0 },
        9 => Message::AskRange { range: chance.byte() },
        10 => Message::Ranges {
            token: chance.next(),
            cutoff_ns: i64::MIN,
            versions: vec![(origin, number(10, chance))],
            sums: vec![0; SUMS],
        },
        11 => Message::Record {
            claimed: chance.per_mille(500),
            key,
            effective_ns,
            received_ns,
            tombstone: false,
            value,
        },
        12 => Message::Entry {
            origin,
            sequence: number(10, chance),
            key,
            effective_ns,
            received_ns,
            tombstone: chance.per_mille(100),
            value: &[],
        },
        _ => Message::CompareHint,
    }
}
