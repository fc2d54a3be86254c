//! How far everyone holds each stream.

use crate::origin::{OriginIx, Stream};
use crate::replica::Replica;
use herd_proto::Now;

impl Replica {
    /// Finds anew what everyone holds: on every tick and not on every word of a member, since of those
    /// there are as many as members each second.
    pub(crate) fn stabilize(&mut self, now: Now) {
        let forget_after = self.settings.forget_after;
        for stream in &mut self.streams {
            stream.was_stable = (stream.stable, stream.stable_for_all);
            stream.stable = stream.version;
            stream.stable_for_all = stream.version;
        }
        for member in self.members.all() {
            let Some(member) = member else {
                self.streams.iter_mut().for_each(|stream| stream.stable_for_all = 0);
                continue;
            };
            if member.origin == OriginIx::ME || member.has_left {
                continue;
            }
            let present = now.instant.since(member.heard) < forget_after;
            // Both lists are in the order of the origins' numbers.
            let mut versions = member.versions.iter().peekable();
            for (at, stream) in (0..).map(OriginIx).zip(&mut self.streams) {
                let holds = versions.next_if(|(origin, _)| *origin == at).map_or(0, |&(_, v)| v);
                stream.stable_for_all = stream.stable_for_all.min(holds);
                if present {
                    stream.stable = stream.stable.min(holds);
                }
            }
        }
        // A neighbour counts as soon as its link is up, whether its word has come or not; and for as long as it is,
        // whether it is a member or not.
        for link in self.links.values() {
            let snapshot = link.snapshot_out.as_ref();
            for (at, stream) in (0..).map(OriginIx).zip(&mut self.streams) {
                let heard = link.heard.number(at);
                let promised = snapshot.map_or(0, |snapshot| snapshot.holds(at));
                stream.stable = stream.stable.min(promised.max(heard));
                stream.stable_for_all = stream.stable_for_all.min(heard);
            }
        }
        let moved = |stream: &Stream| stream.was_stable != (stream.stable, stream.stable_for_all);
        if self.streams.iter().any(moved) {
            self.collector.unsettle();
        }
    }
}
