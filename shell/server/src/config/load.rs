//! From text and variables to a [`Config`], with every mistake at its place.
//!
//! The text is read as TOML, variables are laid over it, the whole is compared with the schema of the
//! structs (which keys, types, words and bounds), and last the structs read it (durations, addresses).
//! Each step goes on after a mistake where it can, so that one run shows most of them.

use super::problem::Source;
use super::schema::{self, Leaf, NAME, Shape};
use super::{Config, ConfigErrors, Problem, key, suggest};
use serde_json::Value as Schema;
use serde_path_to_error::Segment;
use std::path::Path;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

impl Config {
    /// Reads the config out of `text`, which stands in `file`, with the variables of `env` over it:
    /// those that begin with `GEOHERD_`, such as `GEOHERD_LIMITS_MAX_CONNECTIONS=10` or, for a server
    /// of the file, `GEOHERD_SERVERS_HILL_LISTEN`. Lists are parted by commas there. Neither `file` nor
    /// the process's environment is read.
    ///
    /// # Errors
    ///
    /// Everything that could be found wrong: syntax, keys and variables that do not exist, values of
    /// another type or out of bounds, keys that are missing.
    pub fn load(
        text: &str,
        file: &Path,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigErrors> {
        let mut loader = Loader {
            schema: schema::schema(),
            source: Source { file: file.to_owned(), ..Source::default() },
            problems: Vec::new(),
        };
        let mut table = loader.parse(text)?;
        loader.lay_over(&mut table, env);
        let tree = loader.schema.take();
        loader.compare(&tree, &Value::Table(table.clone()), "");
        let config = loader.read(table);
        match config {
            Some(config) if loader.problems.is_empty() => {
                Ok(Self { source: loader.source, ..config })
            }
            _ => {
                Problem::sort(&mut loader.problems);
                Err(ConfigErrors { problems: loader.problems })
            }
        }
    }
}

/// Variables with our prefix that are no keys: the defaults of `--server` and `--config`.
const OTHER_VARIABLES: [&str; 2] = ["GEOHERD_SERVER", "GEOHERD_CONFIG"];

/// What every variable of ours begins with.
const PREFIX: &str = "GEOHERD_";

struct Loader {
    schema: Schema,
    source: Source,
    problems: Vec<Problem>,
}

impl Loader {
    fn blame(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(self.source.problem(key, message));
    }

    fn parse(&mut self, text: &str) -> Result<Table, ConfigErrors> {
        let line_starts: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        let line_at = |offset: usize| line_starts.partition_point(|start| *start <= offset) + 1;
        let (tree, mut errors) = DeTable::parse_recoverable(text);
        let table = match toml::from_str::<Table>(text) {
            Ok(table) if errors.is_empty() => table,
            Ok(_) => Table::new(),
            Err(error) => {
                if errors.is_empty() {
                    errors.push(error);
                }
                Table::new()
            }
        };
        for error in errors {
            // The error's own Display would print the line, which may hold what must not be shown.
            let (line, message) = (error.span().map(|span| line_at(span.start)), error.message());
            let message =
                format!("is not TOML: {}; see https://toml.io", message.replace('\n', ", "));
            let file = self.source.file.clone();
            self.problems.push(Problem { file, line, variable: None, key: String::new(), message });
        }
        if !self.problems.is_empty() {
            return Err(ConfigErrors { problems: std::mem::take(&mut self.problems) });
        }
        self.note_lines(tree.get_ref(), "", &line_at);
        Ok(table)
    }

    fn note_lines(&mut self, table: &DeTable<'_>, parent: &str, line_at: &dyn Fn(usize) -> usize) {
        for (name, value) in table {
            let key = key::child(parent, name.get_ref());
            self.source.lines.insert(key.clone(), line_at(name.span().start));
            match value.get_ref() {
                DeValue::Table(table) => self.note_lines(table, &key, line_at),
                DeValue::Array(items) => {
                    for (index, item) in items.iter().enumerate() {
                        let line = line_at(item.span().start);
                        self.source.lines.insert(key::element(&key, index), line);
                    }
                }
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_) => {}
            }
        }
    }

