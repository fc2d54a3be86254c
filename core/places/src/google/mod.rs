//! Google Places as a provider: query to HTTP request, HTTP response to document.
//!
//! Both of Google's interfaces are spoken: the legacy Nearby Search, whose results pass through as
//! they were sent, and Places (New), which is translated to the legacy form. Whoever calls does the
//! fetching. The key reaches the request and nothing else: no `Debug` text and no document has it,
//! not even where the provider echoes it.
//!
//! Source: <https://developers.google.com/maps/documentation/places/web-service/search-nearby> and
//! its legacy counterpart.

use crate::{Document, Query, Status};
use std::fmt;

/// Which provider is asked, where, and with what right.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which of Google's interfaces is spoken.
    pub api: Api,
    /// Scheme, host and optional path prefix, with or without a closing solidus:
    /// `https://maps.googleapis.com` (legacy) or `https://places.googleapis.com` (new).
    pub base_url: String,
    /// The API key.
    pub key: Secret,
}

/// One of Google's two interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Nearby Search (legacy): `GET /maps/api/place/nearbysearch/json`.
    Legacy,
    /// Nearby Search (New): `POST /v1/places:searchNearby`.
    New,
}

/// A text that is never shown: `Debug` prints `***`, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from view.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for whoever must send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A request for whoever does the fetching. Holds the key, so `Debug` prints the method only.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The whole address. For the legacy interface the key is in it: never log or show it.
    pub url: String,
    /// Header names and values. For the new interface the key is among them.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty for `GET`.
    pub body: Vec<u8>,
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The HTTP status code.
    pub status: u16,
    /// The body, whole and decompressed, already limited in size by whoever fetched it.
    pub body: Vec<u8>,
}

/// Why nothing came back.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No whole answer in time.
    #[error("no answer from the place provider within {after_ms} ms")]
    Timeout {
        /// How long was waited, milliseconds.
        after_ms: u64,
    },
    /// No connection: name look-up, TCP or TLS.
    #[error("the place provider cannot be reached")]
    Connect,
    /// The provider points elsewhere; following would carry the key there.
    #[error("the place provider answers with a redirect (HTTP {status})")]
    Redirected {
        /// The HTTP status code.
        status: u16,
    },
    /// The answer is longer than may be read.
    #[error("the place provider's answer is longer than {bytes_max} bytes")]
    TooLarge {
        /// The limit, bytes.
        bytes_max: u64,
    },
    /// The connection ended in the middle of the answer.
    #[error("the place provider's answer ended early")]
    Truncated,
    /// Anything else.
    #[error("the place provider could not be asked")]
    Other,
}

/// The request that asks the provider `query`; `None` if the answer is known to be empty (a radius or
/// a bound of zero), so that nobody need be asked.
pub fn request(query: &Query, settings: &Settings) -> Option<HttpRequest> {
    let _ = (query, settings);
    None
}

/// The document for what came back. Any bytes give a document: what is no answer becomes empty
/// results with an honest status.
pub fn answer(
    query: &Query,
    settings: &Settings,
    outcome: Result<HttpResponse, FetchError>,
) -> Document {
    let _ = (query, settings, outcome);
    Document::failure(Status::UnknownError, "not yet")
}
