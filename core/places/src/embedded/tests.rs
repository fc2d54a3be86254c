//! The gazetteer against brute force, and its answers member by member.

use super::*;
use herd_geo::{Point, distance_m};
use proptest::prelude::*;

#[test]
fn a_result_has_google_s_form_and_only_what_is_known() {
    let place = Place {
        id: "osm:n3223357289".to_owned(),
        types: words("restaurant food point_of_interest establishment"),
        address: "12 Triq ir-Repubblika".to_owned(),
        town: "Valletta".to_owned(),
        region: "Malta".to_owned(),
        opening_hours: "24/7".to_owned(),
        ..place(35.898_9, 14.512, "Caffe \"Cordina\"")
    };
    let gazetteer = Gazetteer::new(&[place]);
    assert_eq!(
        gazetteer.nearby(&query(35.9, 14.51, 1000.0, 5), 0).as_str(),
        r#"{
   "html_attributions" : [
      "© \u003ca href=\"https://www.openstreetmap.org/copyright\"\u003eOpenStreetMap contributors\u003c/a\u003e, ODbL"
   ],
   "results" : [
      {
         "business_status" : "OPERATIONAL",
         "geometry" : {
            "location" : {
               "lat" : 35.8989,
               "lng" : 14.512
            },
            "viewport" : {
               "northeast" : {
                  "lat" : 35.9002,
                  "lng" : 14.5133
               },
               "southwest" : {
                  "lat" : 35.8976,
                  "lng" : 14.5107
               }
            }
         },
         "name" : "Caffe \"Cordina\"",
         "opening_hours" : {
            "open_now" : true
         },
         "place_id" : "osm:n3223357289",
         "plus_code" : {
            "compound_code" : "VGX6+HR Valletta, Malta",
            "global_code" : "8F7PVGX6+HR"
         },
         "reference" : "osm:n3223357289",
         "scope" : "OSM",
         "types" : [ "restaurant", "food", "point_of_interest", "establishment" ],
         "vicinity" : "12 Triq ir-Repubblika, Valletta"
      }
   ],
   "status" : "OK"
}"#
    );
}

#[test]
fn a_place_without_an_id_has_one_that_lasts() {
    let town = Place {
        source: Source::GeoNames,
        types: words("locality political"),
        town: "Westwood".to_owned(),
        ..place(34.056_11, -118.430_56, "Westwood")
    };
    let document = Gazetteer::new(&[town]).nearby(&query(34.0, -118.4, 50_000.0, 5), 0);
    let result = &results(&document)[0];
    assert_eq!(result["place_id"], "geonames:f34744b8136d5086");
    assert_eq!(result["scope"], "GEONAMES");
    assert_eq!(result["vicinity"], "Westwood");
    assert!(result.get("business_status").is_none() && result.get("opening_hours").is_none());
}

#[test]
fn a_radius_of_zero_finds_what_is_exactly_there() {
    let places = [place(90.0, 0.0, "pole"), place(0.0, 180.0, "line"), place(35.9, 14.5, "malta")];
    let gazetteer = Gazetteer::new(&places);
    for (lat, lon, name) in [
        (90.0, 123.0, "pole"),
        (0.0, -180.0, "line"),
        (35.9, 14.5, "malta"),
        (35.900_000_1, 14.5, ""),
    ] {
        let document = gazetteer.nearby(&query(lat, lon, 0.0, 20), 0);
        let names: Vec<_> = results(&document).iter().map(|r| r["name"].clone()).collect();
        let expected = if name.is_empty() { vec![] } else { vec![serde_json::json!(name)] };
        assert_eq!(names, expected, "{lat} {lon}");
    }
}

#[test]
fn nothing_asked_is_nothing_found() {
    let gazetteer = Gazetteer::new(&[place(0.0, 0.0, "a")]);
    for query in [
        query(0.0, 0.0, 10.0, 0),
        query(0.0, 0.0, f64::NAN, 5),
        query(0.0, 0.0, -1.0, 5),
        query(1.0, 0.0, 10.0, 5),
    ] {
        assert_eq!(gazetteer.nearby(&query, 0), Document::empty());
    }
    assert_eq!(Gazetteer::new(&[]).nearby(&query(0.0, 0.0, 10.0, 5), 0), Document::empty());
}

