//! What must not stay behind in Rust files, and what must stand at their head.

use super::{Files, Findings};

/// A file longer than this is worth a look: which noun inside wants its own?
const LINES_MAX: usize = 700;

/// Check, token, why it must go. Written in pieces so that this file does not find itself.
const LEFT_OVERS: &[(&str, &str, &str)] = &[
    ("todo", concat!("to", "do!"), "finish it, or open an issue"),
    ("todo", concat!("unimple", "mented!"), "finish it, or open an issue"),
    ("dbg", concat!("db", "g!"), "left over from looking for a bug"),
    ("ignore", concat!("#[igno", "re"), "a test that does not run shows nothing"),
];

/// Only where tests live.
const SLEEPS: &[&str] = &[concat!("thread::sl", "eep"), concat!("time::sl", "eep")];

pub(super) fn check(files: &Files, found: &mut Findings) {
    for (path, text) in super::with_extension(files, "rs") {
        check_file(path, text, found);
    }
}

fn check_file(path: &str, text: &str, found: &mut Findings) {
    if !text.starts_with("//!") {
        found.fail(path, "must begin with a `//!` head: what it is for, what it leaves out");
    }
    let length = text.lines().count();
    if length > LINES_MAX {
        found.warn(path, format!("{length} lines; which noun inside wants its own file?"));
    }
    let is_test = path.starts_with("harness/") || format!("/{path}").contains("/tests/");
    let mut above = "";
    for (number, line) in (1..).zip(text.lines()) {
        let at = format!("{path}:{number}");
        let code = line.split("//").next().unwrap_or(line);
        let allowed = |check| allows(above, check) || allows(line, check);
        for (check, token, why) in LEFT_OVERS {
            if has_token(code, token) && !allowed(check) {
                found.fail(&at, format!("{token}: {why}"));
            }
        }
        let sleeps = SLEEPS.iter().any(|token| has_token(code, token))
            || (code.contains("time::{") && has_token(code, "sleep"));
        if is_test && sleeps && !allowed("sleep") {
            found.fail(&at, "a test that sleeps: wait on a condition with a deadline");
        }
        above = line;
    }
}

/// Whether `line` says `tidy: allow(check): reason`.
fn allows(line: &str, check: &str) -> bool {
    let Some((_, comment)) = line.split_once("// tidy: allow(") else { return false };
    let Some((name, reason)) = comment.split_once("): ") else { return false };
    name == check && !reason.trim().is_empty()
}

/// Whether `token` stands in `code` as a whole word.
fn has_token(code: &str, token: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(token).any(|(at, _)| {
        let (before, rest) = code.split_at(at);
        let after = rest.strip_prefix(token).unwrap_or(rest);
        let starts = !before.ends_with(word);
        let ends = !token.ends_with(word) || !after.starts_with(word);
        starts && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_overs_fail() {
        for (_, token, why) in LEFT_OVERS {
            expect("core/x/src/a.rs", &format!("{token}()"), &[&format!("{token}: {why}")]);
            expect("core/x/src/a.rs", &format!("// no {token}()"), &[]);
        }
        expect("core/x/src/a.rs", concat!("my_to", "do!()"), &[]);
    }

    #[test]
    fn sleep_fails_in_tests_only() {
        let why = "a test that sleeps: wait on a condition with a deadline";
        let std = format!("std::{}(ms)", SLEEPS[0]);
        let tokio = format!("use tokio::{};", SLEEPS[1]);
        for line in [&std, &tokio, "use tokio::time::{self, sleep};"] {
            expect("harness/e2e/src/lib.rs", line, &[why]);
            expect("shell/server/tests/it/main.rs", line, &[why]);
            expect("shell/server/src/dial.rs", line, &[]);
        }
        expect("harness/e2e/src/lib.rs", "use tokio::time::{self, sleep_until};", &[]);
    }

    #[test]
    fn a_reason_in_place_is_heard() {
        let path = "harness/e2e/src/lib.rs";
        let sleep = format!("std::{}(ms)", SLEEPS[0]);
        expect(path, &format!("// tidy: allow(sleep): between two looks\n{sleep}"), &[]);
        expect(path, &format!("{sleep} // tidy: allow(sleep): between two looks"), &[]);
        let why = "a test that sleeps: wait on a condition with a deadline";
        expect(path, &format!("{sleep} // tidy: allow(sleep): "), &[why]);
        expect(path, &format!("{sleep} // tidy: allow(dbg): another check"), &[why]);
    }

    #[test]
    fn head_and_length() {
        let mut found = Findings::default();
        check_file("a.rs", "use std::fmt;\n//! late\n", &mut found);
        assert_eq!(found.failures.len(), 1);
        check_file("b.rs", &format!("//! Head.\n{}", "\n".repeat(LINES_MAX)), &mut found);
        assert_eq!(found.failures.len(), 1);
        assert_eq!(found.warnings, ["b.rs: 701 lines; which noun inside wants its own file?"]);
    }

    #[track_caller]
    fn expect(path: &str, body: &str, failures: &[&str]) {
        let mut found = Findings::default();
        check_file(path, &format!("//! Head.\n{body}\n"), &mut found);
        let whats: Vec<&str> =
            found.failures.iter().filter_map(|line| Some(line.split_once(": ")?.1)).collect();
        assert_eq!(whats, failures, "{body}");
    }
}
