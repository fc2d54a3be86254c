//! The tables of the file as structs: a table to read, with every default and bound and its reason.
//!
//! The doc comments of fields are printed on the reference page as they stand here, so they speak to
//! whoever runs a herd.

use super::problem::Source;
use super::storage::{Size, Storage};
use super::text::{
    AddressText, BaseUrl, DurationText, address, duration, optional_duration, variable_name,
};
use herd_front::http::MayOperate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The config of a herd. All its servers read the same file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The herd as a whole.
    pub herd: Herd,
    /// The servers of the herd, one table each: `[servers.Hill]`. A name has 1 to 255 bytes without
    /// white space or control characters.
    #[serde(default)]
    pub servers: BTreeMap<String, Server>,
    /// Where the answer to "what is nearby" comes from.
    #[serde(default)]
    pub places: Places,
    /// What outlives the process.
    #[serde(default)]
    pub storage: Storage,
    /// What is written to a log, and where.
    #[serde(default)]
    pub log: Log,
    /// The bounds within which a server stays, whatever clients and neighbors do.
    #[serde(default)]
    pub limits: Limits,
    #[serde(skip)]
    pub(super) source: Source,
}

/// `[herd]`: the herd as a whole.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Herd {
    /// The name of the herd, 1 to 64 characters without white space. Servers of different herds refuse
    /// to be neighbors, so that a wrong address does not mix two herds.
    #[schemars(example = &"news")]
    pub name: String,
    /// By how many ways each server asks for the updates of every other. One costs a single message a
    /// server and update; two halve the gap after a link is cut in silence.
    #[serde(default, deserialize_with = "redundancy")]
    pub redundancy: Redundancy,
    /// A server that was silent for so long is not waited for when superseded updates are forgotten; when it returns
    /// it compares what it has with its neighbors and fetches what differs.
    #[serde(with = "duration", default = "forget_after")]
    #[schemars(with = "DurationText", extend("default" = "10m"))]
    pub forget_after: Duration,
    /// How long reports are kept: none is accepted or shown that its first server received longer ago, and a
    /// forgotten client is remembered as such for an hour more. To be the same on all servers.
    #[serde(with = "duration", default = "horizon")]
    #[schemars(with = "DurationText", extend("default" = "30d"))]
    pub horizon: Duration,
    /// A client whose newest report was received longer ago is forgotten, on every server at once and without a
    /// message; at most `horizon`, which counts where this is not set. To be the same on all servers.
    #[serde(with = "optional_duration", default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DurationText>", example = &"7d")]
    pub expire_after: Option<Duration>,
}

fn horizon() -> Duration {
    Duration::from_hours(30 * 24)
}

fn forget_after() -> Duration {
    Duration::from_mins(10)
}

/// By how many ways updates are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Redundancy {
    /// one neighbor for each stream
    #[default]
    #[serde(rename = "1")]
    One,
    /// two
    #[serde(rename = "2")]
    Two,
    /// every neighbor: plain flooding
    #[serde(rename = "all")]
    All,
}

/// Reads `1`, `2` or `"all"`; the numbers with or without quotes.
fn redundancy<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Redundancy, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u8),
        Word(Redundancy),
    }
    match Written::deserialize(deserializer)? {
        Written::Number(1) => Ok(Redundancy::One),
        Written::Number(2) => Ok(Redundancy::Two),
        Written::Number(_) => Err(serde::de::Error::custom("choose 1, 2 or \"all\"")),
        Written::Word(word) => Ok(word),
    }
}

/// `[servers.NAME]`: one server of the herd.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// IP address and port for clients and for the other servers, which dial it as it stands here;
    /// therefore the port cannot be 0.
    #[serde(deserialize_with = "address")]
    #[schemars(with = "AddressText", example = &"127.0.0.1:12000")]
    pub listen: SocketAddr,
    /// IP address and port for health and metrics; without it there are none. Port 0 takes any free
    /// one.
    #[serde(default, deserialize_with = "address")]
    #[schemars(with = "Option<AddressText>")]
    pub http: Option<SocketAddr>,
    /// The servers this one is linked with. Links are symmetric: naming one end is enough.
    #[serde(default)]
    pub neighbors: Vec<String>,
    /// What this server's neighbors speak with it.
    #[serde(default)]
    pub protocol: Protocol,
    /// Whether it is far from its neighbors: on all its links `link_dead_wan` counts, at both ends,
    /// and not `link_dead`.
    #[serde(default)]
    pub wan: bool,
}

/// What a server speaks with its neighbors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// this product's own frames
    #[default]
    Native,
    /// plain AT lines alone, for another implementation; its neighbors dial it
    At,
}

/// `[places]`: where the answer to "what is nearby" comes from.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Places {
    /// Who is asked for places.
    pub provider: Provider,
    /// How Google is asked; read only with `provider = "google"`.
    pub google: Google,
}

/// Who is asked for places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// the map data inside this program: no network, no key
    #[default]
    Embedded,
    /// Google's Places service: needs a key
    Google,
    /// nobody: every answer has no results
    None,
}

