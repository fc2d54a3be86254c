//! The link task over pipes in memory, on a clock that is made up: its stream fails at every byte of the
//! first exchanges, or in a random way, and the next one does not.
//!
//! Whatever happened to the first connection, both servers must agree soon after, by the connection that
//! their nodes ask for, and when they stop no task may be left. All tasks are on one thread; what threads
//! do to one another is `herd-front`'s `host/interleavings.rs`. Left out: the system's sockets, listening,
//! and the first line of an accepted connection, which `accept` has read before a link begins.

use super::*;
use herd_front::{Clock, HostParts, Order, Phase, Places};
use herd_node::{DialRole, Dialect, Node, PeerSettings, Redundancy};
use herd_proto::{Command, Versions};
use std::sync::Arc;
use tokio::io::{DuplexStream, ReadHalf, WriteHalf, duplex};
use tokio::runtime::Builder;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);
const HELLO_WITHIN: Duration = Duration::from_secs(2);
const DEAD_AFTER: Duration = Duration::from_secs(3);
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// No stall that a test waits for is shorter: whoever is to notice must do so by itself.
const STALL_LONG: Duration = Duration::from_mins(1);

/// Within this all tasks of links end when both servers stop.
const END_WITHIN: Duration = Duration::from_secs(2);

/// Between two looks whether they do.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a pipe holds; small, so that a reader who is asleep is noticed.
const PIPE_BYTES: usize = 64;

/// After so many bytes no fault comes.
const NEVER: usize = usize::MAX;

const CLIENTS: [&str; 4] = ["kiwi", "emu", "rhea", "moa"];

impl Stream for DuplexStream {
    fn tune(&self, _patience: Duration) -> io::Result<()> {
        Ok(())
    }

    fn halves(
        &mut self,
    ) -> (impl AsyncRead + Unpin + Send + '_, impl AsyncWrite + Unpin + Send + '_) {
        tokio::io::split(self)
    }
}

/// What befalls a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Both directions end at once.
    Cut,
    /// This direction ends; the other goes on.
    HalfClose,
    /// Nothing is taken for so long.
    Stall(Duration),
}

impl Fault {
    /// Until both agree, whatever comes of it. An end is noticed at once, before any hello is missed; a
    /// silence, when nothing could be sent for [`WRITE_TIMEOUT`] or was heard for [`DEAD_AFTER`].
    fn agree_within(self) -> Duration {
        match self {
            Self::Cut | Self::HalfClose => HELLO_WITHIN * 9 / 10,
            Self::Stall(_) => DEAD_AFTER + WRITE_TIMEOUT + HELLO_WITHIN,
        }
    }
}

/// A fault, after so many bytes of one direction, which come in pieces of at most so many.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Of what the dialing server sends, else of what it is sent.
    outward: bool,
    after: usize,
    fault: Fault,
    piece_bytes_max: usize,
}

const CLEAN: Plan = Plan { outward: true, after: NEVER, fault: Fault::Cut, piece_bytes_max: 4096 };

/// Carries bytes between two pipes until one fails as planned.
async fn carry(dialing: DuplexStream, accepting: DuplexStream, plan: Plan) {
    let (from_dialing, to_dialing) = tokio::io::split(dialing);
    let (from_accepting, to_accepting) = tokio::io::split(accepting);
    let spoiled =
        |outward| if plan.outward == outward { plan } else { Plan { after: NEVER, ..plan } };
    // A cut drops both pipes; else each direction ends by itself.
    let _either = tokio::try_join!(
        carry_one_way(from_dialing, to_accepting, spoiled(true)),
        carry_one_way(from_accepting, to_dialing, spoiled(false)),
    );
}

/// Returns when this direction has ended, with an error when the whole connection is to.
async fn carry_one_way(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    plan: Plan,
) -> io::Result<()> {
    let mut left = plan.after;
    let mut buffer = vec![0; plan.piece_bytes_max];
    let mut fault = Some(plan.fault);
    loop {
        if left == 0
            && let Some(fault) = fault.take()
        {
            match fault {
                Fault::Cut => return Err(io::ErrorKind::ConnectionReset.into()),
                Fault::HalfClose => return to.shutdown().await,
                // tidy: allow(sleep): it is the fault that is tested, and the clock is made up
                Fault::Stall(time) => sleep(time).await,
            }
            left = NEVER;
        }
        let room = buffer.len().min(left);
        let count = from.read(&mut buffer[..room]).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
        left -= count;
    }
}

/// One server: its node, and what it orders.
struct Server {
    host: Arc<Host>,
    orders: UnboundedReceiver<Order>,
}

impl Server {
    /// Knows two of the clients, by the parity of their place.
    fn start(name: &str, neighbor: &str, role: DialRole, parity: usize) -> Self {
        let peer = PeerSettings {
            name: neighbor.into(),
            dialect: Dialect::Native,
            role,
            dead_after: DEAD_AFTER,
        };
        let settings = herd_node::Settings {
            herd: "news".into(),
            name: name.into(),
            incarnation: 1,
            frames: Versions::CURRENT,
            seed: 1,
            peers: vec![peer],
            members: [name.into(), neighbor.into()].into(),
            redundancy: Redundancy::Ways(1),
            forget_after: 3600 * SECOND,
            horizon: 30 * 24 * 3600 * SECOND,
            expire_after: None,
            future_skew_max: 60 * SECOND,
            ceiling: herd_node::Ceiling::default(),
            line_bytes_max: 8192,
            ping_every: SECOND,
            hello_within: HELLO_WITHIN,
            backoff_min: SECOND / 10,
            backoff_max: SECOND,
            ready_grace: SECOND,
        };
        let clock = Clock::start();
        let node = Node::new(settings, clock.now());
        let parts =
            HostParts { node, clock, herd: "news".into(), places: Places::Nobody, traffic: None };
        let (host, orders) = Host::new(parts);
        for client in CLIENTS.iter().skip(parity).step_by(2) {
            host.enter(|node, now| {
                let line = format!("IAMAT {client} +1+2 3");
                let Command::Iamat(iamat) = Command::parse(line.as_bytes()) else {
                    panic!("{line}")
                };
                node.handle_report(&iamat, now);
            });
        }
        Self { host, orders }
    }

