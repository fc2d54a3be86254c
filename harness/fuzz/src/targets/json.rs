//! JSON that somebody else composed, laid out anew: [`herd_places::print::Printer::raw`].

use herd_places::print::Printer;
use serde_json::value::RawValue;

/// The layout is JSON with the same tokens, has no two newlines in a row, and laying it out again
/// changes nothing.
///
/// # Panics
///
/// When that does not hold.
pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(value) = serde_json::from_str::<&RawValue>(text) else { return };
    let Some(laid_out) = layout(value) else { return };
    assert_eq!(tokens(text), tokens(&laid_out));
    assert!(!laid_out.contains("\n\n") && !laid_out.ends_with('\n'), "{laid_out}");
    let value = serde_json::from_str::<&RawValue>(&laid_out).expect("a layout is JSON");
    assert_eq!(layout(value).as_deref(), Some(laid_out.as_str()));
}

/// `None` where it is nested too deeply.
fn layout(value: &RawValue) -> Option<String> {
    let mut printer = Printer::default();
    printer.raw(value).ok()?;
    Some(printer.finish())
}

/// `json` without the white space between its tokens.
fn tokens(json: &str) -> String {
    let mut in_string = false;
    let mut escaped = false;
    json.chars()
        .filter(|c| {
            let is_quote = *c == '"' && !escaped;
            escaped = in_string && *c == '\\' && !escaped;
            in_string ^= is_quote;
            in_string || !matches!(c, ' ' | '\t' | '\r' | '\n')
        })
        .collect()
}
