//! The document of `GET /herd`, as far as it is shown. Members that a server of another version adds are
//! skipped, those that it lacks are as good as unknown.

use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names are the JSON members")]
pub(super) struct Herd {
    pub(super) herd: String,
    pub(super) asked: String,
    pub(super) well: bool,
    pub(super) problems: Vec<String>,
    pub(super) servers: Vec<Server>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names are the JSON members")]
pub(super) struct Server {
    pub(super) server: String,
    pub(super) state: String,
    pub(super) heard_ago_s: Option<f64>,
    pub(super) version: Option<String>,
    pub(super) uptime_s: Option<u64>,
    pub(super) clients: Option<u64>,
    pub(super) updates: Option<u64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) lag_updates: Option<u64>,
    pub(super) lag_ms: Option<u64>,
    pub(super) audits: Option<Audits>,
    pub(super) alarms: Vec<Alarm>,
    pub(super) links: Vec<Link>,
    /// Only the server that is asked lists them.
    pub(super) streams: Vec<IgnoredAny>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Audits {
    pub(super) rounds: u64,
    pub(super) repairs: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Alarm {
    pub(super) kind: String,
    pub(super) count: u64,
    pub(super) ago_s: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Link {
    pub(super) server: String,
    pub(super) protocol: String,
    pub(super) state: String,
    pub(super) round_trip_ms: Option<f64>,
    pub(super) records_sent: u64,
    pub(super) records_received: u64,
}

impl Server {
    /// Whether what it says is of now.
    pub(super) fn is_present(&self) -> bool {
        self.state != "unreachable" && self.state != "unheard"
    }
}
