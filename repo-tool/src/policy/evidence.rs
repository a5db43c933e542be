//! Prepares the evidence for a package for publication next to the package.
//!
//! All JSON evidence becomes one file, `PACKAGE.intoto.jsonl`, with one JSON object per line. Each signature that is
//! not JSON becomes a separate file, `PACKAGE.sig`. Evidence that is added later gets a new name with a number, because
//! published files should not change.

use std::path::PathBuf;

use lastmile_attest::json::Value;
use lastmile_attest::{Evidence, MAX_EVIDENCE_FILES, MAX_EVIDENCE_LENGTH};
use lastmile_metadata::{RoleName, TargetFile, TargetPath};
use tempfile::TempDir;

use crate::draft::Draft;
use crate::edit::evidence::PackageEvidence;
use crate::edit::intake::Source;
use crate::files::access::write_new;
use crate::files::links::{Links, read_through};
use crate::immutable::has_same_bytes;
use crate::names::target_path;
use crate::{Error, NotFound, PolicyError, Repository};

/// The file name extensions of evidence files.
const JSON_LINES: &str = "intoto.jsonl";
const SIGNATURE: &str = "sig";

/// New evidence for one package.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct NewEvidence {
    /// JSON objects, each on one line.
    lines: Vec<Vec<u8>>,
    /// Signatures that are not JSON.
    signatures: Vec<Vec<u8>>,
}

#[derive(Debug)]
pub(crate) struct PreparedEvidence {
    /// The new evidence files, without those that are already published.
    pub(crate) sources: Vec<Source>,
    /// The package, with all evidence files that its entry will list, including files that are already published.
    pub(crate) evidence: PackageEvidence,
    _folder: TempDir,
}

impl NewEvidence {
    pub(crate) fn read(files: &[PathBuf]) -> Result<Self, Error> {
        let mut evidence = Self::default();
        for file in files {
            let content = read_through(file, Links::Follow, MAX_EVIDENCE_LENGTH)?;
            let content = content.ok_or_else(|| NotFound::File { path: file.clone() })?;
            Evidence::parse(&content)
                .map_err(|error| PolicyError::Evidence { file: file.clone(), problem: error.to_string() })?;
            evidence.add(&content);
        }
        Ok(evidence)
    }

    fn add(&mut self, content: &[u8]) {
        if !content.trim_ascii_start().starts_with(b"{") {
            if !self.signatures.iter().any(|known| known == content) {
                self.signatures.push(content.to_vec());
            }
            return;
        }
        let documents: Vec<&[u8]> = match Value::parse(content) {
            Ok(_) => vec![content],
            Err(_) => content.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect(),
        };
        for line in documents.into_iter().map(compact) {
            if !self.lines.contains(&line) {
                self.lines.push(line);
            }
        }
    }

    /// Returns the files to publish: the file name extension and the content of each.
    fn contents(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut contents = Vec::new();
        if !self.lines.is_empty() {
            let mut content = self.lines.join(&b'\n');
            content.push(b'\n');
            contents.push((JSON_LINES, content));
        }
        contents.extend(self.signatures.iter().map(|signature| (SIGNATURE, signature.clone())));
        contents
    }
}

/// Removes the white space between the tokens of valid JSON text.
fn compact(text: &[u8]) -> Vec<u8> {
    let mut compact = Vec::with_capacity(text.len());
    let mut is_in_string = false;
    let mut is_escaped = false;
    for byte in text {
        if is_in_string {
            is_in_string = is_escaped || *byte != b'"';
            is_escaped = !is_escaped && *byte == b'\\';
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            is_in_string = *byte == b'"';
        }
        compact.push(*byte);
    }
    compact
}

