//! What the load says: the reports of one connection's clients, built once and altered in place.
//!
//! A report is an IAMAT, or the GEOADD that tells Redis the same. All of one connection are of one
//! length, so that a client's is found by its number and its digits by their place in it. *Absent:*
//! sockets, and when to send what.

use super::{Expect, Target};
use crate::city::Chance;
use crate::probe;
use anyhow::{Result, ensure};
use herd_geo::Point;
use std::ops::Range;

/// Where clients are, and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Motion {
    /// All at one place, always.
    Still,
    /// Each somewhere in a city, where it stays. That depends on its connection and number alone, so
    /// that two loads have the same points.
    City,
    /// The same, but with every report it moves by some meters.
    Walk,
}

/// The key under which Redis has all points.
pub(crate) const REDIS_KEY: &str = "walkers";

/// The reports of one connection, one for each of its clients, in one block; times and last digits of
/// places are rewritten when they are sent again.
#[derive(Debug)]
pub(crate) struct Requests {
    bytes: Vec<u8>,
    line_len: usize,
    clients: usize,
    last_time: u64,
    sent: u64,
    /// Where in each report the time stands, if it has one.
    time_at: Option<usize>,
    /// Where the last digits of latitude and longitude stand, if they change.
    ends_at: Option<[usize; 2]>,
    chance: Chance,
}

/// Digits of a time between 2001 and 2286, point included.
const TIME: usize = 20;

/// `+34.068930` and `-118.445127`, as every point of the city is written.
const LAT: usize = 10;
const LON: usize = 11;

/// Last digits that change: up to 11 meters.
const END: usize = 2;

impl Requests {
    pub(super) fn new(target: &Target, number: usize) -> Result<Self> {
        let zero = probe::time_text(1_000_000_000_000_000_000);
        // Any seed does, so long as no two connections have one.
        let mut chance = Chance(number as u64);
        let clients = target.clients.max(target.depth);
        let mut bytes = Vec::new();
        let (mut line_len, mut first_place) = (0, String::new());
        for client in 0..clients {
            let name = format!("{}{number:03}-{client:07}.example", target.prefix);
            let place = match target.motion {
                Motion::Still => probe::LOCATION.to_owned(),
                Motion::City | Motion::Walk => location(chance.in_city()?),
            };
            let line = match target.expect {
                Expect::At(_) | Expect::Echo => format!("IAMAT {name} {place} {zero}\n"),
                Expect::Count => geoadd(&name, &place),
            };
            if client == 0 {
                (line_len, first_place) = (line.len(), place);
            }
            bytes.extend_from_slice(line.as_bytes());
            ensure!(bytes.len() == (client + 1) * line_len, "not all reports have one length");
        }
        let first = bytes.get(..line_len).unwrap_or_default();
        let time_at = memchr::memmem::rfind(first, zero.as_bytes());
        // A plus is not written to Redis, so only what is behind it is looked for.
        let end_of = |part: &str| Some(memchr::memmem::find(first, part.as_bytes())? + part.len());
        let ends_at = match (target.motion, first_place.split_at_checked(LAT)) {
            (Motion::Walk, Some((lat, lon))) => {
                let ends = end_of(lat.trim_start_matches('+')).zip(end_of(lon));
                ends.map(|(lat, lon)| [lat - END, lon - END])
            }
            _ => None,
        };
        let (last_time, sent) = (0, 0);
        Ok(Self { bytes, line_len, clients, last_time, sent, time_at, ends_at, chance })
    }

    /// Bytes of each report.
    pub(super) fn line_len(&self) -> usize {
        self.line_len
    }

    /// Gives the next requests, at most `count`, the present time; the bytes where they lie. Each
    /// client's time grows from request to request.
    pub(super) fn renew(&mut self, asked: u64, count: u64) -> Range<usize> {
        let first = usize::try_from(asked % self.clients as u64).unwrap_or(0);
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.clients - first);
        let range = first * self.line_len..(first + count) * self.line_len;
        if let Some(at) = self.time_at {
            self.last_time = probe::unix_nanos().max(self.last_time + 1);
            let mut digits = [b'.'; TIME];
            let (seconds, fraction) = digits.split_at_mut(10);
            write_digits(self.last_time / 1_000_000_000, seconds);
            write_digits(self.last_time % 1_000_000_000, &mut fraction[1..]);
            self.write_each(range.clone(), at, &digits);
        }
        if let Some(ends_at) = self.ends_at {
            for at in ends_at {
                let mut digits = [0; END];
                write_digits(self.chance.below(100) as u64, &mut digits);
                self.write_each(range.clone(), at, &digits);
            }
        }
        self.sent = asked + count as u64;
        range
    }

    fn write_each(&mut self, range: Range<usize>, at: usize, digits: &[u8]) {
        for line in self.bytes[range].chunks_exact_mut(self.line_len) {
            line[at..at + digits.len()].copy_from_slice(digits);
        }
    }

    /// The bytes of some requests.
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    /// The request of this number, as it was last sent.
    pub(super) fn line(&self, number: u64) -> &[u8] {
        let at = usize::try_from(number % self.clients as u64).unwrap_or(0) * self.line_len;
        self.bytes(at..at + self.line_len)
    }

    /// Reports sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// The newest report of each client, without the word and the line feed: client, location, time.
    /// None where they were told to Redis.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &str> {
        let known = usize::try_from(self.sent).unwrap_or(usize::MAX).min(self.clients);
        let lines = self.bytes.chunks_exact(self.line_len).take(known);
        lines.filter_map(|line| {
            std::str::from_utf8(line).ok()?.strip_prefix("IAMAT ")?.strip_suffix('\n')
        })
    }

    /// The last report of all.
    pub(crate) fn last(&self) -> Option<&str> {
        let at = usize::try_from(self.sent.checked_sub(1)? % self.clients as u64).ok()?;
        self.newest().nth(at)
    }
}

