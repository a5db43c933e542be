//! Reads lists of targets whose files are on another server (`add --from-list`). The text of a list is not kept in
//! memory. All cores check the list, each core one part at a time. A line is read again when its target is needed.
//!
//! Each line has one of two forms. The first is a JSON object, `{"path": "a/b", "length": 3, "hashes": {"sha256": "…"},
//! "custom": {…}}`, where `custom` is optional. The second is `SHA256 LENGTH PATH`, separated by spaces or tabs, where
//! the path is the rest of the line. A line that starts with `{` has the first form. Empty lines and lines that start
//! with `#` are skipped.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use lastmile_fs::disk::TemporaryFile;
use lastmile_fs::named;
use lastmile_metadata::{TargetFile, hash_start};

use crate::edit::add::DelegatedPaths;
use crate::edit::list_line::{MAX_LINE_LENGTH, target_of};
use crate::edit::target_source::{TargetSource, lost};
use crate::immutable::Immutable;
use crate::{EditError, Error, LineFault, parallel};

/// The size of the parts in which a list is checked, in bytes.
const CHUNK_SIZE: u64 = 1 << 20;
/// The size of the buffer for copying a list from a pipe, in bytes.
const COPIED: usize = 1 << 16;
/// To find the end of a line, first read this many bytes. Then double the number of bytes with each further read.
const READ: usize = 256;

/// A checked list of targets. Each target takes 16 bytes of memory.
#[derive(Debug)]
pub struct List {
    text: ListFile,
    parts: Vec<Part>,
    delegated: DelegatedPaths,
    immutable: Immutable,
}

#[derive(Debug)]
struct Part {
    /// The number of targets in the list before this part.
    before: usize,
    entries: Box<[LineEntry]>,
}

#[derive(Clone, Copy, Debug)]
struct LineEntry {
    /// The position of the line in bytes.
    start: u64,
    /// The first bytes of the hash of the path.
    hash: u64,
}

impl List {
    /// Checks the list in `file`. If `file` is a pipe, first copies its content to a temporary file in the folder
    /// `spool`. Calls `progress` with the number of bytes checked.
    ///
    /// # Errors
    /// [`Error::Edit`], with the number of the first invalid line, if the list has one. [`Error::File`] if the list is
    /// empty or cannot be read.
    pub fn read(file: &Path, spool: &Path, progress: &(dyn Fn(usize) + Sync)) -> Result<Self, Error> {
        let read = |error| Error::file("read", file, error);
        let opened = named::open(file).map_err(read)?;
        let found = opened.metadata().map_err(read)?;
        if !found.is_file() {
            return Self::read_from(opened, file, spool, progress);
        }
        Self::check(ListFile { file: opened, path: file.to_path_buf(), length: found.len() }, CHUNK_SIZE, progress)
    }

