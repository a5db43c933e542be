//! Tests of the output streams.

use chrono::DateTime;
use serde_json::json;

use super::*;
use crate::Captured;

fn output(options: OutputOptions, is_terminal: bool) -> (Output, Captured, Captured) {
    let stdout = Captured::default();
    let stderr = Captured::default();
    let mut world = World {
        stdout: Box::new(stdout.clone()),
        stderr: Box::new(stderr.clone()),
        stderr_is_terminal: is_terminal,
        ..World::isolated(DateTime::UNIX_EPOCH)
    };
    (Output::new(&mut world, OutputOptions { no_progress: true, ..options }), stdout, stderr)
}

const JSON: OutputOptions = OutputOptions { json: true, quiet: false, no_progress: true };

#[test]
fn data_is_written_as_text_or_as_json() {
    let (text, stdout, stderr) = output(OutputOptions::default(), false);
    text.data(&json!({ "a": 1 }), ["one\ntwo", "three"]).unwrap();
    text.data_text(&json!({}), "four\nfive\n\n").unwrap();
    text.data_text(&json!({}), "").unwrap();
    assert_eq!(stdout.take_text(), "one\\u{a}two\nthree\nfour\nfive\n");
    let (document, stdout, _) = output(JSON, false);
    document.data(&json!({ "a": "\u{202e}" }), ["one"]).unwrap();
    assert_eq!(stdout.take_text(), "{\n  \"a\": \"\\u202e\",\n  \"schema\": 1\n}\n");
    assert_eq!(stderr.take_text(), "");
}

#[test]
fn a_result_that_is_not_an_object_is_an_error() {
    let (output, stdout, _) = output(JSON, false);
    assert!(output.data(&json!(["a"]), ["a"]).is_err());
    assert_eq!(stdout.take_text(), "");
}

#[test]
fn notes_and_warnings_are_silent_when_quiet_and_errors_are_not() {
    for (quiet, expected) in
        [(false, "a\nwarning: b\\u{7}\\u{a}c\nf\\u{a}g\nh\nerror: d\nhint: e\n"), (true, "error: d\nhint: e\n")]
    {
        let (output, stdout, stderr) = output(OutputOptions { quiet, ..OutputOptions::default() }, false);
        output.note("a");
        output.warning("b\u{7}\nc");
        output.note_lines(["f\ng", "h"]);
        assert_eq!(output.failure(&Failure::usage("d").with_hint("e")), ExitStatus::Usage);
        assert_eq!((stderr.take_text().as_str(), stdout.take_text().as_str()), (expected, ""));
        output.despite_quiet().warning("the reason");
        assert_eq!(stderr.take_text(), "warning: the reason\n");
    }
}

#[test]
fn with_json_the_error_is_a_document_unless_there_is_one() {
    let (output, stdout, _) = output(JSON, false);
    output.failure(&Failure::failed("x"));
    let document: Value = serde_json::from_str(&stdout.take_text()).unwrap();
    assert_eq!((&document["error"]["message"], &document["schema"]), (&json!("x"), &json!(1)));
    output.failure(&Failure::failed("y"));
    assert_eq!(stdout.take_text(), "");
}

#[test]
fn labels_are_coloured_on_a_terminal() {
    let (output, _, stderr) = output(OutputOptions::default(), true);
    output.failure(&Failure::failed("x"));
    assert_eq!(stderr.take_text(), "\u{1b}[1;31merror\u{1b}[0m: x\n");
}

/// A stream on which every write fails with an error of the given kind.
struct Broken(io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_not_an_error_and_a_full_disk_is() {
    let broken = |kind| {
        let world = World { stdout: Box::new(Broken(kind)), ..World::isolated(DateTime::UNIX_EPOCH) };
        Output::new(&mut { world }, JSON)
    };
    let closed = broken(io::ErrorKind::BrokenPipe);
    let full = broken(io::ErrorKind::StorageFull);
    assert!(closed.data(&json!({}), [""; 0]).is_ok());
    assert!(full.data(&json!({}), [""; 0]).is_err());
    assert_eq!(broken(io::ErrorKind::StorageFull).failure(&Failure::usage("x")), ExitStatus::Failed);
    assert_eq!(broken(io::ErrorKind::BrokenPipe).failure(&Failure::usage("x")), ExitStatus::Usage);
}

#[test]
fn questions_and_log_lines_are_escaped() {
    let (output, _, stderr) = output(OutputOptions { quiet: true, ..OutputOptions::default() }, false);
    output.question("a\u{1b}[2J\nb?");
    assert_eq!(stderr.take_text(), "a\\u{1b}[2J\\u{a}b?\n");
    let line = "GET /\u{1b}]0;x\u{7}\u{200b}\nGET /b\n";
    assert_eq!(output.log().write(line.as_bytes()).unwrap(), line.len());
    assert_eq!(stderr.take_text(), "GET /\\u{1b}]0;x\\u{7}\\u{200b}\nGET /b\n");
}
