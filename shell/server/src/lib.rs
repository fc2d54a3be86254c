//! Driver, dialer, config, telemetry: one server as running tasks.

pub mod config;
