//! Adds new target files to a role, with their custom data.

use std::collections::BTreeSet;

use lastmile_metadata::{Json, RoleName, TargetFile, TargetPath, Targets};

use super::Edit;
use super::evidence::{PackageEvidence, kept_custom, list_evidence, useless_evidence};
use crate::error::Hidden;
use crate::immutable::Immutable;
use crate::{EditError, Error, InvalidInput};

/// If there are at least this many targets, they are added in one step instead of one by one.
const MANY: usize = 1000;

/// Options for adding target files to a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddOptions {
    /// The custom data of the added targets.
    pub custom: Custom,
    /// Whether to refuse targets whose paths the role delegates to another role.
    pub delegated: DelegatedPaths,
    /// Whether immutable targets that are already published may be replaced.
    pub published: PublishedTargets,
    /// The evidence for one of the added targets.
    pub evidence: Option<PackageEvidence>,
}

/// Whether an [immutable](crate::Immutable) target that is already published may be replaced by a file with different
/// content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PublishedTargets {
    /// Refuse to replace the target.
    #[default]
    Keep,
    /// Replace the target.
    Replace,
}

/// Whether a target may be added to a role that delegates the path of the target to another role. Clients then find
/// this target, not a target with the same path in the delegated role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DelegatedPaths {
    /// Refuse the target.
    #[default]
    Refuse,
    /// Add the target, even if it hides a target in the delegated role.
    Hide,
}

impl AddOptions {
    /// Sets the custom data of the added targets.
    #[must_use]
    pub fn with_custom(self, custom: Custom) -> Self {
        Self { custom, ..self }
    }

    /// Adds evidence files to those that the custom data of a package already lists.
    #[must_use]
    pub fn with_evidence(self, evidence: PackageEvidence) -> Self {
        Self { evidence: Some(evidence), ..self }
    }

    /// Evidence files do not get the custom data that the user specifies for the package.
    pub(crate) fn is_evidence(&self, path: &TargetPath) -> bool {
        self.evidence.as_ref().is_some_and(|evidence| evidence.files.contains(path))
    }

    /// `before` is the target that `target` replaces, if any.
    fn set_custom(&self, target: &mut TargetFile, before: Option<&TargetFile>) -> Result<(), Error> {
        if self.is_evidence(&target.path) {
            Custom::Keep.set(target, before);
            return Ok(());
        }
        self.custom.set(target, before);
        match &self.evidence {
            Some(evidence) if evidence.package == target.path => list_evidence(target, before, &evidence.files),
            _ => Ok(()),
        }
    }

    /// Allows replacing immutable targets that are already published.
    #[must_use]
    pub fn replace_published(self) -> Self {
        Self { published: PublishedTargets::Replace, ..self }
    }

    /// Allows adding targets whose paths the role delegates to another role.
    #[must_use]
    pub fn hide_delegated(self) -> Self {
        Self { delegated: DelegatedPaths::Hide, ..self }
    }
}

/// The custom data that added targets get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Custom {
    /// A replaced target keeps its custom data. If its content changes, the list of its evidence files is removed. A
    /// new target has no custom data.
    #[default]
    Keep,
    /// Every added target gets this JSON object as its custom data.
    Replace(Json),
    /// No added target has custom data.
    Remove,
}

impl Custom {
    /// Parses members of the form `KEY=TEXT` or `KEY:=JSON`. Returns [`Custom::Keep`] if `members` is empty.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if a member does not have one of these forms, its value has no canonical form, or a key
    /// is given twice.
    pub fn parse(members: &[String]) -> Result<Self, Error> {
        if members.is_empty() {
            return Ok(Self::Keep);
        }
        let mut parsed = Vec::new();
        for text in members {
            let pair = text.split_once('=').filter(|(key, _)| !matches!(*key, "" | ":"));
            let (key, value) = pair.ok_or_else(|| InvalidInput::CustomPair { pair: text.clone() })?;
            let member = match key.strip_suffix(':') {
                Some(key) => (key, value.to_string()),
                None => (key, serde_json::Value::from(value).to_string()),
            };
            if parsed.iter().any(|(other, _)| *other == member.0) {
                return Err(InvalidInput::CustomTwice { key: member.0.to_string() }.into());
            }
            // Parse each value on its own first. Otherwise, a value could close the surrounding object.
            Json::parse(&member.1).map_err(|error| InvalidInput::Custom { key: member.0.to_string(), error })?;
            parsed.push(member);
        }
        let members = parsed.iter().map(|(key, value)| format!("{}:{value}", serde_json::Value::from(*key)));
        let object = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
        let whole = |error| InvalidInput::Custom { key: members_of(&parsed), error };
        Ok(Self::Replace(Json::parse(&object).map_err(whole)?))
    }

    /// Sets the custom data of `target`. `before` is the listed target that `target` replaces, if any.
    fn set(&self, target: &mut TargetFile, before: Option<&TargetFile>) {
        match self {
            // The targets in a queued request of another process already have their custom data.
            Self::Keep if target.custom.is_none() => {
                target.custom = before.and_then(|before| kept_custom(target, before));
            }
            Self::Keep => {}
            Self::Replace(custom) => target.custom = Some(custom.clone()),
            Self::Remove => target.custom = None,
        }
    }
}

