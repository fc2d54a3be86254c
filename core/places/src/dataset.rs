//! Place records and the compact table in which they are embedded.
//!
//! A build script encodes, the server decodes. The table is columns of small numbers over a pool of
//! distinct texts, which a general compressor then shrinks well; compressing is left to whoever
//! stores it, so that this module needs no dependency and a build script nothing but this module.
//!
//! ```text
//! "herdpl" version:u8
//! texts:n  length:n × texts  bytes (UTF-8)             text 0 is the empty one and is not stored
//! places:n  nine columns, each of one n or z a place:
//!     z lat_e7, z lon_e7, n source, z id, z name, z types, z address, z town, z region, z hours
//! ```
//!
//! `n` is LEB128; `z` is the zigzag of the difference to the place before, as LEB128. Texts are
//! referred to by number. Anything that is added changes the version.

use herd_geo::Point;
use std::collections::BTreeMap;

/// Where a place is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// OpenStreetMap (ODbL).
    OpenStreetMap,
    /// GeoNames (CC BY 4.0).
    GeoNames,
    /// The data of the crate airport-data (CC BY 4.0).
    Airports,
}

impl Source {
    /// All sources, in the order of their numbers in a table.
    pub const ALL: [Self; 3] = [Self::OpenStreetMap, Self::GeoNames, Self::Airports];
}

/// One place.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Where it is. A table keeps 1e-7 degrees, which is a centimeter.
    pub point: Point,
    /// Where it is known from.
    pub source: Source,
    /// Its id, with a prefix that says whose it is: `osm:n3223357289`, `iata:LAX`. Empty if the source
    /// has none; then one is derived from name and position.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What it is, in Google's words, most special first. Words have no blanks.
    pub types: Vec<String>,
    /// Street and number. May be empty.
    pub address: String,
    /// The town it is in or nearest to; for a town, itself. Must be near enough for a plus code to be
    /// shortened by it (0.3 degrees), else empty.
    pub town: String,
    /// What follows the town in an address: `Malta`, or `California, US`. May be empty.
    pub region: String,
    /// When it is open, as an OpenStreetMap `opening_hours` expression in central European time. May
    /// be empty.
    pub opening_hours: String,
}

/// Encodes places, in their order, as a table that [`Table::decode`] reads.
pub fn encode(places: &[Place]) -> Vec<u8> {
    Table::new(places).encode()
}

/// Places in memory: a few bytes each beside their distinct texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    rows: Vec<Row>,
    pool: String,
    /// Where each text ends in the pool; the first is the empty text.
    ends: Vec<u32>,
}

/// One place of a [`Table`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlaceRef<'a> {
    /// 1e-7 degrees north, within ±90 degrees.
    pub lat_e7: i32,
    /// 1e-7 degrees east, within ±180 degrees.
    pub lon_e7: i32,
    /// As [`Place::source`].
    pub source: Source,
    /// As [`Place::id`].
    pub id: &'a str,
    /// As [`Place::name`].
    pub name: &'a str,
    /// As [`Place::types`], parted by blanks.
    pub types: &'a str,
    /// As [`Place::address`].
    pub address: &'a str,
    /// As [`Place::town`].
    pub town: &'a str,
    /// As [`Place::region`].
    pub region: &'a str,
    /// As [`Place::opening_hours`].
    pub opening_hours: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    lat_e7: i32,
    lon_e7: i32,
    source: Source,
    /// Numbers of texts: id, name, types, address, town, region, hours.
    texts: [u32; TEXTS],
}

/// How many texts a place has.
const TEXTS: usize = 7;

impl Table {
    /// A table of `places`, in their order.
    pub fn new(places: &[Place]) -> Self {
        let mut texts = Texts::default();
        let rows = places.iter().map(|place| Row {
            lat_e7: e7(place.point.lat_deg()),
            lon_e7: e7(place.point.lon_deg()),
            source: place.source,
            texts: [
                texts.number(&place.id),
                texts.number(&place.name),
                texts.number(&place.types.join(" ")),
                texts.number(&place.address),
                texts.number(&place.town),
                texts.number(&place.region),
                texts.number(&place.opening_hours),
            ],
        });
        let rows = rows.collect();
        Self { rows, pool: texts.pool, ends: texts.ends }
    }

