//! Findings: the results of the checks of a repository. Each finding has a rule, a severity and a message.
//!
//! `status` and `verify` report findings. The check for format faults ([`crate::check::faults`]), which runs before a
//! change is signed or published, also returns findings.

use std::collections::BTreeMap;
use std::fmt;

use lastmile_client::text::printable;
use lastmile_metadata::RoleName;
use serde_json::{Value, json};

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// A note, which requires no action.
    Note,
    /// The repository works, but it is less secure or less reliable than it could be.
    Warning,
    /// Clients refuse metadata or cannot find a target.
    Problem,
}

impl Severity {
    /// Returns the name of the severity in JSON and in `docs/findings.md`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

macro_rules! rules {
    ($($(#[doc = $line:literal])+ $rule:ident $name:literal $severity:ident;)*) => {
        /// A rule that a repository can violate, such as `shared-key`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $($(#[doc = $line])+ $rule,)*
        }

        impl Rule {
            /// All rules.
            pub const ALL: &[Self] = &[$(Self::$rule),*];

            /// Returns the name of the rule in JSON and in `docs/findings.md`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)*
                }
            }

            /// Returns the severity of all findings of this rule.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$rule => Severity::$severity,)*
                }
            }

            /// Returns the explanation of the rule.
            #[must_use]
            pub fn explanation(self) -> &'static str {
                match self {
                    $(Self::$rule => concat!($($line),+).trim_ascii(),)*
                }
            }
        }
    };
}

rules! {
    /// A client that was shipped with one of the roots of this repository cannot update to the newest metadata.
    ClientFails "client-fails" Problem;
    /// A file that the repository needs cannot be read.
    UnreadableFile "unreadable-file" Problem;
    /// The network or a server failed, so the repository was not checked completely.
    UnreachableFile "unreachable-file" Problem;
    /// A metadata file is missing or was changed after it was written.
    DamagedMetadata "damaged-metadata" Problem;
    /// A target file does not match the length and hashes that a role lists for it.
    WrongTargetFile "wrong-target-file" Problem;
    /// A target file that a role lists does not exist.
    MissingTargetFile "missing-target-file" Problem;
    /// The compressed copy of a metadata file does not match the uncompressed file.
    WrongCopy "wrong-copy" Problem;
    /// A publication was interrupted and has not been finished.
    InterruptedPublication "interrupted-publication" Note;
    /// Some target files are not in this folder, so they were not checked.
    UncheckedTargetFiles "unchecked-target-files" Note;
    /// Some target files are unlisted: no role lists them. The files of removed or replaced targets are kept, because
    /// clients may still be fetching them.
    UnlistedFiles "unlisted-files" Note;
    /// Clients do not find a target that a role lists, because a role with a higher priority hides it or the
    /// delegations do not cover its path.
    HiddenTarget "hidden-target" Warning;
    /// A target has a name that some platforms cannot store, or that leads out of the download folder.
    DangerousTargetName "dangerous-target-name" Warning;
    /// The names of two targets refer to the same file on file systems that ignore case.
    NamesDifferByCase "names-differ-by-case" Note;
    /// One stolen key is enough to sign for a role.
    ThresholdOfOne "threshold-of-one" Note;
    /// One stolen key is enough to sign a new root, which can replace every key.
    RootThresholdOfOne "root-threshold-of-one" Warning;
    /// If one root key is lost, no new root can ever be signed.
    NoSpareRootKey "no-spare-root-key" Warning;
    /// An online key also signs for a targets role, so an intruder on the server can publish anything.
    OnlineKeyForTargets "online-key-for-targets" Warning;
    /// A root key also signs for another role, so the key is used more often than necessary.
    SharedRootKey "shared-root-key" Warning;
    /// One key signs for several roles, so whoever steals the key can sign for all of them.
    SharedKey "shared-key" Note;
    /// The metadata of a role is valid for so long that an attacker can hide newer versions for months or years.
    LongExpiry "long-expiry" Warning;
    /// Clients that were shipped with the oldest root need more root updates than most clients perform in one refresh.
    LongRootChain "long-root-chain" Warning;
    /// The snapshot lists bins without a hash, so whoever steals the key of a bin can replace the content of the bin.
    BinsByVersionOnly "bins-by-version-only" Warning;
    /// A path pattern of a delegation cannot match any target.
    PatternWithoutMatch "pattern-without-match" Warning;
    /// A role lists a key ID that has no usable key, or lists a key ID twice.
    UnusableKeyId "unusable-key-id" Warning;
    /// The threshold of a role in the metadata differs from its threshold in `repo.toml`.
    ThresholdNotConfigured "threshold-not-configured" Warning;
    /// The private key of an offline role is stored unencrypted on this machine.
    UnencryptedKey "unencrypted-key" Warning;
    /// This machine has enough root keys to sign a new root.
    RootKeysTogether "root-keys-together" Warning;
    /// `repo.toml` names a key outside the repository's folder, and the user has not allowed its use.
    KeyNotAllowed "key-not-allowed" Warning;
    /// A metadata file is longer than other clients accept by default.
    LongForOthers "long-for-others" Warning;
    /// A search for a target may visit more roles than other clients visit by default.
    ManyRolesForOthers "many-roles-for-others" Warning;
    /// A metadata file cannot be parsed, or has members that other clients refuse.
    UnreadableForOthers "unreadable-for-others" Warning;
    /// Other clients refuse the format of `spec_version`.
    SpecVersionForm "spec-version-form" Warning;
    /// Other clients refuse the format of `expires`.
    ExpiryForm "expiry-form" Warning;
    /// The root has no member `consistent_snapshot`.
    NoConsistentSnapshot "no-consistent-snapshot" Warning;
    /// The root has a role that is not a top-level role.
    UnknownRootRole "unknown-root-role" Warning;
    /// A delegation lacks a required member, or has two members that exclude each other.
    DelegationForm "delegation-form" Warning;
    /// A key ID is not the hash of its key object.
    KeyIdNotHash "key-id-not-hash" Warning;
    /// Other clients do not support the type of a key.
    UnknownKeyType "unknown-key-type" Warning;
    /// Other clients refuse the format of a key.
    KeyForm "key-form" Warning;
    /// A role lists a key ID twice, or lists a key ID that has no key.
    KeyIdList "key-id-list" Warning;
    /// A role has fewer usable keys than its threshold, so nobody can sign for it.
    UnreachableThreshold "unreachable-threshold" Warning;
    /// Other clients refuse the format of a signature.
    SignatureForm "signature-form" Warning;
}

