//! Riders: any number of clients, each a number, whose reports are calculated when they are sent.
//!
//! A load of ten million clients must not hold ten million lines. So a line is a function of the rider's
//! number and of how often it has reported before, and a reply is checked by calculating its request again.
//! All ride in one city, and their names have 24 bytes, as ordinary ones do.

use crate::herd::Server;
use crate::load::{Expect, is_reply};
use crate::pipeline::{CHUNK_BYTES, Pipeline};
use crate::probe::unix_nanos;
use anyhow::{Result, bail, ensure};
use memchr::{memchr, memchr_iter, memrchr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};

/// All riders; when they began to report is all that has to be known of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Riders {
    began: u64,
}

/// One report: whose, and how many that rider sent before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ride {
    pub(crate) rider: u64,
    pub(crate) lap: u64,
}

/// Who reports over one connection: these riders in turn, round and round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    pub(crate) first: u64,
    pub(crate) riders: u64,
}

/// A connection over which riders report.
#[derive(Debug)]
pub(crate) struct Riding {
    pipeline: Pipeline,
    course: Course,
    asked: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
}

const LINE: &[u8; 74] =
    b"IAMAT rider-0000000000.example +34.000000-118.000000 0000000000.000000000\n";
/// Where its parts stand that differ.
const NUMBER_AT: usize = 12;
const NORTH_AT: usize = 32;
const WEST_AT: usize = 42;
const SECOND_AT: usize = 53;
const NANOS_AT: usize = 64;

/// What a server has to hold of each: name, location and time.
pub(crate) const TEXT_BYTES: usize = 24 + 21 + 20;

/// Reports of one connection that are unanswered at once: a server is never without work, and what lies in
/// the sockets stays below a megabyte in each direction.
const UNANSWERED_MAX: u64 = 10_000;

/// Reports that are written at once.
const REPORTS_AT_ONCE: u64 = (CHUNK_BYTES / LINE.len()) as u64;

impl Riders {
    pub(crate) fn new() -> Self {
        Self { began: unix_nanos() }
    }

    /// The report, with its line feed.
    pub(crate) fn line(self, ride: Ride) -> [u8; LINE.len()] {
        /// Between two reports of a rider, nanoseconds: so little that no load gets farther ahead of
        /// the clock than servers allow.
        const LAP: u64 = 1_000_000;
        const SECOND: u64 = 1_000_000_000;
        let mut line = *LINE;
        let (north, west) = place(ride);
        let time = self.began + ride.lap * LAP + ride.rider;
        put(&mut line[NUMBER_AT..NUMBER_AT + 10], ride.rider);
        put_degrees(&mut line[NORTH_AT..NORTH_AT + 9], north);
        put_degrees(&mut line[WEST_AT..WEST_AT + 10], west);
        put(&mut line[SECOND_AT..SECOND_AT + 10], time / SECOND);
        put(&mut line[NANOS_AT..NANOS_AT + 9], time % SECOND);
        line
    }

    /// The report as an AT line ends with it: name, location, time.
    pub(crate) fn text(self, ride: Ride) -> String {
        String::from_utf8_lossy(&self.line(ride)).trim_start_matches("IAMAT ").trim_end().to_owned()
    }

