//! `revert`: undo the last publication by publishing the earlier content again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lastmile_cli_support::{ExitStatus, Output};
use lastmile_keys::PublicKey;
use lastmile_metadata::{KeyRing, RoleName};

use super::context::Context;
use super::keys::{Resolved, resolve, set_keys};
use super::outcome::conclude;
use super::set_threshold::record_threshold;
use crate::config::{Config, RoleConfig};
use crate::draft::Draft;
use crate::edit::Edit;
use crate::edit::bins::Bins;
use crate::edit::revert::{MissingFiles, RemovedKeys};
use crate::files::links::Links;
use crate::key_store::read_public_key;
use crate::{Error, Repository};

/// `revert`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Undoes the last publication that changed targets or delegations: publishes the earlier targets and
delegations of all roles with new version numbers. A second `revert` undoes the first. Does not
revert the root, which contains the keys and thresholds of the top-level roles. To change those, use
`rotate` and `set-threshold`. Clients keep targets that they have downloaded.

Examples:
  lastmile-repo revert --dry-run
  lastmile-repo revert")]
pub(crate) struct Args {
    /// Trust again the keys that the last publication removed from delegated roles.
    #[arg(long)]
    trust_removed_keys: bool,
    /// List targets again even if this folder lacks their files. Use this if another server has the files.
    #[arg(long, alias = "elsewhere")]
    allow_missing_targets: bool,
    /// Publish even if the change makes clients refuse published packages because of a policy.
    #[arg(long)]
    even_so: bool,
}

pub(super) fn revert(context: &Context<'_>, args: &Args, output: &Output) -> Result<ExitStatus, Error> {
    let removed = if args.trust_removed_keys { RemovedKeys::Trust } else { RemovedKeys::Refuse };
    let missing = if args.allow_missing_targets { MissingFiles::Allow } else { MissingFiles::Refuse };
    let mut repository = context.open_accepting(args.even_so, output)?;
    let mut edit = repository.edit(Draft::default());
    let before = RolesWithKeys::of(&mut edit)?;
    let version = edit.revert(removed)?;
    let mut draft = edit.finish()?;
    repository.check_restored_files(&draft, missing)?;
    let config = reverted_config(&mut repository, &draft, &before)?;
    draft.set_config(config);
    let verb = if context.run().is_dry() { "This would restore" } else { "Restoring" };
    output.note(&format!("{verb} the targets and delegations that snapshot version {version} listed."));
    conclude(context, &mut repository, draft, output)
}

/// The key rings of all delegated roles, and all sets of bins, before or after the revert.
struct RolesWithKeys {
    rings: BTreeMap<RoleName, KeyRing>,
    bins: Vec<Bins>,
}

impl RolesWithKeys {
    fn of(edit: &mut Edit<'_>) -> Result<Self, Error> {
        let mut rings = BTreeMap::new();
        let mut delegators = BTreeSet::new();
        for (role, delegator, ring) in edit.delegated_rings()? {
            rings.insert(role, ring);
            delegators.insert(delegator);
        }
        let mut bins = Vec::new();
        for delegator in delegators {
            bins.extend(edit.view(&delegator)?.delegations.as_ref().and_then(Bins::of));
        }
        Ok(Self { rings, bins })
    }

    /// Returns whether an entry of the configuration (`ROLE` or `PREFIX*`) applies to a delegated role.
    fn has(&self, entry: &str) -> bool {
        let fits = |role: &RoleName| match entry.strip_suffix('*') {
            Some(start) => role.as_str().starts_with(start),
            None => role.as_str() == entry,
        };
        self.rings.keys().any(fits)
    }

    /// Returns the name for a role's entry in the configuration. Bins share one entry, `PREFIX-*`.
    fn entry(&self, role: &RoleName) -> String {
        let bins = self.bins.iter().find(|bins| bins.contains(role));
        bins.map_or_else(|| role.as_str().to_string(), |bins| format!("{}-*", bins.name_prefix))
    }
}

/// Returns the configuration after the revert. Removes the entries of roles that lose their delegation, adds the
/// entries of restored roles, and restores the earlier thresholds.
fn reverted_config(repository: &mut Repository, draft: &Draft, before: &RolesWithKeys) -> Result<Config, Error> {
    let after = RolesWithKeys::of(&mut repository.edit(draft.clone()))?;
    let mut config = repository.config.clone();
    let entries: Vec<String> = config.entries().map(ToString::to_string).collect();
    for gone in entries.iter().filter(|entry| before.has(entry) && !after.has(entry)) {
        config.remove_role(gone);
    }
    let mut again = BTreeMap::new();
    for (role, ring) in &after.rings {
        match before.rings.get(role) {
            None => {
                again.insert(after.entry(role), (role, ring));
            }
            Some(other) if other.threshold() != ring.threshold() => {
                record_threshold(&mut config, role, ring.threshold().get());
            }
            Some(_) => {}
        }
    }
    for (entry, (role, ring)) in again {
        let mut keys = Vec::new();
        for (_, key) in ring.keys() {
            keys.extend(local_key(repository, key)?);
        }
        let role = RoleConfig { threshold: ring.threshold().get(), ..RoleConfig::default_for(role) };
        set_keys(repository, &mut config, &entry, role, &keys)?;
    }
    Ok(config)
}

/// Finds the private key that belongs to the public key `key`: in the configuration, or next to its `.pub` file in the
/// key folder.
fn local_key(repository: &mut Repository, key: &PublicKey) -> Result<Option<Resolved>, Error> {
    if let Some(uri) = repository.keys.uri_of(key) {
        return Ok(Some(Resolved { public: key.clone(), uri: uri.parse().ok() }));
    }
    let folder = repository.layout.keys();
    let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(None) };
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_of_key = |file: &Path| {
        file.extension().is_some_and(|ending| ending == "pub")
            && read_public_key(file, Links::Refuse).is_ok_and(|public| public == *key)
    };
    let private =
        files.filter(|file| is_of_key(file)).map(|file| file.with_extension("pem")).find(|file| file.is_file());
    match private.as_deref().and_then(Path::to_str) {
        Some(file) => resolve(repository, file).map(Some),
        None => Ok(None),
    }
}
