//! Joins questions and limits fetches.

use crate::{Document, Query};
use std::sync::Arc;

/// How much a [`Desk`] takes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fetches that may be under way at once.
    pub in_flight_max: usize,
    /// Distinct questions that may wait for their fetch.
    pub waiting_max: usize,
    /// Tickets that may be open on one question.
    pub askers_max: usize,
}

/// One asker's claim to one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// One fetch under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(u64);

/// What [`Desk::ask`] says.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// The answer will come out of [`Desk::poll_answer`] with this ticket.
    Later(Ticket),
    /// The answer is known already: nothing to ask, or too many are waiting.
    Now(Arc<Document>),
}

/// Joins identical questions into one fetch and lets few fetches run at once.
#[derive(Debug)]
pub struct Desk {
    limits: Limits,
}

impl Desk {
    /// An idle desk.
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Asks `query`.
    pub fn ask(&mut self, query: &Query) -> Ask {
        let _ = (query, &self.limits);
        Ask::Now(Arc::new(Document::empty()))
    }

    /// The next fetch to begin.
    pub fn poll_fetch(&mut self) -> Option<(FetchId, Query)> {
        None
    }

    /// A fetch has ended with `document`.
    pub fn handle_done(&mut self, fetch: FetchId, document: Document) {
        let _ = (fetch, document);
    }

    /// The next answer to hand out.
    pub fn poll_answer(&mut self) -> Option<(Ticket, Arc<Document>)> {
        None
    }

    /// Nobody waits for `ticket` any longer.
    pub fn cancel(&mut self, ticket: Ticket) {
        let _ = ticket;
    }
}
