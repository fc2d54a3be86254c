//! Where everyone is: what is shown of each client, found by place.
//!
//! Follows whatever changes what a key shows: reports of clients and peers, forgetting, expiry. Only what is
//! shown is in it, so an answer is of one moment: that of the call. *Absent:* areas that somebody watches.

use crate::node::{Node, decode, is_report};
use herd_geo::{Point, parse_iso6709};
use herd_index::{Index, Near};
use herd_proto::{Now, Report};
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
    /// How far away that is, metres.
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

    /// The `count` clients nearest to a point, at most `radius_m` metres away, nearest first. None while it is not
    /// known yet where everyone is. What it costs does not depend on the radius.
    pub fn nearest(
        &self,
        centre: Point,
        radius_m: f64,
        count: usize,
        now: Now,
    ) -> Option<Vec<Nearby<'_>>> {
        if self.whereabouts.unread.is_some() {
            return None;
        }
        let mut asked = count;
        loop {
            let near = self.whereabouts.index.nearest(centre, radius_m, asked);
            let found = near.len();
            let places: Vec<_> = near.iter().map(|near| near.key).collect();
            self.replica.expect_shown(&places);
            let mut shown: Vec<_> =
                near.iter().filter_map(|near| near_by(&self.replica, near, now)).collect();
            // What has expired is in the index for a while; behind it come others.
            if shown.len() >= count || found < asked {
                shown.truncate(count);
                return Some(shown);
            }
            asked *= 2;
        }
    }
}

fn near_by<'a>(replica: &'a Replica, near: &Near<u32>, now: Now) -> Option<Nearby<'a>> {
    let record = replica.shown_at(near.key)?;
    let (client, report) = decode(&record)?;
    let is_shown = replica.is_shown(&record, now.unix);
    is_shown.then_some(Nearby { client, report, distance_m: near.distance_m })
}
