//! `init`: create a signed repository.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_client::text::printable_path;
use lastmile_keys::Scheme;
use lastmile_metadata::RoleName;
use serde_json::{Value, json};

use super::context::Context;
use super::dates::{State, note_dates};
use super::findings;
use super::global::Run;
use super::url::base_url;
use crate::check::lint;
use crate::config::{MAX_DAYS, MAX_KEYS};
use crate::files::git_ignore;
use crate::immutable::Immutable;
use crate::init::NewRepository;
use crate::key_store::Protection;
use crate::publish::observer::Unobserved;
use crate::report::diff;
use crate::{Error, Repository};

/// `init`
#[derive(Debug, Args)]
#[command(after_help = "\
By default, generates three root keys, of which two must sign, so that you can lose one. Generates
one key each for targets, snapshot and timestamp. Encrypts all keys with your pass-phrase.
Afterwards, store each root key in a different place.

Examples:
  lastmile-repo init packages
  lastmile-repo init packages --unencrypted-online-keys      # so that cron can renew
  lastmile-repo init packages --metadata-url https://example.org/packages/metadata/
  lastmile-repo init packages --threshold targets=2 --expiry timestamp=3")]
pub(crate) struct Init {
    /// Folder of the repository, created if it does not exist [default: the folder of --repository]
    pub(crate) dir: Option<PathBuf>,
    /// Number of keys that must sign for a role, 1 to 100. The command generates this many keys, and one spare key for
    /// root.
    #[arg(long, value_name = "ROLE=N", value_parser = |text: &str| role_number(text, MAX_KEYS))]
    pub(crate) threshold: Vec<(String, u32)>,
    /// Number of days after which a role's metadata expires, 1 to 36500.
    #[arg(long, value_name = "ROLE=DAYS", value_parser = |text: &str| role_number(text, MAX_DAYS))]
    pub(crate) expiry: Vec<(String, u32)>,
    /// Signature scheme of the keys.
    #[arg(long, default_value = "ed25519", value_name = "SCHEME")]
    pub(crate) scheme: Scheme,
    /// Folder for the private keys [default: DIR/keys]
    #[arg(long, value_name = "DIR")]
    pub(crate) keys: Option<PathBuf>,
    /// URL at which the metadata is served; stored in your configuration. Before publishing, each command compares
    /// this folder with the files at the URL
    #[arg(long, value_name = "URL")]
    pub(crate) metadata_url: Option<String>,
    /// Omit the version numbers from the names of metadata files, and the hashes from the names of target files.
    /// Clients that update while you publish may fail.
    #[arg(long)]
    pub(crate) no_consistent_snapshot: bool,
    /// Omit the hashes from the names of target files. The content of a published target can then never change.
    #[arg(long)]
    pub(crate) no_hash_prefix: bool,
    /// Pattern that matches the names of immutable targets, whose published content must never change; `!PATTERN`
    /// excludes names [default: *]
    #[arg(long, value_name = "PATTERN")]
    pub(crate) immutable: Vec<String>,
    /// Leave the snapshot and timestamp keys unencrypted, for unattended renewal.
    #[arg(long)]
    pub(crate) unencrypted_online_keys: bool,
    /// Leave all keys unencrypted. For tests only.
    #[arg(long, conflicts_with = "unencrypted_online_keys")]
    pub(crate) unencrypted_keys: bool,
}

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
    note_dates(&repository, &plan, State::Published, output);
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

/// Parses `ROLE=NUMBER`, where ROLE is a top-level role and NUMBER is from 1 to `most`.
fn role_number(text: &str, most: u32) -> Result<(String, u32), String> {
    let (role, number) = text.split_once('=').ok_or("must be of the form ROLE=NUMBER")?;
    let number = number.parse().ok().filter(|number| (1..=most).contains(number));
    let number = number.ok_or_else(|| format!("the number must be from 1 to {most}"))?;
    let is_called = |known: &TopLevel| known.to_possible_value().is_some_and(|known| known.matches(role, false));
    if !TopLevel::value_variants().iter().any(is_called) {
        return Err("the role must be root, targets, snapshot or timestamp".into());
    }
    Ok((role.to_string(), number))
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TopLevel {
    Root,
    Targets,
    Snapshot,
    Timestamp,
}
