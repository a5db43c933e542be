//! Asks the user to confirm a command that cannot be undone.

use lastmile_cli_support::Output;
use serde_json::Value;

use super::context::Context;
use crate::Error;

/// How the user confirms a command: by answering a question, or in advance with `--yes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confirmation {
    Ask,
    Given,
}

impl Confirmation {
    /// Shows the changes that the user is asked to confirm. `--quiet` hides the changes only if the user also gave
    /// `--yes`.
    pub(super) fn show(self, json: &Value, text: &str, output: &Output) -> Result<(), Error> {
        match self {
            Self::Ask => output.data_text(json, text)?,
            Self::Given => output.report(json, text.lines())?,
        }
        Ok(())
    }

    /// Asks `question`, unless the user gave `--yes`. A dry run does not ask, but fails if there is neither a
    /// terminal nor `--yes`, because the real command would also fail.
    ///
    /// # Errors
    /// Returns [`Error::Failed`] with the text `refusal` if the answer is not `yes`. Returns [`Error::Usage`] if there
    /// is no terminal, or if the answer cannot be read.
    pub(super) fn require(
        self,
        context: &Context<'_>,
        question: &str,
        refusal: &str,
        output: &Output,
    ) -> Result<(), Error> {
        if self == Self::Given {
            return Ok(());
        }
        if !context.stdin_is_terminal {
            return Err(Error::Usage(format!("{refusal}: no terminal to ask for confirmation; add --yes to confirm")));
        }
        if context.run().is_dry() {
            return Ok(());
        }
        output.question(&format!("{question} Type yes:"));
        let mut answer = String::new();
        let read = context.stdin().read_line(&mut answer);
        read.map_err(|error| Error::Usage(format!("cannot read an answer: {error}")))?;
        match answer.trim() {
            "yes" => Ok(()),
            _ => Err(Error::Failed(refusal.to_string())),
        }
    }
}
