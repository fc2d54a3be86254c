//! The herd as a table for people.

use super::document::{Herd, Link, Server};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The whole text, with a line feed at its end.
pub(super) fn draw(herd: &Herd, from: &str) -> String {
    let count = herd.servers.len();
    let servers = if count == 1 { "1 server".to_owned() } else { format!("{count} servers") };
    let state = match herd.problems.len() {
        _ if herd.well => "all is well".to_owned(),
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    let mut text =
        format!("Herd {}, seen from {} at {from}: {servers}, {state}\n", herd.herd, herd.asked);
    text.push('\n');
    Table::new(
        "SERVER|STATE|HEARD|LAG|>CLIENTS|>UPDATES|>STREAMS|>MEMORY|AUDITS|UP FOR|VERSION",
        herd.servers.iter().map(server_row),
    )
    .write(&mut text);
    let links = links(herd);
    if !links.is_empty() {
        text.push('\n');
        Table::new("LINK|STATE|>ROUND TRIP|>RECORDS THERE|>AND BACK|PROTOCOL", links.into_iter())
            .write(&mut text);
    }
    let alarms = herd.servers.iter().flat_map(|server| {
        let row = |alarm: &super::document::Alarm| {
            let ago = format!("{} ago", span(alarm.ago_s as f64));
            vec![server.server.clone(), alarm.kind.clone(), alarm.count.to_string(), ago]
        };
        server.alarms.iter().map(row)
    });
    let alarms: Vec<_> = alarms.collect();
    if !alarms.is_empty() {
        text.push('\n');
        Table::new("ALARM AT|WHAT|>TIMES|LAST", alarms.into_iter()).write(&mut text);
    }
    if !herd.problems.is_empty() {
        text.push('\n');
        for problem in &herd.problems {
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "! {problem}");
        }
    }
    text
}

/// For what is not known.
const NOTHING: &str = "-";

fn server_row(server: &Server) -> Vec<String> {
    let number = |value: Option<u64>| value.map_or(NOTHING.to_owned(), |value| value.to_string());
    let heard = match server.heard_ago_s {
        None => "never".to_owned(),
        // Servers that are idle send a heartbeat every ten seconds; one of that age is no news.
        Some(ago_s) if server.is_present() && ago_s < 11.0 => "now".to_owned(),
        Some(ago_s) => format!("{} ago", span(ago_s)),
    };
    let lag = if server.is_present() {
        match (server.lag_updates, server.lag_ms) {
            (Some(0), _) => "0".to_owned(),
            (Some(updates), Some(ms)) => format!("{updates}, {}", span(ms as f64 / 1e3)),
            _ => NOTHING.to_owned(),
        }
    } else {
        // It cannot know what it lacks by now.
        NOTHING.to_owned()
    };
    let audits = server.audits.map(|audits| match audits.repairs {
        0 => audits.rounds.to_string(),
        repairs => format!("{}, {repairs} repairs", audits.rounds),
    });
    vec![
        server.server.clone(),
        server.state.clone(),
        heard,
        lag,
        number(server.clients),
        number(server.updates),
        // Only the server that is asked lists its streams.
        match server.streams.len() {
            0 => NOTHING.to_owned(),
            streams => streams.to_string(),
        },
        server.resident_bytes.map_or(NOTHING.to_owned(), bytes),
        audits.unwrap_or(NOTHING.to_owned()),
        server.uptime_s.map_or(NOTHING.to_owned(), |uptime_s| span(uptime_s as f64)),
        server.version.clone().unwrap_or(NOTHING.to_owned()),
    ]
}

/// One end of a link: the server, and what it said of the link.
type End<'a> = Option<(&'a Server, &'a Link)>;

