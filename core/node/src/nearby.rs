//! Where everyone is: what is shown of each client, found by place.
//!
//! Follows whatever changes what a key shows: reports of clients and peers, forgetting, erasing. What has expired and
//! is not erased yet stays in the index, so a search passes over it. *Absent:* areas that somebody watches.

use crate::node::{Node, decode, is_report};
use herd_geo::{Point, parse_iso6709};
use herd_index::{Everyone, Filter, Found, Index, Near, Search};
use herd_proto::{Now, Report, UnixTime};
use herd_replica::{Record, Replica};

/// Keys by where their newest report says that they are; a key is the place where the replica keeps it.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts {
    index: Index<u32>,
    /// Of what was read from a disk places up to here are in it; none once all are.
    unread: Option<u32>,
    /// Where the report says that its client is that is being taken in now: it has been read already.
    pub(crate) coming: Option<Point>,
}

/// A client that is near.
#[derive(Clone, Copy, Debug)]
pub struct Nearby<'a> {
    /// Its name.
    pub client: &'a str,
    /// Its newest report.
    pub report: Report<'a>,
    /// How far away that is, meters.
    pub distance_m: f64,
}

impl Whereabouts {
    /// Of a replica that was made of what was written down: all is still to be read.
    pub(crate) fn unread() -> Self {
        Self { unread: Some(0), ..Self::default() }
    }

    /// The clients at these places are about to move.
    pub(crate) fn expect(&self, places: &[u32]) {
        self.index.expect(places.iter().copied());
    }

    fn follow(&mut self, place: u32, shown: Option<&Record<'_>>) {
        let coming = self.coming.take();
        match shown.and_then(|shown| coming.or_else(|| point_of(shown))) {
            Some(point) => self.index.put(place, point),
            None => self.index.remove(place),
        };
    }
}

/// Where a record says that its client is; none if it is no report.
fn point_of(record: &Record<'_>) -> Option<Point> {
    is_report(record).then_some(())?;
    parse_iso6709(Report::location_in(record.value)?).ok()
}

impl Node {
    /// What has changed in what is shown is where it is now. Where a report has just been taken in, its key alone.
    pub(crate) fn follow_changes(&mut self) {
        while let Some(place) = self.replica.poll_changed_place() {
            self.whereabouts.follow(place, self.replica.shown_at(place).as_ref());
        }
        self.whereabouts.coming = None;
    }

    /// After a start from a disk: takes in where the clients at so many places more are. False once all are known;
    /// until then [`nearest`](Self::nearest) has no answer. In pieces, since all together may take seconds.
    pub fn learn_places(&mut self, places: u32) -> bool {
        let Some(from) = self.whereabouts.unread else { return false };
        let end = from.saturating_add(places).min(self.replica.places());
        for place in from..end {
            self.whereabouts.follow(place, self.replica.shown_at(place).as_ref());
        }
        self.whereabouts.unread = Some(end).filter(|&end| end < self.replica.places());
        self.whereabouts.unread.is_some()
    }

    /// Continues a search for the clients nearest to a point by a bounded amount of work, whatever is stored around it.
    /// Call it again, on the same node, until the search has ended; other calls may come between.
    pub fn nearest(&self, search: &mut NearestSearch, now: Now) -> NearestStep<'_> {
        let index = &self.whereabouts.index;
        if self.whereabouts.unread.is_some() {
            return NearestStep::Recovering;
        }
        let Some(thorough) = &mut search.thorough else {
            let mut quick = Search::new(search.center, search.radius_m, search.count);
            if index.advance(&mut quick, &Everyone, SCANNED_MAX) {
                let found = index.found(quick);
                let clients = self.shown_of(&found.near, now.unix);
                if clients.len() == found.near.len() {
                    return NearestStep::Found(clients);
                }
            }
            search.thorough = Some(Thorough::new(search, now.unix));
            return NearestStep::Unfinished;
        };
        let replica = &self.replica;
        if !thorough.is_complete {
            let filter = Shown { replica, now: thorough.begun };
            thorough.is_complete = index.advance(&mut thorough.search, &filter, CHECKED_MAX);
            return NearestStep::Unfinished;
        }
        let Thorough { begun, passes, .. } = *thorough;
        let next = Search::new(search.center, search.radius_m, search.count + spare(search.count));
        let Found { near, end } = index.found(std::mem::replace(&mut thorough.search, next));
        let mut clients = self.shown_of(&near, begun);
        if clients.len() < search.count && end.is_some() && passes < PASSES_MAX {
            (thorough.passes, thorough.is_complete) = (passes + 1, false);
            return NearestStep::Unfinished;
        }
        clients.truncate(search.count);
        NearestStep::Found(clients)
    }

    /// Those that clients are shown.
    fn shown_of(&self, near: &[Near<u32>], now: UnixTime) -> Vec<Nearby<'_>> {
        let places: Vec<_> = near.iter().map(|near| near.key).collect();
        self.replica.expect_shown(&places);
        let shown = |near: &Near<u32>| {
            shown_at(&self.replica, near.key, now).map(|(client, report)| Nearby {
                client,
                report,
                distance_m: near.distance_m,
            })
        };
        near.iter().filter_map(shown).collect()
    }
}