/// A point as clients write it, always of one length around the city.
pub(crate) fn location(at: Point) -> String {
    format!("{:+0LAT$.6}{:+0LON$.6}", at.lat_deg(), at.lon_deg())
}

/// The command by which Redis is told that `name` is at `place`.
fn geoadd(name: &str, place: &str) -> String {
    let (lat, lon) = place.split_at(LAT);
    let lat = lat.trim_start_matches('+');
    redis_command(&["GEOADD", REDIS_KEY, lon, lat, name])
}

/// A command as Redis reads it: how many parts, then each after its length.
pub(crate) fn redis_command(parts: &[&str]) -> String {
    let part = |part: &&str| format!("${}\r\n{part}\r\n", part.len());
    let parts: Vec<String> = parts.iter().map(part).collect();
    format!("*{}\r\n{}", parts.len(), parts.concat())
}

fn write_digits(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789"[usize::try_from(number % 10).unwrap_or(0)];
        number /= 10;
    }
}

/// Both with their line feeds.
pub(crate) fn is_reply(expect: &Expect, request: &[u8], reply: &[u8]) -> bool {
    match expect {
        Expect::Echo => request == reply,
        Expect::Count => reply == b":0\r\n" || reply == b":1\r\n",
        Expect::At(server) => {
            let Some(tail) = request.strip_prefix(b"IAMAT") else { return false };
            let difference = reply
                .strip_prefix(b"AT ")
                .and_then(|rest| rest.strip_prefix(server.as_bytes()))
                .and_then(|rest| rest.strip_prefix(b" "))
                .and_then(|rest| rest.strip_suffix(tail));
            difference.is_some_and(|text| {
                text.len() >= "+0.000000000".len()
                    && text.iter().all(|b| b"+-.0123456789".contains(b))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(expect: Expect, motion: Motion) -> Requests {
        let target = Target {
            address: ([127, 0, 0, 1], 1).into(),
            expect,
            connections: 1,
            depth: 2,
            clients: 3,
            prefix: "p".to_owned(),
            motion,
            rate: None,
            reports_max: u64::MAX,
        };
        Requests::new(&target, 7).unwrap()
    }

    fn at() -> Expect {
        Expect::At("Hill".to_owned())
    }

    #[test]
    fn requests_are_taken_round_and_grow_in_time() {
        let mut requests = requests(at(), Motion::Still);
        let first = requests.renew(0, 2);
        assert_eq!((first.start, first.end), (0, 2 * requests.line_len));
        let old = requests.line(1).to_vec();
        assert!(old.starts_with(b"IAMAT p007-0000001.example +"));
        // Not past the end of the block.
        assert_eq!(requests.renew(2, 2).len(), requests.line_len);
        assert_eq!(requests.sent(), 3);
        requests.renew(3, 2);
        let new = requests.line(4);
        assert!(new > &old[..], "{old:?}");
        assert!(requests.last().unwrap().starts_with("p007-0000001"));
        assert_eq!(requests.newest().count(), 3);
    }

    #[test]
    fn both_are_told_the_same_points_which_move_by_their_last_digits() {
        let text = |requests: &Requests, number| {
            String::from_utf8(requests.line(number).to_vec()).unwrap()
        };
        let (mut ours, mut theirs) =
            (requests(at(), Motion::City), requests(Expect::Count, Motion::City));
        for requests in [&mut ours, &mut theirs] {
            requests.renew(0, 3);
        }
        for client in 0..3 {
            let line = text(&ours, client);
            let place = line.split(' ').nth(2).unwrap();
            let name = line.split(' ').nth(1).unwrap();
            assert_eq!(geoadd(name, place), text(&theirs, client));
        }
        for (expect, field) in [(at(), 2), (Expect::Count, 0)] {
            let mut requests = requests(expect, Motion::Walk);
            let before = text(&requests, 0);
            requests.renew(0, 1);
            let after = text(&requests, 0);
            assert_eq!(before.len(), after.len());
            let of = |text: &str| text.split(' ').nth(field).unwrap().to_owned();
            let changed: Vec<usize> = of(&before)
                .bytes()
                .zip(of(&after).bytes())
                .enumerate()
                .filter_map(|(at, (before, after))| (before != after).then_some(at))
                .collect();
            let ends = requests.ends_at.unwrap();
            let begin = before.find(&of(&before)).unwrap();
            let near =
                |at: &usize| ends.iter().any(|&end| (end..end + END).contains(&(at + begin)));
            assert!(!changed.is_empty() && changed.iter().all(near), "{before:?} {after:?}");
            // Digits, and not what stands around them.
            assert!(ends.iter().all(|&end| {
                before.as_bytes()[end..end + END].iter().all(u8::is_ascii_digit)
                    && !before.as_bytes()[end + END].is_ascii_digit()
            }));
        }
    }

    #[test]
    fn a_wrong_reply_is_seen() {
        let request = b"IAMAT k +1+2 3\n";
        assert!(is_reply(&at(), request, b"AT Hill +0.000000001 k +1+2 3\n"));
        for wrong in
            ["AT Hill +0.000000001 k +1+2 4\n", "AT Smith +0.000000001 k +1+2 3\n", "? x\n"]
        {
            assert!(!is_reply(&at(), request, wrong.as_bytes()), "{wrong}");
        }
        assert!(is_reply(&Expect::Echo, request, request));
        assert!(!is_reply(&Expect::Echo, request, b"IAMAT k +1+2 4\n"));
        assert!(is_reply(&Expect::Count, request, b":1\r\n"));
        assert!(!is_reply(&Expect::Count, request, b"-ERR unknown\r\n"));
    }
}
