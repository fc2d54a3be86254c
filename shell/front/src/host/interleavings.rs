//! The host's tasks in any order that threads can run them in, by shuttle.
//!
//! Covered, with the real [`Host`] around a real node: what the node has for a link reaches the link's
//! task; so does the end; the timer task is armed for what was set last; a server that stops waits for
//! the last client and for no longer; counts add up. A wake that is lost is a task that waits for ever,
//! which shuttle reports.
//!
//! Not covered: orders of memory weaker than sequential (shuttle knows no others), what lies within one
//! call of tokio's `Notify` and `watch`, the second look of the timer task (no order tried fails without
//! it), and the sockets: the link's task is stood in for by the loop around [`Host::next_transmit`] that it
//! consists of.

use super::*;
use crate::seats::Seat;
use crate::stats::{Kind, Tally};
use herd_node::{DialRole, Dialect, PeerSettings, Redundancy, Settings};
use herd_proto::Command;
use shuttle::scheduler::RandomScheduler;
use shuttle::{Config, Runner, future, thread};

/// Orders tried by each test: some seconds for all of them.
const ORDERS: usize = 2000;

/// No run that ends takes as many; one that waits in a loop for what never comes does.
const STEPS_MAX: usize = 20_000;

const HOUR: Duration = Duration::from_hours(1);

/// Before a node looks around by itself, which it does 20 ms after its start.
const SOON: Duration = Duration::from_millis(5);

/// A small part of what a thread of the runtime has.
const STACK_BYTES: usize = 512 * 1024;

fn check(run: impl Fn() + Send + Sync + 'static) {
    // Timers need a runtime; it is never driven, so no time-out ever helps.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _within = runtime.enter();
    let mut config = Config::new();
    // Not optimized, a move in the index takes more of the stack than the tasks of shuttle have by default.
    config.stack_size = STACK_BYTES;
    config.max_steps = shuttle::MaxSteps::FailAfter(STEPS_MAX);
    Runner::new(RandomScheduler::new(ORDERS), config).run(run);
}

fn node(name: &str, neighbor: &str, role: DialRole, now: Now) -> Node {
    let peer = PeerSettings {
        name: neighbor.into(),
        dialect: Dialect::Native,
        role,
        dead_after: 10 * HOUR,
    };
    let settings = Settings {
        herd: "news".into(),
        name: name.into(),
        incarnation: 1,
        frames: herd_proto::Versions::CURRENT,
        seed: 1,
        peers: vec![peer],
        members: [name.into(), neighbor.into()].into(),
        redundancy: Redundancy::Ways(1),
        forget_after: 100 * HOUR,
        horizon: Duration::from_hours(30 * 24),
        expire_after: None,
        future_skew_max: HOUR,
        ceiling: herd_node::Ceiling::default(),
        line_bytes_max: 8192,
        ping_every: HOUR,
        hello_within: SOON,
        backoff_min: HOUR,
        backoff_max: HOUR,
        ready_grace: HOUR,
    };
    Node::new(settings, now)
}

/// A host that was asked to dial its one neighbor.
fn host() -> (Arc<Host>, PeerId) {
    let clock = Clock::start();
    let node = node("Hill", "Dale", DialRole::Always, clock.now());
    let places = Places::Nobody;
    let parts = HostParts { node, clock, herd: "news".into(), places, traffic: None };
    let (host, mut orders) = Host::new(parts);
    host.enter(Node::handle_timeout);
    let peer = std::iter::from_fn(|| orders.try_recv().ok()).find_map(|order| match order {
        Order::Connect(peer) => Some(peer),
        Order::Probe(_) | Order::Event(_) => None,
    });
    (host, peer.unwrap())
}

fn report(node: &mut Node, client: &str, now: Now) {
    let line = format!("IAMAT {client} +1+2 3");
    let Command::Iamat(iamat) = Command::parse(line.as_bytes()) else { panic!("{line}") };
    node.handle_report(&iamat, now);
}

/// The neighbor's side of a link, without tasks.
struct Neighbor {
    node: Node,
    link: LinkId,
}

impl Neighbor {
    fn hear(&mut self, bytes: &[u8], now: Now) {
        self.node.handle_link_input(self.link, bytes, now);
        while self.node.poll_output().is_some() {}
    }

    fn knows(&self, client: &str) -> bool {
        self.node.locate_stored(client).is_some()
    }
}

/// A host and its neighbor, linked and at rest.
fn linked() -> (Arc<Host>, LinkId, Neighbor) {
    let (host, peer) = host();
    let link = host.open_link(|node, now| node.handle_connected(peer, now)).unwrap();
    let mut other = node("Dale", "Hill", DialRole::Once, host.now());
    let accepted = other.handle_accepted(host.now());
    let mut neighbor = Neighbor { node: other, link: accepted };
    loop {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        host.enter(|node, now| node.poll_transmit(link, &mut there, usize::MAX, now));
        neighbor.hear(&there, host.now());
        neighbor.node.poll_transmit(accepted, &mut back, usize::MAX, host.now());
        host.enter(|node, now| node.handle_link_input(link, &back, now));
        if there.is_empty() && back.is_empty() {
            return (host, link, neighbor);
        }
    }
}

