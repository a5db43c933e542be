//! Adds many targets at once. The bins of all targets are computed first, so that each bin is written only once. The
//! work is distributed over all cores.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};

use lastmile_metadata::{RoleName, Router, TargetFile, TargetPath, Targets, hash_start};

use super::Edit;
use super::add::{DelegatedPaths, hidden_by, refuse_hiding, refuse_replacing};
use super::clashes::refuse_clashes_in;
use super::evidence::{kept_custom, useless_evidence};
use super::target_source::{NamedTarget, TargetSource, lost};
use crate::files::spool::Spool;
use crate::role_content::RoleContent;
use crate::{EditError, Error, parallel};

/// Targets that move to other roles. Targets whose current role has a higher priority come first.
#[derive(Default)]
pub(super) struct Moving {
    roles: Vec<Targets>,
    /// The path of each target, with the index in `roles` of the role that lists the target.
    paths: Vec<(u32, TargetPath)>,
}

impl Moving {
    pub(super) fn take(&mut self, role: &Targets) {
        #[expect(clippy::expect_used, reason = "2^32 roles do not fit into memory")]
        let number = u32::try_from(self.roles.len()).expect("fewer than 2^32 roles");
        self.paths.extend(role.paths().map(|path| (number, path)));
        self.roles.push(role.clone());
    }
}

impl TargetSource for Moving {
    fn len(&self) -> usize {
        self.paths.len()
    }

    fn hash_start(&self, number: usize) -> u64 {
        self.paths.get(number).map_or(0, |(_, path)| hash_start(path.as_str()))
    }

    fn target(&self, number: usize) -> Result<TargetFile, Error> {
        let found = self.paths.get(number).and_then(|(role, path)| self.roles.get(*role as usize)?.target(path));
        found.ok_or_else(lost)
    }

    fn path(&self, number: usize) -> Result<TargetPath, Error> {
        self.paths.get(number).map(|(_, path)| path.clone()).ok_or_else(lost)
    }

    fn keeps_custom(&self) -> bool {
        false
    }

    fn delegated_paths(&self) -> DelegatedPaths {
        DelegatedPaths::Hide
    }

