//! Answers about places, from memory at once or from a remote provider later.
//!
//! What is asked when and joined with what is decided in `core/places`; the HTTP client lives in
//! `shell/server`. Here is only who waits for which answer.

use herd_places::{Ask, Desk, Document, FetchId, Gazetteer, Query, Ticket};
use herd_proto::UnixTime;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};

/// Who answers questions about places.
#[derive(Debug)]
pub enum Places {
    /// Nobody: every answer is empty.
    Nobody,
    /// The embedded data.
    Embedded(Box<Gazetteer>),
    /// A provider on the network.
    Remote(Arc<Remote>),
}

/// An answer, or the promise of one.
#[derive(Debug)]
pub enum Answer {
    /// Here it is.
    Now(Arc<Document>),
    /// It will come; dropping the receiver takes the question back.
    Later(oneshot::Receiver<Arc<Document>>),
}

impl Places {
    /// Asks. Never blocks.
    pub fn ask(&self, query: &Query, now: UnixTime) -> Answer {
        match self {
            Self::Nobody => Answer::Now(Arc::new(Document::empty())),
            Self::Embedded(gazetteer) => {
                Answer::Now(Arc::new(gazetteer.nearby(query, now.seconds())))
            }
            Self::Remote(remote) => remote.ask(query),
        }
    }
}

/// The questions that wait for a provider on the network.
#[derive(Debug)]
pub struct Remote {
    waiting: Mutex<Waiting>,
    wanted: Notify,
}

#[derive(Debug)]
struct Waiting {
    desk: Desk,
    clients: BTreeMap<Ticket, oneshot::Sender<Arc<Document>>>,
}

impl Remote {
    /// Nobody waits yet.
    pub fn new(desk: Desk) -> Self {
        let waiting = Waiting { desk, clients: BTreeMap::new() };
        Self { waiting: Mutex::new(waiting), wanted: Notify::new() }
    }

    fn ask(&self, query: &Query) -> Answer {
        let mut waiting = self.waiting.lock();
        match waiting.desk.ask(query) {
            Ask::Now(document) => Answer::Now(document),
            Ask::Later(ticket) => {
                let (sender, receiver) = oneshot::channel();
                waiting.clients.insert(ticket, sender);
                self.wanted.notify_one();
                Answer::Later(receiver)
            }
        }
    }

    /// The next question to put to the provider; waits until there is one.
    pub async fn next_fetch(&self) -> (FetchId, Query) {
        loop {
            let fetch = {
                let mut waiting = self.waiting.lock();
                waiting.forget_gone();
                waiting.desk.poll_fetch()
            };
            match fetch {
                Some(fetch) => return fetch,
                None => self.wanted.notified().await,
            }
        }
    }

    /// The provider has answered, or failed to: everyone who asked is told.
    pub fn done(&self, fetch: FetchId, document: Document) {
        let mut waiting = self.waiting.lock();
        waiting.desk.handle_done(fetch, document);
        while let Some((ticket, document)) = waiting.desk.poll_answer() {
            if let Some(client) = waiting.clients.remove(&ticket) {
                // A client that has gone does not need it.
                let _gone = client.send(document);
            }
        }
        // There is room for another fetch now.
        self.wanted.notify_one();
    }
}

impl Waiting {
    /// Takes back the questions of those who hung up, before they cost a fetch.
    fn forget_gone(&mut self) {
        let Self { desk, clients } = self;
        clients.retain(|&ticket, client| {
            let waits = !client.is_closed();
            if !waits {
                desk.cancel(ticket);
            }
            waits
        });
    }
}
