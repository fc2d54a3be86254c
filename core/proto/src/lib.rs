//! Names, times, reports and the codec of the line protocol: bytes to types and back.
//!
//! Absent on purpose: state. Nothing here remembers a client or a server; the one thing that is
//! remembered at all is the unfinished line of a connection, in [`Framer`]. What stands here meets
//! hostile input first, so nothing indexes, nothing unwraps, and every length has a named bound.
//!
//! Source: the project's line protocol, told in our own words in `docs/protocol.md`.

mod command;
mod features;
mod fields;
mod framing;
mod hello;
pub mod peer;
mod record;
mod report;
pub mod tagged;
mod time;
pub mod varint;

pub use command::{
    At, Command, Iamat, RADIUS_KM_MAX, RESULTS_MAX, Whatsat, write_unknown, write_unknown_too_long,
};
pub use features::{Features, Versions};
pub use fields::{NAME_BYTES_MAX, is_name};
pub use framing::{Frame, Framer, Frames, TOO_LONG_ECHO_BYTES};
pub use hello::{Hello, PROTOCOL_WORD};
pub use record::Record;
pub use report::{Report, effective_time};
pub use time::{Difference, Instant, Now, TIME_BYTES_MAX, UnixTime};