    /// Lays the variables of `env` over `table`.
    fn lay_over(&mut self, table: &mut Table, env: impl Iterator<Item = (String, String)>) {
        let schema = self.schema.clone();
        let known = known_variables(&schema, table);
        let mut ours: Vec<(String, String)> = env
            .filter(|(name, _)| {
                name.starts_with(PREFIX) && !OTHER_VARIABLES.contains(&name.as_str())
            })
            .collect();
        ours.sort_unstable();
        for (name, text) in ours {
            let upper = name.to_uppercase();
            let mut meant = known.iter().filter(|(variable, _)| *variable == upper);
            match (meant.next(), meant.next()) {
                (Some((_, leaf)), None) => {
                    let key = leaf.path.iter().fold(String::new(), |k, name| key::child(&k, name));
                    if put(table, &leaf.path, value_of(&text, leaf.schema)) {
                        self.source.variables.insert(key, name);
                    }
                }
                (Some((_, one)), Some((_, two))) => {
                    let (one, two) = (one.path.join("."), two.path.join("."));
                    self.blame_variable(
                        &name,
                        format!("means {one} as well as {two}; set the one you mean in the file"),
                    );
                }
                (None, _) => {
                    let names = known.iter().map(|(variable, _)| variable.as_str());
                    let near = suggest::nearest_few(&upper, names, 3);
                    let hint = if near.is_empty() {
                        "unset it, or see `geoherd config reference` for all keys".to_owned()
                    } else {
                        format!("did you mean {}?", near.join(" or "))
                    };
                    self.blame_variable(&name, format!("sets no key of the config; {hint}"));
                }
            }
        }
    }

    fn blame_variable(&mut self, name: &str, message: String) {
        let (file, variable) = (self.source.file.clone(), Some(name.to_owned()));
        self.problems.push(Problem { file, line: None, variable, key: String::new(), message });
    }

