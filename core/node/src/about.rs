//! What a server tells all others about itself, as bytes that travel with its heartbeat.
//!
//! Compact, and readable by other versions: tagged fields after the number of the format. A reader
//! takes what it knows; what a later version means by a state or an alarm it shows as the word it is. Counts are
//! at most a minute old: others are told at once only of states and alarms.

use crate::peers::PeerState;
use herd_proto::peer::ABOUT_BYTES_MAX;
use herd_proto::tagged::{Field, fields, write_field, write_number_field};
use std::time::Duration;

/// One server's own account of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The version of its program.
    pub program: String,
    /// `starting` (peers are waited for), `catching-up`, `ready` or `draining`; a
    /// later version may say something else.
    pub state: String,
    /// How long it has run; whole seconds.
    pub uptime: Duration,
    /// Clients known there.
    pub clients: u64,
    /// Reports of its own clients that were newer than what it knew.
    pub updates: u64,
    /// Resident memory of its process; None where its system does not tell.
    pub resident_bytes: Option<u64>,
    /// Updates that its peers hold and it does not, all streams added up.
    pub lag_updates: u64,
    /// Since when the oldest of them was known to be missing; whole milliseconds. Zero if none is.
    pub lag: Duration,
    /// What comparing with its peers has brought; None if it does not compare.
    pub comparisons: Option<Comparisons>,
    /// After how long clients expire there; None if never. Whole milliseconds.
    pub expire_after: Option<Duration>,
    /// Its links, those that are not up first.
    pub links: Vec<LinkAbout>,
    /// How many links more it has, for which there was no room.
    pub links_left_out: u64,
    /// What has gone wrong since it started, one of a kind.
    pub alarms: Vec<Alarm>,
}

/// What comparisons with peers have brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparisons {
    /// Comparisons made.
    pub rounds: u64,
    /// Records that were missing although they had been confirmed. Any at all means a fault in a program or a disk.
    pub repairs: u64,
}

/// One link as one of its ends sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkAbout {
    /// Who is at the other end.
    pub peer: String,
    /// `native` or `at`.
    pub dialect: String,
    /// `up`, `catching-up`, `connecting` or `down`; a later version may say something else.
    pub state: String,
    /// The last round trip that was measured; whole microseconds.
    pub round_trip: Option<Duration>,
    /// Records sent over it and its predecessors.
    pub records_sent: u64,
    /// Records received, newer or not.
    pub records_received: u64,
}

impl LinkAbout {
    /// Whether anything can pass.
    pub fn is_up(&self) -> bool {
        self.state == PeerState::Up.word() || self.state == PeerState::CatchingUp.word()
    }
}

/// Something that went wrong, at least once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarm {
    /// What, in a word such as `clock-differs`.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// How long ago it was the last time; whole seconds.
    pub ago: Duration,
}

/// The format of the bytes; another one is not read. New fields need no new format.
const FORMAT: u8 = 1;

/// The longest version of a program, state, dialect or kind of alarm that is told.
const WORD_BYTES_MAX: usize = 64;

/// Kinds of alarms that are told at most.
const ALARMS_MAX: usize = 16;

/// Kept free for the number of links that are left out.
const LEFT_OUT_BYTES: usize = 8;

mod tag {
    pub(super) const PROGRAM: u64 = 1;
    pub(super) const STATE: u64 = 2;
    pub(super) const UPTIME_S: u64 = 3;
    pub(super) const CLIENTS: u64 = 4;
    pub(super) const UPDATES: u64 = 5;
    pub(super) const RESIDENT_BYTES: u64 = 6;
    pub(super) const LAG_UPDATES: u64 = 7;
    pub(super) const LAG_MS: u64 = 8;
    pub(super) const ROUNDS: u64 = 9;
    pub(super) const REPAIRS: u64 = 10;
    pub(super) const ALARM: u64 = 11;
    pub(super) const LINK: u64 = 12;
    pub(super) const LINKS_LEFT_OUT: u64 = 13;
    pub(super) const EXPIRE_AFTER_MS: u64 = 14;
}

mod link_tag {
    pub(super) const PEER: u64 = 1;
    pub(super) const DIALECT: u64 = 2;
    pub(super) const STATE: u64 = 3;
    pub(super) const ROUND_TRIP_US: u64 = 4;
    pub(super) const SENT: u64 = 5;
    pub(super) const RECEIVED: u64 = 6;
}

