//! From configuration to a running server, and from a signal to its orderly end.

use crate::config::{self, Config, LogFormat, OnDiskError, Provider, Size};
use crate::journal_writer::{JournalSettings, JournalWriter};
use crate::lanes::{self, Lane, Lanes};
use crate::recovery::{Recovered, RecoveryError, learn_places, recover};
use crate::reload::{self, Follower, ReadConfig};
use crate::telemetry::{LogSettings, Telemetry};
use crate::{accept, dial, facts, fetch, leave};
use herd_front::http::{self, LeaveOutcome, LeaveWish};
use herd_front::{Clock, Host, HostParts, Phase, Places, Remote, TrafficLog};
use herd_node::{Ceiling, Node, Redundancy, Settings};
use herd_places::{Desk, Limits as DeskLimits};
use herd_proto::Versions;
use herd_store::Limits;
use std::hash::BuildHasher;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

/// What a server is started with.
#[derive(Debug)]
pub struct Options {
    /// Which server of the herd.
    pub name: String,
    /// The herd.
    pub config: Config,
    /// Where reports are to be kept.
    pub data_dir: Option<PathBuf>,
    /// The program's version, for those who ask.
    pub version: &'static str,
    /// How the config is read anew at SIGHUP.
    pub read_config: ReadConfig,
}

/// Why a server does not start, or had to stop. Its message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDirectory(#[from] RecoveryError),
    /// Something in the configuration cannot be had on this machine; place and cause.
    #[error("{0}")]
    Config(String),
    /// This build of the program is damaged.
    #[error("{what}: {error}; build the program anew")]
    Broken {
        /// Which part.
        what: &'static str,
        /// How.
        error: herd_atlas::AtlasError,
    },
    /// The operating system refused something that no setting can mend.
    #[error("{what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// Runs one server until it is told to stop, and returns once it has.
