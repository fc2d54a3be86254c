//! JSON text laid out as Google's legacy API lays it out, which is JsonCpp's styled writer: three
//! blanks a level, ` : ` after a key, an array of scalars on one line if that line is short.
//!
//! [`Printer`] writes what we compose; [`Printer::raw`] lays out text that somebody else composed and
//! keeps every string, number, member order and duplicate member as it was sent. No JSON value tree
//! is ever built.
//!
//! Source: `StyledWriter` in JsonCpp 1.9, json_writer.cpp (`isMultilineArray`).

use serde_json::value::RawValue;

/// How deeply objects and arrays of a provider may be nested. A Nearby Search answer has 6 levels;
/// ten times that leaves room, and keeps the recursion of [`Printer::raw`] to some kilobytes of stack.
pub const DEPTH_MAX: usize = 64;

/// An array of scalars that would have this many columns or more, without indent and key, is written
/// one item a line: JsonCpp's right margin.
const LINE_COLUMNS: usize = 74;

/// A line feed and the blanks of the deepest level that anything is written at: ours is six deep, and whatever a
/// provider sends is refused beyond [`DEPTH_MAX`] below that.
const NEW_LINE: &str = {
    const BLANKS: [u8; 1 + INDENT * (DEPTH_MAX + 8)] = {
        let mut line = [b' '; 1 + INDENT * (DEPTH_MAX + 8)];
        line[0] = b'\n';
        line
    };
    match std::str::from_utf8(&BLANKS) {
        Ok(line) => line,
        Err(_) => "\n",
    }
};

/// Blanks a level.
const INDENT: usize = 3;

/// Writes one JSON document; calls must come in the order of the grammar (`key` before every member's
/// value, `item` before every element's).
#[derive(Debug, Default)]
pub struct Printer {
    out: String,
    depth: usize,
    /// The innermost open object or array has something in it.
    filled: bool,
}

