//! Runs the commands in the documents in order, as a reader would.
//!
//! Each document gets its own folder and home directory. A test runs every block that is marked as `console`. In such a
//! block, lines that start with `$` are commands, and the lines after a command are its output, including standard
//! error. The line `…` matches any number of output lines, and `…` within a line matches any text. Digests, dates and
//! ages are not compared. If the document shows no output for a command, its output is not compared. A command must
//! succeed, unless the next command is `echo $?`.
//!
//! A document can contain two kinds of hidden comments before a block. `<!-- before: COMMANDS -->` runs commands that
//! the reader does not see, and `<!-- not run: REASON -->` skips the block.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::cli::program;

/// The port that the documents use for `lastmile-repo serve`. Each run replaces it with a free port.
const SHOWN_PORT: &str = "8931";

#[derive(Debug, PartialEq)]
struct Step {
    line: usize,
    command: String,
    shown: Vec<String>,
    /// Whether the document shows the command; hidden comments can contain commands too.
    is_shown: bool,
}

fn hidden<'t>(line: &'t str, kind: &str) -> Option<&'t str> {
    line.strip_prefix("<!-- ")?.strip_prefix(kind)?.strip_suffix(" -->")
}

fn steps(text: &str) -> Vec<Step> {
    let (mut steps, mut is_skipped, mut is_inside, mut goes_on): (Vec<Step>, _, _, _) =
        (Vec::new(), false, false, false);
    for (number, line) in text.lines().enumerate() {
        let new = |command: &str, is_shown| {
            let command = command.to_owned();
            Step { line: number + 1, command, shown: Vec::new(), is_shown }
        };
        if let Some(command) = hidden(line, "before: ") {
            steps.push(new(command, false));
        } else if hidden(line, "not run: ").is_some() {
            is_skipped = true;
        } else if line == "```console" {
            is_inside = true;
        } else if line == "```" {
            is_skipped &= !is_inside;
            is_inside = false;
        } else if is_inside && !is_skipped {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(new(command, true)),
                (None, Some(step)) if goes_on => write!(step.command, "\n{line}").unwrap(),
                (None, Some(step)) => step.shown.push(line.to_owned()),
                (None, None) => panic!("line {}: output before the first command", number + 1),
            }
            goes_on = line.ends_with('\\');
        }
    }
    steps
}

/// The separator between the outputs of two commands.
const MARK: &str = "\u{1}";

/// Returns a bash script that runs `steps` in one shell and prints the exit status of each command after its output.
fn script(steps: &[Step]) -> String {
    let mut script = "trap 'kill $(jobs -p) 2>/dev/null' EXIT\nexec 2>&1\n".to_owned();
    for step in steps {
        let command = &step.command;
        if command.starts_with("lastmile-repo serve") {
            // The server runs until all commands in the document have been run.
            let wait = "for _ in $(seq 200); do grep -q ^targets: serve.log && break; sleep 0.1; done; cat serve.log";
            writeln!(script, "{command} >serve.log 2>&1 &\n{wait}").unwrap();
        } else {
            writeln!(script, "{command}").unwrap();
        }
        writeln!(script, "status=$?; printf '{MARK}%s{MARK}' $status; (exit $status)").unwrap();
    }
    script + "true\n"
}

/// Replaces text that differs between runs: digests, key IDs, dates, times, and numbers of days and seconds.
fn normalized(line: &str) -> String {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let mut words: Vec<String> = Vec::new();
    for word in line.trim_end().split(' ') {
        let mut rest = word;
        let mut out = String::new();
        while let Some(first) = rest.chars().next() {
            let run: String = rest.chars().take_while(|c| is_hex(*c)).collect();
            let date: String = rest.chars().take_while(|c| c.is_ascii_digit() || "-:TZ".contains(*c)).collect();
            let taken = match (run.len(), date.len()) {
                (8.., _) => (run.len(), "HEX"),
                (_, 5..) if date.starts_with("20") && date.contains('-') => (date.len(), "DATE"),
                (_, 5) if date.as_bytes()[2] == b':' => (date.len(), "TIME"),
                _ => (first.len_utf8(), &rest[..first.len_utf8()]),
            };
            out.push_str(taken.1);
            rest = &rest[taken.0..];
        }
        let is_count = !out.is_empty() && out.chars().all(|c| c.is_ascii_digit());
        if ["days", "days,", "days)", "s"].contains(&word)
            && let Some(number) = words.last_mut()
            && number.chars().all(|c| c.is_ascii_digit())
        {
            *number = "N".to_owned();
        }
        words.push(if is_count { word.to_owned() } else { out });
    }
    words.join(" ")
}

