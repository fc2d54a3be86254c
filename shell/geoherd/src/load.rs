//! `geoherd load`: the lines of a dump are given to a server.

mod lines;
mod resume;

use crate::admin::{Admin, Pipe};
use crate::output;
use crate::progress::Progress;
use anyhow::{Context as _, bail};
use clap::Args;
use lines::{Line, Lines};
use resume::Bookmark;
use serde::Deserialize;
use serde_json::json;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Give a dump to a server
///
/// Reads what `geoherd dump` wrote. Every line becomes the AT line that it was made of: the server that
/// first heard the client, the difference and the client's own texts stay what they were, on all servers
/// of the herd. What the herd knows something newer of, or has forgotten since, stays as it is; so a dump
/// may be loaded twice, and into a herd that runs. Reports that were received longer ago than the herd keeps
/// them (`herd.horizon`, `herd.expire_after`) are left out and counted.
///
/// A batch is answered once its reports are written down, where the server keeps them on a disk. If the
/// load is cut off, --resume goes on behind what was answered: FILE.progress beside the file says how far
/// that is, and goes away at the end.
///
/// Servers take this only where `http` is a loopback address, or the config allows it
/// (`limits.operate_from`).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd load herd.jsonl
  geoherd load herd.jsonl --server 127.0.0.1:12103 --resume
  gunzip < herd.jsonl.gz | geoherd load -

Exit codes:
  0  all lines were taken
  1  some lines are malformed, which is told with their numbers; all others were taken
  2  the load was cut off: nobody could be asked, the server refuses, or the file cannot be read")]
pub(crate) struct Arguments {
    /// The dump; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    admin: Admin,
    /// Go on where a load of this file to this server was cut off
    #[arg(long)]
    resume: bool,
    /// Print the outcome as one JSON document
    #[arg(long)]
    json: bool,
}

/// Of one request: some thousand lines. A server takes four times as much.
const BATCH_BYTES: usize = 256 << 10;

/// Requests under way: while the server takes one in, the next is on its way.
const BATCHES_UNDER_WAY: usize = 4;

/// A disk may be slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nobody reads more complaints than this.
const COMPLAINTS_MAX: u64 = 20;

/// What became of the lines.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Answered.
    taken: u64,
    /// Of these, so many were new to the server.
    newer: u64,
    /// Of these, so many were received longer ago than reports are kept.
    too_old: u64,
    malformed: u64,
    /// Of the file, answered; what was skipped counts.
    bytes: u64,
}

/// A request under way.
#[derive(Debug)]
struct Batch {
    lines: u64,
    /// Where the file goes on behind it, and the number of the last line before that.
    end: u64,
    last_line: u64,
}

