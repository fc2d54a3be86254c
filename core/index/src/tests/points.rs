//! Points where mistakes are likely: poles, date line, cities, one quantum, one point.

use crate::{Area, Circle, Polygon, Rect};
use herd_geo::{Point, distance_m};
use proptest::prelude::*;

const CITIES: [(f64, f64); 7] = [
    (35.9, 14.5),
    (90.0, 0.0),
    (-90.0, 0.0),
    (0.0, 180.0),
    (0.0, 0.0),
    (-17.0, -179.999),
    (89.9999, 45.0),
];

/// A point some degrees away from another, over the pole or the date line if need be.
pub(super) fn shifted(lat_deg: f64, lon_deg: f64, north_deg: f64, east_deg: f64) -> Point {
    let (mut lat, mut lon) = (lat_deg + north_deg, lon_deg + east_deg);
    if lat.abs() > 90.0 {
        lat = lat.signum() * 180.0 - lat;
        lon += 180.0;
    }
    lon = (lon + 180.0).rem_euclid(360.0) - 180.0;
    Point::new(lat.clamp(-90.0, 90.0), lon.clamp(-180.0, 180.0)).unwrap()
}

/// Within some scale of one of the cities: from the width of an atom to that of a continent.
pub(super) fn around_city() -> impl Strategy<Value = Point> {
    let scale = prop::sample::select(vec![0.0, 1e-12, 1e-8, 1e-6, 1e-4, 1e-2, 1.0, 30.0]);
    (prop::sample::select(CITIES.to_vec()), scale, -1.0..=1.0, -1.0..=1.0)
        .prop_map(|((lat, lon), scale, north, east)| shifted(lat, lon, scale * north, scale * east))
}

pub(super) fn anywhere() -> impl Strategy<Value = Point> {
    (-90.0..=90.0, -180.0..=180.0).prop_map(|(lat, lon)| Point::new(lat, lon).unwrap())
}

/// Angles that many share, so that points coincide, at one place or under two names of it.
fn round() -> impl Strategy<Value = Point> {
    let lat = prop::sample::select(vec![-90.0, -89.0, -0.0, 0.0, 1.0, 90.0]);
    let lon = prop::sample::select(vec![-180.0, -179.0, -0.0, 0.0, 1.0, 180.0]);
    (lat, lon).prop_map(|(lat, lon)| Point::new(lat, lon).unwrap())
}

pub(super) fn point() -> impl Strategy<Value = Point> {
    prop_oneof![6 => around_city(), 1 => anywhere(), 2 => round()]
}

pub(super) fn radius() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(f64::INFINITY),
        Just(20_015_115.0),
        Just(-1.0),
        Just(f64::NAN),
        (-3.0..7.4).prop_map(|exponent: f64| 10.0_f64.powf(exponent)),
    ]
}

/// A center and the exact distance to another point, which is just within.
pub(super) fn exact_circle() -> impl Strategy<Value = (Point, f64)> {
    (point(), point()).prop_map(|(center, other)| (center, distance_m(center, other)))
}

pub(super) fn area() -> impl Strategy<Value = Area> {
    let circle = (point(), radius()).prop_map(|(at, radius_m)| Circle::new(at, radius_m).into());
    let exact = exact_circle().prop_map(|(at, radius_m)| Circle::new(at, radius_m).into());
    let rect = (point(), point()).prop_map(|(a, b)| {
        let (south, north) = if a.lat_deg() <= b.lat_deg() { (a, b) } else { (b, a) };
        Rect::new(south, north).unwrap().into()
    });
    prop_oneof![circle, exact, rect, polygon()]
}

/// Corners around a place, in disorder at times; a small circle where they make no polygon.
fn polygon() -> impl Strategy<Value = Area> {
    let corner = (0.0..360.0, 0.1..1.0);
    let scale = prop::sample::select(vec![1e-7, 1e-5, 1e-3, 0.1, 5.0, 50.0]);
    (point(), scale, prop::collection::vec(corner, 3..40), any::<bool>()).prop_map(
        |(at, scale, mut corners, sorted)| {
            if sorted {
                corners.sort_by(|a: &(f64, f64), b| a.0.total_cmp(&b.0));
            }
            let corner = |&(turn, reach): &(f64, f64)| {
                let (sin, cos) = turn.to_radians().sin_cos();
                let wide = at.lat_deg().to_radians().cos().max(0.01);
                shifted(at.lat_deg(), at.lon_deg(), scale * reach * sin, scale * reach * cos / wide)
            };
            let corners: Vec<Point> = corners.iter().map(corner).collect();
            let polygon = Polygon::new(&corners).map(Area::from);
            polygon.unwrap_or_else(|_| Circle::new(at, 1.0).into())
        },
    )
}
