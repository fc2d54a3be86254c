//! The cube of all unit vectors in whole quanta, and the cells it is halved into.
//!
//! What is small is marked for inlining: the index is generic, so it is compiled in another crate, and
//! a call for each point doubles what a search costs.

use herd_geo::{Point, UnitVector, chord_squared};

/// Quanta in the radius of the earth: each is 3 mm long, and both ends of an axis fit 32 bits.
pub(crate) const RADIUS: f64 = 2_147_483_647.0;

/// How far, in quanta, a spot may lie from the vector that it stands for: half the diagonal of a
/// quantum is 0.866. The rest is room for the rounding of all arithmetic here and in
/// [`herd_geo::distance_m`], which stays below a thousandth of a quantum: 2^-53 of two radii.
pub(crate) const MARGIN: f64 = 0.9;

pub(crate) const AXES: [usize; 3] = [0, 1, 2];

/// A place in whole quanta from the lowest corner of the cube.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot(pub(crate) [u32; 3]);

impl From<Point> for Spot {
    #[inline]
    fn from(point: Point) -> Self {
        let UnitVector(vector) = point.into();
        Self(vector.map(quanta))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "cuts off the fraction on purpose; between -1 and 1 all fits, and what rounding adds saturates"
)]
#[inline]
fn quanta(component: f64) -> u32 {
    (component * RADIUS + (RADIUS + 0.5)) as u32
}

/// Where a search starts from: a place in quanta, not rounded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Center([f64; 3]);

impl From<Point> for Center {
    #[inline]
    fn from(point: Point) -> Self {
        let UnitVector(vector) = point.into();
        Self(vector.map(|component| component * RADIUS + RADIUS))
    }
}

impl Center {
    /// The squared distance to a spot.
    #[inline]
    pub(crate) fn squared(self, spot: Spot) -> f64 {
        let [x, y, z] = AXES.map(|axis| f64::from(spot.0[axis]) - self.0[axis]);
        x * x + y * y + z * z
    }
}

/// The straight line, in quanta, between two vectors whose great-circle distance is `distance_m`.
pub(crate) fn chord(distance_m: f64) -> f64 {
    chord_squared(distance_m).sqrt() * RADIUS
}

/// A box whose every side is a power of two long and begins at a multiple of its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    low: [u32; 3],
    /// A side's length less one: ones below, zeros above.
    reach: [u32; 3],
}

impl Cell {
    pub(crate) const WHOLE: Self = Self { low: [0; 3], reach: [u32::MAX; 3] };

    #[inline]
    pub(crate) fn contains(&self, spot: Spot) -> bool {
        let out = AXES.map(|axis| (spot.0[axis] ^ self.low[axis]) & !self.reach[axis]);
        out[0] | out[1] | out[2] == 0
    }

    /// The smallest cell around this one and a spot.
    #[inline]
    pub(crate) fn around(&self, spot: Spot) -> Self {
        let reach = AXES.map(|axis| {
            let differs = (self.low[axis] ^ spot.0[axis]) | self.reach[axis];
            u32::MAX.checked_shr(differs.leading_zeros()).unwrap_or(0)
        });
        Self { low: AXES.map(|axis| self.low[axis] & !reach[axis]), reach }
    }

    /// The spots that two cells share, which is a cell too; none if there are none.
    #[inline]
    pub(crate) fn common(&self, other: &Self) -> Option<Self> {
        let apart = AXES.map(|axis| {
            (self.low[axis] ^ other.low[axis]) & !(self.reach[axis] | other.reach[axis])
        });
        // Of two sides that overlap one contains the other, so the higher beginning is that of the shorter.
        (apart[0] | apart[1] | apart[2] == 0).then(|| Self {
            low: AXES.map(|axis| self.low[axis].max(other.low[axis])),
            reach: AXES.map(|axis| self.reach[axis].min(other.reach[axis])),
        })
    }

    /// The smallest cell around some spots; none around none.
    pub(crate) fn around_all(spots: impl IntoIterator<Item = Spot>) -> Option<Self> {
        let mut spots = spots.into_iter();
        let first = Self::from(spots.next()?);
        Some(spots.fold(first, |cell, spot| cell.around(spot)))
    }

    /// Whether it cannot be halved.
    pub(crate) fn is_quantum(&self) -> bool {
        self.reach == [0; 3]
    }

    /// Any of its spots.
    pub(crate) fn corner(&self) -> Spot {
        Spot(self.low)
    }

    /// Which half of the cell a spot in it lies in: 0 below, 1 above.
    #[inline]
    pub(crate) fn side(&self, axis: usize, spot: Spot) -> usize {
        let top_bit = self.reach[axis] ^ (self.reach[axis] >> 1);
        usize::from(spot.0[axis] & top_bit != 0)
    }

    /// One half: side 0 or 1 along an axis.
    #[inline]
    pub(crate) fn half(&self, axis: usize, side: usize) -> Self {
        let mut half = *self;
        half.reach[axis] >>= 1;
        if side == 1 {
            half.low[axis] |= self.reach[axis] ^ half.reach[axis];
        }
        half
    }

