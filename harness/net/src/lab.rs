//! Rooms and wires: namespaces, the interfaces between them, and what can be done to these.
//!
//! Every server has one address, on its own loopback interface; each link is a pair of interfaces and
//! a route to the other server's address over it. So two servers reach each other over their link or
//! not at all. The driver's own room, the hall, is linked with each of them and passes nothing on.

use crate::tool::{run, run_with};
use crate::wire::{Manner, Wire};
use anyhow::{Context as _, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{self, Command};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Where `ip` keeps namespaces that have names.
const NAMESPACES: &str = "/run/netns";

/// Begins the names of ours; the id of the process that made them follows.
const PREFIX: &str = "herdnet";

/// Some servers and the links between them. Dropping it removes all of it; processes that run inside are to
/// be ended before.
#[derive(Debug)]
pub struct Lab {
    /// Begins the names of its rooms.
    prefix: String,
    names: Vec<String>,
    links: Vec<(usize, usize)>,
    /// Those that pass over a process of ours, by the places of their links.
    wires: Vec<(usize, Wire)>,
}

/// Why no lab can be made here, if none can.
pub fn why_not() -> Option<String> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    for (program, from) in [("ip -V", "iproute2"), ("tc -V", "iproute2"), ("nft -v", "nftables")] {
        if run(program).is_err() {
            let name = program.split(' ').next().unwrap_or_default();
            return Some(format!("`{name}` is missing: apt-get install {from}"));
        }
    }
    let probe = format!("{PREFIX}-{}-probe{}", process::id(), NUMBER.fetch_add(1, Relaxed));
    let made = run(&format!("ip netns add {probe}")).and_then(|_| {
        run_with(&format!("ip netns exec {probe} nft -f -"), &rules())?;
        run(&format!("ip -n {probe} link add end0 type veth peer name end1"))
    });
    // It was not made if that is what failed.
    let _gone = run(&format!("ip netns delete {probe}"));
    made.err().map(|error| format!("network namespaces may not be made here: {error:#}"))
}

impl Lab {
    /// Makes rooms and links; what runs of processes that have died left behind is removed first.
    ///
    /// # Errors
    ///
    /// The system's; see [`why_not`].
    pub fn new(names: &[&str], links: &[(&str, &str)]) -> Result<Self> {
        Self::with_wires(names, links, None)
    }

    /// The same with every link led over a wire of ours.
    pub fn with_wires(
        names: &[&str],
        links: &[(&str, &str)],
        manner: Option<Manner>,
    ) -> Result<Self> {
        static LABS: AtomicUsize = AtomicUsize::new(0);
        sweep();
        let place = |name: &str| {
            let found = names.iter().position(|other| *other == name);
            found.with_context(|| format!("{name} is linked and not there"))
        };
        let places = |&(one, other): &(&str, &str)| Ok((place(one)?, place(other)?));
        let mut lab = Self {
            prefix: format!("{PREFIX}-{}-{}", process::id(), LABS.fetch_add(1, Relaxed)),
            names: names.iter().map(|&name| name.to_owned()).collect(),
            links: links.iter().map(places).collect::<Result<_>>()?,
            wires: Vec::new(),
        };
        // From here on dropping it removes what was made.
        for at in 0..=names.len() {
            lab.make_room(at)?;
        }
        for at in 0..names.len() {
            lab.make_pair(at, lab.hall())?;
        }
        for at in 0..lab.links.len() {
            match manner {
                None => {
                    let (one, other) = lab.link(at)?;
                    lab.make_pair(one, other)?;
                }
                Some(manner) => lab.make_wire(at, manner)?,
            }
        }
        Ok(lab)
    }