    /// How many places there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The place at `index`, in the order in which places were given.
    pub fn get(&self, index: usize) -> Option<PlaceRef<'_>> {
        self.rows.get(index).map(|row| self.place(row))
    }

    /// All places, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = PlaceRef<'_>> {
        self.rows.iter().map(|row| self.place(row))
    }

    /// The bytes that [`decode`](Self::decode) reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = HEADER.to_vec();
        let lengths =
            self.ends.windows(2).map(|pair| pair.iter().rev().copied().reduce(|b, a| b - a));
        put_varint(self.ends.len().saturating_sub(1) as u64, &mut out);
        for length in lengths {
            put_varint(u64::from(length.unwrap_or_default()), &mut out);
        }
        out.extend_from_slice(self.pool.as_bytes());
        put_varint(self.rows.len() as u64, &mut out);
        put_column(self.rows.iter().map(|row| i64::from(row.lat_e7)), &mut out);
        put_column(self.rows.iter().map(|row| i64::from(row.lon_e7)), &mut out);
        for row in &self.rows {
            let number = Source::ALL.iter().position(|source| *source == row.source);
            put_varint(number.unwrap_or_default() as u64, &mut out);
        }
        for column in 0..TEXTS {
            let texts = |row: &Row| row.texts.get(column).copied().unwrap_or_default();
            put_column(self.rows.iter().map(|row| i64::from(texts(row))), &mut out);
        }
        out
    }

    /// Reads what [`encode`](Self::encode) has written. Takes no more memory than a small multiple of
    /// the bytes' length, whatever they say.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the bytes are no table, are of another version, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = bytes.strip_prefix(HEADER.as_slice()).ok_or(DecodeError::Header)?;
        let mut reader = Reader { rest: body };
        let count = reader.count(1)?;
        let mut ends = Vec::with_capacity(count + 1);
        let mut end = 0_u32;
        ends.push(0);
        for _ in 0..count {
            let length = u32::try_from(reader.varint()?).map_err(|_| DecodeError::Damaged)?;
            end = end.checked_add(length).ok_or(DecodeError::Damaged)?;
            ends.push(end);
        }
        let pool = std::str::from_utf8(reader.take(end as usize)?);
        let pool = pool.map_err(|_| DecodeError::Damaged)?.to_owned();
        if !ends.iter().all(|&end| pool.is_char_boundary(end as usize)) {
            return Err(DecodeError::Damaged);
        }
        // A place has a byte in every column.
        let count = reader.count(3 + TEXTS)?;
        let row = Row { lat_e7: 0, lon_e7: 0, source: Source::OpenStreetMap, texts: [0; TEXTS] };
        let mut rows = vec![row; count];
        reader.column(&mut rows, 90 * E7, |row| &mut row.lat_e7)?;
        reader.column(&mut rows, 180 * E7, |row| &mut row.lon_e7)?;
        for row in &mut rows {
            let number = usize::try_from(reader.varint()?).map_err(|_| DecodeError::Damaged)?;
            row.source = *Source::ALL.get(number).ok_or(DecodeError::Damaged)?;
        }
        for column in 0..TEXTS {
            let mut number = 0_i64;
            for row in &mut rows {
                number = number.checked_add(reader.zigzag()?).ok_or(DecodeError::Damaged)?;
                let known = usize::try_from(number).is_ok_and(|number| number < ends.len());
                let text = u32::try_from(number).map_err(|_| DecodeError::Damaged)?;
                match row.texts.get_mut(column) {
                    Some(place) if known => *place = text,
                    _ => return Err(DecodeError::Damaged),
                }
            }
        }
        if !reader.rest.is_empty() {
            return Err(DecodeError::Damaged);
        }
        Ok(Self { rows, pool, ends })
    }

    fn place(&self, row: &Row) -> PlaceRef<'_> {
        let [id, name, types, address, town, region, hours] = row.texts.map(|n| self.text(n));
        PlaceRef {
            lat_e7: row.lat_e7,
            lon_e7: row.lon_e7,
            source: row.source,
            id,
            name,
            types,
            address,
            town,
            region,
            opening_hours: hours,
        }
    }

    fn text(&self, number: u32) -> &str {
        let number = number as usize;
        let end = self.ends.get(number).copied().unwrap_or_default();
        let start = number.checked_sub(1).and_then(|before| self.ends.get(before).copied());
        self.pool.get(start.unwrap_or_default() as usize..end as usize).unwrap_or_default()
    }
}

impl PlaceRef<'_> {
    /// Where it is.
    ///
    /// # Panics
    ///
    /// If an angle is beyond its limit, which none in a [`Table`] is.
    pub fn point(&self) -> Point {
        // Dividing rounds once, so this is the double that the decimal text reads as.
        let (lat, lon) = (f64::from(self.lat_e7) / E7_F64, f64::from(self.lon_e7) / E7_F64);
        Point::new(lat, lon).expect("limits were checked when the table was made")
    }
}

/// Why bytes are no table.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They are no place table, or one of a version that is not read here.
    #[error("not a place table of version {VERSION}")]
    Header,
    /// They end early, or contradict themselves.
    #[error("damaged place table")]
    Damaged,
}

const VERSION: u8 = 1;
const HEADER: [u8; 7] = [b'h', b'e', b'r', b'd', b'p', b'l', VERSION];
const E7: i32 = 10_000_000;
const E7_F64: f64 = 1e7;

/// Distinct texts and their numbers.
struct Texts {
    numbers: BTreeMap<String, u32>,
    pool: String,
    ends: Vec<u32>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { numbers: BTreeMap::from([(String::new(), 0)]), pool: String::new(), ends: vec![0] }
    }
}