    /// Compares `value`, which stands at `key`, with `schema`.
    fn compare(&mut self, schema: &Schema, value: &Value, key: &str) {
        let found = described(value);
        match (Shape::of(schema), value) {
            (Shape::Table(properties), Value::Table(table)) => {
                for (name, value) in table {
                    match properties.get(name) {
                        Some(below) => self.compare(below, value, &key::child(key, name)),
                        None => self.blame_unknown(key, name, properties),
                    }
                }
                for name in schema::required(schema).filter(|name| !table.contains_key(*name)) {
                    let (below, key) = (properties.get(name), key::child(key, name));
                    match below.map(|below| (Shape::of(below), below)) {
                        // Its own required keys are what is missing.
                        Some((Shape::Table(_), below)) => {
                            self.compare(below, &Value::Table(Table::new()), &key);
                        }
                        below => {
                            let example = below.and_then(|(_, below)| schema::example(below));
                            let example = example.unwrap_or_else(|| "…".to_owned());
                            self.blame(&key, format!("is missing; add {name} = {example}"));
                        }
                    }
                }
            }
            (Shape::TableOf(below), Value::Table(table)) => {
                for (name, value) in table {
                    self.compare(below, value, &key::child(key, name));
                }
            }
            (Shape::Table(_) | Shape::TableOf(_), _) => {
                self.blame(key, format!("is {found}; write it as a table [{key}]"));
            }
            (Shape::List(below), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.compare(below, item, &key::element(key, index));
                }
            }
            (Shape::List(_), _) => {
                self.blame(key, format!("is {found}; write a list, such as [\"Hill\", \"Smith\"]"));
            }
            (Shape::Integer, Value::Integer(number)) => {
                let (min, max) = schema::bounds(schema);
                if min.is_some_and(|min| *number < min) || max.is_some_and(|max| *number > max) {
                    let range = match max {
                        Some(max) => format!("{} to {max}", min.unwrap_or(0)),
                        None => format!("at least {}", min.unwrap_or(0)),
                    };
                    self.blame(key, format!("{number} is out of bounds; choose {range}"));
                }
            }
            (Shape::Integer, _) => {
                self.blame(key, format!("is {found}; write a whole number without quotes"));
            }
            (Shape::Boolean, Value::Boolean(_)) | (Shape::Text, Value::String(_)) => {}
            (Shape::Boolean, _) => {
                self.blame(key, format!("is {found}; write true or false without quotes"));
            }
            (Shape::OneOf(words), Value::String(text)) => {
                let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                if !words.contains(&text.as_str()) {
                    let hint = suggest::hint(text, words.iter().copied(), || {
                        format!("; choose one of {}", words.join(", "))
                    });
                    self.blame(key, format!("{text:?} is no choice{hint}"));
                }
            }
            // A choice among numbers and words may be written as the number it is.
            (Shape::OneOf(words), Value::Integer(number))
                if words.iter().any(|(word, _)| word.parse::<i64>().is_ok()) =>
            {
                if !words.iter().any(|(word, _)| *word == number.to_string()) {
                    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                    let words = words.join(", ");
                    self.blame(key, format!("{number} is no choice; choose one of {words}"));
                }
            }
            (Shape::OneOf(_) | Shape::Text, _) => {
                let hint = match schema::format_of(schema) {
                    "duration" => "write a number with its unit in quotes, such as \"250ms\"",
                    _ => "write a text in quotes",
                };
                self.blame(key, format!("is {found}; {hint}"));
            }
        }
    }

    fn blame_unknown(
        &mut self,
        parent: &str,
        name: &str,
        properties: &serde_json::Map<String, Schema>,
    ) {
        let hint = suggest::hint(name, properties.keys().map(String::as_str), || {
            let known: Vec<&str> = properties.keys().map(String::as_str).collect();
            format!("; here may stand {}", known.join(", "))
        });
        self.blame(&key::child(parent, name), format!("there is no such key{hint}"));
    }

    /// Lets the structs read `table`. What they refuse is taken out, and they try again, so that each
    /// value that they refuse is found. `None` if that leaves something that cannot be read.
    fn read(&mut self, mut table: Table) -> Option<Config> {
        loop {
            let error = match serde_path_to_error::deserialize::<_, Config>(table.clone()) {
                Ok(config) => return Some(config),
                Err(error) => error,
            };
            let path: Vec<&Segment> = error.path().iter().collect();
            let key = path.iter().fold(String::new(), |parent, segment| match segment {
                Segment::Map { key } => key::child(&parent, key),
                Segment::Seq { index } => key::element(&parent, *index),
                Segment::Enum { .. } | Segment::Unknown => parent,
            });
            if !self.problems.iter().any(|known| key::is_within(&known.key, &key)) {
                self.blame(&key, error.inner().message().replace('\n', ", "));
            }
            if !take_out(&mut table, &path) {
                return None;
            }
        }
    }
}

/// Every variable that may be set, in upper case, with the key it means; the servers are those of
/// `table`.
fn known_variables<'a>(schema: &'a Schema, table: &Table) -> Vec<(String, Leaf<'a>)> {
    let servers: Vec<&String> =
        table.get("servers").and_then(Value::as_table).into_iter().flat_map(Table::keys).collect();
    let leaves = schema::leaves(schema).into_iter().flat_map(|leaf| {
        let of_each = leaf.path.iter().any(|name| name == NAME);
        let named = |name: &str| Leaf {
            path: leaf.path.iter().map(|n| if n == NAME { name } else { n }.to_owned()).collect(),
            schema: leaf.schema,
        };
        if of_each { servers.iter().map(|name| named(name)).collect() } else { vec![leaf] }
    });
    leaves.map(|leaf| (variable(&leaf.path), leaf)).collect()
}

/// The variable that sets the key of this path.
pub(super) fn variable(path: &[String]) -> String {
    format!("{PREFIX}{}", path.join("_").to_uppercase())
}

