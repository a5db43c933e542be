//! The requirements for a package ([`Demands`]): the rules of all policies on its delegation chain, and the rules of
//! the local policy. A delegated role can add requirements, but cannot change the requirements of the roles above it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use lastmile_metadata::{ErrorKind, Found, Header, Json, RoleName, TargetFile, TargetPath, VerifiedTargets};

use crate::evidence_list::{EvidenceListError, evidence_paths};
use crate::local::LocalPolicy;
use crate::policy::{MEMBER, Name, Policy, Rule, Signer, SignerName, TrustSource};
use crate::sigstore::{TrustRoot, TrustRootError};

/// The requirements for one package.
#[derive(Clone, Debug)]
pub struct Demands {
    pub(crate) target: TargetFile,
    /// The policies of the roles on the delegation chain, from the top-level targets role to the role that lists the
    /// package, followed by the local policy.
    pub(crate) sources: Vec<Source>,
    pub(crate) local: LocalPolicy,
    /// The role that lists the package.
    listing: Option<RoleName>,
    pub(crate) evidence: Result<Vec<TargetPath>, EvidenceListError>,
}

#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) origin: Origin,
    pub(crate) policy: Policy,
    /// The reason why the policy cannot be used, if any. If there is a reason, `policy` is empty, and every package
    /// whose delegation chain contains the role is refused.
    pub(crate) problem: Option<String>,
    /// The listed hashes and lengths of trust roots for which the policy contains no `sha256`. The role that signs the
    /// policy must list these files; a trust root that it does not list is left out.
    listed_roots: BTreeMap<Name, TargetFile>,
}

/// A role on the delegation chain of a package.
pub struct ChainRole<'a> {
    /// The name of the role.
    pub name: RoleName,
    /// The header of the role's metadata. If the role has a policy, `header.unknown` contains it as the member
    /// `x-lastmile-policy`.
    pub header: &'a Header,
    /// Whether the role is a bin: the delegation to it uses hash prefixes instead of path patterns.
    pub is_bin: bool,
    /// A function that returns the entry for a path in the metadata of this role. It does not search delegated roles.
    pub list: Box<ListTarget<'a>>,
}

/// The type of a function that looks up a path in the metadata of one role. It returns `None` if the role does not list
/// the path.
pub type ListTarget<'a> = dyn Fn(&TargetPath) -> Result<Option<TargetFile>, ErrorKind> + 'a;

/// The author of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A role on the delegation chain.
    Role(RoleName),
    /// The person who runs the client.
    Local,
}

impl fmt::Display for Origin {
    /// Writes the name of the role, or `the local policy`. The alternate form (`{:#}`), for use in sentences, writes
    /// "role `NAME`" instead of the name alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) if f.alternate() => write!(f, "role `{role}`"),
            Self::Role(role) => write!(f, "{role}"),
            Self::Local => f.write_str("the local policy"),
        }
    }
}

/// The reason why the requirements for a package cannot be determined. Such a package must not be installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DemandsError {
    /// The metadata file of a role on the delegation chain has changed since it was verified.
    #[error("the metadata of role `{0}` has changed since it was verified")]
    Changed(RoleName),
}

impl Demands {
    /// Returns the requirements for a package that a search found. If one of the policies cannot be used, no evidence
    /// satisfies the requirements.
    ///
    /// # Errors
    /// [`DemandsError`] if metadata cannot be read.
    pub fn on(found: &Found, local: &LocalPolicy) -> Result<Self, DemandsError> {
        let mut chain = Vec::new();
        let mut delegator: Option<&VerifiedTargets> = None;
        for (role, targets) in &found.chain {
            let delegations = delegator.and_then(VerifiedTargets::delegations);
            chain.push(ChainRole {
                name: role.clone(),
                header: targets.header(),
                is_bin: delegations.is_some_and(|delegations| delegations.is_bin(role)),
                list: Box::new(|path| targets.target(path)),
            });
            delegator = Some(targets);
        }
        Self::of_chain(&chain, found.target.clone(), local)
    }

    /// Returns the requirements for a package. `target` is the entry of the package, and `chain` is its delegation
    /// chain. The metadata of the roles need not be signed yet. If the metadata changes before it is signed, the
    /// requirements may change too. For signed metadata, use [`Demands::on`].
    ///
    /// # Errors
    /// [`DemandsError`] if metadata cannot be read.
    pub fn of_chain(chain: &[ChainRole<'_>], target: TargetFile, local: &LocalPolicy) -> Result<Self, DemandsError> {
        let mut sources = Vec::new();
        for role in chain {
            if let Some(policy) = role.header.unknown.get(MEMBER) {
                sources.push(Source::of_role(role, policy)?);
            }
        }
        if let Some(policy) = local.policy() {
            sources.push(Source::new(Origin::Local, policy.clone()));
        }
        let listing = chain.last().map(|role| role.name.clone());
        let evidence = evidence_paths(&target);
        Ok(Self { target, sources, local: local.clone(), listing, evidence })
    }

    /// Returns `true` if the package needs no evidence: no rule applies to the package, every policy on its delegation
    /// chain is valid, and this version of lastmile understands everything in these policies except, perhaps, rules for
    /// other packages.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.sources.iter().any(|source| source.concerns(&self.target.path))
    }