mod alarm_tag {
    pub(super) const KIND: u64 = 1;
    pub(super) const COUNT: u64 = 2;
    pub(super) const AGO_S: u64 = 3;
}

impl About {
    /// As bytes, at most [`ABOUT_BYTES_MAX`]: links are left out where there is no room.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        write_word(tag::PROGRAM, &self.program, &mut out);
        write_word(tag::STATE, &self.state, &mut out);
        write_number_field(tag::UPTIME_S, self.uptime.as_secs(), &mut out);
        write_number_field(tag::CLIENTS, self.clients, &mut out);
        write_number_field(tag::UPDATES, self.updates, &mut out);
        if let Some(bytes) = self.resident_bytes {
            write_number_field(tag::RESIDENT_BYTES, bytes, &mut out);
        }
        write_number_field(tag::LAG_UPDATES, self.lag_updates, &mut out);
        write_number_field(tag::LAG_MS, whole(self.lag.as_millis()), &mut out);
        if let Some(after) = self.expire_after {
            write_number_field(tag::EXPIRE_AFTER_MS, whole(after.as_millis()), &mut out);
        }
        if let Some(Comparisons { rounds, repairs }) = self.comparisons {
            write_number_field(tag::ROUNDS, rounds, &mut out);
            write_number_field(tag::REPAIRS, repairs, &mut out);
        }
        for alarm in self.alarms.iter().take(ALARMS_MAX) {
            write_field(tag::ALARM, &alarm.encode(), &mut out);
        }
        let mut left_out = self.links_left_out;
        for link in &self.links {
            let mut field = Vec::new();
            write_field(tag::LINK, &link.encode(), &mut field);
            if out.len() + field.len() + LEFT_OUT_BYTES <= ABOUT_BYTES_MAX {
                out.append(&mut field);
            } else {
                left_out += 1;
            }
        }
        if left_out > 0 {
            write_number_field(tag::LINKS_LEFT_OUT, left_out, &mut out);
        }
        out
    }

    /// Reads what another server, perhaps of another version, has written. None if it is of a format
    /// that is not known, or is nothing.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&FORMAT, rest) = bytes.split_first()? else { return None };
        let mut about = Self::default();
        for (tag, field) in fields(rest) {
            let number = || field.number().unwrap_or_default();
            match tag {
                tag::PROGRAM => about.program = word(field),
                tag::STATE => about.state = word(field),
                tag::UPTIME_S => about.uptime = Duration::from_secs(number()),
                tag::CLIENTS => about.clients = number(),
                tag::UPDATES => about.updates = number(),
                tag::RESIDENT_BYTES => about.resident_bytes = Some(number()),
                tag::LAG_UPDATES => about.lag_updates = number(),
                tag::LAG_MS => about.lag = Duration::from_millis(number()),
                tag::ROUNDS => about.comparisons.get_or_insert_default().rounds = number(),
                tag::REPAIRS => about.comparisons.get_or_insert_default().repairs = number(),
                tag::ALARM => about.alarms.push(Alarm::decode(field)),
                tag::LINK => about.links.push(LinkAbout::decode(field)),
                tag::EXPIRE_AFTER_MS => {
                    about.expire_after = Some(Duration::from_millis(number()));
                }
                tag::LINKS_LEFT_OUT => about.links_left_out = number(),
                _ => {}
            }
        }
        Some(about)
    }
}

impl LinkAbout {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // A server's name has a bound of its own.
        write_field(link_tag::PEER, self.peer.as_bytes(), &mut out);
        write_word(link_tag::DIALECT, &self.dialect, &mut out);
        write_word(link_tag::STATE, &self.state, &mut out);
        if let Some(round_trip) = self.round_trip {
            write_number_field(link_tag::ROUND_TRIP_US, whole(round_trip.as_micros()), &mut out);
        }
        write_number_field(link_tag::SENT, self.records_sent, &mut out);
        write_number_field(link_tag::RECEIVED, self.records_received, &mut out);
        out
    }

    fn decode(field: Field<'_>) -> Self {
        let mut link = Self::default();
        for (tag, field) in fields(field.0) {
            let number = || field.number().unwrap_or_default();
            match tag {
                link_tag::PEER => link.peer = word(field),
                link_tag::DIALECT => link.dialect = word(field),
                link_tag::STATE => link.state = word(field),
                link_tag::ROUND_TRIP_US => {
                    link.round_trip = Some(Duration::from_micros(number()));
                }
                link_tag::SENT => link.records_sent = number(),
                link_tag::RECEIVED => link.records_received = number(),
                _ => {}
            }
        }
        link
    }
}