    /// Two targets with the same path are not an error here. The target of the role with the higher priority is kept,
    /// because clients already find that target.
    fn clash(&self, _: usize, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

/// A role, and the numbers of its new targets in the [`TargetSource`].
type Share = (RoleName, Vec<u32>);

impl Edit<'_> {
    /// Adds all targets of `source` to `role`, or to its bins. Returns how many targets are new or changed. Calls
    /// `progress` with the number of targets processed. Roles without changes are not signed again.
    ///
    /// # Errors
    /// Returns an error if the role does not exist, or if the metadata of the role or of a bin does not verify. Returns
    /// [`Error::Edit`] if two targets clash. Also returns [`Error::Edit`] if a target would hide or replace another
    /// target and `source` does not allow this.
    pub fn fill(
        &mut self,
        role: &RoleName,
        source: &dyn TargetSource,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<usize, Error> {
        let mut shares = Vec::new();
        for (role, numbers) in self.shares(role, source)? {
            let view = self.view(&role)?.clone();
            let published = source.immutable().and_then(|_| self.published.known(&role).cloned());
            shares.push((role, view, published, numbers));
        }
        let spool = if source.is_on_disk() { Some(Spool::create_in(self.published.layout().dir())?) } else { None };
        let done = AtomicUsize::new(0);
        let bulk_filled = parallel::try_map(&shares, |(role, before, published, numbers)| {
            let filled = bulk_filled(role, (before, published.as_ref()), numbers, source)?;
            progress(done.fetch_add(numbers.len(), Ordering::Relaxed) + numbers.len());
            let Some(filled) = filled else { return Ok(None) };
            let content = match &spool {
                Some(spool) => RoleContent::write(&filled.targets, spool)?,
                None => RoleContent::Held(filled.targets),
            };
            Ok(Some((content, filled.changed, filled.useless)))
        })?;
        let mut changed = 0;
        let mut useless = BTreeSet::new();
        for ((role, ..), bulk_filled) in shares.into_iter().zip(bulk_filled) {
            let Some((content, count, evidence)) = bulk_filled else { continue };
            changed += count;
            useless.extend(evidence);
            // `targets` also records the delegating role and removes earlier signatures. Its result is not needed here.
            self.targets(&role)?;
            self.draft.targets.insert(role.clone(), content);
            self.draft.bulk_filled.insert(role);
        }
        self.remove_useless_evidence(role, useless, source)?;
        Ok(changed)
    }

    /// Reads, on all cores, the roles that will list the targets of `source`.
    pub(super) fn read_roles_for(&mut self, role: &RoleName, source: &dyn TargetSource) -> Result<(), Error> {
        self.shares(role, source).map(drop)
    }

    /// Follows the delegations of `role` to its bins. Returns each role that will list targets of `source`.
    fn shares(&mut self, role: &RoleName, source: &dyn TargetSource) -> Result<Vec<Share>, Error> {
        let count = u32::try_from(source.len()).map_err(|_| EditError::TooManyTargets)?;
        let mut waiting = VecDeque::from([(role.clone(), (0..count).collect::<Vec<u32>>())]);
        let mut shares = Vec::new();
        while let Some((role, numbers)) = waiting.pop_front() {
            let router = self.view(&role)?.delegations.as_ref().map(Router::of).filter(Router::has_bins);
            let Some(router) = router else {
                shares.push((role, numbers));
                continue;
            };
            let (own, children) = distribute(&router, numbers, source);
            let is_new = |name: &&RoleName| !self.draft.targets.contains_key(*name);
            let names: Vec<RoleName> = children.iter().map(|(name, _)| name).filter(is_new).cloned().collect();
            self.published.read_children(&role, &names)?;
            waiting.extend(children);
            shares.extend((!own.is_empty()).then_some((role, own)));
        }
        Ok(shares)
    }
}

/// Returns the targets that belong to no bin, and the targets of each bin.
fn distribute(router: &Router, numbers: Vec<u32>, source: &dyn TargetSource) -> (Vec<u32>, Vec<Share>) {
    let mut of_bins: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    let mut own = Vec::new();
    for number in numbers {
        match router.bin(source.hash_start(number as usize)) {
            Some(bin) => of_bins.entry(bin).or_default().push(number),
            None => own.push(number),
        }
    }
    let children = of_bins.into_iter().filter_map(|(bin, numbers)| Some((router.name(bin)?, numbers)));
    (own, children.collect())
}

/// The new content of a role.
struct Filled {
    targets: Targets,
    /// The number of new or changed targets.
    changed: usize,
    /// The evidence files of packages whose content changes.
    useless: Vec<TargetPath>,
}

/// Copies `before`, and adds the targets of `source` with these `numbers` to the copy. Returns the copy and the number
/// of new or changed targets, or `None` if nothing changes. `published` is the published content of the role. The
/// published content is needed only if the source has immutable targets.
fn bulk_filled(
    role: &RoleName,
    (before, published): (&Targets, Option<&Targets>),
    numbers: &[u32],
    source: &dyn TargetSource,
) -> Result<Option<Filled>, Error> {
    let mut named = Vec::with_capacity(numbers.len());
    for number in numbers {
        named.push(NamedTarget::read(source, *number, numbers.len())?);
    }
    named.sort_unstable_by(|one, other| (&one.path, one.number).cmp(&(&other.path, other.number)));
    refuse_clashes_in(before, &named)?;
    if before.delegations.is_some() && source.delegated_paths() == DelegatedPaths::Refuse {
        refuse_hiding(named.iter().filter_map(|target| hidden_by(role, before, &target.path)).collect())?;
    }
    let mut changed = 0;
    let mut useless = Vec::new();
    let mut failed = None;
    let mut replaced = Vec::new();
    let immutable = source.immutable().zip(published);
    let targets = named.chunk_by(|one, other| one.path == other.path).map_while(|same| {
        let mut target = one_of(same, source).map_err(|error| failed = Some(error)).ok()?;
        let old = before.target(&target.path);
        if target.custom.is_none() && source.keeps_custom() {
            target.custom = old.as_ref().and_then(|old| kept_custom(&target, old));
        }
        if old.as_ref() != Some(&target) {
            changed += 1;
            useless.extend(old.iter().flat_map(|old| useless_evidence(old, &target)));
            let published = immutable.and_then(|(_, published)| published.target(&target.path));
            let forbids =
                |published: &TargetFile| immutable.is_some_and(|(immutable, _)| immutable.forbids(published, &target));
            replaced.extend(published.filter(forbids).map(|published| published.path));
        }
        Some(target)
    });
    let mut after = before.clone();
    let written = after.extend_sorted(targets);
    if let Some(error) = failed {
        return Err(error);
    }
    written.map_err(EditError::Metadata)?;
    refuse_replacing(replaced)?;
    Ok((changed > 0).then_some(Filled { targets: after, changed, useless }))
}

/// Returns the first target in `same`, whose targets all have the same path. If the targets differ, calls
/// [`TargetSource::clash`], which can return an error.
fn one_of(same: &[NamedTarget], source: &dyn TargetSource) -> Result<TargetFile, Error> {
    let [first, others @ ..] = same else { return Err(lost()) };
    let target = first.target(source)?;
    for other in others {
        if other.target(source)? != target {
            source.clash(first.number as usize, other.number as usize)?;
        }
    }
    Ok(target)
}
