//! A pipeline: one connection on which is asked as fast as it is taken, whatever comes back meanwhile.
//!
//! Unlike [`load`](crate::load) it keeps no count of what is unanswered; who asks has to. Two threads, one that writes and one that reads, so that neither waits for the other. What is
//! asked and what counts as an answer is up to whoever starts it.

use anyhow::{Context as _, Result, bail, ensure};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

/// A connection that is asked until its questions end.
#[derive(Debug)]
pub(crate) struct Pipeline {
    writer: JoinHandle<Result<()>>,
    reader: JoinHandle<Result<()>>,
}

/// What is written at once: more than a server reads at once, so that it finds a full batch.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// What is read at once at most: a dozen answers about places.
const READ_BYTES: usize = 256 * 1024;

/// Nothing is waited for longer than this.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

impl Pipeline {
    /// Connects. `questions` appends what is to be asked next, some [`CHUNK_BYTES`], and nothing when there
    /// is no more. It also sees to it that not more is unanswered than some megabytes: where the buffers
    /// of the system fill up in both directions, it may come to drop what tells that something was read,
    /// and then nothing moves any more. `answers` gets the bytes that came and are not taken yet, and returns how many it takes:
    /// those of whole answers.
    pub(crate) fn start(
        address: SocketAddr,
        questions: impl FnMut(&mut Vec<u8>) + Send + 'static,
        answers: impl FnMut(&[u8]) -> Result<usize> + Send + 'static,
    ) -> Result<Self> {
        let stream = TcpStream::connect(address).context("cannot connect the load")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        let back = stream.try_clone()?;
        let writer = std::thread::spawn(move || write(stream, questions));
        let reader = std::thread::spawn(move || {
            let result = read(&back, answers);
            // A writer that waits for room sees that nobody reads any more.
            let _closed = back.shutdown(Shutdown::Both);
            result
        });
        Ok(Self { writer, reader })
    }

    /// Waits until the questions have ended and all are answered.
    ///
    /// # Errors
    ///
    /// When an answer was wrong or the connection broke.
    pub(crate) fn finish(self) -> Result<()> {
        // What the reader did not like is why the writer failed.
        self.reader.join().ok().context("a reader of a load panicked")??;
        self.writer.join().ok().context("a writer of a load panicked")?
    }
}

fn write(mut stream: TcpStream, mut questions: impl FnMut(&mut Vec<u8>)) -> Result<()> {
    let mut bytes = Vec::with_capacity(2 * CHUNK_BYTES);
    loop {
        bytes.clear();
        questions(&mut bytes);
        if bytes.is_empty() {
            // The server answers what it has, and closes.
            return stream.shutdown(Shutdown::Write).context("cannot end the load");
        }
        stream.write_all(&bytes).context("cannot write the load")?;
    }
}

fn read(mut stream: &TcpStream, mut answers: impl FnMut(&[u8]) -> Result<usize>) -> Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut held = 0;
    loop {
        let room = buffer.get_mut(held..).unwrap_or_default();
        let count = stream.read(room).context("cannot read what answers the load")?;
        if count == 0 {
            ensure!(held == 0, "the connection was closed within an answer");
            return Ok(());
        }
        let filled = held + count;
        let taken = answers(buffer.get(..filled).unwrap_or_default())?;
        if taken == 0 && filled == buffer.len() {
            bail!("an answer is longer than {READ_BYTES} bytes");
        }
        buffer.copy_within(taken..filled, 0);
        held = filled - taken;
    }
}
