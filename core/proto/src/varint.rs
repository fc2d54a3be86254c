//! Numbers in as many bytes as they need (varints, LEB128), and bytes behind their length: what frames between
//! servers, journals and data sets are made of.

/// Bytes that are not read yet. What is malformed or cut short reads as `None`; nothing is believed of a
/// length but what is there.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// A varint, of ten bytes at most.
    #[inline]
    pub fn number(&mut self) -> Option<u64> {
        // Most are lengths and numbers of origins.
        if let Some((&byte @ ..0x80, rest)) = self.0.split_first() {
            self.0 = rest;
            return Some(byte.into());
        }
        self.long_number()
    }

    fn long_number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if bits.leading_zeros() < shift {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A varint that fits 16 bits.
    pub fn small(&mut self) -> Option<u16> {
        u16::try_from(self.number()?).ok()
    }

    /// A length, and as many bytes.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    /// A byte that is zero or one.
    pub fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// So many bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }
}

/// Appends varints.
#[inline]
pub fn write_numbers<const N: usize>(numbers: [u64; N], out: &mut Vec<u8>) {
    for mut number in numbers {
        while number >= 0x80 {
            // The low seven bits, and that more follow.
            out.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        out.push((number & 0x7f) as u8);
    }
}

/// Appends bytes behind their length.
pub fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_numbers([bytes.len() as u64], out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_varint_is_none() {
        for bytes in [&[][..], &[0x80], &[0xff; 10], &[0x80; 11]] {
            assert_eq!(Reader(bytes).number(), None, "{bytes:x?}");
        }
        assert_eq!(Reader(&[5, 1, 2]).bytes(), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u64, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            write_numbers([number, 7], &mut out);
            write_bytes(&bytes, &mut out);
            let mut reader = Reader(&out);
            prop_assert_eq!((reader.number(), reader.small()), (Some(number), Some(7)));
            prop_assert_eq!(reader.bytes(), Some(&*bytes));
            prop_assert!(reader.0.is_empty());
        }
    }
}
