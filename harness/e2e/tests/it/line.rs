//! Every rule of the line protocol, as a client sees it.

use herd_e2e::{At, Client, Herd, Plan, at_line, iamat, iamat_at, unix_now_plus, wait_until};
use std::time::Duration;

/// A server that knows `kiwi` and nobody else.
struct Asked {
    /// Ends its process when dropped.
    _herd: Herd,
    client: Client,
    kiwi: At,
}

fn asked() -> Asked {
    let herd = Plan::one("Hill").start();
    let mut client = herd.client("Hill");
    let kiwi = client.report(&iamat("kiwi"));
    Asked { _herd: herd, client, kiwi }
}

impl Asked {
    /// Sends `input` and checks what comes back before the answer to one more question.
    #[track_caller]
    fn check(&mut self, input: impl AsRef<[u8]>, expected: impl AsRef<[u8]>) {
        let input = input.as_ref();
        self.client.send(input);
        self.client.send("END\n");
        let mut got = Vec::new();
        loop {
            let line = self.client.line_bytes();
            if line == b"? END" {
                break;
            }
            got.extend(line);
            got.push(b'\n');
        }
        let (got, expected) = (got.escape_ascii(), expected.as_ref().escape_ascii());
        assert_eq!(got.to_string(), expected.to_string(), "{}", input.escape_ascii());
    }

    /// Checks that a line is answered with `? ` and itself.
    #[track_caller]
    fn refuses(&mut self, line: impl AsRef<[u8]>) {
        let line = line.as_ref();
        self.check([line, b"\n"].concat(), [b"? ", line, b"\n"].concat());
    }

    /// Checks that a line is answered as the report of `client` that it is.
    #[track_caller]
    fn accepts(&mut self, line: &str, client: &str) {
        let at = At::parse(&self.client.ask(line));
        assert_eq!((at.server.as_str(), at.client.as_str()), ("Hill", client), "{line:?}");
    }
}

const EMPTY_DOCUMENT: &str = "{\n   \"html_attributions\" : [],\n   \"results\" : [],\n   \"status\" : \"ZERO_RESULTS\"\n}\n\n";

#[test]
fn a_report_is_answered_with_its_own_data() {
    let mut asked = asked();
    for (client, location, time) in [
        ("kiwi.example", "+34.068930-118.445127", "1520023934.918963997"),
        ("kiwi.example", "+34.068930-118.445127/", "0"),
        ("k", "-0-0", "1.5"),
        ("K", "+90+180", "007.000000001"),
        ("ключ-🥝", "-90.0-180.000", "1520023934"),
        ("a\u{a0}b", "+5-7.5", "9223372036.854775807"),
        ("deg-min", "+3404.1358-11826.70762", "1520023934.9"),
        ("deg-min-sec", "+340408.14-1182642.45/", "1520023934.91"),
        (&"x".repeat(255), "+1+2", "3"),
    ] {
        let at = At::parse(&asked.client.ask(&format!("IAMAT {client} {location} {time}")));
        assert_eq!(at.server, "Hill");
        assert_eq!((&*at.client, &*at.location, &*at.time), (client, location, time));
    }
}

#[test]
fn the_difference_is_receive_time_less_claimed_time() {
    let mut asked = asked();
    for ahead_s in [-86_400.0, -1.0, 0.0, 5.0, 3600.0] {
        let time = if ahead_s < 0.0 {
            let now: f64 = unix_now_plus(Duration::ZERO).parse().unwrap();
            format!("{:.3}", now + ahead_s)
        } else {
            unix_now_plus(Duration::from_secs_f64(ahead_s))
        };
        let at = asked.client.report(&iamat_at("clock", &time));
        // It was received after it was made; how long after is the machine's business.
        let took_s = at.seconds() + ahead_s;
        assert!((-0.001..20.0).contains(&took_s), "{}", at.line());
    }
}

#[test]
fn any_white_space_parts_fields_and_surrounds_them() {
    let mut asked = asked();
    for line in [
        "IAMAT  kiwi   +1+2  3",
        " \t IAMAT kiwi +1+2 3 \t ",
        "IAMAT\tkiwi\t+1+2\t3",
        "IAMAT\rkiwi\x0b+1+2\x0c3\r",
    ] {
        asked.accepts(line, "kiwi");
    }
    for line in ["IAMAT\u{a0}kiwi +1+2 3", "IAMAT kiwi\u{2003}+1+2 3", "IAMAT ki\0wi +1+2 3"] {
        asked.refuses(line);
    }
}

