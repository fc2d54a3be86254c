//! What is nearby: queries, answers, and one pure adapter per provider.
//!
//! Nothing here does I/O. A remote provider is two functions, query to HTTP request and HTTP response
//! to [`Document`] ([`google`]); the embedded one is a look-up in memory ([`Gazetteer`]). The [`Desk`]
//! decides which questions are fetched when. There is no cache of answers on purpose: Google's terms
//! allow none. Of the embedded data each result is printed once; what is near is looked up each time.

pub mod dataset;
#[cfg(feature = "answers")]
mod desk;
#[cfg(feature = "answers")]
mod document;
#[cfg(feature = "answers")]
mod embedded;
#[cfg(feature = "answers")]
pub mod google;
#[cfg(feature = "answers")]
mod hours;
#[cfg(feature = "answers")]
mod plus_code;
#[cfg(feature = "answers")]
pub mod print;
#[cfg(feature = "answers")]
mod printed;
#[cfg(feature = "answers")]
mod query;

#[cfg(feature = "answers")]
pub use desk::{Ask, Desk, FetchId, Limits, Ticket};
#[cfg(feature = "answers")]
pub use document::{Document, Status};
#[cfg(feature = "answers")]
pub use embedded::Gazetteer;
#[cfg(feature = "answers")]
pub use query::{BOUND_MAX, Query, RADIUS_M_MAX};
