//! Asking a server over HTTP: how the herd is, or to do something.
//!
//! Any server can be asked, so with a config they are tried in turn. One question a connection, with
//! a bound on the answer; one that has none is read as it comes.

mod body;
mod pipe;

pub(crate) use body::Body;
pub(crate) use pipe::Pipe;

use crate::client::{ClientError, Server};
use crate::config_file::ConfigFile;
use anyhow::bail;
use clap::Args;
use herd_server::config::{Config, nearest};
use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Which server is asked, and how patiently.
#[derive(Clone, Debug, Args)]
pub(crate) struct Admin {
    /// The server's `http` address, or its name if there is a config [default: all servers of the
    /// config, one after another until one answers; without a config 127.0.0.1:12100]
    #[arg(long, value_name = "ADDR")]
    server: Option<String>,
    /// The config of the herd
    #[arg(long = "config", value_name = "FILE", env = "GEOHERD_CONFIG")]
    config: Option<PathBuf>,
    /// How long to wait while nothing comes
    #[arg(long, value_name = "DURATION", default_value = "5s",
        value_parser = crate::client::parse_timeout)]
    timeout: Duration,
}

/// The first server of the example config.
const DEFAULT_ADDRESS: &str = "127.0.0.1:12100";

/// An answer, and who gave it.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The address.
    pub(crate) from: String,
    /// The body.
    pub(crate) body: String,
}

/// Why there is none. Says what to do.
#[derive(Debug, thiserror::Error)]
enum AdminError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(
        "{address} is where clients talk to a server; name its http address (`http` in [servers.NAME])"
    )]
    LineProtocol { address: String },
    #[error("what {address} answers is no HTTP; is it the http address of a geoherd server?")]
    NoHttp { address: String },
    #[error(
        "{address} does not know {path}; is it the http address of a geoherd server of this version?"
    )]
    NotFound { address: String, path: String },
    #[error("{address} refuses: {why}")]
    Refused { address: String, why: String },
}

/// A herd of a hundred servers that are all linked has some 4 MB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

impl Admin {
    /// The server of that name, unless another address was named for it.
    pub(crate) fn of_server(mut self, name: &str) -> Self {
        if self.config.is_some() {
            self.server.get_or_insert_with(|| name.to_owned());
        }
        self
    }

    /// Whom to ask, in this order.
    pub(crate) fn targets(&self) -> anyhow::Result<Targets> {
        let config = self.config.clone().map(|path| ConfigFile { path }.load()).transpose()?;
        let addresses = addresses(self.server.as_deref(), config.as_ref())?;
        let server = |address| Server { address, timeout: self.timeout };
        Ok(Targets(addresses.into_iter().map(server).collect()))
    }
}

/// The servers that may be asked, by their HTTP addresses.
#[derive(Debug)]
pub(crate) struct Targets(Vec<Server>);

impl Targets {
    /// The same, waited for at least so long.
    pub(crate) fn patient(mut self, timeout: Duration) -> Self {
        for server in &mut self.0 {
            server.timeout = server.timeout.max(timeout);
        }
        self
    }

    /// Asks for `path`.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Answer> {
        first_answer(&self.0, "GET", path, "")
    }

    /// Asks for `path`, whose answer is read as it comes.
    pub(crate) fn read(&self, path: &str) -> anyhow::Result<Body> {
        first_of(&self.0, true, |server| body::open(server, path))
    }

    /// Connects for many requests to `path`, each of which has the server do something.
    pub(crate) fn pipe(&self, path: &str) -> anyhow::Result<Pipe> {
        first_of(&self.0, false, |server| pipe::open(server, path))
    }

    /// Has a server do something; no second one is asked if the first may have begun.
    pub(crate) fn post(&self, path: &str, body: &str) -> anyhow::Result<Answer> {
        first_answer(&self.0, "POST", path, body)
    }
}

fn addresses(named: Option<&str>, config: Option<&Config>) -> anyhow::Result<Vec<String>> {
    let http = |http: SocketAddr| http.to_string();
    match (named, config) {
        (Some(name), Some(config)) if config.servers.contains_key(name) => {
            let found = config.servers.get(name).and_then(|server| server.http);
            let Some(address) = found else {
                bail!("{name} has no http address; give it one (`http` in [servers.{name}])");
            };
            Ok(vec![http(address)])
        }
        (Some(address), _) if address.contains(':') => Ok(vec![address.to_owned()]),
        (Some(name), Some(config)) => {
            let mut message = format!("there is no server {name:?} in {}", config.file().display());
            if let Some(meant) = nearest(name, config.servers.keys().map(String::as_str)) {
                // Writing to a String cannot fail.
                let _infallible = write!(message, "; did you mean {meant}?");
            }
            bail!(message)
        }
        (Some(name), None) => bail!(
            "{name:?} has no port; write host and port, such as {DEFAULT_ADDRESS}, or the name of a \
             server together with --config FILE"
        ),
        (None, Some(config)) => {
            let found: Vec<_> = config.servers.values().filter_map(|one| one.http).collect();
            if found.is_empty() {
                let file = config.file().display();
                bail!("no server of {file} has an http address; give one `http` in [servers.NAME]");
            }
            Ok(found.into_iter().map(http).collect())
        }
        (None, None) => Ok(vec![DEFAULT_ADDRESS.to_owned()]),
    }
}

