//! `[storage]`: what outlives the process.

use super::text::{format_duration, parse_duration};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

/// `[storage]`: what is written to disk, so that it outlives the process. docs/storage.md says what each
/// setting can lose on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// The directory in which each server has one of its own name. Without it, and without `--data-dir`,
    /// which names this server's own directory and wins over it, reports are kept in memory only.
    pub dir: Option<PathBuf>,
    /// Whether a report is written down before it is answered. Counts only where there is a directory.
    pub durable: bool,
    /// When what was written is made safe against a power cut: `"always"`, before it is answered; after a
    /// time at most, such as `"50ms"`; or `"os"`, when the operating system likes to.
    pub fsync: Fsync,
    /// What happens to reports while the disk fails or is full.
    pub on_disk_error: OnDiskError,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            dir: None,
            durable: true,
            fsync: Fsync::Every(Duration::from_millis(50)),
            on_disk_error: OnDiskError::Degrade,
        }
    }
}

/// What happens to reports while the disk fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDiskError {
    /// they are answered and spread from memory, and everywhere it is said that nothing is durable
    #[default]
    Degrade,
    /// they are answered with `? ` and their line
    Refuse,
}

/// When what was written is made safe against a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before it is answered.
    Always,
    /// So long after it was written at most.
    Every(Duration),
    /// When the operating system likes to.
    Os,
}

impl Serialize for Fsync {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Always => serializer.serialize_str("always"),
            Self::Os => serializer.serialize_str("os"),
            Self::Every(interval) => serializer.serialize_str(&format_duration(*interval)),
        }
    }
}

impl<'de> Deserialize<'de> for Fsync {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match &*String::deserialize(deserializer)? {
            "always" => Ok(Self::Always),
            "os" => Ok(Self::Os),
            text => parse_duration(text).map(Self::Every).map_err(|_| {
                de::Error::custom("write \"always\", \"os\" or a time such as \"50ms\"")
            }),
        }
    }
}

impl JsonSchema for Fsync {
    fn schema_name() -> Cow<'static, str> {
        "Fsync".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(always|os|[0-9]+(ms|s|m|h|d))$" })
    }

    fn inline_schema() -> bool {
        true
    }
}
