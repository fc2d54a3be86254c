//! Wires between servers: relays inside this process that can be slow, late, silent or counted.
//!
//! A wire belongs to a pair of servers, whoever of them dials. Bytes keep their order, as on any TCP
//! connection: what jitters is when they arrive. A wire that is cut is silent and nothing is closed, as
//! when a cable is pulled or a firewall drops.
//!
//! What is absent is loss and what TCP makes of it; that needs packets.

use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// How a wire passes bytes on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// How long at least.
    pub(crate) delay: Duration,
    /// How much longer at most.
    pub(crate) jitter: Duration,
    /// Bytes a second in each direction; none for as many as come.
    pub(crate) rate: Option<u32>,
}

/// All wires of one herd. They end with this value.
#[derive(Debug)]
pub(crate) struct Wires {
    manner: Manner,
    /// By the names of both ends, the lower first.
    between: Mutex<BTreeMap<(String, String), Arc<Wire>>>,
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Wire {
    manner: Manner,
    cut: watch::Sender<bool>,
    down: watch::Sender<bool>,
    passed: AtomicU64,
}

/// What is read at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// The parts of a second whose bytes a slow wire reads at once and the kernel keeps for each side of it, so that
/// what lies in it is never worth much time; both have bounds below.
const CHUNKS_A_SECOND: u32 = 1000;
const BUFFERS_A_SECOND: u32 = 200;

/// Bounds of what a slow wire reads at once.
const CHUNK_SLOW_BYTES: (u32, u32) = (2 * 1024, 16 * 1024);

/// A slow wire makes up for so much time in which its timers were late, or its rate would be lower than it should.
const MADE_UP_FOR: Duration = Duration::from_millis(20);

/// Chunks on their way in one direction: what a fast wire with a long delay holds.
const CHUNKS_UNDER_WAY: usize = 4096;

/// The least that the kernel keeps for each side of a slow wire; it doubles this.
const SLOW_BUFFER_BYTES_MIN: u32 = 4 * 1024;

impl Wires {
    pub(crate) fn new(manner: Manner) -> Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { manner, between: Mutex::default(), runtime: Some(runtime) })
    }

    /// Another manner for the wire between these two; before either is led over it.
    pub(crate) fn set_manner(&self, one: &str, other: &str, manner: Manner) {
        self.with(|wires| wires.insert(ends(one, other), Arc::new(Wire::new(manner))));
    }

    /// Where `from` finds `to`, which listens at `target`.
    pub(crate) fn lead(&self, from: &str, to: &str, target: SocketAddr) -> Result<SocketAddr> {
        let manner = self.manner;
        let wire = self.with(|wires| {
            wires.entry(ends(from, to)).or_insert_with(|| Arc::new(Wire::new(manner))).clone()
        });
        let runtime = self.handle()?;
        let listener = {
            let _entered = runtime.enter();
            let socket = TcpSocket::new_v4()?;
            wire.tune(&socket)?;
            // Not where servers listen: their free ports were chosen, and are not taken yet.
            socket.bind(([127, 0, 0, 9], 0).into())?;
            socket.listen(64)?
        };
        let address = listener.local_addr()?;
        runtime.spawn(wire.accept(listener, target));
        Ok(address)
    }

    /// Cuts the wire between these two, or mends it.
    pub(crate) fn cut(&self, one: &str, other: &str, cut: bool) -> Result<()> {
        self.wire(one, other)?.cut.send_replace(cut);
        Ok(())
    }

    /// Takes the wire between these two down, or up again: while it is down every connection over it is closed at
    /// once.
    pub(crate) fn take_down(&self, one: &str, other: &str, down: bool) -> Result<()> {
        self.wire(one, other)?.down.send_replace(down);
        Ok(())
    }

    /// Bytes that came out of the wire between these two so far, in both directions.
    pub(crate) fn passed(&self, one: &str, other: &str) -> Result<u64> {
        Ok(self.wire(one, other)?.passed.load(Relaxed))
    }

    fn wire(&self, one: &str, other: &str) -> Result<Arc<Wire>> {
        let found = self.with(|wires| wires.get(&ends(one, other)).cloned());
        found.with_context(|| format!("no wire between {one} and {other}"))
    }

    fn handle(&self) -> Result<&Handle> {
        Ok(self.runtime.as_ref().context("wires end with their value")?.handle())
    }

    fn with<T>(&self, visit: impl FnOnce(&mut BTreeMap<(String, String), Arc<Wire>>) -> T) -> T {
        visit(&mut self.between.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn ends(one: &str, other: &str) -> (String, String) {
    let (low, high) = if one < other { (one, other) } else { (other, one) };
    (low.to_owned(), high.to_owned())
}

impl Wire {
    fn new(manner: Manner) -> Self {
        let (cut, down) = (watch::Sender::new(false), watch::Sender::new(false));
        Self { manner, cut, down, passed: AtomicU64::new(0) }
    }

    fn tune(&self, socket: &TcpSocket) -> std::io::Result<()> {
        if let Some(rate) = self.manner.rate {
            let bytes = (rate / BUFFERS_A_SECOND).max(SLOW_BUFFER_BYTES_MIN);
            socket.set_recv_buffer_size(bytes)?;
            socket.set_send_buffer_size(bytes)?;
        }
        Ok(())
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, target: SocketAddr) {
        while let Ok((near, _)) = listener.accept().await {
            let wire = self.clone();
            tokio::spawn(async move {
                // Whoever dialed sees that nothing comes of it.
                let _ended = wire.connect(near, target).await;
            });
        }
    }

    async fn connect(self: Arc<Self>, near: TcpStream, target: SocketAddr) -> Result<()> {
        /// As long as anybody waits for a connection.
        const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
        timeout(CONNECTED_WITHIN, self.whole()).await??;
        if *self.down.borrow() {
            return Ok(());
        }
        let socket = TcpSocket::new_v4()?;
        self.tune(&socket)?;
        let far = socket.connect(target).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let (near_reader, near_writer) = near.into_split();
        let (far_reader, far_writer) = far.into_split();
        let both = async {
            tokio::join!(
                self.clone().pass_on(near_reader, far_writer),
                self.clone().pass_on(far_reader, near_writer)
            );
        };
        let mut down = self.down.subscribe();
        tokio::select! {
            () = both => {}
            is_down = down.wait_for(|down| *down) => drop(is_down?),
        }
        Ok(())
    }

    /// Returns while the wire is not cut.
    async fn whole(&self) -> Result<()> {
        self.cut.subscribe().wait_for(|cut| !cut).await?;
        Ok(())
    }

    async fn pass_on(self: Arc<Self>, mut from: OwnedReadHalf, to: OwnedWriteHalf) {
        let (room, chunk) = match self.manner.rate {
            None => (CHUNKS_UNDER_WAY, CHUNK_BYTES),
            Some(rate) => {
                let (least, most) = CHUNK_SLOW_BYTES;
                // It fits: it has a bound.
                (
                    1,
                    usize::try_from((rate / CHUNKS_A_SECOND).clamp(least, most))
                        .unwrap_or(CHUNK_BYTES),
                )
            }
        };
        let (sender, receiver) = mpsc::channel(room);
        tokio::spawn(self.clone().deliver(receiver, to));
        let mut buffer = vec![0; chunk];
        let mut chance = Chance(crate::probe::unix_nanos() | 1);
        let mut due = Instant::now();
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let late = self.manner.jitter.mul_f64(chance.part());
            due = due.max(Instant::now() + self.manner.delay + late);
            let bytes = buffer.get(..count).unwrap_or_default().to_vec();
            if sender.send((due, bytes)).await.is_err() {
                return;
            }
        }
    }

    async fn deliver(
        self: Arc<Self>,
        mut chunks: mpsc::Receiver<(Instant, Vec<u8>)>,
        mut to: OwnedWriteHalf,
    ) {
        let mut free = Instant::now();
        while let Some((due, bytes)) = chunks.recv().await {
            let at_once = self.manner.delay.is_zero() && self.manner.jitter.is_zero();
            if !at_once {
                sleep_until(due).await; // tidy: allow(sleep): the delay of a wire is what is made here
            }
            if let Some(rate) = self.manner.rate {
                let earliest = Instant::now().checked_sub(MADE_UP_FOR).unwrap_or(free);
                free = free.max(earliest) + Duration::from_secs(1) * length(&bytes) / rate;
                sleep_until(free).await; // tidy: allow(sleep): the rate of a wire is what is made here
            }
            let is_lost = self.whole().await.is_err() || *self.down.borrow();
            if is_lost || to.write_all(&bytes).await.is_err() {
                return;
            }
            self.passed.fetch_add(u64::from(length(&bytes)), Relaxed);
        }
        // What ends at one side ends at the other, unless nobody there can hear of it.
        let _whole = self.whole().await;
    }
}

/// Of a chunk, which is short.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Xorshift: what jitters need not be unguessable.
struct Chance(u64);

impl Chance {
    /// 0 to 1.
    fn part(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}
