//! Lists of targets whose files are on another server (`add --from-list`). They are parsed on all cores and kept as text.
//!
//! Each line is either a JSON object, `{"path": "a/b", "length": 3, "hashes": {"sha256": "…"}, "custom": {…}}`, where
//! `custom` is optional, or `SHA256  LENGTH  PATH`, separated by spaces or tabs, where the path is the rest of the line. The
//! first character determines the form. Empty lines and lines that start with `#` are skipped.

use std::fmt;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use lastmile_fs::named;
use lastmile_metadata::{Algorithm, Hashes, Json, TargetFile, hash_start};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::edit::add::DelegatedPaths;
use crate::edit::bulk::TargetSource;
use crate::edit::intake;
use crate::immutable::Immutable;
use crate::{EditError, Error, LineFault, parallel};

/// Bytes of the list that one core parses at once.
const PART: usize = 1 << 20;

/// A checked list of targets. Each target takes the memory of its line and 24 bytes.
#[derive(Debug)]
pub struct List {
    text: String,
    entries: Vec<LineEntry>,
    delegated: DelegatedPaths,
    immutable: Immutable,
}

#[derive(Clone, Copy, Debug)]
struct LineEntry {
    /// The offset of the line in bytes.
    start: u64,
    /// The first bytes of the hash of the path.
    hash: u64,
    /// The number of the line, from 1.
    line: u32,
    /// The length of the line in bytes.
    length: u32,
}

/// A line in JSON. Unknown members are refused, because they may be typos.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonLine {
    path: String,
    length: u64,
    hashes: HashMembers,
    custom: Option<serde_json::Map<String, serde_json::Value>>,
}

/// The members of `hashes`. A map would silently keep the last of two equal members.
struct HashMembers(Vec<(String, String)>);

impl<'de> Deserialize<'de> for HashMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = HashMembers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of hashes")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HashMembers, A::Error> {
                let mut members: Vec<(String, String)> = Vec::new();
                while let Some(member) = map.next_entry::<String, String>()? {
                    if members.iter().any(|(name, _)| *name == member.0) {
                        return Err(Error::custom(format_args!("duplicate hash `{}`", member.0)));
                    }
                    members.push(member);
                }
                Ok(HashMembers(members))
            }
        }
        use serde::de::Error;
        deserializer.deserialize_map(Members)
    }
}

impl List {
    /// Reads the list in `file`. `progress` counts bytes.
    ///
    /// # Errors
    /// [`Error::Edit`] with the number of the first invalid line.
    pub fn read(file: &Path, progress: &(dyn Fn(usize) + Sync)) -> Result<Self, Error> {
        let read = |error| Error::file("read", file, error);
        let mut text = Vec::new();
        let mut from = named::open(file).map_err(read)?;
        text.reserve(from.metadata().ok().and_then(|found| usize::try_from(found.len()).ok()).unwrap_or(0));
        from.read_to_end(&mut text).map_err(read)?;
        if text.is_empty() {
            return Err(read(io::Error::new(io::ErrorKind::InvalidData, "it is empty")));
        }
        Self::parse(text, progress)
    }

    /// Reads the text of a list. `progress` counts bytes.
    ///
    /// # Errors
    /// As [`List::read`].
    pub fn parse(text: Vec<u8>, progress: &(dyn Fn(usize) + Sync)) -> Result<Self, Error> {
        let text = String::from_utf8(text).map_err(|error| {
            let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            refused(1 + good.iter().filter(|byte| **byte == b'\n').count(), LineFault::NotUtf8)
        })?;
        let parts = parts_of(&text);
        let done = AtomicUsize::new(0);
        let read = parallel::try_map(&parts, |(first_line, part)| {
            let entries = read_part(&text, *first_line, part.clone());
            let before = done.fetch_add(part.len(), Ordering::Relaxed);
            progress(before + part.len());
            // Errors are returned as values here, so that the first invalid line is reported, not the one that a thread finds first.
            Ok(entries)
        })?;
        let mut entries = Vec::new();
        for part in read {
            entries.append(&mut part?);
        }
        Ok(Self { text, entries, delegated: DelegatedPaths::Refuse, immutable: Immutable::none() })
    }

    /// Sets the treatment of targets whose paths their role delegates.
    #[must_use]
    pub fn with_delegated(self, delegated: DelegatedPaths) -> Self {
        Self { delegated, ..self }
    }

    /// Sets the names that keep their published content.
    #[must_use]
    pub fn with_immutable(self, immutable: Immutable) -> Self {
        Self { immutable, ..self }
    }

    fn line(&self, number: usize) -> (usize, &str) {
        let Some(entry) = self.entries.get(number) else { return (0, "") };
        let start = usize::try_from(entry.start).unwrap_or(usize::MAX);
        let line = self.text.get(start..start.saturating_add(entry.length as usize)).unwrap_or_default();
        (entry.line as usize, line)
    }
}

impl TargetSource for List {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn hash_start(&self, number: usize) -> u64 {
        self.entries.get(number).map_or(0, |entry| entry.hash)
    }

    fn target(&self, number: usize) -> Result<TargetFile, Error> {
        let (number, line) = self.line(number);
        target_of(line).map_err(|fault| refused(number, fault))
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
        let ((first, _), (second, _)) = (self.line(one), self.line(other));
        let path = self.target(one)?.path;
        Err(EditError::DifferentLines { first, second, path }.into())
    }
}

