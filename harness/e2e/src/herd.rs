//! A herd of real processes, with its config in a directory of its own.

use crate::binary::geoherd;
use crate::client::Client;
use crate::http::{Metrics, Response, get};
use crate::line::At;
use crate::ports::Address;
use crate::process::{Process, Signal};
use crate::wait::{PATIENCE, wait_for, wait_until};
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::fs::{self, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The five servers of [`Plan::five`].
pub const FIVE: [&str; 5] = ["Campbell", "Hill", "Jaquez", "Singleton", "Smith"];

/// What a herd shall be like.
#[derive(Clone, Debug)]
pub struct Plan {
    names: Vec<String>,
    links: Vec<(String, String)>,
    foreign: BTreeMap<String, SocketAddr>,
    settings: BTreeMap<String, BTreeMap<String, String>>,
    variables: BTreeMap<String, String>,
}

impl Plan {
    /// Servers and who names whom as its neighbor.
    pub fn new(names: &[&str], links: &[(&str, &str)]) -> Self {
        let plan = Self {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            links: links.iter().map(|&(from, to)| (from.to_owned(), to.to_owned())).collect(),
            foreign: BTreeMap::new(),
            settings: BTreeMap::new(),
            variables: BTreeMap::new(),
        };
        // Most tests are about no places, and a log of messages would be all that they write.
        plan.set("places.provider", "\"none\"").set("log.traffic", false)
    }

    /// One server alone.
    pub fn one(name: &str) -> Self {
        Self::new(&[name], &[])
    }

    /// The five servers and six links of the example config.
    pub fn five() -> Self {
        let links = [
            ("Hill", "Jaquez"),
            ("Hill", "Smith"),
            ("Smith", "Campbell"),
            ("Singleton", "Jaquez"),
            ("Singleton", "Smith"),
            ("Singleton", "Campbell"),
        ];
        Self::new(&FIVE, &links)
    }

    /// Each linked to the next.
    pub fn line(names: &[&str]) -> Self {
        let links: Vec<_> = names.iter().copied().zip(names.iter().skip(1).copied()).collect();
        Self::new(names, &links)
    }

    /// Each linked to every other.
    pub fn mesh(names: &[&str]) -> Self {
        let pairs = names
            .iter()
            .enumerate()
            .flat_map(|(at, &from)| names.iter().skip(at + 1).map(move |&to| (from, to)));
        Self::new(names, &pairs.collect::<Vec<_>>())
    }

    /// With a server that speaks plain AT lines, is somewhere else, and is a neighbor of `neighbors`.
    #[must_use]
    pub fn foreign(mut self, name: &str, address: SocketAddr, neighbors: &[&str]) -> Self {
        self.foreign.insert(name.to_owned(), address);
        self.links.extend(neighbors.iter().map(|&from| (from.to_owned(), name.to_owned())));
        self
    }

    /// With another value of a key: `set("limits.max_connections", 3)`. A text brings its quotes.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Display) -> Self {
        let (table, key) = key.rsplit_once('.').expect("a key stands in a table");
        let table = self.settings.entry(table.to_owned()).or_default();
        table.insert(key.to_owned(), value.to_string());
        self
    }

    /// With places from the data inside the program.
    #[must_use]
    pub fn with_places(self) -> Self {
        self.set("places.provider", "\"embedded\"")
    }

    /// With a variable in the environment of every server.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Starts all servers and waits until each says that it is ready.
    #[track_caller]
    pub fn start(&self) -> Herd {
        /// Somebody may have taken a port between its choice and its use; not so often.
        const ATTEMPTS: u32 = 5;
        for _ in 1..ATTEMPTS {
            let mut herd = self.lay_out();
            herd.launch_all();
            if herd.become_ready() {
                return herd;
            }
        }
        let mut herd = self.lay_out();
        herd.launch_all();
        assert!(herd.become_ready(), "ports clash again and again");
        herd
    }

    /// Chooses addresses and starts nothing.
    #[track_caller]
    pub fn lay_out(&self) -> Herd {
        let dir = tempfile::Builder::new().prefix("herd-e2e-").tempdir();
        let dir = dir.expect("there is room for temporary files");
        let mut ports = Address::unused().free_ports(2 * self.names.len()).into_iter();
        let mut port = || ports.next().expect("two for each server");
        let server = |name: &String| {
            let server = Server {
                listen: port(),
                http: port(),
                routes: BTreeMap::new(),
                config: dir.path().join(format!("{name}.toml")),
                process: None,
            };
            (name.clone(), server)
        };
        let servers = self.names.iter().map(server).collect();
        Herd { plan: self.clone(), servers, dir }
    }
}