    /// Has riders report to a server. `more` is told how many reports were asked for, and says how many
    /// may be; the load ends when that is not more. `answered` is told of replies as they come.
    pub(crate) fn ride(
        self,
        server: &Server,
        course: Course,
        mut more: impl FnMut(u64) -> u64 + Send + 'static,
        mut on_answered: impl FnMut(u64) + Send + 'static,
    ) -> Result<Riding> {
        let expect = Expect::At(server.name.clone());
        let (asked, answered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (asking, answering, came) = (asked.clone(), answered.clone(), answered.clone());
        // One message is enough to look again.
        let (tell, told) = mpsc::sync_channel(1);
        let questions = move |bytes: &mut Vec<u8>| {
            let before = asking.load(Relaxed);
            // Nobody tells any more when the reader has ended: then writing fails, too.
            while before - came.load(Relaxed) > UNANSWERED_MAX && told.recv().is_ok() {}
            let until = more(before).min(before + REPORTS_AT_ONCE);
            for number in before..until {
                bytes.extend_from_slice(&self.line(course.ride(number)));
            }
            asking.fetch_max(until, Relaxed);
        };
        let answers = move |bytes: &[u8]| {
            let (Some(first), Some(last)) = (memchr(b'\n', bytes), memrchr(b'\n', bytes)) else {
                return Ok(0);
            };
            let before = answering.load(Relaxed);
            let request = self.line(course.ride(before));
            let reply = bytes.get(..=first).unwrap_or_default();
            if !is_reply(&expect, &request, reply) {
                let said = String::from_utf8_lossy;
                bail!("{:?} was answered {:?}", said(&request), said(reply));
            }
            let whole = bytes.get(..=last).unwrap_or_default();
            let count = memchr_iter(b'\n', whole).count() as u64;
            answering.store(before + count, Relaxed);
            // It is full when it was told already.
            let _told = tell.try_send(());
            on_answered(count);
            Ok(whole.len())
        };
        let pipeline = Pipeline::start(server.address, questions, answers)?;
        Ok(Riding { pipeline, course, asked, answered })
    }
}

impl Course {
    /// The report of this number over the connection.
    fn ride(self, number: u64) -> Ride {
        Ride { rider: self.first + number % self.riders, lap: number / self.riders }
    }
}

impl Riding {
    /// Waits until all is asked and answered; the last report, and how many there were.
    pub(crate) fn finish(self) -> Result<(Ride, u64)> {
        self.pipeline.finish()?;
        let (asked, answered) = (self.asked.load(Relaxed), self.answered.load(Relaxed));
        ensure!(asked == answered, "{asked} reports were answered {answered} times");
        Ok((self.course.ride(asked.saturating_sub(1)), asked))
    }
}

/// Where a rider is, millionths of a degree north and west: most near the middle of a city of some 40 km,
/// and some two meters farther with each lap.
fn place(ride: Ride) -> (u64, u64) {
    const NORTH: u64 = 33_850_000;
    const WEST: u64 = 117_990_000;
    /// Two meters, and so many laps that a rider stays about where it is.
    const STEP: u64 = 20;
    const STEPS: u64 = 100;
    let chance = mix(ride.rider);
    let part = |at: u32| (chance >> (16 * at)) & 0xffff;
    // The sum of two dice is most often in the middle.
    let north = NORTH + (part(0) + part(1)) * 3 + ride.lap % STEPS * STEP;
    (north, WEST + (part(2) + part(3)) * 4)
}

/// A number that looks random and is the same in every run: Vigna's `SplitMix64`.
pub(crate) fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Writes a number over all of these digits.
fn put(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b"0123456789"[usize::try_from(number % 10).unwrap_or(0)];
        number /= 10;
    }
}

/// Writes millionths of a degree: some digits, a point, six digits.
fn put_degrees(text: &mut [u8], micros: u64) {
    let (whole, fraction) = text.split_at_mut(text.len() - 6);
    put(fraction, micros % 1_000_000);
    if let Some((_point, whole)) = whole.split_last_mut() {
        put(whole, micros / 1_000_000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_that_of_its_rider_and_lap() {
        let riders = Riders { began: 1_520_023_934_918_963_997 };
        let text = riders.text(Ride { rider: 9_999_999, lap: 0 });
        let fields: Vec<&str> = text.split(' ').collect();
        let [name, location, time] = fields[..] else { panic!("{text}") };
        assert_eq!((name, time), ("rider-0009999999.example", "1520023934.928963996"));
        assert_eq!(text.len() - 2, TEXT_BYTES);
        let (lat, lon) = location.split_at(10);
        let (lat, lon): (f64, f64) = (lat.parse().unwrap(), lon.parse().unwrap());
        assert!((33.8..34.3).contains(&lat) && (-118.6..-117.9).contains(&lon), "{location}");
        let then = riders.text(Ride { rider: 9_999_999, lap: 1 });
        assert!(then.ends_with(" 1520023934.929963996") && !then.contains(location), "{then}");
    }

    #[test]
    fn riders_report_in_turn() {
        let course = Course { first: 10, riders: 3 };
        let rides = (0..5).map(|number| course.ride(number)).map(|ride| (ride.rider, ride.lap));
        assert_eq!(rides.collect::<Vec<_>>(), [(10, 0), (11, 0), (12, 0), (10, 1), (11, 1)]);
    }
}
