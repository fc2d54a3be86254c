//! What is near a client, from the data inside the program.

use herd_e2e::{Plan, iamat_at};
use serde_json::Value;

/// Whether `document` is laid out as Google lays out its own: three blanks for each level, a blank on
/// both sides of the colon, no empty line but the one that ends it.
#[track_caller]
fn check_layout(document: &str) {
    let body = document.strip_suffix("\n\n").expect("two line feeds end it");
    assert!(!body.ends_with('\n') && !body.contains("\n\n"), "{document}");
    for line in body.lines() {
        let indent = line.len() - line.trim_start_matches(' ').len();
        assert_eq!(indent % 3, 0, "{line:?}");
        let key = line.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'));
        if let Some((_, after)) = key {
            let is_member = after.starts_with(" : ");
            let is_item = after.is_empty() || after.starts_with(',') || after.starts_with('\\');
            assert!(is_member || is_item || line.contains("\\\""), "{line:?}");
        }
        assert!(!line.ends_with([' ', '\r']), "{line:?}");
    }
}

/// Kilometers over the sphere, enough to see which of two is nearer.
fn distance_km(from: (f64, f64), to: &Value) -> f64 {
    let (lat, lon) = (to["lat"].as_f64().expect("a number"), to["lng"].as_f64().expect("a number"));
    let half = |a: f64, b: f64| ((b - a).to_radians() / 2.0).sin().powi(2);
    let cosines = from.0.to_radians().cos() * lat.to_radians().cos();
    let h = half(from.0, lat) + cosines * half(from.1, lon);
    2.0 * 6371.0 * h.sqrt().asin()
}

#[test]
fn places_near_a_client_that_another_server_heard() {
    let herd = Plan::line(&["Hill", "Campbell"]).with_places().start();
    let report = iamat_at("kiwi.example", "1520023934.918963997");
    let at = herd.client("Hill").report(&report);
    herd.agree(&["Campbell"], &at);
    let mut client = herd.client("Campbell");
    assert_eq!(client.ask("WHATSAT kiwi.example 10 5"), at.line());
    let document = client.document();
    check_layout(&document);
    let json: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(json["status"], "OK", "{document}");
    let results = json["results"].as_array().unwrap();
    assert!((1..=5).contains(&results.len()), "{document}");
    let here = (34.068_930, -118.445_127);
    let distances: Vec<f64> =
        results.iter().map(|place| distance_km(here, &place["geometry"]["location"])).collect();
    assert!(distances.is_sorted(), "nearest first: {distances:?}");
    assert!(distances.iter().all(|&km| km <= 10.05), "within the radius: {distances:?}");
    assert!(results.iter().all(|place| place["name"].as_str().is_some_and(|n| !n.is_empty())));
    assert!(json["html_attributions"].as_array().is_some_and(|list| !list.is_empty()));
    // The answer to a question is the same at every server, and the next command is read.
    client.send("WHATSAT kiwi.example 10 5\nnext\n");
    assert_eq!(client.line(), at.line());
    assert_eq!(client.document(), document);
    assert_eq!(client.line(), "? next");
}

#[test]
fn the_bound_bounds_and_the_radius_limits() {
    let herd = Plan::one("Hill").with_places().start();
    let mut client = herd.client("Hill");
    let mut results = |place: &str, radius: &str, bound: usize| {
        client.report(&format!("IAMAT there {place} 1520023934"));
        client.send(format!("WHATSAT there {radius} {bound}\nIAMAT there {place} 1520023934\n"));
        client.line();
        let document = client.document();
        check_layout(&document);
        client.line();
        let json: Value = serde_json::from_str(&document).unwrap();
        let found = json["results"].as_array().unwrap().len();
        let status = if found == 0 { "ZERO_RESULTS" } else { "OK" };
        assert_eq!(json["status"], status, "{document}");
        found
    };
    let valletta = "+35.8989+14.5146";
    assert_eq!(results(valletta, "50", 20), 20);
    assert_eq!(results(valletta, "50", 3), 3);
    assert_eq!(results(valletta, "50", 0), 0);
    // The middle of the South Pacific, the poles, the date line.
    assert_eq!(results("-48.876667-123.393333", "50", 20), 0);
    for place in ["+90+0", "-90-180", "+0+180", "+0-180", "-16.8+179.99", "+0+0"] {
        assert!(results(place, "50", 20) <= 20, "{place}");
        assert!(results(place, "0", 20) <= 20, "{place}");
    }
}