/// A herd. Dropping it ends its processes and removes its files.
#[derive(Debug)]
pub struct Herd {
    plan: Plan,
    // Before the directory, since fields are dropped in this order.
    servers: BTreeMap<String, Server>,
    dir: TempDir,
}

#[derive(Debug)]
struct Server {
    listen: SocketAddr,
    http: SocketAddr,
    /// Where this one believes that others listen.
    routes: BTreeMap<String, SocketAddr>,
    config: PathBuf,
    process: Option<Process>,
}

impl Herd {
    /// The names of its servers, foreign ones apart.
    pub fn names(&self) -> Vec<&str> {
        self.servers.keys().map(String::as_str).collect()
    }

    #[track_caller]
    fn server(&self, name: &str) -> &Server {
        self.servers.get(name).unwrap_or_else(|| panic!("no server {name}"))
    }

    #[track_caller]
    fn server_mut(&mut self, name: &str) -> &mut Server {
        self.servers.get_mut(name).unwrap_or_else(|| panic!("no server {name}"))
    }

    /// Where a server listens for clients.
    #[track_caller]
    pub fn address(&self, name: &str) -> SocketAddr {
        self.server(name).listen
    }

    /// Where it tells how it is.
    #[track_caller]
    pub fn http_address(&self, name: &str) -> SocketAddr {
        self.server(name).http
    }

    /// Its config file, as it was when it was last started.
    #[track_caller]
    pub fn config(&self, name: &str) -> &Path {
        &self.server(name).config
    }

    /// Its process.
    #[track_caller]
    pub fn process(&mut self, name: &str) -> &mut Process {
        self.server_mut(name).process.as_mut().expect("it was started")
    }

    /// Makes `from` believe that `to` listens at `address`, from its next start.
    #[track_caller]
    pub fn route(&mut self, from: &str, to: &str, address: SocketAddr) {
        self.server_mut(from).routes.insert(to.to_owned(), address);
    }

    /// Another value of a key for servers started from now on.
    pub fn set(&mut self, key: &str, value: impl Display) {
        self.plan = self.plan.clone().set(key, value);
    }

    /// Adds a server that the configs of others do not name until they are written again.
    #[track_caller]
    pub fn add(&mut self, name: &str, neighbors: &[&str]) {
        let mut ports = Address::unused().free_ports(2).into_iter();
        let mut port = || ports.next().expect("two were asked for");
        let server = Server {
            listen: port(),
            http: port(),
            routes: BTreeMap::new(),
            config: self.dir.path().join(format!("{name}.toml")),
            process: None,
        };
        self.servers.insert(name.to_owned(), server);
        self.plan.names.push(name.to_owned());
        let links = neighbors.iter().map(|&to| (name.to_owned(), to.to_owned()));
        self.plan.links.extend(links);
    }

    /// Takes a server out of all configs that are written from now on; it ends if it still runs.
    pub fn remove(&mut self, name: &str) {
        self.servers.remove(name);
        self.plan.names.retain(|other| other != name);
        self.plan.links.retain(|(from, to)| from != name && to != name);
    }

