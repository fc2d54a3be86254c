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
    /// The most that the journals of one server may take, such as `"10GB"`; what does not fit counts as a full
    /// disk. Two and a half times what is alive should fit, since files are written anew beside the old ones.
    /// Without it the disk is the bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"10GB")]
    pub max_disk: Option<Size>,
    /// What happens to reports while the disk fails or is full.
    pub on_disk_error: OnDiskError,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            dir: None,
            durable: true,
            fsync: Fsync::Every(Duration::from_millis(50)),
            max_disk: None,
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

/// Bytes, as people write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(u64);

const SIZE_UNITS: [(&str, u64); 4] =
    [("KB", 1000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000)];

impl Size {
    /// How many.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

/// Prints bytes in the largest unit in which they are whole; parts of a kilobyte are cut off.
pub fn format_size(bytes: u64) -> String {
    let fits = |unit: u64| bytes.is_multiple_of(unit) && bytes > 0;
    let (name, unit) = SIZE_UNITS.iter().rev().find(|(_, u)| fits(*u)).unwrap_or(&("KB", 1000));
    format!("{}{name}", bytes / unit)
}

fn parse_size(text: &str) -> Option<Size> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, unit) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*unit).map(Size)
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_size(self.0))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_size(&text).ok_or_else(|| {
            de::Error::custom(
                "is no size; write a whole number with KB, MB, GB or TB, such as \"10GB\"",
            )
        })
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(KB|MB|GB|TB)$" })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for text in ["1KB", "64MB", "10GB", "3TB"] {
            assert_eq!(format_size(parse_size(text).unwrap().bytes()), text);
        }
        for text in ["", "10", "10 GB", "10gb", "99999999TB", "GB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
