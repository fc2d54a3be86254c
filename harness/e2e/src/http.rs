//! As much of HTTP as asking for health and metrics takes.

use crate::wait::PATIENCE;
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The code, such as 200.
    pub code: u16,
    /// The head, as it came.
    pub head: String,
    /// The body.
    pub body: String,
}

/// Asks for `path`, if somebody listens there.
///
/// # Errors
///
/// The system's, or that the answer is none.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let no_answer = || io::Error::other(format!("no HTTP answer: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(no_answer)?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(no_answer)?;
    Ok(Response { code, head: head.to_owned(), body: body.to_owned() })
}

/// What `/metrics` says: the value of each name with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads the text of the answer.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| -> Option<(String, f64)> {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        let sample = |line| sample(line).unwrap_or_else(|| panic!("no sample: {line:?}"));
        Self(samples.map(sample).collect())
    }

    /// Whether there is such a sample.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The value of `name`, labels and all: `geoherd_link_up{peer="Hill"}`.
    #[track_caller]
    pub fn value(&self, name: &str) -> f64 {
        let value = self.0.get(name).copied();
        value.unwrap_or_else(|| panic!("no {name} among {:#?}", self.0.keys()))
    }

    /// All values of `name` added up, whatever the labels.
    #[track_caller]
    pub fn sum(&self, name: &str) -> f64 {
        let bare = |full: &str| full.split('{').next() == Some(name);
        let values: Vec<f64> =
            self.0.iter().filter(|(full, _)| bare(full)).map(|(_, value)| *value).collect();
        assert!(!values.is_empty(), "no {name} among {:#?}", self.0.keys());
        values.iter().sum()
    }
}
