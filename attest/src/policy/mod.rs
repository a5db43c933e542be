//! The policy of a role. The policy states who must have signed a package, and which builder must have built it.
//!
//! A role has at most one policy, in the member [`MEMBER`] of its signed metadata. docs/policy.md describes the format.

mod pattern;
mod read;
mod table;
#[cfg(feature = "toml")]
mod toml;

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use lastmile_keys::PublicKey;
use lastmile_metadata::{PathPattern, TargetPath, Threshold};
use sha2::{Digest as _, Sha256};

pub use self::pattern::Pattern;
pub(crate) use self::pattern::one_of;
#[cfg(feature = "toml")]
pub use self::toml::{TomlError, from_toml, to_json, to_toml};
use crate::json::{Object, Value};
use crate::signed::Claim;
use crate::sigstore::TrustRoot;
use crate::trust::TrustDemands;

/// The name of the member that contains the policy in a targets role.
pub const MEMBER: &str = "x-lastmile-policy";

/// The version of the policy format that this crate reads.
pub const VERSION: i64 = 1;

/// The policy of a role, or the local policy of a client's user.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub(crate) trust: BTreeMap<Name, TrustSource>,
    pub(crate) signers: BTreeMap<Name, Signer>,
    pub(crate) builders: BTreeMap<Name, Builder>,
    pub(crate) rules: Vec<Rule>,
    /// Path patterns. A client that does not understand the policy may still install the packages that match, such as a
    /// newer version of lastmile.
    pub(crate) upgrade: Vec<PathPattern>,
    /// A description of the first part of the policy, other than a rule, that this version of lastmile does not
    /// understand.
    pub(crate) unsupported: Option<String>,
}

/// The name of a trust root, signer, builder or rule. It consists of lower-case letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

/// The target that contains a trust root, and the requirements for evidence that is verified with the trust root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustSource {
    pub(crate) path: TargetPath,
    /// The SHA-256 of the file. If it is absent, the role that signs the policy must itself list the file.
    pub(crate) sha256: Option<[u8; 32]>,
    pub(crate) demands: TrustDemands,
}

/// A signer that rules can name.
#[derive(Clone, Debug)]
pub struct Signer {
    pub(crate) credential: Credential,
    pub(crate) not_before: Option<DateTime<Utc>>,
    pub(crate) not_after: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Credential {
    /// If `trust` is set, the evidence must also satisfy the requirements of this trust root for logs and times.
    Key { key: PublicKey, trust: Option<Name> },
    /// The signer is recognized by the claims of a certificate.
    Identity(Identity),
}

/// The values that the signer's certificate must have, and the trust root with which the certificate is verified.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) trust: Name,
    pub(crate) issuer: String,
    pub(crate) subject: Vec<Pattern>,
    pub(crate) claims: BTreeMap<Claim, Vec<Pattern>>,
}

/// A builder that rules can name, with the SLSA level that this policy gives it.
#[derive(Clone, Debug)]
pub struct Builder {
    pub(crate) id: Vec<Pattern>,
    pub(crate) by: Vec<SignerName>,
    pub(crate) level: u8,
    pub(crate) build_types: Vec<Pattern>,
}

/// The name of a signer in a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignerName {
    /// A signer that is defined in the policy of the rule.
    Own(Name),
    /// `@NAME`: a signer that is defined in the policy of the role that lists the package.
    OfListingRole(Name),
}

/// A rule, which states a requirement for all packages whose paths match its patterns.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(crate) name: Name,
    pub(crate) paths: Vec<PathPattern>,
    pub(crate) except: Vec<PathPattern>,
    pub(crate) demand: Demand,
}

#[derive(Clone, Debug)]
pub(crate) enum Demand {
    Signature(SignatureDemand),
    Attestation(AttestationDemand),
    Provenance(ProvenanceDemand),
    /// A rule whose kind, or one of whose members, this version of lastmile does not understand.
    Unsupported {
        kind: String,
        reason: String,
    },
}

/// A requirement for signatures: over the file, or over statements that count as signatures over the file.
#[derive(Clone, Debug)]
pub(crate) struct SignatureDemand {
    pub(crate) by: Vec<SignerName>,
    pub(crate) threshold: Threshold,
    pub(crate) statements: Vec<Pattern>,
}

#[derive(Clone, Debug)]
pub(crate) struct AttestationDemand {
    pub(crate) by: Vec<SignerName>,
    pub(crate) threshold: Threshold,
    pub(crate) types: Vec<Pattern>,
    /// JSON pointers into the predicate, each with the values that are allowed there.
    pub(crate) allowed: Vec<(String, Vec<Value>)>,
}

#[derive(Clone, Debug)]
pub(crate) struct ProvenanceDemand {
    pub(crate) builders: Vec<Name>,
    pub(crate) level: u8,
    pub(crate) source: Vec<Pattern>,
    pub(crate) reference: Vec<Pattern>,
    pub(crate) parameters: Parameters,
}

/// The build parameters that a rule allows.
#[derive(Clone, Debug)]
pub(crate) enum Parameters {
    Any,
    /// Only these parameters are allowed, and only with values that match the patterns.
    Listed(BTreeMap<String, Vec<Pattern>>),
}

/// The reason why a policy cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(pub(crate) String);

impl Policy {
    /// Reads the JSON text of a policy. Parts that this version of lastmile does not understand cause no error here.
    /// Instead, [`crate::Demands::judge`] refuses the packages to which these parts apply.
    ///
    /// # Errors
    /// [`PolicyError`] if the text is not a policy: for example, it is not strict JSON, a member has the wrong type, or
    /// a name is not defined.
    pub fn parse(json: &[u8]) -> Result<Self, PolicyError> {
        read::signed(json)
    }

