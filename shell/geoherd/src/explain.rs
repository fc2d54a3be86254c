//! Why a server answered `?`: which operand of a command is wrong, and what it should look like.
//!
//! The rules themselves stand in `herd-proto` alone. An operand is wrong if the command is still none
//! after all the others were replaced by ones that are right.

use herd_proto::Command;
use herd_server::config::nearest;

/// A command as people are told about it.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) word: &'static str,
    pub(crate) operands: &'static [Operand],
    pub(crate) about: &'static str,
}

/// An operand of a command.
#[derive(Debug)]
pub(crate) struct Operand {
    pub(crate) name: &'static str,
    /// One that is right.
    example: &'static str,
    /// What it must be.
    rule: &'static str,
}

const CLIENT: Operand = Operand {
    name: "CLIENT",
    example: "kiwi.example",
    rule: "a name of 1 to 255 bytes without white space or control characters",
};
const LOCATION: Operand = Operand {
    name: "LOCATION",
    example: "+34.068930-118.445127",
    rule: "latitude and longitude, each with its sign, within ±90 and ±180 degrees",
};
const TIME: Operand = Operand {
    name: "TIME",
    example: "1520023934.918963997",
    rule: "seconds since 1970 with at most nine digits after the point, or `now` in an IAMAT",
};

/// All commands.
pub(crate) const FORMS: [Form; 3] = [
    Form { word: "IAMAT", operands: &[CLIENT, LOCATION, TIME], about: "say where a client is" },
    Form {
        word: "WHATSAT",
        operands: &[
            CLIENT,
            Operand {
                name: "RADIUS",
                example: "10",
                rule: "kilometers, 0 to 50, without a sign; a fraction may follow a point",
            },
            Operand {
                name: "BOUND",
                example: "5",
                rule: "how many places at most, a whole number from 0 to 20",
            },
        ],
        about: "ask where a client is and what is near it",
    },
    Form {
        word: "AT",
        operands: &[
            Operand {
                name: "SERVER",
                example: "Hill",
                rule: "a name of 1 to 255 bytes without white space or control characters",
            },
            Operand {
                name: "DIFFERENCE",
                example: "+0.263873386",
                rule: "seconds between the client's time and the server's, with a sign",
            },
            CLIENT,
            LOCATION,
            TIME,
        ],
        about: "pass on what a server heard, as servers do",
    },
];

impl Form {
    /// The command with operands that are right.
    pub(crate) fn example(&self) -> String {
        self.joined(|operand| operand.example)
    }

    /// The command with the names of its operands.
    pub(crate) fn usage(&self) -> String {
        self.joined(|operand| operand.name)
    }

    fn joined(&self, part: impl Fn(&Operand) -> &'static str) -> String {
        let operands = self.operands.iter().flat_map(|operand| [" ", part(operand)]);
        std::iter::once(self.word).chain(operands).collect()
    }
}

/// The fields of a line, parted as the protocol parts them.
pub(crate) fn fields(line: &str) -> Vec<&str> {
    line.split([' ', '\t', '\r', '\u{b}', '\u{c}']).filter(|field| !field.is_empty()).collect()
}

/// Why a server refused `line`, and what to do; never empty.
pub(crate) fn explain(line: &str) -> String {
    let fields = fields(line);
    let Some((word, operands)) = fields.split_first() else {
        return "the command is empty".to_owned();
    };
    let Some(form) = FORMS.iter().find(|form| form.word == *word) else {
        return explain_word(word);
    };
    // The protocol echoes that many bytes of a line that is too long, and these marks.
    if line.ends_with(" ...") && line.len() == herd_proto::TOO_LONG_ECHO_BYTES + " ...".len() {
        return "the line is longer than the server reads (limits.max_line_bytes)".to_owned();
    }
    match Command::parse(line.as_bytes()) {
        Command::Whatsat(whatsat) => format!(
            "no server has told this one where {} is; report it first: IAMAT {} {} now",
            whatsat.client, whatsat.client, LOCATION.example
        ),
        Command::At(_) => {
            "this server takes AT lines from its neighbors alone (limits.accept_at_from)".to_owned()
        }
        Command::Iamat(_) | Command::Blank => {
            "the command looks right; the server may keep to other rules than ours".to_owned()
        }
        Command::Unknown => explain_operands(form, operands),
    }
}

