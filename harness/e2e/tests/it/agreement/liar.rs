//! A peer that speaks the protocol between servers, and lies: it claims to hold everything, and has nothing.
//!
//! It uses the product's own codec, since what it says must be well formed.

use herd_proto::peer::{BatchWriter, Decoded, Message, SUMS, decode_batch};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A connection of the liar.
pub(super) struct Liar {
    stream: TcpStream,
    received: Vec<u8>,
    /// Numbers that the server gave to origins, the server's name and the incarnation.
    origins: Vec<(u16, String, u64)>,
    /// The greatest versions that the server said it holds.
    versions: Vec<(u16, u64)>,
}

/// No answer takes this long.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);

impl Liar {
    /// Connects, says hello and reads the answer.
    #[track_caller]
    pub(super) fn connect(address: SocketAddr, hello: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(ANSWER_WITHIN)).expect("the socket is open");
        writeln!(stream, "{hello}").expect("the server takes a hello");
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while answer.last() != Some(&b'\n') {
            stream.read_exact(&mut byte).expect("a hello is answered");
            answer.extend(byte);
        }
        assert!(answer.starts_with(b"GEOHERD/1 "), "{}", answer.escape_ascii());
        Self { stream, received: Vec::new(), origins: Vec::new(), versions: Vec::new() }
    }

    /// Claims all that the server said it holds, and answers every question with nothing, until the time is up or
    /// the server closes. Returns how often it answered that it has nothing in some range or bucket.
    pub(super) fn deny_everything(&mut self, time: Duration) -> usize {
        let (begun, mut denied, mut claimed) = (Instant::now(), 0, false);
        while begun.elapsed() < time {
            let Some(questions) = self.receive() else { return denied };
            if !claimed && !self.versions.is_empty() {
                claimed = self.claim();
            }
            for question in questions {
                denied += usize::from(self.answer(&question));
            }
        }
        denied
    }

    /// Says that it holds every stream as far as the server does; false if the server does not listen any more.
    fn claim(&mut self) -> bool {
        let origins = self.origins.clone();
        let introduced = origins.iter().map(|(number, server, incarnation)| Message::Origin {
            number: *number,
            server,
            incarnation: *incarnation,
        });
        let versions = self.versions.clone();
        let claims =
            versions.iter().map(|&(origin, version)| Message::Watermark { origin, version });
        let all: Vec<_> = introduced.chain(claims).chain([Message::Greeted]).collect();
        self.say(&all)
    }

    fn answer(&mut self, question: &Question) -> bool {
        let versions = self.versions.clone();
        match *question {
            Question::Ping(sent, unix_ns) => {
                self.say(&[Message::Pong { sent, unix_ns }]);
                false
            }
            Question::Compare(token, cutoff_ns) => {
                let sums = vec![0; SUMS];
                self.say(&[Message::Ranges { token, cutoff_ns, versions, sums }])
            }
            Question::Range(range) => self.say(&[Message::Buckets { range, sums: vec![0; SUMS] }]),
            Question::Bucket(bucket) => self.say(&[Message::BucketDone { bucket }]),
        }
    }

    fn say(&mut self, messages: &[Message<'_>]) -> bool {
        let mut bytes = Vec::new();
        let mut writer = BatchWriter::new(&mut bytes);
        for message in messages {
            writer.push(message);
        }
        drop(writer);
        self.stream.write_all(&bytes).is_ok()
    }

    /// What the server asks now; nothing once it has closed.
    fn receive(&mut self) -> Option<Vec<Question>> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(count) => self.received.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
        let mut questions = Vec::new();
        while let Some((batch, taken)) = decode_batch(&self.received).expect("batches") {
            for frame in batch {
                let Decoded::Message(message) = frame.expect("frames") else { continue };
                if let Message::Origin { number, server, incarnation } = message {
                    self.origins.push((number, server.to_owned(), incarnation));
                } else if let Message::Watermark { origin, version } = message {
                    self.versions.retain(|(known, _)| *known != origin);
                    self.versions.push((origin, version));
                } else if let Message::Ping { sent, unix_ns } = message {
                    questions.push(Question::Ping(sent, unix_ns));
                } else if let Message::Compare { token, cutoff_ns, .. } = message {
                    questions.push(Question::Compare(token, cutoff_ns));
                } else if let Message::AskRange { range } = message {
                    questions.push(Question::Range(range));
                } else if let Message::AskBucket { bucket, .. } = message {
                    questions.push(Question::Bucket(bucket));
                }
            }
            self.received.drain(..taken);
        }
        Some(questions)
    }
}

/// What a server asks of its peer.
enum Question {
    Ping(u64, i64),
    Compare(u64, i64),
    Range(u8),
    Bucket(u16),
}