    fn knows_all(&self) -> bool {
        self.host
            .enter(|node, now| CLIENTS.iter().all(|client| node.locate(client, now.unix).is_some()))
    }

    fn is_linked(&self) -> bool {
        self.host
            .enter(|node, _now| node.peers().all(|peer| peer.state == herd_node::PeerState::Up))
    }
}

/// Both servers and what runs for them.
struct Pair {
    servers: [Server; 2],
    /// Of the links.
    tasks: JoinSet<()>,
    /// Between the links; ours.
    wires: JoinSet<()>,
}

impl Pair {
    fn start() -> Self {
        let servers = [
            Server::start("Hill", "Dale", DialRole::Always, 0),
            Server::start("Dale", "Hill", DialRole::Once, 1),
        ];
        Self { servers, tasks: JoinSet::new(), wires: JoinSet::new() }
    }

    /// Connects whenever a node asks for it, the first time as planned, until both agree.
    async fn agree(&mut self, plan: Plan) {
        let mut plans = [plan].into_iter();
        while !self.servers.iter().all(|server| server.knows_all() && server.is_linked()) {
            let [hill, dale] = &mut self.servers;
            let (dialing, order) = tokio::select! {
                order = hill.orders.recv() => (0, order),
                order = dale.orders.recv() => (1, order),
                // tidy: allow(sleep): between two looks, on a clock that is made up
                () = sleep(LOOK_EVERY) => continue,
            };
            if let Some(Order::Connect(peer)) = order {
                let ours = &self.servers[dialing].host;
                let theirs = &self.servers[1 - dialing].host;
                let Some(dialed) = ours.open_link(|node, now| node.handle_connected(peer, now))
                else {
                    continue;
                };
                let accepted = theirs.open_link(|node, now| Some(node.handle_accepted(now)));
                let (near, near_end) = duplex(PIPE_BYTES);
                let (far, far_end) = duplex(PIPE_BYTES);
                self.wires.spawn(carry(near_end, far_end, plans.next().unwrap_or(CLEAN)));
                self.tasks.spawn(drive(ours.clone(), dialed, near));
                self.tasks.spawn(drive(theirs.clone(), accepted.unwrap(), far));
            }
        }
    }
}

async fn drive(host: Arc<Host>, link: LinkId, stream: DuplexStream) {
    let settings = Settings { line_bytes_max: 8192, write_timeout: WRITE_TIMEOUT };
    let address = ([127, 0, 0, 1], 0).into();
    run(&host, link, Socket { stream, address }, &[], settings).await;
}

/// One history: a first connection as planned, agreement, and an orderly end.
fn check(plan: Plan) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut pair = Pair::start();
        let mut timers = JoinSet::new();
        for server in &pair.servers {
            let host = server.host.clone();
            timers.spawn(async move { host.run_timers().await });
        }
        let agreed = timeout(plan.fault.agree_within(), pair.agree(plan)).await;
        assert!(agreed.is_ok(), "no agreement after {plan:?}");
        for server in &pair.servers {
            server.host.advance(Phase::Leaving);
        }
        let ended = async {
            while let Some(ended) = pair.tasks.join_next().await {
                ended.unwrap();
            }
        };
        assert!(timeout(END_WITHIN, ended).await.is_ok(), "a task is left after {plan:?}");
        pair.wires.shutdown().await;
        timers.shutdown().await;
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0, "{plan:?}");
    });
}

/// Bytes of either direction that a first connection is watched for: hellos, all reports, and what
/// servers tell about themselves.
const FIRST_BYTES: usize = 600;

fn check_every_byte(fault: Fault) {
    for after in 0..FIRST_BYTES {
        for outward in [true, false] {
            check(Plan { outward, after, fault, piece_bytes_max: 64 });
        }
    }
}

#[test]
fn a_link_that_is_cut_at_any_byte_is_made_good() {
    check_every_byte(Fault::Cut);
}

#[test]
fn a_link_that_ends_on_one_side_at_any_byte_is_made_good() {
    check_every_byte(Fault::HalfClose);
}

#[test]
fn a_link_that_takes_nothing_for_longer_than_it_may_from_any_byte_on_is_made_good() {
    check_every_byte(Fault::Stall(STALL_LONG));
}

#[test]
fn a_link_that_fails_in_some_way_is_made_good() {
    for seed in 0..400_u64 {
        // SplitMix64, as everywhere.
        let mut state = seed;
        let mut chance = |below: u64| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (mixed ^ (mixed >> 31)) % below
        };
        let fault = match chance(3) {
            0 => Fault::Cut,
            1 => Fault::HalfClose,
            _ => Fault::Stall(Duration::from_millis(chance(10_000))),
        };
        check(Plan {
            outward: chance(2) == 0,
            after: usize::try_from(chance(FIRST_BYTES as u64)).unwrap(),
            fault,
            piece_bytes_max: 1 + usize::try_from(chance(700)).unwrap(),
        });
    }
}