/// Splits the text into pieces of whole lines, each with the number of its first line.
fn parts_of(text: &str) -> Vec<(usize, Range<usize>)> {
    let mut parts = Vec::new();
    let mut line = 1;
    let mut start = 0;
    while start < text.len() {
        let rest = text.as_bytes().get(start..).unwrap_or_default();
        let end =
            rest.get(PART..).and_then(|later| memchr::memchr(b'\n', later)).map_or(rest.len(), |at| PART + at + 1);
        parts.push((line, start..start + end));
        line += memchr::memchr_iter(b'\n', rest.get(..end).unwrap_or_default()).count();
        start += end;
    }
    parts
}

fn read_part(text: &str, first_line: usize, part: Range<usize>) -> Result<Vec<LineEntry>, Error> {
    let mut entries = Vec::new();
    let mut start = part.start;
    for (number, whole) in text.get(part).unwrap_or_default().split_inclusive('\n').enumerate() {
        let line = whole.trim_end_matches('\n').trim_end_matches('\r');
        let number = first_line + number;
        if !line.is_empty() && !line.starts_with('#') {
            let too_long = |_| refused(number, LineFault::TooLong);
            let target = target_of(line).map_err(|fault| refused(number, fault))?;
            entries.push(LineEntry {
                start: start as u64,
                hash: hash_start(target.path.as_str()),
                line: u32::try_from(number).map_err(too_long)?,
                length: u32::try_from(line.len()).map_err(too_long)?,
            });
        }
        start += whole.len();
    }
    entries.shrink_to_fit();
    Ok(entries)
}

fn refused(line: usize, fault: LineFault) -> Error {
    EditError::Line { line, fault }.into()
}

/// Parses a line.
fn target_of(line: &str) -> Result<TargetFile, LineFault> {
    let refused = |error| LineFault::Path(Box::new(error));
    let (path, length, hashes, custom) = if line.starts_with('{') { json_entry(line)? } else { plain_entry(line)? };
    let path = intake::target_path(&path).map_err(refused)?;
    let hashes = Hashes::new(hashes).ok_or(LineFault::NoHash)?;
    intake::check_length_of_name(&path, &hashes).map_err(refused)?;
    let mut target = TargetFile::new(path, length, hashes);
    target.custom = custom;
    Ok(target)
}

/// The path, the length, the digests and the custom data of an entry.
type Entry = (String, u64, Vec<(Algorithm, Vec<u8>)>, Option<Json>);

fn json_entry(line: &str) -> Result<Entry, LineFault> {
    let JsonLine { path, length, hashes, custom } =
        serde_json::from_str(line).map_err(|error| LineFault::Json(error.to_string()))?;
    let hashes = hashes.0.iter().map(|(name, digest)| digest_of(name, digest)).collect::<Result<Vec<_>, _>>()?;
    let custom = custom.map(|object| Json::parse(&serde_json::Value::Object(object).to_string()));
    let custom = custom.transpose().map_err(LineFault::Custom)?;
    if custom.is_some() {
        // The map has silently kept the last of two equal members.
        Json::parse(line).map_err(LineFault::Entry)?;
    }
    Ok((path, length, hashes, custom))
}

fn plain_entry(line: &str) -> Result<Entry, LineFault> {
    let (digest, rest) = word(line).ok_or(LineFault::Form)?;
    let (length, path) = word(rest).ok_or(LineFault::NoPath)?;
    let length = length.parse().map_err(|_| LineFault::Length(length.to_string()))?;
    Ok((path.to_string(), length, vec![digest_of("sha256", digest)?], None))
}

/// Splits off the first word and the blanks after it.
fn word(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once([' ', '\t'])?;
    let rest = rest.trim_start_matches([' ', '\t']);
    (!word.is_empty() && !rest.is_empty()).then_some((word, rest))
}

fn digest_of(name: &str, digest: &str) -> Result<(Algorithm, Vec<u8>), LineFault> {
    let algorithm = Algorithm::named(name).ok_or_else(|| LineFault::UnknownHash(name.to_string()))?;
    let bytes = hex::decode(digest).ok().filter(|bytes| bytes.len() == algorithm.length());
    bytes.map(|bytes| (algorithm, bytes)).ok_or(LineFault::Digest(algorithm))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    fn parse(text: &str) -> Result<List, Error> {
        List::parse(text.as_bytes().to_vec(), &|_| {})
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
        assert_eq!((list.line(0).0, list.line(1).0), (2, 4));
        assert_eq!(list.hash_start(0), hash_start("a/b c"));
    }

    #[test]
    fn an_invalid_line_is_reported_by_number() {
        let good = format!("{ZEROS} 1 a\n");
        for (bad, said) in [
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
            let said_of = reason(&format!("{good}{bad}\n"));
            assert!(said_of.starts_with(said), "{said_of}");
        }
        let fraction =
            format!(r#"{{"path": "a", "length": 1, "hashes": {{"sha256": "{ZEROS}"}}, "custom": {{"x": 1.5}}}}"#);
        assert!(reason(&fraction).starts_with("line 1 of the list has a `custom` that cannot be signed"));
        assert_eq!(
            List::parse(b"\n\xff".to_vec(), &|_| {}).unwrap_err().to_string(),
            "line 2 of the list is not UTF-8"
        );
    }

    #[test]
    fn line_numbers_continue_across_parts() {
        let mut text = String::new();
        let mut lines = 0;
        while text.len() < 3 * PART {
            lines += 1;
            text += &format!("{ZEROS} {lines} some/name-{lines}\n");
        }
        assert!(parts_of(&text).len() > 1);
        let list = parse(&text).unwrap();
        assert_eq!(list.len(), lines);
        for number in [0, lines / 2, lines - 1] {
            let target = list.target(number).unwrap();
            assert_eq!((target.length as usize, list.line(number).0), (number + 1, number + 1));
        }
        assert!(reason(&format!("{text}oops")).starts_with(&format!("line {} ", lines + 1)));
    }
}