#[test]
fn a_carriage_return_before_the_line_end_is_white_space() {
    let mut asked = asked();
    asked.client.send("IAMAT crlf +1+2 3\r\n");
    let at = At::parse(&asked.client.line());
    assert_eq!((&*at.client, &*at.time), ("crlf", "3"));
    asked.refuses("nonsense\r");
}

#[test]
fn blank_lines_are_ignored() {
    let mut asked = asked();
    for input in ["\n", "\n\n\n", " \n", "\r\n\r\n", "\t\x0b\x0c \r\n"] {
        asked.check(input, "");
    }
}

#[test]
fn lines_that_are_no_commands_come_back_byte_for_byte() {
    let mut asked = asked();
    for line in [
        &b"x"[..],
        b"  spaces kept  ",
        b"iamat kiwi +1+2 3",
        b"IAMATkiwi +1+2 3",
        b"\x00\x01\x02\x1b[2J\x7f",
        b"\xff\xfe\xc3\x28 not UTF-8",
        b"carriage\rreturns\r\r",
        b"GET / HTTP/1.1\r",
        b"?",
        b"? ? ?",
        "\u{feff}IAMAT kiwi +1+2 3".as_bytes(),
    ] {
        asked.refuses(line);
    }
}

#[test]
fn complaints_of_who_speaks_for_a_server_are_not_answered() {
    let mut asked = asked();
    asked.refuses("? before it has");
    let long = "x".repeat(9000);
    let lines = format!("AT Aliens +0.1 alien +1+2 3\n? what\n?\n? {long}\nthe end\n");
    asked.check(lines, "? the end\n");
}

#[test]
fn malformed_reports_are_refused_and_change_nothing() {
    let mut asked = asked();
    let long_name = "x".repeat(256);
    let long_place = format!("+1.{}+2", "0".repeat(64));
    for (client, location, time) in [
        (&*long_name, "+1+2", "3"),
        ("k\u{7f}", "+1+2", "3"),
        ("k\u{85}", "+1+2", "3"),
        ("kiwi", "1+2", "3"),
        ("kiwi", "+1", "3"),
        ("kiwi", "+1.+2", "3"),
        ("kiwi", "+.1+2", "3"),
        ("kiwi", "+90.000001+2", "3"),
        ("kiwi", "+1-180.000001", "3"),
        ("kiwi", "+123+2", "3"),
        ("kiwi", "+1+1234", "3"),
        ("kiwi", "+1e1+2", "3"),
        ("kiwi", "+nan+2", "3"),
        ("kiwi", "+1_0+2", "3"),
        ("kiwi", "+1,0+2", "3"),
        ("kiwi", "+1+2+3", "3"),
        ("kiwi", "+1+2CRSWGS_84/", "3"),
        ("kiwi", "+3460.0-11826.7", "3"),
        ("kiwi", &*long_place, "3"),
        ("kiwi", "+1+2", "-3"),
        ("kiwi", "+1+2", "+3"),
        ("kiwi", "+1+2", "3e3"),
        ("kiwi", "+1+2", "3."),
        ("kiwi", "+1+2", ".3"),
        ("kiwi", "+1+2", "3.0123456789"),
        ("kiwi", "+1+2", "9223372036.854775808"),
        ("kiwi", "+1+2", "inf"),
        ("kiwi", "+1+2", "3 4"),
        ("kiwi", "", "3"),
    ] {
        asked.refuses(format!("IAMAT {client} {location} {time}"));
    }
    assert_eq!(asked.client.locate("kiwi").as_ref(), Some(&asked.kiwi));
}

#[test]
fn questions_outside_the_limits_are_refused() {
    let mut asked = asked();
    for (radius, bound) in [
        ("50.1", "5"),
        ("50.000000000000000000001", "5"),
        ("51", "5"),
        ("-1", "5"),
        ("+1", "5"),
        ("1e1", "5"),
        ("1_0", "5"),
        (".5", "5"),
        ("5.", "5"),
        ("nan", "5"),
        ("10", "21"),
        ("10", "-1"),
        ("10", "+5"),
        ("10", "5.0"),
        ("10", "99999999999999999999"),
        ("10", ""),
        ("10", "5 5"),
    ] {
        asked.refuses(format!("WHATSAT kiwi {radius} {bound}"));
    }
}

