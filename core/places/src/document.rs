//! The answer: a JSON document in the form of Google's legacy Nearby Search, already printed.

use crate::print::Printer;

/// A printed answer, without a newline at its end and never with two newlines in a row, so that it
/// can be framed by an empty line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    text: String,
    status: Status,
}

impl Document {
    /// The answer that there is nothing: no results, `ZERO_RESULTS`.
    pub fn empty() -> Self {
        Self::without_results(Status::ZeroResults, None)
    }

    /// The answer that the question could not be answered: no results, `status`, and
    /// `error_message`, which is for people and reaches clients: it must hold no secret.
    pub fn failure(status: Status, error_message: &str) -> Self {
        Self::without_results(status, Some(error_message))
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What the document's `status` member says.
    pub fn status(&self) -> Status {
        self.status
    }

    pub(crate) fn from_parts(text: String, status: Status) -> Self {
        Self { text, status }
    }

    fn without_results(status: Status, error_message: Option<&str>) -> Self {
        let mut printer = Printer::default();
        printer.begin_object();
        if let Some(message) = error_message {
            printer.key("error_message");
            printer.string(message);
        }
        printer.key("html_attributions");
        printer.empty_array();
        printer.key("results");
        printer.empty_array();
        printer.key("status");
        printer.string(status.as_str());
        printer.end_object();
        Self { text: printer.finish(), status }
    }
}

/// How a question went, in Google's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// There are results.
    Ok,
    /// The question was answered; nothing is there.
    ZeroResults,
    /// The provider did not understand the question.
    InvalidRequest,
    /// Too many questions: the provider's quota or our own limit.
    OverQueryLimit,
    /// The provider refuses us: key missing, wrong, or without this right.
    RequestDenied,
    /// The provider failed, could not be reached, or said something that is no answer.
    UnknownError,
    /// The provider used a word that is not among these; the document has it as it came.
    Other,
}

impl Status {
    /// The word as it stands in a document. `Other` has none of its own and reads `UNKNOWN_ERROR`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::ZeroResults => "ZERO_RESULTS",
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::OverQueryLimit => "OVER_QUERY_LIMIT",
            Self::RequestDenied => "REQUEST_DENIED",
            Self::UnknownError | Self::Other => "UNKNOWN_ERROR",
        }
    }

    pub(crate) fn from_word(word: &str) -> Self {
        match word {
            "OK" => Self::Ok,
            "ZERO_RESULTS" => Self::ZeroResults,
            "INVALID_REQUEST" => Self::InvalidRequest,
            "OVER_QUERY_LIMIT" => Self::OverQueryLimit,
            "REQUEST_DENIED" => Self::RequestDenied,
            "UNKNOWN_ERROR" => Self::UnknownError,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_google_does() {
        assert_eq!(
            Document::empty().as_str(),
            "{\n   \"html_attributions\" : [],\n   \"results\" : [],\n   \"status\" : \"ZERO_RESULTS\"\n}"
        );
        assert_eq!(
            Document::failure(Status::OverQueryLimit, "a \"quota\"\nis used up").as_str(),
            "{\n   \"error_message\" : \"a \\\"quota\\\"\\nis used up\",\n   \"html_attributions\" : [],\n   \
             \"results\" : [],\n   \"status\" : \"OVER_QUERY_LIMIT\"\n}"
        );
    }
}
