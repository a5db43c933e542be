//! The facts that a verified piece of evidence proves: who signed what, at which times, and which logs recorded the
//! signature.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use lastmile_keys::PublicKey;

use crate::statement::Statement;

/// The result of verifying a piece of evidence. The caller must still check whether a policy names the signer.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The key or the identity that made the signature.
    pub signer: SignedBy,
    /// The signed content.
    pub content: Content,
    /// The authenticated times of the signature, sorted. The list is empty if the signature was made with a key and
    /// neither log entries nor timestamps were verified.
    pub times: Vec<DateTime<Utc>>,
    /// The hexadecimal IDs of the logs that recorded the signature, according to verified log entries.
    pub logs: BTreeSet<String>,
}

/// The signer of a piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedBy {
    /// The holder of a key.
    Key(PublicKey),
    /// The holder of a Fulcio certificate.
    Identity(Certificate),
}

/// The claims of a signing certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The URL of the OpenID Connect issuer.
    pub issuer: String,
    /// The subject alternative name.
    pub subject: Subject,
    /// The values of the other Fulcio extensions that [`Claim`] lists.
    pub claims: BTreeMap<Claim, String>,
}

/// The subject alternative name of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A URI, such as the URI of a workflow.
    Uri(String),
    /// An email address.
    Email(String),
}

impl Subject {
    /// Returns the URI or the email address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Uri(text) | Self::Email(text) => text,
        }
    }
}

/// The content that a signature covers.
#[derive(Clone, Debug)]
pub enum Content {
    /// The artifact itself.
    File,
    /// An in-toto statement about the artifact.
    Statement(Statement),
}

macro_rules! claims {
    ($($variant:ident = $name:literal, $text:literal;)+) => {
        /// A claim of a Fulcio certificate, other than the issuer and the subject. The description of each claim ends
        /// with its object identifier (OID), in which `…` stands for `1.3.6.1.4.1.57264`. Source:
        /// <https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md>.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Claim {
            $(#[doc = $text] $variant,)+
        }

        impl Claim {
            /// Every claim.
            pub const ALL: &'static [Claim] = &[$(Claim::$variant),+];

            /// Returns the name of this claim in policies.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Claim::$variant => $name,)+
                }
            }
        }
    };
}

claims! {
    BuildSignerUri = "build-signer-uri", "The URI of the build instructions that are responsible for signing (OID …1.9).";
    BuildSignerDigest = "build-signer-digest", "The commit of the build instructions at `build-signer-uri` (OID …1.10).";
    RunnerEnvironment = "runner-environment", "Whether the build ran on a hosted or a self-hosted machine (OID …1.11).";
    SourceRepositoryUri = "source-repository-uri", "The URL of the source repository (OID …1.12).";
    SourceRepositoryDigest = "source-repository-digest", "The commit from which the build started (OID …1.13).";
    SourceRepositoryRef = "source-repository-ref", "The Git ref from which the build started (OID …1.14).";
    SourceRepositoryId = "source-repository-id", "The immutable identifier of the source repository (OID …1.15).";
    SourceRepositoryOwnerUri = "source-repository-owner-uri", "The URL of the owner of the source repository (OID …1.16).";
    SourceRepositoryOwnerId = "source-repository-owner-id", "The immutable identifier of the repository owner (OID …1.17).";
    BuildConfigUri = "build-config-uri", "The URI of the top-level build instructions (OID …1.18).";
    BuildConfigDigest = "build-config-digest", "The commit of the top-level build instructions (OID …1.19).";
    BuildTrigger = "build-trigger", "The event that started the build (OID …1.20).";
    RunInvocationUri = "run-invocation-uri", "The URL of the build run (OID …1.21).";
    SourceRepositoryVisibility = "source-repository-visibility", "The source repository's visibility at signing (OID …1.22).";
    DeploymentEnvironment = "deployment-environment", "The deployment environment of the build run (OID …1.23).";
    TokenSubject = "token-subject", "The subject of the OpenID Connect token (OID …1.24).";
}

impl Claim {
    /// Returns the claim that policies call `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|claim| claim.name() == name)
    }
}
