//! Both of Google's interfaces: what is asked, and what becomes of every kind of answer.

use super::*;
use herd_geo::Point;
use proptest::prelude::*;

const KEY: &str = "AIzaSyTest-Key_0123456789";

#[test]
fn legacy_request_has_meters_and_the_key() {
    let request = request(&query(10_000.0, 5), &settings(Api::Legacy)).unwrap();
    assert_eq!(request.method, "GET");
    assert_eq!(
        request.url,
        "https://maps.example/maps/api/place/nearbysearch/json?location=34.06893,-118.445127\
         &radius=10000&key=AIzaSyTest-Key_0123456789"
    );
    assert!(!format!("{request:?} {:?}", settings(Api::Legacy)).contains(KEY));
}

#[test]
fn new_request_has_the_field_mask_and_the_key_in_headers() {
    let request = request(&query(500.0, 10), &settings(Api::New)).unwrap();
    assert_eq!(request.method, "POST");
    assert_eq!(request.url, "https://maps.example/v1/places:searchNearby");
    assert_eq!(
        String::from_utf8(request.body.clone()).unwrap(),
        "{\"maxResultCount\":10,\"locationRestriction\":{\"circle\":{\"center\":{\"latitude\":34.06893,\
         \"longitude\":-118.445127},\"radius\":500.0}},\"rankPreference\":\"DISTANCE\"}"
    );
    let header = |name| request.headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
    assert_eq!(header("X-Goog-Api-Key"), Some(KEY));
    assert!(header("X-Goog-FieldMask").is_some_and(|mask| mask.contains("places.displayName,")));
    assert!(!format!("{request:?}").contains(KEY));
}

#[test]
fn a_key_with_odd_characters_is_encoded() {
    let settings = Settings { key: Secret::new("a&b=c d"), ..settings(Api::Legacy) };
    let request = request(&query(1.0, 1), &settings).unwrap();
    assert!(request.url.ends_with("&key=a%26b%3Dc%20d"), "{}", request.url);
}

#[test]
fn kilometers_times_thousand_do_not_show_their_rounding() {
    let request = request(&query(1.1 * 1000.0, 1), &settings(Api::Legacy)).unwrap();
    assert!(request.url.contains("&radius=1100&"), "{}", request.url);
}

#[test]
fn nothing_is_asked_that_must_have_no_answer() {
    for api in [Api::Legacy, Api::New] {
        for query in [query(0.0, 5), query(10.0, 0), query(f64::NAN, 5)] {
            assert_eq!(request(&query, &settings(api)), None);
            let answer = answer(&query, &settings(api), Err(FetchError::Connect));
            assert_eq!(answer, Document::empty());
        }
    }
}

#[test]
fn legacy_results_pass_through_and_are_cut_at_the_bound() {
    let body = r#"{"results":[{"name":"Caf\u00e9","x":1.10,"x":2,"geometry":{"location":{"lat":34.0,"lng":-118.40}}},{"name":"b"},{"name":"c"}],
        "status":"OK","next_page_token":"tok","html_attributions":["\u003ca\u003e"],"unheard_of":1}"#;
    check(
        Api::Legacy,
        &query(100.0, 2),
        200,
        body,
        Status::Ok,
        r#"{
   "html_attributions" : [ "\u003ca\u003e" ],
   "next_page_token" : "tok",
   "results" : [
      {
         "name" : "Caf\u00e9",
         "x" : 1.10,
         "x" : 2,
         "geometry" : {
            "location" : {
               "lat" : 34.0,
               "lng" : -118.40
            }
         }
      },
      {
         "name" : "b"
      }
   ],
   "status" : "OK"
}"#,
    );
}

#[test]
fn legacy_statuses_and_messages_pass_through() {
    check(
        Api::Legacy,
        &query(100.0, 2),
        200,
        r#"{"error_message":"no","info_messages":["i"],"html_attributions":[],"results":[],"status":"REQUEST_DENIED"}"#,
        Status::RequestDenied,
        r#"{
   "error_message" : "no",
   "html_attributions" : [],
   "info_messages" : [ "i" ],
   "results" : [],
   "status" : "REQUEST_DENIED"
}"#,
    );
    check(
        Api::Legacy,
        &query(100.0, 2),
        200,
        r#"{"status":"NOT_HEARD_OF"}"#,
        Status::Other,
        "{\n   \"html_attributions\" : [],\n   \"results\" : [],\n   \"status\" : \"NOT_HEARD_OF\"\n}",
    );
}

