//! The output of the command-line parser. The help and the version go to standard output; all other messages are usage
//! errors.

use std::ffi::OsString;
use std::io::Write as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::text::{hide_possible_credentials, printable, printable_lines};
use crate::{ExitStatus, Failure, Output, OutputOptions, World};

/// Prints the parser's help, version or error for `args`, and returns the exit status.
#[must_use]
pub fn usage(error: clap::Error, args: &[OsString], mut world: World) -> ExitStatus {
    let colours = world.wants_colours();
    let error = safe_to_print(error, args);
    let text = error.render();
    let shown = |is_terminal| {
        if colours && is_terminal {
            return hide_credentials_of_lines(&text.ansi().to_string());
        }
        hide_credentials_of_lines(&printable_lines(&text.to_string()))
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

/// Escapes the arguments that are quoted in an error of the parser, and hides user names and passwords in them. An argument may
/// contain line breaks, or control characters that look like the parser's own styling.
fn safe_to_print(mut error: clap::Error, args: &[OsString]) -> clap::Error {
    let args: Vec<String> = args.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let secrets = secrets(&args);
    let safe = |value: &ContextValue| match value {
        ContextValue::String(quoted) => ContextValue::String(printable(&hide_secrets(quoted, &secrets))),
        value => value.clone(),
    };
    let context: Vec<_> = error.context().map(|(kind, value)| (kind, safe(value))).collect();
    if error.context().eq(context.iter().map(|(kind, value)| (*kind, value))) {
        return error;
    }
    if error.kind() == ErrorKind::ValueValidation {
        // Omit the reason why the value is invalid, because the reason may quote parts of the value.
        error = clap::Error::new(ErrorKind::InvalidValue);
    }
    for (kind, value) in context {
        error.insert(kind, value);
    }
    // Omit the suggestions, because they quote the argument again.
    error.remove(ContextKind::Suggested);
    error
}

/// An argument that may contain a user name or a password.
struct Secret<'a> {
    argument: &'a str,
    /// Whether the part after the last `@` is a host and a path, which may be shown.
    ends_with_host: bool,
}

/// Returns the arguments that may contain a user name or a password. If a password contains spaces and is not quoted,
/// the shell splits it into several arguments.
fn secrets(args: &[String]) -> Vec<Secret<'_>> {
    let has_at = |argument: &String| argument.contains('@') || argument.contains("%40");
    let mut secrets = Vec::new();
    for words in args.chunk_by(|_, next| !next.starts_with('-') && !next.contains("://")) {
        let Some((last, before)) = words.iter().rposition(has_at).and_then(|at| words.get(..=at)?.split_last()) else {
            continue;
        };
        let parts = before.iter().skip_while(|argument| !argument.contains(':') && !has_at(argument));
        secrets.extend(parts.map(|argument| Secret { argument, ends_with_host: false }));
        let ends_with_host = last.rsplit_once('@').is_some_and(|(_, host)| !host.contains("%40"));
        secrets.push(Secret { argument: last, ends_with_host });
    }
    secrets
}

