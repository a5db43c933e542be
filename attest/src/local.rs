//! The local policy, in which the user of a client adds rules to those of the repository, and makes exceptions to
//! rules.

use chrono::{DateTime, Utc};
use lastmile_metadata::{PathPattern, TargetPath, parse_time};

use crate::json::{Object, Value};
use crate::policy::{Policy, PolicyError};

/// The local policy. [`LocalPolicy::default`] has no rules and makes no exceptions.
#[derive(Clone, Debug, Default)]
pub struct LocalPolicy {
    policy: Option<Policy>,
    exceptions: Vec<Exception>,
}

/// An exception ("break glass"): packages that may be installed although a rule refuses them. The verdict on such a
/// package contains the reason for the exception. Exceptions override only policies; all TUF checks remain in force.
#[derive(Clone, Debug)]
pub(crate) struct Exception {
    paths: Vec<PathPattern>,
    pub(crate) reason: String,
    until: DateTime<Utc>,
}

impl LocalPolicy {
    /// Reads the JSON text of a local policy. Unlike in other policies, `require` is optional, and each trust root must
    /// have a `sha256`. A local policy may also have a list `break-glass`, whose elements are objects with the members
    /// `paths`, `reason` and `until`.
    ///
    /// # Errors
    /// [`PolicyError`] if the text is not a local policy, or contains something that this version of lastmile does not
    /// understand.
    pub fn parse(json: &[u8]) -> Result<Self, PolicyError> {
        let value =
            Value::parse(json).map_err(|error| PolicyError(format!("the policy is not strict JSON: {error}")))?;
        let object = value.as_object().ok_or_else(|| PolicyError("the policy is not an object".into()))?;
        let mut exceptions = Vec::new();
        if let Some(list) = object.get("break-glass") {
            let list = list.as_array().ok_or_else(|| PolicyError("break-glass is not a list".into()))?;
            exceptions = list.iter().map(Exception::read).collect::<Result<_, _>>()?;
        }
        let policy = Policy::parse_local(object.without("break-glass"))?;
        check(&policy)?;
        Ok(Self { policy: Some(policy), exceptions })
    }

    pub(crate) fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    pub(crate) fn exception(&self, path: &TargetPath, now: DateTime<Utc>) -> Option<&Exception> {
        let covers = |exception: &&Exception| exception.paths.iter().any(|pattern| pattern.matches(path));
        self.exceptions.iter().filter(covers).find(|exception| now <= exception.until)
    }
}

/// Checks the requirements that apply only to local policies.
fn check(policy: &Policy) -> Result<(), PolicyError> {
    if let Some(unsupported) = policy.unsupported().first() {
        return Err(PolicyError(format!("{unsupported}, which needs a newer lastmile")));
    }
    match policy.trust_sources().find(|(_, source)| source.sha256().is_none()) {
        Some((name, _)) => Err(PolicyError(format!(
            "trust.{name} needs `sha256`; in a local policy, only this digest shows that the file is the right one"
        ))),
        None => Ok(()),
    }
}

impl Exception {
    fn read(value: &Value) -> Result<Self, PolicyError> {
        let error = |problem: &str| PolicyError(format!("an entry of break-glass {problem}"));
        let object = value.as_object().ok_or_else(|| error("is not an object"))?;
        if let Some((name, _)) = object.members().find(|(name, _)| !["paths", "reason", "until"].contains(name)) {
            return Err(error(&format!("has the unknown member {name:?}")));
        }
        let text = |object: &Object, name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
        let paths = object.get("paths").and_then(Value::as_array).unwrap_or_default();
        let paths: Option<Vec<_>> = paths.iter().map(|path| path.as_str().map(PathPattern::new)).collect();
        let paths = paths.filter(|paths| !paths.is_empty()).ok_or_else(|| error("has no list of `paths`"))?;
        let reason = text(object, "reason").filter(|reason| !reason.trim().is_empty());
        let until = text(object, "until").and_then(|until| parse_time(&until).ok());
        Ok(Self {
            paths,
            reason: reason.ok_or_else(|| error("has no `reason`"))?,
            until: until.ok_or_else(|| error("has no valid `until`, such as 2026-01-31T12:00:00Z"))?,
        })
    }
}
