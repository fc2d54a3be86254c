//! Fields with numbers for names: what one version writes, another can read as far as it knows it.
//!
//! A field is a tag, a length and bytes, the first two varints (LEB128). A reader skips the tags that
//! it does not know, so later versions may add some; what a tag means never changes.

use crate::varint::{Reader, write_bytes, write_numbers};

/// The bytes of one field; what they are is known from its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a>(pub &'a [u8]);

impl<'a> Field<'a> {
    /// As a number, if they are exactly one.
    pub fn number(self) -> Option<u64> {
        let mut reader = Reader(self.0);
        reader.number().filter(|_| reader.0.is_empty())
    }

    /// As text, if they are UTF-8.
    pub fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }
}

/// Appends a field with these bytes.
pub fn write_field(tag: u64, bytes: &[u8], out: &mut Vec<u8>) {
    write_numbers([tag], out);
    write_bytes(bytes, out);
}

/// Appends a field with a number.
pub fn write_number_field(tag: u64, number: u64, out: &mut Vec<u8>) {
    let mut bytes = Vec::new();
    write_numbers([number], &mut bytes);
    write_field(tag, &bytes, out);
}

/// All fields in their order, up to the end or to where the bytes are no fields any more.
pub fn fields(bytes: &[u8]) -> impl Iterator<Item = (u64, Field<'_>)> {
    let mut reader = Reader(bytes);
    std::iter::from_fn(move || Some((reader.number()?, Field(reader.bytes()?))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        write_field(1, "Ħill".as_bytes(), &mut bytes);
        write_number_field(700, u64::MAX, &mut bytes);
        write_field(1, b"", &mut bytes);
        let read: Vec<_> = fields(&bytes).collect();
        assert_eq!(read[0], (1, Field("Ħill".as_bytes())));
        assert_eq!((read[1].0, read[1].1.number()), (700, Some(u64::MAX)));
        assert_eq!((read[2].1.text(), read[2].1.number()), (Some(""), None));
        // A field that is cut short ends the list.
        assert_eq!(fields(&bytes[..bytes.len() - 3]).count(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_some_fields(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let length: usize = fields(&bytes).map(|(_, field)| field.0.len()).sum();
            prop_assert!(length <= bytes.len());
        }
    }
}