impl Alarm {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_word(alarm_tag::KIND, &self.kind, &mut out);
        write_number_field(alarm_tag::COUNT, self.count, &mut out);
        write_number_field(alarm_tag::AGO_S, self.ago.as_secs(), &mut out);
        out
    }

    fn decode(field: Field<'_>) -> Self {
        let mut alarm = Self::default();
        for (tag, field) in fields(field.0) {
            let number = || field.number().unwrap_or_default();
            match tag {
                alarm_tag::KIND => alarm.kind = word(field),
                alarm_tag::COUNT => alarm.count = number(),
                alarm_tag::AGO_S => alarm.ago = Duration::from_secs(number()),
                _ => {}
            }
        }
        alarm
    }
}

fn write_word(tag: u64, text: &str, out: &mut Vec<u8>) {
    let mut end = text.len().min(WORD_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    write_field(tag, text.get(..end).unwrap_or_default().as_bytes(), out);
}

/// Text of another server, fit to be shown.
fn word(field: Field<'_>) -> String {
    let text = field.text().unwrap_or("?");
    text.chars().filter(|c| !c.is_control()).collect()
}

fn whole(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        About {
            program: "0.1.0 (abc)".into(),
            state: "ready".into(),
            uptime: Duration::from_secs(70),
            clients: 1_000_000,
            updates: u64::MAX,
            resident_bytes: Some(1 << 30),
            lag_updates: 3,
            lag: Duration::from_millis(250),
            comparisons: Some(Comparisons { rounds: 4, repairs: 0 }),
            expire_after: Some(Duration::from_hours(24)),
            links: vec![link("Jaquez", "down"), link("Smith", "up")],
            links_left_out: 0,
            alarms: vec![Alarm {
                kind: "clock-differs".into(),
                count: 2,
                ago: Duration::from_secs(9),
            }],
        }
    }

    fn link(peer: &str, state: &str) -> LinkAbout {
        LinkAbout {
            peer: peer.into(),
            dialect: "native".into(),
            state: state.into(),
            round_trip: (state == "up").then_some(Duration::from_micros(321)),
            records_sent: 5,
            records_received: 7,
        }
    }

    #[test]
    fn what_is_told_is_understood() {
        for about in [about(), About { comparisons: None, resident_bytes: None, ..about() }] {
            assert_eq!(About::decode(&about.encode()), Some(about));
        }
        assert_eq!(About::decode(b""), None);
        assert_eq!(About::decode(&[FORMAT + 1, 1, 1, b'x']), None);
    }

    #[test]
    fn what_a_later_version_adds_is_passed_over() {
        let mut bytes = about().encode();
        write_field(99, b"something new", &mut bytes);
        let mut link = Vec::new();
        write_field(link_tag::PEER, b"Campbell", &mut link);
        write_field(link_tag::STATE, b"resting", &mut link);
        write_field(98, b"?", &mut link);
        write_field(tag::LINK, &link, &mut bytes);
        let read = About::decode(&bytes).unwrap();
        let last = read.links.last().unwrap();
        assert_eq!(
            (last.peer.as_str(), last.state.as_str(), last.is_up()),
            ("Campbell", "resting", false)
        );
        assert_eq!(About { links: about().links, ..read }, about());
    }

    #[test]
    fn links_for_which_there_is_no_room_are_counted() {
        let names = (0..100).map(|n| format!("{n:0>200}"));
        let links: Vec<_> = names.map(|name| link(&name, "up")).collect();
        let bytes = About { links, ..about() }.encode();
        assert!(bytes.len() <= ABOUT_BYTES_MAX && bytes.len() > ABOUT_BYTES_MAX - 250);
        let read = About::decode(&bytes).unwrap();
        assert_eq!(read.links.len() as u64 + read.links_left_out, 100);
        // Fifty peers with names as people give them have room.
        let links: Vec<_> = (0..50).map(|n| link(&format!("server-{n}.example"), "up")).collect();
        let read = About::decode(&About { links, ..about() }.encode()).unwrap();
        assert_eq!((read.links.len(), read.links_left_out), (50, 0));
    }

    #[test]
    fn no_text_of_another_server_can_move_a_cursor() {
        let about = About { state: "rea\u{1b}[2Jdy\n".into(), ..About::default() };
        assert_eq!(About::decode(&about.encode()).unwrap().state, "rea[2Jdy");
    }
}
