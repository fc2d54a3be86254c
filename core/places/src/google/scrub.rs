//! Keeps the key out of what the provider says: some quote the request they refuse.

use crate::print::Printer;
use std::borrow::Cow;

/// A key shorter than this guards nothing, and taking it out would eat ordinary words. Google's have
/// 39 characters.
const KEY_BYTES_MIN: usize = 4;

const INSTEAD: &str = "***";

/// Takes one key out of texts, as it is and as it looks inside an address.
pub(super) struct Scrub<'a> {
    key: &'a str,
    encoded: String,
}

impl<'a> Scrub<'a> {
    pub(super) fn new(key: &'a str) -> Self {
        let key = if key.len() < KEY_BYTES_MIN { "" } else { key };
        Self { key, encoded: percent_encode(key) }
    }

    /// `text` without the key.
    pub(super) fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.is_in(text) {
            text.replace(self.key, INSTEAD).replace(&self.encoded, INSTEAD).into()
        } else {
            text.into()
        }
    }

    /// Copies a JSON string with its quotes: as it was sent, unless the key is in it.
    pub(super) fn copy(&self, token: &str, out: &mut String) {
        // Escapes could hide the key, so what has some is looked at as it will be read.
        let read =
            if token.contains('\\') { serde_json::from_str::<String>(token).ok() } else { None };
        if !self.is_in(token) && !read.as_deref().is_some_and(|read| self.is_in(read)) {
            out.push_str(token);
            return;
        }
        let read = read.unwrap_or_else(|| token.trim_matches('"').to_owned());
        let mut printer = Printer::default();
        printer.string(&self.text(&read));
        out.push_str(&printer.finish());
    }

    fn is_in(&self, text: &str) -> bool {
        !self.key.is_empty() && (text.contains(self.key) || text.contains(&self.encoded))
    }
}

/// `text` as it may stand in a query string (RFC 3986, section 2.3: all but unreserved is encoded).
pub(super) fn percent_encode(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(HEX[usize::from(byte >> 4)]));
            encoded.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    encoded
}
