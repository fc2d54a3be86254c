//! The yardstick: a server that gives lines back as they came and does nothing else.
//!
//! It has the runtime, the socket options and the read size of a real server, so what lies between
//! the two is the work of being one.

use anyhow::{Context as _, Result};
use memchr::memrchr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Serves until the process is killed; prints one line with its address when it is ready.
pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let listener = socket.listen(1024)?;
        println!("ready: echo at {}", listener.local_addr()?);
        accept(listener).await
    })
}

async fn accept(listener: TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // How a connection ends does not matter here: whoever makes the load checks the replies.
            let _ended = serve(stream).await;
        });
    }
}

/// As much as a server reads at once.
const READ_BYTES: usize = 64 * 1024;

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut held = 0;
    loop {
        let read = stream.read(buffer.get_mut(held..).unwrap_or_default()).await?;
        let filled = held + read;
        // Nothing came, or a line fills the buffer: there is nothing more to do either way.
        if read == 0 {
            return Ok(());
        }
        let input = buffer.get(..filled).unwrap_or_default();
        let whole = memrchr(b'\n', input).map_or(0, |at| at + 1);
        stream.write_all(input.get(..whole).unwrap_or_default()).await?;
        buffer.copy_within(whole..filled, 0);
        held = filled - whole;
    }
}
