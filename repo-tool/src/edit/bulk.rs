//! Very many targets at once: each to the bin that it falls into, which is computed, and every bin made once, on all
//! cores.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};

use lastmile_metadata::{RoleName, Router, TargetFile, TargetPath, Targets, hash_start};

use super::Edit;
use crate::{EditError, Error, NotFound, parallel};

/// Very many targets, by number. They are made when they are needed, for as trees they would fill the memory.
pub trait Listings: Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The [`hash_start`] of the path of one of them.
    fn hash_start(&self, number: usize) -> u64;

    /// The path of one of them.
    ///
    /// # Errors
    /// When it cannot be read any more.
    fn path(&self, number: usize) -> Result<TargetPath, Error> {
        self.target(number).map(|target| target.path)
    }

    /// One of them.
    ///
    /// # Errors
    /// When it cannot be read any more.
    fn target(&self, number: usize) -> Result<TargetFile, Error>;

    /// What follows when two of them say different things of one path; without an error, the first one counts.
    ///
    /// # Errors
    /// [`Error::Edit`] when that must not be.
    fn clash(&self, one: usize, other: usize) -> Result<(), Error>;
}

/// Targets that are there already.
impl Listings for Vec<TargetFile> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn hash_start(&self, number: usize) -> u64 {
        self.get(number).map_or(0, |target| hash_start(target.path.as_str()))
    }

    fn target(&self, number: usize) -> Result<TargetFile, Error> {
        self.get(number).cloned().ok_or_else(lost)
    }

    fn clash(&self, one: usize, _: usize) -> Result<(), Error> {
        let path = self.target(one)?.path;
        Err(EditError::DifferentTargets { path: path.clone() }.into())
    }
}

/// The targets of roles on their way to others, in the order of their priority.
#[derive(Default)]
pub(super) struct Moving {
    roles: Vec<Targets>,
    /// Role, and path.
    paths: Vec<(u32, TargetPath)>,
}

impl Moving {
    /// Takes the targets of a role along.
    pub(super) fn take(&mut self, role: &Targets) {
        #[expect(clippy::expect_used, reason = "no memory holds 2^32 roles")]
        let number = u32::try_from(self.roles.len()).expect("fewer than 2^32 roles");
        self.paths.extend(role.paths().map(|path| (number, path)));
        self.roles.push(role.clone());
    }
}

impl Listings for Moving {
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

    /// The role with the higher priority was asked first, and is what clients have found so far.
    fn clash(&self, _: usize, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

/// A role, and the numbers of the targets that it is to list.
type Share = (RoleName, Vec<u32>);

impl Edit<'_> {
    /// Lists all of `listings` in `role`, or in the bins that it leads to. Returns how many of them are new or other
    /// than before. `progress` counts targets. Roles in which nothing changes stay as they are.
    ///
    /// # Errors
    /// When there is no such role, what is on the way does not verify, or the targets contradict each other.
    pub fn fill(
        &mut self,
        role: &RoleName,
        listings: &dyn Listings,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<usize, Error> {
        let mut shares = Vec::new();
        for (role, numbers) in self.shares(role, listings)? {
            shares.push((role.clone(), self.view(&role)?.clone(), numbers));
        }
        let done = AtomicUsize::new(0);
        let bulk_filled = parallel::try_map(&shares, |(_, before, numbers)| {
            let bulk_filled = bulk_filled(before, numbers, listings)?;
            progress(done.fetch_add(numbers.len(), Ordering::Relaxed) + numbers.len());
            Ok(bulk_filled)
        })?;
        let mut changed = 0;
        for ((role, before, _), bulk_filled) in shares.into_iter().zip(bulk_filled) {
            let Some((targets, count)) = bulk_filled else { continue };
            drop(before);
            changed += count;
            *self.targets(&role)? = targets;
            self.draft.bulk_filled.insert(role);
        }
        Ok(changed)
    }

    /// Follows bins from `role` on, for all at once: which role is to list which of them.
    fn shares(&mut self, role: &RoleName, listings: &dyn Listings) -> Result<Vec<Share>, Error> {
        let count = u32::try_from(listings.len()).map_err(|_| EditError::TooManyTargets)?;
        let mut waiting = VecDeque::from([(role.clone(), (0..count).collect::<Vec<u32>>())]);
        let mut shares = Vec::new();
        while let Some((role, numbers)) = waiting.pop_front() {
            let router = self.view(&role)?.delegations.as_ref().map(Router::of).filter(Router::has_bins);
            let Some(router) = router else {
                shares.push((role, numbers));
                continue;
            };
            let (own, children) = distribute(&router, numbers, listings);
            let is_new = |name: &&RoleName| !self.draft.targets.contains_key(*name);
            let names: Vec<RoleName> = children.iter().map(|(name, _)| name).filter(is_new).cloned().collect();
            self.published.read_children(&role, &names)?;
            waiting.extend(children);
            shares.extend((!own.is_empty()).then_some((role, own)));
        }
        Ok(shares)
    }
}

/// What falls into no bin, and what falls into which.
fn distribute(router: &Router, numbers: Vec<u32>, listings: &dyn Listings) -> (Vec<u32>, Vec<Share>) {
    let mut of_bins: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    let mut own = Vec::new();
    for number in numbers {
        match router.bin(listings.hash_start(number as usize)) {
            Some(bin) => of_bins.entry(bin).or_default().push(number),
            None => own.push(number),
        }
    }
    let children = of_bins.into_iter().filter_map(|(bin, numbers)| Some((router.name(bin)?, numbers)));
    (own, children.collect())
}

/// The role with these targets, and how many of them are new to it; none when it lists all of them already.
fn bulk_filled(before: &Targets, numbers: &[u32], listings: &dyn Listings) -> Result<Option<(Targets, usize)>, Error> {
    let mut named = Vec::with_capacity(numbers.len());
    for number in numbers {
        named.push((listings.path(*number as usize)?, *number));
    }
    named.sort_unstable();
    let (mut changed, mut failed) = (0, None);
    let targets = named.chunk_by(|one, other| one.0 == other.0).map_while(|same| {
        let target = one_of(same, listings).map_err(|error| failed = Some(error)).ok()?;
        changed += usize::from(before.target(&target.path).as_ref() != Some(&target));
        Some(target)
    });
    let mut after = before.clone();
    let written = after.extend_sorted(targets);
    if let Some(error) = failed {
        return Err(error);
    }
    written.map_err(EditError::Metadata)?;
    Ok((changed > 0).then_some((after, changed)))
}

/// What all of these, which have one path, say.
fn one_of(same: &[(TargetPath, u32)], listings: &dyn Listings) -> Result<TargetFile, Error> {
    let [(_, first), others @ ..] = same else { return Err(lost()) };
    let target = listings.target(*first as usize)?;
    for (_, other) in others {
        if listings.target(*other as usize)? != target {
            listings.clash(*first as usize, *other as usize)?;
        }
    }
    Ok(target)
}

fn lost() -> Error {
    NotFound::DistributedTarget.into()
}
