//! Links between our own Markdown files, to the heading.
//!
//! Addresses elsewhere are not followed: whether they answer is no property of this repository.

use super::{Files, Findings};

pub(super) fn check(files: &Files, found: &mut Findings) {
    for (path, text) in super::with_extension(files, "md") {
        for (number, link) in links(text) {
            if let Err(why) = resolve(files, path, &link) {
                found.fail(format!("{path}:{number}"), format!("link to {link}: {why}"));
            }
        }
    }
}

/// Line and target of every inline link and reference definition outside of code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        let line = without_code(line);
        if let Some((_, target)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
            links.push((number, target.trim().to_owned()));
        }
        for (at, mark) in line.match_indices("](") {
            let rest = line.split_at(at + mark.len()).1;
            let Some((target, _)) = rest.split_once(')') else { continue };
            // `[text](target "title")`
            let target = target.split(" \"").next().unwrap_or(target);
            links.push((number, target.to_owned()));
        }
    }
    links
}

/// The lines outside of fenced code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fence = None;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let line = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| line.starts_with(mark));
        match (fence, mark) {
            (None, Some(_)) => fence = mark,
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => return true,
            (Some(_), _) => {}
        }
        false
    })
}

/// `line` with the insides of its backticks blanked.
fn without_code(line: &str) -> String {
    line.split('`').enumerate().map(|(i, part)| if i % 2 == 0 { part } else { "`" }).collect()
}

fn resolve(files: &Files, from: &str, link: &str) -> Result<(), String> {
    let elsewhere = ["http://", "https://", "mailto:", "geo:"];
    if elsewhere.iter().any(|scheme| link.starts_with(scheme)) {
        return Ok(());
    }
    let (target, heading) = match link.split_once('#') {
        Some((target, heading)) => (target, Some(heading)),
        None => (link, None),
    };
    let path = if target.is_empty() { from.to_owned() } else { join(from, target)? };
    let as_folder = format!("{}/", path.trim_end_matches('/'));
    let is_folder = path.is_empty() || files.keys().any(|file| file.starts_with(&as_folder));
    let Some(text) = files.get(&path) else {
        return if is_folder { Ok(()) } else { Err("no tracked file or folder".to_owned()) };
    };
    match (heading, text) {
        (Some(heading), Some(text)) if is_markdown(&path) && !has_heading(text, heading) => {
            Err("that file has no such heading".to_owned())
        }
        _ => Ok(()),
    }
}

/// `target` as seen from the file `from`, from the root.
fn join(from: &str, target: &str) -> Result<String, String> {
    if target.starts_with('/') {
        return Err("write it relative to this file".to_owned());
    }
    let mut parts: Vec<&str> = super::folder(from).split('/').filter(|p| !p.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or("leads out of the repository")?;
            }
            name => parts.push(name),
        }
    }
    Ok(parts.join("/"))
}

/// In other files what follows `#` is the forge's affair, such as a line number.
fn is_markdown(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, extension)| extension == "md")
}

fn has_heading(text: &str, wanted: &str) -> bool {
    prose(text).any(|(_, line)| {
        let title = line.trim_start_matches('#');
        title.len() < line.len() && title.starts_with(' ') && slug(title.trim()) == wanted
    })
}

/// The anchor that Git forges give a heading: lower case, spaces to hyphens, marks dropped.
fn slug(title: &str) -> String {
    title
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => Some(c),
            _ => None,
        })
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::files_of;
    use super::*;

    #[test]
    fn links_that_resolve() {
        for link in [
            "[a](b.md)",
            "[a](./b.md \"title\")",
            "[a](../README.md#the-two-commands)",
            "[a](#own-heading)",
            "[a](decisions) and ![b](decisions/0001-x.md)",
            "[a](https://example.org/nothing.md)",
            "`[a](nowhere.md)`",
            "```\n[a](nowhere.md)\n```",
            "[a]: ../README.md",
        ] {
            expect(link, &[]);
        }
    }

    #[test]
    fn links_that_lead_nowhere() {
        expect("[a](c.md)", &["docs/a.md:3: link to c.md: no tracked file or folder"]);
        expect("[a]: c.md", &["docs/a.md:3: link to c.md: no tracked file or folder"]);
        expect("[a](/b.md)", &["docs/a.md:3: link to /b.md: write it relative to this file"]);
        expect("[a](../../x)", &["docs/a.md:3: link to ../../x: leads out of the repository"]);
        expect("[a](b.md#no)", &["docs/a.md:3: link to b.md#no: that file has no such heading"]);
    }

    #[track_caller]
    fn expect(text: &str, failures: &[&str]) {
        let files = files_of(&[
            ("docs/a.md", &format!("# Own heading\n\n{text}\n")),
            ("docs/b.md", "# B\n"),
            ("docs/decisions/0001-x.md", "# X\n"),
            ("README.md", "# Herd\n## The two commands!\n"),
        ]);
        let mut found = Findings::default();
        check(&files, &mut found);
        assert_eq!(found.failures, failures, "{text}");
    }
}