/// A problem, a warning or a note that a check reports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The rule that the repository violates.
    pub rule: Rule,
    /// The role that the finding is about, or `None` if the finding is about the whole repository.
    pub role: Option<RoleName>,
    /// The message for people, without the severity.
    pub text: String,
}

impl Finding {
    /// Creates a finding about the whole repository.
    pub(crate) fn new(rule: Rule, text: impl Into<String>) -> Self {
        Self { rule, role: None, text: text.into() }
    }

    pub(crate) fn about(rule: Rule, role: &RoleName, text: impl Into<String>) -> Self {
        Self { rule, role: Some(role.clone()), text: text.into() }
    }

    /// Returns the severity of the finding.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.rule.severity()
    }

    /// Returns the finding as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let role = self.role.as_ref().map(RoleName::as_str);
        json!({ "rule": self.rule.name(), "severity": self.severity().name(), "role": role, "text": self.text })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Print one line without unprintable characters, because the text may quote untrusted names.
        f.write_str(&printable(&self.text.replace('\n', " ")))
    }
}

/// The maximum number of findings shown for each rule, when the output is not JSON.
const SHOWN: usize = 8;

/// Returns the lines that are shown for findings: one for each finding, but at most eight for each rule. If a rule has
/// more findings, one more line gives the number of the remaining findings.
#[must_use]
pub fn lines<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Vec<(Severity, String)> {
    let mut by_rule: BTreeMap<Rule, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        by_rule.entry(finding.rule).or_default().push(finding);
    }
    let mut lines = Vec::new();
    for (rule, findings) in by_rule {
        lines.extend(findings.iter().take(SHOWN).map(|finding| (rule.severity(), finding.to_string())));
        if let Some(more) = findings.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            lines.push((rule.severity(), format!("… and {more} more like the last one ({})", rule.name())));
        }
    }
    lines
}
