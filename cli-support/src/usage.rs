//! The output of the command-line parser. The help and the version go to standard output; all other messages are usage
//! errors.

use std::ffi::OsString;
use std::io::Write as _;

use clap::builder::StyledStr;
use clap::error::ErrorKind;
use lastmile_metadata::is_unprintable;

use crate::text::{hide_possible_credentials, printable, printable_lines};
use crate::{ExitStatus, Failure, Output, OutputOptions, World};

/// Prints the parser's help, version or error for `args`, and returns the exit status.
#[must_use]
pub fn usage(error: &clap::Error, args: &[OsString], mut world: World) -> ExitStatus {
    let is_clean = !args.iter().any(|argument| argument.to_string_lossy().contains(is_unprintable));
    let colours = world.wants_colours() && is_clean;
    let text = escaped(&error.render(), args);
    let shown = |is_terminal| {
        if colours && is_terminal {
            return hide_credentials_of_words(&text.ansi().to_string());
        }
        hide_credentials_of_words(&printable_lines(&text.to_string()))
    };
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let shown = shown(world.stdout_is_terminal);
        let output = Output::new(&mut world, OutputOptions::default());
        return match output.raw(shown.as_bytes()) {
            Ok(()) => ExitStatus::Done,
            Err(error) => output.failure(&error.into()),
        };
    }
    // Ignore errors, because there is nowhere to report them.
    drop(write!(world.stderr, "{}", shown(world.stderr_is_terminal)));
    if !asks_for_json(args) {
        return ExitStatus::Usage;
    }
    world.stderr = Box::new(std::io::sink());
    let output = Output::new(&mut world, OutputOptions { json: true, ..OutputOptions::default() });
    output.failure(&Failure::with_lines(ExitStatus::Usage, message(&shown(false))))
}

/// Escapes the arguments quoted in the parser's message. Such arguments may contain line breaks, or control characters
/// that look like the parser's own styling.
fn escaped(text: &StyledStr, args: &[OsString]) -> StyledStr {
    let mut styled = text.ansi().to_string();
    for argument in args {
        let argument = argument.to_string_lossy();
        // The parser quotes either the whole argument or the value in it, as in `--name=VALUE` or `-nVALUE`.
        let value = argument.split_once('=').map(|(_, value)| value);
        let attached = argument.char_indices().nth(2).and_then(|(at, _)| argument.get(at..));
        for quoted in [Some(&*argument), value, attached].into_iter().flatten() {
            if quoted.contains(is_unprintable) {
                styled = styled.replace(quoted, &printable(quoted));
            }
        }
    }
    StyledStr::from(styled)
}

/// Hides possible user names and passwords in arguments quoted in the parser's error.
fn hide_credentials_of_words(text: &str) -> String {
    let words = text.split_inclusive([' ', '\n', '\'', '`', '"']);
    words
        .map(|word| match word.rsplit_once('@') {
            Some((before, _)) if before.contains(':') => hide_possible_credentials(word),
            _ => word.to_owned(),
        })
        .collect()
}

/// Returns the first paragraph of the parser's error, without the label `error:`.
fn message(text: &str) -> &str {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    text.split("\n\n").next().unwrap_or(text).trim_end()
}

/// Returns whether `--json` is among the arguments. This function searches the raw arguments, because parsing has
/// failed.
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
    fn help_goes_to_standard_output() {
        let (status, stdout, stderr) = ran(&["--help"]);
        assert_eq!((status, stderr.as_str()), (ExitStatus::Done, ""));
        assert!(stdout.contains("Usage: program <file>"), "{stdout}");
    }

    #[test]
    fn a_quoted_url_hides_the_user_name_and_the_password() {
        for url in ["https://alice:secret@h/x", "alice:secret@h/x"] {
            let (_, stdout, stderr) = ran(&["--json", "x", url]);
            assert!(!stderr.contains("secret") && !stdout.contains("secret"), "{stdout}{stderr}");
        }
        let (_, _, stderr) = ran(&["x", "https://alice:secret@h/x"]);
        assert!(stderr.contains("'https://***@h/x'"), "{stderr}");
    }

    #[test]
    fn a_quoted_argument_cannot_control_the_terminal() {
        let hostile = "y\u{7}\u{1b}[2J\u{9b}2J\n\u{200b}\u{202e}z";
        let shown = "y\\u{7}\\u{1b}[2J\\u{9b}2J\\u{a}\\u{200b}\\u{202e}z'";
        for argument in [hostile, &format!("--{hostile}")] {
            let (_, stdout, stderr) = ran(&["x", argument, "--json"]);
            assert!(stderr.contains(shown), "{stderr}");
            assert!(!format!("{stdout}{stderr}").contains(|one| one != '\n' && is_unprintable(one)), "{stderr}");
        }
    }

    #[test]
    fn usage_errors_are_json_with_the_json_option() {
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
