//! Comparing what two neighbours show, and mending what differs.
//!
//! Streams and commits make neighbours agree; the audit is there for what a fault of the program or a
//! broken memory did. Every so often each tells its root. If it differs, both go down: ranges, buckets,
//! then the keys of a bucket. A difference may be an update on its way, so it is only doubted at first.
//! It is real if each side has since come to hold all that the other held then, and still shows the same:
//! whoever shows the greater record issues it again, and counts that. Each such repair means that an
//! invariant was broken somewhere; it is an alarm, not a way of working.
//!
//! Every message stands by itself, an answer is as long as its question lets it be, and the work of
//! finding a bucket's keys, which is a walk over all keys, is done piece by piece.

use crate::origin::OriginIx;
use crate::output::{Event, Output};
use crate::replica::Replica;
use crate::settings::{LinkId, Record};
use crate::store::KeyIx;
use crate::sums::{audit_key, bucket_of};
use herd_proto::peer::{AUDIT_KEYS_MAX, AuditKey};
use herd_proto::{Instant, Now};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Keys looked at in one go: about a millisecond.
const SCANNED_MAX: u32 = 16_384;

/// Ranges gone into for one difference of roots: if everything differs, the rest has to wait, and a
/// neighbour cannot make one message cause more than so many.
const RANGES_MAX: usize = 8;

/// Buckets whose keys are to be found, at most: bounds what a neighbour's lists take.
const JOBS_MAX: usize = 64;

/// In this many times what a difference takes to settle an answer comes, or the question was lost among too
/// many and is asked anew.
const ANSWERED_WITHIN: u32 = 16;

/// How one neighbour compared when it was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// When.
    pub at: Instant,
    /// Ranges, of 256, whose sums differed; an update on its way is enough for that.
    pub ranges_differing: usize,
}

/// What audits have shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Comparisons that came to an end.
    pub rounds: u64,
    /// Records issued again because a neighbour lacked them for no good reason: each is an alarm.
    pub repairs: u64,
    /// Buckets in which something is doubted now.
    pub doubted: usize,
    /// The last verdict on each link; None if there was none yet.
    pub links: Vec<(LinkId, Option<Verdict>)>,
}

#[derive(Debug, Default)]
pub(crate) struct Audit {
    repairs: u64,
    jobs: Vec<Job>,
    scan: Option<Scan>,
    /// The last token of a question.
    token: u64,
    /// Where to begin when more differs than is gone into.
    turn: usize,
}

/// The keys of a bucket are wanted.
#[derive(Debug)]
struct Job {
    link: LinkId,
    bucket: u16,
    /// To compare them with these.
    theirs: Option<Theirs>,
    /// To send them, bearing this token.
    send: Option<u64>,
}

#[derive(Debug)]
struct Theirs {
    keys: Vec<AuditKey>,
    /// The token of the question, if they are an answer.
    answers: Option<u64>,
}

#[derive(Debug)]
struct Scan {
    next: u32,
    jobs: Vec<Job>,
    found: BTreeMap<u16, Vec<(AuditKey, KeyIx)>>,
}

/// The audit of one link.
#[derive(Debug)]
pub(crate) struct LinkAudit {
    due: Instant,
    pub(crate) say: BTreeSet<Say>,
    pub(crate) lists: VecDeque<List>,
    verdict: Option<Verdict>,
    doubts: BTreeMap<u16, Doubt>,
}

/// Sums to be sent, as they are at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Say {
    /// The root, as a question.
    Root,
    /// The root, since it is the same: nothing more to ask.
    Same,
    /// All ranges.
    Ranges,
    /// The buckets of one range.
    Range(u8),
}

/// The keys of one bucket, to be sent.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) bucket: u16,
    pub(crate) is_answer: bool,
    pub(crate) token: u64,
    pub(crate) keys: Vec<AuditKey>,
}

/// Keys of one bucket that differed.
#[derive(Debug)]
struct Doubt {
    since: Instant,
    /// What each side showed of a key then: mine, theirs.
    keys: BTreeMap<u64, Pair>,
    /// What each side has to hold before a difference counts: they of ours, we of theirs.
    needs: Option<(Versions, Versions)>,
    /// Each side does, and has been asked again with this token: what still differs in the answer counts.
    /// Any other list may have been on its way before.
    asked: Option<u64>,
}