/// In the documented line `shown`, `…` matches any text.
fn fits(shown: &str, line: &str) -> bool {
    match shown.split_once('…') {
        None => shown == line,
        Some((before, after)) => line.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| fits(after, &rest[at..]))
        }),
    }
}

/// In the documented lines `shown`, a line `…` matches any number of lines.
fn all_fit(shown: &[String], lines: &[String]) -> bool {
    match (shown.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "…" => (0..=lines.len()).any(|skipped| all_fit(rest, &lines[skipped..])),
        (Some((first, rest)), Some((line, others))) => fits(first, line) && all_fit(rest, others),
        _ => false,
    }
}

fn run(document: &str) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document)).unwrap();
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port().to_string();
    let steps = steps(&text.replace(SHOWN_PORT, &port));
    assert!(!steps.is_empty(), "{document} has no commands");

    let folder = tempfile::tempdir().unwrap();
    let programs = program("lastmile-repo");
    let path = format!("{}:{}", programs.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("timeout");
    bash.args(["120", "bash", "-c"])
        .arg(script(&steps))
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", path)
        .env("TZ", "UTC");
    bash.env("HOME", folder.path().join("home")).env("LASTMILE_PASS_PHRASE", "a pass-phrase for the guide");
    let output = bash.env("NO_PROXY", "*").output().unwrap();

    let printed = String::from_utf8(output.stdout).unwrap();
    let mut parts = printed.split(MARK);
    let mut wrong = String::new();
    for (number, step) in steps.iter().enumerate() {
        let printed = parts.next().unwrap_or_default();
        let status = parts.next().unwrap_or("not run");
        let is_asked = steps.get(number + 1).is_some_and(|next| next.command == "echo $?");
        let lines: Vec<String> = printed.lines().map(normalized).collect();
        let shown: Vec<String> = step.shown.iter().map(|line| normalized(line)).collect();
        if (status != "0" && !is_asked) || (step.is_shown && !shown.is_empty() && !all_fit(&shown, &lines)) {
            let line = step.line;
            let command = &step.command;
            write!(wrong, "{document}:{line}: $ {command}\n{printed}(exit status {status})\n\n").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_commands_of_the_readme_do_what_it_shows() {
    run("README.md");
}

#[test]
fn the_commands_of_the_guide_for_maintainers_do_what_it_shows() {
    run("docs/maintainers.md");
}

#[test]
fn the_commands_of_the_guide_for_clients_do_what_it_shows() {
    run("docs/clients.md");
}

#[test]
fn the_commands_of_the_guide_for_security_teams_do_what_it_shows() {
    run("docs/security-teams.md");
}

#[test]
fn output_is_compared_by_lines_and_omissions_match_anything() {
    let lines = |text: &str| text.lines().map(normalized).collect::<Vec<_>>();
    let printed = lines("root: version 1\n  + key 144e1ec6d7cc442d\nexpires in 364 days, 2027-11-22 12:57\ndone");
    for shown in [
        "root: version 1\n  + key 0123456789abcdef\nexpires in 3 days, 2030-01-01 00:00\ndone",
        "root: version 1\n…\ndone",
        "root: …\n  + key 0123456789…\nexpires …\ndone",
        "…",
    ] {
        assert!(all_fit(&lines(shown), &printed), "{shown}");
    }
    for shown in ["root: version 2\n…\ndone", "root: version 1\n…\ndone\nmore", "root: version 1", "expires\n…", ""]
    {
        assert!(!all_fit(&lines(shown), &printed), "{shown}");
    }
}

#[test]
fn comments_prepare_or_skip_commands_and_commands_may_span_lines() {
    let text = "<!-- before: touch a -->\n```console\n$ cat \\\n  a\nnothing\n```\n<!-- not run: a reason -->\n```console\n$ b\n```\n\n```console\n$ c\n```\n";
    let found: Vec<_> =
        steps(text).into_iter().map(|step| (step.line, step.command, step.shown, step.is_shown)).collect();
    let step = |line, command: &str, shown: &[&str], is_shown| {
        (line, command.to_owned(), shown.iter().map(ToString::to_string).collect::<Vec<_>>(), is_shown)
    };
    let expected =
        [step(1, "touch a", &[], false), step(3, "cat \\\n  a", &["nothing"], true), step(13, "c", &[], true)];
    assert_eq!(found, expected);
}
