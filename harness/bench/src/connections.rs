//! `connections`: very many of them idle, very many new at once, and some that ask for more than their share.
//!
//! Both ends are on this machine, so each connection is a file of this process and of the server's, and what
//! the system lets a process open is the bound. What the kernel keeps for a socket is not measured.

mod idle;
mod share;
mod storm;

use crate::Options;
use crate::table::Section;
use anyhow::{Context as _, Result};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::net::{TcpSocket, TcpStream};

pub(crate) fn measure(options: &Options) -> Result<Vec<Section>> {
    Ok(vec![idle::measure(options)?, storm::measure(options)?, share::measure(options)?])
}

/// How many connections of those wanted can be had; the rest of the files is for everything else.
fn possible(wanted: usize) -> usize {
    /// The server's log and links, this program's pipes, and what the runtimes have.
    const OTHER_FILES: usize = 500;
    wanted.min(crate::machine::open_files_max().saturating_sub(OTHER_FILES))
}

/// The connection of this number, from one of several addresses: one has too few ports for very many.
async fn connect(server: SocketAddr, number: usize) -> Result<TcpStream> {
    /// The system finds a free port quickly only while few are taken.
    const PER_ADDRESS: usize = 1000;
    let last = u8::try_from(number / PER_ADDRESS + 1).context("too many connections")?;
    let socket = TcpSocket::new_v4()?;
    // Or each would hold its port for a minute after its end.
    socket.set_zero_linger()?;
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0))?;
    let stream = socket.connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reports over a connection and checks the answer.
async fn report(stream: &mut TcpStream, server: &str, client: &str) -> Result<()> {
    use crate::probe::{LOCATION, report, time_text, unix_nanos};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    /// More than the answer to a short report has.
    const ANSWER_BYTES_MAX: usize = 256;
    let time = time_text(unix_nanos());
    stream.write_all(report(client, &time).as_bytes()).await?;
    let mut answer = [0; ANSWER_BYTES_MAX];
    let mut filled = 0;
    while !answer[..filled].ends_with(b"\n") {
        let count = stream.read(&mut answer[filled..]).await?;
        anyhow::ensure!(count > 0, "the server closed a connection or answered too much");
        filled += count;
    }
    let answer = &answer[..filled];
    let right = answer.starts_with(format!("AT {server} ").as_bytes())
        && answer.ends_with(format!(" {client} {LOCATION} {time}\n").as_bytes());
    anyhow::ensure!(right, "a wrong answer: {:?}", String::from_utf8_lossy(answer));
    Ok(())
}
