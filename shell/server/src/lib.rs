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
mod fsync_thread;
pub mod inspect;
mod journal_writer;
mod lanes;
mod leave;
mod link;
mod recovery;
mod reload;
mod serve;
mod telemetry;

pub use herd_front::dump;
pub use recovery::RecoveryError;
pub use reload::ReadConfig;
pub use serve::{Options, ServeError, serve};
