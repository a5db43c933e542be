//! Standard output for data, standard error for people: notices, bars, errors.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lastmile_metadata::{TargetFile, TargetPath};
use serde_json::Value;

use super::args::Common;
use super::failure::Failure;
use crate::progress::{Notice, Notify, Progress, Transfer};
use crate::text::{printable, printable_json};

/// The two streams of a command.
pub(super) struct Terminal {
    stdout: Mutex<Stdout>,
    stderr: Arc<Mutex<Box<dyn Write + Send>>>,
    bars: Option<MultiProgress>,
    colours: bool,
    json: bool,
    quiet: bool,
}

struct Stdout {
    stream: Box<dyn Write + Send>,
    /// With `--json` there is one document.
    is_written: bool,
}

impl Terminal {
    pub(super) fn new(
        stdout: Box<dyn Write + Send>,
        stderr: Box<dyn Write + Send>,
        colours: bool,
        is_terminal: bool,
        common: &Common,
    ) -> Terminal {
        let shows_bars = is_terminal && !common.quiet && !common.verbose;
        Terminal {
            stdout: Mutex::new(Stdout { stream: stdout, is_written: false }),
            stderr: Arc::new(Mutex::new(stderr)),
            bars: shows_bars.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr())),
            colours,
            json: common.json,
            quiet: common.quiet,
        }
    }

    /// Writes data: these lines, or with `--json` this document.
    pub(super) fn data(&self, lines: &[String], document: &Value) -> Result<(), Failure> {
        let mut stdout = lock(&self.stdout);
        stdout.is_written = true;
        let written = if self.json {
            writeln!(stdout.stream, "{}", printable_json(&format!("{document:#}")))
        } else {
            lines.iter().try_for_each(|line| writeln!(stdout.stream, "{}", printable(line)))
        };
        written.and_then(|()| stdout.stream.flush()).map_err(|error| closed(&error))
    }

    /// Writes data as it is.
    pub(super) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = lock(&self.stdout);
        stdout.is_written = true;
        stdout.stream.write_all(bytes).and_then(|()| stdout.stream.flush()).map_err(|error| closed(&error))
    }

    /// Tells a person something that is no data.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            self.line(&printable(text));
        }
    }

    /// Tells why a command failed; with `--json` as the document, too.
    pub(super) fn failure(&self, failure: &Failure) -> io::Result<()> {
        if failure.is_closed_pipe {
            return Ok(());
        }
        for (label, text) in failure.lines() {
            self.line(&format!("{}: {text}", self.coloured(label)));
        }
        let mut stdout = lock(&self.stdout);
        if self.json && !stdout.is_written {
            writeln!(stdout.stream, "{}", printable_json(&format!("{:#}", failure.json())))?;
            stdout.stream.flush()?;
        }
        Ok(())
    }

    fn coloured(&self, label: &str) -> String {
        let colour = match label {
            "error" => "1;31",
            "warning" => "1;33",
            _ => "1",
        };
        if self.colours { format!("\u{1b}[{colour}m{label}\u{1b}[0m") } else { label.to_owned() }
    }

    /// A line above the bars. Where standard error is closed nobody wants it.
    fn line(&self, line: &str) {
        let write = || drop(writeln!(lock(&self.stderr), "{line}"));
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// What the library tells goes here.
    pub(super) fn notices(&self) -> impl Notify + use<> {
        let label = self.coloured("warning");
        Notices { stderr: Arc::clone(&self.stderr), bars: self.bars.clone(), label, quiet: self.quiet }
    }

    /// One bar for each transfer.
    pub(super) fn transfers(&self) -> Bars {
        Bars { all: self.bars.clone(), each: Mutex::default() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn closed(error: &io::Error) -> Failure {
    let mut failure = Failure::new(format!("cannot write to standard output: {error}"));
    failure.is_closed_pipe = error.kind() == io::ErrorKind::BrokenPipe;
    failure
}

struct Notices {
    stderr: Arc<Mutex<Box<dyn Write + Send>>>,
    bars: Option<MultiProgress>,
    label: String,
    quiet: bool,
}

impl Notify for Notices {
    fn notify(&self, notice: &Notice) {
        if self.quiet || matches!(notice, Notice::AlreadyThere { .. }) {
            return;
        }
        let label = if matches!(notice, Notice::Waiting { .. }) { "note" } else { &self.label };
        let line = format!("{label}: {}", printable(&notice.to_string()));
        let write = || drop(writeln!(lock(&self.stderr), "{line}"));
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

/// Bars for the transfers that go on.
pub(super) struct Bars {
    all: Option<MultiProgress>,
    each: Mutex<BTreeMap<TargetPath, ProgressBar>>,
}

impl Progress for Bars {
    fn report(&self, target: &TargetFile, event: Transfer) {
        let Some(all) = &self.all else { return };
        let mut each = lock(&self.each);
        match event {
            Transfer::Started => {
                let bar = all.add(ProgressBar::new(target.length));
                if let Ok(style) =
                    ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
                {
                    bar.set_style(style.progress_chars("=> "));
                }
                bar.set_message(target.path.to_string());
                each.insert(target.path.clone(), bar);
            }
            Transfer::Advanced(bytes) => {
                if let Some(bar) = each.get(&target.path) {
                    bar.set_position(bytes);
                }
            }
            Transfer::Finished | Transfer::Failed => {
                if let Some(bar) = each.remove(&target.path) {
                    bar.finish_and_clear();
                }
            }
        }
    }
}
