//! Threads that serve clients: each has a runtime of its own, and a connection stays on the one it was given to.
//!
//! Nothing is stolen and nobody is woken across threads, so that a second thread costs what it serves. The first
//! lane is the thread that runs links and timers too; there is always that one. HTTP has a lane of its own, so that
//! who prints or reads much there stands in no client's way. *Absent:* moving a connection to another lane when
//! they are loaded unevenly.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tracing::info;

/// The lanes of one server; dropping them ends what they run.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// All but the first.
    others: Vec<Lane>,
    /// Connections dealt out so far.
    dealt: AtomicUsize,
}

/// A thread with a runtime; dropping it ends what it runs.
#[derive(Debug)]
pub(crate) struct Lane {
    handle: Handle,
    /// Dropped, it ends the lane.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// How many there are if nothing else is said: all cores but one.
pub(crate) fn usual() -> usize {
    thread::available_parallelism().map_or(1, usize::from).saturating_sub(1).max(1)
}

impl Lanes {
    /// So many, the calling thread's among them.
    ///
    /// # Errors
    ///
    /// When a thread or its runtime cannot be made.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let lane = |number: usize| Lane::start(&format!("lane-{number}"));
        let others: Vec<_> = (1..count).map(lane).collect::<io::Result<_>>()?;
        Ok(Self { others, dealt: AtomicUsize::new(0) })
    }

    /// Serves a connection on the lane whose turn it is. Call it on the first lane.
    pub(crate) fn serve<F>(
        &self,
        stream: TcpStream,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send,
    {
        let lane = self.dealt.fetch_add(1, Relaxed) % (self.others.len() + 1);
        let Some(lane) = lane.checked_sub(1).and_then(|other| self.others.get(other)) else {
            tokio::spawn(async move { serve(stream).await });
            return;
        };
        // It belongs to this thread's runtime until it is given away.
        match stream.into_std() {
            Ok(stream) => {
                lane.handle.spawn(async move {
                    match TcpStream::from_std(stream) {
                        Ok(stream) => serve(stream).await,
                        Err(error) => info!(%error, "connection lost"),
                    }
                });
            }
            Err(error) => info!(%error, "connection lost"),
        }
    }
}

impl Lane {
    /// A thread of this name.
    ///
    /// # Errors
    ///
    /// When it or its runtime cannot be made.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let work = move || {
            // An error says that the sender is gone: time to end as well.
            let _stopped = runtime.block_on(stopped);
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Where to spawn what it is to run.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic there has ended the process already.
        let _joined = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    #[test]
    fn connections_are_dealt_out_to_all_lanes_and_end_with_them() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let lanes = Lanes::start(3).unwrap();
            let (told, mut threads) = mpsc::unbounded_channel();
            let mut clients = Vec::new();
            for _ in 0..6 {
                let mut client = TcpStream::connect(address).await.unwrap();
                let (stream, _) = listener.accept().await.unwrap();
                let told = told.clone();
                lanes.serve(stream, async move |mut stream: TcpStream| {
                    told.send(thread::current().id()).unwrap();
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).await.is_ok() {
                        stream.write_all(&byte).await.unwrap();
                    }
                });
                client.write_all(b"x").await.unwrap();
                let mut byte = [0];
                client.read_exact(&mut byte).await.unwrap();
                assert_eq!(&byte, b"x");
                clients.push(client);
            }
            let mut met = Vec::new();
            while let Ok(thread) = threads.try_recv() {
                met.push(thread);
            }
            assert_eq!(met.len(), 6);
            let different: BTreeSet<_> = met.iter().map(|id| format!("{id:?}")).collect();
            assert_eq!(different.len(), 3);
            assert_eq!(met[0], thread::current().id());
            drop(lanes);
            // Those of the lanes that are gone are closed.
            let mut byte = [0];
            assert_eq!(clients[1].read(&mut byte).await.unwrap(), 0);
            clients[0].write_all(b"y").await.unwrap();
            clients[0].read_exact(&mut byte).await.unwrap();
        });
    }
}