#[derive(Debug, Deserialize)]
struct Answer {
    taken: u64,
    newer: u64,
    too_old: u64,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { file, admin, resume, json } = arguments;
    let pipe = admin.targets()?.patient(PATIENCE).pipe("/load")?;
    let server = pipe.address().to_owned();
    let (input, bookmark, total): (Box<dyn Read>, _, _) = if file.as_os_str() == "-" {
        if *resume {
            bail!("standard input cannot be resumed; name a file");
        }
        (Box::new(io::stdin().lock()), None, None)
    } else {
        let mut input =
            File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        let metadata = input.metadata()?;
        let bookmark = Bookmark::of(file, &metadata, &server);
        let bookmark = if *resume { bookmark.found() } else { bookmark };
        if bookmark.offset > 0 {
            input.seek(SeekFrom::Start(bookmark.offset))?;
        }
        (Box::new(input), Some(bookmark), metadata.is_file().then_some(metadata.len()))
    };
    let (offset, line) = bookmark.as_ref().map_or((0, 0), |at| (at.offset, at.line));
    if offset > 0 {
        eprintln!("going on behind line {line}");
    }
    let mut load = Load {
        pipe,
        bookmark,
        under_way: VecDeque::new(),
        counts: Counts { bytes: offset, ..Counts::default() },
        progress: Progress::new(total),
    };
    let done = load.send_all(Lines::new(input, offset, line));
    load.progress.clear();
    if let Err(error) = done {
        let kept = load.bookmark.as_mut().is_some_and(Bookmark::keep);
        let hint = if kept { "; go on with --resume" } else { "" };
        let taken = load.counts.taken;
        return Err(error.context(format!("cut off after {taken} lines were taken{hint}")));
    }
    if let Some(bookmark) = load.bookmark {
        bookmark.remove();
    }
    let Counts { taken, newer, too_old, malformed, .. } = load.counts;
    let text = if *json {
        let counts = json!({
            "server": server,
            "taken": taken,
            "newer": newer,
            "too_old": too_old,
            "malformed": malformed,
        });
        counts.to_string()
    } else {
        let known = taken.saturating_sub(newer + too_old);
        let left_out = match too_old {
            0 => String::new(),
            _ => format!(", {too_old} left out as older than the horizon"),
        };
        format!(
            "{server} loaded {taken} clients: {newer} new, {known} already up to date{left_out}"
        )
    };
    output::print(format!("{text}\n").as_bytes())?;
    if malformed > COMPLAINTS_MAX {
        eprintln!("and {} more lines are malformed", malformed - COMPLAINTS_MAX);
    }
    Ok(if malformed == 0 { ExitCode::SUCCESS } else { output::NO.into() })
}

struct Load {
    pipe: Pipe,
    bookmark: Option<Bookmark>,
    under_way: VecDeque<Batch>,
    counts: Counts,
    progress: Progress,
}

impl Load {
    fn send_all(&mut self, mut lines: Lines<impl Read>) -> anyhow::Result<()> {
        let mut body = Vec::with_capacity(BATCH_BYTES);
        let mut count = 0;
        loop {
            let line = lines.next(&mut body).context("cannot read the dump")?;
            match line {
                Line::Taken => count += 1,
                Line::Blank => {}
                Line::Malformed(why) => {
                    self.counts.malformed += 1;
                    if self.counts.malformed <= COMPLAINTS_MAX {
                        self.progress.clear();
                        eprintln!("line {}: {why}", lines.number());
                    }
                }
                Line::End => break,
            }
            if body.len() >= BATCH_BYTES {
                self.send(&body, count, &lines)?;
                body.clear();
                count = 0;
            }
        }
        if count > 0 {
            self.send(&body, count, &lines)?;
        }
        while !self.under_way.is_empty() {
            self.receive()?;
        }
        Ok(())
    }

    fn send(&mut self, body: &[u8], lines: u64, at: &Lines<impl Read>) -> anyhow::Result<()> {
        while self.under_way.len() >= BATCHES_UNDER_WAY {
            self.receive()?;
        }
        // Whoever refuses closes the connection while we still send; the answer says why.
        if let Err(error) = self.pipe.send(body) {
            while !self.under_way.is_empty() {
                self.receive()?;
            }
            self.pipe.receive()?;
            return Err(error.into());
        }
        self.under_way.push_back(Batch { lines, end: at.offset(), last_line: at.number() });
        Ok(())
    }

    fn receive(&mut self) -> anyhow::Result<()> {
        let Some(batch) = self.under_way.front() else { return Ok(()) };
        let said = self.pipe.receive()?;
        let address = self.pipe.address();
        let answer: Answer = serde_json::from_str(&said)
            .with_context(|| format!("what {address} answers is not understood"))?;
        if answer.taken != batch.lines {
            bail!("{address} took {} lines of {}", answer.taken, batch.lines);
        }
        self.counts.taken += answer.taken;
        self.counts.newer += answer.newer;
        self.counts.too_old += answer.too_old;
        self.counts.bytes = batch.end;
        if let Some(bookmark) = &mut self.bookmark {
            bookmark.move_to(batch.end, batch.last_line);
        }
        self.under_way.pop_front();
        self.progress.show(self.counts.bytes, self.counts.taken);
        Ok(())
    }
}