/// The answer of the first that can be connected to.
fn first_answer(
    targets: &[Server],
    method: &str,
    path: &str,
    body: &str,
) -> anyhow::Result<Answer> {
    first_of(targets, method == "GET", |server| {
        let body = ask(server, method, path, body)?;
        Ok(Answer { from: server.address.clone(), body })
    })
}

/// What the first says that can be connected to.
fn first_of<T>(
    targets: &[Server],
    is_harmless: bool,
    ask: impl Fn(&Server) -> Result<T, AdminError>,
) -> anyhow::Result<T> {
    let mut failures = Vec::new();
    for server in targets {
        match ask(server) {
            Ok(answer) => return Ok(answer),
            Err(AdminError::Client(
                error @ (ClientError::Refused { .. } | ClientError::Unreachable { .. }),
            )) => failures.push(error),
            // A question that harms nothing may as well go to the next.
            Err(AdminError::Client(error)) if is_harmless => failures.push(error),
            Err(error) => return Err(error.into()),
        }
    }
    let (count, last) = (failures.len(), failures.pop());
    match last {
        Some(last) if count == 1 => Err(last.into()),
        Some(last) => bail!("none of the {count} servers of the config answers; the last: {last}"),
        None => bail!("there is no server to ask"),
    }
}

fn ask(server: &Server, method: &str, path: &str, body: &str) -> Result<String, AdminError> {
    let address = || server.address.clone();
    let mut stream = server.connect()?;
    // Version 1.0: the server closes after the answer, so its end is plain to see.
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Length: {length}\r\n\r\n{body}",
        server.address
    );
    stream.write_all(request.as_bytes()).map_err(|source| server.broken(source))?;
    let mut answer = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if crate::client::is_timeout(&error) => return Err(server.silent().into()),
            Err(source) => return Err(server.broken(source).into()),
        }
        if answer.starts_with(b"? ") {
            return Err(AdminError::LineProtocol { address: address() });
        }
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(AdminError::NoHttp { address: address() });
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let parts = answer.split_once("\r\n\r\n").and_then(|(head, body)| {
        let code = head.strip_prefix("HTTP/")?.split(' ').nth(1)?.parse::<u16>().ok()?;
        Some((code, body))
    });
    match parts {
        Some((200, body)) => Ok(body.to_owned()),
        Some((code, body)) => Err(refused(server, path, code, body)),
        None if answer.is_empty() => Err(server.cut_short().into()),
        None => Err(AdminError::NoHttp { address: address() }),
    }
}

/// Why a server did not do what it was asked.
fn refused(server: &Server, path: &str, code: u16, body: &str) -> AdminError {
    let address = server.address.clone();
    if code == 404 {
        return AdminError::NotFound { address, path: path.to_owned() };
    }
    let said = serde_json::from_str::<serde_json::Value>(body).ok();
    let said = said.as_ref().and_then(|said| said.get("error")?.as_str());
    let why = said.map_or_else(|| format!("{code} {}", body.trim()), str::to_owned);
    AdminError::Refused { address, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn config(text: &str) -> Config {
        Config::load(text, Path::new("herd.toml"), std::iter::empty()).unwrap()
    }

    #[test]
    fn who_is_asked_follows_from_what_is_known() {
        let example = config(herd_server::config::EXAMPLE);
        let check = |named, config, expected: &[&str]| {
            assert_eq!(addresses(named, config).unwrap(), expected);
        };
        check(None, None, &[DEFAULT_ADDRESS]);
        check(Some("example.org:80"), None, &["example.org:80"]);
        check(Some("Smith"), Some(&example), &["127.0.0.1:12102"]);
        check(Some("[::1]:7"), Some(&example), &["[::1]:7"]);
        // Campbell, Hill, Jaquez, Singleton, Smith.
        let all = [12103, 12100, 12101, 12104, 12102].map(|port| format!("127.0.0.1:{port}"));
        assert_eq!(addresses(None, Some(&example)).unwrap(), all);
    }

    #[test]
    fn who_cannot_be_asked_is_told_with_what_to_do() {
        let example = config(herd_server::config::EXAMPLE);
        let bare = config("[herd]\nname = \"n\"\n[servers.A]\nlisten = \"127.0.0.1:1\"\n");
        let check = |named, config, expected: &str| {
            let error = addresses(named, config).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(Some("Hill"), None, "together with --config FILE");
        check(Some("Hil"), Some(&example), "did you mean Hill?");
        check(Some("A"), Some(&bare), "A has no http address; give it one");
        check(None, Some(&bare), "no server of herd.toml has an http address");
    }
}