    /// Returns the package's entry in the role that lists it.
    #[must_use]
    pub fn target(&self) -> &TargetFile {
        &self.target
    }

    /// Returns the role that lists the package, or `None` if the chain is empty.
    #[must_use]
    pub fn listing(&self) -> Option<&RoleName> {
        self.listing.as_ref()
    }

    /// Returns the rules that apply to the package, each with the author of its policy.
    pub fn rules(&self) -> impl Iterator<Item = (&Origin, &Rule)> {
        self.sources.iter().flat_map(|source| source.rules(&self.target.path).map(|rule| (&source.origin, rule)))
    }

    /// Returns the targets that contain evidence for the package. The result is empty if the package's list of evidence
    /// is malformed.
    #[must_use]
    pub fn evidence(&self) -> &[TargetPath] {
        self.evidence.as_deref().unwrap_or_default()
    }

    /// Returns a [`TrustRootRequest`] for each trust root that the rules for the package use. Before calling
    /// [`Demands::judge`], fetch the files and pass each to [`TrustRootRequest::load`].
    #[must_use]
    pub fn trust_roots(&self) -> Vec<TrustRootRequest> {
        let mut used = BTreeSet::new();
        for (index, source) in self.sources.iter().enumerate() {
            for name in source.rules(&self.target.path).flat_map(|rule| rule.signers(&source.policy)) {
                if let Some((index, signer)) = self.signer(index, name)
                    && let Some(trust) = signer.trust()
                {
                    used.insert((index, trust.clone()));
                }
            }
        }
        used.into_iter().filter_map(|id| self.trust_root(id)).collect()
    }

    fn trust_root(&self, id: (usize, Name)) -> Option<TrustRootRequest> {
        let source = self.sources.get(id.0)?;
        Some(TrustRootRequest {
            origin: source.origin.clone(),
            source: source.policy.trust.get(&id.1)?.clone(),
            listed: source.listed_roots.get(&id.1).cloned(),
            id,
        })
    }

    /// Returns the signer that a rule names, and the index of the policy that defines the signer. `source` is the index
    /// of the policy that contains the rule.
    pub(crate) fn signer(&self, source: usize, name: &SignerName) -> Option<(usize, &Signer)> {
        let (index, name) = match name {
            SignerName::Own(name) => (source, name),
            SignerName::OfListingRole(name) => (self.listing_source()?, name),
        };
        Some((index, self.sources.get(index)?.policy.signers.get(name)?))
    }

    /// Returns the index of the policy of the role that lists the package, if that role has a policy.
    fn listing_source(&self) -> Option<usize> {
        self.sources.iter().position(|source| match &source.origin {
            Origin::Role(role) => Some(role) == self.listing.as_ref(),
            Origin::Local => false,
        })
    }
}

impl Source {
    fn new(origin: Origin, policy: Policy) -> Self {
        Self { origin, policy, problem: None, listed_roots: BTreeMap::new() }
    }

    fn of_role(role: &ChainRole<'_>, policy: &Json) -> Result<Self, DemandsError> {
        let origin = Origin::Role(role.name.clone());
        let policy = match usable(role, policy) {
            Ok(policy) => policy,
            Err(problem) => return Ok(Self { problem: Some(problem), ..Self::new(origin, Policy::default()) }),
        };
        let mut listed_roots = BTreeMap::new();
        for (name, source) in policy.trust_sources().filter(|(_, source)| source.sha256().is_none()) {
            let listed = (role.list)(source.path()).map_err(|_| DemandsError::Changed(role.name.clone()))?;
            if let Some(listed) = listed {
                listed_roots.insert(name.clone(), listed);
            }
        }
        Ok(Self { listed_roots, ..Self::new(origin, policy) })
    }

    /// Returns whether the policy affects the package at `path`. A policy affects every package if it cannot be used,
    /// or if this version of lastmile does not understand a part of it that is not a rule. Any other policy affects the
    /// package if one of its rules applies to the package.
    fn concerns(&self, path: &TargetPath) -> bool {
        self.problem.is_some() || self.policy.unsupported.is_some() || self.rules(path).next().is_some()
    }

    pub(crate) fn rules(&self, path: &TargetPath) -> impl Iterator<Item = &Rule> {
        self.policy.rules().iter().filter(move |rule| rule.applies_to(path))
    }
}