#[test]
fn zero_radius_and_zero_bound_are_legal_questions() {
    let mut asked = asked();
    let expected = format!("{}\n{EMPTY_DOCUMENT}", asked.kiwi.line());
    for (radius, bound) in
        [("0", "0"), ("0.0", "20"), ("10", "0"), ("50", "20"), ("50.000", "007"), ("0.5", "1")]
    {
        asked.check(format!("WHATSAT kiwi {radius} {bound}\n"), &expected);
    }
}

#[test]
fn a_client_that_nobody_told_of_is_unknown() {
    let mut asked = asked();
    asked.refuses("WHATSAT nobody 10 5");
    // Names are case sensitive.
    asked.refuses("WHATSAT Kiwi 10 5");
}

#[test]
fn many_commands_in_one_segment_are_answered_in_order() {
    let mut asked = asked();
    let known = asked.kiwi.line();
    let asks = |n| format!("WHATSAT kiwi 0 0\nwhat {n}\n\nWHATSAT nobody 1 1\r\n");
    let gets = |n| format!("{known}\n{EMPTY_DOCUMENT}? what {n}\n? WHATSAT nobody 1 1\r\n");
    let input: String = (0..200).map(asks).collect();
    let expected: String = (0..200).map(gets).collect();
    asked.check(input, expected);
}

#[test]
fn a_command_may_come_a_byte_at_a_time() {
    let mut asked = asked();
    for byte in b"\r\nIAMAT drop-by-drop +1+2 3\n" {
        asked.client.send([*byte]);
    }
    assert_eq!(At::parse(&asked.client.line()).client, "drop-by-drop");
}

#[test]
fn what_stands_before_the_end_of_input_is_a_command_too() {
    let herd = Plan::one("Hill").start();
    for (input, expected) in [
        ("nonsense", "? nonsense\n"),
        ("one\ntwo", "? one\n? two\n"),
        ("one\ntwo\n", "? one\n? two\n"),
        ("one\n\r ", "? one\n"),
        ("", ""),
    ] {
        let mut client = herd.client("Hill");
        client.send(input);
        client.end_input();
        assert_eq!(String::from_utf8_lossy(&client.rest()), expected, "{input:?}");
    }
    let mut client = herd.client("Hill");
    client.send("IAMAT half +1+2 3");
    client.end_input();
    let rest = String::from_utf8(client.rest()).unwrap();
    assert_eq!(At::parse(rest.strip_suffix('\n').unwrap()).client, "half");
}

#[test]
fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
    let mut asked = asked();
    let echo = |byte: &str| format!("? {} ...\n", byte.repeat(80));
    asked.refuses("x".repeat(8192));
    asked.check("y".repeat(8193) + "\n", echo("y"));
    asked.check("z".repeat(8193) + "\r\n", echo("z"));
    asked.check("w".repeat(1 << 20) + "\nnext\n", echo("w") + "? next\n");
    // What is white space at its beginning is part of it.
    asked.check(" ".repeat(8193) + "\n", echo(" "));
}

#[test]
fn an_overlong_line_is_answered_before_it_ends() {
    let mut asked = asked();
    asked.client.send("x".repeat(8193));
    assert_eq!(asked.client.line(), format!("? {} ...", "x".repeat(80)));
    asked.check("still the same line\nnext\n", "? next\n");
}

#[test]
fn an_overlong_line_without_a_line_feed_is_answered_once() {
    let herd = Plan::one("Hill").start();
    let mut client = herd.client("Hill");
    client.send("x".repeat(1 << 20));
    client.end_input();
    assert_eq!(client.rest(), format!("? {} ...\n", "x".repeat(80)).into_bytes());
}

#[test]
fn an_older_report_is_answered_and_does_not_move_the_client_back() {
    let mut asked = asked();
    let newest = asked.client.report("IAMAT walker +2+2 1500000000.5");
    for time in ["1500000000.499999999", "1499999999", "0"] {
        let line = format!("IAMAT walker +1+1 {time}");
        let old = asked.client.report(&line);
        assert_eq!((&*old.location, &*old.time), ("+1+1", time));
        assert_eq!(asked.client.locate("walker").as_ref(), Some(&newest));
    }
}

#[test]
fn of_two_reports_with_one_time_the_greater_location_stays() {
    let mut asked = asked();
    let first = asked.client.report("IAMAT twice +1+1 1500000000");
    asked.client.report("IAMAT twice +0+1 1500000000");
    assert_eq!(asked.client.locate("twice"), Some(first));
    let greater = asked.client.report("IAMAT twice +1+2 1500000000");
    assert_eq!(asked.client.locate("twice"), Some(greater));
}

