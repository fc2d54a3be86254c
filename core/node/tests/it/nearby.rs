//! Who is near a point, searched in steps.

use crate::scripted::Scripted;
use herd_geo::Point;
use herd_node::{NearestSearch, NearestStep};
use herd_proto::Command;
use std::time::Duration;

const EXPIRE_AFTER: Duration = Duration::from_mins(1);

/// A server whose clients expire after a minute, and are erased much later.
fn server() -> Scripted {
    Scripted::new(|settings| {
        settings.peers.clear();
        settings.members = ["B".into()].into();
        settings.expire_after = Some(EXPIRE_AFTER);
    })
}

/// A client reports from so many hundred-thousandths of a degree north of the equator.
fn report(node: &mut Scripted, client: &str, north: usize) {
    let now = node.now();
    let (seconds, micros) = (now.unix.nanos() / 1_000_000_000, now.unix.nanos() / 1000 % 1_000_000);
    let line = format!(
        "IAMAT {client} +{:02}.{:05}+007 {seconds}.{micros:06}",
        north / 100_000,
        north % 100_000
    );
    let Command::Iamat(iamat) = Command::parse(line.as_bytes()) else { panic!("{line}") };
    node.node.handle_report(&iamat, now).unwrap();
    node.drain();
}

fn search(count: usize) -> NearestSearch {
    NearestSearch::new(Point::new(0.0, 7.0).unwrap(), 1e6, count)
}

/// One step: the names found, nearest first; none if the search has not ended.
fn step(node: &Scripted, search: &mut NearestSearch) -> Option<Vec<String>> {
    match node.node.nearest(search, node.now()) {
        NearestStep::Recovering => panic!("nothing is read from a disk"),
        NearestStep::Unfinished => None,
        NearestStep::Found(found) => {
            assert!(found.is_sorted_by(|a, b| a.distance_m <= b.distance_m));
            Some(found.iter().map(|near| near.client.to_owned()).collect())
        }
    }
}

/// The names found, and the steps that it took.
fn find(node: &Scripted, count: usize) -> (Vec<String>, usize) {
    let mut search = search(count);
    let mut steps = 1;
    loop {
        if let Some(found) = step(node, &mut search) {
            return (found, steps);
        }
        steps += 1;
    }
}

/// So many clients that have expired, and behind them some that have not: `stays-0`, `stays-1` and so on.
fn expired_in_front(expired: usize, stay: usize) -> Scripted {
    let mut node = server();
    for at in 0..expired {
        report(&mut node, &format!("gone-{at}"), at);
    }
    node.pass(EXPIRE_AFTER + Duration::from_secs(1));
    for at in 0..stay {
        report(&mut node, &format!("stays-{at}"), expired + at);
    }
    node
}

fn stays(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|at| format!("stays-{at}")).collect()
}

#[test]
fn a_search_that_meets_only_shown_clients_takes_one_step() {
    let node = expired_in_front(0, 2000);
    assert_eq!(find(&node, 1000), (stays(0..1000), 1));
    assert_eq!(find(&node, 20), (stays(0..20), 1));
}

#[test]
fn expired_clients_are_passed_over_in_steps_whose_number_is_linear() {
    let (found, steps) = find(&expired_in_front(8000, 100), 20);
    assert_eq!(found, stays(0..20));
    let (found, steps_of_four) = find(&expired_in_front(32_000, 100), 20);
    assert_eq!(found, stays(0..20));
    // Some five hundred clients a step, the first and the last step aside.
    assert!((16..40).contains(&steps), "{steps}");
    assert!(steps_of_four <= 4 * steps, "{steps_of_four}");
}

#[test]
fn fewer_are_found_where_no_more_are_shown() {
    assert_eq!(find(&expired_in_front(3000, 7), 20).0, stays(0..7));
    assert_eq!(find(&expired_in_front(3000, 0), 20).0, stays(0..0));
    assert_eq!(find(&server(), 20), (Vec::new(), 1));
}

#[test]
fn who_stands_still_is_found_exactly_while_others_move() {
    let mut node = expired_in_front(5000, 100);
    let mut search = search(20);
    let mut steps = 0;
    let found = loop {
        if let Some(found) = step(&node, &mut search) {
            break found;
        }
        // One after another leaves the neighborhood, goes to the front, or reports from where it was.
        steps += 1;
        node.pass(Duration::from_millis(10));
        report(&mut node, &format!("stays-{}", 3 * steps), 90_000);
        report(&mut node, &format!("stays-{}", 3 * steps + 1), 5000 + 3 * steps + 1);
        node.node.handle_forget(&format!("stays-{}", 60 + steps), node.now());
        node.drain();
    };
    let left = |at: &usize| !at.is_multiple_of(3) || *at == 0 || *at > 3 * steps;
    assert!((3..20).contains(&steps), "{steps}");
    assert_eq!(found, stays((0..60).filter(left).take(20)));
}

#[test]
fn a_search_begins_again_if_too_many_of_its_finds_leave() {
    let mut node = expired_in_front(1500, 300);
    let mut search = search(20);
    let mut steps = 1;
    let found = loop {
        if let Some(found) = step(&node, &mut search) {
            break found;
        }
        // After the first look and four steps all clients have been met.
        if steps == 5 {
            node.pass(Duration::from_millis(10));
            (0..100).for_each(|at| report(&mut node, &format!("stays-{at}"), 90_000 + at));
        }
        steps += 1;
    };
    assert!(steps > 6, "{steps}");
    assert_eq!(found, stays(100..120));
}
