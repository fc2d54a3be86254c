//! `POST /load`: AT lines of an operator, who may say what a server heard: a dump comes back with the very
//! texts that were dumped, on whatever address clients are listened to.
//!
//! All lines of a request are checked before any is taken. The answer comes once what was new is persisted, where
//! reports are persisted at all. Lines that were received longer ago than reports are kept are counted and left out.

use crate::durability::Mode;
use crate::host::Host;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use herd_node::Relayed;
use herd_proto::{At, Command};
use serde_json::json;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use tokio::task::yield_now;

/// Of one request: some thousand lines, so that a load costs few requests and little memory.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;

/// Taken in one go, under the node's lock; as many as a client's connection takes.
const LINES_A_SLICE: usize = 64;

pub(super) async fn load(host: Arc<Host>, body: Bytes) -> Response {
    let refuse =
        |code: StatusCode, error: String| (code, Json(json!({ "error": error }))).into_response();
    let mut lines = 0_u64;
    for line in lines_of(&body) {
        lines += 1;
        if at_of(line).is_none() {
            return refuse(StatusCode::BAD_REQUEST, format!("line {lines} is no AT line"));
        }
    }
    if host.durability.mode() == Mode::Refused {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, disk_fails(&host));
    }
    let (mut newer, mut too_old) = (0_u64, 0_u64);
    let mut rest = lines_of(&body).peekable();
    while rest.peek().is_some() {
        let slice = rest.by_ref().take(LINES_A_SLICE);
        host.enter(|node, now| {
            for at in slice.filter_map(at_of) {
                let relayed = node.handle_relay(&at, now);
                newer += u64::from(relayed == Relayed::Newer);
                too_old += u64::from(relayed == Relayed::TooOld);
            }
        });
        yield_now().await;
    }
    let position = host.enter(|node, _| node.position());
    let is_safe = poll_fn(|cx| {
        if host.durability.poll_safe(position, cx) {
            return Poll::Ready(true);
        }
        // The disk has failed meanwhile: nobody knows when it will take anything.
        let refused = host.durability.mode() == Mode::Refused;
        if refused { Poll::Ready(false) } else { Poll::Pending }
    });
    if !is_safe.await {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, disk_fails(&host));
    }
    Json(json!({ "taken": lines, "newer": newer, "too_old": too_old })).into_response()
}

fn lines_of(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}

fn at_of(line: &[u8]) -> Option<At<'_>> {
    if let Command::At(at) = Command::parse(line) { Some(at) } else { None }
}

fn disk_fails(host: &Host) -> String {
    let trouble = host.durability.disk().and_then(|disk| disk.trouble);
    let trouble = trouble.unwrap_or_else(|| "it takes nothing".to_owned());
    format!("reports are refused, since the disk fails: {trouble}")
}
