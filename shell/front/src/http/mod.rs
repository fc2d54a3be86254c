//! Health, readiness, status and metrics over HTTP, for operators and their programs.
//!
//! Read only, and about servers, but for what `operate.rs` lets in.

mod audit;
mod dump;
mod herd;
mod leave;
mod load;
mod metrics;
mod nearby;
mod operate;
mod pace;
mod status;

pub use leave::{LeaveOutcome, LeaveWish};
pub use operate::MayOperate;

use crate::host::Host;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The routes: `/healthz`, `/readyz`, `/status`, `/herd`, `/metrics`, and those that only operators may use.
/// Who wants the server to leave is handed to `leave`.
pub fn routes(
    host: Arc<Host>,
    version: &'static str,
    may_operate: MayOperate,
    leave: mpsc::Sender<LeaveWish>,
) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route(
            "/status",
            get(async move |State(host): State<Arc<Host>>| Json(status::status(&host, version))),
        )
        .route(
            "/herd",
            get(async move |State(host): State<Arc<Host>>| Json(herd::herd(&host, version))),
        )
        .route("/metrics", get(metrics_text))
        .merge(operate::routes(may_operate, leave))
        .with_state(host)
}

async fn index(State(host): State<Arc<Host>>) -> String {
    format!(
        "geoherd: server {} of herd {}\n\n\
         /healthz  the process lives\n\
         /readyz   it should be sent clients; says why not\n\
         /status   its links and counts, JSON\n\
         /herd     every server of the herd, as this one knows it, JSON\n\
         /metrics  for Prometheus\n\
         /dump     every client's newest report, JSON lines, for who may operate\n\
         /nearby   who is near ?at=+34.06-118.44&radius=5&count=20, JSON, for who may operate\n",
        host.name, host.herd
    )
}

async fn readyz(State(host): State<Arc<Host>>) -> Response {
    let readiness = status::readiness(&host);
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(readiness)).into_response()
}

async fn metrics_text(State(host): State<Arc<Host>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics::encode(&host) {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