    /// The address of a server, which only others inside can reach.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    pub fn address(&self, name: &str) -> Result<Ipv4Addr> {
        Ok(address(self.place(name)?))
    }

    /// Moves the calling thread into the hall, from where every server can be reached, and nothing else.
    /// The threads that it starts from then on are there too.
    pub fn enter(&self) -> Result<()> {
        self.enter_room(self.hall())
    }

    /// A command that runs `program` in a server's room. `ip` becomes the program, so the process that is
    /// started is the program's.
    pub fn command(&self, name: &str, program: &Path) -> Result<Command> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.room(self.place(name)?)]).arg(program);
        Ok(command)
    }

    /// Takes a link down at both ends: interfaces lose their carrier, and routes go.
    pub fn down(&self, one: &str, other: &str) -> Result<()> {
        self.at_both(one, other, |lab, at, to| {
            lab.ip(at, &format!("link set {} down", interface(to))).map(drop)
        })
    }

    /// Brings it up again.
    pub fn up(&self, one: &str, other: &str) -> Result<()> {
        self.at_both(one, other, Self::raise)
    }

    /// Drops every packet on a link, in both directions, in silence.
    pub fn cut(&self, one: &str, other: &str) -> Result<()> {
        self.cut_one_way(one, other)?;
        self.cut_one_way(other, one)
    }

    /// Drops every packet on its way from one server to the other over their link.
    pub fn cut_one_way(&self, from: &str, to: &str) -> Result<()> {
        self.edit_cuts(from, to, "add")
    }

    /// Lets packets through in both directions. What was not cut stays as it is.
    pub fn mend(&self, one: &str, other: &str) -> Result<()> {
        for (from, to) in [(one, other), (other, one)] {
            // Adding what is there is no error, while deleting what is not is one.
            self.edit_cuts(from, to, "add")?;
            self.edit_cuts(from, to, "delete")?;
        }
        Ok(())
    }

    /// Bounds a link to so many bytes a second in each direction; what does not fit waits for 50 ms and is
    /// dropped then, as in a router.
    pub fn slow(&self, one: &str, other: &str, bytes_per_s: u32) -> Result<()> {
        self.at_both(one, other, |lab, at, to| {
            let bits = u64::from(bytes_per_s) * 8;
            lab.tc(
                at,
                &format!(
                    "qdisc replace dev {} root tbf rate {bits}bit burst 4kb latency 50ms",
                    interface(to)
                ),
            )
        })
    }

    /// Takes the bound away.
    pub fn fast(&self, one: &str, other: &str) -> Result<()> {
        self.at_both(one, other, |lab, at, to| {
            lab.tc(at, &format!("qdisc delete dev {} root", interface(to)))
        })
    }

    /// The wire of a link, if it has one.
    pub fn wire(&self, one: &str, other: &str) -> Option<&Wire> {
        let (one, other) = (self.place(one).ok()?, self.place(other).ok()?);
        let is_it = |link: &(usize, usize)| *link == (one, other) || *link == (other, one);
        let at = self.links.iter().position(is_it)?;
        self.wires.iter().find(|(link, _)| *link == at).map(|(_, wire)| wire)
    }

    fn place(&self, name: &str) -> Result<usize> {
        let found = self.names.iter().position(|other| other == name);
        found.with_context(|| format!("no server {name}"))
    }

    /// The place of the driver, behind all servers.
    fn hall(&self) -> usize {
        self.names.len()
    }

    fn link(&self, at: usize) -> Result<(usize, usize)> {
        self.links.get(at).copied().context("no such link")
    }

    /// The namespace of a room.
    fn room(&self, at: usize) -> String {
        format!("{}-{at}", self.prefix)
    }

    fn ip(&self, at: usize, what: &str) -> Result<String> {
        run(&format!("ip -n {} {what}", self.room(at)))
    }

    fn tc(&self, at: usize, what: &str) -> Result<()> {
        run(&format!("tc -n {} {what}", self.room(at))).map(drop)
    }

    fn enter_room(&self, at: usize) -> Result<()> {
        let room = fs::File::open(Path::new(NAMESPACES).join(self.room(at)))?;
        Ok(move_into_link_name_space(room.as_fd(), Some(LinkNameSpaceType::Network))?)
    }

    fn make_room(&self, at: usize) -> Result<()> {
        run(&format!("ip netns add {}", self.room(at)))?;
        self.ip(at, "link set lo up")?;
        self.ip(at, &format!("address add {}/32 dev lo", address(at)))?;
        run_with(&format!("ip netns exec {} nft -f -", self.room(at)), &rules())?;
        Ok(())
    }

    fn make_pair(&self, one: usize, other: usize) -> Result<()> {
        let (here, there) = (interface(other), interface(one));
        let far = self.room(other);
        self.ip(one, &format!("link add {here} type veth peer name {there} netns {far}"))?;
        self.raise(one, other)?;
        self.raise(other, one)
    }

    fn make_wire(&mut self, at: usize, manner: Manner) -> Result<()> {
        let (one, other) = self.link(at)?;
        let ends = [(one, other), (other, one)].map(|(at, to)| {
            let lab = &*self;
            // Whoever opens such a device makes it in its own namespace: a thread that goes there.
            std::thread::scope(|scope| {
                let made = scope.spawn(move || -> Result<fs::File> {
                    lab.enter_room(at)?;
                    crate::wire::open(&interface(to))
                });
                made.join().ok().context("the thread that makes a wire panicked")?
            })
        });
        let [near, far] = ends;
        self.wires.push((at, Wire::between(near?, far?, manner)?));
        self.raise(one, other)?;
        self.raise(other, one)
    }

    /// Brings the end of a link up, with the route over it.
    fn raise(&self, at: usize, to: usize) -> Result<()> {
        let interface = interface(to);
        self.ip(at, &format!("link set {interface} up"))?;
        let (from, to) = (address(at), address(to));
        self.ip(at, &format!("route replace {to}/32 dev {interface} src {from}")).map(drop)
    }

    fn at_both(
        &self,
        one: &str,
        other: &str,
        what: impl Fn(&Self, usize, usize) -> Result<()>,
    ) -> Result<()> {
        let (one, other) = (self.place(one)?, self.place(other)?);
        let linked = |link: &(usize, usize)| *link == (one, other) || *link == (other, one);
        if !self.links.iter().any(linked) {
            bail!("no link between {} and {}", self.names[one], self.names[other]);
        }
        what(self, one, other)?;
        what(self, other, one)
    }

    fn edit_cuts(&self, from: &str, to: &str, verb: &str) -> Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        let line = format!("{verb} element inet lab cut {{ \"{}\" }}\n", interface(from));
        run_with(&format!("ip netns exec {} nft -f -", self.room(to)), &line).map(drop)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.wires.clear();
        for at in 0..=self.names.len() {
            // It may not have come to that one.
            let _missing = run(&format!("ip netns delete {}", self.room(at)));
        }
    }
}

