//! Ears: a foreign neighbor for each server, which hears what that server learns when it learns it.
//!
//! What is heard is kept as numbers, so that minutes of it fit into memory. Reports must be those of
//! [`pace`](crate::pace): their clients' names are numbers and their times are when they were sent.

use crate::herd::Foreign;
use crate::pace::client_number;
use crate::probe::unix_nanos;
use anyhow::{Context as _, Result};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One report as one server told it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    /// The writer and the client.
    pub(crate) writer: u16,
    pub(crate) client: u32,
    /// When it was sent and when it was heard, nanoseconds since 1970.
    pub(crate) sent: u64,
    pub(crate) at: u64,
}

/// An ear beside each of some servers.
#[derive(Debug)]
pub(crate) struct Ears(Vec<Ear>);

#[derive(Debug)]
struct Ear {
    of: String,
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<Vec<Heard>>,
    ended: AtomicBool,
}

impl Ears {
    pub(crate) fn of(names: &[&str]) -> Result<Self> {
        let ear = |&name: &&str| {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            let shared = Arc::new(Shared::default());
            let ear = Ear { of: name.to_owned(), address, shared: shared.clone() };
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if shared.ended.load(Relaxed) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let shared = shared.clone();
                    // A connection ends when its server does; what matters was heard before.
                    std::thread::spawn(move || listen(stream, &shared));
                }
            });
            Ok(ear)
        };
        Ok(Self(names.iter().map(ear).collect::<Result<_>>()?))
    }

    /// For the plan of a herd.
    pub(crate) fn foreign(&self) -> Vec<Foreign> {
        let foreign = |ear: &Ear| Foreign {
            name: format!("Ear{}", ear.of),
            address: ear.address,
            of: ear.of.clone(),
        };
        self.0.iter().map(foreign).collect()
    }

    /// What each ear has heard since this was last asked, in the order of the servers.
    pub(crate) fn take(&self) -> Vec<Vec<Heard>> {
        self.0.iter().map(|ear| std::mem::take(&mut *lock(&ear.shared.heard))).collect()
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        for ear in &self.0 {
            ear.shared.ended.store(true, Relaxed);
            // So that its thread looks up and sees it.
            let _woken = TcpStream::connect(ear.address);
        }
    }
}

fn lock(heard: &Mutex<Vec<Heard>>) -> std::sync::MutexGuard<'_, Vec<Heard>> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(stream: TcpStream, shared: &Shared) -> Result<()> {
    /// Long, since a silent ear costs nothing; so that threads of herds that are gone do not pile up.
    const SILENT_FOR: Duration = Duration::from_mins(10);
    stream.set_read_timeout(Some(SILENT_FOR))?;
    let mut lines = BufReader::with_capacity(64 * 1024, stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = lines.read_until(b'\n', &mut line)?;
        let at = unix_nanos();
        if count == 0 || shared.ended.load(Relaxed) {
            return Ok(());
        }
        if let Some(heard) = parse(&line, at) {
            lock(&shared.heard).push(heard);
        }
    }
}

/// A line that is no report of the paced load (a hello, a report of who filled a server) is none.
fn parse(line: &[u8], at: u64) -> Option<Heard> {
    let mut fields = line.trim_ascii_end().split(|&byte| byte == b' ');
    let (client, time) = (fields.nth(3)?, fields.nth(1)?);
    let (writer, client) = client_number(std::str::from_utf8(client).ok()?)?;
    let (seconds, nanos) = std::str::from_utf8(time).ok()?.split_once('.')?;
    let sent =
        seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)? + nanos.parse::<u64>().ok()?;
    Some(Heard { writer, client, sent, at })
}

/// One ear's share of what all heard.
pub(crate) fn of_server(heard: &[Vec<Heard>], at: usize) -> Result<&[Heard]> {
    Ok(heard.get(at).context("an ear for each server")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::client_name;
    use crate::probe::{report, time_text};

    #[test]
    fn a_paced_report_is_heard_with_its_time() {
        let sent = 1_520_023_934_918_963_997;
        let said = report(&client_name(3, 71), &time_text(sent));
        let line = said.replace("IAMAT", "AT Hill +0.000000001");
        let heard = parse(line.as_bytes(), sent + 5).unwrap();
        assert_eq!((heard.writer, heard.client, heard.sent, heard.at), (3, 71, sent, sent + 5));
        assert!(parse(b"GEOHERD/1 bench Hill 1 -\n", 1).is_none());
        assert!(parse(b"AT Hill +0.1 walker-000.example +1+2 1.000000000\n", 1).is_none());
    }
}
