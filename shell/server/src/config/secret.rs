//! A value that must not be seen, and how the key for Google is found.
//!
//! The config holds the name of a variable or a file, never a key itself.

use super::{Config, Problem};
use std::fmt;
use std::io::Read as _;

/// A text that no log, error or reply may show. It has no `Display`, and its `Debug` is `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that must send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Config {
    /// The key for Google: what stands in `places.google.api_key_file` if that is set, else the value
    /// of the variable that `places.google.api_key_env` names. `env` looks a variable up.
    ///
    /// # Errors
    ///
    /// If there is no such variable or file, or it holds no key. The error never quotes the value.
    pub fn google_key(&self, env: impl Fn(&str) -> Option<String>) -> Result<Secret, Problem> {
        let google = &self.places.google;
        let (key, text) = if let Some(path) = &google.api_key_file {
            let key = "places.google.api_key_file";
            let text = read_capped(path).map_err(|error| {
                let path = path.display();
                self.problem(key, format!("cannot read {path}: {error}; put the key in that file"))
            })?;
            (key, text)
        } else {
            let key = "places.google.api_key_env";
            let name = &google.api_key_env;
            let text = env(name).ok_or_else(|| {
                self.problem(key, format!("the environment variable {name} is not set; set it to the key, or choose provider = \"embedded\""))
            })?;
            (key, text)
        };
        let text = text.trim();
        if text.is_empty()
            || text.len() > KEY_BYTES_MAX
            || !text.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(self.problem(
                key,
                format!("what it names is no key; a key is 1 to {KEY_BYTES_MAX} printable ASCII characters without blanks"),
            ));
        }
        Ok(Secret(text.to_owned()))
    }
}

fn read_capped(path: &std::path::Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(KEY_BYTES_MAX as u64 + 64).read_to_string(&mut text)?;
    Ok(text)
}

/// Google's keys have 39 bytes; tokens of proxies are longer. A wrong file ends here.
const KEY_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::super::load::tests::load;

    #[test]
    fn a_key_is_found_by_name_and_never_shown() {
        let config = load("[herd]\nname = \"news\"\n").unwrap();
        let env = |name: &str| (name == "GOOGLE_PLACES_KEY").then(|| " AIzaSecret\n".to_owned());
        let key = config.google_key(env).unwrap();
        assert_eq!(key.reveal(), "AIzaSecret");
        assert_eq!(format!("{key:?}"), "***");
    }

    #[test]
    fn what_is_no_key_is_not_quoted() {
        let config = load("[herd]\nname = \"news\"\n").unwrap();
        let error = config.google_key(|_| Some("two words".to_owned())).unwrap_err().to_string();
        assert!(error.contains("is no key") && !error.contains("two words"), "{error}");
        let error = config.google_key(|_| None).unwrap_err().to_string();
        assert!(error.contains("GOOGLE_PLACES_KEY is not set"), "{error}");
    }

    #[test]
    fn a_missing_key_file_is_named_with_its_line() {
        let text = "[herd]\nname = \"news\"\n[places.google]\napi_key_file = \"/no/such/key\"\n";
        let error = load(text).unwrap().google_key(|_| None).unwrap_err().to_string();
        assert!(
            error.starts_with("herd.toml:4: places.google.api_key_file: cannot read"),
            "{error}"
        );
    }
}