/// Hides possible user names and passwords in `quoted`, which is a whole argument or a part of one.
fn hide_secrets(quoted: &str, secrets: &[Secret<'_>]) -> String {
    let is_part = |secret: &&Secret<'_>| !quoted.is_empty() && secret.argument.contains(quoted);
    let of: Vec<&Secret<'_>> = secrets.iter().filter(is_part).collect();
    if of.iter().all(|secret| is_option_of(quoted, secret.argument)) {
        return quoted.to_owned();
    }
    if quoted.contains('@') && of.iter().all(|secret| secret.ends_with_host && secret.argument.ends_with(quoted)) {
        return hide_possible_credentials(quoted);
    }
    "***".to_owned()
}

/// Returns whether `quoted` is the name of the option in an argument such as `--option=value`.
fn is_option_of(quoted: &str, argument: &str) -> bool {
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    argument.starts_with(quoted) && quoted.strip_prefix('-').is_some_and(is_name)
}

/// Hides user names and passwords in URLs that were not given as arguments, for example in a default value from the
/// environment. A line that contains several URLs also loses the text between them.
fn hide_credentials_of_lines(text: &str) -> String {
    let lines = text.split_inclusive('\n').map(|line| match (line.split_once("://"), line.rsplit_once('@')) {
        (Some((before, rest)), Some((_, after))) if rest.contains('@') => format!("{before}://***@{after}"),
        _ => line.to_owned(),
    });
    lines.collect()
}

/// Returns the first paragraph of the parser's error, without the label `error:`.
fn message(text: &str) -> &str {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    text.split("\n\n").next().unwrap_or(text).trim_end()
}

/// Searches the raw arguments, because parsing has failed.
fn asks_for_json(args: &[OsString]) -> bool {
    args.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json")
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use clap::{Arg, Command, value_parser};
    use lastmile_metadata::is_unprintable;
    use serde_json::Value;

    use super::*;
    use crate::Captured;

    fn ran(args: &[&str]) -> (ExitStatus, String, String) {
        ran_with(args, false)
    }

    fn ran_with(args: &[&str], stderr_is_terminal: bool) -> (ExitStatus, String, String) {
        let stdout = Captured::default();
        let stderr = Captured::default();
        let world = World {
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(stderr.clone()),
            stderr_is_terminal,
            ..World::isolated(DateTime::UNIX_EPOCH)
        };
        let args: Vec<OsString> = ["program"].iter().chain(args).map(OsString::from).collect();
        let number = Arg::new("number").short('n').long("number").value_parser(value_parser!(u8));
        let program = Command::new("program").arg(Arg::new("file").required(true)).arg(number);
        let error = program.try_get_matches_from(&args).unwrap_err();
        (usage(error, &args, world), stdout.take_text(), stderr.take_text())
    }

    #[test]
    fn help_goes_to_standard_output() {
        let (status, stdout, stderr) = ran(&["--help"]);
        assert_eq!((status, stderr.as_str()), (ExitStatus::Done, ""));
        assert!(stdout.contains("Usage: program [OPTIONS] <file>"), "{stdout}");
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
    fn no_character_in_a_password_reveals_a_part_of_it() {
        let passwords = "P1'Q2 P1\"Q2 P1`Q2 P1@Q2 'P1'@'Q2' P1=Q2 P1/Q2 P1#Q2 P1?Q2 P1\\Q2 P1,Q2 P1://Q2 P1%27Q2 P1%40Q2 -P1-Q2 \
            P1***@Q2 P1\u{1b}[0mQ2 https://P1@Q2";
        for password in passwords.split(' ').chain(["P1 Q2", "P1\nQ2", "P1 -Q2"]) {
            for start in ["https://U0:", "https://U0%3A", "U0:", "https:U0:", "https:\\\\U0:"] {
                let url = format!("{start}{password}@h/x");
                let encoded = format!("{start}{password}%40h/x");
                for argument in
                    [format!("{url},{url}"), format!("{url} '{url}'"), format!("{url}?{encoded}"), encoded, url]
                {
                    for prefix in ["", "--unknown=", "--unknown", "--number=", "--number=1=", "-n", "-x"] {
                        let (status, stdout, stderr) = ran(&["x", &format!("{prefix}{argument}"), "--json"]);
                        let printed = stdout + &stderr;
                        let is_hidden = !["U0", "P1", "Q2"].iter().any(|part| printed.contains(part));
                        assert!(is_hidden && status == ExitStatus::Usage, "{prefix}{argument}: {printed}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_unquoted_space_in_a_password_reveals_no_part_of_it() {
        for args in [
            &["x", "https://us:p", "q", "r@h"][..],
            &["x", "us:p", "q", "r@h"],
            &["--number", "https://us:p", "q@h"],
            &["--number=https://us:p", "q@h"],
            &["x", "https://us:p@q", "r@h"],
        ] {
            let (_, _, stderr) = ran(args);
            assert!(stderr.contains("'***'") && !stderr.contains("us:p"), "{args:?}: {stderr}");
        }
    }

    #[test]
    fn arguments_without_credentials_are_quoted() {
        for (args, expected) in [
            (&["x", "y", "https://u:p@h"][..], "unexpected argument 'y' found"),
            (&["x", "--unknown=u:p@h"], "unexpected argument '--unknown' found"),
            (&["x", "--number=u:p@h"], "invalid value '***@h' for '--number <number>'\n"),
            (&["x", "--number=u:p"], "invalid value 'u:p' for '--number <number>': invalid digit found in string"),
            (&["x", "--number=", "u:p@h"], "invalid value '' for '--number <number>': cannot"),
            (&["https://h/", "https://i/", "https://u:p@h/"], "unexpected argument 'https://i/' found"),
        ] {
            let (_, _, stderr) = ran(args);
            assert!(stderr.contains(expected), "{args:?}: {stderr}");
        }
    }

    #[test]
    fn a_default_value_in_the_help_hides_the_user_name_and_the_password() {
        let shown = hide_credentials_of_lines("[default: https://u:p'q r@h/x]\nh://i @j\nk@l\n");
        assert_eq!(shown, "[default: https://***@h/x]\nh://***@j\nk@l\n");
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
    fn a_coloured_error_quotes_arguments_in_the_same_form() {
        let (_, _, stderr) = ran_with(&["x", "y\u{1b}[2J\nz"], true);
        assert!(stderr.contains("\u{1b}[33my\\u{1b}[2J\\u{a}z\u{1b}[0m"), "{stderr:?}");
        assert!(!stderr.contains("\u{1b}[2J"), "{stderr:?}");
        let (_, _, stderr) = ran_with(&["x", "https://u:p@h/"], true);
        assert!(stderr.contains("\u{1b}[33mhttps://***@h/\u{1b}[0m"), "{stderr:?}");
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