///
/// Prints one line to standard output when it is ready to be talked to.
///
/// # Errors
///
/// [`ServeError`] if it cannot start.
pub async fn serve(options: Options) -> Result<(), ServeError> {
    let Options { name, config, data_dir, version, read_config } = options;
    let server = config.servers.get(&name).ok_or_else(|| unknown_server(&name, &config))?;
    let telemetry = Telemetry::start(&LogSettings::new(&name, &config.log)).map_err(|error| {
        ServeError::Config(config.problem(error.key, error.message).to_string())
    })?;
    let mut stop = StopSignals::new()?;
    let mut hangup = catch(SignalKind::hangup())?;
    let limit = raise_open_files(config.limits.max_connections);

    // All sockets before any service, so that a port in use is said at once.
    let listener = listen(server.listen, config.limits.listen_backlog)
        .map_err(|error| in_use(&config, &name, "listen", server.listen, &error))?;
    let http_listener = server
        .http
        .map(|address| {
            listen(address, config.limits.listen_backlog)
                .map_err(|error| in_use(&config, &name, "http", address, &error))
        })
        .transpose()?;
    let provider = build_places(&config)?;

    let clock = Clock::start();
    let settings = node_settings(&name, &config, clock);
    let (node, journal) = match data_directory(data_dir, &config, &name) {
        None => (Node::new(settings, clock.now()), None),
        Some(dir) => {
            let bytes_max = config.storage.max_disk.map(Size::bytes);
            let limits = Limits { bytes_max, horizon: settings.horizon };
            let recovered = recover(&dir, &settings, &limits, clock)?;
            let Recovered { node, storage, live, base_bytes } = recovered;
            let refuses = config.storage.on_disk_error == OnDiskError::Refuse;
            let fsync = config.storage.fsync;
            (node, Some(JournalSettings { storage, live, fsync, refuses, limits, base_bytes }))
        }
    };
    let traffic = telemetry.traffic().filter(|_| config.log.traffic);
    let (host, orders) = Host::new(HostParts {
        node,
        clock,
        herd: config.herd.name.clone(),
        places: provider.places,
        traffic: traffic.map(|sink| TrafficLog::new(sink, config.log.format == LogFormat::Json)),
    });
    telemetry.count_losses(host.clone());
    let writer = journal.map(|journal| JournalWriter::start(host.clone(), journal)).transpose();
    let no_thread = |source| ServeError::System { what: "cannot start a thread", source };
    let writer = writer.map_err(no_thread)?;

    let ready = ready_line(&name, &config.herd.name, &listener, http_listener.as_ref());
    // One at a time: the next is told that the server is leaving already.
    let (wish, mut wishes) = mpsc::channel(1);
    let (end_http, http_ended) = oneshot::channel::<()>();
    let http_lane = Lane::start("http").map_err(no_thread)?;
    let http = http_listener.map(|listener| {
        let app = http::routes(host.clone(), version, config.may_operate(&name), wish);
        let ended = async move {
            // Either way it is time.
            let _told = http_ended.await;
        };
        // It belongs to this thread's runtime until it is given away.
        let listener = listener.into_std();
        let serve = async move {
            let listener = TcpListener::from_std(listener?)?;
            axum::serve(listener, app).with_graceful_shutdown(ended).await
        };
        http_lane.handle().spawn(serve)
    });
    if let Some((remote, google)) = provider.remote {
        tokio::spawn(fetch::run(host.clone(), remote, google));
    }
    tokio::spawn({
        let host = host.clone();
        async move { host.run_timers().await }
    });
    tokio::spawn(facts::run(host.clone(), version));
    tokio::spawn(learn_places(host.clone()));
    let links = dial::Links::new(host.clone(), &config, &name);
    tokio::spawn(dial::run(links.clone(), orders));
    let clients = accept::Clients::new(host.clone(), links.clone(), &config, &name);
    // Kept to the end: with them goes whom they serve.
    let lanes = Lanes::start(config.limits.threads.unwrap_or_else(lanes::usual));
    let lanes = Arc::new(lanes.map_err(no_thread)?);
    let accepting = tokio::spawn(accept::run(clients.clone(), listener, lanes.clone()));

    info!(server = %name, herd = %host.herd, version, "{ready}");
    if let Some(limit) = limit {
        warn!(limit, wanted = config.limits.max_connections, "fewer open files than connections");
    }
    println!("{ready}");

    let drain_timeout = config.limits.drain_timeout;
    let mut follower = Follower {
        host: host.clone(),
        links: links.clone(),
        clients: clients.clone(),
        read: read_config,
        name,
        started_with: config.clone(),
        follows: config,
    };
    let why = loop {
        tokio::select! {
            why = stop.next() => break Why::Told(why),
            _ = hangup.recv() => follower.reload(),
            Some(wish) = wishes.recv() => tokio::select! {
                why = stop.next() => break Why::Told(why),
                held = leave::held_elsewhere(&host, Instant::now() + leave::LEAVE_WITHIN) => {
                    match held {
                        Ok(()) => break Why::Leaves(wish),
                        Err(why) => answer(wish, LeaveOutcome::Stays(why)),
                    }
                }
            },
        }
    };
    let deadline = Instant::now() + drain_timeout;
    let (signal, wish) = match why {
        Why::Told(signal) => (signal, None),
        Why::Leaves(wish) => ("POST /leave", Some(wish)),
    };
    info!(signal, "stopping: answering what was asked");
    accepting.abort();
    // It may be taking one more connection just now, on another thread.
    let _aborted = accepting.await;
    host.advance(Phase::Draining);
    let margin = if wish.is_some() { leave::MARGIN } else { Duration::ZERO };
    let drained = async {
        let in_time = timeout_at(deadline, host.clients_gone()).await.is_ok();
        if let Some(wish) = wish {
            // What clients have written meanwhile, too.
            let held = leave::held_elsewhere(&host, deadline).await;
            host.enter(Node::handle_leave);
            answer(wish, leave::outcome(&held));
        }
        host.advance(Phase::Leaving);
        links.all_gone().await;
        // Whoever had the server leave is answered.
        drop(end_http);
        if let Some(http) = http {
            let _ended = timeout(ANSWER_MAX, http).await;
        }
        in_time
    };
    tokio::select! {
        in_time = timeout_at(deadline + margin, drained) => if in_time == Ok(true) {
            info!("stopped");
        } else {
            warn!("stopped with connections that did not end in time");
        },
        why = stop.next() => warn!(signal = why, "stopped at once: told twice"),
    }
    drop((lanes, http_lane));
    if let Some(writer) = writer {
        // No reply goes out any more. A panic there is reported there.
        let _joined = tokio::task::spawn_blocking(|| writer.finish()).await;
    }
    telemetry.finish();
    Ok(())
}

/// Why a server stops.
enum Why {
    /// By this signal.
    Told(&'static str),
    /// For good.
    Leaves(LeaveWish),
}

fn answer(wish: LeaveWish, outcome: LeaveOutcome) {
    match &outcome {
        LeaveOutcome::Left => info!("leaving the herd: all neighbors hold what this one held"),
        LeaveOutcome::LeftInDoubt(doubt) => warn!(doubt, "leaving the herd"),
        LeaveOutcome::Stays(why) => warn!(why, "not leaving the herd"),
    }
    // Whoever asked may be gone.
    let _gone = wish.outcome.send(outcome);
}

/// For so long answers over HTTP are waited for that are on their way when all else has ended.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// Where this server's memory is kept, if it is.
fn data_directory(flag: Option<PathBuf>, config: &Config, name: &str) -> Option<PathBuf> {
    let dir = flag.or_else(|| Some(config.storage.dir.as_ref()?.join(name)));
    dir.filter(|_| config.storage.durable)
}

fn unknown_server(name: &str, config: &Config) -> ServeError {
    let known: Vec<_> = config.servers.keys().map(String::as_str).collect();
    let file = config.file().display();
    ServeError::Config(format!(
        "{file}: servers: there is no server {name:?}; the servers are {}",
        known.join(", ")
    ))
}

fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A server that was killed must come back at once, though its old connections linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(backlog)
}

