//! The structs of the config as data: which keys there are, of what type, with which bounds.
//!
//! Everything comes out of the JSON schema that the structs describe themselves with, so a key that is
//! added to a struct is at once known to the loader, the environment and the reference page.

use super::Config;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// The JSON schema of the config file, for editors that check and complete TOML by one.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft07().with(|s| s.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Config>().to_value()
}

/// The name that stands for the name of each server in the keys of [`leaves`].
pub(super) const NAME: &str = "NAME";

/// A key that holds a value, not a table.
pub(super) struct Leaf<'a> {
    /// The names on the way to it, with [`NAME`] for the name of a server.
    pub(super) path: Vec<String>,
    /// What its value must be.
    pub(super) schema: &'a Value,
}

/// All keys that hold values, with the schema of each table that is `Some` name below it.
pub(super) fn leaves(schema: &Value) -> Vec<Leaf<'_>> {
    let mut found = Vec::new();
    collect(schema, &mut Vec::new(), &mut found);
    found
}

fn collect<'a>(schema: &'a Value, path: &mut Vec<String>, found: &mut Vec<Leaf<'a>>) {
    let mut enter = |name: &str, below: &'a Value| {
        path.push(name.to_owned());
        collect(below, path, found);
        path.pop();
    };
    match Shape::of(schema) {
        Shape::Table(properties) => {
            properties.iter().for_each(|(name, below)| enter(name, below));
        }
        Shape::TableOf(below) => enter(NAME, below),
        Shape::Integer | Shape::Boolean | Shape::Text | Shape::OneOf(_) | Shape::List(_) => {
            found.push(Leaf { path: path.clone(), schema });
        }
    }
}

/// What a value must look like.
pub(super) enum Shape<'a> {
    /// A table with these keys and no others.
    Table(&'a serde_json::Map<String, Value>),
    /// A table with names of the user's choice, each with such a value.
    TableOf(&'a Value),
    List(&'a Value),
    Integer,
    Boolean,
    /// One of these words, each with what it means.
    OneOf(Vec<(&'a str, &'a str)>),
    Text,
}

impl<'a> Shape<'a> {
    pub(super) fn of(schema: &'a Value) -> Self {
        let schema = without_null(schema);
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            return Shape::Table(properties);
        }
        if let Some(below) = schema.get("additionalProperties").filter(|v| v.is_object()) {
            return Shape::TableOf(below);
        }
        if let Some(items) = schema.get("items") {
            return Shape::List(items);
        }
        if let Some(words) = schema.get("oneOf").and_then(Value::as_array) {
            let word = |v: &'a Value| {
                let meaning = v.get("description").and_then(Value::as_str).unwrap_or_default();
                Some((v.get("const")?.as_str()?, meaning))
            };
            return Shape::OneOf(words.iter().filter_map(word).collect());
        }
        match type_of(schema) {
            "integer" => Shape::Integer,
            "boolean" => Shape::Boolean,
            _ => Shape::Text,
        }
    }
}

/// The format of a text, such as `duration`; empty if it has none.
pub(super) fn format_of(schema: &Value) -> &str {
    without_null(schema).get("format").and_then(Value::as_str).unwrap_or_default()
}

/// The least and the greatest value of a number, where they are bounded.
pub(super) fn bounds(schema: &Value) -> (Option<i64>, Option<i64>) {
    let bound = |name| without_null(schema).get(name).and_then(Value::as_i64);
    (bound("minimum"), bound("maximum"))
}

/// The first example given for a value, else its default, as TOML would write it.
pub(super) fn example(schema: &Value) -> Option<String> {
    let example = schema.get("examples").and_then(|examples| examples.get(0));
    example.or_else(|| schema.get("default")).filter(|v| !v.is_null()).map(Value::to_string)
}

/// The keys that a table must have.
pub(super) fn required(schema: &Value) -> impl Iterator<Item = &str> {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str)
}

/// Of "this or null", which is how an optional value is described, this.
fn without_null(schema: &Value) -> &Value {
    let alternatives = schema.get("anyOf").and_then(Value::as_array);
    let real = alternatives.and_then(|all| all.iter().find(|one| type_of(one) != "null"));
    real.unwrap_or(schema)
}

fn type_of(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::Array(types)) => {
            types.iter().filter_map(Value::as_str).find(|t| *t != "null").unwrap_or_default()
        }
        Some(one) => one.as_str().unwrap_or_default(),
        None => "",
    }
}
