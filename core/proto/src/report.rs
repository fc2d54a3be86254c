//! A report as it is kept and passed on: the value under a client's name.

use crate::command::{At, Iamat};
use crate::time::{Difference, UnixTime};
use std::time::Duration;

/// What is kept of a client's newest report, beside its name and its effective time.
///
/// As bytes it is `server location time difference`, parted by single blanks. The order of those
/// bytes is the order of the fields one after another, since a blank sorts before anything a field
/// may hold; so a store that never looks inside a value orders two reports of one effective time as
/// the protocol asks: by receiving server, then location. Time and difference follow only so that
/// two servers can never hold different bytes and call them equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// The server that first heard it.
    pub server: &'a str,
    /// ISO 6709, as the client sent it.
    pub location: &'a str,
    /// POSIX seconds, as the client sent them.
    pub time: &'a str,
    /// The receiving server's clock less `time`, as that server printed it.
    pub difference: &'a str,
}

impl<'a> Report<'a> {
    /// Appends the report that `server` makes of `iamat` received at `received`.
    pub fn encode_received(server: &str, iamat: &Iamat<'_>, received: UnixTime, out: &mut Vec<u8>) {
        Self::encode_head(server, iamat, out);
        Difference::between(received, iamat.time).write(out);
    }

    /// Appends the report that an AT line carries, texts untouched.
    pub fn encode_relayed(at: &At<'_>, out: &mut Vec<u8>) {
        Self::encode_head(at.server, &at.report, out);
        out.extend_from_slice(at.difference_text.as_bytes());
    }

    fn encode_head(server: &str, iamat: &Iamat<'_>, out: &mut Vec<u8>) {
        for field in [server, iamat.location, iamat.time_text] {
            out.extend_from_slice(field.as_bytes());
            out.push(b' ');
        }
    }

    /// Reads what one of the `encode_` functions wrote; `None` for anything else, such as a peer may send: a control
    /// character in a field would become a line of its own in a client's answer. Fields that a later version
    /// appends are skipped here; they stay in the value that is stored and passed on.
    pub fn decode(value: &'a [u8]) -> Option<Self> {
        // Looked at to the end whatever is found, so that it is done many bytes at a time.
        if value.iter().fold(false, |control, byte| control | byte.is_ascii_control()) {
            return None;
        }
        let mut fields = std::str::from_utf8(value).ok()?.split(' ');
        let mut next = || fields.next().filter(|field| !field.is_empty());
        Some(Self { server: next()?, location: next()?, time: next()?, difference: next()? })
    }

    /// The location in what one of the `encode_` functions wrote, without a look at the rest.
    pub fn location_in(value: &'a [u8]) -> Option<&'a [u8]> {
        let mut fields = value.splitn(3, |&byte| byte == b' ');
        fields.nth(1)
    }

    /// Appends the AT line of this report, line feed included.
    pub fn write_at(&self, client: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"AT ");
        out.extend_from_slice(self.server.as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.difference.as_bytes());
        write_tail([client, self.location, self.time], out);
    }

    /// Appends the AT line that answers an IAMAT, line feed included: its own data, whatever is known.
    pub fn write_received(
        server: &str,
        difference: Difference,
        iamat: &Iamat<'_>,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(b"AT ");
        out.extend_from_slice(server.as_bytes());
        out.push(b' ');
        difference.write(out);
        write_tail([iamat.client, iamat.location, iamat.time_text], out);
    }
}

fn write_tail(fields: [&str; 3], out: &mut Vec<u8>) {
    for field in fields {
        out.push(b' ');
        out.extend_from_slice(field.as_bytes());
    }
    out.push(b'\n');
}

/// The time by which a report is ordered: what the client claims, but at most `skew_max` ahead of the
/// clock of the server that received it. Every server computes the same from the same AT line.
pub fn effective_time(claimed: UnixTime, difference: Difference, skew_max: Duration) -> UnixTime {
    let skew_max = i64::try_from(skew_max.as_nanos()).unwrap_or(i64::MAX);
    let over = difference.nanos().saturating_add(skew_max).min(0);
    UnixTime::from_nanos(claimed.nanos().saturating_add(over))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use proptest::prelude::*;

    #[test]
    fn a_report_becomes_the_same_at_line_everywhere() {
        let line = b"IAMAT kiwi.example +34.068930-118.445127 1520023934.918963997";
        let Command::Iamat(iamat) = Command::parse(line) else { panic!() };
        let received = UnixTime::parse("1520023935.182837383").unwrap();
        let mut value = Vec::new();
        Report::encode_received("Hill", &iamat, received, &mut value);
        let mut at_line = Vec::new();
        Report::decode(&value).unwrap().write_at("kiwi.example", &mut at_line);
        assert_eq!(
            String::from_utf8(at_line.clone()).unwrap(),
            "AT Hill +0.263873386 kiwi.example +34.068930-118.445127 1520023934.918963997\n"
        );
        let Command::At(at) = Command::parse(at_line.trim_ascii_end()) else { panic!() };
        let mut relayed = Vec::new();
        Report::encode_relayed(&at, &mut relayed);
        assert_eq!(relayed, value);
        assert_eq!(Report::location_in(&value), Some(b"+34.068930-118.445127".as_slice()));
        assert_eq!(Report::location_in(b"Hill"), None);
    }

    #[test]
    fn fields_of_a_later_version_are_skipped() {
        let value = b"Hill +34.068930-118.445127 1520023934.918963997 +0.263873386";
        let longer = [value.as_slice(), b" speed=3 heading=270"].concat();
        assert_eq!(Report::decode(&longer), Report::decode(value));
        assert!(Report::decode(value).is_some());
    }

    #[test]
    fn only_times_too_far_ahead_are_clamped() {
        let minute = Duration::from_mins(1);
        for (claimed, received, effective) in
            [(100, 100, 100), (100, 500, 100), (160, 100, 160), (161, 100, 160), (999, 100, 160)]
        {
            let at = |seconds: i64| UnixTime::from_nanos(seconds * 1_000_000_000);
            let difference = Difference::between(at(received), at(claimed));
            assert_eq!(effective_time(at(claimed), difference, minute), at(effective));
        }
        let end = UnixTime::from_nanos(i64::MAX);
        let difference = Difference::between(UnixTime::default(), end);
        assert_eq!(effective_time(end, difference, minute).seconds(), 60);
    }

    proptest! {
        #[test]
        fn bytes_order_as_server_then_location(
            a in ("[A-Z]{1,3}", "[+-][0-9]{1,2}"), b in ("[A-Z]{1,3}", "[+-][0-9]{1,2}"),
        ) {
            let bytes = |(server, location): &(String, String)| {
                format!("{server} {location} 1 +0.000000000").into_bytes()
            };
            prop_assert_eq!(bytes(&a).cmp(&bytes(&b)), a.cmp(&b));
        }

        #[test]
        fn any_bytes_are_a_report_or_none(value in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(report) = Report::decode(&value) {
                let mut line = Vec::new();
                report.write_at("kiwi", &mut line);
                prop_assert_eq!(line.iter().position(|&byte| byte == b'\n'), Some(line.len() - 1));
            }
        }
    }
}
