//! `POST /leave`: an operator wants this server to leave the herd for good, and waits for the outcome.
//!
//! The body is the server's name, so that nobody has the wrong one leave. What leaving takes is the
//! business of whoever receives the [`LeaveWish`].

use crate::host::Host;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tracing::info;

/// The wish, and where its outcome goes.
#[derive(Debug)]
pub struct LeaveWish {
    /// To be answered once, when it is certain.
    pub outcome: oneshot::Sender<LeaveOutcome>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaveOutcome {
    /// It has left and ends now. All that it held is held by every peer it was linked to.
    Left,
    /// It stays, and goes on as before; why, and what to do.
    Stays(String),
    /// It has left and ends now, but a link was lost in the last moment; what may be lost.
    LeftInDoubt(String),
}

pub(super) async fn leave(
    host: Arc<Host>,
    wishes: mpsc::Sender<LeaveWish>,
    body: Bytes,
) -> Response {
    let refuse = |error: String| (StatusCode::CONFLICT, Json(json!({ "error": error })));
    // A shell's `echo` ends with a line feed, which no name can hold.
    let named = body.strip_suffix(b"\n").unwrap_or(&body);
    if named != host.name.as_bytes() {
        let error = format!(
            "this is {}: the body must be the name of the server that is to leave; ask at its address",
            host.name
        );
        return refuse(error).into_response();
    }
    let (outcome, answer) = oneshot::channel();
    if wishes.try_send(LeaveWish { outcome }).is_err() {
        return refuse("it is leaving, or stopping, already".to_owned()).into_response();
    }
    info!("an operator has this server leave the herd");
    let server = &host.name;
    match answer.await {
        Ok(LeaveOutcome::Left) => Json(json!({ "server": server, "left": true })).into_response(),
        Ok(LeaveOutcome::LeftInDoubt(doubt)) => {
            Json(json!({ "server": server, "left": true, "doubt": doubt })).into_response()
        }
        Ok(LeaveOutcome::Stays(why)) => refuse(format!("{server} stays: {why}")).into_response(),
        Err(_) => refuse("it was told to stop meanwhile".to_owned()).into_response(),
    }
}
