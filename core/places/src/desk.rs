//! The desk where remote questions wait: joins identical ones into one fetch, and lets only so many
//! fetches run at once.
//!
//! Answers are not kept. Google's terms forbid it, and two people who ask the same a second apart are
//! rare beside the many who ask at once because one map was opened everywhere.

use crate::{Document, Query, Status};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// How much a [`Desk`] takes on. What would exceed the last two is refused at once with
/// `OVER_QUERY_LIMIT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fetches that may be under way at once; at least one.
    pub in_flight_max: usize,
    /// Distinct questions that may wait until a fetch may begin.
    pub waiting_max: usize,
    /// Tickets that may be open, answers not yet polled among them.
    pub tickets_max: usize,
}

impl Default for Limits {
    /// Eight fetches at once are what one keep-alive pool to one provider carries well; at some 200 ms
    /// each, 256 waiting questions clear in about six seconds, the longest that anybody waits for a
    /// map. 4,096 tickets take less than a megabyte. All three are guesses until a herd in production
    /// says better.
    fn default() -> Self {
        Self { in_flight_max: 8, waiting_max: 256, tickets_max: 4096 }
    }
}

/// One asker's claim to one answer. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// One fetch under way. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(u64);

/// What [`Desk::ask`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The answer will come out of [`Desk::poll_answer`] with this ticket.
    Later(Ticket),
    /// The answer is known already: nothing need be asked, or the desk is full.
    Now(Arc<Document>),
}

/// Joins identical questions into one fetch and lets few fetches run at once.
///
/// | call | meaning |
/// | --- | --- |
/// | [`ask`](Self::ask) | somebody wants to know; gives a ticket or, at once, an answer |
/// | [`cancel`](Self::cancel) | the holder of a ticket has gone |
/// | [`handle_done`](Self::handle_done) | a fetch has ended, well or not |
/// | [`poll_fetch`](Self::poll_fetch) | the next fetch to begin |
/// | [`poll_answer`](Self::poll_answer) | the next answer to hand out |
///
/// After any of the first three, drain both `poll`s. Every ticket gets exactly one answer, unless it
/// is canceled: then none. Every fetch that was polled must be ended by one `handle_done`, also when
/// it failed or timed out: the desk has no clock, so a fetch that never ends holds its place for
/// ever. All calls cost the logarithm of what is open, but for `cancel`, which may walk over the
/// questions that wait or the answers not yet polled.
#[derive(Debug)]
pub struct Desk {
    limits: Limits,
    /// Feeds tickets and fetch ids.
    last_id: u64,
    questions: BTreeMap<FetchId, Question>,
    by_key: BTreeMap<Key, FetchId>,
    waiting: VecDeque<FetchId>,
    in_flight: usize,
    /// The question of every ticket that has no answer yet.
    tickets: BTreeMap<Ticket, FetchId>,
    answers: VecDeque<(Ticket, Arc<Document>)>,
}

#[derive(Debug)]
struct Question {
    query: Query,
    /// Its fetch is under way.
    begun: bool,
    /// In the order of asking, which is also the order of tickets.
    askers: BTreeSet<Ticket>,
}

