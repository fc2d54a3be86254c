//! `geoherd dump`: all clients of a server, or of a data directory, as JSON lines.

use crate::admin::Admin;
use crate::output;
use crate::progress::Progress;
use anyhow::{Context as _, bail};
use clap::Args;
use herd_server::dump::write_all;
use herd_server::inspect::inspect;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Write down where every client is
///
/// One JSON object a line, in the order of the clients' names, with what an AT line holds: client,
/// server, difference, location, time. Servers that know the same give the same bytes, so two dumps can
/// be compared with diff; `geoherd load` gives one to a server again. Clients that were forgotten are
/// not in it.
///
/// A server that runs is asked over its `http` address and goes on answering meanwhile: what is reported
/// during the dump may be in it or not. With --data-dir the directory of a server that does not run is
/// read, and nothing in it changed.
///
/// Servers tell this only where `http` is a loopback address, or the config allows it
/// (`limits.operate_from`).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd dump --output herd.jsonl
  geoherd dump --server 127.0.0.1:12103 | gzip > herd.jsonl.gz
  geoherd dump --data-dir /var/lib/geoherd/Hill --output hill.jsonl
  diff <(geoherd dump --server 127.0.0.1:12100) <(geoherd dump --server 127.0.0.1:12101)

Exit codes:
  0  the dump is whole
  1  the data directory is not sound (see `geoherd verify`): the dump has what is left
  2  there is no dump: nobody could be asked, the server refuses, or something cannot be read or
     written")]
pub(crate) struct Arguments {
    #[command(flatten)]
    admin: Admin,
    /// Read the data directory of a server that does not run
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    data_dir: Option<PathBuf>,
    /// Where to write; the file appears when it is whole
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

/// A server sorts names before it tells the first: some seconds for millions.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where everybody is: nobody else's business.
const FILE_MODE: u32 = 0o600;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { admin, data_dir, output } = arguments;
    let mut sink = Sink::open(output)?;
    let made = match data_dir {
        Some(dir) => of_directory(dir, &mut sink),
        None => of_server(admin, &mut sink),
    };
    match made {
        Ok(code) => {
            sink.finish()?;
            Ok(code)
        }
        Err(error) => {
            sink.give_up();
            // A reader that has seen enough, such as `head`, is no error.
            let closed = error.downcast_ref::<io::Error>().map(io::Error::kind);
            if closed == Some(ErrorKind::BrokenPipe) { Ok(ExitCode::SUCCESS) } else { Err(error) }
        }
    }
}

fn of_server(admin: &Admin, sink: &mut Sink) -> anyhow::Result<ExitCode> {
    let mut body = admin.targets()?.patient(PATIENCE).read("/dump")?;
    let mut progress = Progress::new(None);
    let (mut bytes, mut lines) = (0, 0);
    loop {
        let part = body.next().inspect_err(|_| progress.clear())?;
        if part.is_empty() {
            progress.clear();
            return Ok(ExitCode::SUCCESS);
        }
        bytes += part.len() as u64;
        lines += part.split(|&byte| byte == b'\n').count() as u64 - 1;
        sink.write_all(&part)?;
        if sink.is_file() {
            progress.show(bytes, lines);
        }
    }
}

fn of_directory(dir: &Path, sink: &mut Sink) -> anyhow::Result<ExitCode> {
    let inspection = inspect(dir)?;
    write_all(&inspection.node, sink)?;
    if inspection.is_sound() {
        return Ok(ExitCode::SUCCESS);
    }
    let dir = dir.display();
    eprintln!(
        "{dir} is not sound: the dump has what is left; see `geoherd verify --data-dir {dir}`"
    );
    Ok(output::NO.into())
}

/// Where a dump goes: standard output, or a file that bears its name once it is whole.
enum Sink {
    Stdout(BufWriter<io::StdoutLock<'static>>),
    Device(BufWriter<File>),
    File { file: BufWriter<File>, part: PathBuf, path: PathBuf },
}

impl Sink {
    fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout(BufWriter::new(io::stdout().lock())));
        }
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            // A pipe or a device, which no file may take the place of.
            let file = OpenOptions::new().write(true).open(path);
            let file = file.with_context(|| format!("cannot write {}", path.display()))?;
            return Ok(Self::Device(BufWriter::new(file)));
        }
        let Some(name) = path.file_name() else { bail!("{} is no file", path.display()) };
        let mut part = name.to_owned();
        part.push(".part");
        let part = path.with_file_name(part);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(FILE_MODE);
        let file = options.open(&part);
        let file = file.with_context(|| format!("cannot write {}", part.display()))?;
        Ok(Self::File { file: BufWriter::new(file), part, path: path.to_owned() })
    }

    fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Stdout(mut stdout) => match stdout.flush() {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
                flushed => flushed.context("cannot write to standard output"),
            },
            Self::Device(mut file) => file.flush().context("cannot write the dump"),
            Self::File { file, part, path } => {
                let file = file.into_inner().map_err(io::IntoInnerError::into_error);
                let whole = file.and_then(|file| file.sync_all());
                whole.with_context(|| format!("cannot write {}", part.display()))?;
                std::fs::rename(&part, &path)
                    .with_context(|| format!("cannot write {}", path.display()))
            }
        }
    }

    fn give_up(self) {
        if let Self::File { part, .. } = self {
            // It would be written over by the next.
            let _left_over = std::fs::remove_file(part);
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::Device(file) | Self::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::Device(file) | Self::File { file, .. } => file.flush(),
        }
    }
}