/// One row for each link, by its two ends, as told by the first of them that can be asked.
fn links(herd: &Herd) -> Vec<Vec<String>> {
    let mut ends: BTreeMap<[&str; 2], [End<'_>; 2]> = BTreeMap::new();
    for server in &herd.servers {
        for link in &server.links {
            let (ours, theirs) = (server.server.as_str(), link.server.as_str());
            let side = usize::from(ours > theirs);
            let both = ends.entry([ours.min(theirs), ours.max(theirs)]).or_default();
            if let Some(end) = both.get_mut(side) {
                *end = Some((server, link));
            }
        }
    }
    let row = |([one, other], [first, second]): (&[&str; 2], &[End<'_>; 2])| {
        let told = [*first, *second].map(|end| end.filter(|(server, _)| server.is_present()));
        let state = match told {
            [Some((_, first)), Some((_, second))] if first.state != second.state => {
                format!("{} / {}", first.state, second.state)
            }
            [Some((_, link)), _] | [None, Some((_, link))] => link.state.clone(),
            [None, None] => "unknown".to_owned(),
        };
        // Whoever can be asked knows better than whoever could be.
        let [near, far] = told;
        let sources = [(near, true), (far, false), (*first, true), (*second, false)];
        let (link, is_near) =
            sources.into_iter().find_map(|(end, is_near)| end.map(|(_, link)| (link, is_near)))?;
        let (mut there, mut back) = (link.records_sent, link.records_received);
        if !is_near {
            std::mem::swap(&mut there, &mut back);
        }
        Some(vec![
            format!("{one}–{other}"),
            state,
            link.round_trip_ms.map_or(NOTHING.to_owned(), |ms| span(ms / 1e3)),
            there.to_string(),
            back.to_string(),
            link.protocol.clone(),
        ])
    };
    ends.iter().filter_map(row).collect()
}

/// A time for people: two digits or so, and a unit.
fn span(seconds: f64) -> String {
    match seconds {
        ..0.0001 => format!("{:.0} µs", seconds * 1e6),
        ..0.01 => format!("{:.1} ms", seconds * 1e3),
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.0} h", seconds / 3600.0),
        _ => format!("{:.0} d", seconds / 86_400.0),
    }
}

fn bytes(bytes: u64) -> String {
    match bytes as f64 / 1e6 {
        mb if mb < 10.0 => format!("{mb:.1} MB"),
        mb if mb < 10_000.0 => format!("{mb:.0} MB"),
        mb => format!("{:.1} GB", mb / 1e3),
    }
}

/// Columns as wide as they must be, two blanks apart.
struct Table {
    rows: Vec<Vec<String>>,
    /// Numbers stand at the right.
    right: Vec<bool>,
}

impl Table {
    /// The names of the columns are parted by `|`; a `>` before one means that it stands at the right.
    fn new(heads: &str, rows: impl Iterator<Item = Vec<String>>) -> Self {
        let heads = heads.split('|');
        let right = heads.clone().map(|head| head.starts_with('>')).collect();
        let heads = heads.map(|head| head.trim_start_matches('>').to_owned()).collect();
        Self { rows: std::iter::once(heads).chain(rows).collect(), right }
    }

    fn write(&self, text: &mut String) {
        let width_of = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width_of).collect();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, &width), &right) in row.iter().zip(&widths).zip(&self.right) {
                // Writing to a String cannot fail.
                let _infallible = if right {
                    write!(line, "{cell:>width$}  ")
                } else {
                    write!(line, "{cell:width$}  ")
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{
        "herd": "news", "asked": "Hill", "time": 1.5, "well": false, "new": [1],
        "problems": ["Smith cannot be reached; last heard of 130 s ago"],
        "servers": [
            { "server": "Hill", "state": "ready", "heard_ago_s": 0, "version": "0.1.0 (abc)",
              "uptime_s": 7300, "clients": 12, "updates": 3, "resident_bytes": 31000000,
              "lag_updates": 7, "lag_ms": 250, "audits": { "rounds": 4, "repairs": 0 },
              "alarms": [{ "kind": "clock-differs", "count": 2, "ago_s": 61, "stands": true }],
              "links": [
                  { "server": "Smith", "protocol": "native", "state": "down", "round_trip_ms": null,
                    "records_sent": 5, "records_received": 6 },
                  { "server": "Zammit", "protocol": "native", "state": "up", "round_trip_ms": 0.25,
                    "records_sent": 1, "records_received": 2 }],
              "links_left_out": 0,
              "streams": [
                  { "server": "Hill", "incarnation": "1520023934918963997", "version": 3, "behind": 0 },
                  { "server": "Zammit", "incarnation": "1520023934918963998", "version": 0,
                    "behind": 7 }] },
            { "server": "Smith", "state": "unreachable", "heard_ago_s": 130.2, "clients": 9,
              "links": [{ "server": "Hill", "protocol": "native", "state": "up",
                          "records_sent": 6, "records_received": 5 }],
              "streams": [] },
            { "server": "Zammit", "state": "unheard", "heard_ago_s": null, "clients": null }
        ] }"#;

    #[test]
    fn all_servers_and_links_are_shown_with_what_is_known_of_them() {
        let herd: Herd = serde_json::from_str(DOCUMENT).unwrap();
        assert_eq!(
            draw(&herd, "127.0.0.1:12100"),
            "\
Herd news, seen from Hill at 127.0.0.1:12100: 3 servers, 1 problem

SERVER  STATE        HEARD      LAG        CLIENTS  UPDATES  STREAMS  MEMORY  AUDITS  UP FOR  VERSION
Hill    ready        now        7, 250 ms       12        3        2   31 MB  4       2 h     0.1.0 (abc)
Smith   unreachable  2 min ago  -                9        -        -       -  -       -       -
Zammit  unheard      never      -                -        -        -       -  -       -       -

LINK         STATE  ROUND TRIP  RECORDS THERE  AND BACK  PROTOCOL
Hill–Smith   down            -              5         6  native
Hill–Zammit  up         0.2 ms              1         2  native

ALARM AT  WHAT           TIMES  LAST
Hill      clock-differs      2  61 s ago

! Smith cannot be reached; last heard of 130 s ago
"
        );
    }

    #[test]
    fn times_have_a_unit_that_fits() {
        let spans = [0.000_03, 0.0042, 0.5, 119.0, 130.0, 8000.0, 200_000.0].map(span);
        assert_eq!(spans, ["30 µs", "4.2 ms", "500 ms", "119 s", "2 min", "2 h", "2 d"]);
    }
}
