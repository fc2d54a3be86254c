//! `geoherd verify`: whether a data directory is as it was written.

use crate::output;
use clap::Args;
use herd_server::inspect::{Inspection, Role, inspect};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Check every byte of a data directory
///
/// Reads the whole directory of a server that does not run, or of a copy of one, and changes nothing.
/// Tells whose it is, how its last run ended and what it holds, and names everything that is not as it
/// was written: file, bytes, and what is wrong with them.
///
/// A torn end is told, and is no damage: after a kill or a power cut the last write may be incomplete.
/// What stood there was not answered yet, or could be lost by the setting of fsync.
///
/// It takes as much memory as the server does.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd verify --data-dir /var/lib/geoherd/Hill
  geoherd verify --data-dir /backup/Hill --json | jq .flaws

Exit codes:
  0  it is sound
  1  something is not, which is told
  2  it cannot be read: missing, no data directory, in use, or written by a later version of the
     program")]
pub(crate) struct Arguments {
    /// The directory of one server
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let inspection = inspect(&arguments.data_dir)?;
    let text = if arguments.json {
        format!("{}\n", document(&arguments.data_dir, &inspection))
    } else {
        told(&arguments.data_dir, &inspection)
    };
    output::print(text.as_bytes())?;
    Ok(if inspection.is_sound() { ExitCode::SUCCESS } else { output::NO.into() })
}

/// A file's role in one word, as programs read it.
fn word(role: Role) -> &'static str {
    match role {
        Role::Life => "life",
        Role::Counts => "counts",
        Role::Superseded => "superseded",
        Role::Unfinished => "unfinished",
        Role::SetAside => "set-aside",
        Role::Unreadable => "unreadable",
        Role::Other => "other",
    }
}

fn document(path: &Path, inspection: &Inspection) -> Value {
    let Inspection { examined, nonsense, node } = inspection;
    let life = examined.life.as_ref().map(|life| {
        let closed = life.closed.map(|closed| {
            json!({ "file": format!("journal-{}", closed.generation), "bytes": closed.length })
        });
        json!({
            "herd": life.herd,
            "server": life.server,
            // As text: it is greater than what JavaScript can count to.
            "incarnation": life.incarnation.to_string(),
            "boot": life.boot,
            "place": life.place,
            "closed": closed,
        })
    });
    let file = |file: &herd_store::ExaminedFile| json!({ "file": file.name, "bytes": file.bytes, "role": word(file.role) });
    let mut flaws: Vec<_> = examined
        .flaws
        .iter()
        .map(|flaw| {
            let (from, to) = (flaw.from, flaw.to);
            json!({ "file": flaw.file, "from": from, "to": to, "what": flaw.what.to_string() })
        })
        .collect();
    flaws.extend(nonsense.map(|nonsense| {
        json!({ "file": examined.counts, "from": 0, "to": examined.end, "what": nonsense.to_string() })
    }));
    json!({
        "directory": path.display().to_string(),
        "sound": inspection.is_sound(),
        "life": life,
        "files": examined.files.iter().map(file).collect::<Vec<_>>(),
        "counts": examined.counts,
        "records": examined.records,
        "clients": node.clients(),
        "end": examined.end,
        "torn_bytes": examined.torn_bytes,
        "flaws": flaws,
    })
}

fn told(path: &Path, inspection: &Inspection) -> String {
    let Inspection { examined, nonsense, node } = inspection;
    let mut text = format!("{}\n", path.display());
    // Writing to a String cannot fail.
    let _infallible = match &examined.life {
        Some(life) => {
            let end = if life.closed.is_some() {
                "ended in order"
            } else {
                "did not end in order: killed, cut off, or never stopped"
            };
            writeln!(
                text,
                "  server    {} of herd {}\n  last run  incarnation {}, {end}",
                life.server, life.herd, life.incarnation
            )
        }
        None => writeln!(text, "  server    unknown"),
    };
    let width = examined.files.iter().map(|file| file.name.len()).max().unwrap_or_default();
    for file in &examined.files {
        let name = &file.name;
        let role = match file.role {
            Role::Life => "whose directory it is".to_owned(),
            Role::Counts => format!("{} records, {} clients", examined.records, node.clients()),
            Role::Superseded => "superseded; goes with the next start".to_owned(),
            Role::Unfinished => "unfinished; goes with the next start".to_owned(),
            Role::SetAside => "set aside because it was not sound; nothing reads it".to_owned(),
            Role::Unreadable => "should count, and cannot be read".to_owned(),
            Role::Other if name == "lock" => {
                "held by the server that uses the directory".to_owned()
            }
            Role::Other => "none of geoherd's".to_owned(),
        };
        let _infallible = match file.bytes {
            Some(bytes) => writeln!(text, "  {name:width$}  {bytes:>12} bytes  {role}"),
            None => writeln!(text, "  {name:width$}  {:>18}  {role}", ""),
        };
    }
    if examined.torn_bytes > 0 {
        let file = examined.counts.as_deref().unwrap_or_default();
        let (bytes, end) = (examined.torn_bytes, examined.end);
        let _infallible = writeln!(
            text,
            "  {file}: the last {bytes} bytes, from {end} on, are the torn end of what was being written"
        );
    }
    for flaw in &examined.flaws {
        let (file, from, to) = (&flaw.file, flaw.from, flaw.to);
        let _infallible = writeln!(text, "! {file}: bytes {from} to {to}: {}", flaw.what);
    }
    if let Some(nonsense) = nonsense {
        let file = examined.counts.as_deref().unwrap_or_default();
        let _infallible =
            writeln!(text, "! {file}: its records make no sense together: {nonsense}");
    }
    text.push_str(if inspection.is_sound() { "sound\n" } else { "not sound\n" });
    text
}
