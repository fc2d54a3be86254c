//! Plus codes: a place as ten letters and digits, or as six and a town.
//!
//! Encoding is all that an answer needs. The crates that do it carry a command line parser or a
//! geometry library into every build.
//!
//! Source: Open Location Code specification 1.0, <https://github.com/google/open-location-code>.

/// The code of 10 digits, which names an area of 1/8000 degrees: `8F7PVGX6+HR`.
pub(crate) fn global_code(lat_e7: i32, lon_e7: i32) -> String {
    let mut lat = steps(i64::from(lat_e7) + 90 * E7).min(180 * STEPS_PER_DEGREE - 1);
    let mut lon = steps((i64::from(lon_e7) + 180 * E7).rem_euclid(360 * E7));
    let mut digits = ['2'; 10];
    for pair in digits.rchunks_exact_mut(2) {
        if let [lat_digit, lon_digit] = pair {
            *lat_digit = digit(lat % 20);
            *lon_digit = digit(lon % 20);
        }
        lat /= 20;
        lon /= 20;
    }
    let mut code: String = digits.iter().collect();
    code.insert(8, '+');
    code
}

/// The part of a global code that is left beside the name of a town within 0.3 degrees.
pub(crate) fn short_code(global_code: &str) -> &str {
    global_code.get(4..).unwrap_or_default()
}

const E7: i64 = 10_000_000;
/// The last digits count 20⁻³ degrees.
const STEPS_PER_DEGREE: i64 = 8000;

fn steps(e7: i64) -> i64 {
    e7 * STEPS_PER_DEGREE / E7
}

fn digit(value: i64) -> char {
    const ALPHABET: &[u8; 20] = b"23456789CFGHJMPQRVWX";
    let index = usize::try_from(value).unwrap_or_default();
    ALPHABET.get(index).copied().map_or('2', char::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_vectors() {
        for (lat, lon, code) in [
            (20.370_062_5, 2.782_187_5, "7FG49QCJ+2V"),
            (47.000_062_5, 8.000_062_5, "8FVC2222+22"),
            (-41.273_062_5, 174.785_937_5, "4VCPPQGP+Q9"),
            (0.5, -179.5, "62G2GG22+22"),
            (90.0, 1.0, "CFX3X2X2+X2"),
            (-90.0, -180.0, "22222222+22"),
            (1.0, 180.0, "62H22222+22"),
        ] {
            #[expect(clippy::cast_possible_truncation, reason = "angles fit")]
            let e7 = |deg: f64| (deg * 1e7).round() as i32;
            assert_eq!(global_code(e7(lat), e7(lon)), code, "{lat} {lon}");
        }
        assert_eq!(short_code("7FG49QCJ+2V"), "9QCJ+2V");
    }
}
