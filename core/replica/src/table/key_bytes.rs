//! A key's bytes, kept where the key is if they are few, as a client's name nearly always is: one place in memory
//! less to look at for each update, and no allocation.

/// Most names, and a key's slot is then one line of the cache, with nothing left over.
const INLINE_BYTES_MAX: usize = 30;

#[derive(Debug)]
pub(crate) enum KeyBytes {
    Inline { len: u8, bytes: [u8; INLINE_BYTES_MAX] },
    Boxed(Box<[u8]>),
}

impl KeyBytes {
    pub(crate) fn new(key: &[u8]) -> Self {
        let mut bytes = [0; INLINE_BYTES_MAX];
        match (bytes.get_mut(..key.len()), u8::try_from(key.len())) {
            (Some(room), Ok(len)) => {
                room.copy_from_slice(key);
                Self::Inline { len, bytes }
            }
            _ => Self::Boxed(key.into()),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Boxed(bytes) => bytes,
        }
    }

    /// The last byte; looking at it brings near what is kept elsewhere.
    pub(crate) fn last_byte(&self) -> u8 {
        self.as_slice().last().copied().unwrap_or_default()
    }
}

impl Default for KeyBytes {
    fn default() -> Self {
        Self::Inline { len: 0, bytes: [0; INLINE_BYTES_MAX] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_length_are_kept_as_they_are() {
        for len in 0..300 {
            let key = vec![b'k'; len];
            let kept = KeyBytes::new(&key);
            assert_eq!(kept.as_slice(), key);
            assert_eq!(matches!(kept, KeyBytes::Inline { .. }), len <= INLINE_BYTES_MAX);
        }
        assert_eq!(KeyBytes::default().as_slice(), b"");
        assert_eq!(size_of::<KeyBytes>(), 32, "or more would fit");
    }
}
