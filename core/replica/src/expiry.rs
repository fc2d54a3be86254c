//! Keys of which nothing was heard for long: nobody is shown them, and a walk removes them.
//!
//! What has expired is told by the newest record's effective time alone, so all servers that are set alike
//! agree on it without a message. Each removes it for itself: what a neighbour still sends of it is taken in
//! like anything else, shown to nobody, and removed by the next walk. Nothing older can come back in its
//! place, since that has expired too. Numbers in streams are left as they are: an entry that has expired
//! may be missing anywhere below a commit.

use crate::replica::Replica;
use crate::settings::Record;
use crate::store::{EntryIx, KeyIx};
use herd_proto::{Instant, Now, UnixTime};
use std::time::Duration;

/// Keys looked at in one go: some hundred microseconds.
const LOOKED_AT_MAX: u32 = 4096;

/// In this part of the time after which keys expire all are looked at once, so what memory they take too
/// long is little of what they take anyway...
const PASSES: u32 = 16;

/// ...and never longer than this, if the machine keeps up: expiry is often set to days.
const PASS_MAX: Duration = Duration::from_mins(1);

/// Where the walk stands.
#[derive(Debug)]
pub(crate) struct Expiry {
    next: u32,
    walked: Instant,
}

impl Expiry {
    pub(crate) fn new(now: Instant) -> Self {
        Self { next: 0, walked: now }
    }
}

