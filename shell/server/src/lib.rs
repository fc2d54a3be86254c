//! One server as running tasks: what listens, what dials, what logs, how it starts and stops.
//!
//! [`serve`] is the composition root: configuration in, a running server out. What the server knows is
//! in `core/node`, what its protocols say in `shell/front`; here is only what connects them to the
//! operating system.

mod accept;
pub mod config;
mod dial;
pub mod disk;
mod facts;
mod fetch;
mod growth;
pub mod inspect;
mod keeper;
mod lanes;
mod leave;
mod link;
mod reload;
mod revive;
mod serve;
mod syncer;
mod telemetry;

pub use herd_front::dump;
pub use reload::ReadConfig;
pub use revive::ReviveError;
pub use serve::{Options, ServeError, serve};
