//! The renderer of both programs: data goes to standard output, as text or with `--json` as one document; notes, warnings
//! and errors go to standard error.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressDrawTarget};
use serde_json::Value;

use crate::text::{printable, printable_json};
use crate::{ExitStatus, Failure, World};

/// The version of the format of all JSON output: `docs/stability.md` says what may change without a new one.
const SCHEMA: u32 = 1;

/// What the user asked for about output.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutputOptions {
    /// Data and the error are JSON on standard output (`--json`).
    pub json: bool,
    /// Neither notes, warnings nor progress (`--quiet`).
    pub quiet: bool,
    /// No progress bars, because something else is written line by line.
    pub no_progress: bool,
}

/// Where a command writes. Clones write to the same streams.
#[derive(Clone)]
pub struct Output {
    stdout: Arc<Mutex<Stdout>>,
    stderr: Arc<Mutex<Box<dyn Write + Send>>>,
    pub(crate) bars: Option<MultiProgress>,
    colours: bool,
    options: OutputOptions,
}

struct Stdout {
    stream: Box<dyn Write + Send>,
    /// With `--json` there is one document: data, or the error.
    is_written: bool,
}

impl Output {
    /// Takes the two output streams of `world`, which is left without them.
    #[must_use]
    pub fn new(world: &mut World, options: OutputOptions) -> Output {
        let shows_bars = world.stderr_is_terminal && !options.quiet && !options.no_progress;
        let stream = std::mem::replace(&mut world.stdout, Box::new(io::sink()));
        let stderr = std::mem::replace(&mut world.stderr, Box::new(io::sink()));
        Output {
            stdout: Arc::new(Mutex::new(Stdout { stream, is_written: false })),
            stderr: Arc::new(Mutex::new(stderr)),
            bars: shows_bars.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10))),
            colours: world.stderr_is_terminal && world.wants_colours(),
            options,
        }
    }

    /// Writes data: `lines`, or with `--json` the document, which must be an object and gets the member `schema`. Line breaks
    /// within a line are escaped.
    ///
    /// # Errors
    /// Standard output cannot be written, or the document is not an object. That nobody reads it any more is no error.
    pub fn data<L>(&self, document: &Value, lines: L) -> Result<(), StdoutError>
    where
        L: IntoIterator,
        L::Item: AsRef<str>,
    {
        if self.options.json {
            return self.document(document);
        }
        let text: String = lines.into_iter().map(|line| printable(line.as_ref()) + "\n").collect();
        self.write(text.as_bytes())
    }

    /// Writes data: each line of `text`, or with `--json` the document.
    ///
    /// # Errors
    /// As [`Output::data`].
    pub fn data_text(&self, document: &Value, text: &str) -> Result<(), StdoutError> {
        self.data(document, text.trim_end_matches('\n').lines())
    }

    /// Writes data as it is, such as a script.
    ///
    /// # Errors
    /// As [`Output::data`].
    pub fn raw(&self, bytes: &[u8]) -> Result<(), StdoutError> {
        self.write(bytes)
    }

    /// Tells a person something that is no data. A name from elsewhere must be escaped if it may not bring lines of its
    /// own.
    pub fn note(&self, text: &str) {
        if !self.options.quiet {
            self.lines(&printable_lines(text));
        }
    }

    /// Warns a person. Line breaks are as in [`Output::note`].
    pub fn warning(&self, text: &str) {
        if !self.options.quiet {
            self.lines(&format!("{}: {}", self.coloured("warning"), printable_lines(text)));
        }
    }

    /// Tells why a command failed. With `--json` the error is also the document, unless there is one. Returns the status to
    /// exit with.
    pub fn failure(&self, failure: &Failure) -> ExitStatus {
        for (label, text) in failure.paragraphs() {
            self.lines(&format!("{}: {text}", self.coloured(label)));
        }
        if self.options.json && !lock(&self.stdout).is_written {
            let written = self.document(&failure.json());
            if written.is_err() {
                return ExitStatus::Failed;
            }
        }
        failure.status()
    }

    /// A writer to standard error, for lines of a log.
    #[must_use]
    pub fn log(&self) -> Log {
        Log(self.clone())
    }

    /// Writes a document, which must be an object, with the version of its format.
    fn document(&self, document: &Value) -> Result<(), StdoutError> {
        let Some(members) = document.as_object() else {
            return Err(StdoutError(io::Error::other("the result is not a JSON object")));
        };
        let schema = Value::from(SCHEMA);
        let mut members: BTreeMap<&str, &Value> = members.iter().map(|(name, value)| (name.as_str(), value)).collect();
        members.insert("schema", &schema);
        let text = serde_json::to_string_pretty(&members).map_err(|error| StdoutError(error.into()))?;
        self.write(printable_json(&(text + "\n")).as_bytes())
    }

    fn write(&self, bytes: &[u8]) -> Result<(), StdoutError> {
        let mut stdout = lock(&self.stdout);
        stdout.is_written = true;
        match stdout.stream.write_all(bytes).and_then(|()| stdout.stream.flush()) {
            // Whoever reads the data may stop reading.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(StdoutError(error)),
            _ => Ok(()),
        }
    }

    fn coloured(&self, label: &str) -> String {
        let colour = match label {
            "error" => "1;31",
            "warning" => "1;33",
            _ => "1",
        };
        if self.colours { format!("\u{1b}[{colour}m{label}\u{1b}[0m") } else { label.to_owned() }
    }

    /// Lines above the bars. Where standard error is closed nobody wants them.
    fn lines(&self, text: &str) {
        self.above_bars(|| drop(writeln!(lock(&self.stderr), "{text}")));
    }

    fn above_bars<R>(&self, write: impl FnOnce() -> R) -> R {
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

/// Writes the lines of a log to standard error.
pub struct Log(Output);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.above_bars(|| lock(&self.0.stderr).write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        lock(&self.0.stderr).flush()
    }
}

/// Standard output cannot be written.
#[derive(Debug)]
pub struct StdoutError(pub io::Error);

impl From<StdoutError> for Failure {
    fn from(StdoutError(error): StdoutError) -> Failure {
        Failure::failed(format!("cannot write to standard output: {error}"))
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Text in lines, each without what a terminal would act on.
fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