impl Printer {
    /// One with room for so many bytes before it must ask for more.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { out: String::with_capacity(bytes), ..Self::default() }
    }

    /// One that goes on where so many objects and arrays are open.
    pub(crate) fn at_depth(depth: usize) -> Self {
        Self { depth, ..Self::default() }
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// Writes what another printer wrote at this depth, and leaves one object open that has members.
    pub(crate) fn open_printed(&mut self, text: &str) {
        self.out.push_str(text);
        self.depth += 1;
        self.filled = true;
    }

    /// The rest of that object, its end included.
    pub(crate) fn close_printed(&mut self, text: &str) {
        self.out.push_str(text);
        self.depth = self.depth.saturating_sub(1);
        self.filled = true;
    }

    /// The finished text. Never ends in a newline.
    pub fn finish(self) -> String {
        self.out
    }

    /// Opens an object.
    pub fn begin_object(&mut self) {
        self.begin('{');
    }

    /// Closes the innermost object.
    pub fn end_object(&mut self) {
        self.end('}');
    }

    /// Opens an array of which every item stands on a line of its own.
    pub fn begin_array(&mut self) {
        self.begin('[');
    }

    /// Closes the innermost array.
    pub fn end_array(&mut self) {
        self.end(']');
    }

    /// Writes `[]`.
    pub fn empty_array(&mut self) {
        self.out.push_str("[]");
    }

    /// Begins an element of the innermost array.
    pub fn item(&mut self) {
        if self.filled {
            self.out.push(',');
        }
        self.filled = true;
        self.new_line();
    }

    /// Begins a member of the innermost object. `key` is written as it is: ours need no escapes.
    pub fn key(&mut self, key: &str) {
        self.item();
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\" : ");
    }

    /// Writes a string. `<` and `>` are escaped as Google does it, so that attributions, which are
    /// HTML, survive inside a page.
    pub fn string(&mut self, text: &str) {
        let is_escaped = |byte: u8| matches!(byte, b'"' | b'\\' | b'<' | b'>' | 0x7f | 0..=0x1f);
        self.out.push('"');
        let mut plain_from = 0;
        // Looked through to the end in any case, which is done many bytes at a time; most have nothing.
        let any_escaped = text.bytes().fold(false, |any, byte| any | is_escaped(byte));
        for (at, byte) in text.bytes().enumerate().filter(|_| any_escaped) {
            if !is_escaped(byte) {
                continue;
            }
            self.out.push_str(text.get(plain_from..at).unwrap_or_default());
            plain_from = at + 1;
            match byte {
                b'"' => self.out.push_str("\\\""),
                b'\\' => self.out.push_str("\\\\"),
                b'\n' => self.out.push_str("\\n"),
                b'\t' => self.out.push_str("\\t"),
                other => {
                    const HEX: &[u8; 16] = b"0123456789abcdef";
                    self.out.push_str("\\u00");
                    self.out.push(char::from(HEX[usize::from(other >> 4)]));
                    self.out.push(char::from(HEX[usize::from(other & 15)]));
                }
            }
        }
        self.out.push_str(text.get(plain_from..).unwrap_or_default());
        self.out.push('"');
    }

    /// Writes a decimal number of 1e-7 units, without closing zeros.
    pub(crate) fn e7(&mut self, number: i32) {
        const FRACTION_DIGITS: usize = 7;
        if number < 0 {
            self.out.push('-');
        }
        let mut rest = number.unsigned_abs();
        let mut digits = [b'0'; 10];
        for place in digits.iter_mut().rev() {
            // A remainder of ten fits a byte.
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let (whole, fraction) = digits.split_at(digits.len() - FRACTION_DIGITS);
        let leading = whole.iter().take(whole.len() - 1).take_while(|&&digit| digit == b'0');
        let whole = whole.get(leading.count()..).unwrap_or(whole);
        let closing = fraction.iter().rev().take_while(|&&digit| digit == b'0').count();
        let fraction = fraction.get(..FRACTION_DIGITS - closing).unwrap_or_default();
        let point = if fraction.is_empty() { &b""[..] } else { b"." };
        for part in [whole, point, fraction] {
            self.out.extend(part.iter().copied().map(char::from));
        }
    }

    /// Writes a number, `true`, `false` or `null`, as it is.
    pub fn scalar(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Writes an array of strings.
    pub fn strings<'a>(&mut self, items: impl Iterator<Item = &'a str> + Clone) {
        let start = self.out.len();
        let mut count = 0;
        for item in items.clone() {
            self.out.push_str(if count == 0 { "[ " } else { ", " });
            self.string(item);
            count += 1;
        }
        if count == 0 {
            return self.empty_array();
        }
        self.out.push_str(" ]");
        if self.out.len() - start >= LINE_COLUMNS {
            self.out.truncate(start);
            self.begin_array();
            for item in items {
                self.item();
                self.string(item);
            }
            self.end_array();
        }
    }

    /// Lays out the text of a value that somebody else composed.
    ///
    /// # Errors
    ///
    /// [`TooDeep`] if it is nested deeper than [`DEPTH_MAX`]; what is written so far is useless then.
    pub fn raw(&mut self, value: &RawValue) -> Result<(), TooDeep> {
        self.raw_with(value, &mut |text, out| out.push_str(text))
    }

    /// As [`raw`](Self::raw); every string, with its quotes, goes through `copy_string`.
    pub(crate) fn raw_with(
        &mut self,
        value: &RawValue,
        copy_string: &mut dyn FnMut(&str, &mut String),
    ) -> Result<(), TooDeep> {
        Layout { tokens: Tokens { rest: value.get() }, printer: self, copy_string }.value(0)
    }

    fn begin(&mut self, bracket: char) {
        self.out.push(bracket);
        self.depth += 1;
        self.filled = false;
    }

    fn end(&mut self, bracket: char) {
        self.depth = self.depth.saturating_sub(1);
        if self.filled {
            self.new_line();
        }
        self.out.push(bracket);
        // What encloses this has at least this in it.
        self.filled = true;
    }

    fn new_line(&mut self) {
        self.out.push_str(NEW_LINE.get(..=INDENT * self.depth).unwrap_or(NEW_LINE));
    }
}

