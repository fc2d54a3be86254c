//! The config of a herd: one TOML file that all its servers share, the environment over it.
//!
//! [`Config::load`] reads text and variables into these structs and says about each mistake in which
//! line it stands; [`Config::check`] then looks at the herd as a whole. Both take what they need as
//! arguments, so neither reads a file, the environment or a socket. Flags are the business of the
//! binary, which sets fields after loading.
//!
//! The structs are also the reference page: their doc comments, defaults and bounds are printed by
//! [`reference()`], and the same description ([`schema()`]) decides which keys and variables exist.

mod check;
mod difference;
mod graph;
mod key;
mod load;
mod problem;
mod reference;
mod schema;
mod secret;
mod sections;
mod storage;
mod suggest;
mod text;

pub use check::Report;
pub use difference::Difference;
pub use graph::{Naming, Neighbor};
pub use problem::{ConfigErrors, Problem};
pub use reference::reference;
pub use schema::schema;
pub use secret::Secret;
pub use sections::{
    AcceptAtFrom, Config, Google, GoogleApi, Herd, Limits, Log, LogFormat, OperateFrom, Places,
    Protocol, Provider, Redundancy, Server,
};
pub use storage::{Fsync, OnDiskError, Size, Storage, format_size};
pub use suggest::nearest;
pub use text::{BaseUrl, ParseBaseUrlError, ParseDurationError, format_duration, parse_duration};

/// A commented config of five servers with six links, which passes [`Config::check`] as it stands.
pub const EXAMPLE: &str = include_str!("config/example.toml");
