//! The streams of the origins that are alive: how far each is held here, and in which order it arrived.
//!
//! What every version rests on (R1): `version = s` means that for each key that the origin wrote up to `s` the table
//! stores a record at least as great, or it has expired.
//!
//! Left out: records (the table has them), links, and when an origin ends.

mod lag;
mod log;

pub(crate) use lag::Lag;
pub(crate) use log::Log;

use crate::ids::{Arrival, KeyIx, Label, LinkId, Origin, OriginIx};
use crate::table::Table;
use crate::tuning::Tuning;
use herd_proto::Instant;
use std::time::Duration;

/// What is known here of one origin's stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) origin: Origin,
    /// Held up to here, as R1 says.
    pub(crate) version: u64,
    /// The greatest number that ever arrived, held without gaps or not.
    pub(crate) seen: u64,
    /// Labels up to here were trimmed, or never came: whoever holds less is not served by this stream alone (R2).
    pub(crate) serves_from: u64,
    pub(crate) log: Log,
    /// The links on which it was subscribed to.
    pub(crate) upstreams: Vec<LinkId>,
    /// The link that last brought something new of it.
    pub(crate) first_from: Option<LinkId>,
    /// When something of it last arrived, known before or not, or it was asked for.
    pub(crate) progressed: Instant,
    /// When something new of it last arrived, or its version last moved.
    pub(crate) moved: Instant,
    /// Since when some peer has been ahead.
    pub(crate) behind_since: Option<Instant>,
    /// Buckets were compared because it fell silent before all that arrived was committed.
    pub(crate) silence_compared: bool,
    pub(crate) lag: Lag,
}

impl Stream {
    /// Whether something new of it arrived so lately that more may be on its way. What is sent again is no movement.
    pub(crate) fn is_moving(&self, now: Instant, silent_after: Duration) -> bool {
        now.since(self.moved) < silent_after
    }

    /// Whether more of it arrived than was committed.
    pub(crate) fn has_uncommitted(&self) -> bool {
        self.seen > self.version
    }
}

#[derive(Debug)]
pub(crate) struct Streams {
    slots: Vec<Option<Stream>>,
    segment_arrivals: u64,
    limit: usize,
    /// No log that was dropped went beyond this: arrivals of a slot never repeat.
    base: Arrival,
}

impl Streams {
    pub(crate) fn new(me: Origin, tuning: &Tuning, now: Instant) -> Self {
        let mut streams = Self {
            slots: Vec::new(),
            segment_arrivals: tuning.segment_arrivals,
            limit: tuning.streams_max.max(1),
            base: Arrival::default(),
        };
        let mine = streams.add(me, now);
        debug_assert_eq!(mine, Some(OriginIx::ME));
        streams
    }

    pub(crate) fn get(&self, at: OriginIx) -> Option<&Stream> {
        self.slots.get(at.at())?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, at: OriginIx) -> Option<&mut Stream> {
        self.slots.get_mut(at.at())?.as_mut()
    }

    pub(crate) fn version(&self, at: OriginIx) -> u64 {
        self.get(at).map_or(0, |stream| stream.version)
    }

    /// This server's own first, then the others.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (OriginIx, &Stream)> {
        let numbered = (0..).map(OriginIx).zip(&self.slots);
        numbered.filter_map(|(at, stream)| Some((at, stream.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (OriginIx, &mut Stream)> {
        let numbered = (0..).map(OriginIx).zip(&mut self.slots);
        numbered.filter_map(|(at, stream)| Some((at, stream.as_mut()?)))
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    pub(crate) fn find(&self, server: &str, incarnation: u64) -> Option<OriginIx> {
        let is_it =
            |origin: &Origin| origin.incarnation == incarnation && *origin.server == *server;
        self.iter().find(|(_, stream)| is_it(&stream.origin)).map(|(at, _)| at)
    }

    /// None if there are too many.
    pub(crate) fn add(&mut self, origin: Origin, now: Instant) -> Option<OriginIx> {
        let free = self.slots.iter().position(Option::is_none);
        let at = free.unwrap_or(self.slots.len());
        if at >= self.limit {
            return None;
        }
        let stream = Stream {
            origin,
            version: 0,
            seen: 0,
            serves_from: 0,
            log: Log::new(self.base, self.segment_arrivals),
            upstreams: Vec::new(),
            first_from: None,
            progressed: now,
            moved: now,
            behind_since: None,
            silence_compared: false,
            lag: Lag::default(),
        };
        match self.slots.get_mut(at) {
            Some(slot) => *slot = Some(stream),
            None => self.slots.push(Some(stream)),
        }
        u16::try_from(at).ok().map(OriginIx)
    }

    /// Drops a stream; its labels do not count any more. This server's own begins again instead, as `me`.
    pub(crate) fn drop_stream(&mut self, at: OriginIx) -> Option<Stream> {
        let stream = self.slots.get_mut(at.at())?.take()?;
        self.base = self.base.max(stream.log.last());
        Some(stream)
    }

    /// Whether a label still counts.
    pub(crate) fn is_live(&self, label: &Label) -> bool {
        self.get(label.origin).is_some_and(|stream| stream.log.holds(label.arrival))
    }

    /// The label that the next arrival of a stream gets.
    pub(crate) fn next_label(
        &self,
        origin: OriginIx,
        sequence: u64,
        from: Option<LinkId>,
    ) -> Option<Label> {
        let arrival = self.get(origin)?.log.next();
        Some(Label { origin, sequence, arrival, from })
    }

    /// A key got the label that [`next_label`](Self::next_label) gave out, in place of one that is retired.
    pub(crate) fn arrived(
        &mut self,
        key: KeyIx,
        label: Label,
        retired: Option<Arrival>,
        table: &Table,
        now: Instant,
    ) {
        let Some(stream) = self.get_mut(label.origin) else { return };
        stream.seen = stream.seen.max(label.sequence);
        stream.progressed = now;
        stream.moved = now;
        stream.silence_compared = false;
        let counts = |key, arrival| table.bears(key, label.origin, arrival).is_some();
        stream.log.append(key, label.sequence, counts);
        if let Some(retired) = retired {
            stream.log.retire(retired, counts);
        }
    }
}
