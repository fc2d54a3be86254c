//! What a herd sends while no client says anything.

use crate::chance::Chance;
use crate::healthy::Herd;
use crate::plan::nanos;
use crate::world::SECOND_NS;
use herd_replica::Tuning;
use std::time::Duration;

/// Clients of the herd, all of which are quiet.
const CLIENTS: usize = 1000;

/// What a server tells about itself: about so much, with four peers.
const ABOUT: [u8; 600] = [b'.'; 600];

/// Long enough that all have heard of all.
const WARM_UP: Duration = Duration::from_mins(3);
const MEASURED_S: u64 = 300;

/// What each link carries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Idle {
    /// Number of servers.
    pub servers: usize,
    /// Number of links.
    pub links: usize,
    /// Bytes a second on a link, both ways together.
    pub bytes_a_second: f64,
    /// What was to be held.
    pub bar: f64,
}

/// The figure for a herd of so many servers with four links each on average.
pub fn idle(servers: usize) -> Idle {
    measure(servers, MEASURED_S)
}

fn measure(servers: usize, seconds: u64) -> Idle {
    let mut chance = Chance::new(1);
    let mut edges: Vec<_> = (1..servers).map(|server| (chance.index(server), server)).collect();
    while edges.len() < 2 * servers {
        let (a, b) = (chance.index(servers), chance.index(servers));
        if a != b && !edges.contains(&(a, b)) && !edges.contains(&(b, a)) {
            edges.push((a, b));
        }
    }
    let mut herd = Herd::new(servers, &edges, &Tuning::default());
    herd.delay = Duration::from_millis(20);
    herd.link_all();
    for (replica, _) in &mut herd.servers {
        replica.set_about(&ABOUT, true);
    }
    for client in 0..CLIENTS {
        herd.say(client % servers, client);
    }
    herd.run_until(nanos(WARM_UP));
    herd.sent.bytes = 0;
    herd.run_until(herd.now_ns + seconds * SECOND_NS);
    let bytes_a_second = herd.sent.bytes as f64 / seconds as f64 / edges.len() as f64;
    let bar = if servers > 25 { 2000.0 } else { 500.0 };
    Idle { servers, links: edges.len(), bytes_a_second, bar }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_herd_of_nine_sends_next_to_nothing() {
        let idle = measure(9, 60);
        assert!(idle.bytes_a_second < 200.0, "{idle:?}");
    }
}