/// What a variable's text means where `schema` asks for a value; what does not fit stays a text, and
/// the comparison complains.
fn value_of(text: &str, schema: &Schema) -> Value {
    let as_text = || Value::String(text.to_owned());
    match Shape::of(schema) {
        Shape::Integer => text.parse().map_or_else(|_| as_text(), Value::Integer),
        Shape::Boolean => text.parse().map_or_else(|_| as_text(), Value::Boolean),
        Shape::List(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        Shape::Table(_) | Shape::TableOf(_) | Shape::OneOf(_) | Shape::Text => as_text(),
    }
}

/// Puts `value` at `path`, with the tables on the way to it. False if something else stands there.
fn put(table: &mut Table, path: &[String], value: Value) -> bool {
    match path {
        [] => false,
        [last] => {
            table.insert(last.clone(), value);
            true
        }
        [first, rest @ ..] => {
            let below = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
            below.as_table_mut().is_some_and(|below| put(below, rest, value))
        }
    }
}

/// Takes what stands at `path` out, or the whole list for one of its elements. False if nothing does.
fn take_out(table: &mut Table, path: &[&Segment]) -> bool {
    match path {
        [Segment::Map { key }, rest @ ..] => match table.get_mut(key) {
            Some(Value::Table(below)) if !rest.is_empty() => take_out(below, rest),
            _ => table.remove(key).is_some(),
        },
        _ => false,
    }
}

fn described(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a point",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{AcceptAtFrom, EXAMPLE, GoogleApi, Protocol, Provider};
    use super::*;
    use std::time::Duration;

    const HILL: &str = "[herd]\nname = \"news\"\n[servers.Hill]\nlisten = \"127.0.0.1:12000\"\n";

    #[test]
    fn what_is_left_out_has_its_default() {
        let config = load(HILL).unwrap();
        assert_eq!(config.herd.name, "news");
        let hill = &config.servers["Hill"];
        assert_eq!((hill.http, hill.protocol), (None, Protocol::Native));
        assert_eq!(config.places.provider, Provider::Embedded);
        assert_eq!(config.places.google.base_url(), "https://maps.googleapis.com");
        assert_eq!(config.limits.drain_timeout, Duration::from_secs(5));
        assert_eq!(config.accept_at_from("Hill"), AcceptAtFrom::Anyone);
    }

    #[test]
    fn what_is_written_counts() {
        let config = load(
            "[herd]\nname = \"news\"\n[servers.Hill]\nlisten = \"10.0.0.1:12000\"\nhttp = \"[::1]:0\"\nprotocol = \"at\"\n[places.google]\napi = \"new\"\ntimeout = \"250ms\"\n[limits]\nmax_line_bytes = 100\n",
        )
        .unwrap();
        assert_eq!(config.servers["Hill"].protocol, Protocol::At);
        assert_eq!(config.places.google.api, GoogleApi::New);
        assert_eq!(config.places.google.base_url(), "https://places.googleapis.com");
        assert_eq!(config.places.google.timeout, Duration::from_millis(250));
        assert_eq!(config.limits.max_line_bytes, 100);
        assert_eq!(config.accept_at_from("Hill"), AcceptAtFrom::Peers);
        assert_eq!(config.line_of("servers.Hill.listen"), Some(4));
        assert_eq!(config.line_of("limits.max_connections"), None);
    }

    #[test]
    fn the_settings_that_the_example_comments_out_are_the_defaults() {
        let uncommented: String = EXAMPLE
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(setting) if setting.starts_with(|c: char| c.is_alphabetic() || c == '[') => {
                    setting
                }
                _ => line,
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        assert_ne!(uncommented, EXAMPLE);
        let (plain, full) = (load(EXAMPLE).unwrap(), load(&uncommented).unwrap());
        assert_eq!(format!("{plain:?}"), format!("{full:?}"));
    }

    #[test]
    fn each_mistake_is_shown_at_its_line() {
        let cases = [
            (
                "neighbours = []",
                "servers.Hill.neighbours: there is no such key; did you mean `neighbors`?",
            ),
            (
                "colour = 1",
                "servers.Hill.colour: there is no such key; here may stand http, listen, neighbors, protocol, wan",
            ),
            (
                "neighbors = \"Smith\"",
                "servers.Hill.neighbors: is a text; write a list, such as [\"Hill\", \"Smith\"]",
            ),
            (
                "neighbors = [1]",
                "servers.Hill.neighbors[0]: is a whole number; write a text in quotes",
            ),
            (
                "protocol = \"att\"",
                "servers.Hill.protocol: \"att\" is no choice; did you mean `at`?",
            ),
            (
                "protocol = \"x\"",
                "servers.Hill.protocol: \"x\" is no choice; choose one of native, at",
            ),
            (
                "http = \"localhost:1\"",
                "servers.Hill.http: \"localhost:1\" is no address; write an IP address and a port, such as \"127.0.0.1:12000\" or \"[::1]:12000\"",
            ),
            ("http = 12100", "servers.Hill.http: is a whole number; write a text in quotes"),
            (
                "[limits]\nmax_line_bytes = 79",
                "limits.max_line_bytes: 79 is out of bounds; choose 80 to 65536",
            ),
            (
                "[limits]\nmax_reply_bytes = -1",
                "limits.max_reply_bytes: -1 is out of bounds; choose at least 4096",
            ),
            (
                "[limits]\nmax_connections = \"9\"",
                "limits.max_connections: is a text; write a whole number without quotes",
            ),
            (
                "[limits]\nlink_idle = 500",
                "limits.link_idle: is a whole number; write a number with its unit in quotes, such as \"250ms\"",
            ),
            (
                "[limits]\nlink_idle = \"500\"",
                "limits.link_idle: is no duration; write a whole number with ms, s, m, h or d, such as \"250ms\"",
            ),
            (
                "[limits]\naccept_at_from = \"nobody\"",
                "limits.accept_at_from: \"nobody\" is no choice; choose one of anyone, peers",
            ),
            (
                "[log]\ntraffic = 1",
                "log.traffic: is a whole number; write true or false without quotes",
            ),
            (
                "[places]\ngoogle = 1",
                "places.google: is a whole number; write it as a table [places.google]",
            ),
            (
                "[places.google]\nbase_url = \"https://u:p@x\"",
                "places.google.base_url: must end with its path; leave out user, password, query and fragment",
            ),
            (
                "[places.google]\napi_key_env = \"AIzaSyExample\"",
                "places.google.api_key_env: is no name of an environment variable; write the name of the one that holds the key, never the key itself",
            ),
            ("[limit]", "limit: there is no such key; did you mean `limits`?"),
        ];
        for (text, expected) in cases {
            let line = 4 + text.lines().count();
            check(&format!("{HILL}{text}\n"), &[], &[&format!("herd.toml:{line}: {expected}")]);
        }
    }

    #[test]
    fn several_mistakes_are_shown_together() {
        check(
            "[herd]\n[servers.A]\nlisten = \"x\"\nhttp = \"y\"\nz = 1\n[servers.B]\n[limits]\nlink_idle = \"never\"\n",
            &[("GEOHERD_LOG_DRI", "x")],
            &[
                "GEOHERD_LOG_DRI: sets no key of the config; did you mean GEOHERD_LOG_DIR?",
                "herd.toml:1: herd.name: is missing; add name = \"news\"",
                "herd.toml:3: servers.A.listen: \"x\" is no address; write an IP address and a port, such as \"127.0.0.1:12000\" or \"[::1]:12000\"",
                "herd.toml:4: servers.A.http: \"y\" is no address; write an IP address and a port, such as \"127.0.0.1:12000\" or \"[::1]:12000\"",
                "herd.toml:5: servers.A.z: there is no such key; here may stand http, listen, neighbors, protocol, wan",
                "herd.toml:6: servers.B.listen: is missing; add listen = \"127.0.0.1:12000\"",
                "herd.toml:8: limits.link_idle: is no duration; write a whole number with ms, s, m, h or d, such as \"250ms\"",
            ],
        );
    }

    #[test]
    fn what_only_the_structs_refuse_is_shown_together_too() {
        check(
            "[herd]\nname = \"news\"\n[servers.A]\nlisten = \"127.0.0.1:1\"\nhttp = \"y\"\n[limits]\nlink_idle = \"never\"\nlink_dead = \"ever\"\n",
            &[],
            &[
                "herd.toml:5: servers.A.http: \"y\" is no address; write an IP address and a port, such as \"127.0.0.1:12000\" or \"[::1]:12000\"",
                "herd.toml:7: limits.link_idle: is no duration; write a whole number with ms, s, m, h or d, such as \"250ms\"",
                "herd.toml:8: limits.link_dead: is no duration; write a whole number with ms, s, m, h or d, such as \"250ms\"",
            ],
        );
    }

    #[test]
    fn a_herd_without_a_table_misses_its_name() {
        check("", &[], &["herd.toml: herd.name: is missing; add name = \"news\""]);
    }

    #[test]
    fn text_that_is_not_toml_is_shown_by_line_and_not_quoted() {
        for text in [
            "[herd]\nname = secret",
            "[herd]\nname = \"a\"\nname = \"b\"",
            "[herd\n",
            "a = \n\u{0}",
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.starts_with("herd.toml:"), "{error}");
            assert!(error.contains(": is not TOML: ") && !error.contains("secret"), "{error}");
        }
        assert!(
            load("a = 1\n[herd]\nname = x").unwrap_err().to_string().starts_with("herd.toml:3: ")
        );
    }

    #[test]
    fn variables_win_over_the_file() {
        let env = [
            ("GEOHERD_HERD_NAME", "other"),
            ("GEOHERD_LIMITS_MAX_CONNECTIONS", "10"),
            ("GEOHERD_LOG_TRAFFIC", "false"),
            ("GEOHERD_PLACES_GOOGLE_TIMEOUT", "2s"),
            ("GEOHERD_SERVERS_Hill_LISTEN", "127.0.0.1:1"),
            ("GEOHERD_SERVERS_HILL_NEIGHBORS", "Smith, Jaquez,"),
            ("GEOHERD_SERVER", "127.0.0.1:12000"),
            ("GEOHERD_CONFIG", "herd.toml"),
            ("PATH", "/bin"),
        ];
        let config = load_with(HILL, &env).unwrap();
        assert_eq!(config.herd.name, "other");
        assert_eq!(config.limits.max_connections, 10);
        assert!(!config.log.traffic);
        assert_eq!(config.places.google.timeout, Duration::from_secs(2));
        assert_eq!(config.servers["Hill"].listen.port(), 1);
        assert_eq!(config.servers["Hill"].neighbors, ["Smith", "Jaquez"]);
        let problem = config.problem("servers.Hill.listen", "is in use").to_string();
        assert_eq!(problem, "GEOHERD_SERVERS_Hill_LISTEN: servers.Hill.listen: is in use");
    }

    #[test]
    fn mistakes_in_variables_name_them() {
        check(
            HILL,
            &[("GEOHERD_LIMITS_MAX_CONNECTIONS", "many"), ("GEOHERD_LIMITS_LINK_IDLE", "1")],
            &[
                "GEOHERD_LIMITS_MAX_CONNECTIONS: limits.max_connections: is a text; write a whole number without quotes",
                "GEOHERD_LIMITS_LINK_IDLE: limits.link_idle: is no duration; write a whole number with ms, s, m, h or d, such as \"250ms\"",
            ],
        );
        check(
            HILL,
            &[("GEOHERD_SERVERS_SMITH_LISTEN", "x"), ("GEOHERD_TEA", "x")],
            &[
                "GEOHERD_SERVERS_SMITH_LISTEN: sets no key of the config; did you mean GEOHERD_SERVERS_HILL_LISTEN?",
                "GEOHERD_TEA: sets no key of the config; unset it, or see `geoherd config reference` for all keys",
            ],
        );
    }

    #[test]
    fn a_variable_that_could_mean_two_servers_is_refused() {
        let text = format!("{HILL}[servers.HILL]\nlisten = \"127.0.0.1:2\"\n");
        check(
            &text,
            &[("GEOHERD_SERVERS_HILL_LISTEN", "x")],
            &[
                "GEOHERD_SERVERS_HILL_LISTEN: means servers.HILL.listen as well as servers.Hill.listen; set the one you mean in the file",
            ],
        );
    }

    #[test]
    fn every_key_has_a_variable_of_its_own() {
        let schema = schema::schema();
        let mut names: Vec<String> =
            schema::leaves(&schema).iter().map(|leaf| variable(&leaf.path)).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    pub(in super::super) fn load(text: &str) -> Result<Config, ConfigErrors> {
        load_with(text, &[])
    }

    fn load_with(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(text, Path::new("herd.toml"), env)
    }

    #[track_caller]
    fn check(text: &str, env: &[(&str, &str)], expected: &[&str]) {
        let errors = load_with(text, env).unwrap_err();
        let printed: Vec<String> = errors.problems.iter().map(ToString::to_string).collect();
        assert_eq!(printed, expected, "{text}");
    }
}
