//! Where output goes: data to standard output (all of it as JSON with `--json`), prose to standard error.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lastmile_client::text::{printable, printable_json};
use serde_json::Value;

use crate::Error;
use crate::publication::{Moment, Observer};

/// From so many files on, a person wants to see that work goes on.
const LONG: usize = 100;

pub(super) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// The result of the command: one JSON document, or text for a person.
    pub(super) fn data(&mut self, json: &Value, text: &str) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        let written = match self.json {
            true => writeln!(out, "{}", printable_json(&format!("{json:#}"))),
            false if text.is_empty() => Ok(()),
            false => writeln!(out, "{}", printable_lines(text.trim_end_matches('\n'))),
        };
        written.or_else(ignore_closed_pipe)
    }

    /// Bytes that are a file of their own: a completion script.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> Result<(), Error> {
        io::stdout().lock().write_all(bytes).or_else(ignore_closed_pipe)
    }

    /// Prose about what happens.
    pub(super) fn note(&mut self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr().lock(), "{}", printable_lines(text));
        }
    }

    /// Advice.
    pub(super) fn warning(&mut self, text: &str) {
        self.note(&format!("warning: {text}"));
    }

    pub(super) fn error(&mut self, error: &Error) {
        let mut err = io::stderr().lock();
        // Names from metadata may be in there.
        let _ = writeln!(err, "error: {}", printable_lines(&error.to_string()));
        if let Some(hint) = error.hint() {
            let _ = writeln!(err, "hint: {hint}");
        }
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        io::stdout().flush().or_else(ignore_closed_pipe)
    }

    /// A bar on standard error, if that is a terminal.
    pub(super) fn bar(&self, what: &'static str, length: usize) -> ProgressBar {
        if self.quiet || !io::stderr().is_terminal() || length < 2 {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    /// Shows that `what` goes on and for how long, where `count` things make it long.
    pub(super) fn spinner(&self, what: &'static str, count: usize) -> ProgressBar {
        if self.quiet || !io::stderr().is_terminal() || count < LONG {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template("{msg} {spinner} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(format!("{what} {count} files"));
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    /// Counts the files of a publication: each is written and moved, while clients check the whole.
    pub(super) fn publishing(&self, count: usize) -> Publishing {
        let bar = if count < LONG { ProgressBar::hidden() } else { self.bar("checking and publishing", 2 * count) };
        Publishing(bar)
    }
}

/// The bar of a publication under way.
pub(super) struct Publishing(ProgressBar);

impl Observer for Publishing {
    fn before(&mut self, moment: Moment<'_>) -> io::Result<()> {
        match moment {
            Moment::Write(_) | Moment::Move(_) => self.0.inc(1),
            _ => {}
        }
        Ok(())
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Text in lines, each without what a terminal would act on: names from metadata may be in it.
fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

/// Whoever reads our output may stop reading.
fn ignore_closed_pipe(error: io::Error) -> Result<(), Error> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(Error::file("write", std::path::Path::new("standard output"), error)),
    }
}
