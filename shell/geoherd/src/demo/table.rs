//! The board as lines of text for a terminal of any size. Pure: where they go is the screen's business.

use super::board::{Board, Link, Seen, Server, clock, milliseconds, moves, people};
use super::line::location;
use super::news::Spread;

/// How a piece of a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    /// For what is always the same.
    Dim,
    Bold,
    Good,
    Busy,
    Bad,
}

/// A line on the screen, in pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line(pub(super) Vec<(Look, String)>);

impl Line {
    fn add(mut self, look: Look, text: impl Into<String>) -> Self {
        self.0.push((look, text.into()));
        self
    }

    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    /// As wide as `width` at most.
    fn clip(mut self, width: usize) -> Self {
        let mut left = width;
        for (_, text) in &mut self.0 {
            *text = text.chars().take(left).collect();
            left -= text.chars().count();
        }
        self
    }

    /// As wide as `width` exactly.
    fn fit(self, width: usize) -> Self {
        let line = self.clip(width);
        let missing = width - line.width();
        line.add(Look::Plain, " ".repeat(missing))
    }
}

/// The whole picture: at most `height` lines of at most `width` characters.
pub(super) fn draw(board: &Board, width: usize, height: usize) -> Vec<Line> {
    let gap_from = |height_min: usize, lines: &mut Vec<Line>| {
        if height >= height_min {
            lines.push(Line::default());
        }
    };
    let mut above = vec![title(board, width)];
    gap_from(28, &mut above);
    above.extend(servers(board, width, height / 3));
    above.extend(links(board, width, (height / 10).max(1)));
    gap_from(16, &mut above);

    let mut below = Vec::new();
    gap_from(20, &mut below);
    below.extend(nearby(board, width, 2));
    gap_from(28, &mut below);
    below.extend(events(board, if height >= 28 { 4 } else { 2 }));
    gap_from(28, &mut below);
    below.extend(join_in(board));
    below.push(keys());

    let room = height.saturating_sub(above.len() + below.len());
    above.extend(crowd(board, width, room));
    // In a small terminal, who is where matters most; the rest goes from below, but for the keys.
    let room = height.saturating_sub(above.len());
    if below.len() > room {
        below = below.split_off(below.len() - room.min(below.len()));
    }
    above.extend(below);
    above.truncate(height);
    above.into_iter().map(|line| line.clip(width)).collect()
}

fn title(board: &Board, width: usize) -> Line {
    let (up, all) = (board.servers_up(), board.servers.len());
    let look = if up == all { Look::Good } else { Look::Bad };
    let line = Line::default()
        .add(Look::Bold, " geoherd demo")
        .add(Look::Dim, format!("  {}  ", clock(board.elapsed)))
        .add(look, format!("{up} of {all} up"));
    let spread = board.spread().map(|(median, longest)| {
        let (median, longest) = (milliseconds(median), milliseconds(longest));
        [format!(" · all know in {median}"), format!(", at most {longest}")]
    });
    let people = format!(" · {}", people(board.people.len()));
    let reports = format!(" · {} reports", board.reports);
    // As much as fits, the end first to go.
    let parts = std::iter::once(people).chain(spread.into_iter().flatten()).chain([reports]);
    parts.fold(line, |line, part| {
        let fits = line.width() + part.chars().count() <= width;
        if fits { line.add(Look::Plain, part) } else { line }
    })
}

/// The servers in as many columns as fit; in a short form if they would take more than `rows_max`.
fn servers(board: &Board, width: usize, rows_max: usize) -> Vec<Line> {
    let name_width =
        board.servers.iter().map(|one| one.member.name.len()).max().unwrap_or_default();
    let cell = |index: usize, server: &Server, short: bool| {
        let chosen = index == board.chosen_server;
        let mark = if chosen { (Look::Bold, "› ") } else { (Look::Plain, "  ") };
        let (look, known, links) = match server.up() {
            Some(status) => {
                let look = if status.ready { Look::Good } else { Look::Busy };
                let links = format!("{}/{} links", status.links_up(), status.links.len());
                (look, format!("knows {}", status.clients), links)
            }
            None if server.runs => (Look::Busy, "starting".to_owned(), String::new()),
            None => (Look::Bad, "down".to_owned(), String::new()),
        };
        let name = format!("{:name_width$}", server.member.name);
        let line = Line::default()
            .add(mark.0, mark.1)
            .add(look, "● ")
            .add(if chosen { Look::Bold } else { Look::Plain }, name);
        if short {
            let brief = known.strip_prefix("knows ").unwrap_or(&known);
            return line.add(Look::Dim, format!(" {brief:<8}"));
        }
        let port = server.member.listen.port();
        line.add(Look::Dim, format!(" :{port:<5}"))
            .add(Look::Plain, format!(" {known:<9}"))
            .add(Look::Dim, format!(" {links:<9}"))
    };
    let grid = |short: bool| {
        let cells = board.servers.iter().enumerate();
        let cells: Vec<Line> = cells.map(|(index, server)| cell(index, server, short)).collect();
        let cell_width = cells.iter().map(Line::width).max().unwrap_or(1).max(1);
        let columns = (width / cell_width).clamp(1, 4);
        let joined = |row: &[Line]| {
            let pieces = row.iter().map(|cell| cell.clone().fit(cell_width).0);
            Line(pieces.flatten().collect())
        };
        cells.chunks(columns).map(joined).collect::<Vec<Line>>()
    };
    let lines = grid(false);
    if lines.len() > rows_max.max(3) { grid(true) } else { lines }
}

