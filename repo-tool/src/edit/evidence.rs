//! The evidence for packages, such as signatures and provenance. The custom data of a package lists the target paths of
//! its evidence in `lastmile.evidence`.

use std::collections::BTreeSet;
use std::path::Path;

use lastmile_attest::{MAX_EVIDENCE_FILES, evidence_paths};
use lastmile_metadata::{Json, RoleName, TargetFile, TargetPath};

use super::Edit;
use super::target_source::TargetSource;
use crate::immutable::has_same_bytes;
use crate::{Error, NotFound, PolicyError};

/// The evidence files of a package. The custom data of the package lists the paths of these files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageEvidence {
    /// The package.
    pub package: TargetPath,
    /// The target paths of the evidence files.
    pub files: Vec<TargetPath>,
}

impl Edit<'_> {
    /// Removes targets. For each target, also removes the target's evidence files whose names begin with the name of
    /// the target and a dot. For example, a package `app` is removed with `app.sig` and `app.intoto.jsonl`, if its
    /// custom data lists them as evidence.
    ///
    /// # Errors
    /// [`Error::NotFound`] if one of the targets is not listed.
    pub fn remove_packages(&mut self, role: Option<&RoleName>, paths: &[TargetPath]) -> Result<(), Error> {
        let mut evidence = Vec::new();
        for path in paths {
            let holder = match role {
                Some(role) => Some(self.bin_for(role, path)?),
                None => self.holder(path)?,
            };
            if let Some(holder) = holder
                && let Some(target) = self.view(&holder)?.target(path)
            {
                evidence.extend(evidence_beside(&target).filter(|file| !paths.contains(file)));
            }
            self.remove_target(role, path)?;
        }
        self.remove_evidence(role, evidence)
    }

    /// Removes the evidence files in `useless` from `role` or its bins, except those that are among the added targets.
    pub(super) fn remove_useless_evidence(
        &mut self,
        role: &RoleName,
        mut useless: BTreeSet<TargetPath>,
        added: &dyn TargetSource,
    ) -> Result<(), Error> {
        if useless.is_empty() {
            return Ok(());
        }
        for number in 0..added.len() {
            useless.remove(&added.path(number)?);
        }
        self.remove_evidence(Some(role), useless)
    }

    /// Removes evidence files from `role` or, if `role` is `None`, from the roles that list them.
    fn remove_evidence(
        &mut self,
        role: Option<&RoleName>,
        files: impl IntoIterator<Item = TargetPath>,
    ) -> Result<(), Error> {
        for path in files {
            match self.remove_target(role, &path) {
                // If `role` does not list the file, another role may list it for its own packages.
                Ok(_) | Err(Error::NotFound(NotFound::Target { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Returns the evidence files of a package whose names begin with the name of the package and a dot.
fn evidence_beside(package: &TargetFile) -> impl Iterator<Item = TargetPath> + use<> {
    let start = format!("{}.", package.path);
    evidence_paths(package).unwrap_or_default().into_iter().filter(move |file| file.as_str().starts_with(&start))
}

/// Returns the evidence files beside `before` that become useless because `target` replaces `before` with different
/// content. Files that `target` lists are not returned.
pub(super) fn useless_evidence(before: &TargetFile, target: &TargetFile) -> Vec<TargetPath> {
    if before.custom.is_none() || has_same_bytes(before, target) {
        return Vec::new();
    }
    let listed = evidence_paths(target).unwrap_or_default();
    evidence_beside(before).filter(|file| !listed.contains(file)).collect()
}

/// Adds evidence files to the custom data of a package. If the listed target `before` has the same content as `target`,
/// the evidence of `before` is kept.
pub(crate) fn list_evidence(
    target: &mut TargetFile,
    before: Option<&TargetFile>,
    files: &[TargetPath],
) -> Result<(), Error> {
    let kept = before.filter(|before| has_same_bytes(before, target));
    let mut listed = kept.map(|before| evidence_paths(before).unwrap_or_default()).unwrap_or_default();
    let new: Vec<&TargetPath> = files.iter().filter(|file| !listed.contains(file)).collect();
    listed.extend(new.into_iter().cloned());
    if listed.len() > MAX_EVIDENCE_FILES {
        let (path, count) = (target.path.clone(), listed.len());
        return Err(PolicyError::TooMuchEvidence { path, count, most: MAX_EVIDENCE_FILES }.into());
    }
    target.custom = Some(with_evidence(target, &listed)?);
    Ok(())
}

/// Returns the custom data that `target` takes over from `before`, the listed target that it replaces. Evidence is
/// about certain bytes, so the list of evidence files is taken over only if the content is the same.
pub(super) fn kept_custom(target: &TargetFile, before: &TargetFile) -> Option<Json> {
    let custom = before.custom.clone()?;
    if has_same_bytes(before, target) { Some(custom) } else { without_evidence(custom) }
}

/// Removes the list of evidence files, and each object that is then empty.
fn without_evidence(custom: Json) -> Option<Json> {
    let Ok(serde_json::Value::Object(mut members)) = serde_json::from_str(&custom.to_text()) else {
        return Some(custom);
    };
    let Some(own) = members.get_mut("lastmile").and_then(serde_json::Value::as_object_mut) else {
        return Some(custom);
    };
    if own.remove("evidence").is_none() {
        return Some(custom);
    }
    if own.is_empty() {
        members.remove("lastmile");
    }
    if members.is_empty() { None } else { Json::parse(&serde_json::Value::Object(members).to_string()).ok() }
}

/// Returns the custom data of `target` with `files` as the list of evidence files.
fn with_evidence(target: &TargetFile, files: &[TargetPath]) -> Result<Json, Error> {
    let file = Path::new(target.path.as_str());
    let failed = |problem: String| PolicyError::Evidence { file: file.to_path_buf(), problem };
    let text = target.custom.as_ref().map_or_else(|| "{}".to_string(), Json::to_text);
    let mut custom: serde_json::Value = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    let members = custom.as_object_mut().ok_or_else(|| failed("its custom data is not an object".into()))?;
    let own = members.entry("lastmile").or_insert_with(|| serde_json::json!({}));
    let own = own.as_object_mut().ok_or_else(|| failed("`lastmile` in its custom data is not an object".into()))?;
    own.insert("evidence".to_string(), files.iter().map(TargetPath::as_str).collect());
    Json::parse(&custom.to_string()).map_err(|error| failed(error.to_string()).into())
}
