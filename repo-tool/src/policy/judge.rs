//! Decides, as clients do, whether a package satisfies the policies: searches for the package, reads its evidence, and
//! compares the evidence with the policies of the roles on the delegation chain.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use lastmile_attest::policy::MEMBER;
use lastmile_attest::{
    Demands, DemandsError, EvidenceContent, EvidenceFile, LocalPolicy, MAX_EVIDENCE_LENGTH, MAX_TRUST_ROOT_LENGTH,
    Origin, Policy, Refused, TrustRootRequest, TrustRoots, Verdict,
};
use lastmile_client::{MemoryStore, blocking};
use lastmile_metadata::{Delegations, Found, Header, RoleName, Stage as _, TargetFile, TargetPath, TrustedMetadata};

use crate::check::simulated_client::{client, from_client, reading_limits, refresh};
use crate::policy::contents::TargetContents;
use crate::published::Published;
use crate::{Error, PolicyError};

/// Whether a package satisfies the policies.
pub(crate) enum Judged {
    NotFound,
    /// No rule of a policy applies to the package.
    Free,
    /// The policies apply, and clients reach this verdict.
    Verdict(Verdict),
    /// Clients refuse the package before they examine its evidence, because a policy, a list of evidence or a file
    /// cannot be used.
    Unusable(Refused),
}

impl Judged {
    pub(crate) fn refusal(&self) -> Option<Refused> {
        match self {
            Self::NotFound | Self::Free => None,
            Self::Verdict(verdict) => verdict.check().err(),
            Self::Unusable(refused) => Some(refused.clone()),
        }
    }
}

/// A client that decides whether packages satisfy the policies.
pub(crate) struct PackageJudge<'a> {
    session: blocking::Session,
    contents: &'a TargetContents,
    now: DateTime<Utc>,
    /// A copy of the session's trusted metadata. A search in this copy returns the delegation chain, which a search in
    /// the session does not.
    trusted: TrustedMetadata,
    /// The number of delegated roles in `trusted`.
    known: usize,
    policies: Policies,
}

/// The parsed policies of roles. Each policy is parsed only once, because there may be many packages. The value is
/// `None` if the policy is malformed.
#[derive(Default)]
pub(crate) struct Policies(BTreeMap<RoleName, Option<Policy>>);

impl Policies {
    /// Returns whether the policy of a role may apply to a package. A policy that is malformed, that is only partly
    /// understood or that belongs to a bin counts as applying to all packages.
    pub(crate) fn may_apply(&mut self, role: &RoleName, header: &Header, is_bin: bool, path: &TargetPath) -> bool {
        if !has_policy(header) {
            return false;
        }
        let policy = self.0.entry(role.clone()).or_insert_with(|| policy_of(header));
        let applies = |policy: &Policy| {
            !policy.unsupported().is_empty() || policy.rules().iter().any(|rule| rule.applies_to(path))
        };
        is_bin || policy.as_ref().is_none_or(applies)
    }
}

impl<'a> PackageJudge<'a> {
    pub(crate) fn new(session: blocking::Session, contents: &'a TargetContents, now: DateTime<Utc>) -> Self {
        let trusted = session.trusted().clone();
        let known = trusted.delegated().count();
        Self { session, contents, now, trusted, known, policies: Policies::default() }
    }

    /// The client accepts more and larger metadata files than a client with default limits, and it accepts expired
    /// metadata.
    pub(crate) fn of_published(
        published: &Published,
        contents: &'a TargetContents,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let overlay = published.files().clone();
        let root = published.shipped().to_vec();
        let known = published.reusable_targets();
        let client = client(root, overlay, MemoryStore::default(), reading_limits(), known)?;
        let session = refresh(&client, DateTime::UNIX_EPOCH).map_err(from_client)?;
        Ok(Self::new(session, contents, now))
    }

    pub(crate) fn session(&mut self) -> &mut blocking::Session {
        &mut self.session
    }

    pub(crate) fn find(&mut self, path: &TargetPath) -> Result<Option<Found>, Error> {
        self.session.find(path).map_err(from_client)?;
        let known = self.session.trusted().delegated().count();
        if known != self.known {
            self.trusted = self.session.trusted().clone();
            self.known = known;
        }
        Ok(self.trusted.search(path.clone()).finish()?)
    }

    pub(crate) fn judge(&mut self, path: &TargetPath) -> Result<Judged, Error> {
        match self.find(path)? {
            None => Ok(Judged::NotFound),
            Some(found) if !self.has_demands(&found) => Ok(Judged::Free),
            Some(found) => self.judge_found(&found),
        }
    }