/// The links with their state, in at most so many lines: those around the chosen one.
fn links(board: &Board, width: usize, rows_max: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut chosen_line = 0;
    for (index, link) in board.links.iter().enumerate() {
        let chosen = index == board.chosen_link;
        let (look, sign) = match link {
            Link { whole: false, .. } => (Look::Bad, " ╳ "),
            up if board.is_up(*up) => (Look::Good, "───"),
            _ => (Look::Busy, "···"),
        };
        let name_look = if chosen { Look::Bold } else { Look::Plain };
        let (one, other) = link.ends;
        let cell = Line::default()
            .add(Look::Bold, if chosen { "› " } else { "  " })
            .add(name_look, board.server_name(one))
            .add(look, sign)
            .add(name_look, board.server_name(other))
            .add(Look::Plain, " ");
        match lines.last_mut() {
            Some(line) if line.width() + cell.width() <= width => line.0.extend(cell.0),
            _ => lines.push(cell),
        }
        if chosen {
            chosen_line = lines.len() - 1;
        }
    }
    let from = chosen_line.min(lines.len().saturating_sub(rows_max));
    lines.into_iter().skip(from).take(rows_max).collect()
}

/// Who is where, as many as fit in `rows`, the chosen one among them.
fn crowd(board: &Board, width: usize, rows: usize) -> Vec<Line> {
    let Some(rows) = rows.checked_sub(1) else { return Vec::new() };
    let server_width =
        board.servers.iter().map(|one| one.member.name.len()).max().unwrap_or_default().max(8);
    let person_width =
        board.people.iter().map(|one| one.name.chars().count()).max().unwrap_or_default();
    let fixed = 2 + person_width + 1 + 6 + 1 + 1 + 18 + 1 + server_width + 1 + 8;
    let street_width = width.saturating_sub(fixed).clamp(8, 40);
    let header = format!(
        "  {:person_width$} moves  {:street_width$} latitude longitude {:server_width$} all know",
        "who", "where", "heard by"
    );
    let mut lines = vec![Line::default().add(Look::Dim, header)];
    // The chosen one stays in the middle once the list moves.
    let most = board.people.len().saturating_sub(rows);
    let from = board.chosen_person.saturating_sub(rows / 2).min(most);
    for (index, seen) in board.people.iter().enumerate().skip(from).take(rows) {
        let chosen = index == board.chosen_person;
        lines.push(row(board, seen, chosen, person_width, street_width, server_width));
    }
    lines
}

fn row(
    board: &Board,
    seen: &Seen,
    chosen: bool,
    person_width: usize,
    street_width: usize,
    server_width: usize,
) -> Line {
    let (mark, look) = if chosen { ("› ", Look::Bold) } else { ("  ", Look::Plain) };
    let line = Line::default()
        .add(Look::Bold, mark)
        .add(look, format!("{:person_width$} ", seen.name))
        .add(Look::Dim, format!("{:6} ", moves(seen.travel)));
    let Some(last) = &seen.last else { return line.add(Look::Dim, "sets out") };
    let street = shorten(&last.street, street_width);
    let (lat, lon) = (last.fix.lat_deg(), last.fix.lon_deg());
    let server = board.servers.get(last.server);
    let server_look = match server.and_then(Server::up) {
        Some(_) => Look::Plain,
        None => Look::Bad,
    };
    let (spread_look, spread) = match seen.spread {
        Some(Spread::All(after)) => (Look::Good, milliseconds(after)),
        Some(Spread::Missing(_)) => (Look::Bad, "not all".to_owned()),
        None => (Look::Dim, "·".to_owned()),
    };
    line.add(look, format!("{street:street_width$} "))
        .add(Look::Dim, format!("{lat:8.5} {lon:9.5} "))
        .add(server_look, format!("{:server_width$} ", board.server_name(last.server)))
        .add(spread_look, format!("{spread:>8}"))
}

