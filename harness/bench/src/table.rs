//! Results: rows of figures, as a table for people and as JSON for programs.

use crate::Options;
use crate::machine::Facts;
use serde_json::{Map, Value, json};
use std::fmt;

/// One table.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    title: String,
    /// How to read it.
    note: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// A figure: as people read it, and as it is.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    value: Value,
}

impl Section {
    pub(crate) fn new(title: &str, note: &str, columns: &[&'static str]) -> Self {
        let (title, note) = (title.to_owned(), note.to_owned());
        Self { title, note, columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with a cell for each column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Adds a sentence to the note.
    pub(crate) fn remark(&mut self, sentence: &str) {
        self.note.push(' ');
        self.note.push_str(sentence);
    }

    fn to_json(&self) -> Value {
        let row = |row: &Vec<Cell>| -> Map<String, Value> {
            let named = self.columns.iter().zip(row);
            named.map(|(name, cell)| ((*name).to_owned(), cell.value.clone())).collect()
        };
        let rows: Vec<_> = self.rows.iter().map(row).collect();
        json!({ "title": self.title, "note": self.note, "rows": rows })
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let head = self.columns.get(column).map_or(0, |name| name.chars().count());
            cells.map(|cell| cell.text.chars().count()).fold(head, usize::max)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let heads = self.columns.iter().map(|name| (*name).to_owned()).collect();
        let texts = self.rows.iter().map(|row| row.iter().map(|cell| cell.text.clone()).collect());
        for line in std::iter::once::<Vec<String>>(heads).chain(texts) {
            let mut text = String::new();
            for (at, (cell, &width)) in line.iter().zip(&widths).enumerate() {
                // What a row is about stands left, its figures right.
                let cell =
                    if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
                text.push_str("  ");
                text.push_str(&cell);
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        write!(f, "{}", self.note)
    }
}

/// Everything one run found, and how long each measure took, seconds.
pub(crate) fn document(
    facts: &Facts,
    options: &Options,
    sections: &[Section],
    took: &[(&str, f64)],
) -> Value {
    let took: Map<_, _> = took.iter().map(|&(name, s)| (name.to_owned(), json!(s))).collect();
    json!({
        "machine": facts.to_json(),
        "options": {
            "rounds": options.rounds(), "seconds": options.seconds().as_secs_f64(),
            "threads": options.threads, "quick": options.quick,
        },
        "sections": sections.iter().map(Section::to_json).collect::<Vec<_>>(),
        "took_s": took,
    })
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { value: Value::from(text.clone()), text }
    }

    /// A count, grouped by thousands.
    pub(crate) fn count(value: f64) -> Self {
        Self { text: grouped(value), value: json!(value.round()) }
    }

    /// A figure with so many digits after the point.
    pub(crate) fn figure(value: f64, digits: usize) -> Self {
        Self { text: format!("{value:.digits$}"), value: json!(value) }
    }

    /// Lowest to highest.
    pub(crate) fn span(spread: &Spread, show: impl Fn(f64) -> String) -> Self {
        let text = format!("{}–{}", show(spread.min), show(spread.max));
        Self { text, value: json!([spread.min, spread.max]) }
    }
}

/// A number as people read it: `1,234,567`.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    if value <= -0.5 {
        text.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The middle and the ends of several measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let sorted = Sorted::new(values.into_iter().collect());
        Self { median: sorted.at(0.5), min: sorted.at(0.0), max: sorted.at(1.0) }
    }
}

/// Measurements in order, to ask how many lie below what.
#[derive(Clone, Debug)]
pub(crate) struct Sorted(Vec<f64>);

impl Sorted {
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// All of several.
    pub(crate) fn join(all: impl IntoIterator<Item = Self>) -> Self {
        Self::new(all.into_iter().flat_map(|sorted| sorted.0).collect())
    }

    /// The value below which `part` of all lie, 0 to 1; not a number if there is none.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index is small and not negative"
    )]
    pub(crate) fn at(&self, part: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let at = (part * last as f64).round() as usize;
        self.0.get(at).copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (value, text) in [
            (0.0, "0"),
            (-0.4, "0"),
            (999.4, "999"),
            (1000.0, "1,000"),
            (-1_234_567.0, "-1,234,567"),
        ] {
            assert_eq!(grouped(value), text);
        }
    }

    #[test]
    fn the_middle_of_few_is_one_of_them() {
        let spread = Spread::of([5.0, 1.0, 3.0]);
        assert_eq!(spread, Spread { median: 3.0, min: 1.0, max: 5.0 });
        assert!(Spread::of([]).median.is_nan());
    }

    #[test]
    fn a_table_is_aligned_and_its_json_is_raw() {
        let mut section = Section::new("title", "note", &["what", "rate"]);
        section.row([Cell::text("a"), Cell::count(12_345.4)]);
        section.row([Cell::text("longer"), Cell::figure(0.5, 2)]);
        assert_eq!(
            section.to_string(),
            "title\n  what      rate\n  a       12,345\n  longer    0.50\nnote"
        );
        let json = section.to_json();
        assert_eq!(json["rows"][0]["rate"], 12_345.0);
        assert_eq!(json["rows"][1]["what"], "longer");
    }
}
