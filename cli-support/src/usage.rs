//! The output of the command line parser: help and versions are data, everything else is a usage error.

use std::ffi::OsString;
use std::io::Write as _;

use clap::builder::StyledStr;
use clap::error::ErrorKind;

use crate::text::hide_possible_credentials;
use crate::{ExitStatus, Failure, Output, OutputOptions, World};

/// Prints the parser's help, version or error for `args`, and returns the exit status.
#[must_use]
pub fn usage(error: &clap::Error, args: &[OsString], mut world: World) -> ExitStatus {
    let colours = world.wants_colours();
    let shown = |text: &StyledStr, is_terminal| {
        let text = if colours && is_terminal { text.ansi().to_string() } else { text.to_string() };
        hide_credentials_of_words(&text)
    };
    let text = error.render();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let shown = shown(&text, world.stdout_is_terminal);
        let output = Output::new(&mut world, OutputOptions::default());
        return match output.raw(shown.as_bytes()) {
            Ok(()) => ExitStatus::Done,
            Err(error) => output.failure(&error.into()),
        };
    }
    // An error is ignored, because there is nowhere to report it.
    drop(write!(world.stderr, "{}", shown(&text, world.stderr_is_terminal)));
    if !asks_for_json(args) {
        return ExitStatus::Usage;
    }
    world.stderr = Box::new(std::io::sink());
    let output = Output::new(&mut world, OutputOptions { json: true, ..OutputOptions::default() });
    output.failure(&Failure::with_lines(ExitStatus::Usage, message(&shown(&text, false))))
}

/// Hides what may be a user name and a password in an argument that the parser's error quotes.
fn hide_credentials_of_words(text: &str) -> String {
    let words = text.split_inclusive([' ', '\n', '\'', '`', '"']);
    words
        .map(|word| match word.rsplit_once('@') {
            Some((before, _)) if before.contains(':') => hide_possible_credentials(word),
            _ => word.to_owned(),
        })
        .collect()
}

/// Returns the first paragraph of the parser's error, without the label.
fn message(text: &str) -> &str {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    text.split("\n\n").next().unwrap_or(text).trim_end()
}

/// Returns whether `--json` is among the arguments. The parser failed, so its result cannot be used.
fn asks_for_json(args: &[OsString]) -> bool {
    args.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json")
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use clap::{Arg, Command};
    use serde_json::Value;

    use super::*;
    use crate::Captured;

    fn ran(args: &[&str]) -> (ExitStatus, String, String) {
        let stdout = Captured::default();
        let stderr = Captured::default();
        let world = World {
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(stderr.clone()),
            ..World::isolated(DateTime::UNIX_EPOCH)
        };
        let args: Vec<OsString> = ["program"].iter().chain(args).map(OsString::from).collect();
        let error =
            Command::new("program").arg(Arg::new("file").required(true)).try_get_matches_from(&args).unwrap_err();
        (usage(&error, &args, world), stdout.take_text(), stderr.take_text())
    }

    #[test]
    fn help_is_data() {
        let (status, stdout, stderr) = ran(&["--help"]);
        assert_eq!((status, stderr.as_str()), (ExitStatus::Done, ""));
        assert!(stdout.contains("Usage: program <file>"), "{stdout}");
    }

    #[test]
    fn a_quoted_url_has_no_user_name_and_no_password() {
        for url in ["https://alice:secret@h/x", "alice:secret@h/x"] {
            let (_, stdout, stderr) = ran(&["--json", "x", url]);
            assert!(!stderr.contains("secret") && !stdout.contains("secret"), "{stdout}{stderr}");
        }
        let (_, _, stderr) = ran(&["x", "https://alice:secret@h/x"]);
        assert!(stderr.contains("'https://***@h/x'"), "{stderr}");
    }

    #[test]
    fn wrong_usage_is_json_too_if_it_was_asked_for() {
        let (status, stdout, stderr) = ran(&["--json", "x"]);
        assert_eq!(status, ExitStatus::Usage);
        assert!(stderr.starts_with("error: unexpected argument '--json' found\n"), "{stderr}");
        let document: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(document["error"]["message"], "unexpected argument '--json' found");
        assert_eq!(document["error"]["kind"], "usage");
        for without in [&["--x", "y"][..], &["--x", "--", "--json"]] {
            assert_eq!(ran(without).1, "");
        }
    }
}
