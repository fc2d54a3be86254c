//! The whole herd as one of its servers knows it: which servers can be reached, and what each said of itself.

use crate::about::About;
use crate::node::Node;
use herd_proto::Now;
use herd_replica::Word;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One server of the herd, seen from this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerView {
    /// Its name.
    pub name: String,
    /// Whether what it says can be trusted to be of now.
    pub standing: Standing,
    /// Its latest incarnation that was heard from.
    pub incarnation: Option<u64>,
    /// How long ago its last heartbeat came here; zero for this server itself, None if none ever did.
    pub heard_ago: Option<Duration>,
    /// Its account of itself. None also if it cannot be read.
    pub about: Option<About>,
    /// How far it holds each stream; only this server itself knows.
    pub streams: Vec<StreamView>,
}

/// How a server stands to the one that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the one.
    Own,
    /// There are links to it that are up, directly or through others.
    Reachable,
    /// There are none. What is known of it is what it said before.
    Unreachable,
    /// It has not been heard from since this server started.
    Unheard,
}

/// How far a server holds one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamView {
    /// The server that writes it.
    pub server: String,
    /// The incarnation of that server.
    pub incarnation: u64,
    /// Held up to here.
    pub version: u64,
    /// By how many updates some peer is ahead.
    pub behind: u64,
}

/// A heartbeat older than this says nothing about whether its server still runs: half as long again
/// as an idle server may be silent.
const FRESH: Duration = Duration::from_secs(15);

impl Node {
    /// Every server of the herd that speaks this product's protocol, by name, this one among them.
    /// Costs a walk over all that is known of members, some microseconds a server.
    pub fn herd(&self, now: Now) -> Vec<ServerView> {
        let mut accounts = BTreeMap::new();
        let mut words = BTreeMap::new();
        for member in self.replica.members() {
            if member.name == self.name() || member.has_left {
                continue;
            }
            if let Some(about) = member.word.as_ref().and_then(|word| About::decode(word.about)) {
                accounts.insert(member.name, about);
            }
            words.insert(member.name, member.word);
        }
        accounts.insert(self.name(), self.about(now));
        words.insert(self.name(), None);
        let is_fresh = |name: &str| {
            let word = words.get(name).and_then(Option::as_ref);
            word.is_some_and(|word| now.instant.since(word.heard) < FRESH)
        };
        let reachable = reachable(self.name(), &accounts, is_fresh);
        let view = |(&name, word): (&&str, &Option<Word<'_>>)| {
            let is_own = name == self.name();
            let word = word.as_ref();
            ServerView {
                name: name.to_owned(),
                standing: match word {
                    _ if is_own => Standing::Own,
                    _ if reachable.contains(name) => Standing::Reachable,
                    Some(_) => Standing::Unreachable,
                    None => Standing::Unheard,
                },
                incarnation: if is_own {
                    Some(self.settings.incarnation)
                } else {
                    word.map(|word| word.incarnation)
                },
                heard_ago: if is_own {
                    Some(Duration::ZERO)
                } else {
                    word.map(|word| now.instant.since(word.heard))
                },
                about: accounts.get(name).cloned(),
                streams: if is_own { self.streams() } else { Vec::new() },
            }
        };
        words.iter().map(view).collect()
    }

    /// Every stream that is known here.
    fn streams(&self) -> Vec<StreamView> {
        let streams = self.replica.streams().map(|stream| StreamView {
            server: stream.origin.server.to_string(),
            incarnation: stream.origin.incarnation,
            version: stream.version,
            behind: stream.behind,
        });
        streams.collect()
    }
}

/// The servers that `from` can reach over links that are up. A server that can be reached is believed about its
/// links; where it says nothing of a link, the other end of it is, if what that said is fresh.
fn reachable<'a>(
    from: &'a str,
    accounts: &BTreeMap<&'a str, About>,
    is_fresh: impl Fn(&str) -> bool,
) -> BTreeSet<String> {
    let says = |one: &str, other: &str| {
        let about = accounts.get(one)?;
        let link = about.links.iter().find(|link| link.peer == other);
        link.map_or((about.links_left_out == 0).then_some(false), |link| Some(link.is_up()))
    };
    let mut reached = BTreeSet::from([from.to_owned()]);
    let mut edge = vec![from.to_owned()];
    while let Some(one) = edge.pop() {
        let named = accounts.get(&*one).into_iter().flat_map(|about| &about.links);
        let named = named.map(|link| link.peer.as_str());
        for other in named.chain(accounts.keys().copied()) {
            let linked = says(&one, other)
                .unwrap_or_else(|| says(other, &one) == Some(true) && is_fresh(other));
            if linked && reached.insert(other.to_owned()) {
                edge.push(other.to_owned());
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::about::LinkAbout;

    /// Who is reached from A, where each word of `links` is a server and those it says it is linked to.
    #[track_caller]
    fn check(links: &[&'static str], silent: &[&str], expected: &[&str]) {
        let mut accounts = BTreeMap::new();
        for line in links {
            let (name, others) = line.split_once(' ').unwrap_or((line, ""));
            let mut about = About::default();
            for peer in others.split_ascii_whitespace() {
                let (peer, state) = peer.split_once('!').map_or((peer, "up"), |(p, _)| (p, "down"));
                let (peer, state) = (peer.to_owned(), state.to_owned());
                about.links.push(LinkAbout { peer, state, ..LinkAbout::default() });
            }
            if !silent.contains(&name) {
                accounts.insert(name, about);
            }
        }
        let reached = reachable("A", &accounts, |name| name != "Old");
        assert_eq!(reached.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn who_is_linked_is_reached_through_others() {
        check(&["A B", "B A C", "C B", "D"], &[], &["A", "B", "C"]);
    }

    #[test]
    fn a_dead_server_is_not_reached_though_its_last_word_was_cheerful() {
        check(&["A B! C", "B A C", "C A B!"], &[], &["A", "C"]);
        // Nor is what only it was linked to.
        check(&["A B!", "B A C", "C B"], &[], &["A"]);
    }

    #[test]
    fn a_server_without_an_account_is_passed_through_on_the_word_of_the_other_end() {
        check(&["A B", "B A C Old", "C B", "Old B"], &["B"], &["A", "B", "C"]);
    }
}
