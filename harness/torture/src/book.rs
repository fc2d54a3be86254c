//! What was sent, what was acknowledged, what was shown: and whether a server may show what it shows.
//!
//! Each client belongs to one writer, which reports it at one server, each time with a later time. So of each
//! client all that was ever sent stands in one order, and what a server shows has a place in that.

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// What a server knows, as it dumped it.
#[derive(Clone, Debug)]
pub(crate) struct Dump {
    /// The bytes, to be compared.
    pub(crate) bytes: Vec<u8>,
    lines: BTreeMap<String, Shown>,
}

/// A line of a dump.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Shown {
    client: String,
    server: String,
    difference: String,
    location: String,
    time: String,
}

impl Dump {
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Self> {
        let mut lines = BTreeMap::new();
        for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let shown: Shown = serde_json::from_slice(line).context("a dump's line is none")?;
            let before = lines.insert(shown.client.clone(), shown);
            ensure!(before.is_none(), "a dump tells twice of {before:?}");
        }
        Ok(Self { bytes, lines })
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Clients of which the other dump says something else, or nothing, or something where this one says nothing.
    pub(crate) fn differing(&self, other: &Self) -> usize {
        let names: BTreeSet<_> = self.lines.keys().chain(other.lines.keys()).collect();
        names.into_iter().filter(|name| self.lines.get(*name) != other.lines.get(*name)).count()
    }
}

/// A report that was acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) time_ns: u64,
    pub(crate) at: Instant,
    difference: String,
}

/// All of one client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Client {
    pub(crate) name: String,
    /// Where it reports.
    pub(crate) server: String,
    /// Times of all that was sent, growing.
    sent: Vec<u64>,
    /// Of these, what was acknowledged in this cycle.
    acknowledged: Vec<Acknowledged>,
    /// The greatest time that must be shown whatever comes: it was shown, or acknowledged in an earlier cycle.
    floor_ns: u64,
}

impl Client {
    pub(crate) fn new(name: String, server: &str) -> Self {
        Self { name, server: server.to_owned(), ..Self::default() }
    }

    /// The next report of it, at this time or the next later one: to be called before it is sent.
    pub(crate) fn say(&mut self, now_ns: u64) -> String {
        let last = self.sent.last().map_or(0, |last| last + 1);
        let time_ns = now_ns.max(last);
        self.sent.push(time_ns);
        format!("IAMAT {} {} {}", self.name, location(&self.name, time_ns), seconds(time_ns))
    }

    /// The answer to a report of it; false if the report was refused.
    pub(crate) fn hear(&mut self, report: &str, answer: &str) -> Result<bool> {
        if answer.strip_prefix("? ") == Some(report) {
            return Ok(false);
        }
        let told = report.strip_prefix("IAMAT ").context("a report")?;
        let head = answer.strip_suffix(told).and_then(|head| head.strip_prefix("AT "));
        let head = head.and_then(|head| head.strip_suffix(' '));
        let Some((server, difference)) = head.and_then(|head| head.split_once(' ')) else {
            bail!("{report:?} was answered {answer:?}");
        };
        ensure!(server == self.server, "{report:?} was answered {answer:?}");
        let time = told.rsplit(' ').next().and_then(nanos).context("a time")?;
        self.acknowledged.push(Acknowledged {
            time_ns: time,
            at: Instant::now(),
            difference: difference.to_owned(),
        });
        Ok(true)
    }

    /// The greatest time that was acknowledged.
    fn last_ns(&self) -> u64 {
        self.acknowledged.last().map_or(0, |last| last.time_ns)
    }

    /// The time of what is shown, if it is one that was sent as it stands there.
    fn recognize(&self, shown: &Shown) -> Result<u64> {
        let time_ns = nanos(&shown.time).filter(|time_ns| self.sent.binary_search(time_ns).is_ok());
        let time_ns = time_ns.with_context(|| format!("nobody has sent {shown:?}"))?;
        let is_it = shown.location == location(&self.name, time_ns) && shown.server == self.server;
        ensure!(is_it, "nobody has sent {shown:?}");
        if let Some(told) = self.acknowledged.iter().find(|told| told.time_ns == time_ns) {
            let before = &told.difference;
            ensure!(*before == shown.difference, "{shown:?} was acknowledged with {before}");
        }
        Ok(time_ns)
    }
}

