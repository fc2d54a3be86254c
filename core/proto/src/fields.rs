//! White space and names: what every line of the protocol is made of.

use memchr::memchr;

/// Bytes of a client's or server's name at most.
pub const NAME_BYTES_MAX: usize = 255;

/// Whether `text` may name a client or a server: 1 to [`NAME_BYTES_MAX`] bytes of UTF-8 without the
/// protocol's white space and without control characters, since names reach JSON, maps and terminals.
/// Anything else is a name, a no-break space too; names are case sensitive.
pub fn is_name(text: &str) -> bool {
    if text.is_empty() || text.len() > NAME_BYTES_MAX {
        return false;
    }
    // Looked at to the end whatever is found: without a way out early it is done many bytes at a time.
    if text.bytes().fold(true, |graphic, b| graphic & b.is_ascii_graphic()) {
        return true;
    }
    text.chars().all(|c| c != ' ' && !c.is_control())
}

/// Space, tab, CR, form feed, vertical tab; nothing else parts fields.
pub(crate) fn is_white_space(byte: u8) -> bool {
    const MASK: u64 = 1 << b' ' | 1 << b'\t' | 1 << b'\r' | 1 << 0x0c | 1 << 0x0b;
    byte <= b' ' && MASK >> byte & 1 == 1
}

/// The fields of one line, parted by white space.
#[derive(Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a str,
    /// There is no white space but blanks in it, as in nearly every line: one kind of byte is found faster.
    has_blanks_only: bool,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(line: &'a str) -> Self {
        // To the end in any case, as in `is_name`.
        let has_blanks_only = line.bytes().fold(u8::MAX, u8::min) >= b' ';
        Self { rest: line, has_blanks_only }
    }

    /// The next `N` fields if exactly so many are left.
    pub(crate) fn exactly<const N: usize>(mut self) -> Option<[&'a str; N]> {
        let mut fields = [""; N];
        for field in &mut fields {
            *field = self.next()?;
        }
        self.next().is_none().then_some(fields)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        // White space is ASCII, so every cut lies between characters.
        let bytes = self.rest.as_bytes();
        let start = bytes.iter().position(|&b| !is_white_space(b))?;
        let field = bytes.get(start..)?;
        let len = if self.has_blanks_only {
            memchr(b' ', field)
        } else {
            field.iter().position(|&b| is_white_space(b))
        };
        let end = len.map_or(bytes.len(), |len| start + len);
        let field = self.rest.get(start..end)?;
        self.rest = self.rest.get(end..)?;
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_five_kinds_of_white_space_part_fields() {
        let fields: Vec<_> = Fields::new(" a\tb\r\u{b}c\u{c}d\u{a0}e \r").collect();
        assert_eq!(fields, ["a", "b", "c", "d\u{a0}e"]);
        assert_eq!(Fields::new(" \t\r ").next(), None);
        assert_eq!(Fields::new("a b").exactly::<2>(), Some(["a", "b"]));
        assert_eq!(Fields::new("a b").exactly::<1>(), None);
        assert_eq!(Fields::new("a b").exactly::<3>(), None);
    }

    #[test]
    fn names_are_visible_text_of_bounded_length() {
        for good in ["kiwi.example", "a", "+1", "ключ", "🥝", "a\u{a0}b", &"x".repeat(255)] {
            assert!(is_name(good), "{good:?}");
        }
        for bad in ["", "a b", "a\tb", "a\u{0}", "\u{7f}", "é\u{85}", "é b", &"x".repeat(256)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
