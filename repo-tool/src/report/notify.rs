//! Notifications about changes in the state of a repository. A notification is sent to a URL, to a program, or to both,
//! as the user has configured.
//!
//! The state that was last reported to each receiver is stored on disk. Therefore only changes are reported, and a
//! failed delivery is retried at the next run. A notification contains neither the locations of keys nor credentials.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lastmile_client::text::printable;
use lastmile_client::{FetchError, HttpFetch, HttpSettings, PostUrl, post_json};
use lastmile_metadata::format_time;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::chain;
use crate::files::own;
use crate::report::child;
use crate::report::overview::{Overview, Problem, state_name};
use crate::report::served_status::plain;
use crate::{Error, NetworkError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receivers {
    pub(crate) url: Option<PostUrl>,
    /// A program and its arguments. The program reads the notification from standard input.
    pub(crate) command: Vec<String>,
    /// The time limit for each receiver.
    pub(crate) limit: Duration,
}

/// The state that was last reported to a receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    state: String,
    /// The text that [`identity`] returns for each problem.
    problems: Vec<String>,
}

impl Known {
    fn of(overview: &Overview) -> Self {
        let mut problems: Vec<String> = overview.problems.iter().map(identity).collect();
        problems.sort();
        problems.dedup();
        Self { state: state_name(overview.state()).to_string(), problems }
    }

    /// The state of a repository without problems. A new receiver has not been notified of any state yet, so the
    /// current state is compared with this one. A new receiver is therefore notified only once there is a problem.
    fn good() -> Self {
        Self { state: "OK".to_string(), problems: Vec::new() }
    }
}

/// Identifies a problem across runs. `Problem::text` is not suitable, because it may contain numbers that change.
fn identity(problem: &Problem) -> String {
    let Problem { kind, state, role, url, .. } = problem;
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{} {} {} {}", kind.name(), state_name(*state), part(role), part(url))
}

/// The state that was last reported to each receiver. There is one file for each repository. A receiver is identified
/// by the hash of its URL or command, because a URL may contain a secret.
struct ReportedStates {
    file: Option<PathBuf>,
    known: BTreeMap<String, Known>,
}

impl ReportedStates {
    fn read(state_dir: Option<&Path>, repository: &str) -> Result<Self, Error> {
        let name = own::name_of(repository);
        let file = state_dir.map(|state| state.join("notified").join(format!("{name}.json")));
        let text = file.as_deref().map(own::read).transpose()?.flatten();
        let known = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Ok(Self { file, known })
    }

    fn write(&self) -> Result<(), Error> {
        self.file.as_deref().map_or(Ok(()), |file| own::write_json(file, &self.known))
    }
}

/// Sends a notification to each receiver that has not been notified of the current state yet. Returns a description of
/// each failed delivery.
///
/// # Errors
/// Returns an error if the stored state cannot be read or written.
pub(crate) fn notify(
    overview: &Overview,
    receivers: &Receivers,
    state_dir: Option<&Path>,
) -> Result<Vec<String>, Error> {
    let mut memory = ReportedStates::read(state_dir, &overview.repository)?;
    let now = Known::of(overview);
    let mut failures = Vec::new();
    let mut deliver = |receiver: String, send: &dyn Fn(String) -> Result<(), String>| {
        let before = memory.known.get(&receiver).cloned().unwrap_or_else(Known::good);
        if before == now {
            return;
        }
        match send(document(overview, &before, &now).to_string()) {
            Ok(()) => drop(memory.known.insert(receiver, now.clone())),
            Err(reason) => failures.push(reason),
        }
    };
    if let Some(url) = &receivers.url {
        deliver(format!("url {}", own::name_of(url.as_str())), &|body| {
            post(url, body, receivers.limit)
                .map_err(|error| format!("the notification to {url} failed: {}", chain(&error)))
        });
    }
    if let Some((program, arguments)) = receivers.command.split_first() {
        deliver(format!("command {}", own::name_of(&receivers.command.join("\0"))), &|body| {
            let ran = child::run(Path::new(program), arguments, body.as_bytes(), receivers.limit);
            ran.map_err(|reason| format!("the notification through `{program}` failed: {reason}"))
        });
    }
    memory.write()?;
    Ok(failures)
}