impl Repository {
    /// Chooses the names of evidence files for `package`, and writes the new files to a temporary folder. If the
    /// package is already published with the same content, its published evidence keeps its names.
    ///
    /// # Errors
    /// [`Error::File`] if a file cannot be written. Also returns an error if the metadata of the role cannot be read. A
    /// role that does not exist is treated as a role without targets.
    #[expect(clippy::disallowed_methods, reason = "this temporary folder is not part of the repository")]
    pub(crate) fn prepare_evidence(
        &mut self,
        role: &RoleName,
        package: &TargetFile,
        new: &NewEvidence,
    ) -> Result<PreparedEvidence, Error> {
        let at = std::env::temp_dir();
        let folder = tempfile::tempdir().map_err(|error| Error::file("create a folder in", &at, error))?;
        let mut sources = Vec::new();
        let mut files = Vec::new();
        for (number, (ending, content)) in new.contents().into_iter().enumerate() {
            let (name, is_published) = self.evidence_name(role, package, ending, &content, &files)?;
            if !is_published {
                let file = folder.path().join(number.to_string());
                write_new(&file, &content, 0o600)?;
                sources.push(Source::new(file, name.clone()));
            }
            files.push(name);
        }
        let evidence = PackageEvidence { package: package.path.clone(), files };
        Ok(PreparedEvidence { sources, evidence, _folder: folder })
    }

    /// Chooses the name of an evidence file, and returns whether the role already lists this name with `content`.
    ///
    /// If the role already lists `package` with the same content, the listed evidence files remain valid, so the new
    /// file does not get the name of a listed file with different content. If the content of the package changes, the
    /// listed evidence files become useless, so the new file may replace one of them.
    fn evidence_name(
        &mut self,
        role: &RoleName,
        package: &TargetFile,
        ending: &str,
        content: &[u8],
        taken: &[TargetPath],
    ) -> Result<(TargetPath, bool), Error> {
        let is_unchanged = self.listed(role, &package.path)?.iter().any(|listed| has_same_bytes(listed, package));
        for number in 1.. {
            let number = if number == 1 { String::new() } else { format!("{number}.") };
            let name = target_path(&format!("{}.{number}{ending}", package.path))?;
            if taken.contains(&name) {
                continue;
            }
            let listed = self.listed(role, &name)?;
            let has_content = |target: &TargetFile| {
                let mut verifier = target.verifier();
                verifier.update(content).and_then(|()| verifier.finish()).is_ok()
            };
            if !listed.is_empty() && listed.iter().all(has_content) {
                return Ok((name, true));
            }
            if listed.is_empty() || !is_unchanged {
                return Ok((name, false));
            }
        }
        Err(PolicyError::TooMuchEvidence { path: package.path.clone(), count: usize::MAX, most: MAX_EVIDENCE_FILES }
            .into())
    }

    /// Returns the entries of a target in a role or its bins: the published entry, and the entry in the pending change
    /// if it differs from the published entry.
    fn listed(&mut self, role: &RoleName, path: &TargetPath) -> Result<Vec<TargetFile>, Error> {
        let pending = self.staged()?;
        let mut listed = Vec::new();
        for draft in [Draft::default(), pending] {
            let mut edit = self.edit(draft);
            let holder = match edit.bin_for(role, path) {
                Ok(holder) => holder,
                // The role may exist only in the pending change.
                Err(Error::NotFound(_)) => continue,
                Err(error) => return Err(error),
            };
            listed.extend(edit.view(&holder)?.target(path));
        }
        listed.dedup();
        Ok(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_compacted_without_changing_its_strings() {
        let text = b"{\n  \"a\": \"x \\\" y\\\\\",\t\"b\" : [ 1 , \"\xc3\xa4 \" ]\r\n}\n";
        assert_eq!(compact(text), b"{\"a\":\"x \\\" y\\\\\",\"b\":[1,\"\xc3\xa4 \"]}");
    }

    #[test]
    fn json_documents_become_lines_and_signatures_stay_separate() {
        let mut evidence = NewEvidence::default();
        evidence.add(b"{\n \"a\": 1\n}\n");
        evidence.add(b"{\"b\": 2}\n\n{\"a\":1}\n");
        evidence.add(b"c2lnbmF0dXJl\n");
        evidence.add(b"c2lnbmF0dXJl\n");
        let expected = vec![(JSON_LINES, b"{\"a\":1}\n{\"b\":2}\n".to_vec()), (SIGNATURE, b"c2lnbmF0dXJl\n".to_vec())];
        assert_eq!(evidence.contents(), expected);
    }
}
