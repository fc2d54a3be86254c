//! Dumps and loads with servers that do not do their part.

use super::{Outcome, geoherd};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;

/// A server that gives every connection to `serve`, with its number; its address.
fn stand_in(serve: impl Fn(usize, TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            serve(number, stream.unwrap());
        }
    });
    address
}

/// The body of the next request; none if the client has gone.
fn request(input: &mut BufReader<&TcpStream>) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(text) = line.strip_prefix("Content-Length: ") {
            length = text.trim().parse().unwrap();
        }
        if line == "\r\n" {
            let mut body = vec![0; length];
            return input.read_exact(&mut body).ok().map(|()| body);
        }
    }
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn dump(answer: &'static str, file: &Path) -> Outcome {
    let address = stand_in(move |_, mut stream| {
        request(&mut BufReader::new(&stream));
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let file = file.to_str().unwrap();
    geoherd(&["dump", "--server", &address, "--output", file, "--timeout", "2s"])
}

#[test]
fn only_a_whole_dump_becomes_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("herd.jsonl");
    let whole = [HEAD, "3\r\nab\n\r\n002;x=y\r\nc\n\r\n0\r\n\r\n"].concat().leak();
    assert_eq!(dump(whole, &file).code, Some(0));
    assert_eq!(fs::read_to_string(&file).unwrap(), "ab\nc\n");
    for (answer, why) in [
        ([HEAD, "3\r\nab\n\r\n"].concat(), "closed the connection before its answer was complete"),
        ([HEAD, "3\r\na"].concat(), "closed the connection before its answer was complete"),
        ([HEAD, "kiwi\r\nab\n"].concat(), "is malformed"),
        ([HEAD, "3\r\nab\nxx\r\n"].concat(), "is malformed"),
        (String::new(), "closed the connection before its answer was complete"),
        ("? GET /dump HTTP/1.1\n".to_owned(), "is where clients talk to a server"),
        ("SSH-2.0\r\n\r\n".to_owned(), "is no HTTP"),
        ("HTTP/1.1 200 OK\r\n\r\nab\n".to_owned(), "is no HTTP"),
        ("HTTP/1.1 404 Not Found\r\n\r\n".to_owned(), "does not know /dump"),
        ("HTTP/1.1 503 X\r\n\r\n{\"error\":\"another dump\"}".to_owned(), "refuses: another dump"),
    ] {
        let cut = dir.path().join("cut.jsonl");
        let outcome = dump(answer.clone().leak(), &cut);
        assert_eq!(outcome.code, Some(2), "{answer:?}: {outcome:?}");
        assert!(outcome.stderr.contains(why), "{answer:?}: {outcome:?}");
        let files = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(files, 1, "{answer:?} has left a file");
    }
}

#[test]
fn a_load_goes_on_behind_what_was_answered() {
    let (told, hear) = mpsc::channel();
    // The first connection breaks after two answers.
    let address = stand_in(move |number, stream| {
        let mut input = BufReader::new(&stream);
        let mut answered = 0;
        while let Some(body) = request(&mut input) {
            let lines: Vec<_> = body.lines().map(Result::unwrap).collect();
            if number == 0 && answered == 2 {
                return;
            }
            answered += 1;
            told.send((lines.len(), lines[0].clone())).unwrap();
            let said = format!("{{\"taken\":{},\"newer\":1,\"too_old\":0}}", lines.len());
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", said.len());
            (&stream).write_all((head + &said).as_bytes()).unwrap();
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("herd.jsonl");
    let line = |number| {
        format!(
            "{{\"client\":\"c{number:05}\",\"server\":\"Hill\",\"difference\":\"+0.1\",\
             \"location\":\"+1.5-2.5\",\"time\":\"1700000000\"}}\n"
        )
    };
    fs::write(&file, (0..40_000).map(line).collect::<String>()).unwrap();
    let load = |more: &[&str]| {
        let file = file.to_str().unwrap();
        geoherd(&[&["load", file, "--server", &address], more].concat())
    };
    let cut = load(&[]);
    assert_eq!(cut.code, Some(2), "{cut:?}");
    let before: Vec<_> = hear.try_iter().collect();
    let taken: usize = before.iter().map(|(lines, _)| lines).sum();
    assert_eq!(before.len(), 2);
    let words = format!("cut off after {taken} lines were taken; go on with --resume");
    assert!(cut.stderr.contains(&words), "{words:?} is not in {cut:?}");

    let resumed = load(&["--resume", "--json"]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    assert_eq!(resumed.stderr, format!("going on behind line {taken}\n"));
    let after: Vec<_> = hear.try_iter().collect();
    assert_eq!(after[0].1, format!("AT Hill +0.1 c{taken:05} +1.5-2.5 1700000000"));
    assert_eq!(taken + after.iter().map(|(lines, _)| lines).sum::<usize>(), 40_000);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the bookmark is gone");
}