fn members_of(parsed: &[(&str, String)]) -> String {
    parsed.iter().map(|(key, _)| *key).collect::<Vec<_>>().join(", ")
}

impl Edit<'_> {
    /// Adds new target files to `role`, or to its bins. Unless `options` allows it, published targets whose names match
    /// `immutable` must not change.
    ///
    /// # Errors
    /// [`Error::Edit`] if the role delegates the path of a target to another role and `options` does not allow such
    /// targets. [`Error::Edit`] if a target would replace an immutable target and `options` does not allow this. Also
    /// returns an error if the role does not exist or its metadata does not verify.
    pub(crate) fn list(
        &mut self,
        role: &RoleName,
        mut targets: Vec<TargetFile>,
        options: &AddOptions,
        immutable: &Immutable,
    ) -> Result<(), Error> {
        let are_many = targets.len() >= MANY;
        if are_many {
            self.read_roles_for(role, &targets)?;
        }
        let mut hidden = Vec::new();
        let mut replaced = Vec::new();
        let mut useless = BTreeSet::new();
        for target in &mut targets {
            let holder = self.bin_for(role, &target.path)?;
            let view = self.view(&holder)?;
            if options.delegated == DelegatedPaths::Refuse {
                hidden.extend(hidden_by(&holder, view, &target.path));
            }
            let before = view.target(&target.path);
            options.set_custom(target, before.as_ref())?;
            useless.extend(before.iter().flat_map(|before| useless_evidence(before, target)));
            if options.published == PublishedTargets::Keep && immutable.covers(&target.path) {
                let listed = self.published.known(&holder).and_then(|role| role.target(&target.path));
                let published = match listed {
                    // If there are many targets, skip the search in other roles, which would be slow.
                    None if !are_many => self.published.find(&target.path)?.map(|found| found.target),
                    listed => listed,
                };
                let forbids = |published: &TargetFile| immutable.forbids(published, target);
                replaced.extend(published.filter(forbids).map(|published| published.path));
            }
        }
        refuse_hiding(hidden)?;
        refuse_replacing(replaced)?;
        // If `fill` changes nothing, add each target again, so that its file is published and the role is signed again.
        if are_many && self.fill(role, &targets, &|_| {})? > 0 {
            return Ok(());
        }
        self.remove_useless_evidence(role, useless, &targets)?;
        for target in targets {
            self.add_target(role, target)?;
        }
        Ok(())
    }
}

pub(super) fn refuse_replacing(paths: Vec<TargetPath>) -> Result<(), Error> {
    if paths.is_empty() { Ok(()) } else { Err(EditError::Immutable { paths }.into()) }
}

/// If `role` delegates `path` to another role, describes how a target of `role` would hide the other role's target.
pub(super) fn hidden_by(role: &RoleName, view: &Targets, path: &TargetPath) -> Option<Hidden> {
    let covering = view.delegations.as_ref()?.covering(path).into_iter().next()?;
    Some(Hidden { path: path.clone(), role: role.clone(), delegated: covering.0 })
}

pub(super) fn refuse_hiding(hidden: Vec<Hidden>) -> Result<(), Error> {
    if hidden.is_empty() { Ok(()) } else { Err(EditError::HidesDelegated { hidden }.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(members: &[&str]) -> Result<String, String> {
        let members: Vec<String> = members.iter().map(ToString::to_string).collect();
        match Custom::parse(&members) {
            Ok(Custom::Replace(json)) => Ok(json.to_text()),
            Ok(other) => Ok(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn custom_members_are_text_unless_given_as_json() {
        let cases: [(&[&str], &str); 7] = [
            (&[], "Keep"),
            (&["version=1.10"], r#"{"version":"1.10"}"#),
            (&["b=true", "a=1", "c=a=b"], r#"{"a":"1","b":"true","c":"a=b"}"#),
            (&["on:=true", "n:=12", "none:=null"], r#"{"n":12,"none":null,"on":true}"#),
            (&[r#"deps:={"b": ["x"], "a": 1}"#], r#"{"deps":{"a":1,"b":["x"]}}"#),
            (&["empty="], r#"{"empty":""}"#),
            (&["url=https://a/b:=c"], r#"{"url":"https://a/b:=c"}"#),
        ];
        for (members, expected) in cases {
            assert_eq!(parse(members).as_deref(), Ok(expected), "{members:?}");
        }
    }

    #[test]
    fn custom_members_that_cannot_be_signed_are_refused() {
        let cases: [(&[&str], &str); 8] = [
            (&["a"], "`a` is not of the form KEY=TEXT or KEY:=JSON"),
            (&["=a"], "`=a` is not of the form"),
            (&[":=1"], "`:=1` is not of the form"),
            (&["a=1", "a:=2"], "`a` is given twice"),
            (&["a:=1.10"], "--custom a: "),
            (&["a:=1,\"b\":2"], "--custom a: "),
            (&["a:=x"], "--custom a: "),
            (&[r#"a:={"x": 1, "x": 2}"#], "--custom a: "),
        ];
        for (members, expected) in cases {
            let refused = parse(members).unwrap_err();
            assert!(refused.starts_with(expected), "{members:?}: {refused}");
        }
    }
}
