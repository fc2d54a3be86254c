//! Logs: to a file per server, rotated by size, or to standard error.
//!
//! Nobody waits for the disk: lines go to a bounded buffer and a thread writes them. What does not
//! fit, or cannot be written, is lost and counted; service goes on.

use crate::config::{self, LogFormat};
use herd_front::{Host, TrafficSink};
use parking_lot::{Condvar, Mutex};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// What is logged, and where.
#[derive(Clone, Debug)]
pub(crate) struct LogSettings {
    /// None: standard error.
    file: Option<PathBuf>,
    filter: String,
    json: bool,
    file_bytes_max: u64,
    files_max: usize,
}

impl LogSettings {
    pub(crate) fn new(name: &str, log: &config::Log) -> Self {
        // A name may hold anything but white space; a file's name may not.
        let safe = |c: char| if c == '/' || c == '\0' { '_' } else { c };
        let file_name: String = name.chars().map(safe).collect();
        Self {
            file: log.dir.as_ref().map(|dir| dir.join(format!("{file_name}.log"))),
            filter: log.filter.clone(),
            json: log.format == LogFormat::Json,
            file_bytes_max: log.max_file_bytes,
            files_max: log.max_files,
        }
    }
}

/// Why there is no log.
#[derive(Debug)]
pub(crate) struct LogError {
    /// The setting to change.
    pub(crate) key: &'static str,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

/// The running log.
#[derive(Debug)]
pub(crate) struct Telemetry {
    file: Option<LogFile>,
}

impl Telemetry {
    /// Opens the log and sends events there.
    pub(crate) fn start(settings: &LogSettings) -> Result<Self, LogError> {
        let filter = EnvFilter::try_new(&settings.filter).map_err(|error| LogError {
            key: "log.filter",
            message: format!(
                "{:?} is no filter ({error}); try \"info\" or \"debug\"",
                settings.filter
            ),
        })?;
        let file = settings.file.as_deref().map(|path| LogFile::open(path, settings)).transpose();
        let file = file.map_err(|message| LogError { key: "log.dir", message })?;
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
        // A subscriber that is set already stays: tests run several servers in one process.
        let _set = match (&file, settings.json) {
            (Some(file), true) => {
                subscriber.json().with_ansi(false).with_writer(file.clone()).try_init()
            }
            (Some(file), false) => subscriber.with_ansi(false).with_writer(file.clone()).try_init(),
            (None, true) => subscriber.json().with_writer(io::stderr).try_init(),
            (None, false) => subscriber.with_writer(io::stderr).try_init(),
        };
        Ok(Self { file })
    }

    /// Where messages go: to the file, never to standard error.
    pub(crate) fn traffic(&self) -> Option<Arc<dyn TrafficSink>> {
        self.file.clone().map(|file| Arc::new(file) as Arc<dyn TrafficSink>)
    }

    /// Lines lost from now on are counted among the server's figures.
    pub(crate) fn count_losses(&self, host: Arc<Host>) {
        if let Some(file) = &self.file {
            *file.shared.host.lock() = Some(host);
        }
    }

    /// Writes what is left and returns when it is written.
    pub(crate) fn finish(&self) {
        let Some(file) = &self.file else { return };
        file.shared.buffer.lock().closed = true;
        file.shared.filled.notify_one();
        if let Some(thread) = file.shared.thread.lock().take() {
            // A panic there cost log lines and was printed.
            let _panicked = thread.join();
        }
    }
}

/// What waits for the disk at most. A second of a busy server's messages; past that lines are lost
/// rather than memory.
const BUFFER_BYTES_MAX: usize = 8 << 20;

/// A log file behind a buffer. Clones share it.
#[derive(Clone, Debug)]
struct LogFile {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    buffer: Mutex<Buffer>,
    filled: Condvar,
    lost: AtomicU64,
    host: Mutex<Option<Arc<Host>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    lines: u64,
    closed: bool,
}

impl LogFile {
    fn open(path: &Path, settings: &LogSettings) -> Result<Self, String> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(|error| {
                format!("cannot make the directory {} ({error}); choose another", dir.display())
            })?;
        }
        let rotating = Rotating::open(path, settings).map_err(|error| {
            format!("cannot write {} ({error}); choose another directory", path.display())
        })?;
        let shared = Arc::new(Shared {
            buffer: Mutex::default(),
            filled: Condvar::new(),
            lost: AtomicU64::new(0),
            host: Mutex::default(),
            thread: Mutex::default(),
        });
        let writer = shared.clone();
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.write_all(rotating))
            .map_err(|error| format!("cannot start the log's thread: {error}"))?;
        *shared.thread.lock() = Some(thread);
        Ok(Self { shared })
    }
}