/// The link's task, until the link ends. The lock is for the test to look.
async fn send_all(host: Arc<Host>, link: LinkId, neighbor: Arc<Mutex<Neighbor>>) {
    let signal = host.link_signal(link);
    let mut buffer = Vec::new();
    while host.next_transmit(link, &signal, &mut buffer, usize::MAX).await {
        neighbor.lock().hear(&buffer, host.now());
    }
    host.forget_link(link);
}

/// Two clients report at once while the link's task runs.
fn report_from_two_threads(host: &Arc<Host>) {
    let clients = ["kiwi", "emu"].map(|client| {
        let host = host.clone();
        thread::spawn(move || host.enter(|node, now| report(node, client, now)))
    });
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn what_clients_report_wakes_an_idle_link() {
    check(|| {
        let (host, link, neighbor) = linked();
        let neighbor = Arc::new(Mutex::new(neighbor));
        let sending = future::spawn(send_all(host.clone(), link, neighbor.clone()));
        report_from_two_threads(&host);
        while !["kiwi", "emu"].iter().all(|client| neighbor.lock().knows(client)) {
            thread::yield_now();
        }
        sending.abort();
    });
}

#[test]
fn a_link_ends_after_all_is_sent_when_the_server_leaves() {
    check(|| {
        let (host, link, neighbor) = linked();
        let neighbor = Arc::new(Mutex::new(neighbor));
        let sending = future::spawn(send_all(host.clone(), link, neighbor.clone()));
        let draining = thread::spawn({
            let host = host.clone();
            move || host.advance(Phase::Draining)
        });
        report_from_two_threads(&host);
        host.advance(Phase::Leaving);
        future::block_on(sending).unwrap();
        draining.join().unwrap();
        assert_eq!(host.phase(), Phase::Leaving);
        assert!(neighbor.lock().knows("kiwi") && neighbor.lock().knows("emu"));
        assert!(host.links.lock().is_empty());
    });
}

#[test]
fn a_link_that_is_closed_before_its_task_begins_ends() {
    check(|| {
        let (host, peer) = host();
        // The config loses the neighbor while its link is being opened.
        let reloading = thread::spawn({
            let host = host.clone();
            move || {
                host.enter(|node, now| node.set_neighbors(Vec::new(), ["Hill".into()].into(), now))
            }
        });
        let link = host.open_link(|node, now| node.handle_connected(peer, now));
        if let Some(link) = link {
            let signal = host.link_signal(link);
            let mut buffer = Vec::new();
            while future::block_on(host.next_transmit(link, &signal, &mut buffer, usize::MAX)) {}
        }
        reloading.join().unwrap();
    });
}

#[test]
fn a_link_says_its_last_words_before_it_ends() {
    check(|| {
        let (host, link, neighbor) = linked();
        let neighbor = Arc::new(Mutex::new(neighbor));
        let sending = future::spawn(send_all(host.clone(), link, neighbor.clone()));
        host.enter(|node, now| node.handle_link_end(link, now));
        future::block_on(sending).unwrap();
        let neighbor = neighbor.lock();
        let error = neighbor.node.peers().next().and_then(|peer| peer.last_error);
        assert_eq!(error.as_deref(), Some("ended by the other side: this server stops"));
    });
}

#[test]
fn the_timer_task_is_armed_for_what_was_set_last() {
    check(|| {
        let (host, peer) = host();
        host.enter(|node, now| node.handle_connect_failed(peer, String::new(), now));
        // As when a timer has just gone off: what is set now is later, and rings no bell.
        host.armed.store(0, Ordering::Relaxed);
        let timers = future::spawn({
            let host = host.clone();
            async move { host.run_timers().await }
        });
        // For the hello on a new link a node waits less long than for anything else.
        let accepting = thread::spawn({
            let host = host.clone();
            move || host.open_link(|node, now| Some(node.handle_accepted(now)))
        });
        accepting.join().unwrap();
        let due = || host.locked.lock().node.poll_timeout().unwrap();
        while due().nanos() != host.armed.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        timers.abort();
    });
}

#[test]
fn a_server_that_stops_waits_for_its_last_client_and_no_longer() {
    check(|| {
        let (host, _peer) = host();
        let clients = [0, 1].map(|_| {
            let seat = Seat::take(&host);
            let host = host.clone();
            thread::spawn(move || {
                // The client's last batch, and then it is gone.
                let mut tally = Tally::default();
                tally.add(Kind::Iamat);
                host.stats.add(&tally);
                drop(seat);
            })
        });
        host.advance(Phase::Draining);
        future::block_on(host.clients_gone());
        let iamats = host.stats.lines().find(|&(kind, _)| kind == Kind::Iamat);
        assert_eq!(iamats, Some((Kind::Iamat, clients.len() as u64)));
        for client in clients {
            client.join().unwrap();
        }
    });
}