fn usable(role: &ChainRole<'_>, policy: &Json) -> Result<Policy, String> {
    // Refuse a policy in a bin. The hash of a package's path determines which bin lists the package, so the packages in
    // a bin have nothing in common that a policy could be about.
    if role.is_bin {
        return Err("a policy in a bin; only a role that is trusted for path patterns can have a policy".into());
    }
    // Canonical JSON is not always valid JSON, because it does not escape line breaks, such as those in a PEM key.
    // `to_text` writes valid JSON.
    Policy::parse(policy.to_text().as_bytes()).map_err(|error| format!("an invalid policy: {error}"))
}

/// A trust root that a policy uses. The caller fetches its file and passes the content to [`TrustRootRequest::load`].
#[derive(Clone, Debug)]
pub struct TrustRootRequest {
    id: (usize, Name),
    origin: Origin,
    source: TrustSource,
    listed: Option<TargetFile>,
}

/// The reason why the file of a trust root cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the trust root `{path}` of {origin:#}: {reason}")]
pub struct TrustRootLoadError {
    /// The path of the target.
    pub path: TargetPath,
    /// The author of the policy that names the trust root.
    pub origin: Origin,
    /// A description of the problem.
    pub reason: String,
}

impl TrustRootRequest {
    /// Returns the path of the target.
    #[must_use]
    pub fn path(&self) -> &TargetPath {
        self.source.path()
    }

    /// Returns the file's entry in the metadata of the role that signs the policy. Returns `None` if the policy
    /// contains the SHA-256 of the file: in that case, any role may list the file.
    ///
    /// # Errors
    /// [`TrustRootLoadError`] if the policy does not contain the SHA-256 and the role does not list the file.
    pub fn listed(&self) -> Result<Option<&TargetFile>, TrustRootLoadError> {
        if self.source.sha256().is_some() {
            return Ok(None);
        }
        let listed = self.listed.as_ref();
        listed.map(Some).ok_or_else(|| {
            self.error("the role that signs the policy does not list the file, and the policy has no `sha256`")
        })
    }

    /// Checks the content of the file, and adds the trust root to `roots`. If the file cannot be used, records the
    /// reason in `roots`. If a rule is not satisfied as a result, the verdict on the rule contains this reason.
    ///
    /// # Errors
    /// [`TrustRootLoadError`] if the content does not have the expected hashes, or is not a valid trust root.
    pub fn load(&self, content: &[u8], roots: &mut TrustRoots) -> Result<(), TrustRootLoadError> {
        let (root, loaded) = match self.read(content) {
            Ok(root) => (Ok(root), Ok(())),
            Err(error) => (Err(error.to_string()), Err(error)),
        };
        roots.0.insert(self.id.clone(), root);
        loaded
    }

    /// Records in `roots` that no trusted role lists the file. If a rule is not satisfied as a result, the verdict on
    /// the rule contains this reason.
    pub fn missing(&self, roots: &mut TrustRoots) {
        let error = self.listed().err().unwrap_or_else(|| self.error("no trusted role lists it"));
        roots.0.insert(self.id.clone(), Err(error.to_string()));
    }

    /// Records in `roots` that the listed length of the file exceeds [`crate::MAX_TRUST_ROOT_LENGTH`]. If a rule is not
    /// satisfied as a result, the verdict on the rule contains this reason.
    pub fn too_long(&self, length: u64, roots: &mut TrustRoots) {
        let error = self.error(&TrustRootError::too_long(length).to_string());
        roots.0.insert(self.id.clone(), Err(error.to_string()));
    }

    fn read(&self, content: &[u8]) -> Result<TrustRoot, TrustRootLoadError> {
        if let Some(listed) = self.listed()? {
            let mut verifier = listed.verifier();
            let verdict = verifier.update(content).and_then(|()| verifier.finish());
            verdict.map_err(|error| self.error(&error.to_string()))?;
        }
        self.source.read_root(content).map_err(|problem| self.error(&problem))
    }

    fn error(&self, reason: &str) -> TrustRootLoadError {
        TrustRootLoadError { path: self.path().clone(), origin: self.origin.clone(), reason: reason.to_owned() }
    }
}

/// The trust roots that were loaded to check the evidence for a package. For each trust root that cannot be used, the
/// reason is stored instead.
#[derive(Debug, Default)]
pub struct TrustRoots(BTreeMap<(usize, Name), Result<TrustRoot, String>>);

impl TrustRoots {
    pub(crate) fn get(&self, source: usize, name: &Name) -> Result<&TrustRoot, String> {
        let root = self.0.get(&(source, name.clone()));
        root.ok_or_else(|| format!("the trust root {name} is missing"))?.as_ref().map_err(Clone::clone)
    }
}