fn post(url: &PostUrl, body: String, limit: Duration) -> Result<(), Error> {
    // Do not follow redirects, because the notification must not be sent to another server.
    let settings = HttpSettings { redirects: 0, connect_timeout: limit, ..HttpSettings::default() };
    let fetch = HttpFetch::new(&settings).map_err(|error| NetworkError::Setup(error.into()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(NetworkError::Runtime)?;
    let posted: Result<(), FetchError> = runtime.block_on(post_json(&fetch, url, body, limit));
    Ok(posted.map_err(NetworkError::Fetch)?)
}

/// Returns the notification as JSON. The member `text` is a summary, because many chat services show a member of this
/// name as the message.
fn document(overview: &Overview, before: &Known, now: &Known) -> Value {
    let resolved = before.problems.iter().filter(|problem| !now.problems.contains(problem));
    let problem = |problem: &Problem| Problem { text: without_markup(&problem.text), ..problem.clone() }.json();
    let text = format!("{}: {}: {}", overview.repository, now.state, overview.reasons().join("; "));
    json!({
        "schema": 1,
        "repository": overview.repository,
        "state": now.state,
        "previous_state": before.state,
        "checked": format_time(&overview.checked),
        "up": overview.is_up,
        "problems": overview.problems.iter().map(problem).collect::<Vec<_>>(),
        "resolved": resolved.map(|problem| without_markup(problem)).collect::<Vec<_>>(),
        "text": without_markup(&text),
    })
}

/// Returns text that chat services do not interpret as mark-up. This is necessary because an untrusted server can
/// choose parts of an error message.
fn without_markup(text: &str) -> String {
    plain(&printable(text).replace('`', "'").replace("](", "] ("))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use lastmile_cli_support::MonitorState;

    use super::*;
    use crate::report::overview::ProblemKind;

    fn overview(is_up: bool, problem: Problem) -> Overview {
        let repository = "r".to_string();
        Overview { repository, checked: DateTime::UNIX_EPOCH, is_up, roles: Vec::new(), problems: vec![problem] }
    }

    #[test]
    fn a_new_receiver_gets_the_current_state() {
        let folder = tempfile::tempdir().unwrap();
        let problem = Problem::new(MonitorState::Warning, ProblemKind::Pending, "a change is pending");
        let overview = overview(true, problem);
        for name in ["one", "other", "one"] {
            let file = folder.path().join(name);
            let script = format!("cat >> '{}'", file.display());
            let command = ["/bin/sh", "-c", &script].map(ToString::to_string).to_vec();
            let receivers = Receivers { url: None, command, limit: Duration::from_secs(60) };
            assert_eq!(notify(&overview, &receivers, Some(folder.path())).unwrap(), [""; 0]);
            let sent = std::fs::read_to_string(&file).unwrap();
            assert_eq!(sent.matches("previous_state").count(), 1, "{sent}");
        }
    }

    #[test]
    fn texts_contain_neither_unprintable_characters_nor_markup() {
        let problem =
            Problem::new(MonitorState::Critical, ProblemKind::Unverified, "bad\u{202e}\u{1b}<!channel> [a](https://b)");
        let overview = overview(false, problem);
        let before = Known { problems: vec!["old\u{202e}".to_string()], ..Known::good() };
        let sent = document(&overview, &before, &Known::of(&overview));
        assert_eq!(sent["text"], "r: CRITICAL: bad\\u{202e}\\u{1b}?!channel? [a] (https://b)");
        assert_eq!(sent["problems"][0]["text"], "bad\\u{202e}\\u{1b}?!channel? [a] (https://b)");
        assert_eq!(sent["resolved"], json!(["old\\u{202e}"]));
    }
}