#[test]
fn new_places_are_translated() {
    let body = r##"{"places":[{"id":"ChIJ1","displayName":{"text":"Caf\u00e9 <1>","languageCode":"en"},
        "location":{"latitude":34.0700,"longitude":-118.4},"viewport":{"low":{"latitude":34,"longitude":-119},"high":{"latitude":35}},
        "types":["cafe","food"],"rating":4.50,"userRatingCount":12,"priceLevel":"PRICE_LEVEL_MODERATE",
        "businessStatus":"OPERATIONAL","currentOpeningHours":{"openNow":false},"iconMaskBaseUri":"https://i","iconBackgroundColor":"#FF9E67",
        "shortFormattedAddress":"1 Main St","plusCode":{"globalCode":"85633HC3+22","compoundCode":"3HC3+22 LA"},
        "attributions":[{"provider":"A & B","providerUri":"https://a.example"}]},{"id":"second"}]}"##;
    check(
        Api::New,
        &query(100.0, 1),
        200,
        body,
        Status::Ok,
        r##"{
   "html_attributions" : [ "\u003ca href=\"https://a.example\"\u003eA &amp; B\u003c/a\u003e" ],
   "results" : [
      {
         "business_status" : "OPERATIONAL",
         "geometry" : {
            "location" : {
               "lat" : 34.0700,
               "lng" : -118.4
            },
            "viewport" : {
               "northeast" : {
                  "lat" : 35,
                  "lng" : 0
               },
               "southwest" : {
                  "lat" : 34,
                  "lng" : -119
               }
            }
         },
         "icon_background_color" : "#FF9E67",
         "icon_mask_base_uri" : "https://i",
         "name" : "Caf\u00e9 <1>",
         "opening_hours" : {
            "open_now" : false
         },
         "place_id" : "ChIJ1",
         "plus_code" : {
            "compound_code" : "3HC3+22 LA",
            "global_code" : "85633HC3+22"
         },
         "price_level" : 2,
         "rating" : 4.50,
         "reference" : "ChIJ1",
         "scope" : "GOOGLE",
         "types" : [ "cafe", "food" ],
         "user_ratings_total" : 12,
         "vicinity" : "1 Main St"
      }
   ],
   "status" : "OK"
}"##,
    );
    check(Api::New, &query(100.0, 1), 200, "{}", Status::ZeroResults, Document::empty().as_str());
}

#[test]
fn what_is_no_answer_has_an_honest_status() {
    let deep = format!(
        r#"{{"results":[{{"a":{}1{}}}],"status":"OK"}}"#,
        "[".repeat(9999),
        "]".repeat(9999)
    );
    for body in [
        "",
        "<html>",
        "null",
        "[]",
        "7",
        "{\"results\":[]}",
        "{\"results\":[{}],\"status\":\"O",
        "{\"results\":{},\"status\":\"OK\"}",
        "{\"results\":[1],\"status\":\"OK\"}",
        "{\"results\":[],\"status\":7}",
        "{\"status\":\"OK\"}",
        deep.as_str(),
    ] {
        check_status(Api::Legacy, 200, body, Status::UnknownError);
    }
    for body in ["", "<html>", "null", "7", "{\"places\":{}}", "{\"places\":[1]}", "{\"error\":{}}"]
    {
        check_status(Api::New, 200, body, Status::UnknownError);
    }
}

#[test]
fn refusals_have_an_honest_status() {
    for api in [Api::Legacy, Api::New] {
        for (http, status) in [
            (400, Status::InvalidRequest),
            (401, Status::RequestDenied),
            (403, Status::RequestDenied),
            (429, Status::OverQueryLimit),
            (404, Status::UnknownError),
            (500, Status::UnknownError),
            (503, Status::UnknownError),
            (302, Status::UnknownError),
            (204, Status::UnknownError),
        ] {
            check_status(api, http, "", status);
            // The words of a refusal are not an answer, however much they look like one.
            check_status(api, http, "{\"results\":[{}],\"status\":\"OK\"}", status);
        }
    }
    let body = r#"{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT",
        "details":[{"reason":"API_KEY_INVALID"}]}}"#;
    let document = check_status(Api::New, 400, body, Status::RequestDenied);
    assert!(document.as_str().contains("HTTP 400: API key not valid."));
    let quota = r#"{"error":{"code":429,"message":"Quota","status":"RESOURCE_EXHAUSTED"}}"#;
    check_status(Api::New, 503, quota, Status::OverQueryLimit);
}

