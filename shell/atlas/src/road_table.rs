//! The roads as a build script writes them and the server reads them. No dependency, because both
//! sides compile this file.
//!
//! ```text
//! "herdrd" version:u8
//! names:n  (length:n bytes) × names                    name 0 is the empty one and is not stored
//! nodes:n  z lat_e6 × nodes  z lon_e6 × nodes
//! ways:n   (class:u8 travel:u8 name:n count:n z node × count) × ways
//! ```
//!
//! `n` is LEB128; `z` is the zigzag of the difference to the value before (for nodes of ways: to the
//! node before, also across ways), as LEB128. Anything that is added changes the version.

/// Roads as nodes and the ways over them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RoadTable {
    /// Distinct street names; the first is the empty one.
    pub(crate) names: Vec<String>,
    /// Latitude and longitude, 1e-6 degrees: a decimeter, finer than the survey.
    pub(crate) nodes: Vec<(i32, i32)>,
    pub(crate) ways: Vec<WayRecord>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WayRecord {
    /// Number of the class, see `RoadClass::ALL`.
    pub(crate) class: u8,
    /// Bits: see the constants below.
    pub(crate) travel: u8,
    pub(crate) name: u32,
    /// Two or more, in the direction of travel if there is only one.
    pub(crate) nodes: Vec<u32>,
}

/// May be walked.
pub(crate) const WALK: u8 = 1;
/// May be cycled along its nodes.
pub(crate) const CYCLE: u8 = 2;
/// May be driven along its nodes.
pub(crate) const DRIVE: u8 = 4;
/// May be cycled against the order of its nodes.
pub(crate) const CYCLE_BACK: u8 = 8;
/// May be driven against the order of its nodes.
pub(crate) const DRIVE_BACK: u8 = 16;

const HEADER: &[u8] = b"herdrd\x01";
const LAT_E6_MAX: i64 = 90_000_000;
const LON_E6_MAX: i64 = 180_000_000;

impl RoadTable {
    /// The bytes that [`decode`](Self::decode) reads.
    #[cfg_attr(not(test), allow(dead_code, reason = "only the build script and tests write"))]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = HEADER.to_vec();
        put(self.names.len().saturating_sub(1) as u64, &mut out);
        for name in self.names.iter().skip(1) {
            put(name.len() as u64, &mut out);
            out.extend_from_slice(name.as_bytes());
        }
        put(self.nodes.len() as u64, &mut out);
        let mut last = 0;
        for &(lat, _) in &self.nodes {
            put_step(lat.into(), &mut last, &mut out);
        }
        last = 0;
        for &(_, lon) in &self.nodes {
            put_step(lon.into(), &mut last, &mut out);
        }
        put(self.ways.len() as u64, &mut out);
        last = 0;
        for way in &self.ways {
            out.extend([way.class, way.travel]);
            put(way.name.into(), &mut out);
            put(way.nodes.len() as u64, &mut out);
            for &node in &way.nodes {
                put_step(node.into(), &mut last, &mut out);
            }
        }
        out
    }

    /// Reads what [`encode`](Self::encode) has written; `None` if the bytes are anything else. Every
    /// name and node that a way refers to exists afterwards.
    #[cfg_attr(not(test), allow(dead_code, reason = "the build script only writes"))]
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { rest: bytes.strip_prefix(HEADER)? };
        let mut names = vec![String::new()];
        for _ in 0..reader.count(1)? {
            let length = reader.count(1)?;
            names.push(std::str::from_utf8(reader.take(length)?).ok()?.to_owned());
        }
        let count = reader.count(2)?;
        let mut nodes = vec![(0, 0); count];
        let mut last = 0;
        for node in &mut nodes {
            node.0 = reader.step(&mut last, -LAT_E6_MAX, LAT_E6_MAX)?;
        }
        last = 0;
        for node in &mut nodes {
            node.1 = reader.step(&mut last, -LON_E6_MAX, LON_E6_MAX)?;
        }
        let last_node = i64::try_from(count).ok()? - 1;
        let mut ways = Vec::with_capacity(reader.count(4)?);
        last = 0;
        for _ in 0..ways.capacity() {
            let &[class, travel] = reader.take(2)? else { return None };
            let name = u32::try_from(reader.number()?).ok()?;
            if name as usize >= names.len() {
                return None;
            }
            let count = reader.count(1)?;
            let mut nodes = Vec::with_capacity(count);
            for _ in 0..count {
                nodes.push(reader.step(&mut last, 0, last_node)?.cast_unsigned());
            }
            ways.push(WayRecord { class, travel, name, nodes });
        }
        reader.rest.is_empty().then_some(Self { names, nodes, ways })
    }
}

fn put(mut number: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

fn put_step(value: i64, last: &mut i64, out: &mut Vec<u8>) {
    let step = value - *last;
    *last = value;
    put(((step << 1) ^ (step >> 63)).cast_unsigned(), out);
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// A count of things that take `bytes_min` bytes each or more, so that no count takes memory that
    /// is not a small multiple of the bytes.
    fn count(&mut self, bytes_min: usize) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count.checked_mul(bytes_min)? <= self.rest.len()).then_some(count)
    }

    fn step(&mut self, last: &mut i64, min: i64, max: i64) -> Option<i32> {
        let number = self.number()?;
        let step = (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
        *last = last.checked_add(step)?;
        if (min..=max).contains(last) { i32::try_from(*last).ok() } else { None }
    }
}