impl Texts {
    /// The number of `text`, a new one if need be. Beyond four gigabytes of texts, the empty one's.
    fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = u32::try_from(self.ends.len());
        let end = u32::try_from(self.pool.len() + text.len());
        let (Ok(number), Ok(end)) = (number, end) else { return 0 };
        self.pool.push_str(text);
        self.ends.push(end);
        self.numbers.insert(text.to_owned(), number);
        number
    }
}

/// 1e-7 degrees, within the limits of an angle of a [`Point`].
fn e7(angle_deg: f64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "at most 180e7, which fits")]
    let angle = (angle_deg * E7_F64).round() as i32;
    angle
}

fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

fn put_column(numbers: impl Iterator<Item = i64>, out: &mut Vec<u8>) {
    let mut last = 0;
    for number in numbers {
        let step = number - last;
        put_varint(((step << 1) ^ (step >> 63)).cast_unsigned(), out);
        last = number;
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Damaged)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(DecodeError::Damaged)?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(DecodeError::Damaged)
    }

    fn zigzag(&mut self) -> Result<i64, DecodeError> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// A count of things of which each still takes `bytes_min` bytes or more.
    fn count(&mut self, bytes_min: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.varint()?).map_err(|_| DecodeError::Damaged)?;
        let bytes = count.checked_mul(bytes_min).ok_or(DecodeError::Damaged)?;
        if bytes <= self.rest.len() { Ok(count) } else { Err(DecodeError::Damaged) }
    }

    fn column(
        &mut self,
        rows: &mut [Row],
        limit: i32,
        field: impl Fn(&mut Row) -> &mut i32,
    ) -> Result<(), DecodeError> {
        let mut last = 0_i64;
        for row in rows {
            last = last.checked_add(self.zigzag()?).ok_or(DecodeError::Damaged)?;
            let angle = i32::try_from(last).map_err(|_| DecodeError::Damaged)?;
            if angle.abs() > limit {
                return Err(DecodeError::Damaged);
            }
            *field(row) = angle;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn other_bytes_are_told_from_damaged_ones() {
        let good = encode(&[place(0, 0, "x")]);
        assert_eq!(Table::decode(b""), Err(DecodeError::Header));
        assert_eq!(Table::decode(b"herdpl\x02"), Err(DecodeError::Header));
        assert_eq!(Table::decode(&good[..good.len() - 1]), Err(DecodeError::Damaged));
        assert_eq!(Table::decode(&[&good[..], b"\0"].concat()), Err(DecodeError::Damaged));
        // A count that promises more than there is takes no memory.
        let huge = [&HEADER[..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]].concat();
        assert_eq!(Table::decode(&huge), Err(DecodeError::Damaged));
    }

    #[test]
    fn the_first_version_is_still_read() {
        let bytes = b"herdpl\x01\x02\x01\x02A\xc3\xa9\x01\x14\x27\x01\x00\x02\x00\x00\x04\x00\x00";
        let table = Table::decode(bytes).unwrap();
        let place = table.get(0).unwrap();
        assert_eq!((place.lat_e7, place.lon_e7, place.source), (10, -20, Source::GeoNames));
        assert_eq!((place.name, place.town, place.id), ("A", "é", ""));
        assert_eq!(table.encode(), bytes);
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            places in proptest::collection::vec(
                (-900_000_000..=900_000_000_i32, -1_800_000_000..=1_800_000_000_i32, "[a-cé]{0,2}"),
                0..20,
            )
        ) {
            let places: Vec<_> = places.iter().map(|(lat, lon, text)| place(*lat, *lon, text)).collect();
            let table = Table::decode(&encode(&places)).unwrap();
            prop_assert_eq!(table.len(), places.len());
            for (got, expected) in table.iter().zip(&places) {
                prop_assert_eq!(got.point(), expected.point);
                prop_assert_eq!(got.name, &expected.name);
                prop_assert_eq!(got.types, expected.types.join(" "));
                prop_assert_eq!(got.opening_hours, &expected.opening_hours);
            }
        }

        #[test]
        fn any_bytes_give_a_table_or_an_error(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..80), cut in 0_usize..90, at in any::<usize>(),
        ) {
            // Both noise after a header and a table with one byte changed.
            bytes.splice(0..0, HEADER);
            drop(Table::decode(&bytes));
            let mut good = encode(&[place(1, 2, "a"), place(-3, 4, "bé")]);
            let at = at % good.len();
            good[at] = bytes[bytes.len() - 1];
            good.truncate(cut);
            if let Ok(table) = Table::decode(&good) {
                prop_assert!(table.iter().all(|place| place.point().lat_deg() <= 90.0));
            }
        }
    }

    fn place(lat_e7: i32, lon_e7: i32, text: &str) -> Place {
        Place {
            point: Point::new(f64::from(lat_e7) / 1e7, f64::from(lon_e7) / 1e7).unwrap(),
            source: Source::Airports,
            id: format!("{text}1"),
            name: text.to_owned(),
            types: vec![text.to_owned(), "t".to_owned()],
            address: String::new(),
            town: "town".to_owned(),
            region: text.repeat(2),
            opening_hours: "24/7".to_owned(),
        }
    }
}