impl Replica {
    /// A record of this time or an earlier one has expired; None if nothing ever does.
    fn expired_ns(&self, now: UnixTime) -> Option<i64> {
        let after = self.settings.expire_after?;
        Some(now.nanos().saturating_sub(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// Whether a record is so old that it is shown to nobody.
    pub fn has_expired(&self, record: &Record<'_>, now: UnixTime) -> bool {
        self.expired_ns(now).is_some_and(|latest| record.effective_ns <= latest)
    }

    /// Whether one of two servers whose clocks differ may have removed a record of this time, and the other
    /// not yet.
    pub(crate) fn may_have_expired(&self, effective_ns: i64, now: UnixTime) -> bool {
        // Records further ahead than this are not taken, so no clock that counts differs by more.
        let skew = 2 * self.settings.future_skew_max;
        let margin = self.settings.expire_after.map_or(skew, |after| skew.min(after / 2));
        self.expired_ns(now.saturating_add(margin)).is_some_and(|latest| effective_ns <= latest)
    }

    /// Removes what has expired among the next few keys.
    pub(crate) fn tick_expiry(&mut self, now: Now) {
        let (Some(after), Some(latest)) = (self.settings.expire_after, self.expired_ns(now.unix))
        else {
            return;
        };
        let slots = self.store.key_slots();
        let pass = (after / PASSES).min(PASS_MAX);
        let idle = now.instant.since(self.expiry.walked);
        let due = u64::from(slots).saturating_mul(nanos(idle)) / nanos(pass).max(1);
        let due = u32::try_from(due).unwrap_or(u32::MAX).min(slots);
        if due == 0 {
            return;
        }
        self.expiry.walked = now.instant;
        if due > LOOKED_AT_MAX {
            self.busy = true;
        }
        for _ in 0..due.min(LOOKED_AT_MAX) {
            let key = KeyIx(self.expiry.next);
            self.expiry.next = if self.expiry.next + 1 < slots { self.expiry.next + 1 } else { 0 };
            let newest = self.store.winner(key).map(|(at, winner)| (at, winner.effective_ns));
            if let Some((newest, _)) = newest.filter(|&(_, effective_ns)| effective_ns <= latest) {
                self.happenings.expired += 1;
                self.remove_all(key, newest);
            }
        }
    }

    /// The newest last, so that nothing else of the key is shown for a moment.
    fn remove_all(&mut self, key: KeyIx, newest: EntryIx) {
        let others: Vec<_> = self.store.entries_of(key).filter(|&at| at != newest).collect();
        for at in others.into_iter().chain([newest]) {
            self.remove(at);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{LINK, record, settings, talk_at};
    use crate::{Applied, Settings};
    use herd_proto::Instant;

    const AFTER_S: u64 = 3600;

    /// So long after the beginning by a clock that is ahead.
    fn at(s: u64, ahead_s: u64) -> Now {
        let unix = i64::try_from((s + ahead_s) * 1_000_000_000).unwrap();
        Now { instant: Instant::from_nanos(s * 1_000_000_000), unix: UnixTime::from_nanos(unix) }
    }

    /// Two neighbours; the clock of the second is ahead.
    fn linked(ahead_s: u64) -> (Replica, Replica) {
        let expiring =
            |name| Settings { expire_after: Some(Duration::from_secs(AFTER_S)), ..settings(name) };
        let mut a = Replica::new(expiring("a"), at(0, 0));
        let mut b = Replica::new(expiring("b"), at(0, ahead_s));
        a.open_link(LINK, at(0, 0));
        b.open_link(LINK, at(0, ahead_s));
        talk_at(&mut a, &mut b, at(0, 0));
        (a, b)
    }

    fn pass(a: &mut Replica, b: &mut Replica, from_s: u64, to_s: u64, ahead_s: u64) {
        for s in from_s..to_s {
            a.handle_timeout(at(s, 0));
            b.handle_timeout(at(s, ahead_s));
            talk_at(a, b, at(s, 0));
        }
    }

    fn shows(replica: &Replica, key: &[u8], now: Now) -> bool {
        replica.get(key).is_some_and(|known| !replica.has_expired(&known, now.unix))
    }

    #[test]
    fn what_is_as_old_as_that_is_shown_no_more_and_removed() {
        let (mut a, mut b) = linked(0);
        a.update(record(b"old", 10, b""), at(10, 0));
        b.update(record(b"newer", 500, b""), at(500, 0));
        b.update(record(b"forgotten", 20, b""), at(500, 0));
        pass(&mut a, &mut b, 500, 502, 0);
        assert!(a.forget(b"forgotten", at(502, 0)));
        pass(&mut a, &mut b, 502, 504, 0);
        for replica in [&a, &b] {
            assert!(shows(replica, b"old", at(AFTER_S + 9, 0)));
            assert!(!shows(replica, b"old", at(AFTER_S + 10, 0)));
        }
        // Another came, and expires in its turn.
        a.update(record(b"newer", 600, b""), at(600, 0));
        pass(&mut a, &mut b, AFTER_S + 10, AFTER_S + 400, 0);
        for replica in [&a, &b] {
            assert_eq!(replica.get(b"old"), None);
            assert!(shows(replica, b"newer", at(AFTER_S + 599, 0)));
        }
        pass(&mut a, &mut b, AFTER_S + 600, AFTER_S + 900, 0);
        for replica in [&a, &b] {
            assert_eq!((replica.store.keys(), replica.store.entries()), (0, 0));
            assert_eq!(replica.audits().repairs, 0);
        }
    }

    #[test]
    fn who_is_heard_of_again_is_known_again_and_a_late_report_is_not_kept() {
        let (mut a, mut b) = linked(0);
        a.update(record(b"k", 10, b""), at(10, 0));
        pass(&mut a, &mut b, AFTER_S, AFTER_S + 300, 0);
        assert_eq!(b.get(b"k"), None);
        assert_eq!(b.update(record(b"k", 20, b""), at(AFTER_S + 300, 0)), Applied::NotNewer);
        assert_eq!(b.update(record(b"k", 3600, b""), at(AFTER_S + 300, 0)), Applied::Newer);
        pass(&mut a, &mut b, AFTER_S + 300, AFTER_S + 302, 0);
        assert!(shows(&a, b"k", at(AFTER_S + 302, 0)));
    }

    /// One has removed what the other still shows: no fault, and nothing to mend.
    #[test]
    fn clocks_that_differ_cause_no_repair() {
        const AHEAD_S: u64 = 90;
        let (mut a, mut b) = linked(AHEAD_S);
        for key in 0..100_u8 {
            a.update(record(&[key], i64::from(key), b""), at(100, 0));
        }
        pass(&mut a, &mut b, 100, 200, AHEAD_S);
        for s in (AFTER_S - AHEAD_S..AFTER_S + 200).step_by(10) {
            a.audit_now();
            pass(&mut a, &mut b, s, s + 10, AHEAD_S);
        }
        assert!(a.happenings().audit_doubts + b.happenings().audit_doubts < 5);
        assert!(a.audits().rounds > 20);
        assert_eq!((a.audits().repairs, b.audits().repairs), (0, 0));
        assert_eq!((a.len(), b.len()), (0, 0));
        assert_eq!((a.happenings().expired, b.happenings().expired), (100, 100));
    }
}