/// A value of a provider is nested deeper than [`DEPTH_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("JSON is nested deeper than {DEPTH_MAX} levels")]
pub struct TooDeep;

/// Walks over text that is JSON already; on anything else it would write nonsense, but end.
struct Layout<'a, 'p> {
    tokens: Tokens<'a>,
    printer: &'p mut Printer,
    copy_string: &'p mut dyn FnMut(&str, &mut String),
}

impl Layout<'_, '_> {
    fn value(&mut self, depth: usize) -> Result<(), TooDeep> {
        match self.tokens.next() {
            Some("{" | "[") if depth == DEPTH_MAX => Err(TooDeep),
            Some("{") => self.members(depth),
            Some("[") => self.items(depth),
            Some(scalar) => {
                self.scalar(scalar);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn members(&mut self, depth: usize) -> Result<(), TooDeep> {
        self.printer.begin_object();
        while let Some(token) = self.tokens.next() {
            match token {
                "}" => break,
                "," => {}
                key => {
                    self.printer.item();
                    self.scalar(key);
                    self.printer.out.push_str(" : ");
                    // The colon.
                    self.tokens.next();
                    self.value(depth + 1)?;
                }
            }
        }
        self.printer.end_object();
        Ok(())
    }

    fn items(&mut self, depth: usize) -> Result<(), TooDeep> {
        if self.tokens.clone().fits_on_a_line() {
            return self.line(depth);
        }
        self.printer.begin_array();
        loop {
            match self.tokens.peek() {
                None => break,
                Some("]") => {
                    self.tokens.next();
                    break;
                }
                Some(",") => {
                    self.tokens.next();
                }
                Some(_) => {
                    self.printer.item();
                    self.value(depth + 1)?;
                }
            }
        }
        self.printer.end_array();
        Ok(())
    }

    /// The rest of an array that fits on a line: its items are scalars, `[]` and `{}`.
    fn line(&mut self, depth: usize) -> Result<(), TooDeep> {
        let mut empty = true;
        self.printer.out.push('[');
        while let Some(token) = self.tokens.peek() {
            match token {
                "]" => {
                    self.tokens.next();
                    break;
                }
                "," => {
                    self.tokens.next();
                }
                _ => {
                    self.printer.out.push_str(if empty { " " } else { ", " });
                    empty = false;
                    self.value(depth + 1)?;
                }
            }
        }
        self.printer.out.push_str(if empty { "]" } else { " ]" });
        self.printer.filled = true;
        Ok(())
    }

    fn scalar(&mut self, token: &str) {
        if token.starts_with('"') {
            (self.copy_string)(token, &mut self.printer.out);
        } else {
            self.printer.out.push_str(token);
        }
    }
}

/// The tokens of JSON text: a bracket, a comma, a colon, a string with its quotes, another scalar.
#[derive(Clone)]
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.clone().next()
    }

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest.trim_ascii_start();
        let length = match text.as_bytes().first()? {
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            b'"' => string_bytes(text),
            _ => text
                .bytes()
                .position(|b| {
                    b.is_ascii_whitespace()
                        || matches!(b, b',' | b':' | b'{' | b'}' | b'[' | b']' | b'"')
                })
                .unwrap_or(text.len()),
        };
        let (token, rest) = text.split_at_checked(length)?;
        self.rest = rest;
        Some(token)
    }

    /// Whether the array whose bracket has just been taken is to be written on one line.
    fn fits_on_a_line(mut self) -> bool {
        let mut columns = "[  ]".len();
        let mut items = 0;
        loop {
            match self.next() {
                None | Some("]") => return true,
                Some(",") => continue,
                Some(open @ ("{" | "[")) => {
                    let close = if open == "{" { "}" } else { "]" };
                    if self.next() != Some(close) {
                        return false;
                    }
                    columns += 2;
                }
                Some(scalar) => columns += scalar.len(),
            }
            columns += if items > 0 { ", ".len() } else { 0 };
            items += 1;
            // JsonCpp's first test, which spares it the second for long arrays.
            if columns >= LINE_COLUMNS || items * 3 >= LINE_COLUMNS {
                return false;
            }
        }
    }
}

