//! The verdict on a package. For each rule that applies, the verdict contains the evidence that satisfies the rule, or
//! the reasons why no evidence satisfies it.

use std::fmt;

use chrono::{DateTime, Utc};
use lastmile_metadata::TargetPath;

use crate::demands::Origin;
use crate::signed::SignedBy;

/// The verdict on one package.
#[derive(Clone, Debug)]
#[must_use]
pub struct Verdict {
    pub(crate) path: TargetPath,
    pub(crate) rules: Vec<RuleVerdict>,
    /// The reason that the local policy gives for exempting this package, or `None` if the package is not exempt.
    pub(crate) exception: Option<String>,
}

/// The verdict on one rule.
#[derive(Clone, Debug)]
pub struct RuleVerdict {
    /// The role, or the local policy, that contains the rule.
    pub origin: Origin,
    /// The name of the rule, or `None` for a verdict on a whole policy. The verdict is on the whole policy if the
    /// policy is unusable, or if this version of lastmile does not understand all of it.
    pub rule: Option<String>,
    /// The kind of the rule, as written in the policy. For a verdict on a whole policy, the kind is `policy`.
    pub kind: String,
    /// A description of what the rule requires.
    pub wanted: String,
    /// Whether the evidence satisfies the rule.
    pub outcome: Outcome,
}

impl RuleVerdict {
    /// Returns the rule and its origin for messages, such as "rule `signed` of role `team`" or "policy of role `team`".
    #[must_use]
    pub fn name(&self) -> String {
        named(self.rule.as_deref(), &self.origin)
    }
}

fn named(rule: Option<&str>, origin: &Origin) -> String {
    rule.map_or_else(|| format!("policy of {origin:#}"), |rule| format!("rule `{rule}` of {origin:#}"))
}

/// Whether the evidence satisfies a rule.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The evidence satisfies the rule. The list contains the pieces of evidence that count toward the rule.
    Satisfied(Vec<Proof>),
    /// The evidence does not satisfy the rule. The list contains at least one reason.
    Refused(Vec<String>),
    /// This version of lastmile does not understand the rule. The text describes the unknown part.
    NeedsNewer(String),
    /// Like [`Outcome::NeedsNewer`], but the policy allows clients that do not understand the rule to install this
    /// package.
    AllowedUpgrade(String),
}

/// A piece of evidence that counts toward a rule.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The target that contains the evidence.
    pub evidence: TargetPath,
    /// The position of the piece of evidence in this target, starting at 1.
    pub number: usize,
    /// The name of the signer in the policy.
    pub signer: String,
    /// The key or the identity that made the signature.
    pub signed_by: SignedBy,
    /// The type of the statement, or `None` for a signature over the file itself.
    pub statement: Option<String>,
    /// The name of the builder in the policy, and the SLSA build level that the provenance proves. `None` if the rule
    /// does not require provenance.
    pub builder: Option<(String, u8)>,
    /// The authenticated times of the signature. A signature that was made with a key may have none, because log
    /// entries and timestamps are optional for it.
    pub times: Vec<DateTime<Utc>>,
    /// The hexadecimal IDs of the logs that recorded the signature.
    pub logs: Vec<String>,
}

/// The error for a package that must not be installed. It describes the first rule that the package does not satisfy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` does not satisfy {}", self.reason())]
pub struct Refused {
    /// The path of the package.
    pub path: TargetPath,
    /// The role, or the local policy, that contains the rule.
    pub origin: Origin,
    /// The name of the rule, or `None` if the whole policy cannot be used.
    pub rule: Option<String>,
    /// A description of what the rule requires.
    pub wanted: String,
    /// A description of what was found instead of `wanted`.
    pub found: String,
}

impl Refused {
    /// Returns a message that names the rule, its requirement, and what was found instead.
    #[must_use]
    pub fn reason(&self) -> String {
        let Self { rule, origin, wanted, found, .. } = self;
        let name = named(rule.as_deref(), origin);
        format!("the {name}: expected {wanted}, found {found}")
    }
}

impl Verdict {
    /// Returns the path of the package.
    #[must_use]
    pub fn path(&self) -> &TargetPath {
        &self.path
    }

    /// Returns the verdict on each rule, in the order of the delegation chain. The rules of the local policy come last.
    #[must_use]
    pub fn rules(&self) -> &[RuleVerdict] {
        &self.rules
    }

    /// Returns the reason that the local policy gives for exempting this package. Returns `None` if the package is not
    /// exempt, or if no rule refuses it.
    #[must_use]
    pub fn exception(&self) -> Option<&str> {
        self.exception.as_deref().filter(|_| self.first_refusal().is_some())
    }

    /// Checks that the package may be installed.
    ///
    /// # Errors
    /// [`Refused`] if the package must not be installed.
    pub fn check(&self) -> Result<(), Refused> {
        match (self.first_refusal(), &self.exception) {
            (Some(refusal), None) => Err(refusal),
            _ => Ok(()),
        }
    }

    fn first_refusal(&self) -> Option<Refused> {
        self.rules.iter().find_map(|rule| {
            let found = match &rule.outcome {
                Outcome::Satisfied(_) | Outcome::AllowedUpgrade(_) => return None,
                Outcome::Refused(found) => found.join("; "),
                Outcome::NeedsNewer(unknown) => format!("{unknown}, which needs a newer lastmile"),
            };
            Some(Refused {
                path: self.path.clone(),
                origin: rule.origin.clone(),
                rule: rule.rule.clone(),
                wanted: rule.wanted.clone(),
                found,
            })
        })
    }
}

impl fmt::Display for SignedBy {
    /// Writes the subject and the issuer of a certificate, or the start of a key ID.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(certificate) => {
                write!(f, "{} (issuer {})", certificate.subject.as_str(), certificate.issuer)
            }
            Self::Key(key) => {
                let keyid = lastmile_metadata::Key::from_public(key).keyid();
                write!(f, "key {}", keyid.as_str().get(..8).unwrap_or_default())
            }
        }
    }
}