    /// An axis along which this cell's halves part a cell within it from a spot within it.
    pub(crate) fn parts(&self, within: &Self, spot: Spot) -> Option<usize> {
        AXES.into_iter().find(|&axis| {
            within.reach[axis] < self.reach[axis]
                && self.side(axis, within.corner()) != self.side(axis, spot)
        })
    }

    /// The squared distance to its nearest spot, and a bit less where the center lies between spots.
    #[inline]
    pub(crate) fn nearest_squared(&self, center: Center) -> f64 {
        let [x, y, z] = AXES.map(|axis| {
            let (low, high) = self.bounds(axis);
            (low - center.0[axis]).max(center.0[axis] - high).max(0.0)
        });
        x * x + y * y + z * z
    }

    /// The squared distance to its farthest spot.
    #[inline]
    pub(crate) fn farthest_squared(&self, center: Center) -> f64 {
        let [x, y, z] = AXES.map(|axis| {
            let (low, high) = self.bounds(axis);
            (center.0[axis] - low).max(high - center.0[axis])
        });
        x * x + y * y + z * z
    }

    /// The least and the greatest product of a vector with any of its spots, seen from the earth's
    /// center, in quanta.
    #[inline]
    pub(crate) fn products(&self, vector: [f64; 3]) -> (f64, f64) {
        let (mut least, mut greatest) = (0.0, 0.0);
        for axis in AXES {
            let (low, high) = self.bounds(axis);
            let (a, b) = ((low - RADIUS) * vector[axis], (high - RADIUS) * vector[axis]);
            least += a.min(b);
            greatest += a.max(b);
        }
        (least, greatest)
    }

    /// Its middle, seen from the earth's center, in quanta.
    pub(crate) fn middle(&self) -> [f64; 3] {
        AXES.map(|axis| {
            let (low, high) = self.bounds(axis);
            f64::midpoint(low, high) - RADIUS
        })
    }

    #[inline]
    fn bounds(&self, axis: usize) -> (f64, f64) {
        (f64::from(self.low[axis]), f64::from(self.low[axis] | self.reach[axis]))
    }
}

impl From<Spot> for Cell {
    #[inline]
    fn from(Spot(low): Spot) -> Self {
        Self { low, reach: [0; 3] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use herd_geo::distance_m;
    use proptest::prelude::*;

    #[test]
    fn poles_and_ends_of_axes_fit() {
        for (lat, lon) in [(90.0, 0.0), (-90.0, 7.0), (0.0, 180.0), (0.0, -180.0), (0.0, 0.0)] {
            let Spot(at) = Point::new(lat, lon).unwrap().into();
            assert!(at.iter().all(|&at| at < u32::MAX), "{at:?}");
        }
    }

    #[test]
    fn halves_part_and_cover() {
        let mut cell = Cell::WHOLE;
        let spot = Spot([0x1234_5678, 0xffff_ffff, 0]);
        for step in 0..96 {
            let axis = step % 3;
            let side = cell.side(axis, spot);
            assert!(!cell.half(axis, 1 - side).contains(spot), "{step}");
            cell = cell.half(axis, side);
            assert!(cell.contains(spot), "{step}");
        }
        assert!(cell.is_quantum());
        assert_eq!(cell.corner(), spot);
        let other = Spot([0x1234_5679, 0xffff_ffff, 0x8000_0000]);
        let both = cell.around(other);
        assert!(both.contains(spot) && both.contains(other));
        assert_eq!(both.parts(&cell, other), Some(0));
        assert_eq!(cell.around(spot), cell);
        assert_eq!(Cell::WHOLE.around(spot), Cell::WHOLE);
    }

    proptest! {
        #[test]
        fn a_chord_between_spots_is_within_the_margin(
            a in (-90.0..=90.0_f64, -180.0..=180.0_f64), b in (-90.0..=90.0_f64, -180.0..=180.0_f64),
            near: bool,
        ) {
            let from = Point::new(a.0, a.1).unwrap();
            let to = if near { (a.0 + b.0 * 1e-7, a.1 + b.1 * 1e-7) } else { b };
            let to = Point::new(to.0.clamp(-90.0, 90.0), to.1.clamp(-180.0, 180.0)).unwrap();
            let seen = Center::from(from).squared(to.into()).sqrt();
            let exact = chord(distance_m(from, to));
            prop_assert!((seen - exact).abs() < 0.88, "{} against {}", seen, exact);
        }

        #[test]
        fn a_cell_lies_between_its_nearest_and_farthest(
            center in (-90.0..=90.0, -180.0..=180.0), spot: [u32; 3], corner: [u32; 3],
        ) {
            let center = Center::from(Point::new(center.0, center.1).unwrap());
            let cell = Cell::from(Spot(corner)).around(Spot(spot));
            let squared = center.squared(Spot(spot));
            prop_assert!(cell.nearest_squared(center) <= squared);
            prop_assert!(squared <= cell.farthest_squared(center));
            let vector = [0.6, -0.48, 0.64];
            let (least, greatest) = cell.products(vector);
            let product: f64 = AXES.iter()
                .map(|&axis| (f64::from(spot[axis]) - RADIUS) * vector[axis]).sum();
            prop_assert!(least <= product + 1e-3 && product <= greatest + 1e-3);
        }
    }
}