impl Desk {
    /// An idle desk.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            last_id: 0,
            questions: BTreeMap::new(),
            by_key: BTreeMap::new(),
            waiting: VecDeque::new(),
            in_flight: 0,
            tickets: BTreeMap::new(),
            answers: VecDeque::new(),
        }
    }

    /// Asks `query` on behalf of one asker.
    pub fn ask(&mut self, query: &Query) -> Ask {
        if query.is_empty_for_providers() {
            return Ask::Now(Arc::new(Document::empty()));
        }
        if self.tickets.len() + self.answers.len() >= self.limits.tickets_max {
            return refuse();
        }
        let key = Key::of(query);
        let fetch = match self.by_key.get(&key) {
            Some(&fetch) => fetch,
            None if self.waiting.len() >= self.waiting_max() => return refuse(),
            None => {
                let fetch = FetchId(self.next_id());
                self.by_key.insert(key, fetch);
                self.waiting.push_back(fetch);
                let question =
                    Question { query: query.clone(), begun: false, askers: BTreeSet::new() };
                self.questions.insert(fetch, question);
                fetch
            }
        };
        let ticket = Ticket(self.next_id());
        self.tickets.insert(ticket, fetch);
        if let Some(question) = self.questions.get_mut(&fetch) {
            question.askers.insert(ticket);
        }
        Ask::Later(ticket)
    }

    /// The next fetch to begin, first asked first; `None` while nothing waits or as many run as may.
    pub fn poll_fetch(&mut self) -> Option<(FetchId, Query)> {
        if self.in_flight >= self.limits.in_flight_max.max(1) {
            return None;
        }
        let fetch = self.waiting.pop_front()?;
        self.in_flight += 1;
        let question = self.questions.get_mut(&fetch)?;
        question.begun = true;
        Some((fetch, question.query.clone()))
    }

    /// A fetch has ended with `document`, which goes to everyone who asked, also to those who asked
    /// while it ran. A fetch that is not under way is ignored.
    pub fn handle_done(&mut self, fetch: FetchId, document: Document) {
        if !self.questions.get(&fetch).is_some_and(|question| question.begun) {
            return;
        }
        let Some(question) = self.questions.remove(&fetch) else { return };
        self.by_key.remove(&Key::of(&question.query));
        self.in_flight -= 1;
        let document = Arc::new(document);
        for ticket in question.askers {
            self.tickets.remove(&ticket);
            self.answers.push_back((ticket, Arc::clone(&document)));
        }
    }

    /// The next answer to hand out.
    pub fn poll_answer(&mut self) -> Option<(Ticket, Arc<Document>)> {
        self.answers.pop_front()
    }

    /// Nobody waits for `ticket` any longer; it will get no answer. A question that only it asked is
    /// forgotten if its fetch has not begun; a fetch under way runs on, and whoever asks the same
    /// meanwhile still joins it. A ticket that has been answered or canceled is ignored.
    pub fn cancel(&mut self, ticket: Ticket) {
        let Some(fetch) = self.tickets.remove(&ticket) else {
            self.answers.retain(|(answered, _)| *answered != ticket);
            return;
        };
        let Some(question) = self.questions.get_mut(&fetch) else { return };
        question.askers.remove(&ticket);
        if !question.askers.is_empty() {
            return;
        }
        if let Some(at) = self.waiting.iter().position(|&waiting| waiting == fetch) {
            self.waiting.remove(at);
            self.by_key.remove(&Key::of(&question.query));
            self.questions.remove(&fetch);
        }
    }

    /// Fetches under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Distinct questions whose fetch has not begun.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What is asked is put into the queue first and polled from there, so a queue that may hold
    /// nothing must still hold what can begin at once.
    fn waiting_max(&self) -> usize {
        let free = self.limits.in_flight_max.max(1).saturating_sub(self.in_flight);
        self.limits.waiting_max.saturating_add(free)
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

fn refuse() -> Ask {
    let message = "too many place questions are waiting; try again later";
    Ask::Now(Arc::new(Document::failure(Status::OverQueryLimit, message)))
}

/// What makes two questions the same: equal numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key([u64; 3], u8);

impl Key {
    fn of(query: &Query) -> Self {
        // Adding zero turns -0.0, which equals 0.0, into it.
        let numbers = [query.center.lat_deg(), query.center.lon_deg(), query.radius_m];
        Self(numbers.map(|number| (number + 0.0).to_bits()), query.bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use herd_geo::Point;
    use proptest::prelude::*;

    #[test]
    fn identical_questions_share_one_fetch() {
        let mut desk = Desk::new(Limits::default());
        let (a, b) = (later(&desk.ask(&query(0))), later(&desk.ask(&query(0))));
        let (fetch, asked) = desk.poll_fetch().unwrap();
        assert_eq!(asked, query(0));
        // Joins while the fetch runs.
        let c = later(&desk.ask(&query(0)));
        assert_eq!(desk.poll_fetch(), None);
        desk.handle_done(fetch, document(7));
        let answers: Vec<_> = std::iter::from_fn(|| desk.poll_answer()).collect();
        let expected = Arc::new(document(7));
        assert_eq!(answers, [a, b, c].map(|ticket| (ticket, Arc::clone(&expected))));
        // There is no cache: the same question is fetched anew.
        later(&desk.ask(&query(0)));
        assert!(desk.poll_fetch().is_some());
    }

    #[test]
    fn beyond_the_queue_the_answer_comes_at_once() {
        let mut desk = Desk::new(Limits { in_flight_max: 1, waiting_max: 1, tickets_max: 3 });
        later(&desk.ask(&query(0)));
        let (fetch, _) = desk.poll_fetch().unwrap();
        later(&desk.ask(&query(1)));
        assert_eq!(desk.ask(&query(2)), refuse());
        // Joining needs no place in the queue, but a ticket.
        later(&desk.ask(&query(1)));
        assert_eq!(desk.ask(&query(1)), refuse());
        desk.handle_done(fetch, document(0));
        assert!(desk.poll_answer().is_some());
        later(&desk.ask(&query(1)));
    }

    #[test]
    fn nothing_is_fetched_for_a_question_that_asks_nothing() {
        let mut desk = Desk::new(Limits::default());
        let nothing = Query { bound: 0, ..query(0) };
        assert_eq!(desk.ask(&nothing), Ask::Now(Arc::new(Document::empty())));
        assert_eq!(desk.poll_fetch(), None);
    }

    #[test]
    fn a_canceled_question_is_not_fetched() {
        let mut desk = Desk::new(Limits::default());
        let ticket = later(&desk.ask(&query(0)));
        desk.cancel(ticket);
        desk.cancel(ticket);
        assert_eq!(desk.poll_fetch(), None);
        let ticket = later(&desk.ask(&query(0)));
        let (fetch, _) = desk.poll_fetch().unwrap();
        desk.cancel(ticket);
        let joined = later(&desk.ask(&query(0)));
        desk.handle_done(fetch, document(1));
        assert_eq!(desk.poll_answer(), Some((joined, Arc::new(document(1)))));
        assert_eq!(desk.poll_answer(), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Ask(u8),
        Cancel(usize),
        Fetch,
        Done(usize),
        Answer,
    }

    proptest! {
        /// Against a model that keeps a plain list of who asked what.
        #[test]
        fn everyone_gets_one_answer_and_no_more_run_than_may(
            steps in proptest::collection::vec(any_step(), 0..200),
            in_flight_max in 1_usize..4,
            waiting_max in 0_usize..4,
        ) {
            let limits = Limits { in_flight_max, waiting_max, tickets_max: 20 };
            let mut desk = Desk::new(limits);
            let mut open: Vec<(Ticket, Query)> = Vec::new();
            let mut running: Vec<(FetchId, Query)> = Vec::new();
            let mut due: Vec<(Ticket, u8)> = Vec::new();
            let mut done = 0;
            for step in steps {
                match step {
                    Step::Ask(n) => {
                        let joins = open.iter().any(|(_, asked)| *asked == query(n))
                            || running.iter().any(|(_, asked)| *asked == query(n));
                        let full = open.len() + due.len() >= 20
                            || !joins && desk.waiting() >= waiting_max + in_flight_max - running.len();
                        match desk.ask(&query(n)) {
                            Ask::Later(ticket) => {
                                prop_assert!(!full);
                                open.push((ticket, query(n)));
                            }
                            Ask::Now(_) => prop_assert!(full),
                        }
                    }
                    Step::Cancel(n) if n % 2 == 0 && !open.is_empty() => {
                        let (ticket, _) = open.remove(n % open.len());
                        desk.cancel(ticket);
                    }
                    Step::Cancel(n) if !due.is_empty() => {
                        let (ticket, _) = due.remove(n % due.len());
                        desk.cancel(ticket);
                    }
                    Step::Fetch => if let Some((fetch, asked)) = desk.poll_fetch() {
                        prop_assert!(running.len() < in_flight_max);
                        prop_assert!(running.iter().all(|(_, other)| *other != asked));
                        prop_assert!(open.iter().any(|(_, other)| *other == asked));
                        running.push((fetch, asked));
                    } else {
                        let waits = |(_, asked): &(Ticket, Query)| running.iter().all(|(_, other)| other != asked);
                        prop_assert!(running.len() == in_flight_max || !open.iter().any(waits));
                    },
                    Step::Done(n) if !running.is_empty() => {
                        let (fetch, asked) = running.remove(n % running.len());
                        done += 1;
                        desk.handle_done(fetch, document(done));
                        desk.handle_done(fetch, document(255));
                        due.extend(open.iter().filter(|(_, q)| *q == asked).map(|(t, _)| (*t, done)));
                        open.retain(|(_, q)| *q != asked);
                    }
                    Step::Cancel(_) | Step::Done(_) => {}
                    Step::Answer => {
                        let expected = if due.is_empty() { None } else { Some(due.remove(0)) };
                        let got = desk.poll_answer();
                        prop_assert_eq!(got, expected.map(|(t, n)| (t, Arc::new(document(n)))));
                    }
                }
                prop_assert_eq!(desk.in_flight(), running.len());
            }
        }
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0_u8..6).prop_map(Step::Ask),
            1 => any::<usize>().prop_map(Step::Cancel),
            2 => Just(Step::Fetch),
            2 => any::<usize>().prop_map(Step::Done),
            2 => Just(Step::Answer),
        ]
    }

    #[track_caller]
    fn later(ask: &Ask) -> Ticket {
        let &Ask::Later(ticket) = ask else { panic!("refused") };
        ticket
    }

    fn query(n: u8) -> Query {
        Query { center: Point::new(f64::from(n), 0.0).unwrap(), radius_m: 10.0, bound: 3 }
    }

    fn document(n: u8) -> Document {
        Document::failure(Status::UnknownError, &n.to_string())
    }
}
