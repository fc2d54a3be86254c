//! The one HTTP client: puts a question to a provider on the network and takes its answer, whatever
//! that is.
//!
//! What is asked, and what an answer means, is decided in `core/places`. Nothing of a request is ever
//! logged: the key is in it.

use crate::config;
use herd_front::{Host, Remote};
use herd_places::google::{self, FetchError, HttpRequest, HttpResponse};
use herd_places::{Document, FetchId, Query};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tracing::{debug, warn};

/// A provider and how to reach it.
#[derive(Clone, Debug)]
pub(crate) struct Google {
    settings: Arc<google::Settings>,
    client: reqwest::Client,
    timeout: Duration,
    body_bytes_max: usize,
}

impl Google {
    pub(crate) fn new(config: &config::Google, key: &str) -> io::Result<Self> {
        // A second installation fails and changes nothing.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            // A redirect would carry the key to whoever it names.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(config.timeout)
            .pool_max_idle_per_host(config.max_in_flight)
            .build()
            .map_err(io::Error::other)?;
        let settings = google::Settings {
            api: match config.api {
                config::GoogleApi::Legacy => google::Api::Legacy,
                config::GoogleApi::New => google::Api::New,
            },
            base_url: config.base_url().to_owned(),
            key: google::Secret::new(key),
        };
        Ok(Self {
            settings: Arc::new(settings),
            client,
            timeout: config.timeout,
            body_bytes_max: config.max_body_bytes,
        })
    }

    async fn ask(&self, query: &Query) -> (Document, bool) {
        let Some(request) = google::request(query, &self.settings) else {
            return (Document::empty(), true);
        };
        let outcome = timeout(self.timeout, self.fetch(request)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(self.timed_out()));
        let answered = outcome.is_ok();
        (google::answer(query, &self.settings, outcome), answered)
    }

    async fn fetch(&self, request: HttpRequest) -> Result<HttpResponse, FetchError> {
        let method =
            if request.method == "POST" { reqwest::Method::POST } else { reqwest::Method::GET };
        let mut call = self.client.request(method, &request.url).body(request.body);
        for (name, value) in request.headers {
            call = call.header(name, value);
        }
        let mut response = call.send().await.map_err(|error| self.classify(&error))?;
        let status = response.status().as_u16();
        if response.status().is_redirection() {
            return Err(FetchError::Redirected { status });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.classify(&error))? {
            if body.len() + chunk.len() > self.body_bytes_max {
                return Err(FetchError::TooLarge { bytes_max: self.body_bytes_max as u64 });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpResponse { status, body })
    }

    fn timed_out(&self) -> FetchError {
        let after_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        FetchError::Timeout { after_ms }
    }

    /// What kind of failure it was; its text is dropped, since the URL with the key is in it.
    fn classify(&self, error: &reqwest::Error) -> FetchError {
        if error.is_timeout() {
            self.timed_out()
        } else if error.is_connect() {
            FetchError::Connect
        } else if error.is_body() || error.is_decode() {
            FetchError::Truncated
        } else {
            FetchError::Other
        }
    }
}

/// Puts questions to the provider as they come, until the server ends. How many at once is decided
/// where they come from.
pub(crate) async fn run(host: Arc<Host>, remote: Arc<Remote>, google: Google) {
    loop {
        let (fetch, query) = remote.next_fetch().await;
        let (host, remote, google) = (host.clone(), remote.clone(), google.clone());
        tokio::spawn(async move { answer(&host, &remote, &google, fetch, &query).await });
    }
}

async fn answer(host: &Host, remote: &Remote, google: &Google, fetch: FetchId, query: &Query) {
    let started = Instant::now();
    let (document, answered) = google.ask(query).await;
    let took = started.elapsed();
    let nanos = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
    host.stats.fetch_times.lock().record(nanos);
    let status = document.status();
    if answered {
        host.stats.fetches_answered.fetch_add(1, Relaxed);
        debug!(?status, ?took, "the provider answered");
    } else {
        host.stats.fetches_failed.fetch_add(1, Relaxed);
        warn!(?status, ?took, "the provider did not answer");
    }
    remote.done(fetch, document);
}