    /// Copies the list from the reader `from` to a temporary file in the folder `spool`, and checks the copy. Error
    /// messages show `path` as the path of the list. Calls `progress` with the number of bytes checked.
    ///
    /// # Errors
    /// Returns the errors of [`List::read`].
    pub fn read_from(
        mut from: impl io::Read,
        path: &Path,
        spool: &Path,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Self, Error> {
        let copy = TemporaryFile::create_in(spool);
        let copy = copy.map_err(|error| Error::file("create a temporary file in", spool, error))?;
        let mut part = vec![0; COPIED];
        let mut length = 0;
        loop {
            let read = match from.read(&mut part) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::file("read", path, error)),
            };
            let written = copy.write_all_at(part.get(..read).unwrap_or_default(), length);
            written.map_err(|error| Error::file("write", copy.path(), error))?;
            length += read as u64;
        }
        Self::check(ListFile { file: copy.into_file(), path: path.to_path_buf(), length }, CHUNK_SIZE, progress)
    }

    fn check(text: ListFile, part: u64, progress: &(dyn Fn(usize) + Sync)) -> Result<Self, Error> {
        if text.length == 0 {
            return Err(text.failed(io::Error::new(io::ErrorKind::InvalidData, "it is empty")));
        }
        let starts: Vec<u64> = (0..text.length.div_ceil(part)).map(|number| number * part).collect();
        let done = AtomicUsize::new(0);
        let checked = parallel::try_map(&starts, |start| {
            let lines = text.lines_from(*start, part)?;
            let length = lines.text.len();
            let entries = lines.check();
            progress(done.fetch_add(length, Ordering::Relaxed) + length);
            // Return a fault as a value, not as an error: an error would stop the other threads. One of them might be
            // about to find an earlier invalid line, and the message must name the first one.
            Ok(entries)
        })?;
        let mut parts = Vec::with_capacity(checked.len());
        let mut before = 0;
        for entries in checked {
            let entries = entries.map_err(|(start, fault)| text.refused(start, fault))?;
            parts.push(Part { before, entries });
            before += parts.last().map_or(0, |part: &Part| part.entries.len());
        }
        Ok(Self { text, parts, delegated: DelegatedPaths::Refuse, immutable: Immutable::none() })
    }

    /// Sets whether a target may be added to a role that delegates the path of the target to another role.
    #[must_use]
    pub fn with_delegated(self, delegated: DelegatedPaths) -> Self {
        Self { delegated, ..self }
    }

    /// Sets the patterns that match the names of immutable targets.
    #[must_use]
    pub fn with_immutable(self, immutable: Immutable) -> Self {
        Self { immutable, ..self }
    }

    fn entry(&self, number: usize) -> Option<LineEntry> {
        let part = self.parts.partition_point(|part| part.before <= number).checked_sub(1)?;
        let part = self.parts.get(part)?;
        part.entries.get(number - part.before).copied()
    }
}

#[derive(Debug)]
struct ListFile {
    file: File,
    path: PathBuf,
    /// The length in bytes when the file was opened.
    length: u64,
}

impl ListFile {
    fn failed(&self, error: io::Error) -> Error {
        Error::file("read", &self.path, error)
    }

    fn changed(&self) -> Error {
        self.failed(io::Error::new(io::ErrorKind::InvalidData, "it changed while it was being read"))
    }

    fn bytes(&self, start: u64, end: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(start)).map_err(|_| self.changed())?];
        self.file.read_exact_at(&mut bytes, start).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.changed(),
            _ => self.failed(error),
        })?;
        Ok(bytes)
    }

    /// Extends or shortens `bytes` so that it ends at the end of a line. `bytes` contains the part of the file that
    /// begins at `start`.
    fn complete_line(&self, start: u64, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let longest = bytes.len() + MAX_LINE_LENGTH;
        let mut read = READ;
        let mut searched = bytes.len().saturating_sub(1);
        loop {
            if let Some(end) = memchr::memchr(b'\n', bytes.get(searched..).unwrap_or_default()) {
                bytes.truncate(searched + end + 1);
                return Ok(());
            }
            let end = start + bytes.len() as u64;
            if end >= self.length || bytes.len() > longest {
                return Ok(());
            }
            searched = bytes.len();
            bytes.extend(self.bytes(end, self.length.min(end + read as u64))?);
            read *= 2;
        }
    }

    /// Reads the lines that begin at or after `start`, but before `start + part`.
    fn lines_from(&self, start: u64, part: u64) -> Result<Lines, Error> {
        // The byte before `start` shows whether a line starts at `start`.
        let from = start.saturating_sub(1);
        let mut bytes = self.bytes(from, self.length.min(start + part))?;
        let skipped = match memchr::memchr(b'\n', &bytes) {
            _ if start == 0 => 0,
            Some(end) => end + 1,
            None => return Ok(Lines { start, text: Vec::new() }),
        };
        self.complete_line(from, &mut bytes)?;
        bytes.drain(..skipped);
        Ok(Lines { start: from + skipped as u64, text: bytes })
    }

    fn line(&self, start: u64) -> Result<Vec<u8>, Error> {
        let mut line = Vec::new();
        self.complete_line(start, &mut line)?;
        Ok(line)
    }

    /// Returns the number, counted from 1, of the line at `start`.
    fn number(&self, start: u64) -> Result<usize, Error> {
        let mut number = 1;
        let mut at = 0;
        while at < start {
            let end = start.min(at + CHUNK_SIZE);
            number += memchr::memchr_iter(b'\n', &self.bytes(at, end)?).count();
            at = end;
        }
        Ok(number)
    }

    fn refused(&self, start: u64, fault: LineFault) -> Error {
        self.number(start).map_or_else(|error| error, |line| EditError::Line { line, fault }.into())
    }
}

