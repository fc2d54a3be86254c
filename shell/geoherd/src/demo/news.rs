//! What the tasks of the demo tell the one that shows it.

use super::http::Status;
use herd_geo::Point;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) enum News {
    /// A server has answered somebody's report.
    Reported(Report),
    /// It was followed through the herd.
    Spread { person: usize, spread: Spread },
    /// A server was asked how it is.
    Asked { server: usize, status: Option<Status> },
    /// A server was asked what is near somebody.
    Nearby(Nearby),
    /// A server that was started again is ready, so long after its start, or will not be.
    Restarted { server: usize, outcome: anyhow::Result<Duration> },
}

/// A position that a server has answered.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) person: usize,
    /// The time in it, as it was written.
    pub(super) time: String,
    pub(super) sent: Instant,
    pub(super) fix: Point,
    pub(super) street: String,
    /// Who answered.
    pub(super) server: usize,
}

/// How far a report has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// All servers that run have it, so long after it was sent.
    All(Duration),
    /// This one did not have it in time.
    Missing(usize),
}

/// The answer to "what is near somebody".
#[derive(Clone, Debug)]
pub(super) struct Nearby {
    pub(super) person: usize,
    pub(super) server: usize,
    /// Names and meters, nearest first.
    pub(super) places: Vec<(String, f64)>,
}