/// All clients.
#[derive(Debug, Default)]
pub(crate) struct Book {
    clients: BTreeMap<String, Client>,
}

/// What of a server must be there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Must<'a> {
    /// All that this server acknowledged.
    AcknowledgedBy(&'a str),
    /// All that anybody acknowledged, or showed when all had agreed.
    All,
    /// Only what was shown or acknowledged before this cycle.
    Earlier,
    /// Nothing; but what is there must have been sent.
    Nothing,
}

impl Book {
    /// Gives the clients back.
    pub(crate) fn add(&mut self, clients: impl IntoIterator<Item = Client>) {
        self.clients.extend(clients.into_iter().map(|client| (client.name.clone(), client)));
    }

    /// Checks what a server shows.
    pub(crate) fn check(&self, who: &str, dump: &Dump, must: Must<'_>) -> Result<()> {
        for shown in dump.lines.values() {
            let client = self.clients.get(&shown.client);
            let client = client.with_context(|| format!("{who}: nobody has sent {shown:?}"))?;
            client.recognize(shown).with_context(|| who.to_owned())?;
        }
        for client in self.clients.values() {
            let wanted = match must {
                Must::AcknowledgedBy(server) if server == client.server => client.last_ns(),
                Must::AcknowledgedBy(_) | Must::Nothing => 0,
                Must::All => client.last_ns().max(client.floor_ns),
                Must::Earlier => client.floor_ns,
            };
            let shown = dump.lines.get(&client.name);
            let time_ns = shown.and_then(|shown| nanos(&shown.time)).unwrap_or(0);
            ensure!(
                time_ns >= wanted,
                "{who} lost what it must know ({must:?}) of {}: it shows {shown:?}, and had {}",
                client.name,
                seconds(wanted)
            );
        }
        Ok(())
    }

    /// What was acknowledged in this cycle and is not shown.
    pub(crate) fn lost<'a>(&'a self, dump: &'a Dump) -> impl Iterator<Item = &'a Acknowledged> {
        self.clients.values().flat_map(|client| {
            let shown = dump.lines.get(&client.name);
            let time_ns = shown.and_then(|shown| nanos(&shown.time)).unwrap_or(0);
            client.acknowledged.iter().filter(move |told| told.time_ns > time_ns)
        })
    }

    /// A cycle has ended: what is shown counts from now on, and what was lost is over.
    pub(crate) fn turn(&mut self, dump: &Dump) -> u64 {
        let mut acknowledged = 0;
        for client in self.clients.values_mut() {
            let shown = dump.lines.get(&client.name);
            client.floor_ns = shown.and_then(|shown| nanos(&shown.time)).unwrap_or(0);
            acknowledged += client.acknowledged.len() as u64;
            client.acknowledged.clear();
        }
        acknowledged
    }

    /// Nothing need be shown any more.
    pub(crate) fn forget(&mut self) {
        for client in self.clients.values_mut() {
            client.floor_ns = 0;
            client.acknowledged.clear();
        }
    }

    /// What was acknowledged before this moment need not be shown, unless it was before.
    pub(crate) fn excuse(&mut self, before: Instant) {
        for client in self.clients.values_mut() {
            client.acknowledged.retain(|told| told.at >= before);
        }
    }

    /// How many reports were acknowledged in this cycle.
    pub(crate) fn acknowledged(&self) -> usize {
        self.clients.values().map(|client| client.acknowledged.len()).sum()
    }

    /// Takes the clients of one server out, so that a writer can report them.
    pub(crate) fn take(&mut self, wanted: impl Fn(&Client) -> bool) -> Vec<Client> {
        let names: Vec<_> =
            self.clients.values().filter(|client| wanted(client)).map(|c| c.name.clone()).collect();
        names.iter().filter_map(|name| self.clients.remove(name)).collect()
    }
}