/// Several whole lines of a list.
struct Lines {
    /// The position of the first line in bytes.
    start: u64,
    text: Vec<u8>,
}

impl Lines {
    /// The error contains the position of the first invalid line, and the fault in that line.
    fn check(&self) -> Result<Box<[LineEntry]>, (u64, LineFault)> {
        let mut entries = Vec::new();
        let mut start = self.start;
        for line in self.text.split_inclusive(|byte| *byte == b'\n') {
            if let Some(target) = target_of(line).map_err(|fault| (start, fault))? {
                entries.push(LineEntry { start, hash: hash_start(target.path.as_str()) });
            }
            start += line.len() as u64;
        }
        Ok(entries.into())
    }
}

impl TargetSource for List {
    fn len(&self) -> usize {
        self.parts.last().map_or(0, |last| last.before + last.entries.len())
    }

    fn hash_start(&self, number: usize) -> u64 {
        self.entry(number).map_or(0, |entry| entry.hash)
    }

    fn target(&self, number: usize) -> Result<TargetFile, Error> {
        let entry = self.entry(number).ok_or_else(lost)?;
        let target = target_of(&self.text.line(entry.start)?).ok().flatten();
        // If the path no longer has the hash that was recorded, the line was changed after it was checked. The new path
        // might belong to a different bin.
        let target = target.filter(|target| hash_start(target.path.as_str()) == entry.hash);
        target.ok_or_else(|| self.text.changed())
    }

    fn is_on_disk(&self) -> bool {
        true
    }

    fn keeps_custom(&self) -> bool {
        true
    }

    fn delegated_paths(&self) -> DelegatedPaths {
        self.delegated
    }

    fn immutable(&self) -> Option<&Immutable> {
        Some(&self.immutable)
    }