fn explain_word(word: &str) -> String {
    let words = || FORMS.iter().map(|form| form.word);
    let upper = word.to_uppercase();
    if words().any(|known| known == upper) {
        return format!("command words are upper case: {upper}");
    }
    let known = words().collect::<Vec<_>>().join(", ");
    match nearest(word, words()) {
        Some(meant) => format!("{word:?} is no command; did you mean {meant}?"),
        None => format!("{word:?} is no command; the commands are {known}"),
    }
}

fn explain_operands(form: &Form, operands: &[&str]) -> String {
    let example = form.example();
    if let Some(flag) = operands.iter().find(|operand| operand.starts_with("--")) {
        return format!("{flag} was sent as part of the command; flags stand before it");
    }
    if operands.len() != form.operands.len() {
        let (usage, count) = (form.usage(), form.operands.len());
        let given = operands.len();
        return format!("{usage} has {count} operands, not {given}; for example {example}");
    }
    let wrong = operands.iter().zip(form.operands).enumerate().find(|(index, (given, _))| {
        let right = form.operands.iter().map(|operand| operand.example);
        let line: String = std::iter::once(form.word)
            .chain(right.enumerate().map(|(at, right)| if at == *index { given } else { right }))
            .flat_map(|field| [field, " "])
            .collect();
        Command::parse(line.as_bytes()) == Command::Unknown
    });
    match wrong {
        Some((_, (given, operand))) => {
            let Operand { name, rule, .. } = operand;
            format!("{given:?} is no {name}: {rule}; for example {example}")
        }
        None => format!("the line is not UTF-8, or its operands do not fit; for example {example}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_right() {
        for form in &FORMS {
            assert_ne!(Command::parse(form.example().as_bytes()), Command::Unknown, "{form:?}");
        }
    }

    #[test]
    fn the_wrong_operand_is_named() {
        check("IAMAT kiwi 34.0-118.4 1", "\"34.0-118.4\" is no LOCATION: latitude");
        check("IAMAT kiwi +91-118.4 1", "\"+91-118.4\" is no LOCATION");
        check("IAMAT kiwi +34-118.4 1e3", "\"1e3\" is no TIME");
        check("WHATSAT kiwi 51 5", "\"51\" is no RADIUS: kilometers, 0 to 50");
        check("WHATSAT kiwi 10 21", "\"21\" is no BOUND");
        check("AT Hill 0.1 kiwi +34-118.4 1", "\"0.1\" is no DIFFERENCE");
        check("IAMAT a\u{1}b +34-118.4 1", "\"a\\u{1}b\" is no CLIENT");
    }

    #[test]
    fn operands_are_counted() {
        check("WHATSAT kiwi 10", "WHATSAT CLIENT RADIUS BOUND has 3 operands, not 2; for example");
        check("IAMAT kiwi +1+2 3 --server x", "--server was sent as part of the command");
    }

    #[test]
    fn words_are_seen_through() {
        check("iamat kiwi +1+2 3", "command words are upper case: IAMAT");
        check("WHATAT kiwi 1 2", "\"WHATAT\" is no command; did you mean WHATSAT?");
        check("HELLO", "\"HELLO\" is no command; the commands are IAMAT, WHATSAT, AT");
        check("", "the command is empty");
    }

    #[test]
    fn what_is_right_was_refused_for_another_reason() {
        check("WHATSAT kiwi 10 5", "no server has told this one where kiwi is; report it first");
        check("AT Hill +0.1 kiwi +34-118.4 1", "this server takes AT lines from its neighbors");
        check("IAMAT kiwi +34-118.4 1", "the command looks right");
        let long = format!("IAMAT {} ...", "x".repeat(74));
        check(&long, "the line is longer than the server reads");
    }

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let explained = explain(line);
        assert!(explained.starts_with(expected), "{line:?}: {explained}");
    }
}
