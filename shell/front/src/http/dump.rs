//! `GET /dump`: every client's newest report, one JSON object a line, in the order of the clients' names.
//!
//! The node is entered for some names at a time, so nobody else waits for long. A line is what was known at
//! some moment while the dump was made; all of them together are that of no single moment, unless nothing
//! was reported meanwhile.

use crate::dump::{CHUNK_BYTES, NAMES_BYTES_MAX, Names, write_at, write_lines};
use crate::host::Host;
use crate::http::pace::Pace;
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use futures_core::Stream;
use serde_json::json;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

/// Looked at in one go, under the node's lock: some tens of microseconds, as are [`LINES_A_SLICE`].
const PLACES_A_SLICE: u32 = 512;

/// See [`PLACES_A_SLICE`]; a line takes more.
const LINES_A_SLICE: usize = 64;

/// Chunks that wait for whoever reads the dump.
const CHUNKS_WAITING: usize = 2;

/// Whoever takes nothing for so long has gone, or should.
const READER_WITHIN: Duration = Duration::from_secs(30);

/// One dump at a time: each takes memory for names.
#[derive(Clone, Debug)]
pub(super) struct Dumps(Arc<Semaphore>);

impl Dumps {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    pub(super) fn answer(&self, host: Arc<Host>) -> Response {
        let Ok(permit) = self.0.clone().try_acquire_owned() else {
            let error = "another dump is being made; try again when it has ended";
            return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": error })))
                .into_response();
        };
        let (chunks, receiver) = mpsc::channel(CHUNKS_WAITING);
        tokio::spawn(async move {
            let chunks = Chunks(chunks);
            // Whoever reads sees that the end is missing.
            let _cut_short = tell_all(&host, &chunks).await;
            drop(permit);
            // Whoever has read to the end may ask again at once.
            drop(chunks);
        });
        let body = Body::from_stream(Told { receiver, is_whole: false, is_over: false });
        ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
    }
}

/// One part of a dump.
enum Part {
    Lines(Vec<u8>),
    /// That was all. Without it a dump that was given up would pass for a whole one.
    End,
}

/// Why a dump is not whole.
enum CutShort {
    /// Nobody takes it.
    Unread,
    /// The server is stopping.
    Stopping,
}

impl From<JoinError> for CutShort {
    fn from(_: JoinError) -> Self {
        Self::Stopping
    }
}

struct Chunks(mpsc::Sender<Part>);

impl Chunks {
    async fn send(&self, part: Part) -> Result<(), CutShort> {
        match timeout(READER_WITHIN, self.0.send(part)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(CutShort::Unread),
        }
    }
}

async fn tell_all(host: &Host, chunks: &Chunks) -> Result<(), CutShort> {
    let mut from = None;
    let mut pace = Pace::start();
    loop {
        let names = collect(host, from, &mut pace).await?;
        let mut lines = Vec::with_capacity(CHUNK_BYTES);
        let mut copied = Vec::new();
        let mut at = 0;
        while at < names.len() {
            // Only copied under the lock; what takes longer is done outside.
            copied.clear();
            host.enter(|node, now| {
                for name in names.slice(at, LINES_A_SLICE) {
                    write_at(node, name, now.unix, &mut copied);
                }
            });
            write_lines(&copied, &mut lines);
            at += LINES_A_SLICE;
            if lines.len() >= CHUNK_BYTES {
                let full = std::mem::replace(&mut lines, Vec::with_capacity(CHUNK_BYTES));
                chunks.send(Part::Lines(full)).await?;
            }
            pace.keep().await;
        }
        chunks.send(Part::Lines(lines)).await?;
        from = names.into_next();
        if from.is_none() {
            return chunks.send(Part::End).await;
        }
    }
}

/// The names from `from` on, as many as fit.
async fn collect(host: &Host, from: Option<Box<str>>, pace: &mut Pace) -> Result<Names, CutShort> {
    let mut names = Names::new(from.clone(), NAMES_BYTES_MAX);
    let mut incarnation = host.enter(|node, _| node.incarnation());
    let mut place = Some(0);
    // Copied to where they stay outside the lock: to grow that may take long.
    let mut met = Names::new(None, usize::MAX);
    while let Some(at) = place {
        met.clear();
        let entered = host.enter(|node, _| {
            let next = node.walk_clients(at, PLACES_A_SLICE, |name| {
                if names.is_wanted(name) {
                    met.push(name);
                }
            });
            (next, node.incarnation())
        });
        let incarnation_now;
        (place, incarnation_now) = entered;
        if incarnation != incarnation_now {
            // All names have other places now.
            incarnation = incarnation_now;
            names = Names::new(from.clone(), NAMES_BYTES_MAX);
            place = Some(0);
            continue;
        }
        for name in met.iter() {
            names.push(name);
        }
        if names.is_full() {
            names = spawn_blocking(|| names.halved()).await?;
        }
        pace.keep().await;
    }
    Ok(spawn_blocking(|| names.sorted()).await?)
}

/// A dump as it is read.
struct Told {
    receiver: mpsc::Receiver<Part>,
    is_whole: bool,
    is_over: bool,
}

impl Stream for Told {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.is_over {
            match ready!(self.receiver.poll_recv(cx)) {
                Some(Part::Lines(lines)) => return Poll::Ready(Some(Ok(lines.into()))),
                Some(Part::End) => self.is_whole = true,
                None => {
                    self.is_over = true;
                    if !self.is_whole {
                        let error = io::Error::other("the dump was given up");
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
        }
        Poll::Ready(None)
    }
}
