//! The environment of a program, except files and the network, as a struct. `main` passes the real
//! environment, and tests pass a simulated one.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::text::printable;

/// A function that returns the value of an environment variable, or `None` if the variable is not set.
pub type Environment = Box<dyn Fn(&str) -> Option<OsString>>;

/// A function that asks the user for a secret on the terminal, without echo.
pub type AskSecret = Box<dyn Fn(&str) -> io::Result<String> + Send + Sync>;

/// A function that waits for the given duration. Returns `Break` if the program should stop.
pub type Wait = Box<dyn Fn(Duration) -> ControlFlow<()>>;

/// The environment of a program: clock, variables, home directory, standard streams and pass-phrase prompts.
pub struct World {
    /// The clock.
    pub now: Box<dyn Fn() -> DateTime<Utc>>,
    /// Waits between two steps of a command that runs until it is stopped.
    pub wait: Wait,
    /// The environment variables.
    pub env: Environment,
    /// The user's home directory.
    pub home: Option<PathBuf>,
    /// Standard input, from which commands read answers and lists.
    pub stdin: Box<dyn BufRead + Send>,
    /// Standard output, for data.
    pub stdout: Box<dyn Write + Send>,
    /// Standard error, for progress, notes, warnings and errors.
    pub stderr: Box<dyn Write + Send>,
    /// Whether `stdin` is a terminal. If it is, the program can ask questions.
    pub stdin_is_terminal: bool,
    /// Whether `stdout` is a terminal. If it is, colours can be shown.
    pub stdout_is_terminal: bool,
    /// Whether `stderr` is a terminal. If it is, colours and progress bars can be shown. The bars are always drawn on
    /// the standard error stream of the process.
    pub stderr_is_terminal: bool,
    /// The prompt for pass-phrases.
    pub ask_secret: AskSecret,
}

impl World {
    /// Returns the environment of this process. `ask_secret` always fails, so programs that need it must replace it.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "`main` obtains the clock, the environment and the streams here")]
    pub fn system() -> World {
        World {
            now: Box::new(Utc::now),
            wait: Box::new(|duration| {
                std::thread::sleep(duration);
                ControlFlow::Continue(())
            }),
            env: Box::new(|name| std::env::var_os(name)),
            home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
            stdin: Box::new(BufReader::new(io::stdin())),
            stdout: Box::new(BufWriter::new(io::stdout())),
            stderr: Box::new(io::stderr()),
            stdin_is_terminal: io::stdin().is_terminal(),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            ask_secret: nobody_to_ask(),
        }
    }

    /// Returns an environment with a fixed clock and without variables, input or a terminal. Output is discarded. The
    /// function `wait` returns at once and stops the command.
    #[must_use]
    pub fn isolated(now: DateTime<Utc>) -> World {
        World {
            now: Box::new(move || now),
            wait: Box::new(|_| ControlFlow::Break(())),
            env: Box::new(|_| None),
            home: None,
            stdin: Box::new(io::empty()),
            stdout: Box::new(io::sink()),
            stderr: Box::new(io::sink()),
            stdin_is_terminal: false,
            stdout_is_terminal: false,
            stderr_is_terminal: false,
            ask_secret: nobody_to_ask(),
        }
    }

    /// Returns the value of an environment variable if it is set and not empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<OsString> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    /// Returns a base directory of the XDG Base Directory Specification: the value of `variable`, or `default` below
    /// the home directory.
    #[must_use]
    pub fn base_dir(&self, variable: &str, default: &str) -> Option<PathBuf> {
        let named = self.variable(variable).map(PathBuf::from);
        // The XDG Base Directory Specification requires relative paths to be ignored.
        named.filter(|dir| dir.is_absolute()).or_else(|| Some(self.home.as_ref()?.join(default)))
    }

    /// Returns the prompt for secrets, and replaces it in this environment with a prompt that always fails. The
    /// returned prompt escapes control characters in each question before it shows the question.
    #[must_use]
    pub fn take_ask_secret(&mut self) -> AskSecret {
        let ask = std::mem::replace(&mut self.ask_secret, nobody_to_ask());
        Box::new(move |question| ask(&printable(question)))
    }

    /// Returns standard input, and replaces it in this environment with an empty stream.
    #[must_use]
    pub fn take_stdin(&mut self) -> Box<dyn BufRead + Send> {
        std::mem::replace(&mut self.stdin, Box::new(io::empty()))
    }

    /// Returns whether the environment allows colours on a terminal (`NO_COLOR` and `TERM`).
    pub(crate) fn wants_colours(&self) -> bool {
        self.variable("NO_COLOR").is_none() && self.variable("TERM").is_none_or(|terminal| terminal != "dumb")
    }
}

fn nobody_to_ask() -> AskSecret {
    Box::new(|_| Err(io::Error::from(io::ErrorKind::Unsupported)))
}

/// A stream that records what is written to it. Clones share the record.
#[derive(Clone, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// Returns the bytes written since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the text written since the last call.
    #[must_use]
    pub fn take_text(&self) -> String {
        String::from_utf8_lossy(&self.take()).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn world(variables: &'static [(&str, &str)], home: Option<&str>) -> World {
        let env = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        World { env: Box::new(env), home: home.map(PathBuf::from), ..World::isolated(DateTime::UNIX_EPOCH) }
    }

    #[test]
    fn base_directories_are_set_by_a_variable_or_below_the_home_directory() {
        let dir = |variables, home| world(variables, home).base_dir("XDG_STATE_HOME", ".local/state");
        let named = Path::new("/state");
        let below = Path::new("/home/x/.local/state");
        assert_eq!(dir(&[("XDG_STATE_HOME", "/state")], None).as_deref(), Some(named));
        assert_eq!(dir(&[("XDG_STATE_HOME", "/state")], Some("/home/x")).as_deref(), Some(named));
        for invalid in [&[][..], &[("XDG_STATE_HOME", "")], &[("XDG_STATE_HOME", "relative")]] {
            assert_eq!(dir(invalid, Some("/home/x")).as_deref(), Some(below));
            assert_eq!(dir(invalid, None), None);
        }
    }

    #[test]
    fn the_prompt_for_a_secret_is_escaped() {
        let ask = |question: &str| Ok(question.to_owned());
        let mut world = World { ask_secret: Box::new(ask), ..World::isolated(DateTime::UNIX_EPOCH) };
        let asked = world.take_ask_secret()("Pass-phrase of file:a\u{1b}[2J\n\u{200b}: ").unwrap();
        assert_eq!(asked, "Pass-phrase of file:a\\u{1b}[2J\\u{a}\\u{200b}: ");
    }

    #[test]
    fn colours_can_be_disabled() {
        assert!(world(&[("NO_COLOR", ""), ("TERM", "xterm")], None).wants_colours());
        assert!(!world(&[("NO_COLOR", "1")], None).wants_colours());
        assert!(!world(&[("TERM", "dumb")], None).wants_colours());
    }
}