/// Entries of the index that the first step of a search visits at most. It reads no records before it has found all,
/// so a visit takes some 20 ns; the nearest 1,000 take about 3,000 visits.
const SCANNED_MAX: usize = 8192;

/// Entries of the index that any further step visits at most. The record of each is read, which takes 100 to 200 ns
/// where it is in no cache.
const CHECKED_MAX: usize = 512;

/// A search whose finds move away while it runs begins again at most this often; then it names fewer.
const PASSES_MAX: u32 = 3;

/// How many more a search of several steps looks for than asked, since some may move away before it ends.
fn spare(count: usize) -> usize {
    16 + count / 8
}

/// A search for the `count` clients nearest to a point, at most `radius_m` meters away, whose state lies outside of the
/// node: [`Node::nearest`] continues it.
///
/// Nearly all searches end with the first step, and their result is that of one moment. More steps follow where many
/// clients have expired and are not erased yet, or where very many are at one point. Their work is linear in what lies
/// around the point. The result is exact for the clients that do not move meanwhile. One that moves is named once, at
/// its present position, or is missing even though it has come near; so many may leave the neighborhood that fewer
/// than `count` are named. Which clients have expired is decided at the first step.
#[derive(Clone, Debug)]
pub struct NearestSearch {
    center: Point,
    radius_m: f64,
    count: usize,
    thorough: Option<Thorough>,
}

impl NearestSearch {
    /// A search that has not begun.
    pub fn new(center: Point, radius_m: f64, count: usize) -> Self {
        Self { center, radius_m, count, thorough: None }
    }
}

/// What [`Node::nearest`] has achieved.
#[derive(Clone, Debug)]
pub enum NearestStep<'a> {
    /// The node has just started and does not know yet where its clients are; see [`Node::learn_places`].
    Recovering,
    /// There is more to do.
    Unfinished,
    /// The clients found, nearest first. The search has ended.
    Found(Vec<Nearby<'a>>),
}

/// A search that reads the record of each client that it meets.
#[derive(Clone, Debug)]
struct Thorough {
    search: Search<u32>,
    begun: UnixTime,
    is_complete: bool,
    passes: u32,
}

impl Thorough {
    fn new(search: &NearestSearch, begun: UnixTime) -> Self {
        let NearestSearch { center, radius_m, count, .. } = *search;
        let search = Search::new(center, radius_m, count + spare(count));
        Self { search, begun, is_complete: false, passes: 1 }
    }
}

/// Accepts the clients that were shown at some time.
struct Shown<'a> {
    replica: &'a Replica,
    now: UnixTime,
}

impl Filter<u32> for Shown<'_> {
    fn prefetch(&self, places: &[u32]) {
        self.replica.expect_shown(places);
    }

    fn accepts(&self, place: u32) -> bool {
        shown_at(self.replica, place, self.now).is_some()
    }
}

fn shown_at(replica: &Replica, place: u32, now: UnixTime) -> Option<(&str, Report<'_>)> {
    let record = replica.shown_at(place).filter(|record| replica.is_shown(record, now))?;
    decode(&record)
}
