//! Who is where in the measures: chance, a city, and both indexes of it.

use anyhow::{Context as _, Result};
use herd_geo::{EARTH_RADIUS_M, Point, UnitVector};
use herd_index::Index;
use rstar::RTree;
use rstar::primitives::GeomWithData;
use std::time::Instant;

pub(crate) fn index_of(at: &[Point]) -> Result<Index<u32>> {
    let mut index = Index::new();
    for (key, &point) in at.iter().enumerate() {
        index.put(u32::try_from(key)?, point);
    }
    Ok(index)
}

pub(crate) type Leaf = GeomWithData<[f64; 3], u32>;

pub(crate) fn leaf(key: usize, point: Point) -> Leaf {
    // Keys were counted from zero and are fewer than 2^32.
    GeomWithData::new(UnitVector::from(point).0, u32::try_from(key).unwrap_or(u32::MAX))
}

pub(crate) fn rtree_of(at: &[Point]) -> RTree<Leaf> {
    RTree::bulk_load(at.iter().enumerate().map(|(key, &point)| leaf(key, point)).collect())
}

pub(crate) fn nanos(since: Instant, count: usize) -> f64 {
    since.elapsed().as_secs_f64() * 1e9 / count.max(1) as f64
}

pub(crate) const LAT_DEG: f64 = 34.05;
pub(crate) const LON_DEG: f64 = -118.25;

/// Some meters north and east of a place.
pub(crate) fn offset(from: Point, north_m: f64, east_m: f64) -> Result<Point> {
    let north_deg = (north_m / EARTH_RADIUS_M).to_degrees();
    let wide = from.lat_deg().to_radians().cos();
    let east_deg = (east_m / EARTH_RADIUS_M / wide).to_degrees();
    Point::new(from.lat_deg() + north_deg, from.lon_deg() + east_deg).context("off the globe")
}

/// Numbers that look random and are the same in every run.
#[derive(Debug)]
pub(crate) struct Chance(pub(super) u64);

impl Chance {
    /// Vigna's `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to 1.
    pub(crate) fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // The remainder is less than a usize.
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }

    pub(crate) fn near(&mut self, from: Point, reach_m: f64) -> Result<Point> {
        let (north, east) = (self.part() * 2.0 - 1.0, self.part() * 2.0 - 1.0);
        offset(from, north * reach_m, east * reach_m)
    }

    /// Normal in both directions, most within a square of 30 km.
    pub(crate) fn in_city(&mut self) -> Result<Point> {
        const SIGMA_M: f64 = 7500.0;
        let away = (-2.0 * (1.0 - self.part()).ln()).sqrt() * SIGMA_M;
        let (sin, cos) = (self.part() * std::f64::consts::TAU).sin_cos();
        offset(middle()?, away * sin, away * cos)
    }
}

pub(crate) fn middle() -> Result<Point> {
    Ok(Point::new(LAT_DEG, LON_DEG)?)
}