type Pair = (Option<AuditKey>, Option<AuditKey>);
type Versions = Vec<(OriginIx, u64)>;

impl LinkAudit {
    pub(crate) fn new(due: Instant) -> Self {
        Self {
            due,
            say: BTreeSet::new(),
            lists: VecDeque::new(),
            verdict: None,
            doubts: BTreeMap::new(),
        }
    }
}

impl Replica {
    /// Compares with every neighbour now.
    pub fn audit_now(&mut self) {
        let ids: Vec<_> = self.links.keys().copied().collect();
        for id in ids {
            self.say(id, Say::Root);
        }
    }

    /// What audits have shown so far.
    pub fn audits(&self) -> AuditReport {
        AuditReport {
            rounds: self.happenings.audits,
            repairs: self.audit.repairs,
            doubted: self.links.values().map(|link| link.audit.doubts.len()).sum(),
            links: self.links.iter().map(|(&id, link)| (id, link.audit.verdict)).collect(),
        }
    }

    fn say(&mut self, id: LinkId, what: Say) {
        if let Some(link) = self.links.get_mut(&id) {
            link.audit.say.insert(what);
            self.wake(id);
        }
    }

    fn judge(&mut self, id: LinkId, ranges_differing: usize, now: Now) {
        if let Some(link) = self.links.get_mut(&id) {
            link.audit.verdict = Some(Verdict { at: now.instant, ranges_differing });
            self.happenings.audits += 1;
        }
    }

    /// A neighbour tells its root; as an answer, because it is the same as ours was.
    pub(crate) fn hear_root(&mut self, id: LinkId, is_answer: bool, root: u64, now: Now) {
        let same = root == self.store.sums.root();
        if is_answer {
            self.judge(id, 0, now);
        } else if same {
            self.judge(id, 0, now);
            self.say(id, Say::Same);
        } else {
            self.say(id, Say::Ranges);
        }
    }

    /// A neighbour whose root differs tells its ranges.
    pub(crate) fn hear_ranges(&mut self, id: LinkId, theirs: &[u64], now: Now) {
        let ours = self.store.sums.ranges();
        let differing: Vec<_> = (0..=u8::MAX)
            .filter(|&range| ours.get(usize::from(range)) != theirs.get(usize::from(range)))
            .collect();
        self.judge(id, differing.len(), now);
        if differing.is_empty() {
            self.say(id, Say::Same);
            return;
        }
        let turn = self.audit.turn;
        self.audit.turn = turn.wrapping_add(RANGES_MAX);
        for &range in differing.iter().cycle().skip(turn % differing.len()).take(RANGES_MAX) {
            self.say(id, Say::Range(range));
        }
    }

    /// A neighbour tells the buckets of a range that differs.
    pub(crate) fn hear_buckets(&mut self, id: LinkId, range: u8, theirs: &[u64]) {
        let ours = self.store.sums.buckets(range);
        let differing: Vec<_> = (0..=u8::MAX)
            .filter(|&low| ours.get(usize::from(low)) != theirs.get(usize::from(low)))
            .map(|low| u16::from_be_bytes([range, low]))
            .collect();
        for bucket in differing {
            self.ask(id, bucket);
        }
    }

    /// A neighbour tells the keys of a bucket that differs.
    pub(crate) fn hear_keys(
        &mut self,
        id: LinkId,
        bucket: u16,
        answers: Option<u64>,
        token: u64,
        keys: &[AuditKey],
    ) {
        let theirs = Some(Theirs { keys: keys.to_vec(), answers });
        let send = answers.is_none().then_some(token);
        self.want(Job { link: id, bucket, theirs, send });
    }

    /// Asks for the keys of a bucket; returns the token that the answer will bear.
    fn ask(&mut self, id: LinkId, bucket: u16) -> u64 {
        self.audit.token += 1;
        let send = Some(self.audit.token);
        self.want(Job { link: id, bucket, theirs: None, send });
        self.audit.token
    }

    fn want(&mut self, job: Job) {
        if self.audit.jobs.len() < JOBS_MAX {
            self.audit.jobs.push(job);
            self.busy = true;
        }
    }

