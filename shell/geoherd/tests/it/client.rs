//! `send` and `repl`, against a server that the test plays.

use crate::{geoherd, geoherd_with};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

const REPORT: &str = "AT Hill +0.263873386 kiwi +34.068930-118.445127 1520023934.918963997\n";

#[test]
fn an_answer_is_printed_as_it_came() {
    let whatsat = format!("{REPORT}{{\n   \"results\" : []\n}}\n\n");
    for (command, answer) in [
        ("IAMAT kiwi -34.068930-118.445127 1520023934.918963997", REPORT.to_owned()),
        ("WHATSAT kiwi 10 5", whatsat),
        ("AT Hill +0.1 kiwi +34-118 1", String::new()),
    ] {
        let right = answer.clone();
        let server =
            Stand::new(
                move |line| {
                    if line == command { right.clone() } else { format!("? {line}\n") }
                },
            );
        let outcome = geoherd(&server.call("send", command));
        assert_eq!((outcome.code, &outcome.stdout), (Some(0), &answer), "{outcome:?}");
    }
}

#[test]
fn a_refused_command_is_explained() {
    let server = Stand::new(|line| format!("? {line}\n"));
    let outcome = geoherd(&server.call("send", "WHATSAT kiwi 51 5"));
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), "? WHATSAT kiwi 51 5\n"));
    assert!(outcome.stderr.starts_with("\"51\" is no RADIUS: kilometers, 0 to 50"), "{outcome:?}");
}

#[test]
fn now_is_filled_in() {
    let server = Stand::new(|line| format!("AT Hill +0.1 {}\n", line.trim_start_matches("IAMAT ")));
    let outcome = geoherd(&server.call("send", "IAMAT kiwi +34-118 now"));
    let time = outcome.stdout.trim().strip_prefix("AT Hill +0.1 kiwi +34-118 ");
    let time: f64 = time.and_then(|time| time.parse().ok()).unwrap();
    assert!(time > 1.7e9, "{outcome:?}");
    let piped = ["send", "--server", &server.address];
    let outcome = geoherd_with(&piped, &[], "IAMAT kiwi +34-118 now\n");
    assert!(outcome.code == Some(0) && !outcome.stdout.contains("now"), "{outcome:?}");
}

#[test]
fn standard_input_may_hold_many_commands() {
    let server = Stand::new(|line| match line {
        "WHATSAT kiwi 1 2" => format!("{REPORT}{{\n}}\n\n"),
        "HELLO" => "? HELLO\n".to_owned(),
        _ => REPORT.to_owned(),
    });
    let input = "IAMAT kiwi +1+2 3\nHELLO\nWHATSAT kiwi 1 2";
    let outcome = geoherd_with(&["send", "--server", &server.address], &[], input);
    assert_eq!(outcome.stdout, format!("{REPORT}? HELLO\n{REPORT}{{\n}}\n\n"));
    assert_eq!(outcome.code, Some(1));
    assert_eq!(outcome.stderr, "\"HELLO\" is no command; the commands are IAMAT, WHATSAT, AT\n");
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for call in [&["send", "--server", &free, "HELLO"][..], &["send", "--server", &free]] {
        let outcome = geoherd_with(call, &[], "HELLO\n");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""));
        assert!(
            outcome.stderr.contains(&format!("nobody listens at {free}; start a server")),
            "{outcome:?}"
        );
    }
    let outcome = geoherd_with(&["send", "HELLO"], &[("GEOHERD_SERVER", &free)], "");
    assert!(outcome.stderr.contains(&free), "{outcome:?}");
    let outcome = geoherd(&["send", "--server", "nowhere", "HELLO"]);
    assert!(
        outcome.code == Some(2) && outcome.stderr.contains("write host and port"),
        "{outcome:?}"
    );
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    // Connections are completed by the system; nobody takes them.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let outcome = geoherd(&["send", "--server", &address, "--timeout", "50ms", "HELLO"]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("did not answer within 50ms"), "{outcome:?}");
    let outcome =
        geoherd(&["send", "--server", &address, "--timeout", "50ms", "AT Hill +0.1 kiwi +1+2 3"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
}

#[test]
fn half_an_answer_is_none() {
    let server = Stand::new(|_| REPORT.trim_end().to_owned());
    let outcome = geoherd(&server.call("send", "IAMAT kiwi +1+2 3"));
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("before its answer was complete"), "{outcome:?}");
}

#[test]
fn a_conversation_can_be_piped() {
    let server = Stand::new(|line| format!("? {line}\n"));
    let call = ["repl", "--server", &server.address];
    let outcome = geoherd_with(&call, &[], "\nhelp\nWHATSAT kiwi 1 2\niamat\nquit\nHELLO\n");
    assert_eq!(outcome.code, Some(1));
    let (help, answers) = outcome.stdout.split_once("? ").unwrap();
    assert!(help.contains("WHATSAT CLIENT RADIUS BOUND\n    ask where a client is"), "{help}");
    assert_eq!(answers, "WHATSAT kiwi 1 2\n? iamat\n");
    assert!(outcome.stderr.contains("no server has told this one where kiwi is"), "{outcome:?}");
    assert!(outcome.stderr.contains("command words are upper case: IAMAT"), "{outcome:?}");
}

/// A server that answers each line by itself, until the process of the test ends.
struct Stand {
    address: String,
}

impl Stand {
    fn new(answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&stream.unwrap(), &answer);
            }
        });
        Self { address }
    }

    fn call<'a>(&'a self, subcommand: &'a str, command: &'a str) -> Vec<&'a str> {
        [subcommand, "--server", &self.address].into_iter().chain(command.split(' ')).collect()
    }
}

fn serve(stream: &TcpStream, answer: &impl Fn(&str) -> String) {
    for line in BufReader::new(stream).lines() {
        let mut stream = stream;
        // A client that has its answer may be gone.
        let _gone = stream.write_all(answer(&line.unwrap()).as_bytes());
    }
}
