//! The reference page: every key with its type, default and meaning, as Markdown.

use super::load::variable;
use super::schema::{self, Shape};
use serde_json::Value;
use std::fmt::Write as _;

/// The page `docs/config.md`, made of the doc comments, defaults and bounds of the config's structs.
pub fn reference() -> String {
    let schema = schema::schema();
    let mut page = HEAD.to_owned();
    section(&schema, &mut Vec::new(), &mut page);
    page
}

const HEAD: &str = "\
# The config

<!-- Printed by `cargo run -p geoherd -- config reference > docs/config.md`; do not edit by hand. -->

All servers of a herd share one TOML file; `geoherd config example` prints one to begin with, and
`geoherd check --config FILE` finds mistakes in it without starting anything. An environment variable
wins over the file, and a flag over both. In a variable the name of a server stands as in the file, in
capitals or not, and the elements of a list are parted by commas. A key or a `GEOHERD_` variable that is
not listed here is an error; only `GEOHERD_SERVER` and `GEOHERD_CONFIG` are something else: the defaults
of `--server` and `--config`.

A *duration* is a whole number with `ms`, `s`, `m`, `h` or `d`, in quotes: `\"250ms\"`. An *address* is an IP
address and a port in quotes: `\"127.0.0.1:12000\"`, `\"[::1]:12000\"`.
";

/// The table at `path` and those inside it.
fn section(schema: &Value, path: &mut Vec<String>, page: &mut String) {
    match Shape::of(schema) {
        Shape::Table(properties) => {
            if !path.is_empty() {
                let keys = properties.iter().filter(|(_, below)| !is_table(below));
                head(schema, path, page);
                page.push_str(
                    "\n| key | type | default | what it does | variable |\n|---|---|---|---|---|\n",
                );
                for (name, below) in keys {
                    let required = schema::required(schema).any(|one| one == name);
                    path.push(name.clone());
                    row(below, path, required, page);
                    path.pop();
                }
            }
            for (name, below) in properties.iter().filter(|(_, below)| is_table(below)) {
                path.push(name.clone());
                section(below, path, page);
                path.pop();
            }
        }
        Shape::TableOf(below) => {
            path.push(schema::NAME.to_owned());
            section(below, path, page);
            path.pop();
        }
        Shape::Integer | Shape::Boolean | Shape::Text | Shape::OneOf(_) | Shape::List(_) => {}
    }
}

fn head(schema: &Value, path: &[String], page: &mut String) {
    // Writing to a String cannot fail.
    let _infallible = write!(page, "\n## `[{}]`\n", path.join("."));
    let description = described(schema);
    // The structs begin with the name of their table, for those who read the code.
    let description = description.split_once("`: ").map_or(description.as_str(), |(_, rest)| rest);
    if !description.is_empty() {
        let _infallible = write!(page, "\n{}\n", capitalized(description));
    }
}

fn row(schema: &Value, path: &[String], required: bool, page: &mut String) {
    let mut about = described(schema);
    let kind = match Shape::of(schema) {
        Shape::Integer => match schema::bounds(schema) {
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("number from {min}"),
            _ => "number".to_owned(),
        },
        Shape::Boolean => "`true` or `false`".to_owned(),
        Shape::List(_) => "list of names".to_owned(),
        Shape::OneOf(words) => {
            for (index, (word, meaning)) in words.iter().enumerate() {
                let separator = if index == 0 { " " } else { "; " };
                let _infallible = write!(about, "{separator}`\"{word}\"`: {meaning}");
            }
            about.push('.');
            let words: Vec<String> =
                words.iter().map(|(word, _)| format!("`\"{word}\"`")).collect();
            words.join(", ")
        }
        Shape::Text | Shape::Table(_) | Shape::TableOf(_) => match schema::format_of(schema) {
            "" => "text".to_owned(),
            "url" => "URL".to_owned(),
            format => format.to_owned(),
        },
    };
    let default = match schema.get("default") {
        _ if required => "**required**".to_owned(),
        None | Some(Value::Null) => "none".to_owned(),
        Some(default) => format!("`{default}`"),
    };
    let name = path.last().map_or("", String::as_str);
    let variable =
        variable(path).replace("_NAME_", "_<NAME>_").replace("HERD_<NAME>_", "HERD_NAME_");
    let _infallible = writeln!(page, "| `{name}` | {kind} | {default} | {about} | `{variable}` |");
}

fn is_table(schema: &Value) -> bool {
    matches!(Shape::of(schema), Shape::Table(_) | Shape::TableOf(_))
}

/// The description in one line.
fn described(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn capitalized(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}