    /// Returns whether a policy on the delegation chain may apply to the package.
    fn has_demands(&mut self, found: &Found) -> bool {
        let mut delegations: Option<&Delegations> = None;
        for (role, targets) in &found.chain {
            let is_bin = delegations.is_some_and(|delegations| delegations.is_bin(role));
            delegations = targets.delegations();
            if self.policies.may_apply(role, targets.header(), is_bin, &found.target.path) {
                return true;
            }
        }
        false
    }

    fn judge_found(&mut self, found: &Found) -> Result<Judged, Error> {
        let demands = Demands::on(found, &LocalPolicy::default());
        let contents = self.contents;
        let now = self.now;
        judge_demands(demands, contents, now, &mut |path| Ok(self.find(path)?.map(|found| found.target)))
    }
}

/// Searches for the target at a path as clients do.
type FindTarget<'a> = dyn FnMut(&TargetPath) -> Result<Option<TargetFile>, Error> + 'a;

/// Decides whether a package satisfies `demands`, the requirements of the policies on the delegation chain.
pub(crate) fn judge_demands(
    demands: Result<Demands, DemandsError>,
    contents: &TargetContents,
    now: DateTime<Utc>,
    find: &mut FindTarget<'_>,
) -> Result<Judged, Error> {
    let demands = demands.map_err(|error| Error::Failed(error.to_string()))?;
    if demands.is_empty() {
        return Ok(Judged::Free);
    }
    let mut evidence = Vec::new();
    for file in demands.evidence() {
        let content = match find(file)? {
            None => EvidenceContent::Unlisted,
            Some(target) if target.length > MAX_EVIDENCE_LENGTH => EvidenceContent::TooLong(target.length),
            Some(target) => match read(contents, &target)? {
                Ok(content) => EvidenceContent::Read(content),
                Err(problem) => return Ok(unusable(&demands, "evidence", &problem)),
            },
        };
        evidence.push(EvidenceFile { path: file.clone(), content });
    }
    let mut roots = TrustRoots::default();
    for request in demands.trust_roots() {
        if let Err(problem) = load(&request, &mut roots, contents, find)? {
            return Ok(unusable(&demands, "a usable trust root", &problem));
        }
    }
    Ok(Judged::Verdict(demands.judge(&evidence, &roots, now)))
}

/// Adds a trust root to `roots`. If the trust root cannot be used, returns the reason as the inner error.
fn load(
    request: &TrustRootRequest,
    roots: &mut TrustRoots,
    contents: &TargetContents,
    find: &mut FindTarget<'_>,
) -> Result<Result<(), String>, Error> {
    let target = match request.listed() {
        Ok(Some(listed)) => Some(listed.clone()),
        Ok(None) => find(request.path())?,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let Some(target) = target else {
        return Ok(Err(format!("no trusted role lists the trust root `{}`", request.path())));
    };
    if target.length > MAX_TRUST_ROOT_LENGTH {
        request.too_long(target.length, roots);
        return Ok(Ok(()));
    }
    let content = match read(contents, &target)? {
        Ok(content) => content,
        Err(problem) => return Ok(Err(problem)),
    };
    Ok(request.load(&content, roots).map_err(|error| error.to_string()))
}

/// Returns the content of a target. If the target file is missing or wrong, returns the reason as the inner error.
fn read(contents: &TargetContents, target: &TargetFile) -> Result<Result<Vec<u8>, String>, Error> {
    match contents.read(target) {
        Ok(Some(content)) => Ok(Ok(content)),
        Ok(None) => Ok(Err(format!("the file of `{}` is not in this folder", target.path))),
        Err(Error::Policy(error @ PolicyError::WrongFile { .. })) => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Returns whether a role has a policy, which may be malformed.
pub(crate) fn has_policy(header: &Header) -> bool {
    header.unknown.contains_key(MEMBER)
}

fn policy_of(header: &Header) -> Option<Policy> {
    Policy::parse(header.unknown.get(MEMBER)?.to_text().as_bytes()).ok()
}

fn unusable(demands: &Demands, wanted: &str, problem: &str) -> Judged {
    let path = demands.target().path.clone();
    let origin = Origin::Role(demands.listing().cloned().unwrap_or(RoleName::TARGETS));
    Judged::Unusable(Refused {
        path,
        origin,
        rule: None,
        wanted: wanted.to_string(),
        found: format!("none: {problem}"),
    })
}