    fn clash(&self, one: usize, other: usize) -> Result<(), Error> {
        let number = |number| self.text.number(self.entry(number).ok_or_else(lost)?.start);
        let path = self.target(one)?.path;
        Err(EditError::DifferentLines { first: number(one)?, second: number(other)?, path }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    fn parse(text: &str) -> Result<List, Error> {
        parse_bytes(text.as_bytes())
    }

    fn parse_bytes(text: &[u8]) -> Result<List, Error> {
        List::read_from(text, Path::new("list"), &tempfile::env::temp_dir(), &|_| {})
    }

    fn lines(list: &List, numbers: &[usize]) -> Vec<usize> {
        numbers.iter().map(|number| list.text.number(list.entry(*number).unwrap().start).unwrap()).collect()
    }

    fn reason(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn both_forms_are_equivalent() {
        let text = format!(
            "# from the old server\n{ZEROS}  12  a/b c\r\n\n{{\"length\": 12, \"path\": \"a/b c\", \"hashes\": {{\"sha256\": \"{ZEROS}\"}}}}"
        );
        let list = parse(&text).unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(list.target(0).unwrap(), list.target(1).unwrap());
        assert_eq!(lines(&list, &[0, 1]), [2, 4]);
        assert_eq!(list.hash_start(0), hash_start("a/b c"));
    }

    #[test]
    fn an_invalid_line_is_reported_by_number() {
        let good = format!("{ZEROS} 1 a\n");
        for (bad, expected) in [
            ("x", "line 2 of the list is neither"),
            (" a b", "line 2 of the list is neither"),
            ("00 1 a", "line 2 of the list has a sha256 that is not 64"),
            (&format!("{ZEROS} -1 a"), "line 2 of the list has the length `-1`"),
            (&format!("{ZEROS} 1 "), "line 2 of the list has no path"),
            (&format!("{ZEROS} 1 ../a"), "line 2 of the list is refused"),
            (&format!("{ZEROS} 1 CON"), "line 2 of the list is refused"),
            (&format!("{ZEROS} 1 {}", "x".repeat(250)), "line 2 of the list is refused"),
            (r#"{"path": "a", "length": 1}"#, "line 2 of the list is not a valid entry: missing field `hashes`"),
            (r#"{"path": "a", "length": 1, "hashes": {}}"#, "line 2 of the list lists no hash"),
            (
                r#"{"path": "a", "length": 1, "hashes": {"md5": "00"}}"#,
                "line 2 of the list uses the unknown hash algorithm `md5`",
            ),
            (
                r#"{"path": "a", "length": 1, "hashes": {"sha256": "00", "sha256": "01"}}"#,
                "line 2 of the list is not a valid entry: duplicate hash",
            ),
            (
                &format!(
                    r#"{{"path": "a", "length": 1, "hashes": {{"sha256": "{ZEROS}"}}, "custom": {{"a": {{"x": 1, "x": 2}}}}}}"#
                ),
                "line 2 of the list is not a valid entry",
            ),
            (r#"{"path": "a", "length": 1, "hash": {}}"#, "line 2 of the list is not a valid entry: unknown field"),
        ] {
            let found = reason(&format!("{good}{bad}\n"));
            assert!(found.starts_with(expected), "{found}");
        }
        let fraction =
            format!(r#"{{"path": "a", "length": 1, "hashes": {{"sha256": "{ZEROS}"}}, "custom": {{"x": 1.5}}}}"#);
        assert!(reason(&fraction).starts_with("line 1 of the list has a `custom` that cannot be signed"));
        assert_eq!(parse_bytes(b"\n\xff").unwrap_err().to_string(), "line 2 of the list is not UTF-8");
    }

    #[test]
    fn parts_of_any_length_have_the_same_lines() {
        let mut text = String::from("# a comment\n\n");
        for number in 1..20 {
            text += &format!("{ZEROS} {number} some/name-{number}-{}\n", "x".repeat(number * 7 % 40));
        }
        let whole = parse(&text).unwrap();
        assert_eq!((whole.len(), whole.parts.len()), (19, 1));
        let invalid = format!("{text}{ZEROS} 20 last\noops\nand again");
        for part in 1..150 {
            let in_parts = |text: &str| {
                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(file.path(), text).unwrap();
                let length = text.len() as u64;
                let file = ListFile { file: file.reopen().unwrap(), path: "list".into(), length };
                List::check(file, part, &|_| {})
            };
            let list = in_parts(&text).unwrap();
            let targets = |list: &List| (0..list.len()).map(|at| list.target(at).unwrap()).collect::<Vec<_>>();
            assert_eq!(targets(&list), targets(&whole), "{part}");
            assert_eq!(lines(&list, &[0, 18]), [3, 21], "{part}");
            let printed = in_parts(&invalid).unwrap_err().to_string();
            assert!(printed.starts_with("line 23 of the list is neither"), "{part}: {printed}");
        }
    }

    #[test]
    fn a_line_may_be_longer_than_a_part() {
        let long = "x".repeat(2 * CHUNK_SIZE as usize);
        let text = format!(
            "{ZEROS} 1 a\n{{\"path\": \"b\", \"length\": 2, \"hashes\": {{\"sha256\": \"{ZEROS}\"}}, \"custom\": {{\"x\": \"{long}\"}}}}\n{ZEROS} 3 c"
        );
        let list = parse(&text).unwrap();
        let lengths: Vec<u64> = (0..list.len()).map(|at| list.target(at).unwrap().length).collect();
        assert_eq!(lengths, [1, 2, 3]);
        assert_eq!(lines(&list, &[0, 1, 2]), [1, 2, 3]);
        let too_long = format!("{ZEROS} 1 a\n# {}\n{ZEROS} 3 c", "x".repeat(MAX_LINE_LENGTH));
        assert_eq!(reason(&too_long), "line 2 of the list is longer than 16 MiB");
    }

    #[test]
    fn a_list_that_changes_after_it_was_checked_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!("{ZEROS} 1 a\n{ZEROS} 2 b\n");
        std::fs::write(file.path(), &text).unwrap();
        let list = List::read(file.path(), &tempfile::env::temp_dir(), &|_| {}).unwrap();
        assert_eq!(list.target(1).unwrap().length, 2);
        for changed in [&text.replace(" b", " c"), &text.replace(" 2 ", " x "), "", &text.replace('\n', " ")] {
            std::fs::write(file.path(), changed).unwrap();
            let printed = list.target(1).unwrap_err().to_string();
            assert!(printed.ends_with("it changed while it was being read"), "{printed}");
        }
    }
}
