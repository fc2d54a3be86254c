//! A place provider on the network, and whatever it may do.

use herd_e2e::{Address, At, Client, Herd, Plan, Provider, Reply, iamat_at, settled, wait_until};
use serde_json::Value;

/// So that it is found wherever it leaks.
const KEY: &str = "AIzaSyD-5ECRET+key/of=the&house";

const LEGACY: &str = r#"{"html_attributions":["<a href=\"x\">Somebody</a>"],"next_page_token":"more",
"results":[{"name":"First","rating":4.10,"geometry":{"location":{"lat":34.07,"lng":-118.44}}},
{"name":"Second","rating":1e2},{"name":"Third"}],"status":"OK"}"#;

const NEW: &str = r#"{"places":[{"id":"abc","displayName":{"text":"First","languageCode":"en"},
"location":{"latitude":34.07,"longitude":-118.440},"rating":4.10,"types":["cafe"]},
{"id":"def","displayName":{"text":"Second"}}]}"#;

/// A herd of one that asks `url`.
fn plan(url: &str) -> Plan {
    Plan::one("Hill")
        .set("places.provider", "\"google\"")
        .set("places.google.base_url", format!("{url:?}"))
        .set("places.google.api_key_env", "\"HOUSE_KEY\"")
        // Far longer than anything takes on the slowest machine.
        .set("places.google.timeout", "\"60s\"")
        .set("log.traffic", true)
        .set("log.filter", "\"debug\"")
        .variable("HOUSE_KEY", KEY)
}

/// A client that asks about itself.
struct Asker {
    client: Client,
    at: At,
}

impl Asker {
    #[track_caller]
    fn at(herd: &Herd) -> Self {
        let mut client = herd.client("Hill");
        let at = client.report(&iamat_at("kiwi", "1520023934.918963997"));
        Self { client, at }
    }

    /// Several that ask about the same client, each on a connection of its own.
    #[track_caller]
    fn several(herd: &Herd, count: usize) -> Vec<Self> {
        let first = Self::at(herd);
        let another = |_| Self { client: herd.client("Hill"), at: first.at.clone() };
        (0..count).map(another).collect()
    }

    #[track_caller]
    fn ask(&mut self, radius: &str, bound: u8) -> Value {
        self.client.send(format!("WHATSAT kiwi {radius} {bound}\n"));
        self.answer()
    }

    /// Checks that the AT line is intact, and gives the document.
    #[track_caller]
    fn answer(&mut self) -> Value {
        assert_eq!(self.client.line(), self.at.line());
        let document = self.client.document();
        assert!(!document.contains(KEY), "{document}");
        let body = document.strip_suffix("\n\n").expect("two line feeds end it");
        assert!(!body.contains("\n\n") && !body.ends_with('\n'), "{document}");
        serde_json::from_str(&document).expect("JSON")
    }
}

/// Ends the herd, and checks that nothing it wrote holds the key, as it is or as it stands in an URL.
#[track_caller]
fn check_secret(mut herd: Herd) {
    herd.terminate("Hill");
    let written = herd.all_written().expect("its files can be read");
    let written = String::from_utf8_lossy(&written);
    assert!(written.contains("WHATSAT"), "there is a log");
    for piece in [KEY, "5ECRET"] {
        let line = written.lines().find(|line| line.contains(piece));
        assert_eq!(line, None, "the key was written");
    }
}

#[test]
fn the_legacy_interface_is_asked_as_it_wants_to_be() {
    let provider = Provider::start(Reply::Full(200, LEGACY.to_owned()));
    let herd = plan(&provider.url()).start();
    let mut asker = Asker::at(&herd);
    asker.client.send("WHATSAT kiwi 10.5 2\n");
    assert_eq!(asker.client.line(), asker.at.line());
    // Members and numbers as they were sent, at most as many results as were asked for.
    assert_eq!(
        asker.client.document(),
        r#"{
   "html_attributions" : [ "<a href=\"x\">Somebody</a>" ],
   "next_page_token" : "more",
   "results" : [
      {
         "name" : "First",
         "rating" : 4.10,
         "geometry" : {
            "location" : {
               "lat" : 34.07,
               "lng" : -118.44
            }
         }
      },
      {
         "name" : "Second",
         "rating" : 1e2
      }
   ],
   "status" : "OK"
}

"#
    );
    let calls = provider.calls();
    let [call] = &calls[..] else { panic!("asked once: {calls:?}") };
    assert!(call.line.starts_with("GET /maps/api/place/nearbysearch/json?"), "{}", call.line);
    assert_eq!(call.parameter("location"), Some("34.06893,-118.445127"));
    let radius: f64 = call.parameter("radius").unwrap().parse().unwrap();
    assert!((radius - 10_500.0).abs() < 0.01, "meters: {radius}");
    let key = call.parameter("key").unwrap();
    assert_eq!(
        key,
        KEY.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D").replace('&', "%26")
    );
    check_secret(herd);
}

