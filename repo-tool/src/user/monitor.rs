//! Reads the receivers of notifications from the user's configuration:
//!
//! ```toml
//! [monitor]
//! url = "https://hooks.example.org/…"                 # gets each notification as JSON with POST
//! command = ["/usr/local/bin/page-me", "--stdin"]    # gets each notification as JSON on its standard input
//! timeout-seconds = 10
//! ```

use std::time::Duration;

use toml_edit::{Item, Value};

use super::UserConfig;
use crate::report::notify::Receivers;
use crate::{ConfigError, Error};

/// The default time limit for each receiver, in seconds.
const LIMIT: i64 = 10;
/// The highest time limit, in seconds.
const MAX_LIMIT: i64 = 600;

impl UserConfig {
    /// Returns the receivers of notifications, or `None` if there is no section `[monitor]`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or if the section is invalid.
    pub(crate) fn receivers(&self) -> Result<Option<Receivers>, Error> {
        let document = self.read()?;
        let Some(section) = document.get("monitor") else { return Ok(None) };
        let invalid = |reason: &str| self.invalid(ConfigError::Monitor { reason: reason.to_string() });
        let section = section.as_table_like().ok_or_else(|| invalid("must be a table"))?;
        if let Some((name, _)) = section.iter().find(|(name, _)| !["url", "command", "timeout-seconds"].contains(name))
        {
            return Err(invalid(&format!("`{name}` is not a setting")));
        }
        let url = match section.get("url") {
            None => None,
            Some(url) => {
                let text = url.as_str().ok_or_else(|| invalid("url must be a string"))?;
                Some(text.parse().map_err(|reason: String| invalid(&format!("url: {reason}")))?)
            }
        };
        let command = match section.get("command") {
            None => Vec::new(),
            Some(command) => {
                let list = command.as_array().filter(|list| !list.is_empty());
                let words = list.and_then(|list| list.iter().map(Value::as_str).collect::<Option<Vec<&str>>>());
                let words = words.filter(|words| words.first().is_some_and(|program| program.starts_with('/')));
                let message = "command must be a list of strings that begins with the absolute path of a program";
                words.ok_or_else(|| invalid(message))?.into_iter().map(ToString::to_string).collect()
            }
        };
        if url.is_none() && command.is_empty() {
            return Err(invalid("needs url or command"));
        }
        let seconds = section.get("timeout-seconds").map_or(Some(LIMIT), Item::as_integer);
        let seconds = seconds.filter(|seconds| (1..=MAX_LIMIT).contains(seconds));
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let limit = seconds.ok_or_else(|| invalid("timeout-seconds must be a number from 1 to 600"))?;
        Ok(Some(Receivers { url, command, limit: Duration::from_secs(limit) }))
    }
}
