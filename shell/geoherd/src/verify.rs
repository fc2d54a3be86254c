//! `geoherd verify`: whether a data directory is as it was written.

use crate::output;
use clap::Args;
use herd_server::inspect::{Finding, Inspection, Role, inspect};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Check every byte of a data directory
///
/// Reads the whole directory of a stopped server, or of a copy of one, and changes nothing. Prints whose it
/// is and what it holds, and lists everything that is not as it was written: file, bytes, and what is wrong
/// with them.
///
/// A torn end is reported, and is not damage: after a kill or a power cut the last write may be incomplete.
/// What it held was not acknowledged yet, or could be lost by the setting of fsync.
///
/// It takes as much memory as the server does.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd verify --data-dir /var/lib/geoherd/Hill
  geoherd verify --data-dir /backup/Hill --json | jq .findings

Exit codes:
  0  it is sound
  1  something is damaged, which is listed
  2  it cannot be read: missing, not a data directory, in use, or written by a later version of the
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
        report(&arguments.data_dir, &inspection)
    };
    output::print(text.as_bytes())?;
    Ok(if inspection.is_sound() { ExitCode::SUCCESS } else { output::NO.into() })
}

/// A file's role in one word, as programs read it.
fn word(role: Role) -> &'static str {
    match role {
        Role::Identity => "identity",
        Role::Current => "current",
        Role::Superseded => "superseded",
        Role::Unfinished => "unfinished",
        Role::SetAside => "set-aside",
        Role::Unreadable => "unreadable",
        Role::Other => "other",
    }
}

fn document(path: &Path, inspection: &Inspection) -> Value {
    let Inspection { examined, node } = inspection;
    let identity = examined.identity.as_ref().map(|identity| {
        json!({
            "herd": identity.herd,
            "server": identity.server,
            // As a string: it is greater than what JavaScript can count to.
            "incarnation": identity.incarnation.to_string(),
        })
    });
    let files = examined.files.iter().map(|file| {
        let journal = examined.journals.iter().find(|journal| journal.file == file.name);
        json!({
            "file": file.name,
            "bytes": file.bytes,
            "role": word(file.role),
            "records": journal.map(|journal| journal.records),
            "end": journal.map(|journal| journal.end),
            "torn_bytes": journal.map(|journal| journal.torn_bytes),
        })
    });
    let findings = examined.findings.iter().map(|finding| {
        let Finding { file, from, to, damage } = finding;
        json!({ "file": file, "from": from, "to": to, "damage": damage.to_string() })
    });
    json!({
        "directory": path.display().to_string(),
        "sound": inspection.is_sound(),
        "identity": identity,
        "files": files.collect::<Vec<_>>(),
        "records": examined.records(),
        "clients": node.clients(),
        "torn_bytes": examined.journals.iter().map(|journal| journal.torn_bytes).sum::<u64>(),
        "findings": findings.collect::<Vec<_>>(),
    })
}

fn report(path: &Path, inspection: &Inspection) -> String {
    let Inspection { examined, node } = inspection;
    let mut text = format!("{}\n", path.display());
    // Writing to a String cannot fail.
    let _infallible = match &examined.identity {
        Some(identity) => writeln!(
            text,
            "  server    {} of herd {}\n  last run  incarnation {}",
            identity.server, identity.herd, identity.incarnation
        ),
        None => writeln!(text, "  server    unknown"),
    };
    let _infallible =
        writeln!(text, "  holds     {} records, {} clients", examined.records(), node.clients());
    let width = examined.files.iter().map(|file| file.name.len()).max().unwrap_or_default();
    for file in &examined.files {
        let name = &file.name;
        let journal = examined.journals.iter().find(|journal| journal.file == *name);
        let records = journal.map_or(0, |journal| journal.records);
        let role = match file.role {
            Role::Identity => "whose directory it is".to_owned(),
            Role::Current => format!("{records} records"),
            Role::Superseded => {
                format!("{records} records; superseded, removed by the next start")
            }
            Role::Unfinished => "unfinished; removed by the next start".to_owned(),
            Role::SetAside => "damaged; kept for inspection, not read".to_owned(),
            Role::Unreadable => "a journal that cannot be read".to_owned(),
            Role::Other if name == "lock" => {
                "locked by the server that uses the directory".to_owned()
            }
            Role::Other => "not one of geoherd's".to_owned(),
        };
        let _infallible = match file.bytes {
            Some(bytes) => writeln!(text, "  {name:width$}  {bytes:>12} bytes  {role}"),
            None => writeln!(text, "  {name:width$}  {:>18}  {role}", ""),
        };
    }
    for journal in examined.journals.iter().filter(|journal| journal.torn_bytes > 0) {
        let (file, bytes, end) = (&journal.file, journal.torn_bytes, journal.end);
        let _infallible = writeln!(
            text,
            "  {file}: the last {bytes} bytes, from {end} on, are the torn end of the last write"
        );
    }
    for Finding { file, from, to, damage } in &examined.findings {
        let _infallible = writeln!(text, "! {file}: bytes {from} to {to}: {damage}");
    }
    if let Some((file, stranger)) = &examined.stranger {
        let (server, herd) = (&stranger.server, &stranger.herd);
        let _infallible = writeln!(text, "! {file}: of server {server} of herd {herd}");
    }
    text.push_str(if inspection.is_sound() { "sound\n" } else { "not sound\n" });
    text
}
