//! What changes something over HTTP, or tells where everybody is, and who may ask for it.
//!
//! The one door for all such routes, so that none can be left open. There are no passwords: whether
//! strangers can come to the address at all decides, and the configuration says so. A browser is a
//! stranger on whatever machine it runs, since any page in it can send requests; browsers put an
//! `Origin` into what could change something, and nothing with one is taken.

use super::audit;
use super::dump::Dumps;
use super::leave::{self, LeaveWish};
use super::{load, nearby};
use crate::host::Host;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use herd_proto::is_name;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::info;

/// Whether what operators do is taken at this address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayOperate {
    /// From whoever can come here.
    Yes,
    /// From nobody.
    No,
}

/// The routes for operators: `GET /dump`, `GET /nearby`, `POST /load`, `POST /forget`, `POST /audit`, `POST
/// /leave`.
pub(super) fn routes(may: MayOperate, wishes: mpsc::Sender<LeaveWish>) -> Router<Arc<Host>> {
    let dumps = Dumps::new();
    Router::new()
        .route("/dump", get(async move |State(host): State<Arc<Host>>| dumps.answer(host)))
        .route(
            "/nearby",
            get(async |State(host): State<Arc<Host>>, uri: Uri| nearby::nearby(&host, &uri).await),
        )
        .route(
            "/load",
            post(async |State(host): State<Arc<Host>>, body: Bytes| load::load(host, body).await)
                .layer(DefaultBodyLimit::max(load::BODY_BYTES_MAX)),
        )
        .route("/forget", post(forget))
        // It mends what it finds.
        .route(
            "/audit",
            post(async |State(host): State<Arc<Host>>| Json(audit::audit(&host).await)),
        )
        .route(
            "/leave",
            post(async move |State(host): State<Arc<Host>>, body: Bytes| {
                leave::leave(host, wishes, body).await
            }),
        )
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(move |request: Request, next: Next| guard(may, request, next)))
}

/// More than any client's name with what may follow it.
const BODY_BYTES_MAX: usize = 1024;

async fn guard(may: MayOperate, request: Request, next: Next) -> Response {
    match refusal(may, request.headers()) {
        Some(why) => (StatusCode::FORBIDDEN, Json(json!({ "error": why }))).into_response(),
        None => next.run(request).await,
    }
}

fn refusal(may: MayOperate, headers: &HeaderMap) -> Option<&'static str> {
    if may == MayOperate::No {
        return Some(
            "that may not be done at this address: it is open to strangers; ask a server whose http \
             address is a loopback one, or set limits.operate_from = \"anyone\"",
        );
    }
    headers.contains_key(header::ORIGIN).then_some("that may not be done from a browser")
}

/// `POST /forget` with the client's name as the body.
async fn forget(State(host): State<Arc<Host>>, body: Bytes) -> Response {
    // A shell's `echo` ends with a line feed, which no name can hold.
    let name = std::str::from_utf8(&body).map(|name| name.trim_end_matches('\n'));
    let Some(client) = name.ok().filter(|name| is_name(name)) else {
        let error = "the body must be the name of a client: 1 to 255 bytes without white space or \
                     control characters";
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    };
    let known = host.enter(|node, now| node.handle_forget(client, now));
    // Without the name: that is for the log of messages alone.
    info!(known, "an operator has a client forgotten");
    Json(json!({ "client": client, "known": known })).into_response()
}
