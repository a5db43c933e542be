//! Adds bundles to evidence files. These files have one bundle per line, and all bundles in a file are for the same
//! package.

use std::path::Path;

use lastmile_attest::{Artifact, Evidence, MAX_EVIDENCE_LENGTH};
use lastmile_client::text::printable_path;
use lastmile_fs::disk;

use crate::Error;
use crate::files::access;
use crate::files::links::{Links, read_through};
use crate::files::lock::TemporaryLock;

/// The name of the file that is locked while an evidence file in the same folder changes.
const LOCK: &str = ".lastmile-evidence.lock";

/// What to do with an existing evidence file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Add a line to the file, which must contain evidence for the same package.
    Append,
    /// Fail, and leave the file unchanged.
    Keep,
    Replace,
}

pub(crate) struct NewContent {
    pub(crate) bytes: Vec<u8>,
    /// The number of pieces of evidence in the file.
    pub(crate) items: usize,
    /// `false` if the file already contains the bundle and therefore need not be written.
    pub(crate) is_new: bool,
}

/// Writes a new bundle to the evidence file `path`. If several commands add bundles at the same time, no bundle is
/// lost.
pub(crate) fn add(path: &Path, bundle: &str, artifact: &Artifact, existing: Existing) -> Result<NewContent, Error> {
    let _lock = TemporaryLock::take(path.with_file_name(LOCK))?;
    let new = content_with(path, bundle, artifact, existing)?;
    if new.is_new {
        write(path, &new.bytes)?;
    }
    Ok(new)
}

/// Returns the content that the evidence file `path` would have with a new bundle. Does not write the file.
pub(crate) fn content_with(
    path: &Path,
    bundle: &str,
    artifact: &Artifact,
    existing: Existing,
) -> Result<NewContent, Error> {
    let line = format!("{bundle}\n");
    let old = match existing {
        Existing::Replace => None,
        Existing::Append | Existing::Keep => read_through(path, Links::Follow, MAX_EVIDENCE_LENGTH)?,
    };
    let Some(old) = old else {
        return Ok(NewContent { bytes: line.into_bytes(), items: 1, is_new: true });
    };
    let refuse = |reason: &str| {
        Error::Failed(format!("{} {reason}: choose another file with --out, or add --replace", printable_path(path)))
    };
    if existing == Existing::Keep {
        return Err(refuse("exists"));
    }
    let before = Evidence::parse(&old).map_err(|error| refuse(&format!("is not evidence ({error})")))?;
    for item in before.items() {
        item.check_subject(artifact).map_err(|error| refuse(&format!("is evidence for another package ({error})")))?;
    }
    if old.split(|byte| *byte == b'\n').any(|old| old == bundle.as_bytes()) {
        return Ok(NewContent { items: before.items().len(), bytes: old, is_new: false });
    }
    let mut bytes = old;
    if !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(line.as_bytes());
    // A bundle cannot be appended to a JSON document with several lines, or to a signature in base64.
    let after = Evidence::parse(&bytes).map_err(|_| refuse("does not have one bundle per line"))?;
    Ok(NewContent { items: after.items().len(), bytes, is_new: true })
}

/// Creates or replaces an evidence file atomically.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (mut file, new) = disk::create_unique(folder, ".evidence-", "", |path| disk::create(path, 0o666))
        .map_err(|error| Error::file("create a file in", folder, error))?;
    let written = file.write_all(bytes).and_then(|()| file.sync());
    let replaced = written.and_then(|()| file.keep_owner(path)).and_then(|()| disk::rename(&new, path));
    if let Err(error) = replaced {
        let _ = disk::remove(&new);
        return Err(Error::file("write", path, error));
    }
    access::sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lastmile_attest::make::NewStatement;
    use lastmile_keys::{PrivateKey, Scheme};
    use lastmile_metadata::{Algorithm, Hashes, TargetPath};

    use super::*;

    fn artifact(content: &[u8]) -> Artifact {
        Artifact::new(TargetPath::new("app").unwrap(), Hashes::of(content, &[Algorithm::Sha256]).unwrap())
    }

    fn bundle(content: &[u8], seed: u8) -> String {
        let key = PrivateKey::from_seed(Scheme::Ed25519, &[seed; 32]).unwrap();
        NewStatement::publish(&artifact(content)).unwrap().sign(&key).unwrap()
    }

    #[test]
    fn bundles_for_the_same_package_are_added_once_each() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.intoto.jsonl");
        let mut lines = String::new();
        for (seed, items, is_new) in [(1, 1, true), (2, 2, true), (1, 2, false)] {
            let bundle = bundle(b"app", seed);
            let new = add(&path, &bundle, &artifact(b"app"), Existing::Append).unwrap();
            assert_eq!((new.items, new.is_new), (items, is_new));
            if is_new {
                lines += &format!("{bundle}\n");
            }
            assert_eq!(fs::read_to_string(&path).unwrap(), lines);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn evidence_for_another_package_and_other_files_are_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("evidence");
        let several_lines = bundle(b"app", 1).replacen('{', "{\n", 1);
        let cases = [
            (bundle(b"other", 1), "is evidence for another package"),
            ("text".to_string(), "is not evidence"),
            ("AAAAAAAAAAAAAAAA".to_string(), "does not have one bundle per line"),
            (several_lines, "does not have one bundle per line"),
        ];
        for (content, expected) in cases {
            fs::write(&path, content).unwrap();
            let new = bundle(b"app", 2);
            let refused = content_with(&path, &new, &artifact(b"app"), Existing::Append).err().unwrap().to_string();
            assert!(refused.contains(expected), "{refused}");
            let replaced = content_with(&path, &new, &artifact(b"app"), Existing::Replace).unwrap();
            assert_eq!(replaced.bytes, format!("{new}\n").into_bytes());
            let kept = content_with(&path, &new, &artifact(b"app"), Existing::Keep).err().unwrap().to_string();
            assert!(kept.contains("exists"), "{kept}");
        }
    }
}