#[test]
fn the_new_interface_is_asked_as_it_wants_to_be() {
    let provider = Provider::start(Reply::Full(200, NEW.to_owned()));
    let herd = plan(&provider.url()).set("places.google.api", "\"new\"").start();
    let mut asker = Asker::at(&herd);
    let document = asker.ask("0.5", 7);
    assert_eq!(document["status"], "OK");
    assert_eq!(document["results"][0]["name"], "First");
    assert_eq!(document["results"][0]["geometry"]["location"]["lng"], -118.44);
    assert_eq!(document["results"][1]["place_id"], "def");
    let calls = provider.calls();
    let [call] = &calls[..] else { panic!("asked once: {calls:?}") };
    assert!(call.line.starts_with("POST /v1/places:searchNearby "), "{}", call.line);
    assert!(!call.line.contains("key"), "{}", call.line);
    assert_eq!(call.header("x-goog-api-key"), Some(KEY));
    let mask = call.header("x-goog-fieldmask").unwrap();
    assert!(mask.split(',').all(|field| field.starts_with("places.")), "{mask}");
    for field in ["places.id", "places.displayName", "places.location"] {
        assert!(mask.split(',').any(|one| one == field), "{mask}");
    }
    let body: Value = serde_json::from_str(&call.body).unwrap();
    let circle = &body["locationRestriction"]["circle"];
    assert_eq!(circle["radius"].as_f64(), Some(500.0));
    assert_eq!(circle["center"]["latitude"].as_f64(), Some(34.06893));
    assert_eq!(circle["center"]["longitude"].as_f64(), Some(-118.445_127));
    assert_eq!(body["maxResultCount"].as_u64(), Some(7));
    check_secret(herd);
}

#[test]
fn a_question_that_has_no_answer_is_not_put() {
    let provider = Provider::start(Reply::Full(200, LEGACY.to_owned()));
    let herd = plan(&provider.url()).start();
    let mut asker = Asker::at(&herd);
    for (radius, bound) in [("0", 5), ("10", 0), ("0.0", 0)] {
        let document = asker.ask(radius, bound);
        assert_eq!(document["status"], "ZERO_RESULTS", "{document}");
    }
    assert!(provider.calls().is_empty());
}