#[test]
fn what_is_printed_once_still_opens_and_closes() {
    let hours = |text: &str| Place { opening_hours: text.to_owned(), ..place(35.9, 14.5, "x") };
    let gazetteer = Gazetteer::new(&[hours("Mo-Su 09:00-17:00"), place(35.9, 14.6, "y")]);
    let day = |second: i64| {
        let document = gazetteer.nearby(&query(35.9, 14.5, 50_000.0, 2), second);
        let all = results(&document);
        assert_eq!(all[1].get("opening_hours"), None);
        all[0]["opening_hours"]["open_now"].clone()
    };
    let noon = 1_704_106_800;
    assert_eq!([noon, noon + 43_200, noon + 86_400].map(day), [true, false, true]);
}

#[test]
fn viewports_end_at_the_poles_and_wrap_at_the_date_line() {
    assert_eq!(north(899_999_999, VIEW_E7), 900_000_000);
    assert_eq!(east(1_799_999_999, VIEW_E7), -1_799_987_001);
    assert_eq!(east(-1_800_000_000, -VIEW_E7), 1_799_987_000);
    for (e7, text) in [
        (0, "0"),
        (-5, "-0.0000005"),
        (140_000_000, "14"),
        (-1_184_451_270, "-118.445127"),
        (i32::MIN, "-214.7483648"),
    ] {
        let mut printer = Printer::default();
        printer.e7(e7);
        assert_eq!(printer.finish(), text);
    }
}

proptest! {
    /// Against a loop over all places; points cluster at the poles, on the date line and on one another.
    #[test]
    fn finds_what_a_loop_finds(
        points in proptest::collection::vec(any_point(), 0..120),
        center in any_point(),
        radius_m in prop_oneof![Just(0.0), 0.0..50_000.0],
        bound in 0_u8..=20,
    ) {
        let places: Vec<_> = points.iter().map(|&(lat, lon)| place(lat, lon, "x")).collect();
        let gazetteer = Gazetteer::new(&places);
        let query = query(center.0, center.1, radius_m, bound);
        let mut expected: Vec<(u64, u32)> = (0..)
            .zip(&places)
            .map(|(index, place)| (micrometers(distance_m(query.center, place.point)), index))
            .filter(|&(away, _)| away <= micrometers(radius_m))
            .collect();
        expected.sort_unstable();
        expected.truncate(usize::from(bound));
        let expected: Vec<u32> = expected.into_iter().map(|(_, index)| index).collect();
        prop_assert_eq!(gazetteer.nearest(&query), expected);
        let document = gazetteer.nearby(&query, 1_700_000_000);
        prop_assert!(!document.as_str().contains("\n\n"));
        prop_assert_eq!(results(&document).len(), gazetteer.nearest(&query).len());
    }
}

fn any_point() -> impl Strategy<Value = (f64, f64)> {
    let near = |around: f64| (-3000_i32..=3000).prop_map(move |e4| around + f64::from(e4) / 1e4);
    prop_oneof![
        3 => (near(35.9), near(14.5)),
        1 => Just((35.9, 14.5)),
        2 => ((0..=3000_i32).prop_map(|e4| 90.0 - f64::from(e4) / 1e4), -180.0..=180.0),
        1 => (Just(-90.0), -180.0..=180.0),
        2 => (near(0.0), (0..=3000_i32).prop_map(|e4| 180.0 - f64::from(e4) / 1e4)),
        2 => (near(0.0), (0..=3000_i32).prop_map(|e4| f64::from(e4) / 1e4 - 180.0)),
    ]
    // As a table keeps them.
    .prop_map(|(lat, lon)| ((lat * 1e7).round() / 1e7, (lon * 1e7).round() / 1e7))
}

fn results(document: &Document) -> Vec<serde_json::Value> {
    let read: serde_json::Value = serde_json::from_str(document.as_str()).unwrap();
    read["results"].as_array().unwrap().clone()
}

fn query(lat: f64, lon: f64, radius_m: f64, bound: u8) -> Query {
    Query { center: Point::new(lat, lon).unwrap(), radius_m, bound }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn place(lat: f64, lon: f64, name: &str) -> Place {
    Place {
        point: Point::new(lat, lon).unwrap(),
        source: Source::OpenStreetMap,
        id: String::new(),
        name: name.to_owned(),
        types: Vec::new(),
        address: String::new(),
        town: String::new(),
        region: String::new(),
        opening_hours: String::new(),
    }
}
