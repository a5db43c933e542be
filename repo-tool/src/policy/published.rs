//! Judges published packages against the published policies, and against the policies of the pending change.

use lastmile_attest::{ChainRole, Demands, ListTarget, LocalPolicy, Refused};
use lastmile_metadata::{Delegations, Found, TargetFile, TargetPath};

use crate::check::policies::{all_evidence, trust_roots_of};
use crate::check::simulated_client::from_client;
use crate::draft::Draft;
use crate::policy::contents::TargetContents;
use crate::policy::judge::{Judged, PackageJudge};
use crate::role_content::RoleContent;
use crate::{Error, NotFound, Repository};

/// The results of judging published packages.
pub(crate) struct Judgements {
    /// The number of packages.
    pub(crate) judged: usize,
    /// The packages that clients refuse.
    pub(crate) published: Vec<Refused>,
    /// The packages that clients would refuse once the pending change is published, or `None` if no change is pending.
    pub(crate) pending: Option<Vec<Refused>>,
}

impl Repository {
    /// Returns a client of the published state that judges packages.
    pub(crate) fn judge_published<'a>(&self, contents: &'a TargetContents) -> Result<PackageJudge<'a>, Error> {
        PackageJudge::of_published(&self.published, contents, self.now())
    }

    /// Returns the targets that are packages, which are all targets except evidence and trust roots.
    fn packages(&self, targets: &[TargetFile]) -> Vec<TargetPath> {
        let mut auxiliary = all_evidence(targets);
        auxiliary.extend(self.published.read_roles().flat_map(|(_, targets)| trust_roots_of(targets)));
        let packages = targets.iter().filter(|target| !auxiliary.contains(&target.path));
        packages.map(|target| target.path.clone()).collect()
    }

    /// Judges these packages, or all packages if `paths` is empty.
    ///
    /// # Errors
    /// [`Error::NotFound`] if clients do not find one of the paths.
    pub(crate) fn judge_packages(
        &self,
        draft: &Draft,
        paths: &[TargetPath],
        contents: &TargetContents,
    ) -> Result<Judgements, Error> {
        let mut judge = self.judge_published(contents)?;
        let all = match paths {
            [] => self.packages(&judge.session().list().map_err(from_client)?),
            some => some.to_vec(),
        };
        let mut judgements =
            Judgements { judged: all.len(), published: Vec::new(), pending: draft.from_staged.then(Vec::new) };
        for path in &all {
            match judge.judge(path)? {
                Judged::NotFound if !paths.is_empty() => return Err(NotFound::Target { path: path.clone() }.into()),
                judged => judgements.published.extend(judged.refusal()),
            }
            let Some(refused) = &mut judgements.pending else { continue };
            if let Some(found) = judge.find(path)? {
                refused.extend(judge_pending(&mut judge, draft, &found)?.refusal());
            }
        }
        Ok(judgements)
    }
}

/// Judges a published package against the policies and evidence lists of the pending change. A client cannot search the
/// pending change, because the change is not signed yet. Therefore, the published delegation chain is used.
fn judge_pending(judge: &mut PackageJudge<'_>, draft: &Draft, found: &Found) -> Result<Judged, Error> {
    let mut pending = Vec::new();
    for (role, _) in &found.chain {
        pending.push(draft.targets.get(role).map(RoleContent::read).transpose()?);
    }
    let mut target = found.target.clone();
    if let Some(Some(listing)) = pending.last() {
        match listing.target(&target.path) {
            Some(listed) => target = listed,
            None => return Ok(Judged::NotFound),
        }
    }
    let mut chain = Vec::new();
    let mut delegations: Option<&Delegations> = None;
    for ((name, published), pending) in found.chain.iter().zip(&pending) {
        let is_bin = delegations.is_some_and(|delegations| delegations.is_bin(name));
        let header = match pending {
            Some(targets) => &targets.header,
            None => published.header(),
        };
        let list: Box<ListTarget<'_>> = match pending {
            Some(targets) => Box::new(|path| Ok(targets.target(path))),
            None => Box::new(|path| published.target(path)),
        };
        delegations = match pending {
            Some(targets) => targets.delegations.as_ref(),
            None => published.delegations(),
        };
        chain.push(ChainRole { name: name.clone(), header, is_bin, list });
    }
    judge.judge_demands(&target, found, Demands::of_chain(&chain, target.clone(), &LocalPolicy::default()))
}
