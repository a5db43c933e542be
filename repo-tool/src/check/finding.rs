//! Findings: what a check of a repository has found, each with a rule, a severity and a sentence.
//!
//! Every check of this tool reports findings of this one type: the warnings of `status` and of each change, the faults for which
//! other clients refuse metadata, and the results of `verify`.

use std::collections::BTreeMap;
use std::fmt;

use lastmile_client::text::printable;
use lastmile_metadata::RoleName;
use serde_json::{Value, json};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Nothing has to be done.
    Note,
    /// The repository works, but it is less secure or less reliable than it could be.
    Warning,
    /// Clients refuse something, or do not find it.
    Problem,
}

impl Severity {
    /// Returns the name in JSON and in `docs/findings.md`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// Declares the rules, each with its name, severity and explanation.
macro_rules! rules {
    ($(#[doc = $explanation:literal] $rule:ident $name:literal $severity:ident;)*) => {
        /// A rule that a finding is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = $explanation] $rule,)*
        }

        impl Rule {
            /// All rules.
            pub const ALL: &[Self] = &[$(Self::$rule),*];

            /// Returns the name in JSON and in `docs/findings.md`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)*
                }
            }

            /// Returns the severity of each finding of this rule.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$rule => Severity::$severity,)*
                }
            }

            /// Returns the sentence that explains the rule.
            #[must_use]
            pub fn explanation(self) -> &'static str {
                match self {
                    $(Self::$rule => $explanation.trim_ascii(),)*
                }
            }
        }
    };
}

rules! {
    /// A client that was shipped with this root does not reach the newest state.
    ClientFails "client-fails" Problem;
    /// A file that the repository needs cannot be read.
    UnreadableFile "unreadable-file" Problem;
    /// A metadata file is missing or was changed after it was written.
    DamagedMetadata "damaged-metadata" Problem;
    /// A target file does not have the length and the hashes that its role lists.
    WrongTargetFile "wrong-target-file" Problem;
    /// A target file that a role lists does not exist.
    MissingTargetFile "missing-target-file" Problem;
    /// A compressed copy of metadata does not match the plain file.
    WrongCopy "wrong-copy" Problem;
    /// An interrupted publication is not finished.
    InterruptedPublication "interrupted-publication" Note;
    /// Target files are on another server and were not checked.
    UncheckedTargetFiles "unchecked-target-files" Note;
    /// No role lists these files. Files of older releases are kept, because clients may still be fetching them.
    UnlistedFiles "unlisted-files" Note;
    /// Clients do not find a target, because a role with a higher priority lists the same path.
    HiddenTarget "hidden-target" Warning;
    /// A target has a name that some platforms cannot store or that leads out of the download folder.
    DangerousTargetName "dangerous-target-name" Warning;
    /// Two targets have names that are the same file on file systems that ignore case.
    NamesDifferByCase "names-differ-by-case" Note;
    /// One stolen key is enough to sign for the role.
    ThresholdOfOne "threshold-of-one" Note;
    /// One stolen key is enough to sign a new root, which can replace every key.
    RootThresholdOfOne "root-threshold-of-one" Warning;
    /// If one key is lost, no new root can ever be signed.
    NoSpareRootKey "no-spare-root-key" Warning;
    /// An online key also signs for a role that lists targets, so a break-in on the server is enough to publish anything.
    OnlineKeyForTargets "online-key-for-targets" Warning;
    /// A root key also signs for another role, so it is used more often than it must be.
    SharedRootKey "shared-root-key" Warning;
    /// One key signs for several roles, so its theft concerns all of them.
    SharedKey "shared-key" Note;
    /// Clients accept the metadata for so long that an attacker can hide newer versions for months or years.
    LongExpiry "long-expiry" Warning;
    /// Clients that were shipped with the first root must follow very many roots.
    LongRootChain "long-root-chain" Warning;
    /// The snapshot lists bins by version only, so it does not protect their content.
    BinsByVersionOnly "bins-by-version-only" Warning;
    /// A pattern of a delegation matches no target.
    PatternWithoutMatch "pattern-without-match" Warning;
    /// A listed key id has no usable key, or is listed twice.
    UnusableKeyId "unusable-key-id" Warning;
    /// The signed threshold is not the one in `repo.toml`.
    ThresholdNotConfigured "threshold-not-configured" Warning;
    /// The private key of an offline role is on this machine, unencrypted.
    UnencryptedKey "unencrypted-key" Warning;
    /// Enough root keys for a new root are on this machine.
    RootKeysTogether "root-keys-together" Warning;
    /// `repo.toml` names a key outside the repository's folder that this user has not allowed.
    KeyNotAllowed "key-not-allowed" Warning;
    /// A file is longer than other clients read by default.
    LongForOthers "long-for-others" Warning;
    /// A search visits more roles than other clients visit by default.
    ManyRolesForOthers "many-roles-for-others" Warning;
    /// A file cannot be read at all, or has members that other clients refuse.
    UnreadableForOthers "unreadable-for-others" Warning;
    /// Other clients refuse the form of `spec_version`.
    SpecVersionForm "spec-version-form" Warning;
    /// Other clients refuse the form of `expires`.
    ExpiryForm "expiry-form" Warning;
    /// The root does not say whether snapshots are consistent.
    NoConsistentSnapshot "no-consistent-snapshot" Warning;
    /// The root has a role that is not a top-level role.
    UnknownRootRole "unknown-root-role" Warning;
    /// A delegation lacks a member or has two that exclude each other.
    DelegationForm "delegation-form" Warning;
    /// A key id is not the hash of its key.
    KeyIdNotHash "key-id-not-hash" Warning;
    /// Other clients do not know this type of key.
    UnknownKeyType "unknown-key-type" Warning;
    /// Other clients refuse the form of a key.
    KeyForm "key-form" Warning;
    /// A role lists a key id twice, or one without a key.
    KeyIdList "key-id-list" Warning;
    /// A role has fewer usable keys than signatures that it needs: nobody can sign for it.
    UnreachableThreshold "unreachable-threshold" Warning;
    /// Other clients refuse the form of a signature.
    SignatureForm "signature-form" Warning;
}

/// Something that a check has found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The rule that it is about.
    pub rule: Rule,
    /// The role that it is about, if it is about one.
    pub role: Option<RoleName>,
    /// A sentence for people, without the severity.
    pub text: String,
}

impl Finding {
    /// Creates a finding about the repository.
    pub(crate) fn new(rule: Rule, text: impl Into<String>) -> Self {
        Self { rule, role: None, text: text.into() }
    }

    /// Creates a finding about a role.
    pub(crate) fn about(rule: Rule, role: &RoleName, text: impl Into<String>) -> Self {
        Self { rule, role: Some(role.clone()), text: text.into() }
    }

    /// Returns how much it matters.
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
        // One line, without unprintable characters: the text may quote untrusted names.
        f.write_str(&printable(&self.text.replace('\n', " ")))
    }
}

/// The maximum number of findings of one rule that are shown to people.
const SHOWN: usize = 8;

/// Returns the lines for people: at most eight of each rule, and how many more there are.
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
