//! Nearby Search (legacy). Its results are already in the form we answer in: they pass through with
//! every member, number and escape as it was sent, laid out anew.

use super::scrub::{Scrub, percent_encode};
use super::{HttpRequest, NoAnswer, Settings};
use crate::print::Printer;
use crate::{Document, Query, Status};
use serde::Deserialize;
use serde_json::value::RawValue;

pub(super) fn request(query: &Query, settings: &Settings) -> HttpRequest {
    HttpRequest {
        method: "GET",
        url: format!(
            "{}/maps/api/place/nearbysearch/json?location={},{}&radius={}&key={}",
            settings.base_url.trim_end_matches('/'),
            query.center.lat_deg(),
            query.center.lon_deg(),
            query.radius_m_clamped(),
            percent_encode(settings.key.reveal()),
        ),
        headers: vec![("Accept", "application/json".to_owned())],
        body: Vec::new(),
    }
}

pub(super) fn answer(query: &Query, body: &str, scrub: &Scrub<'_>) -> Result<Document, NoAnswer> {
    let reply: Reply<'_> = serde_json::from_str(body)?;
    let status_sent = reply.status.ok_or(NoAnswer)?;
    let status = Status::from_word(&serde_json::from_str::<String>(status_sent.get())?);
    let results = match (status, reply.results) {
        (Status::Ok, Some(results)) => results,
        (Status::Ok, None) => return Err(NoAnswer),
        // Whoever refuses has nothing to show, whatever stands beside the refusal.
        (_, _) => Vec::new(),
    };
    let results = results.get(..query.bound_clamped()).unwrap_or(&results);
    if results.iter().any(|result| !result.get().starts_with('{')) {
        return Err(NoAnswer);
    }

    let mut printer = Printer::default();
    let copy = &mut |token: &str, out: &mut String| scrub.copy(token, out);
    printer.begin_object();
    for (key, value) in [
        ("error_message", reply.error_message),
        ("html_attributions", reply.html_attributions),
        ("info_messages", reply.info_messages),
        ("next_page_token", reply.next_page_token),
    ] {
        let is_list = |value: &&RawValue| value.get().starts_with('[');
        match value.filter(|value| key != "html_attributions" || is_list(value)) {
            Some(value) => {
                printer.key(key);
                printer.raw_with(value, copy)?;
            }
            // The one of them that is always there.
            None if key == "html_attributions" => {
                printer.key(key);
                printer.empty_array();
            }
            None => {}
        }
    }
    printer.key("results");
    if results.is_empty() {
        printer.empty_array();
    } else {
        printer.begin_array();
        for result in results {
            printer.item();
            printer.raw_with(result, copy)?;
        }
        printer.end_array();
    }
    printer.key("status");
    printer.raw_with(status_sent, copy)?;
    printer.end_object();
    Ok(Document::from_parts(printer.finish(), status))
}

/// The `error_message` of a body that may be of this interface.
pub(super) fn error_message(body: &str) -> Option<String> {
    let reply: Reply<'_> = serde_json::from_str(body).ok()?;
    serde_json::from_str(reply.error_message?.get()).ok()
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    error_message: Option<&'a RawValue>,
    #[serde(borrow)]
    html_attributions: Option<&'a RawValue>,
    #[serde(borrow)]
    info_messages: Option<&'a RawValue>,
    #[serde(borrow)]
    next_page_token: Option<&'a RawValue>,
    #[serde(borrow)]
    results: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
}