/// `[places.google]`: how Google is asked. It holds no secret, only where to find one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Google {
    /// Which of Google's two services is asked. Answers have the legacy form either way.
    pub api: GoogleApi,
    /// The beginning of the service's URLs, for a proxy or a test. Without it Google's own:
    /// `https://maps.googleapis.com` (legacy) or `https://places.googleapis.com` (new).
    pub base_url: Option<BaseUrl>,
    /// The name of the environment variable that holds the key. The key itself never stands here.
    #[serde(deserialize_with = "variable_name")]
    pub api_key_env: String,
    /// A file that holds the key and nothing else; it wins over `api_key_env`.
    pub api_key_file: Option<PathBuf>,
    /// How long one question may take, from dialing to the last byte. A person is waiting for it.
    #[serde(with = "duration")]
    #[schemars(with = "DurationText")]
    pub timeout: Duration,
    /// Questions on their way at once; more wait for their turn. They cost money, so this is little.
    #[schemars(range(min = 1, max = 1024))]
    pub max_in_flight: usize,
    /// The largest answer that is read. Twenty results have a small part of it; what is longer is no
    /// answer.
    #[schemars(range(min = 1024, max = 67_108_864))]
    pub max_body_bytes: usize,
}

impl Google {
    /// The beginning of the service's URLs, without a slash at its end.
    pub fn base_url(&self) -> &str {
        match (&self.base_url, self.api) {
            (Some(url), _) => url.as_str(),
            (None, GoogleApi::Legacy) => "https://maps.googleapis.com",
            (None, GoogleApi::New) => "https://places.googleapis.com",
        }
    }
}

impl Default for Google {
    fn default() -> Self {
        Self {
            api: GoogleApi::Legacy,
            base_url: None,
            api_key_env: "GOOGLE_PLACES_KEY".to_owned(),
            api_key_file: None,
            timeout: Duration::from_secs(5),
            max_in_flight: 16,
            max_body_bytes: 4 << 20,
        }
    }
}

/// Which of Google's two services is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GoogleApi {
    /// Nearby Search of the Places API
    #[default]
    Legacy,
    /// searchNearby of the Places API (New)
    New,
}

/// `[log]`: what is written to a log, and where.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The directory for `NAME.log` of each server, relative to the working directory. Without it the
    /// log goes to standard error. `--log-dir` wins over it.
    pub dir: Option<PathBuf>,
    /// One line for each message received and sent, of clients and servers alike. It holds names and
    /// positions, so it goes to the file alone and never to standard error.
    pub traffic: bool,
    /// What else is logged: a level, or levels by part, as in `RUST_LOG`. `--log-filter` wins over it.
    pub filter: String,
    /// How a log line looks. `--log-format` wins over it.
    pub format: LogFormat,
    /// A log file that has grown to this many bytes is set aside, and a new one begun.
    #[schemars(range(min = 4096))]
    pub max_file_bytes: u64,
    /// How many files set aside are kept; the oldest goes. With `max_file_bytes` this bounds the disk
    /// that a server's log can take.
    #[schemars(range(min = 1, max = 1000))]
    pub max_files: usize,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            dir: None,
            traffic: true,
            filter: "info".to_owned(),
            format: LogFormat::Text,
            max_file_bytes: 16 << 20,
            max_files: 8,
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// for people
    #[default]
    Text,
    /// one JSON object a line, for programs
    Json,
}