#[test]
fn failed_fetches_say_what_happened() {
    for error in [
        FetchError::Timeout { after_ms: 3000 },
        FetchError::Connect,
        FetchError::Redirected { status: 302 },
        FetchError::TooLarge { bytes_max: 1000 },
        FetchError::Truncated,
        FetchError::Other,
    ] {
        let document = answer(&query(1.0, 1), &settings(Api::New), Err(error.clone()));
        assert_eq!(document.status(), Status::UnknownError);
        assert!(document.as_str().contains(&error.to_string()), "{error:?}");
    }
}

#[test]
fn an_echoed_key_is_taken_out() {
    let escaped = KEY.replacen('A', "\\u0041", 1);
    for body in [
        format!(r#"{{"error_message":"bad key {KEY}!","results":[],"status":"REQUEST_DENIED"}}"#),
        format!(
            r#"{{"error_message":"bad key {escaped}!","results":[],"status":"REQUEST_DENIED"}}"#
        ),
        format!(r#"{{"results":[{{"{KEY}":"x{escaped}"}}],"status":"OK"}}"#),
        format!(r#"{{"results":[],"status":"{KEY}"}}"#),
        format!(
            r#"{{"places":[{{"displayName":{{"text":"{KEY}"}},"attributions":[{{"provider":"{KEY}"}}]}}]}}"#
        ),
        format!(r#"{{"error":{{"message":"{KEY} is wrong"}}}}"#),
        KEY.to_owned(),
    ] {
        for api in [Api::Legacy, Api::New] {
            for status in [200, 400, 403] {
                let response = HttpResponse { status, body: body.clone().into_bytes() };
                let document = answer(&query(1.0, 1), &settings(api), Ok(response));
                let read: serde_json::Value = serde_json::from_str(document.as_str()).unwrap();
                assert!(!read.to_string().contains(KEY), "{read}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_give_a_document(
        body in any::<Vec<u8>>(), status in prop_oneof![Just(200_u16), any::<u16>()], new in any::<bool>(),
    ) {
        let api = if new { Api::New } else { Api::Legacy };
        let document = answer(&query(1.0, 3), &settings(api), Ok(HttpResponse { status, body }));
        prop_assert!(serde_json::from_str::<serde_json::Value>(document.as_str()).is_ok());
    }

    #[test]
    fn a_damaged_answer_gives_a_document(at in 0_usize..300, byte in any::<u8>(), cut in 0_usize..400) {
        let good = br#"{"html_attributions":[],"results":[{"name":"a","types":["x","y"],"geometry":{"location":{"lat":1.5,"lng":2}}}],"status":"OK","places":[{"id":"x","location":{"latitude":1},"types":["a"]}]}"#;
        let mut body = good.to_vec();
        if let Some(place) = body.get_mut(at) {
            *place = byte;
        }
        body.truncate(cut);
        for api in [Api::Legacy, Api::New] {
            let response = HttpResponse { status: 200, body: body.clone() };
            let document = answer(&query(1.0, 3), &settings(api), Ok(response));
            prop_assert!(!document.as_str().contains("\n\n"));
            prop_assert!(serde_json::from_str::<serde_json::Value>(document.as_str()).is_ok());
        }
    }
}

#[track_caller]
fn check(api: Api, query: &Query, http: u16, body: &str, status: Status, expected: &str) {
    let response = HttpResponse { status: http, body: body.as_bytes().to_vec() };
    let document = answer(query, &settings(api), Ok(response));
    assert_eq!((document.status(), document.as_str()), (status, expected));
}

#[track_caller]
fn check_status(api: Api, http: u16, body: &str, expected: Status) -> Document {
    let response = HttpResponse { status: http, body: body.as_bytes().to_vec() };
    let document = answer(&query(100.0, 2), &settings(api), Ok(response));
    assert_eq!(document.status(), expected, "{api:?} {http} {body:.80}: {}", document.as_str());
    let read: serde_json::Value = serde_json::from_str(document.as_str()).unwrap();
    assert_eq!(read["results"], serde_json::json!([]));
    assert!(read["error_message"].is_string());
    document
}

fn query(radius_m: f64, bound: u8) -> Query {
    Query { center: Point::new(34.068_93, -118.445_127).unwrap(), radius_m, bound }
}

fn settings(api: Api) -> Settings {
    Settings { api, base_url: "https://maps.example/".to_owned(), key: Secret::new(KEY) }
}