/// What is dropped when it comes in: everything from the interfaces in a set that is empty at first.
fn rules() -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = write!(
        text,
        "table inet lab {{\n set cut {{ type ifname; }}\n chain in {{\n type filter hook input priority 0;\n \
         iifname @cut drop\n }}\n}}\n"
    );
    text
}

/// The address of the room at a place.
fn address(at: usize) -> Ipv4Addr {
    let [.., high, low] = u32::try_from(at + 1).unwrap_or(u32::MAX).to_be_bytes();
    Ipv4Addr::new(10, 99, high, low)
}

/// The interface in any room that leads to the room at a place.
fn interface(to: usize) -> String {
    format!("to{to}")
}

/// Removes rooms whose maker has died without removing them, and ends what still runs there.
fn sweep() {
    let Ok(rooms) = fs::read_dir(NAMESPACES) else { return };
    for room in rooms.flatten() {
        let room = room.file_name().to_string_lossy().into_owned();
        let Some(maker) = maker(&room) else { continue };
        if Path::new("/proc").join(maker.to_string()).exists() {
            continue;
        }
        // Whatever runs in a room of ours was started by its maker. Another process may sweep too.
        for inside in run(&format!("ip netns pids {room}")).unwrap_or_default().split_whitespace() {
            let _ended = run(&format!("kill -KILL {inside}"));
        }
        let _gone = run(&format!("ip netns delete {room}"));
    }
}

/// The process that made a room, if it is one of ours.
fn maker(room: &str) -> Option<u32> {
    room.strip_prefix(PREFIX)?.strip_prefix('-')?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rooms_of_ours_have_a_maker() {
        for (room, expected) in [
            ("herdnet-12-0-3", Some(12)),
            ("herdnet-12-probe", Some(12)),
            ("herdnet-x-0", None),
            ("docker-12-0", None),
            ("herdnet12-0", None),
        ] {
            assert_eq!(maker(room), expected, "{room}");
        }
    }

    #[test]
    fn interfaces_have_names_that_the_system_takes() {
        /// IFNAMSIZ, with its zero.
        const NAME_BYTES: usize = 16;
        assert!(interface(9999).len() < NAME_BYTES);
        assert_eq!(address(0), Ipv4Addr::new(10, 99, 0, 1));
    }
}