/// `[limits]`: the bounds within which a server stays.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections of clients at once; a further one is closed as it comes. An idle one costs some
    /// 3 KB, so these cost 60 MB; the process also needs that many open files.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_connections: usize,
    /// Threads that serve clients; a connection stays on the one it was given to, and the first does everything else
    /// too. Without it one less than the machine has cores, and at least one: what a server knows is in one
    /// piece, so that more threads wait for one another in part, and the system needs a core for the network.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<usize>,
    /// Clients stored at once, those among them that were forgotten within the horizon. Beyond it the IAMAT of a client
    /// that is not known is answered with `? ` and the line; known ones go on, and reports of other servers are
    /// accepted. Without it memory is the bound.
    #[schemars(range(min = 1))]
    pub max_clients: Option<usize>,
    /// Memory of the process, such as `"8GB"`, from which on clients that are not known are turned away in the same
    /// way; looked at once a second. A client costs some 250 bytes beside its text.
    pub max_memory: Option<Size>,
    /// The longest line that is read, without its end. The rest of a longer one is thrown away as it
    /// comes. The longest sensible command has some 350 bytes.
    #[schemars(range(min = 80, max = 65_536))]
    pub max_line_bytes: usize,
    /// How far ahead of the server's clock a report may be ordered. One further ahead is kept but
    /// ordered as if it were this far, or one phone with a wrong clock would hide its later reports. Servers whose
    /// clocks differ by more than twice as much do not link.
    #[serde(with = "duration")]
    #[schemars(with = "DurationText")]
    pub max_future_skew: Duration,
    /// Whose AT lines are believed. Without it `anyone` where `listen` is a loopback address, as the
    /// first design had it, and `peers` elsewhere, since whoever may send AT can place anyone anywhere.
    pub accept_at_from: Option<AcceptAtFrom>,
    /// Who may change something over `http` (have a client forgotten, load a dump), or see at once where
    /// everybody is (make a dump). There are no passwords there, so whoever can come to the address can do
    /// it.
    pub operate_from: OperateFrom,
    /// How long a server that is told to stop goes on answering what it has received.
    #[serde(with = "duration")]
    #[schemars(with = "DurationText")]
    pub drain_timeout: Duration,
    /// Replies that wait for one client to read them. A client with more is not read from until it
    /// takes some. An answer with twenty places has a small part of it.
    #[schemars(range(min = 4096))]
    pub max_reply_bytes: usize,
    /// A client for which replies wait and that takes none for so long is dropped.
    #[serde(with = "duration")]
    #[schemars(with = "DurationText")]
    pub write_timeout: Duration,
    /// Questions of one connection that wait for places at once; its next commands wait in the socket.
    #[schemars(range(min = 1, max = 65_536))]
    pub max_waiting_answers: usize,
    /// The wait before a lost neighbor is dialed again; each failure doubles it.
    #[serde(with = "duration")]
    #[schemars(with = "DurationText")]
    pub dial_backoff_min: Duration,
    /// The longest wait between two such attempts, which go on for as long as the server runs.
    #[serde(with = "duration")]
    #[schemars(with = "DurationText")]
    pub dial_backoff_max: Duration,
    /// A heartbeat goes over a link on which nothing was sent for so long.
    #[serde(with = "duration")]
    #[schemars(with = "DurationText")]
    pub link_idle: Duration,
    /// A link on which nothing came for so long is closed and dialed again: three heartbeats, right in a local
    /// network. If the machine of the neighbor still accepts connections it is waited for four times as long.
    #[serde(with = "duration")]
    #[schemars(with = "DurationText")]
    pub link_dead: Duration,
    /// The same where one of the two servers has `wan = true`: distant networks lose a heartbeat now and
    /// then, and dialing anew costs more there.
    #[serde(with = "duration")]
    #[schemars(with = "DurationText")]
    pub link_dead_wan: Duration,
    /// How long a new link waits for the other's first line before it is given up; four times as long if the machine
    /// of the neighbor still accepts connections.
    #[serde(with = "duration")]
    #[schemars(with = "DurationText")]
    pub hello_timeout: Duration,
    /// How long after its start a server waits for neighbors that cannot be reached before it calls
    /// itself ready without them.
    #[serde(with = "duration")]
    #[schemars(with = "DurationText")]
    pub ready_grace: Duration,
    /// Connections that the system completes before the server takes them, up to the system's own bound (Linux:
    /// `net.core.somaxconn`, usually 4096). With 1024 some clients waited a whole second when 5,000 came at once.
    #[schemars(range(min = 1, max = 65_535))]
    pub listen_backlog: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            threads: None,
            max_clients: None,
            max_memory: None,
            max_line_bytes: 8192,
            max_future_skew: Duration::from_mins(1),
            accept_at_from: None,
            operate_from: OperateFrom::default(),
            drain_timeout: Duration::from_secs(5),
            max_reply_bytes: 256 << 10,
            write_timeout: Duration::from_mins(1),
            max_waiting_answers: 128,
            dial_backoff_min: Duration::from_millis(50),
            dial_backoff_max: Duration::from_secs(5),
            link_idle: Duration::from_millis(500),
            link_dead: Duration::from_millis(1500),
            link_dead_wan: Duration::from_secs(5),
            hello_timeout: Duration::from_millis(1500),
            ready_grace: Duration::from_secs(3),
            listen_backlog: 4096,
        }
    }
}

/// Whose AT lines are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AcceptAtFrom {
    /// any connection
    Anyone,
    /// links with neighbors
    Peers,
}

/// Who may change something over `http`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OperateFrom {
    /// anyone on the machine itself, and only where `http` is a loopback address
    #[default]
    Loopback,
    /// whoever can come to the address; right where a firewall or a proxy keeps strangers away
    Anyone,
    /// nobody
    Nobody,
}

impl Config {
    /// Whether the server `name` takes what operators do at its `http` address.
    pub fn may_operate(&self, name: &str) -> MayOperate {
        let http = self.servers.get(name).and_then(|server| server.http);
        match self.limits.operate_from {
            OperateFrom::Anyone => MayOperate::Yes,
            OperateFrom::Loopback if http.is_some_and(|http| http.ip().is_loopback()) => {
                MayOperate::Yes
            }
            OperateFrom::Loopback | OperateFrom::Nobody => MayOperate::No,
        }
    }

    /// Whose AT lines the server `name` believes: what the file says, else `anyone` on a loopback
    /// address and `peers` on any other.
    pub fn accept_at_from(&self, name: &str) -> AcceptAtFrom {
        self.limits.accept_at_from.unwrap_or_else(|| {
            let loopback = self.servers.get(name).is_some_and(|s| s.listen.ip().is_loopback());
            if loopback { AcceptAtFrom::Anyone } else { AcceptAtFrom::Peers }
        })
    }
}
