//! What a provider answers, or something in its place: [`herd_places::google::answer`].

use herd_geo::Point;
use herd_places::google::{Api, HttpResponse, Secret, Settings, answer};
use herd_places::{Document, Query, Status};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Stands in corpus files too: providers are known to echo it.
const KEY: &str = "fuzz-key-7d1f0c";

/// HTTP status codes that are told apart.
const STATUS_CODES: [u16; 5] = [200, 302, 403, 429, 500];

/// Pieces of the language.
pub const DICTIONARY: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\u0000",
    "\\ud800",
    "\\\"",
    "\\n",
    "\n\n",
    "null",
    "true",
    "[]",
    "{}",
    "1E400",
    "-0.0",
    "0.1000000000000000055511151231257827",
    "\"results\":",
    "\"status\":\"OK\"",
    "\"OVER_QUERY_LIMIT\"",
    "\"REQUEST_DENIED\"",
    "\"ZERO_RESULTS\"",
    "\"html_attributions\":",
    "\"next_page_token\":\"x\"",
    "\"error_message\":",
    "\"places\":",
    "\"displayName\":{\"text\":\"x\"}",
    "\"location\":{\"latitude\":34.0,\"longitude\":-118.4}",
    "\"error\":{\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\"}",
    "fuzz-key-7d1f0c",
];

/// Any bytes give a document: JSON of the promised form, no more results than were asked for, and
/// never the key.
///
/// # Panics
///
/// When that does not hold.
pub fn target(data: &[u8]) {
    // From nothing to the most that may be asked for, by the length of the input.
    let bound = u8::try_from(data.len() % 21).unwrap_or(0);
    let center = Point::new(34.068_93, -118.445_127).expect("Westwood lies on the globe");
    let query = Query { center, radius_m: 10_000.0, bound };
    for api in [Api::Legacy, Api::New] {
        let base_url = "https://places.example".to_owned();
        let settings = Settings { api, base_url, key: Secret::new(KEY) };
        for status in STATUS_CODES {
            let response = HttpResponse { status, body: data.to_vec() };
            let document = answer(&query, &settings, Ok(response));
            let results = check(&document, bound);
            if status != 200 && bound > 0 {
                assert_ne!(document.status(), Status::Ok, "HTTP {status}");
            }
            if document.status() != Status::Ok {
                assert_eq!(results, 0, "HTTP {status}, {:?}", document.status());
            }
        }
    }
}

/// Returns how many results there are.
fn check(document: &Document, bound: u8) -> usize {
    let text = document.as_str();
    assert!(!text.contains("\n\n") && !text.ends_with('\n'), "{text}");
    assert!(!text.contains(KEY), "{text}");
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_str(text).expect("a document is a JSON object");
    let member = |name: &str| members.get(name).expect("the form has it").get();
    assert!(member("html_attributions").starts_with('['), "{text}");
    let results: Vec<&RawValue> = serde_json::from_str(member("results")).expect("a list");
    assert!(results.len() <= usize::from(bound), "{} results of {bound}", results.len());
    let status: String = serde_json::from_str(member("status")).expect("a word");
    if document.status() != Status::Other {
        assert_eq!(status, document.status().as_str());
    }
    results.len()
}
