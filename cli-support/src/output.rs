//! The output of `lastmile` and `lastmile-repo`. Data goes to standard output, as text or as one JSON document. Notes,
//! warnings and errors go to standard error.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressDrawTarget};
use serde_json::Value;

use crate::text::{printable, printable_json, printable_lines};
use crate::{ExitStatus, Failure, World};

/// The version of the JSON output format. `docs/stability.md` says which changes require a new version.
const SCHEMA: u32 = 1;

/// The options that control the output of a command.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutputOptions {
    /// Whether to write data and errors as JSON to standard output (`--json`).
    pub json: bool,
    /// Whether to omit notes, warnings, progress bars and the text of reports and events (`--quiet`).
    pub quiet: bool,
    /// Whether to omit progress bars. Set this if a log is written to the same terminal, because the bars would be
    /// mixed with the log.
    pub no_progress: bool,
}

/// The output streams of a command. Clones write to the same streams.
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
    /// Whether anything was already written. If so, an error is no longer written as a JSON document.
    is_written: bool,
}

impl Output {
    /// Takes the output streams out of `world`, and replaces them with streams that discard everything.
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

    /// Returns an output that discards all data. Use it for a step of a command if another step writes the data of the
    /// command.
    #[must_use]
    pub fn without_data(&self) -> Output {
        let stdout = Stdout { stream: Box::new(io::sink()), is_written: true };
        Output { stdout: Arc::new(Mutex::new(stdout)), ..self.clone() }
    }

    /// Returns an output that writes notes and warnings even with `--quiet`. Use it for messages that the user must
    /// see, such as the reason for a non-zero exit status if there is no error message.
    #[must_use]
    pub fn despite_quiet(&self) -> Output {
        Output { options: OutputOptions { quiet: false, ..self.options }, ..self.clone() }
    }

    /// Writes the result of a command: with `--json`, `document`; otherwise, `lines`. `document` must be an object, to
    /// which this method adds the member `schema`. Line breaks within a line are escaped.
    ///
    /// # Errors
    /// [`StdoutError`] if writing to standard output fails, or if the document is not an object. A closed pipe is not
    /// an error.
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

    /// Like [`Output::data`], but takes the lines as one text.
    ///
    /// # Errors
    /// The same errors as [`Output::data`].
    pub fn data_text(&self, document: &Value, text: &str) -> Result<(), StdoutError> {
        self.data(document, text.trim_end_matches('\n').lines())
    }

    /// Writes a command's report about the changes that it made. With `--json`, writes `document`. Otherwise, writes
    /// `lines`, unless `--quiet` is given.
    ///
    /// # Errors
    /// The same errors as [`Output::data`].
    pub fn report<L>(&self, document: &Value, lines: L) -> Result<(), StdoutError>
    where
        L: IntoIterator,
        L::Item: AsRef<str>,
    {
        if self.options.quiet && !self.options.json {
            return Ok(());
        }
        self.data(document, lines)
    }

    /// Writes an event of a command that runs until it is stopped. With `--json`, writes `document` on one line.
    /// Otherwise, writes `line`, unless it is `None` or `--quiet` is given. `document` must be an object, to which this
    /// method adds the member `schema`.
    ///
    /// # Errors
    /// The same errors as [`Output::data`].
    pub fn event(&self, document: &Value, line: Option<&str>) -> Result<(), StdoutError> {
        if self.options.json {
            let text = serde_json::to_string(&with_schema(document, &Value::from(SCHEMA))?)
                .map_err(|error| StdoutError(error.into()))?;
            return self.write(printable_json(&(text + "\n")).as_bytes());
        }
        line.map_or(Ok(()), |line| self.report(document, [line]))
    }

    /// Writes data such as a script, without escaping it or converting it to JSON.
    ///
    /// # Errors
    /// The same errors as [`Output::data`].
    pub fn raw(&self, bytes: &[u8]) -> Result<(), StdoutError> {
        self.write(bytes)
    }

    /// Writes a note of one line. Line breaks in `text` are escaped.
    pub fn note(&self, text: &str) {
        self.note_lines([text]);
    }

    /// Writes a note of several lines. Line breaks within a line are escaped.
    pub fn note_lines<L>(&self, lines: L)
    where
        L: IntoIterator,
        L::Item: AsRef<str>,
    {
        if !self.options.quiet {
            self.lines(&joined(lines));
        }
    }

    /// Writes a warning of one line. Line breaks in `text` are escaped.
    pub fn warning(&self, text: &str) {
        self.warning_lines([text]);
    }

    /// Writes a warning of several lines. Line breaks within a line are escaped.
    pub fn warning_lines<L>(&self, lines: L)
    where
        L: IntoIterator,
        L::Item: AsRef<str>,
    {
        if !self.options.quiet {
            self.lines(&format!("{}: {}", self.coloured("warning"), joined(lines)));
        }
    }

    /// Writes a one-line question that the user must answer. Questions are written even with `--quiet`. Line breaks in
    /// `text` are escaped.
    pub fn question(&self, text: &str) {
        self.lines(&printable(text));
    }

    /// Writes an error and returns its exit status. With `--json`, also writes the error as a JSON document, unless
    /// data was already written.
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

    /// Returns a writer to standard error for log lines.
    #[must_use]
    pub fn log(&self) -> Log {
        Log(self.clone())
    }

    /// Writes a JSON document, which must be an object, and adds the format version to it.
    fn document(&self, document: &Value) -> Result<(), StdoutError> {
        let text = serde_json::to_string_pretty(&with_schema(document, &Value::from(SCHEMA))?)
            .map_err(|error| StdoutError(error.into()))?;
        self.write(printable_json(&(text + "\n")).as_bytes())
    }

    fn write(&self, bytes: &[u8]) -> Result<(), StdoutError> {
        let mut stdout = lock(&self.stdout);
        stdout.is_written = true;
        match stdout.stream.write_all(bytes).and_then(|()| stdout.stream.flush()) {
            // A closed pipe is not an error, because its reader may have read enough.
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

    /// Writes lines above the progress bars. Errors are ignored, because there is nowhere to report them.
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

/// A writer of log lines to standard error.
pub struct Log(Output);

impl Write for Log {
    /// Escapes each line. The logger always passes whole lines.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = printable_lines(&String::from_utf8_lossy(bytes));
        self.0.above_bars(|| lock(&self.0.stderr).write_all(text.as_bytes()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        lock(&self.0.stderr).flush()
    }
}

/// The error for a failed write to standard output.
#[derive(Debug)]
pub struct StdoutError(pub io::Error);

impl From<StdoutError> for Failure {
    fn from(StdoutError(error): StdoutError) -> Failure {
        Failure::failed(format!("cannot write to standard output: {error}"))
    }
}

fn with_schema<'v>(document: &'v Value, schema: &'v Value) -> Result<BTreeMap<&'v str, &'v Value>, StdoutError> {
    let Some(members) = document.as_object() else {
        return Err(StdoutError(io::Error::other("the result is not a JSON object")));
    };
    let mut members: BTreeMap<&str, &Value> = members.iter().map(|(name, value)| (name.as_str(), value)).collect();
    members.insert("schema", schema);
    Ok(members)
}

/// Escapes each line, and joins the lines with line feeds.
fn joined<L>(lines: L) -> String
where
    L: IntoIterator,
    L::Item: AsRef<str>,
{
    lines.into_iter().map(|line| printable(line.as_ref())).collect::<Vec<_>>().join("\n")
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
