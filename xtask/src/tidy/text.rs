//! What no text file may have: conflict markers, and white space that nobody sees.

use super::{Files, Findings};

/// Files in which white space at the end of a line is a slip. Others may mean it: corpora, data.
const TRIMMED: &[&str] = &["md", "toml", "rs"];

pub(super) fn check(files: &Files, found: &mut Findings) {
    for (path, text) in files {
        let Some(text) = text else { continue };
        let trimmed = TRIMMED.iter().any(|end| path.ends_with(&format!(".{end}")));
        for (number, line) in (1..).zip(text.split('\n')) {
            let at = format!("{path}:{number}");
            if line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ") {
                found.fail(&at, "a conflict marker");
            }
            if trimmed && line.ends_with([' ', '\t', '\r']) {
                found.fail(&at, "white space at the end of the line");
            }
        }
        if trimmed && !text.is_empty() && !text.ends_with('\n') {
            found.fail(path, "the last line has no end");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::files_of;
    use super::*;

    #[test]
    fn slips_are_named_with_their_line() {
        let files = files_of(&[
            ("a.md", "fine\nnot fine \n"),
            ("b.rs", "//! Head."),
            ("c.txt", "may mean it \n"),
            ("d.sh", "x\n<<<<<<< ours\n=======\n>>>>>>> theirs\n"),
            ("e.toml", "key = 1\r\n"),
        ]);
        let mut found = Findings::default();
        check(&files, &mut found);
        assert_eq!(
            found.failures,
            [
                "a.md:2: white space at the end of the line",
                "b.rs: the last line has no end",
                "d.sh:2: a conflict marker",
                "d.sh:4: a conflict marker",
                "e.toml:1: white space at the end of the line",
            ]
        );
    }
}