#[test]
fn equal_times_at_two_servers_end_the_same_on_all_five() {
    let herd = Plan::five().start();
    let names = herd.names();
    let time = "1520023934.918963997";
    for (number, (lower, greater)) in
        [("Campbell", "Smith"), ("Hill", "Jaquez"), ("Campbell", "Hill")].into_iter().enumerate()
    {
        let client = format!("twin{number}");
        let report = iamat_at(&client, time);
        // The greater name wins, whichever heard first and whatever its clock said.
        let (mut one, mut other) = (herd.client(lower), herd.client(greater));
        let winner = if number % 2 == 0 {
            let winner = other.report(&report);
            one.report(&report);
            winner
        } else {
            one.report(&report);
            other.report(&report)
        };
        assert_eq!(winner.server, greater);
        herd.agree(&names, &winner);
    }
}

#[test]
fn a_report_from_the_future_hides_later_ones_for_the_skew_alone() {
    let mut asked = asked();
    let ahead = |seconds| unix_now_plus(Duration::from_secs(seconds));
    let hour = ahead(3600);
    let future = asked.client.report(&iamat_at("phone", &hour));
    // Kept with its text untouched.
    assert_eq!(asked.client.locate("phone").as_ref(), Some(&future));
    assert_eq!(future.time, hour);
    // It is ordered as if it were 60 s ahead: what is less than that ahead is older …
    for seconds in [0, 30] {
        asked.client.report(&iamat_at("phone", &ahead(seconds)));
        assert_eq!(asked.client.locate("phone").as_ref(), Some(&future));
    }
    // … and what is more is newer, though it claims to be earlier.
    let newer = asked.client.report(&iamat_at("phone", &ahead(120)));
    assert_eq!(asked.client.locate("phone"), Some(newer));
}

#[test]
fn a_report_from_the_future_is_soon_forgotten_at_every_server() {
    let herd = Plan::line(&["Hill", "Jaquez"]).set("limits.max_future_skew", "\"200ms\"").start();
    let mut client = herd.client("Hill");
    let future = client.report(&iamat_at("phone", &unix_now_plus(Duration::from_hours(1))));
    herd.agree(&["Jaquez"], &future);
    let mut last = future.clone();
    wait_until("a report of now is newer than one of an hour ahead", || {
        last = client.report(&iamat("phone"));
        client.locate("phone").as_ref() == Some(&last)
    });
    herd.agree(&["Jaquez"], &last);
}

#[test]
fn on_loopback_anyone_may_speak_for_a_server() {
    let mut asked = asked();
    for (location, time) in
        [("+34.068930-118.445127", "1520023934.918963997"), ("+1+2", "1520023935")]
    {
        let line = at_line("Elsewhere", "relayed", location, time);
        asked.check(format!("{line}\n"), "");
        assert_eq!(asked.client.locate("relayed"), Some(At::parse(&line)));
    }
    // An older one is answered with nothing either, and changes nothing.
    asked.check(at_line("Elsewhere", "relayed", "+3+4", "1520023930") + "\n", "");
    // Nor does one that was received longer ago than reports are kept.
    asked.check("AT Elsewhere +0.000000000 old +3+4 1520023930\n", "");
    assert_eq!(asked.client.locate("old"), None);
    assert_eq!(asked.client.locate("relayed").unwrap().time, "1520023935");
}

#[test]
fn malformed_words_of_servers_are_refused() {
    let mut asked = asked();
    for line in [
        "AT",
        "AT Elsewhere",
        "AT Elsewhere 0.1 kiwi +1+2 3",
        "AT Elsewhere +0.1 kiwi +1+2",
        "AT Elsewhere +0.1 kiwi +1+2 3 4",
        "AT Elsewhere +0.1 kiwi +91+2 3",
        "AT Elsewhere +1e-5 kiwi +1+2 3",
        "AT Else\0where +0.1 kiwi +1+2 3",
        "at Elsewhere +0.1 kiwi +1+2 3",
    ] {
        asked.refuses(line);
    }
    assert_eq!(asked.client.locate("kiwi").as_ref(), Some(&asked.kiwi));
}

#[test]
fn where_only_peers_may_speak_for_a_server_a_client_may_not() {
    let herd = Plan::one("Hill").set("limits.accept_at_from", "\"peers\"").start();
    let mut client = herd.client("Hill");
    let line = "AT Elsewhere +0.263873386 relayed +34.068930-118.445127 1520023934.918963997";
    assert_eq!(client.ask(line), format!("? {line}"));
    assert_eq!(client.locate("relayed"), None);
}