/// Made of the time, so that bytes that were mixed up are seen.
fn location(client: &str, time_ns: u64) -> String {
    let mut mixed = time_ns ^ 0x2545_f491_4f6c_dd1d;
    for byte in client.bytes() {
        mixed = (mixed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mixed ^= mixed >> 29;
    let (latitude, longitude) = (mixed % 90_000_000, (mixed >> 20) % 180_000_000);
    let degrees = |micros: u64| (micros / 1_000_000, micros % 1_000_000);
    let ((north, north_micros), (east, east_micros)) = (degrees(latitude), degrees(longitude));
    format!("+{north:02}.{north_micros:06}-{east:03}.{east_micros:06}")
}

const SECOND_NS: u64 = 1_000_000_000;

fn seconds(time_ns: u64) -> String {
    format!("{}.{:09}", time_ns / SECOND_NS, time_ns % SECOND_NS)
}

fn nanos(text: &str) -> Option<u64> {
    let (seconds, nanos) = text.split_once('.')?;
    let nanos = (nanos.len() == 9).then(|| nanos.parse::<u64>().ok())??;
    seconds.parse::<u64>().ok()?.checked_mul(SECOND_NS)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(client: &str, server: &str, report: &str) -> Dump {
        let fields: Vec<_> = report.split(' ').collect();
        let (location, time) = (fields[2], fields[3]);
        let line = format!(
            r#"{{"client":"{client}","server":"{server}","difference":"+0.000000001","location":"{location}","time":"{time}"}}"#
        );
        Dump::parse(line.into_bytes()).unwrap()
    }

    fn book() -> (Book, [String; 3]) {
        let mut client = Client::new("kiwi".to_owned(), "Hill");
        let reports = [5, 5, 4].map(|time_ns| client.say(time_ns));
        for report in &reports[..2] {
            let answer = format!("AT Hill +0.000000001 {}", report.strip_prefix("IAMAT ").unwrap());
            assert!(client.hear(report, &answer).unwrap());
        }
        assert!(!client.hear(&reports[2], &format!("? {}", reports[2])).unwrap());
        let mut book = Book::default();
        book.add([client]);
        (book, reports)
    }

    #[test]
    fn what_was_acknowledged_must_be_shown_or_something_later() {
        let (mut book, [old, new, refused]) = book();
        let [old, new, refused] = [old, new, refused].map(|report| dump("kiwi", "Hill", &report));
        for must in [Must::All, Must::AcknowledgedBy("Hill")] {
            assert!(book.check("Hill", &old, must).unwrap_err().to_string().contains("lost"));
            book.check("Hill", &new, must).unwrap();
            book.check("Hill", &refused, must).unwrap();
        }
        book.check("Jaquez", &old, Must::AcknowledgedBy("Jaquez")).unwrap();
        assert_eq!(book.lost(&old).count(), 1);
        book.turn(&old);
        assert!(book.check("Hill", &Dump::parse(Vec::new()).unwrap(), Must::Earlier).is_err());
    }

    #[test]
    fn dumps_are_compared_client_by_client() {
        let (_, [old, new, _]) = book();
        let [old, new] = [old, new].map(|report| dump("kiwi", "Hill", &report));
        let empty = Dump::parse(Vec::new()).unwrap();
        for (one, other, expected) in [(&old, &old, 0), (&old, &new, 1), (&empty, &new, 1)] {
            assert_eq!((one.differing(other), other.differing(one)), (expected, expected));
        }
    }

    #[test]
    fn what_nobody_sent_is_found() {
        let (book, [_, new, _]) = book();
        assert!(book.check("Hill", &dump("emu", "Hill", &new), Must::Earlier).is_err());
        assert!(book.check("Hill", &dump("kiwi", "Smith", &new), Must::Earlier).is_err());
        let moved = new.replace('+', "-");
        assert!(book.check("Hill", &dump("kiwi", "Hill", &moved), Must::Earlier).is_err());
        let later = new.replace(".00000000", ".00000001");
        assert!(book.check("Hill", &dump("kiwi", "Hill", &later), Must::Earlier).is_err());
    }
}