    pub(crate) fn tick_audit(&mut self, now: Now) {
        let every = self.settings.tuning.audit_every;
        let due: Vec<_> = self
            .links
            .iter_mut()
            .filter(|(_, link)| link.greeted && link.audit.due <= now.instant)
            .map(|(&id, link)| {
                link.audit.due = now.instant + every;
                id
            })
            .collect();
        for id in due {
            self.say(id, Say::Root);
        }
        self.ripen(now);
        self.scan(now);
    }

    /// Looks whether what was doubted has had its time.
    fn ripen(&mut self, now: Now) {
        let settle = self.settings.tuning.audit_settle;
        // What is seen of a stream but not held counts as shown, unless it was issued again.
        let shown = |stream: &crate::origin::Stream| {
            if stream.is_unsettled() { stream.seen } else { stream.version }
        };
        let ours: Versions = (0..).map(OriginIx).zip(self.streams.iter().map(shown)).collect();
        let mut ripe = Vec::new();
        for (&id, link) in &mut self.links {
            for (&bucket, doubt) in &mut link.audit.doubts {
                self.busy = true;
                if doubt.asked.is_some()
                    && now.instant.since(doubt.since) > ANSWERED_WITHIN * settle
                {
                    (doubt.since, doubt.needs, doubt.asked) = (now.instant, None, None);
                }
                if doubt.asked.is_some() || now.instant.since(doubt.since) < settle {
                    continue;
                }
                let (theirs_to, ours_to) = doubt.needs.get_or_insert_with(|| {
                    (ours.clone(), link.heard.iter().map(|(at, &to)| (at, to)).collect())
                });
                let they_hold = theirs_to.iter().all(|&(at, to)| link.heard.number(at) >= to);
                let we_hold = ours_to.iter().all(|&(at, to)| {
                    self.streams.get(at.at()).is_some_and(|stream| stream.version >= to)
                });
                if they_hold && we_hold {
                    ripe.push((id, bucket));
                }
            }
        }
        for (id, bucket) in ripe {
            let token = self.ask(id, bucket);
            let doubts = self.links.get_mut(&id).map(|link| &mut link.audit.doubts);
            if let Some(doubt) = doubts.and_then(|doubts| doubts.get_mut(&bucket)) {
                doubt.asked = Some(token);
            }
        }
    }

    /// Finds the keys of the buckets that are wanted, some at a time.
    fn scan(&mut self, now: Now) {
        if self.audit.scan.is_none() && !self.audit.jobs.is_empty() {
            let jobs = std::mem::take(&mut self.audit.jobs);
            let found = jobs.iter().map(|job| (job.bucket, Vec::new())).collect();
            self.audit.scan = Some(Scan { next: 0, jobs, found });
        }
        let Some(scan) = &mut self.audit.scan else { return };
        self.busy = true;
        let end = self.store.key_slots().min(scan.next.saturating_add(SCANNED_MAX));
        for key in (scan.next..end).map(KeyIx) {
            let Some((_, winner)) = self.store.winner(key) else { continue };
            let hash = self.store.key_hash(key);
            if let Some(keys) = scan.found.get_mut(&bucket_of(hash)) {
                keys.push((audit_key(hash, &self.store.record(winner)), key));
            }
        }
        scan.next = end;
        if end < self.store.key_slots() {
            return;
        }
        let Some(scan) = self.audit.scan.take() else { return };
        for job in scan.jobs {
            let found = scan.found.get(&job.bucket).map(Vec::as_slice).unwrap_or_default();
            if found.len() > AUDIT_KEYS_MAX {
                continue;
            }
            let is_answer = job.theirs.is_some();
            let unsettled = self.is_unsettled(found);
            if let Some(theirs) = job.theirs {
                self.compare(job.link, job.bucket, found, &theirs, now);
            }
            if let Some(token) = job.send
                && !unsettled
                && let Some(link) = self.links.get_mut(&job.link)
                && link.audit.lists.len() < JOBS_MAX
            {
                let keys = found.iter().map(|&(key, _)| key).collect();
                link.audit.lists.push_back(List { bucket: job.bucket, is_answer, token, keys });
                self.wake(job.link);
            }
        }
    }