fn in_use(
    config: &Config,
    name: &str,
    field: &str,
    address: SocketAddr,
    error: &io::Error,
) -> ServeError {
    let key = Config::server_key(name, field);
    let kind = error.kind();
    let what = if kind == io::ErrorKind::AddrInUse {
        format!("{address} is in use by another program; stop that program, or choose another port")
    } else if kind == io::ErrorKind::AddrNotAvailable {
        format!("{address} is no address of this machine; choose one that is")
    } else if kind == io::ErrorKind::PermissionDenied {
        format!("{address} may not be used by this user; choose a port above 1023")
    } else {
        format!("cannot listen at {address}: {error}")
    };
    ServeError::Config(config.problem(&key, what).to_string())
}

/// Who answers about places, and who has to be asked for it.
struct Provision {
    places: Places,
    remote: Option<(Arc<Remote>, fetch::Google)>,
}

fn build_places(config: &Config) -> Result<Provision, ServeError> {
    let places = match config.places.provider {
        Provider::None => Places::Nobody,
        Provider::Embedded => {
            let gazetteer = herd_atlas::gazetteer()
                .map_err(|error| ServeError::Broken { what: "embedded places", error })?;
            Places::Embedded(Box::new(gazetteer))
        }
        Provider::Google => {
            let settings = &config.places.google;
            let key = config
                .google_key(|name| std::env::var(name).ok())
                .map_err(|problem| ServeError::Config(problem.to_string()))?;
            let google = fetch::Google::new(settings, key.reveal())
                .map_err(|source| ServeError::System { what: "cannot use TLS", source })?;
            let limits =
                DeskLimits { in_flight_max: settings.max_in_flight, ..DeskLimits::default() };
            let remote = Arc::new(Remote::new(Desk::new(limits)));
            let places = Places::Remote(remote.clone());
            return Ok(Provision { places, remote: Some((remote, google)) });
        }
    };
    Ok(Provision { places, remote: None })
}

fn node_settings(name: &str, config: &Config, clock: Clock) -> Settings {
    let limits = &config.limits;
    Settings {
        herd: config.herd.name.clone(),
        name: name.to_owned(),
        // Greater at every start, unless the clock was set back by more than the time in between.
        incarnation: clock.now().unix.nanos().unsigned_abs(),
        // The one source of chance in the standard library: keys from the operating system.
        seed: std::collections::hash_map::RandomState::new().hash_one(()),
        peers: reload::neighbors(name, config),
        members: reload::members(config),
        frames: Versions::CURRENT,
        redundancy: match config.herd.redundancy {
            config::Redundancy::One => Redundancy::Ways(1),
            config::Redundancy::Two => Redundancy::Ways(2),
            config::Redundancy::All => Redundancy::All,
        },
        forget_after: config.herd.forget_after,
        horizon: config.herd.horizon,
        expire_after: config.herd.expire_after,
        future_skew_max: limits.max_future_skew,
        ceiling: Ceiling {
            clients: limits.max_clients.unwrap_or(usize::MAX),
            resident_bytes: limits.max_memory.map_or(u64::MAX, Size::bytes),
        },
        line_bytes_max: limits.max_line_bytes,
        ping_every: limits.link_idle,
        hello_within: limits.hello_timeout,
        backoff_min: limits.dial_backoff_min,
        backoff_max: limits.dial_backoff_max,
        ready_grace: limits.ready_grace,
    }
}

fn ready_line(
    name: &str,
    herd: &str,
    listener: &TcpListener,
    http: Option<&TcpListener>,
) -> String {
    let address = |listener: &TcpListener| {
        listener.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string())
    };
    let http = http.map(|http| format!(", health and metrics at http://{}", address(http)));
    format!(
        "ready: server {name} of herd {herd} listens at {}{}",
        address(listener),
        http.unwrap_or_default()
    )
}

/// Connections, links, the log and the system's own files beside clients.
const OTHER_FILES: u64 = 200;

/// Lets the process open as many files as the system allows it; the limit if that is too low.
fn raise_open_files(connections: usize) -> Option<u64> {
    let wanted = connections as u64 + OTHER_FILES;
    match rlimit::increase_nofile_limit(
        wanted.max(rlimit::getrlimit(rlimit::Resource::NOFILE).ok()?.0),
    ) {
        Ok(limit) if limit < wanted => Some(limit),
        Ok(_) | Err(_) => None,
    }
}

/// What tells a server to stop.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

fn catch(kind: SignalKind) -> Result<Signal, ServeError> {
    signal(kind).map_err(|source| ServeError::System { what: "cannot catch signals", source })
}

impl StopSignals {
    fn new() -> Result<Self, ServeError> {
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
