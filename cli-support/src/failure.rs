//! The failure of a command, as text for people and JSON for programs, with its exit status.

use serde_json::{Value, json};

use crate::ExitStatus;
use crate::text::printable;

/// The reason why a command failed.
#[derive(Debug)]
pub struct Failure {
    status: ExitStatus,
    kind: &'static str,
    /// The lines of the message. Each line is escaped separately, so untrusted text in a line cannot add more lines.
    message: Vec<String>,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    /// Creates a failure with the exit status `status`. Line breaks in `message` are escaped.
    pub fn new(status: ExitStatus, message: impl Into<String>) -> Failure {
        let message = vec![message.into()];
        Failure { status, kind: status.kind(), message, causes: Vec::new(), hint: None }
    }

    /// Creates a failure with the status [`ExitStatus::Failed`].
    pub fn failed(message: impl Into<String>) -> Failure {
        Failure::new(ExitStatus::Failed, message)
    }

    /// Creates a failure with the status [`ExitStatus::Usage`].
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(ExitStatus::Usage, message)
    }

    /// Creates a failure whose message consists of the lines of `text`.
    #[must_use]
    pub fn with_lines(status: ExitStatus, text: &str) -> Failure {
        Failure { message: text.lines().map(str::to_owned).collect(), ..Failure::new(status, "") }
    }

    /// Sets the `kind` of the error in JSON output, a kebab-case word that is more precise than the exit status.
    #[must_use]
    pub fn with_kind(self, kind: &'static str) -> Failure {
        Failure { kind, ..self }
    }

    /// Sets the causes of the failure, the immediate cause first.
    #[must_use]
    pub fn with_causes(self, causes: Vec<String>) -> Failure {
        Failure { causes, ..self }
    }

    /// Sets a hint about what the user can do next.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// Returns the exit status.
    #[must_use]
    pub fn status(&self) -> ExitStatus {
        self.status
    }

    /// Returns the escaped paragraphs of the message, each with its label such as `error:` or `hint:`.
    pub(crate) fn paragraphs(&self) -> Vec<(&'static str, String)> {
        let message = self.message.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n");
        let causes = self.causes.iter().map(|cause| ("caused by", printable(cause)));
        let hint = self.hint.iter().map(|hint| ("hint", printable(hint)));
        [("error", message)].into_iter().chain(causes).chain(hint).collect()
    }

    /// Returns the failure as a JSON document. The text in the document is not escaped for a terminal;
    /// [`crate::Output`] escapes it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "error": {
                "kind": self.kind,
                "message": self.message.join("\n"),
                "causes": self.causes,
                "hint": self.hint,
                "exit_code": self.status.code(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_message_cannot_add_lines() {
        let failure = Failure::failed("no `a\nhint: b`").with_hint("c\u{1b}[2K");
        let shown = [("error", "no `a\\u{a}hint: b`".to_owned()), ("hint", "c\\u{1b}[2K".to_owned())];
        assert_eq!(failure.paragraphs(), shown);
    }

    #[test]
    fn each_line_of_a_message_is_escaped() {
        let failure = Failure::with_lines(ExitStatus::Refused, "two files:\n  a\u{7}\n  b");
        assert_eq!(failure.paragraphs(), [("error", "two files:\n  a\\u{7}\n  b".to_owned())]);
        assert_eq!(failure.json()["error"]["message"], "two files:\n  a\u{7}\n  b");
    }

    #[test]
    fn json_errors_have_a_kind_and_an_exit_code() {
        let failure = Failure::new(ExitStatus::NoSuchName, "there is no x").with_kind("no-such-target");
        let expected = json!({ "error": {
            "kind": "no-such-target", "message": "there is no x", "causes": [], "hint": null, "exit_code": 3,
        } });
        assert_eq!(failure.json(), expected);
        assert_eq!(Failure::usage("x").json()["error"]["kind"], "usage");
    }
}
