//! The names of the files in a data directory.

use herd_proto::UnixTime;

/// Whose directory it is.
pub(crate) const IDENTITY: &str = "identity";
/// The same, being written.
pub(crate) const IDENTITY_PART: &str = "identity.part";

const JOURNAL: &str = "journal-";
const PART: &str = ".part";
const DAMAGED: &str = "damaged-";

/// What a name stands for, as far as it is one of the store's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Identity,
    IdentityPart,
    /// A complete generation.
    Journal(u64),
    /// A generation that is being written.
    JournalPart(u64),
    /// A damaged generation, and when it was set aside, in seconds since 1970.
    Damaged(u64, i64),
}

impl Name {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        if let Some(rest) = name.strip_prefix(JOURNAL) {
            return Some(match rest.strip_suffix(PART) {
                Some(number) => Self::JournalPart(decimal(number)?),
                None => Self::Journal(decimal(rest)?),
            });
        }
        if let Some(rest) = name.strip_prefix(DAMAGED) {
            let (number, seconds) = rest.split_once('-')?;
            return Some(Self::Damaged(decimal(number)?, decimal(seconds)?));
        }
        match name {
            IDENTITY => Some(Self::Identity),
            IDENTITY_PART => Some(Self::IdentityPart),
            _ => None,
        }
    }

    /// The generation, if the name has one.
    pub(crate) fn number(self) -> Option<u64> {
        match self {
            Self::Journal(number) | Self::JournalPart(number) | Self::Damaged(number, _) => {
                Some(number)
            }
            Self::Identity | Self::IdentityPart => None,
        }
    }
}

/// Digits as the functions below write them: a sign or a leading zero would give one file two names.
fn decimal<N: std::str::FromStr + ToString>(digits: &str) -> Option<N> {
    digits.parse().ok().filter(|number: &N| number.to_string() == digits)
}

pub(crate) fn journal(number: u64) -> String {
    format!("{JOURNAL}{number}")
}

pub(crate) fn journal_part(number: u64) -> String {
    format!("{JOURNAL}{number}{PART}")
}

pub(crate) fn damaged(number: u64, now: UnixTime) -> String {
    format!("{DAMAGED}{number}-{}", now.seconds())
}

/// The complete generations among `names`, the latest first.
pub(crate) fn journals(names: &[String]) -> Vec<(u64, String)> {
    let journal = |name: &String| match Name::parse(name) {
        Some(Name::Journal(number)) => Some((number, name.clone())),
        _ => None,
    };
    let mut journals: Vec<_> = names.iter().filter_map(journal).collect();
    journals.sort_unstable_by(|a, b| b.cmp(a));
    journals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_as_they_are_made() {
        let now = UnixTime::from_nanos(1_700_000_000_999_999_999);
        for (name, parsed) in [
            (journal(7), Some(Name::Journal(7))),
            (journal_part(u64::MAX), Some(Name::JournalPart(u64::MAX))),
            (damaged(6, now), Some(Name::Damaged(6, 1_700_000_000))),
            ("identity".to_owned(), Some(Name::Identity)),
            ("identity.part".to_owned(), Some(Name::IdentityPart)),
            ("lock".to_owned(), None),
            ("journal-".to_owned(), None),
            ("journal-+7".to_owned(), None),
            ("journal-07".to_owned(), None),
            ("journal-7.old".to_owned(), None),
            ("damaged-6".to_owned(), None),
        ] {
            assert_eq!(Name::parse(&name), parsed, "{name}");
        }
    }
}
