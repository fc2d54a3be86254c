//! `cargo xtask tidy`: what no other tool checks.
//!
//! The second occurrence of a review remark becomes a check here. A check is a function from text
//! to findings, so that each is tested without a repository. Where a line must be as it is, it or
//! the line above carries `tidy: allow(CHECK): the reason`; not every check can be answered so.

mod arrows;
mod core_deps;
mod decisions;
mod links;
mod manifests;
mod rust_files;
mod text;

use crate::shell;
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;

/// Runs all checks over the tracked files.
///
/// # Errors
///
/// When one of them found something that must not be.
pub(crate) fn run() -> Result<()> {
    let files = tracked_files()?;
    let mut found = Findings::default();
    arrows::check(&arrows::metadata()?, &mut found);
    core_deps::check(&mut found)?;
    manifests::check(&files, &mut found);
    rust_files::check(&files, &mut found);
    text::check(&files, &mut found);
    decisions::check(&files, &mut found);
    links::check(&files, &mut found);
    for warning in &found.warnings {
        println!("warning: {warning}");
    }
    for failure in &found.failures {
        eprintln!("error: {failure}");
    }
    if !found.failures.is_empty() {
        bail!("{} findings in {} files", found.failures.len(), files.len());
    }
    println!("{} tracked files are tidy, {} warnings", files.len(), found.warnings.len());
    Ok(())
}

/// What the checks found, as `path:line: what is wrong and what to do`.
#[derive(Debug, Default)]
struct Findings {
    failures: Vec<String>,
    warnings: Vec<String>,
}

impl Findings {
    fn fail(&mut self, at: impl std::fmt::Display, what: impl std::fmt::Display) {
        self.failures.push(format!("{at}: {what}"));
    }

    fn warn(&mut self, at: impl std::fmt::Display, what: impl std::fmt::Display) {
        self.warnings.push(format!("{at}: {what}"));
    }
}

/// The tracked files: path from the root, with `/`, to text. Binary ones have none.
type Files = BTreeMap<String, Option<String>>;

fn tracked_files() -> Result<Files> {
    let list = shell::output(shell::command("git").args(["ls-files", "-z"]))
        .context("tidy looks at the files that git tracks")?;
    let mut files = Files::new();
    for path in list.split('\0').filter(|path| !path.is_empty()) {
        // Tracked, but deleted and not yet committed as such: it is on its way out.
        let Ok(bytes) = std::fs::read(shell::root().join(path)) else { continue };
        let text = if bytes.contains(&0) { None } else { String::from_utf8(bytes).ok() };
        files.insert(path.to_owned(), text);
    }
    Ok(files)
}

/// The files with text whose name ends with `.extension`.
fn with_extension<'a>(
    files: &'a Files,
    extension: &'a str,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    files.iter().filter_map(move |(path, text)| {
        let (_, end) = path.rsplit_once('.')?;
        (end == extension).then_some((path.as_str(), text.as_deref()?))
    })
}

/// The path of `from`'s folder, with a `/` at the end unless it is the root.
fn folder(from: &str) -> &str {
    from.rfind('/').map_or("", |at| from.split_at(at + 1).0)
}

#[cfg(test)]
fn files_of(files: &[(&str, &str)]) -> Files {
    files.iter().map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned()))).collect()
}
