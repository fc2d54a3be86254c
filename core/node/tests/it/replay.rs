//! A foreign server is told everything when its link comes up, but not all at once.

use crate::scripted::Scripted;
use herd_node::{Dialect, LinkId};
use herd_proto::Command;
use std::collections::BTreeSet;
use std::time::Duration;

fn report(script: &mut Scripted, client: &str, time: &str) {
    let line = format!("IAMAT {client} +1+2 {time}");
    let Command::Iamat(iamat) = Command::parse(line.as_bytes()) else { panic!("{line}") };
    let now = script.now();
    script.node.handle_report(&iamat, now);
}

/// Until there is nothing more for now.
fn all_said(script: &mut Scripted, link: LinkId) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let more = script.said(link);
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

fn lines(text: &[u8]) -> usize {
    text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count()
}

#[test]
fn all_that_is_known_is_told_at_a_pace_and_what_is_new_at_once() {
    const CLIENTS: usize = 9_000;
    let mut script = Scripted::new(|settings| settings.peers[1].dialect = Dialect::At);
    for client in 0..CLIENTS {
        report(&mut script, &format!("kiwi{client}"), "1700000000");
    }
    let link = script.connect(1);
    let mut told = Vec::new();
    let mut most = 0;
    for _ in 0..10 {
        let more = all_said(&mut script, link);
        most = most.max(lines(&more));
        told.extend(more);
        script.pass(Duration::from_millis(100));
    }
    assert!(most == 2_000, "{most} lines at once");
    let different: BTreeSet<_> =
        told.split(|&byte| byte == b'\n').filter(|l| !l.is_empty()).collect();
    assert_eq!(different.len(), CLIENTS, "each once, in less than a second");
    // The beginning is over.
    for client in 0..CLIENTS {
        report(&mut script, &format!("kiwi{client}"), "1700000001");
    }
    let news = all_said(&mut script, link);
    assert_eq!(lines(&news), CLIENTS);
}