/// A text that fits, with a sign where its end is missing.
fn shorten(text: &str, width: usize) -> String {
    match text.chars().nth(width) {
        None => text.to_owned(),
        Some(_) => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// What is near the chosen person, in that many lines: the same number whatever there is to say, so
/// that nothing else moves.
fn nearby(board: &Board, width: usize, rows: usize) -> Vec<Line> {
    let name = board.people.get(board.chosen_person).map_or("", |seen| seen.name.as_str());
    let head = Line::default().add(Look::Plain, format!(" Near {name}, "));
    let current = board.nearby.as_ref().filter(|nearby| nearby.person == board.chosen_person);
    let mut lines = match current {
        None => vec![head.add(Look::Dim, "500 m: asking")],
        Some(nearby) => {
            let server = board.server_name(nearby.server);
            let head = head.add(Look::Dim, format!("500 m, says {server}: "));
            if nearby.places.is_empty() {
                vec![head.add(Look::Plain, "nothing")]
            } else {
                flow(head, &nearby.places, width)
            }
        }
    };
    lines.resize(rows, Line::default());
    lines
}

/// Places one after another, a new line where one does not fit any more.
fn flow(head: Line, places: &[(String, f64)], width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = head;
    let mut between = "";
    for (name, away_m) in places {
        let place = format!("{name} {away_m:.0} m");
        if line.width() + between.len() + place.chars().count() > width {
            lines.push(std::mem::take(&mut line));
            between = "   ";
        }
        line = line.add(Look::Dim, between).add(Look::Plain, place);
        between = " · ";
    }
    lines.push(line);
    lines
}

/// What happened last, in that many lines.
fn events(board: &Board, rows: usize) -> Vec<Line> {
    let latest = board.events.iter().skip(board.events.len().saturating_sub(rows));
    let mut lines: Vec<Line> = latest
        .map(|(when, event)| {
            Line::default()
                .add(Look::Dim, format!(" {:>5} ", clock(*when)))
                .add(Look::Plain, event.clone())
        })
        .collect();
    lines.resize(rows, Line::default());
    lines
}

fn join_in(board: &Board) -> Vec<Line> {
    let Some(member) = board.reachable() else { return Vec::new() };
    let chosen = board.people.get(board.chosen_person).map_or("", |seen| seen.name.as_str());
    vec![
        Line::default()
            .add(Look::Dim, " Join in: ")
            .add(Look::Bold, format!("nc {} {}", member.listen.ip(), member.listen.port()))
            .add(Look::Dim, "  then type  ")
            .add(Look::Bold, format!("WHATSAT {chosen} 0.5 4")),
        Line::default()
            .add(Look::Dim, "       or  ")
            .add(Look::Bold, format!("IAMAT you.example {} {}", valletta(), board.unix_s)),
    ]
}

fn keys() -> Line {
    let key = |line: Line, key: &str, does: &str| {
        line.add(Look::Bold, format!(" {key}")).add(Look::Dim, format!(" {does} "))
    };
    let all = [
        ("←→", "server"),
        ("k", "kill it"),
        ("r", "restart it"),
        ("l", "link"),
        ("c", "cut/mend it"),
        ("↑↓", "person"),
        ("q", "quit"),
    ];
    all.into_iter().fold(Line::default(), |line, (name, does)| key(line, name, does))
}

/// Where newcomers begin.
pub(super) fn valletta() -> String {
    herd_geo::Point::new(35.8989, 14.5146).map(location).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::http::Status;
    use super::super::news::{Nearby, News, Report};
    use super::super::plan;
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn fits_every_terminal() {
        for servers in [1, 5, 26] {
            let board = board(servers, 24);
            for (width, height) in
                [(80, 24), (100, 30), (200, 60), (40, 10), (10, 3), (1, 1), (0, 0)]
            {
                let lines = draw(&board, width, height);
                assert!(lines.len() <= height, "{width}×{height}: {} lines", lines.len());
                assert!(lines.iter().all(|line| line.width() <= width), "{width}×{height}");
            }
        }
    }

    #[test]
    fn a_common_terminal_shows_everything_that_matters() {
        let text = text(&draw(&board(5, 24), 80, 24));
        for part in [
            "5 of 5 up · 24 people · all know in 1.5 ms, at most 1.5 ms",
            "› ● Hill      :5000  knows 24  2/2 links  ● Jaquez    :5001",
            "› kiwi.example   walks  Triq ir-Repubblika",
            "35.89890  14.51460 Smith       1.5 ms",
            "Near kiwi.example, 500 m, says Hill: Caffe Cordina 40 m · Upper Barrakka 120 m\n   Caffe",
            "nc 127.0.0.1 5000  then type  WHATSAT kiwi.example 0.5 4",
            "IAMAT you.example +35.898900+014.514600 1700000000",
            "› Hill───Jaquez ",
            "  Smith───Campbell ",
            "k kill it",
            "c cut/mend it",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(text.lines().filter(|line| line.contains(".example  ")).count() >= 7, "{text}");
    }

    #[test]
    fn a_cut_is_shown_and_so_are_the_parts_until_they_have_joined() {
        let mut board = board(5, 3);
        let shown = |board: &Board| text(&draw(board, 80, 24));
        // Hill's links are the first two.
        board.wired(0, false);
        assert!(shown(&board).contains("Hill ╳ Jaquez"), "{}", shown(&board));
        assert!(shown(&board).contains("Hill–Jaquez is cut; there are other ways"));
        board.wired(1, false);
        let said = "Hill–Smith is cut: 2 parts, Hill | Jaquez, Smith, Campbell, Singleton\n";
        assert!(shown(&board).contains(said), "{}", shown(&board));
        // Not worth a word while it cannot be otherwise.
        board.hear(News::Spread { person: 0, spread: Spread::Missing(0) });
        assert!(!shown(&board).contains("waits for a report") && shown(&board).contains("not all"));
        board.wired(1, true);
        assert!(shown(&board).contains("Hill–Smith is mended; the parts join"));
        board.elapsed = Duration::from_millis(1300);
        let spread = Spread::All(Duration::from_millis(2));
        board.hear(News::Spread { person: 0, spread });
        let said = "reports reach all again, 1.3 s after Hill–Smith was mended";
        assert!(shown(&board).contains(said), "{}", shown(&board));
    }

    #[test]
    fn the_chosen_link_is_always_shown() {
        let mut board = board(26, 3);
        for chosen in 0..board.links.len() {
            board.chosen_link = chosen;
            let text = text(&draw(&board, 80, 24));
            let (one, other) = board.links[chosen].ends;
            let name = format!("› {}───{} ", board.server_name(one), board.server_name(other));
            assert!(text.contains(&name), "{name}: {text}");
        }
    }

    #[test]
    fn who_is_chosen_is_always_shown() {
        let mut board = board(5, 24);
        for chosen in 0..24 {
            board.chosen_person = chosen;
            let text = text(&draw(&board, 80, 24));
            assert!(text.contains(&format!("› {}", board.people[chosen].name)), "{text}");
        }
    }

    fn text(lines: &[Line]) -> String {
        let line = |line: &Line| line.0.iter().map(|(_, text)| text.as_str()).collect::<String>();
        lines.iter().map(|one| line(one) + "\n").collect()
    }

    fn board(servers: u16, people: usize) -> Board {
        let address = |port: u16| format!("127.0.0.1:{port}").parse().unwrap();
        let addresses: Vec<_> =
            (0..servers).map(|n| (address(5000 + n), address(6000 + n))).collect();
        let links = plan::links(addresses.len());
        let wires = links.iter().map(|&ends| (ends, true));
        let mut board = Board::new(&plan::members(&addresses), wires, &[], 1_700_000_000);
        board.people = (0..people)
            .map(|number| Seen {
                name: super::super::people::name(number),
                travel: herd_atlas::Travel::Walk,
                last: None,
                spread: None,
            })
            .collect();
        for person in 0..people {
            board.hear(News::Reported(Report {
                person,
                time: "1700000000.000000000".to_owned(),
                sent: Instant::now(),
                fix: "+35.898900+14.514600".parse().unwrap(),
                street: "Triq ir-Repubblika".to_owned(),
                server: 2.min(usize::from(servers) - 1),
            }));
            let spread = Spread::All(Duration::from_micros(1500));
            board.hear(News::Spread { person, spread });
        }
        for server in 0..usize::from(servers) {
            let ends = links.iter().filter(|(a, b)| *a == server || *b == server);
            let peers = ends.map(|&(a, b)| board.server_name(a + b - server).to_owned());
            let links = peers.map(|peer| (peer, true)).collect();
            let status = Some(Status { ready: true, clients: 24, links });
            board.hear(News::Asked { server, status });
        }
        let places = vec![("Caffe Cordina".to_owned(), 40.2), ("Upper Barrakka".to_owned(), 120.0)];
        let places = [places.clone(), places].concat();
        board.hear(News::Nearby(Nearby { person: 0, server: 0, places }));
        board
    }
}
