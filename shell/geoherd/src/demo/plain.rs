//! The board as lines that follow one another, for an output that is no terminal.

use super::board::{Board, milliseconds, moves, people};
use super::herd::Herd;
use super::table::valletta;
use std::fmt::Write as _;

/// What there is to know at the beginning.
pub(super) fn introduction(board: &Board, herd: &Herd) -> String {
    let mut text = format!("{} servers, each a process of its own:\n", board.servers.len());
    // Writing to a String cannot fail.
    for (place, server) in board.servers.iter().enumerate() {
        let member = &server.member;
        let pid = herd.pid(place).unwrap_or_default();
        let _infallible = writeln!(
            text,
            "  {} at {}, health at http://{}, process {pid}",
            member.name, member.listen, member.http
        );
    }
    if !board.links.is_empty() {
        let links: Vec<String> = board.links.iter().map(|l| board.link_name(l.ends)).collect();
        let _infallible = writeln!(text, "Links: {}", links.join(", "));
    }
    if let Some(member) = board.reachable() {
        let name = board.people.first().map_or("", |seen| seen.name.as_str());
        let _infallible = writeln!(
            text,
            "Join in: nc {} {}, then type\n  WHATSAT {name} 0.5 4\n  IAMAT you.example {} {}",
            member.listen.ip(),
            member.listen.port(),
            valletta(),
            board.unix_s
        );
    }
    text
}

/// How things are now; `round` goes up by one each time, so that everybody is shown in turn.
pub(super) fn summary(board: &Board, round: usize) -> String {
    let elapsed = super::board::clock(board.elapsed);
    let mut text = format!(
        "{elapsed} {} of {} servers up, {}, {} reports",
        board.servers_up(),
        board.servers.len(),
        people(board.people.len()),
        board.reports
    );
    if let Some((median, longest)) = board.spread() {
        let _infallible = write!(
            text,
            ", all know in {}, at most {}",
            milliseconds(median),
            milliseconds(longest)
        );
    }
    text.push('\n');
    if let Some(seen) = board.people.get(round % board.people.len().max(1))
        && let Some(last) = &seen.last
    {
        let _infallible = writeln!(
            text,
            "     {} {} at {}, {}, heard by {}",
            seen.name,
            moves(seen.travel),
            super::line::location(last.fix),
            last.street,
            board.server_name(last.server)
        );
    }
    if let Some(nearby) = board.nearby.as_ref()
        && let Some(seen) = board.people.get(nearby.person)
        && let Some((place, away_m)) = nearby.places.first()
    {
        let server = board.server_name(nearby.server);
        let _infallible =
            writeln!(text, "     near {}: {place}, {away_m:.0} m, says {server}", seen.name);
    }
    text
}