impl Shared {
    fn put(&self, bytes: &[u8], lines: u64) {
        let was_empty = {
            let mut buffer = self.buffer.lock();
            if buffer.bytes.len() + bytes.len() > BUFFER_BYTES_MAX || buffer.closed {
                drop(buffer);
                return self.lose(lines);
            }
            let was_empty = buffer.bytes.is_empty();
            buffer.bytes.extend_from_slice(bytes);
            buffer.lines += lines;
            was_empty
        };
        if was_empty {
            self.filled.notify_one();
        }
    }

    fn lose(&self, lines: u64) {
        let lost = self.lost.fetch_add(lines, Relaxed) + lines;
        if let Some(host) = &*self.host.lock() {
            host.stats.log_lines_lost.store(lost, Relaxed);
        }
    }

    /// The thread: writes what was put until the log is closed.
    fn write_all(&self, mut file: Rotating) {
        let mut bytes = Vec::new();
        loop {
            let (lines, closed) = {
                let mut buffer = self.buffer.lock();
                while buffer.bytes.is_empty() && !buffer.closed {
                    self.filled.wait(&mut buffer);
                }
                std::mem::swap(&mut bytes, &mut buffer.bytes);
                (std::mem::take(&mut buffer.lines), buffer.closed)
            };
            if !bytes.is_empty() && file.write(&bytes).is_err() {
                self.lose(lines);
            }
            bytes.clear();
            bytes.shrink_to(KEPT_BYTES);
            if closed {
                return;
            }
        }
    }
}

/// What the buffers keep between two bursts.
const KEPT_BYTES: usize = 64 * 1024;

impl TrafficSink for LogFile {
    fn write(&self, block: &[u8], lines: usize) {
        self.shared.put(block, lines as u64);
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = EventLine<'a>;

    fn make_writer(&'a self) -> EventLine<'a> {
        EventLine(&self.shared)
    }
}

/// One event's line, on its way to the buffer.
struct EventLine<'a>(&'a Shared);

impl Write for EventLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.put(bytes, 1);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that makes way for a new one when it has grown: `NAME.log`, `NAME.log.1` (the newest set
/// aside), `NAME.log.2` …
#[derive(Debug)]
struct Rotating {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    files_max: usize,
}

impl Rotating {
    fn open(path: &Path, settings: &LogSettings) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            path: path.to_owned(),
            bytes: file.metadata()?.len(),
            file,
            bytes_max: settings.file_bytes_max,
            files_max: settings.files_max,
        })
    }

    /// Writes whole lines, as many to each file as it may hold.
    fn write(&mut self, mut block: &[u8]) -> io::Result<()> {
        while !block.is_empty() {
            let room = usize::try_from(self.bytes_max.saturating_sub(self.bytes)).unwrap_or(0);
            let fitting = block.get(..room).unwrap_or(block);
            let end = if fitting.len() == block.len() {
                block.len()
            } else {
                fitting.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1)
            };
            let (now, later) = if end > 0 {
                block.split_at(end)
            } else if self.bytes > 0 {
                self.rotate()?;
                continue;
            } else {
                // One line longer than a file may be has a file of its own.
                let end = block.iter().position(|&b| b == b'\n');
                block.split_at(end.map_or(block.len(), |at| at + 1))
            };
            self.write_out(now)?;
            block = later;
        }
        Ok(())
    }

    fn write_out(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(lines);
        // Also after an error, since part of it may be there.
        self.bytes = self.file.metadata().map_or(self.bytes, |metadata| metadata.len());
        written
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.files_max).rev() {
            let older = self.aside(number + 1);
            // The first time there is nothing to move.
            let _missing = fs::rename(self.aside(number), older);
        }
        fs::rename(&self.path, self.aside(1))?;
        self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }

    fn aside(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}
