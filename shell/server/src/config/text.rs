//! Values that are text in the file and more than text inside: durations, addresses, a base URL.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Parses a whole number with its unit: `250ms`, `5s`, `10m`, `2h`.
///
/// # Errors
///
/// [`ParseDurationError`] for any other text and for what is longer than a thousand years.
pub fn parse_duration(text: &str) -> Result<Duration, ParseDurationError> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or(ParseDurationError)?;
    let (number, unit) = text.split_at(unit_at);
    let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(ParseDurationError)?;
    let number: u64 = number.parse().map_err(|_| ParseDurationError)?;
    match number.checked_mul(*unit_ms) {
        Some(ms) if ms <= DURATION_MS_MAX => Ok(Duration::from_millis(ms)),
        _ => Err(ParseDurationError),
    }
}

/// Prints a duration in the largest unit in which it is whole; parts of a millisecond are cut off.
pub fn format_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    let fits = |unit_ms: u64| ms.is_multiple_of(u128::from(unit_ms)) && ms > 0;
    let (name, unit_ms) = UNITS.iter().rev().find(|(_, u)| fits(*u)).unwrap_or(&("s", 1000));
    format!("{}{name}", ms / u128::from(*unit_ms))
}

const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A thousand years: longer than any of our timers, and short enough for every clock to add.
const DURATION_MS_MAX: u64 = 1000 * 366 * 24 * 3_600_000;

/// The text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no duration; write a whole number with ms, s, m, h or d, such as \"250ms\"")]
pub struct ParseDurationError;

/// For `#[serde(with)]` on a [`Duration`].
pub(super) mod duration {
    use super::{
        Deserialize, Deserializer, Duration, Serializer, de, format_duration, parse_duration,
    };

    pub(in super::super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(*duration))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        parse_duration(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// For `#[serde(with)]` on a [`Duration`] that may be left out.
pub(super) mod optional_duration {
    use super::{Deserializer, Duration, Serializer, duration};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(in super::super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => duration::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        duration::deserialize(deserializer).map(Some)
    }
}

/// For `#[serde(deserialize_with)]` on an address that must be there.
pub(super) fn address<'de, D, A>(deserializer: D) -> Result<A, D::Error>
where
    D: Deserializer<'de>,
    A: From<std::net::SocketAddr>,
{
    let text = String::deserialize(deserializer)?;
    let address = text.parse::<std::net::SocketAddr>().map_err(|_| {
        let hint = "write an IP address and a port, such as \"127.0.0.1:12000\" or \"[::1]:12000\"";
        de::Error::custom(format!("{text:?} is no address; {hint}"))
    })?;
    Ok(address.into())
}

/// For `#[serde(deserialize_with)]` on the name of a variable that holds a secret. The error does not
/// quote the text: people paste the secret itself.
pub(super) fn variable_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    // Keys of Google begin like this and have nothing that a name could not have.
    let is_key = text.starts_with("AIza");
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if is_key || !begins || !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(de::Error::custom(
            "is no name of an environment variable; write the name of the one that holds the key, never the key itself",
        ));
    }
    Ok(text)
}

/// Describes a [`Duration`] in the schema.
pub(super) struct DurationText;

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "duration", "pattern": "^[0-9]+(ms|s|m|h|d)$" })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// Describes a socket address in the schema.
pub(super) struct AddressText;

impl JsonSchema for AddressText {
    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "address" })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// The beginning of a provider's URLs: `http` or `https`, a host, perhaps a port and a path; without a
/// slash at its end. It cannot hold a user, a password or a query, so that it can be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// The URL without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if a key sent there can be read on its way: plain `http` to another machine.
    pub fn is_open_to_eavesdroppers(&self) -> bool {
        let Some(rest) = self.0.strip_prefix("http://") else { return false };
        let authority = rest.split('/').next().unwrap_or_default();
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        !(loopback || host == "localhost")
    }
}

impl FromStr for BaseUrl {
    type Err = ParseBaseUrlError;

    fn from_str(text: &str) -> Result<Self, ParseBaseUrlError> {
        let rest = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.ok_or(ParseBaseUrlError::Scheme)?;
        let authority = rest.split('/').next().unwrap_or_default();
        if rest.contains(['@', '?', '#']) {
            return Err(ParseBaseUrlError::More);
        }
        if authority.is_empty()
            || authority.starts_with(':')
            || !rest.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(ParseBaseUrlError::Host);
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for BaseUrl {
    fn schema_name() -> Cow<'static, str> {
        "BaseUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "url" })
    }

    fn inline_schema() -> bool {
        true
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no [`BaseUrl`]. It never quotes the text, which may hold a password.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseBaseUrlError {
    /// Neither `http://` nor `https://`.
    #[error("is no base URL; begin it with https:// or http://")]
    Scheme,
    /// It holds a user, a password, a query or a fragment.
    #[error("must end with its path; leave out user, password, query and fragment")]
    More,
    /// It names no host, or has blanks or letters outside ASCII.
    #[error("names no host; write it like https://maps.googleapis.com")]
    Host,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_printed_in_their_largest_unit() {
        for (text, ms, printed) in [
            ("250ms", 250, "250ms"),
            ("5s", 5000, "5s"),
            ("10m", 600_000, "10m"),
            ("2h", 7_200_000, "2h"),
            ("48h", 172_800_000, "2d"),
            ("0s", 0, "0s"),
            ("60s", 60_000, "1m"),
            ("1500ms", 1500, "1500ms"),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
            assert_eq!(format_duration(Duration::from_millis(ms)), printed, "{text}");
        }
    }

    #[test]
    fn no_other_text_is_a_duration() {
        for text in ["", "5", "s", "5 s", "1.5s", "-5s", "+5s", "5S", "5w", "99999999999999999999s"]
        {
            assert_eq!(parse_duration(text), Err(ParseDurationError), "{text:?}");
        }
        assert_eq!(parse_duration("99999999999999h"), Err(ParseDurationError));
    }

    #[test]
    fn a_base_url_holds_nothing_that_must_be_hidden() {
        check_url("https://maps.googleapis.com/", Ok("https://maps.googleapis.com"));
        check_url("http://[::1]:8080/proxy", Ok("http://[::1]:8080/proxy"));
        check_url("ftp://example.org", Err(ParseBaseUrlError::Scheme));
        check_url("https://me:secret@example.org", Err(ParseBaseUrlError::More));
        check_url("https://example.org/?key=secret", Err(ParseBaseUrlError::More));
        check_url("https:///path", Err(ParseBaseUrlError::Host));
        check_url("https://:80", Err(ParseBaseUrlError::Host));
        check_url("https://a b", Err(ParseBaseUrlError::Host));
    }

    #[test]
    fn plain_http_is_open_unless_it_stays_on_this_machine() {
        for (text, open) in [
            ("http://example.org:80/x", true),
            ("http://10.0.0.1", true),
            ("http://127.0.0.1:9", false),
            ("http://[::1]", false),
            ("http://localhost/x", false),
            ("https://example.org", false),
        ] {
            let url: BaseUrl = text.parse().unwrap();
            assert_eq!(url.is_open_to_eavesdroppers(), open, "{text}");
        }
    }

    #[track_caller]
    fn check_url(text: &str, expected: Result<&str, ParseBaseUrlError>) {
        let got = text.parse::<BaseUrl>();
        assert_eq!(got.as_ref().map(BaseUrl::as_str).map_err(|e| *e), expected, "{text:?}");
    }
}
