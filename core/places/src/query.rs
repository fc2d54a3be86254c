//! The question: where, how far, how many.

use herd_geo::Point;

/// The largest radius that may be asked for, meters: Google's limit, and therefore WHATSAT's.
pub const RADIUS_M_MAX: f64 = 50_000.0;

/// The most results that may be asked for: one page of Google's.
pub const BOUND_MAX: u8 = 20;

/// Asks for at most `bound` places within `radius_m` meters of `center`.
///
/// The fields are limited by whoever reads a query off the wire. A value beyond its limit is never
/// unsafe here: it is clamped, and a radius that is not a number finds nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The middle of the circle.
    pub center: Point,
    /// The radius of the circle in meters, 0 to [`RADIUS_M_MAX`]. Zero is legal: it asks for what lies
    /// exactly at the point.
    pub radius_m: f64,
    /// How many results may be returned, 0 to [`BOUND_MAX`]. Zero is legal and has no results.
    pub bound: u8,
}

impl Query {
    /// Whether a remote provider need not be asked: it would have to answer nothing. At a radius of
    /// zero only the embedded places can say what lies exactly there.
    pub(crate) fn is_empty_for_providers(&self) -> bool {
        // Written so that NaN is empty: it compares false with everything.
        let asks = self.bound > 0 && self.radius_m > 0.0;
        !asks
    }

    /// The bound as it goes to a provider.
    pub(crate) fn bound_clamped(&self) -> usize {
        usize::from(self.bound.clamp(1, BOUND_MAX))
    }

    /// The radius as it goes to a provider: meters with at most three decimals, so that kilometers
    /// times thousand do not show their rounding.
    pub(crate) fn radius_m_clamped(&self) -> f64 {
        (self.radius_m.clamp(0.001, RADIUS_M_MAX) * 1000.0).round() / 1000.0
    }
}