#[test]
fn whatever_the_provider_does_the_answer_is_honest() {
    let elsewhere = Provider::start(Reply::Full(200, LEGACY.to_owned()));
    let told_key =
        format!(r#"{{"error_message":"bad key {KEY}","results":[],"status":"REQUEST_DENIED"}}"#);
    let told_http =
        format!(r#"{{"error":{{"code":403,"message":"no {KEY}","status":"PERMISSION_DENIED"}}}}"#);
    let full = |code, body: &str| Reply::Full(code, body.to_owned());
    let quota = r#"{"error_message":"slow down","results":[],"status":"OVER_QUERY_LIMIT"}"#;
    for (api, good) in [("legacy", LEGACY), ("new", NEW)] {
        let provider = Provider::start(full(200, good));
        let herd = plan(&provider.url()).set("places.google.api", format!("{api:?}")).start();
        let mut asker = Asker::at(&herd);
        let rows = [
            ("good", full(200, good), "OK"),
            ("chunked", Reply::Chunked(good.to_owned()), "OK"),
            ("429", full(429, "{}"), "OVER_QUERY_LIMIT"),
            ("429 in words", full(429, "Too many requests"), "OVER_QUERY_LIMIT"),
            ("403 with the key", full(403, &told_http), "REQUEST_DENIED"),
            ("500", full(500, ""), "UNKNOWN_ERROR"),
            ("503 with results", full(503, good), "UNKNOWN_ERROR"),
            ("truncated", Reply::Truncated(good.to_owned()), "UNKNOWN_ERROR"),
            ("half of the JSON", full(200, good.split_at(100).0), "UNKNOWN_ERROR"),
            ("empty", full(200, ""), "UNKNOWN_ERROR"),
            ("no JSON", full(200, "<html>Sorry</html>"), "UNKNOWN_ERROR"),
            ("30 MB", Reply::Huge(30 << 20, good.to_owned()), "UNKNOWN_ERROR"),
            ("redirect", Reply::Redirect(elsewhere.url() + "/x"), "UNKNOWN_ERROR"),
            ("hang up", Reply::HangUp, "UNKNOWN_ERROR"),
            ("good again", full(200, good), "OK"),
        ];
        let legacy_rows = [
            ("denied with the key", full(200, &told_key), "REQUEST_DENIED"),
            ("quota", full(200, quota), "OVER_QUERY_LIMIT"),
        ];
        let legacy_rows = legacy_rows.into_iter().filter(|_| api == "legacy");
        for (what, reply, status) in rows.into_iter().chain(legacy_rows) {
            provider.reply(reply);
            let document = asker.ask("10", 5);
            assert_eq!(document["status"], status, "{api}: {what}: {document}");
            let results = document["results"].as_array().unwrap();
            assert_eq!(results.is_empty(), status != "OK", "{api}: {what}: {document}");
            let tells = document["error_message"].as_str().is_some_and(|text| !text.is_empty());
            assert_eq!(tells, status != "OK", "{api}: {what}: {document}");
        }
        check_secret(herd);
    }
    assert!(elsewhere.calls().is_empty(), "a redirect was followed");
}

#[test]
fn thirty_megabytes_leave_memory_flat() {
    let provider = Provider::start(Reply::Huge(30 << 20, LEGACY.to_owned()));
    let mut herd = plan(&provider.url()).set("places.google.max_body_bytes", 1 << 20).start();
    let mut asker = Asker::at(&herd);
    // The first answer fills the client's own buffers.
    asker.ask("1", 5);
    let before = herd.process("Hill").resident_bytes();
    for _ in 0..5 {
        assert_eq!(asker.ask("1", 5)["status"], "UNKNOWN_ERROR");
    }
    let grown = herd.process("Hill").resident_bytes().saturating_sub(before);
    println!("grown by {} kB", grown >> 10);
    assert!(grown < 8 << 20, "{grown}");
}

#[test]
fn a_provider_that_says_nothing_is_given_up() {
    let provider = Provider::start(Reply::Silence);
    let herd = plan(&provider.url()).set("places.google.timeout", "\"300ms\"").start();
    let document = Asker::at(&herd).ask("10", 5);
    assert_eq!(document["status"], "UNKNOWN_ERROR", "{document}");
    assert!(document["error_message"].as_str().unwrap().contains("300"), "{document}");
    check_secret(herd);
}

#[test]
fn a_provider_that_is_not_there_is_told() {
    let nobody = Address::unused().free_ports(1)[0];
    let herd = plan(&format!("http://{nobody}")).start();
    let mut asker = Asker::at(&herd);
    for _ in 0..2 {
        let document = asker.ask("10", 5);
        assert_eq!(document["status"], "UNKNOWN_ERROR", "{document}");
        assert!(document["error_message"].as_str().is_some_and(|text| !text.is_empty()));
    }
    check_secret(herd);
}

#[test]
fn later_answers_keep_their_place_and_others_never_wait() {
    let provider = Provider::start(Reply::Full(200, LEGACY.to_owned()));
    let herd = plan(&provider.url()).start();
    let mut asker = Asker::at(&herd);
    provider.hold();
    let later = "IAMAT other +1+2 3";
    asker.client.send(format!("before\nWHATSAT kiwi 10 5\nnonsense\n{later}\nWHATSAT kiwi 0 0\n"));
    assert_eq!(asker.client.line(), "? before");
    provider.wait_held(1);
    // Others are answered meanwhile, also by what stands behind the question that waits.
    let mut other = herd.client("Hill");
    other.report(&iamat_at("third", "5"));
    wait_until("commands behind the question are read", || other.locate("other").is_some());
    provider.release();
    assert_eq!(asker.answer()["status"], "OK");
    assert_eq!(asker.client.line(), "? nonsense");
    assert_eq!(At::parse(&asker.client.line()).client, "other");
    assert_eq!(asker.answer()["status"], "ZERO_RESULTS");
}

#[test]
fn the_at_line_and_its_document_leave_together() {
    let provider = Provider::start(Reply::Full(200, LEGACY.to_owned()));
    let herd = plan(&provider.url()).start();
    let mut asker = Asker::at(&herd);
    provider.hold();
    asker.client.send("WHATSAT kiwi 10 5\n");
    provider.wait_held(1);
    // What the server had to send before the provider was asked has been sent by the time that it has
    // answered somebody else.
    for _ in 0..20 {
        herd.client("Hill").report(&iamat_at("other", "5"));
    }
    let early = asker.client.arrived();
    provider.release();
    assert_eq!(early.escape_ascii().to_string(), "", "sent before its document");
    asker.answer();
}

#[test]
fn identical_questions_in_flight_are_put_once() {
    let provider = Provider::start(Reply::Full(200, LEGACY.to_owned()));
    let herd = plan(&provider.url()).start();
    provider.hold();
    let mut askers: Vec<Asker> = Asker::several(&herd, 10);
    for asker in &mut askers {
        asker.client.send("WHATSAT kiwi 10 5\nread\n");
    }
    provider.wait_held(1);
    wait_until("all questions are read", || asked(&herd) >= 10.0);
    provider.release();
    for asker in &mut askers {
        assert_eq!(asker.answer()["status"], "OK");
        assert_eq!(asker.client.line(), "? read");
    }
    assert_eq!(provider.calls().len(), 1);
    // An answer is not kept: who asks later asks anew.
    askers[0].ask("10", 5);
    assert_eq!(provider.calls().len(), 2);
}

#[test]
fn only_so_many_questions_are_in_flight() {
    const MOST: usize = 3;
    let provider = Provider::start(Reply::Full(200, LEGACY.to_owned()));
    let herd = plan(&provider.url()).set("places.google.max_in_flight", MOST).start();
    provider.hold();
    let mut askers: Vec<Asker> = Asker::several(&herd, 8);
    for (number, asker) in askers.iter_mut().enumerate() {
        asker.client.send(format!("WHATSAT kiwi {} 5\n", number + 1));
    }
    provider.wait_held(MOST);
    wait_until("all questions are read", || asked(&herd) >= 8.0);
    for answered in 1..=5 {
        provider.release_one();
        wait_until("another takes its place", || provider.calls().len() == MOST + answered);
    }
    settled("no more are put", || provider.calls().len());
    provider.release();
    for asker in &mut askers {
        assert_eq!(asker.answer()["status"], "OK");
    }
    assert_eq!((provider.held_most(), provider.calls().len()), (MOST, 8));
}

#[test]
fn many_questions_of_one_client_are_bounded_and_answered_in_order() {
    let provider = Provider::start(Reply::Full(200, LEGACY.to_owned()));
    let herd = plan(&provider.url()).set("limits.max_waiting_answers", 4).start();
    let mut asker = Asker::at(&herd);
    provider.hold();
    let questions: Vec<String> =
        (1..=20).map(|n| format!("WHATSAT kiwi {n} 5\nnumber {n}\n")).collect();
    asker.client.send(questions.concat());
    provider.wait_held(4);
    settled("no more are put", || provider.calls().len());
    assert_eq!(provider.calls().len(), 4);
    provider.release();
    for number in 1..=20 {
        assert_eq!(asker.answer()["status"], "OK");
        assert_eq!(asker.client.line(), format!("? number {number}"));
    }
}

#[test]
fn a_key_that_is_not_there_is_told_by_its_variable() {
    let herd = plan("http://127.0.0.1:9").set("places.google.api_key_env", "\"NO_KEY\"").lay_out();
    let output = herd.command("Hill").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("NO_KEY") && said.contains("Hill.toml:"), "{said}");
}

/// How many questions about known clients a server has read.
fn asked(herd: &Herd) -> f64 {
    let metrics = herd.metrics("Hill");
    metrics.value("geoherd_messages_total{kind=\"whatsat\",outcome=\"answered\"}")
}
