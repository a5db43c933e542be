//! `init`: create a signed repository.

use lastmile_client::text::printable_path;
use lastmile_metadata::RoleName;
use serde_json::{Value, json};

use super::args::Init;
use super::outcome::Run;
use super::{Context, ExitStatus, Output, base_url, findings};
use crate::check::lint;
use crate::files::git_ignore;
use crate::immutable::Immutable;
use crate::init::NewRepository;
use crate::key_store::Protection;
use crate::publish::observer::Unobserved;
use crate::report::diff;
use crate::{Error, Repository};

pub(super) fn init(context: &Context<'_>, args: &Init, output: &Output) -> Result<ExitStatus, Error> {
    let metadata_url = args.metadata_url.as_deref().map(base_url).transpose()?;
    let dir = args.dir.as_deref().unwrap_or(&context.global.repository);
    let keys = if args.unencrypted_keys {
        Protection::None
    } else {
        Protection::PassPhrase(context.invocation.phrases.new_pass_phrase()?)
    };
    let mut new = new_repository(args, keys)?;
    if args.unencrypted_online_keys {
        new.online_keys = Protection::None;
    }
    let run = context.run();
    let plan = match run {
        Run::Dry => new.preview(dir, &context.invocation)?,
        Run::Real => new.create(dir, &context.invocation, &mut Unobserved)?,
    };
    let json = json!({
        "repository": dir.to_string_lossy(), "changes": diff::json(&plan.diff), "roles": roles(&new),
        "dry_run": run.is_dry(),
    });
    output.report(&json, diff::text(&plan.diff).lines())?;
    if run.is_dry() {
        output.note(
            "Nothing was created (--dry-run). The keys shown are examples; without --dry-run, other keys are generated.",
        );
        return Ok(ExitStatus::Done);
    }
    let repository = Repository::open(dir, &context.invocation)?;
    if let Some(url) = &metadata_url {
        context.invocation.user.set_metadata_url(repository.digest, url)?;
    }
    let found = lint::lint(&repository.published, &repository.config, &repository.keys, repository.now());
    findings::print_warnings(&found, output);
    let layout = &repository.layout;
    let keys = new.keys.clone().unwrap_or_else(|| layout.keys());
    output.note(&format!(
        "Created a repository in {}. Serve metadata/ and targets/, and nothing else.",
        printable_path(dir)
    ));
    let missing = git_ignore::missing(layout, &keys)?;
    if !missing.is_empty() {
        let file = layout.dir().join(".gitignore");
        output.note(&format!("{} already exists and was not changed. Add these lines to it:", printable_path(&file)));
        output.note_lines(missing.iter().map(|line| format!("  {line}")));
    }
    output.note(&format!(
        "Ship metadata/1.root.json with your client. Move the root keys from {} to different places, and run \
         `lastmile-repo renew` daily.",
        printable_path(&keys)
    ));
    Ok(ExitStatus::Done)
}

fn new_repository(args: &Init, keys: Protection) -> Result<NewRepository, Error> {
    let mut new = NewRepository::new(keys);
    new.scheme = args.scheme;
    new.consistent_snapshot = !args.no_consistent_snapshot;
    new.hash_prefixed_targets = !args.no_hash_prefix && !args.no_consistent_snapshot;
    new.thresholds = args.threshold.iter().cloned().collect();
    new.expiry_days = args.expiry.iter().cloned().collect();
    new.keys = args.keys.clone();
    if !args.immutable.is_empty() {
        new.immutable = Immutable::parse(&args.immutable)?;
    }
    Ok(new)
}

/// Returns the keys and thresholds of the roles as JSON.
fn roles(new: &NewRepository) -> Vec<Value> {
    let roles = [RoleName::ROOT, RoleName::TARGETS, RoleName::SNAPSHOT, RoleName::TIMESTAMP].into_iter().map(|role| {
        let config = new.role(&role);
        let keys = new.key_count(&role);
        let threshold = config.threshold;
        let days = config.expires_days;
        json!({ "role": role.as_str(), "threshold": threshold, "keys": keys, "expires_days": days })
    });
    roles.collect()
}