    /// Whether any of these keys shows what this node was sent but does not hold yet. The other side cannot
    /// know of it, and would take it for a difference: nothing is said, and the next round asks again.
    fn is_unsettled(&self, found: &[(AuditKey, KeyIx)]) -> bool {
        found.iter().any(|&(_, key)| {
            let Some((_, winner)) = self.store.winner(key) else { return false };
            let stream = self.streams.get(winner.origin.at());
            stream.is_some_and(|s| winner.sequence > s.version && !s.is_orphan(winner))
        })
    }

    /// What differs is doubted; what was doubted and has had its time is mended.
    fn compare(
        &mut self,
        id: LinkId,
        bucket: u16,
        found: &[(AuditKey, KeyIx)],
        theirs: &Theirs,
        now: Now,
    ) {
        let mut pairs: BTreeMap<u64, (Pair, Option<KeyIx>)> = BTreeMap::new();
        for &(mine, key) in found {
            pairs.insert(mine.key_hash, ((Some(mine), None), Some(key)));
        }
        for &their in &theirs.keys {
            pairs.entry(their.key_hash).or_default().0.1 = Some(their);
        }
        pairs.retain(|_, ((mine, theirs), _)| {
            let shows = |side: &Option<AuditKey>| {
                let shown = side.filter(|key| !key.tombstone);
                shown.filter(|key| !self.may_have_expired(key.effective_ns, now.unix))
            };
            shows(mine) != shows(theirs)
        });
        let Some(link) = self.links.get_mut(&id) else { return };
        if self.bootstrap.is_some() {
            // What is shown meanwhile is partly from before, and nothing is taken up to its commits.
            link.audit.doubts.remove(&bucket);
            return;
        }
        let mut confirmed = Vec::new();
        match link.audit.doubts.remove(&bucket) {
            Some(mut doubt) => {
                let still =
                    |hash: &u64, pair: &Pair| pairs.get(hash).is_some_and(|(p, _)| p == pair);
                doubt.keys.retain(|hash, pair| still(hash, pair));
                if doubt.asked.is_some() && doubt.asked == theirs.answers {
                    for (hash, (mine, theirs)) in doubt.keys {
                        // Of two equal times the greater value wins, which a sum does not tell: both
                        // sides issue theirs, and each keeps the greater.
                        let rank = |key: &AuditKey| (key.effective_ns, key.tombstone);
                        let key = pairs.get(&hash).and_then(|&(_, key)| key);
                        confirmed.extend(
                            key.filter(|_| mine.as_ref().map(rank) >= theirs.as_ref().map(rank)),
                        );
                    }
                } else if !doubt.keys.is_empty() {
                    link.audit.doubts.insert(bucket, doubt);
                }
            }
            None if !pairs.is_empty() => {
                let keys = pairs.into_iter().map(|(hash, (pair, _))| (hash, pair)).collect();
                let doubt = Doubt { since: now.instant, keys, needs: None, asked: None };
                link.audit.doubts.insert(bucket, doubt);
                self.happenings.audit_doubts += 1;
                self.busy = true;
            }
            None => {}
        }
        self.repair(&confirmed, now);
    }