    /// Reads the policy in a local policy file. Unlike the policy of a role, a local policy need not have rules.
    pub(crate) fn parse_local(object: Object) -> Result<Self, PolicyError> {
        read::local(object)
    }

    /// Describes what this version of lastmile does not understand in the policy: every rule that it does not
    /// understand, and the first other part that it does not understand. If the result is not empty, `lastmile-repo`
    /// refuses to publish the policy.
    #[must_use]
    pub fn unsupported(&self) -> Vec<String> {
        let rules = self.rules.iter().filter_map(|rule| match &rule.demand {
            Demand::Unsupported { reason, .. } => Some(format!("rule {}: {reason}", rule.name)),
            _ => None,
        });
        self.unsupported.iter().cloned().chain(rules).collect()
    }

    /// Returns the targets that contain the trust roots of the policy.
    pub fn trust_sources(&self) -> impl Iterator<Item = (&Name, &TrustSource)> {
        self.trust.iter()
    }

    /// Returns the rules, in the order in which the policy lists them.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns whether a client that does not understand the policy may still install the package at `path`.
    pub(crate) fn is_upgrade(&self, path: &TargetPath) -> bool {
        self.upgrade.iter().any(|pattern| pattern.matches(path))
    }
}

impl TrustSource {
    /// Returns the path of the target.
    #[must_use]
    pub fn path(&self) -> &TargetPath {
        &self.path
    }

    /// Reads the trust root from the content of a file.
    ///
    /// # Errors
    /// Returns a description of the problem if the file does not have the SHA-256 in the policy, or is not a trust
    /// root.
    pub fn read_root(&self, content: &[u8]) -> Result<TrustRoot, String> {
        if self.sha256.is_some_and(|sha256| Sha256::digest(content)[..] != sha256[..]) {
            return Err("the SHA-256 of the file differs from `sha256` in the policy".into());
        }
        TrustRoot::parse(content).map_err(|error| error.to_string())
    }

    /// Returns the SHA-256 of the file, if the policy contains it.
    #[must_use]
    pub fn sha256(&self) -> Option<&[u8; 32]> {
        self.sha256.as_ref()
    }
}

impl Signer {
    /// Checks that all `times` are between `not-before` and `not-after` of the signer.
    pub(crate) fn check_times(&self, times: &[DateTime<Utc>]) -> Result<(), String> {
        for time in times {
            let time_text = lastmile_metadata::format_time(time);
            if self.not_before.is_some_and(|start| *time < start) {
                return Err(format!("the signature was made at {time_text}, before the signer's `not-before`"));
            }
            if self.not_after.is_some_and(|end| *time > end) {
                return Err(format!("the signature was made at {time_text}, after the signer's `not-after`"));
            }
        }
        Ok(())
    }

    /// Returns the name of the trust root with which the signer's evidence is verified.
    pub(crate) fn trust(&self) -> Option<&Name> {
        match &self.credential {
            Credential::Key { trust, .. } => trust.as_ref(),
            Credential::Identity(identity) => Some(&identity.trust),
        }
    }
}

impl Rule {
    /// Returns the name of the rule.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Returns the kind of the rule, as written in the policy.
    #[must_use]
    pub fn kind(&self) -> &str {
        match &self.demand {
            Demand::Signature(_) => "signature",
            Demand::Attestation(_) => "attestation",
            Demand::Provenance(_) => "provenance",
            Demand::Unsupported { kind, .. } => kind,
        }
    }

    /// Returns the signers that the rule names, directly or through builders.
    pub(crate) fn signers<'a>(&'a self, policy: &'a Policy) -> Vec<&'a SignerName> {
        match &self.demand {
            Demand::Signature(demand) => demand.by.iter().collect(),
            Demand::Attestation(demand) => demand.by.iter().collect(),
            Demand::Provenance(demand) => demand
                .builders
                .iter()
                .filter_map(|name| policy.builders.get(name))
                .flat_map(|builder| &builder.by)
                .collect(),
            Demand::Unsupported { .. } => Vec::new(),
        }
    }

    /// Returns whether `policy` contains the signers, builders and trust roots that the rule uses. Ignores signers of
    /// the form `@NAME`, which another policy defines. A policy that this version of lastmile understands completely
    /// always gives `true`, because [`Policy::parse`] refuses undefined names in it. In other policies, the definition
    /// may be a part that this version does not understand.
    pub(crate) fn names_are_defined(&self, policy: &Policy) -> bool {
        let has_builders = match &self.demand {
            Demand::Provenance(demand) => demand.builders.iter().all(|name| policy.builders.contains_key(name)),
            _ => true,
        };
        let is_defined = |name: &SignerName| match name {
            SignerName::Own(name) => policy
                .signers
                .get(name)
                .is_some_and(|signer| signer.trust().is_none_or(|trust| policy.trust.contains_key(trust))),
            SignerName::OfListingRole(_) => true,
        };
        has_builders && self.signers(policy).into_iter().all(is_defined)
    }

    /// Returns whether the rule applies to a path.
    #[must_use]
    pub fn applies_to(&self, path: &TargetPath) -> bool {
        self.paths.iter().any(|pattern| pattern.matches(path))
            && !self.except.iter().any(|pattern| pattern.matches(path))
    }
}

impl Name {
    /// Creates a name. A valid name has 1 to 64 lower-case letters, digits and hyphens, and does not begin with a
    /// hyphen. Returns `None` if the text is not a valid name.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let is_valid = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let has_form = (1..=64).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(is_valid);
        has_form.then(|| Self(name.to_owned()))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SignerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(name) => write!(f, "{name}"),
            Self::OfListingRole(name) => write!(f, "@{name}"),
        }
    }
}