    /// Makes two servers neighbors, or no longer, in all configs that are written from now on.
    pub fn link(&mut self, from: &str, to: &str, linked: bool) {
        self.plan.links.retain(|link| *link != (from.to_owned(), to.to_owned()));
        if linked {
            self.plan.links.push((from.to_owned(), to.to_owned()));
        }
    }

    /// Writes the config of a server anew and has it read.
    #[track_caller]
    pub fn reload(&mut self, name: &str) {
        let text = self.config_text(name);
        self.reload_text(name, &text);
    }

    /// Has a server read this config.
    #[track_caller]
    pub fn reload_text(&mut self, name: &str, text: &str) {
        fs::write(self.config(name), text).expect("there is room for a config");
        self.process(name).signal(Signal::HUP);
    }

    /// The command that starts a server, with its config written.
    #[track_caller]
    pub fn command(&self, name: &str) -> Command {
        let server = self.server(name);
        fs::write(&server.config, self.config_text(name)).expect("there is room for a config");
        let mut command = Command::new(geoherd());
        command.args(["serve", name, "--config"]).arg(&server.config);
        command.arg("--log-dir").arg(self.log_dir());
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        // What the developer's environment says must not change a test.
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy().to_ascii_uppercase();
            if name.starts_with("GEOHERD_") || name.ends_with("_PROXY") || name == "RUST_LOG" {
                command.env_remove(variable);
            }
        }
        command.envs(&self.plan.variables);
        command
    }

    /// The config as `name` reads it.
    fn config_text(&self, name: &str) -> String {
        let plan = &self.plan;
        let mut text = "[herd]\nname = \"news\"\n".to_owned();
        for (key, value) in plan.settings.get("herd").into_iter().flatten() {
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "{key} = {value}");
        }
        let routes = &self.server(name).routes;
        let ours = self.servers.iter().map(|(other, s)| (other, s.listen, Some(s.http)));
        let foreign = plan.foreign.iter().map(|(other, &address)| (other, address, None));
        for (other, listen, http) in ours.chain(foreign) {
            let listen = routes.get(other).copied().unwrap_or(listen);
            let named = plan.links.iter().filter(|(from, _)| from == other).map(|(_, to)| to);
            let named: Vec<&String> = named.collect();
            // Writing to a String cannot fail.
            let _infallible =
                write!(text, "[servers.{other}]\nlisten = \"{listen}\"\nneighbors = {named:?}\n");
            let _infallible = match http {
                Some(http) => writeln!(text, "http = \"{http}\""),
                None => writeln!(text, "protocol = \"at\""),
            };
        }
        for (table, keys) in plan.settings.iter().filter(|(table, _)| *table != "herd") {
            let _infallible = writeln!(text, "[{table}]");
            for (key, value) in keys {
                let _infallible = writeln!(text, "{key} = {value}");
            }
        }
        text
    }

    /// Starts one server and does not wait for it.
    #[track_caller]
    pub fn launch(&mut self, name: &str) {
        let open = |end: &str| {
            let path = self.dir.path().join(format!("{name}.{end}"));
            let file = OpenOptions::new().create(true).append(true).open(path);
            Stdio::from(file.expect("there is room for what it prints"))
        };
        let mut command = self.command(name);
        command.stdout(open("out")).stderr(open("err"));
        let process = Process::start(&mut command);
        self.server_mut(name).process = Some(process);
    }

    fn launch_all(&mut self) {
        let names: Vec<String> = self.servers.keys().cloned().collect();
        for name in names {
            self.launch(&name);
        }
    }

    /// Waits until all are ready; false if one found its port taken.
    #[track_caller]
    fn become_ready(&mut self) -> bool {
        let names: Vec<String> = self.servers.keys().cloned().collect();
        names.iter().all(|name| self.is_ready_soon(name))
    }

    /// Starts one server and waits until it is ready.
    #[track_caller]
    pub fn start(&mut self, name: &str) {
        self.launch(name);
        self.wait_ready(name);
    }

    /// Waits until a server that was started is ready.
    #[track_caller]
    pub fn wait_ready(&mut self, name: &str) {
        assert!(self.is_ready_soon(name), "{}", self.printed(name));
    }

    #[track_caller]
    fn is_ready_soon(&mut self, name: &str) -> bool {
        let http = self.http_address(name);
        wait_for(&format!("{name} is ready"), PATIENCE, || {
            if let Some(status) = self.process(name).ended() {
                let printed = self.printed(name);
                assert!(printed.contains("is in use"), "{name} ended with {status}: {printed}");
                return Some(false);
            }
            get(http, "/readyz").is_ok_and(|answer| answer.code == 200).then_some(true)
        })
    }

    /// What a server printed, to both outputs.
    pub fn printed(&self, name: &str) -> String {
        let read = |end: &str| {
            fs::read_to_string(self.dir.path().join(format!("{name}.{end}"))).unwrap_or_default()
        };
        read("out") + &read("err")
    }

    /// Where the logs are.
    pub fn log_dir(&self) -> PathBuf {
        self.dir.path().join("logs")
    }

    /// What the log of a server says now.
    pub fn log(&self, name: &str) -> String {
        let bytes = fs::read(self.log_dir().join(format!("{name}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Kills a server as a crash would.
    #[track_caller]
    pub fn kill9(&mut self, name: &str) {
        self.process(name).kill9();
    }

    /// Stops a server in its tracks: its sockets stay, and nothing is read from them.
    #[track_caller]
    pub fn freeze(&mut self, name: &str) {
        self.process(name).signal(Signal::STOP);
    }

    /// Lets a frozen server go on.
    #[track_caller]
    pub fn thaw(&mut self, name: &str) {
        self.process(name).signal(Signal::CONT);
    }

    /// Tells a server to stop and waits until it has.
    #[track_caller]
    pub fn terminate(&mut self, name: &str) -> ExitStatus {
        self.process(name).signal(Signal::TERM);
        self.process(name).exit()
    }

    /// A connection to a server.
    #[track_caller]
    pub fn client(&self, name: &str) -> Client {
        Client::connect(self.address(name))
    }

    /// What a server says at a path of its HTTP side.
    #[track_caller]
    pub fn get(&self, name: &str, path: &str) -> Response {
        let answer = get(self.http_address(name), path);
        answer.unwrap_or_else(|error| panic!("{name} {path}: {error}"))
    }

    /// What a server counts.
    #[track_caller]
    pub fn metrics(&self, name: &str) -> Metrics {
        Metrics::parse(&self.get(name, "/metrics").body)
    }

    /// Waits until each of `names` says `at` of its client; how long that took.
    #[track_caller]
    pub fn agree(&self, names: &[&str], at: &At) -> Duration {
        let begun = Instant::now();
        for name in names {
            let mut client = self.client(name);
            let mut last = None;
            let mut tries = || {
                last = client.locate(&at.client);
                last.as_ref() == Some(at)
            };
            wait_until(&format!("{name} knows {}", at.line()), &mut tries);
        }
        begun.elapsed()
    }

    /// Waits until a server has a link to each of `peers` that is up.
    #[track_caller]
    pub fn wait_linked(&self, name: &str, peers: &[&str]) {
        wait_until(&format!("{name} is linked to {peers:?}"), || {
            let metrics = self.metrics(name);
            let name = |peer: &str| format!("geoherd_link_up{{peer=\"{peer}\"}}");
            // A neighbor that the server has just been told of has no sample yet.
            peers
                .iter()
                .map(|peer| name(peer))
                .all(|up| metrics.has(&up) && metrics.value(&up) > 0.0)
        });
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Every file that its servers wrote, logs and outputs, in one.
    pub fn all_written(&self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        for dir in [self.dir.path().to_owned(), self.log_dir()] {
            for entry in fs::read_dir(dir)? {
                let path = entry?.path();
                if path.is_file() {
                    all.append(&mut fs::read(path)?);
                }
            }
        }
        Ok(all)
    }
}