/// How long the string is that `text` begins with, both quotes included.
fn string_bytes(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lays_out_as_jsoncpp_does() {
        check("{}", "{}");
        check(" [ ] ", "[]");
        check("-1.50e+3", "-1.50e+3");
        check(r#"{"a":1,"b":[]}"#, "{\n   \"a\" : 1,\n   \"b\" : []\n}");
        check(
            r#"{"geometry":{"location":{"lat":34.0,"lng":-118.40}}}"#,
            "{\n   \"geometry\" : {\n      \"location\" : {\n         \"lat\" : 34.0,\n         \"lng\" : -118.40\n      }\n   }\n}",
        );
        check(r#"{"t":["a","b"]}"#, "{\n   \"t\" : [ \"a\", \"b\" ]\n}");
        check(r#"[[],{},null,"x"]"#, "[ [], {}, null, \"x\" ]");
        check("[[1]]", "[\n   [ 1 ]\n]");
        check(
            r#"[{"a":1},{"b":2}]"#,
            "[\n   {\n      \"a\" : 1\n   },\n   {\n      \"b\" : 2\n   }\n]",
        );
        check("[[1],2,{\"a\":[3]}]", "[\n   [ 1 ],\n   2,\n   {\n      \"a\" : [ 3 ]\n   }\n]");
    }

    #[test]
    fn breaks_an_array_at_the_right_margin() {
        // `[ "…" ]` has six columns besides the text.
        let fits = "x".repeat(LINE_COLUMNS - 7);
        check(&format!("[\"{fits}\"]"), &format!("[ \"{fits}\" ]"));
        check(&format!("[\"{fits}x\"]"), &format!("[\n   \"{fits}x\"\n]"));
        let ours = |text: &str| {
            let mut printer = Printer::default();
            printer.strings([text].into_iter());
            printer.finish()
        };
        assert_eq!(ours(&fits), format!("[ \"{fits}\" ]"));
        assert_eq!(ours(&format!("{fits}x")), format!("[\n   \"{fits}x\"\n]"));
    }

    #[test]
    fn keeps_what_was_sent() {
        check(
            r#"{"b":"\u00e9\/ \"x\"","a":1.10,"b":1E400}"#,
            "{\n   \"b\" : \"\\u00e9\\/ \\\"x\\\"\",\n   \"a\" : 1.10,\n   \"b\" : 1E400\n}",
        );
        check("{\r\n\r\n\"a\"\n\n:\n\n[\n\n1\n\n]\n\n}", "{\n   \"a\" : [ 1 ]\n}");
    }

    #[test]
    fn refuses_what_is_too_deep() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(lay_out(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(lay_out(&nested(DEPTH_MAX + 1)), Err(TooDeep));
        assert_eq!(lay_out(&nested(100_000)), Err(TooDeep));
    }

    proptest! {
        #[test]
        fn means_the_same_afterwards(value in any_json()) {
            let printed = lay_out(&value.to_string()).unwrap();
            prop_assert!(!printed.contains("\n\n") && !printed.ends_with('\n'));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), value);
            // What is laid out already stays as it is.
            prop_assert_eq!(lay_out(&printed).unwrap(), printed);
        }

        #[test]
        fn our_strings_are_read_back(text in any::<String>()) {
            let mut printer = Printer::default();
            printer.string(&text);
            prop_assert_eq!(serde_json::from_str::<String>(&printer.finish()).unwrap(), text);
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 80, 12, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..12).prop_map(Into::into),
                proptest::collection::btree_map("[a-z\"\\\\]{0,6}", inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    #[track_caller]
    fn check(sent: &str, expected: &str) {
        assert_eq!(lay_out(sent).as_deref(), Ok(expected), "{sent}");
    }

    fn lay_out(text: &str) -> Result<String, TooDeep> {
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        let mut printer = Printer::default();
        printer.raw(raw)?;
        Ok(printer.finish())
    }
}
