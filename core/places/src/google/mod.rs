//! Google Places as a provider: query to HTTP request, HTTP response to document.
//!
//! Both of Google's interfaces are spoken: the legacy Nearby Search, whose results pass through as
//! they were sent, and Places (New), which is translated to the legacy form. Whoever calls does the
//! fetching. The key reaches the request and nothing else: no `Debug` text and no document has it,
//! not even where the provider echoes it.
//!
//! Source: <https://developers.google.com/maps/documentation/places/web-service/search-nearby> and
//! its legacy counterpart.

mod legacy;
mod new;
mod scrub;

use crate::{Document, Query, Status};
use scrub::Scrub;
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
    if query.is_empty_for_providers() {
        return None;
    }
    Some(match settings.api {
        Api::Legacy => legacy::request(query, settings),
        Api::New => new::request(query, settings),
    })
}

/// The document for what came back. Any bytes give a document: what is no answer becomes empty
/// results with an honest status and an `error_message` for people.
pub fn answer(
    query: &Query,
    settings: &Settings,
    outcome: Result<HttpResponse, FetchError>,
) -> Document {
    if query.is_empty_for_providers() {
        return Document::empty();
    }
    let response = match outcome {
        Ok(response) => response,
        Err(error) => return Document::failure(Status::UnknownError, &error.to_string()),
    };
    let scrub = Scrub::new(settings.key.reveal());
    let text = std::str::from_utf8(&response.body);
    if response.status != 200 {
        return refusal(response.status, text.unwrap_or_default(), &scrub);
    }
    let printed = match (text, settings.api) {
        (Err(_), _) => Err(NoAnswer),
        (Ok(text), Api::Legacy) => legacy::answer(query, text, &scrub),
        (Ok(text), Api::New) => new::answer(query, text, &scrub),
    };
    printed.unwrap_or_else(|NoAnswer| {
        Document::failure(Status::UnknownError, "the place provider's answer is not understood")
    })
}

/// A body with HTTP status 200 that is no answer: not UTF-8, not JSON, cut off, of another shape, or
/// nested too deeply.
#[derive(Debug)]
struct NoAnswer;

impl From<serde_json::Error> for NoAnswer {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

impl From<crate::print::TooDeep> for NoAnswer {
    fn from(_: crate::print::TooDeep) -> Self {
        Self
    }
}

/// The document for an HTTP status other than 200. Both interfaces send the new one's error object
/// when it is not their own code that refuses.
fn refusal(http_status: u16, body: &str, scrub: &Scrub<'_>) -> Document {
    let error = serde_json::from_str::<new::ErrorReply>(body).map(|reply| reply.error).ok();
    let rpc_status = error.as_ref().and_then(|error| error.status.as_deref());
    // A wrong key comes as HTTP 400 INVALID_ARGUMENT and is told from a wrong question by its detail.
    let status = match (http_status, rpc_status) {
        (400, _) if body.contains("API_KEY_INVALID") => Status::RequestDenied,
        (429, _) | (_, Some("RESOURCE_EXHAUSTED")) => Status::OverQueryLimit,
        (401 | 403, _) | (_, Some("PERMISSION_DENIED" | "UNAUTHENTICATED")) => {
            Status::RequestDenied
        }
        (400, _) => Status::InvalidRequest,
        _ => Status::UnknownError,
    };
    let mut message = if (300..400).contains(&http_status) {
        FetchError::Redirected { status: http_status }.to_string()
    } else {
        format!("the place provider answers HTTP {http_status}")
    };
    let told = error.and_then(|error| error.message);
    let told = told.or_else(|| legacy::error_message(body)).unwrap_or_default();
    if !told.is_empty() {
        message.push_str(": ");
        message.extend(scrub.text(&told).chars().take(MESSAGE_CHARS_MAX));
    }
    Document::failure(status, &message)
}

/// How much of a refusing provider's own words reaches a client. Google's are shorter than 300.
const MESSAGE_CHARS_MAX: usize = 500;

#[cfg(test)]
mod tests;
