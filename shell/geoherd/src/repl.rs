//! `geoherd repl`: a conversation with a server, with history, completion and errors that help.
//!
//! Each command has a connection of its own, so a server may come and go between two of them, and an
//! `AT`, which is answered with nothing, needs no guess how long to wait.

use crate::client::{Refusals, Server, with_time};
use crate::explain::{FORMS, fields};
use crate::output;
use clap::Args;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Talk with a server
///
/// Reads commands and prints their answers, with history and completion at a terminal. In an IAMAT the
/// time may be `now`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd repl
  geoherd repl --server 127.0.0.1:12003
  echo WHATSAT kiwi 10 5 | geoherd repl")]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: Server,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if io::stdin().is_terminal() {
        converse(&arguments.server)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut code = ExitCode::SUCCESS;
    for line in io::stdin().lines() {
        match answer(&arguments.server, &line?)? {
            Turn::Answered => {}
            Turn::Refused => code = output::NO.into(),
            Turn::Over => break,
        }
    }
    Ok(code)
}

/// The conversation at a terminal: what fails is told, and it goes on.
fn converse(server: &Server) -> anyhow::Result<()> {
    let mut editor: Editor<Guide, DefaultHistory> = Editor::new()?;
    editor.set_helper(Some(Guide));
    let history = history_path();
    if let Some(path) = &history {
        // The first time there is none.
        let _none_yet = editor.load_history(path);
    }
    println!("Commands go to {}; `help` tells of them, Ctrl-D ends.", server.address);
    loop {
        let line = match editor.readline("geoherd> ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        };
        if !line.trim().is_empty() {
            editor.add_history_entry(line.trim())?;
        }
        match answer(server, &line) {
            Ok(Turn::Over) => break,
            Ok(Turn::Answered | Turn::Refused) => {}
            Err(error) => output::print_error(&error),
        }
    }
    if let Some(path) = history
        && let Err(error) = save_history(&mut editor, &path)
    {
        eprintln!("warning: cannot keep the history in {}: {error}", path.display());
    }
    Ok(())
}

enum Turn {
    Answered,
    Refused,
    Over,
}

fn answer(server: &Server, line: &str) -> anyhow::Result<Turn> {
    match fields(line).as_slice() {
        [] => Ok(Turn::Answered),
        ["quit" | "exit"] => Ok(Turn::Over),
        ["help", ..] => {
            output::print(help().as_bytes())?;
            Ok(Turn::Answered)
        }
        _ => {
            let reply = server.ask(&with_time(line))?;
            output::print(&reply)?;
            let mut refusals = Refusals::default();
            refusals.feed(&reply);
            Ok(if refusals.tell() { Turn::Answered } else { Turn::Refused })
        }
    }
}

fn help() -> String {
    let mut text = String::new();
    for form in &FORMS {
        // Writing to a String cannot fail.
        let (usage, about) = (form.usage(), form.about);
        let _infallible = writeln!(text, "{usage}\n    {about}: {}", form.example());
    }
    text.push_str("help, quit\n    In an IAMAT the time may be `now`.\n");
    text
}

/// Where the history is kept: the user's directory for state, as the XDG base directories have it.
fn history_path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(state.join("geoherd/history"))
}

fn save_history(editor: &mut Editor<Guide, DefaultHistory>, path: &Path) -> anyhow::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    editor.save_history(path)?;
    Ok(())
}

/// Completes the words of commands and shows which operands are still to come.
struct Guide;

impl Helper for Guide {}
impl Validator for Guide {}

impl Highlighter for Guide {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        // Faint, or it would look like what was typed.
        Cow::Owned(format!("\x1b[2m{hint}\x1b[0m"))
    }
}

impl Completer for Guide {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let begun = line.get(..pos).unwrap_or(line);
        Ok((0, words_for(begun).map(|word| format!("{word} ")).collect()))
    }
}

impl Hinter for Guide {
    type Hint = String;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<String> {
        (pos == line.len()).then(|| operands_to_come(line)).flatten()
    }
}

/// The words that someone who wrote `begun` may want, in capitals or not.
fn words_for(begun: &str) -> impl Iterator<Item = &'static str> {
    let upper = begun.to_uppercase();
    let words = FORMS.iter().map(|form| form.word).chain(["help", "quit"]);
    words.filter(move |word| word.to_uppercase().starts_with(&upper))
}

fn operands_to_come(line: &str) -> Option<String> {
    let fields = fields(line);
    let (word, given) = fields.split_first()?;
    let form = FORMS.iter().find(|form| form.word == *word)?;
    let rest: Vec<&str> = form.operands.iter().skip(given.len()).map(|one| one.name).collect();
    let blank = if line.ends_with(' ') { "" } else { " " };
    (!rest.is_empty()).then(|| format!("{blank}{}", rest.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_completed_in_capitals_or_not() {
        for (begun, expected) in [
            ("", vec!["IAMAT", "WHATSAT", "AT", "help", "quit"]),
            ("w", vec!["WHATSAT"]),
            ("IA", vec!["IAMAT"]),
            ("H", vec!["help"]),
            ("IAMAT k", vec![]),
        ] {
            assert_eq!(words_for(begun).collect::<Vec<_>>(), expected, "{begun:?}");
        }
    }

    #[test]
    fn operands_to_come_are_shown() {
        for (line, expected) in [
            ("WHATSAT", Some(" CLIENT RADIUS BOUND")),
            ("WHATSAT ", Some("CLIENT RADIUS BOUND")),
            ("WHATSAT kiwi", Some(" RADIUS BOUND")),
            ("WHATSAT kiwi 10 5", None),
            ("help", None),
            ("", None),
        ] {
            assert_eq!(operands_to_come(line).as_deref(), expected, "{line:?}");
        }
    }
}
