//! The names in docs/decisions/: `NNNN-title.md`, each number once.

use super::{Files, Findings};
use std::collections::BTreeMap;

const FOLDER: &str = "docs/decisions/";

pub(super) fn check(files: &Files, found: &mut Findings) {
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for path in files.keys() {
        let Some(name) = path.strip_prefix(FOLDER) else { continue };
        if name == "README.md" {
            continue;
        }
        let Some(number) = number(name) else {
            found.fail(path, "must be named NNNN-title.md, the title in lower case with hyphens");
            continue;
        };
        if let Some(other) = taken.insert(number, path) {
            found.fail(path, format!("has the number of {other}"));
        }
    }
}

/// The number of a decision whose file has the right name.
fn number(name: &str) -> Option<&str> {
    let (number, title) = name.strip_suffix(".md")?.split_once('-')?;
    let digits = number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit());
    let words = title.split('-').all(|word| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    });
    (digits && words).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::super::files_of;
    use super::*;

    #[test]
    fn names() {
        for name in ["0001-order-of-reports.md", "0012-http2.md"] {
            assert!(number(name).is_some(), "{name}");
        }
        for name in ["1-x.md", "0001.md", "0001-.md", "0001-Order.md", "0001_x.md", "0001-a b.md"] {
            assert!(number(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_number_is_taken_once() {
        let files = files_of(&[
            ("docs/decisions/0001-a.md", ""),
            ("docs/decisions/0001-b.md", ""),
            ("docs/decisions/README.md", ""),
            ("docs/other.md", ""),
        ]);
        let mut found = Findings::default();
        check(&files, &mut found);
        assert_eq!(
            found.failures,
            ["docs/decisions/0001-b.md: has the number of docs/decisions/0001-a.md"]
        );
    }
}
