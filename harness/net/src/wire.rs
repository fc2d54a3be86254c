//! A wire of our own: two TUN devices and two threads that carry packets between them, late, in
//! jittering time, and not all of them.
//!
//! The kernel has an emulator for this, but not every kernel. Packets are IP packets as they are; those
//! that jitter past one another arrive in another order, as on the internet, and TCP sees to it.

use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How packets pass.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Manner {
    /// How long each takes at least.
    pub delay: Duration,
    /// How much longer at most.
    pub jitter: Duration,
    /// How many of a thousand are lost.
    pub lost_per_mille: u32,
}

/// A wire between two devices. Dropping it ends it.
#[derive(Debug)]
pub struct Wire {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    manner: Mutex<Manner>,
    ended: AtomicBool,
    passed: AtomicU64,
    lost: AtomicU64,
}

/// Packets under way in one direction, by when they are due; the number keeps those of one moment apart.
type Way = Arc<(Mutex<BTreeMap<(Instant, u64), Vec<u8>>>, Condvar)>;

/// More than these are lost, as in any queue: some seconds of a link that is not slow.
const UNDER_WAY_MAX: usize = 20_000;

/// Larger than any packet that such a device gives.
const PACKET_BYTES: usize = 65_536;

impl Wire {
    pub(crate) fn between(near: File, far: File, manner: Manner) -> Result<Self> {
        let shared = Arc::new(Shared {
            manner: Mutex::new(manner),
            ended: AtomicBool::new(false),
            passed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let mut threads = Vec::new();
        for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
            let way = Way::default();
            let (taking, giving) = (way.clone(), way);
            let (taker, giver) = (shared.clone(), shared.clone());
            threads.push(std::thread::spawn(move || take(from, &taking, &taker)));
            threads.push(std::thread::spawn(move || give(to, &giving, &giver)));
        }
        Ok(Self { shared, threads })
    }

    /// From now on packets pass in this manner.
    pub fn set(&self, manner: Manner) {
        *lock(&self.shared.manner) = manner;
    }

    /// Packets that have passed so far, and those that were lost.
    pub fn counts(&self) -> (u64, u64) {
        (self.shared.passed.load(Relaxed), self.shared.lost.load(Relaxed))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.ended.store(true, Relaxed);
        // Each looks up within a moment.
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often a thread that waits looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

fn take(mut from: File, way: &Way, shared: &Shared) {
    let (under_way, come) = &**way;
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut packet = vec![0; PACKET_BYTES];
    let mut number = 0;
    while !shared.ended.load(Relaxed) {
        if !is_readable(&from) {
            continue;
        }
        let Ok(count) = from.read(&mut packet) else { return };
        let manner = *lock(&shared.manner);
        let lost = chance.below(1000) < u64::from(manner.lost_per_mille);
        let mut queue = lock(under_way);
        if lost || queue.len() >= UNDER_WAY_MAX {
            shared.lost.fetch_add(1, Relaxed);
            continue;
        }
        let jitter_us = u64::try_from(manner.jitter.as_micros()).unwrap_or(u64::MAX);
        let late = Duration::from_micros(chance.below(jitter_us.saturating_add(1)));
        number += 1;
        let bytes = packet.get(..count).unwrap_or_default().to_vec();
        queue.insert((Instant::now() + manner.delay + late, number), bytes);
        come.notify_one();
    }
}

fn is_readable(file: &File) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK_EVERY.subsec_nanos()) };
    let mut polled = [PollFd::new(file, PollFlags::IN)];
    poll(&mut polled, Some(&wait)).is_ok_and(|ready| ready > 0)
}

fn give(mut to: File, way: &Way, shared: &Shared) {
    let (under_way, come) = &**way;
    let mut queue = lock(under_way);
    while !shared.ended.load(Relaxed) {
        let now = Instant::now();
        let next = queue.first_key_value().map(|(&(due, _), _)| due);
        if next.is_some_and(|due| due <= now) {
            let Some((_, packet)) = queue.pop_first() else { continue };
            drop(queue);
            // An interface that is down takes nothing, as a cable that is not plugged in.
            let counter = if to.write_all(&packet).is_ok() { &shared.passed } else { &shared.lost };
            counter.fetch_add(1, Relaxed);
            queue = lock(under_way);
            continue;
        }
        let wait =
            next.map_or(LOOK_EVERY, |due| due.saturating_duration_since(now).min(LOOK_EVERY));
        queue = match come.wait_timeout(queue, wait) {
            Ok((queue, _)) => queue,
            Err(poisoned) => poisoned.into_inner().0,
        };
    }
}

/// Xorshift: what a wire does need not be unguessable.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound.max(1)
    }
}

/// Makes a TUN device of this name in the namespace of the calling thread. It goes when it is closed.
pub(crate) fn open(name: &str) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    let file = file.context("cannot open /dev/net/tun")?;
    set_interface(&file, name).with_context(|| format!("cannot make the device {name}"))?;
    Ok(file)
}

/// `struct ifreq` as far as TUNSETIFF reads it: a name that ends with a zero, flags, and what is left of the
/// union.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// IP packets as they are, without the four bytes that would stand before each.
const IFF_TUN_NO_PI: u16 = 0x1001;

#[expect(unsafe_code, reason = "the one call without which there is no TUN device")]
fn set_interface(file: &File, name: &str) -> Result<()> {
    use rustix::ioctl::{Setter, ioctl, opcode};
    /// `_IOW('T', 202, int)`, see linux/if_tun.h; the kernel reads a whole `struct ifreq` all the same.
    const TUNSETIFF: rustix::ioctl::Opcode = opcode::write::<i32>(b'T', 202);
    let mut request = InterfaceRequest { name: [0; 16], flags: IFF_TUN_NO_PI, rest: [0; 22] };
    let place = request.name.get_mut(..name.len()).filter(|place| place.len() < 16);
    place.context("a name of at most 15 bytes")?.copy_from_slice(name.as_bytes());
    // SAFETY: TUNSETIFF takes a pointer to a `struct ifreq`, which is 40 bytes on 64-bit Linux; the request is
    // as large and as laid out, and the kernel keeps no pointer to it. `Setter` passes a pointer to the
    // value that it owns.
    unsafe { ioctl(file, Setter::<{ TUNSETIFF }, InterfaceRequest>::new(request))? };
    Ok(())
}