    fn repair(&mut self, keys: &[KeyIx], now: Now) {
        let mut records = 0;
        for &key in keys {
            let Some((_, winner)) = self.store.winner(key) else { continue };
            let Record { key, effective_ns, tombstone, value } = self.store.record(winner);
            let (key, value) = (key.to_vec(), value.to_vec());
            self.issue(Record { key: &key, effective_ns, tombstone, value: &value }, now);
            records += 1;
        }
        if records > 0 {
            self.audit.repairs += records;
            self.outputs.push_back(Output::Event(Event::AuditRepaired { records }));
            for link in self.links.values_mut() {
                link.audit.due = now.instant;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{LINK, linked, record, talk_at};
    use herd_proto::UnixTime;
    use std::time::Duration;

    /// `ms` after everything began.
    fn at(ms: u64) -> Now {
        let ns = Duration::from_millis(ms).as_nanos();
        let ns = u64::try_from(ns).unwrap();
        Now { instant: Instant::from_nanos(ns), unix: UnixTime::from_nanos(ns.cast_signed()) }
    }

    /// Lets time pass.
    fn pass(a: &mut Replica, b: &mut Replica, from_ms: u64, to_ms: u64) {
        for ms in (from_ms..to_ms).step_by(20) {
            a.handle_timeout(at(ms));
            b.handle_timeout(at(ms));
            talk_at(a, b, at(ms));
        }
    }

    fn known(count: u32) -> (Replica, Replica) {
        let (mut a, mut b) = linked();
        for key in 0..count {
            a.update(record(&key.to_be_bytes(), 1, b"here"), at(0));
        }
        pass(&mut a, &mut b, 0, 200);
        assert_eq!(a.store.sums.root(), b.store.sums.root());
        (a, b)
    }

    fn lose(replica: &mut Replica, key: &[u8]) {
        let key = replica.store.find(key).unwrap();
        let (entry, _) = replica.store.winner(key).unwrap();
        replica.remove(entry);
    }

    #[test]
    fn equal_neighbours_say_a_root_each_a_minute() {
        let (mut a, mut b) = known(1000);
        let every = u64::try_from(a.settings.tuning.audit_every.as_millis()).unwrap();
        pass(&mut a, &mut b, 200, 3 * every + 100);
        let report = a.audits();
        assert_eq!((report.rounds, report.repairs, report.doubted), (6, 0, 0));
        let (_, verdict) = report.links[0];
        assert_eq!(verdict.unwrap().ranges_differing, 0);
    }

    #[test]
    fn what_one_lost_is_issued_again_by_whoever_has_the_greater() {
        let (mut a, mut b) = known(3000);
        for key in [5_u32, 700, 701] {
            lose(&mut b, &key.to_be_bytes());
        }
        // Of this one each has another.
        let key = 9_u32.to_be_bytes();
        lose(&mut b, &key);
        let at = b.store.find(&key);
        b.store.put(at, record(&key, 3, b"there"), OriginIx(1), 10, None).unwrap();
        assert_ne!(a.store.sums.root(), b.store.sums.root());
        a.audit_now();
        pass(&mut a, &mut b, 200, 20_000);
        assert_eq!(a.store.sums.root(), b.store.sums.root());
        assert_eq!((a.len(), b.len()), (3000, 3000));
        assert_eq!(a.get(&key), Some(record(&key, 3, b"there")));
        assert_eq!((a.audits().repairs, b.audits().repairs), (3, 1));
        assert_eq!((a.audits().doubted, b.audits().doubted), (0, 0));
    }

    #[test]
    fn a_forgotten_key_that_one_still_shows_is_forgotten_there_too() {
        let (mut a, mut b) = known(100);
        let key = 7_u32.to_be_bytes();
        assert!(a.forget(&key, at(200)));
        pass(&mut a, &mut b, 200, 300);
        lose(&mut b, &key);
        let at = b.store.find(&key);
        b.store.put(at, record(&key, 0, b"undead"), OriginIx(1), 8, None).unwrap();
        assert_eq!(b.len(), 100);
        b.audit_now();
        pass(&mut a, &mut b, 300, 10_000);
        assert_eq!((a.len(), b.len()), (99, 99));
        assert_eq!((a.audits().repairs, b.audits().repairs), (1, 0));
    }

    /// An update that is slow to arrive is no fault.
    #[test]
    fn what_is_on_its_way_is_not_repaired() {
        let (mut a, mut b) = known(100);
        for ms in (200..30_000_u64).step_by(20) {
            // Newer than what is known, and nothing that a right clock would refuse.
            let effective_ns = at(ms + 1_000).unix.nanos();
            let key = 3_u32.to_be_bytes();
            a.update(Record { effective_ns, ..record(&key, 0, b"on") }, at(ms));
            a.audit_now();
            b.audit_now();
            a.handle_timeout(at(ms));
            b.handle_timeout(at(ms));
            // Each hears what the other said a round ago.
            crate::tests::exchange_at(&mut a, &mut b, at(ms));
        }
        assert!(a.audits().rounds > 10 && b.audits().rounds > 10);
        assert_eq!((a.audits().repairs, b.audits().repairs), (0, 0));
        assert!(a.links.contains_key(&LINK));
    }
}
