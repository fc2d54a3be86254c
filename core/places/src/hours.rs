//! Whether a place is open, from an OpenStreetMap `opening_hours` expression.
//!
//! Only central European time is known, because only places there come with hours. Sunrise and sunset
//! count as fixed hours. What cannot be parsed or is not decided by the expression is left open: a
//! wrong "closed" is worse than none.
//!
//! Source: <https://wiki.openstreetmap.org/wiki/Key:opening_hours/specification>.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, TimeDelta};
use opening_hours::localization::Country;
use opening_hours::{Context, OpeningHours, RuleKind};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Parsed expressions, each parsed when it is first asked for.
#[derive(Debug)]
pub(crate) struct HoursBook {
    expressions: BTreeMap<String, OnceLock<Option<OpeningHours>>>,
    context: Context,
}

impl HoursBook {
    /// Knows `expressions`; empty ones and repetitions are welcome.
    pub(crate) fn new<'a>(expressions: impl Iterator<Item = &'a str>) -> Self {
        let expressions: BTreeMap<_, _> = expressions
            .filter(|text| !text.is_empty())
            .map(|text| (text.to_owned(), OnceLock::new()))
            .collect();
        let mut context = Context::default();
        if !expressions.is_empty() {
            // The holidays of the one country whose places have hours. Unpacks those of all countries.
            context = context.with_holidays(Country::MT.holidays());
        }
        Self { expressions, context }
    }

    /// Whether `expression` says open at `unix_s`; `None` if it does not say, is unknown here, or the
    /// time lies outside the calendar.
    pub(crate) fn is_open(&self, expression: &str, unix_s: i64) -> Option<bool> {
        let parsed = self.expressions.get(expression)?.get_or_init(|| {
            let parsed: OpeningHours = expression.parse().ok()?;
            Some(parsed.with_context(self.context.clone()))
        });
        match parsed.as_ref()?.state(central_european(unix_s)?).0 {
            RuleKind::Open => Some(true),
            RuleKind::Closed => Some(false),
            RuleKind::Unknown => None,
        }
    }
}

/// What a clock on the wall in Malta shows: UTC+1, and UTC+2 from 01:00 UTC on the last Sunday of
/// March to 01:00 UTC on the last Sunday of October (Directive 2000/84/EC, articles 2 and 3).
fn central_european(unix_s: i64) -> Option<NaiveDateTime> {
    let utc = DateTime::from_timestamp(unix_s, 0)?.naive_utc();
    let changes_at = |month| {
        let last_day = NaiveDate::from_ymd_opt(utc.year(), month, 31)?;
        let since_sunday = last_day.weekday().num_days_from_sunday();
        last_day.checked_sub_days(Days::new(since_sunday.into()))?.and_hms_opt(1, 0, 0)
    };
    let is_summer = (changes_at(3)?..changes_at(10)?).contains(&utc);
    utc.checked_add_signed(TimeDelta::hours(if is_summer { 2 } else { 1 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_central_european_time() {
        for (unix_s, local) in [
            (1_704_067_200, "2024-01-01T01:00:00"),
            (1_711_846_799, "2024-03-31T01:59:59"),
            (1_711_846_800, "2024-03-31T03:00:00"),
            (1_729_990_799, "2024-10-27T02:59:59"),
            (1_729_990_800, "2024-10-27T02:00:00"),
        ] {
            let got =
                central_european(unix_s).map(|time| time.format("%Y-%m-%dT%H:%M:%S").to_string());
            assert_eq!(got.as_deref(), Some(local), "{unix_s}");
        }
        assert_eq!(central_european(i64::MAX), None);
        assert_eq!(central_european(i64::MIN), None);
    }

    #[test]
    fn says_open_closed_or_nothing() {
        let monday_noon = 1_704_106_800 + 7 * 86_400;
        check("24/7", monday_noon, Some(true));
        check("Mo-Fr 09:00-17:00", monday_noon, Some(true));
        check("Mo-Fr 09:00-17:00", monday_noon - 86_400, Some(false));
        check("Tu-Su 12:00-15:00", monday_noon, Some(false));
        check("Su 20:00-28:00", monday_noon - 11 * 3600, Some(true));
        // The first of January is a holiday in Malta.
        check("Mo-Fr 09:00-17:00; PH off", 1_704_106_800, Some(false));
        check("Mo-Su 09:00-17:00 unknown", monday_noon, None);
        check("whenever we like", monday_noon, None);
        check("", monday_noon, None);
        check("24/7", i64::MAX, None);
    }

    #[track_caller]
    fn check(expression: &str, unix_s: i64, expected: Option<bool>) {
        let book = HoursBook::new([expression].into_iter());
        assert_eq!(book.is_open(expression, unix_s), expected, "{expression}");
    }
}
