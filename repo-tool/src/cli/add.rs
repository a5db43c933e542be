//! `add`: publish files or folders.

use std::path::{Path, PathBuf};

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_client::text::printable_path;
use lastmile_metadata::RoleName;

use super::context::Context;
use super::exchange::Exchange;
use super::outcome::{conclude, publish};
use super::phrases::STDIN;
use crate::config::Config;
use crate::edit::add::{AddOptions, Custom, DelegatedPaths, PublishedTargets};
use crate::edit::intake::{self, FoundFiles, Hidden, Source};
use crate::edit::list::List;
use crate::edit::target_source::TargetSource as _;
use crate::files::own_files::{self, OwnFiles};
use crate::immutable::Immutable;
use crate::policy::evidence::{NewEvidence, PreparedEvidence};
use crate::publish::queue::PublishRequest;
use crate::{Error, Repository, names};

/// `add`
#[derive(Debug, Args)]
#[command(after_help = "\
Target paths are relative to the given folder: `add dist` publishes dist/linux/x.tar.gz as
linux/x.tar.gz. Files that several processes add at the same time are published together, with one
snapshot and one timestamp. Hidden files in folders are skipped. Files that contain private keys and
the repository's own files are refused (exit code 5).

The list for --from-list has one target per line, in one of these forms:
  {\"path\": \"linux/x.tar.gz\", \"length\": 5, \"hashes\": {\"sha256\": \"…\"}, \"custom\": {…}}
  SHA256  LENGTH  PATH
If a line has no `custom` and the target is already listed, the target keeps its custom data. Empty
lines and lines that start with # are skipped.

Examples:
  lastmile-repo add dist
  lastmile-repo add app-1.2.tar.gz --custom channel=stable --custom 'sizes:=[1, 2]'
  lastmile-repo add build/out.bin --name app/1.2/app.bin
  lastmile-repo add app-1.2.tar.gz --evidence release.sigstore.json provenance.intoto.jsonl
  lastmile-repo add plugins --under plugins --role plugins-team
  lastmile-repo add --from-list packages.txt
  lastmile-repo add app-1.2.tar.gz --push  # also push to the stored destination")]
pub(crate) struct Add {
    /// Files or folders to publish.
    #[arg(required_unless_present = "from_list")]
    pub(super) paths: Vec<PathBuf>,
    /// Read target paths, lengths and hashes from the list in FILE (`-` for standard input). The target files
    /// themselves are stored on another server and are not read.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["paths", "name", "under", "custom", "no_custom"])]
    pub(super) from_list: Option<PathBuf>,
    /// Role that lists the targets [default: targets, or the bin that covers the target path]
    #[arg(long, value_name = "ROLE")]
    pub(super) role: Option<String>,
    /// Target path for the file, if exactly one file is added.
    #[arg(long, value_name = "NAME", conflicts_with = "under")]
    pub(super) name: Option<String>,
    /// Folder to prepend to each target path.
    #[arg(long, value_name = "FOLDER")]
    pub(super) under: Option<String>,
    /// Custom data to list with each target: KEY=TEXT, or KEY:=JSON for a value that is not text. Without this option,
    /// targets that are already listed keep their custom data.
    #[arg(long, value_name = "KEY=TEXT")]
    pub(super) custom: Vec<String>,
    /// Remove the custom data of targets that are already listed.
    #[arg(long, conflicts_with = "custom")]
    pub(super) no_custom: bool,
    /// Evidence for the file, if exactly one file is added: Sigstore bundles, DSSE envelopes and signatures. The
    /// evidence is published next to the file, and the file's custom data lists the evidence. If a listed file is
    /// replaced with different content, the evidence for the old content is removed.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "from_list")]
    pub(super) evidence: Vec<PathBuf>,
    /// List the targets even if the role delegates their paths to another role. Clients then no longer find the other
    /// role's targets at these paths.
    #[arg(long)]
    pub(super) hide_delegated: bool,
    /// Replace the content of published targets even if repo.toml declares their names immutable.
    #[arg(long)]
    pub(super) replace: bool,
    /// Also publish hidden files and folders (.NAME).
    #[arg(long)]
    pub(super) include_hidden: bool,
    /// Publish files that contain private keys, such as test keys. The repository's own keys are never published.
    #[arg(long)]
    pub(super) allow_private_key_material: bool,
    #[command(flatten)]
    pub(super) exchange: Exchange,
}

pub(super) fn add(context: &Context<'_>, args: &Add, output: &Output) -> Result<ExitStatus, Error> {
    args.exchange.around(context, output, || add_targets(context, args, output))
}

fn add_targets(context: &Context<'_>, args: &Add, output: &Output) -> Result<ExitStatus, Error> {
    let role = args.role.as_deref().map_or(Ok(RoleName::TARGETS), names::role)?;
    if let Some(list) = &args.from_list {
        return add_list(context, &role, (list, args), output);
    }
    let custom = if args.no_custom { Custom::Remove } else { Custom::parse(&args.custom)? };
    let published = if args.replace { PublishedTargets::Replace } else { PublishedTargets::Keep };
    let mut options = AddOptions { custom, delegated: delegated_paths(args), published, evidence: None };
    let layout = context.layout();
    let config = Config::read(&layout)?;
    let mut sources = sources(args, &OwnFiles::of(&layout, &config)?, output)?;
    let evidence = evidence(context, &role, (args, &config), &sources)?;
    if let Some(prepared) = &evidence {
        options = options.with_evidence(prepared.evidence.clone());
        sources.extend(prepared.sources.iter().cloned());
    }
    let bar = output.bar("copying", sources.len());
    let progress = |done| bar.set_position(done as u64);
    if !context.global.dry_run {
        let request = PublishRequest::enter(&layout, &config, Some(role), &sources, &options, &progress)?;
        bar.finish_and_clear();
        return publish(context, &request, output);
    }
    let measured = intake::measure(&sources, &config.hashes, &OwnFiles::of(&layout, &config)?, &progress)?;
    bar.finish_and_clear();
    let mut repository = context.open(output)?;
    let (draft, ()) = repository
        .prepare(|repository, draft| Ok((repository.preview_measured(draft, &role, &measured, &options)?, ())))?;
    conclude(context, &mut repository, draft, output)
}

fn evidence(
    context: &Context<'_>,
    role: &RoleName,
    (args, config): (&Add, &Config),
    sources: &[Source],
) -> Result<Option<PreparedEvidence>, Error> {
    if args.evidence.is_empty() {
        return Ok(None);
    }
    let [package] = sources else {
        let problem = format!("--evidence requires exactly one package, but {} files were found", sources.len());
        return Err(Error::Usage(problem));
    };
    let new = NewEvidence::read(&args.evidence)?;
    let own = OwnFiles::of(&context.layout(), config)?;
    let measured = intake::measure(std::slice::from_ref(package), &config.hashes, &own, &|_| {})?;
    let mut repository = Repository::open(&context.global.repository, &context.invocation)?;
    let package = measured.first().map(|measured| &measured.target);
    package.map(|package| repository.prepare_evidence(role, package, &new)).transpose()
}

fn delegated_paths(args: &Add) -> DelegatedPaths {
    if args.hide_delegated { DelegatedPaths::Hide } else { DelegatedPaths::Refuse }
}

/// Adds targets whose files are stored on another server.
fn add_list(
    context: &Context<'_>,
    role: &RoleName,
    (list, args): (&Path, &Add),
    output: &Output,
) -> Result<ExitStatus, Error> {
    let length = list.metadata().map_or(0, |found| usize::try_from(found.len()).unwrap_or(usize::MAX));
    let bar = output.bar("reading", length);
    let progress = |done| bar.set_position(done as u64);
    let layout = context.layout();
    // If the repository is missing, report this before waiting for a list on standard input.
    Config::read(&layout)?;
    let list = if list == Path::new(STDIN) {
        if context.global.pass_phrase_file.as_deref() == Some(list) {
            return Err(Error::Usage("standard input cannot provide both the list and the pass-phrase".into()));
        }
        List::read_from(&mut **context.stdin(), list, layout.dir(), &progress)?
    } else {
        List::read(list, layout.dir(), &progress)?
    };
    let list = list.with_delegated(delegated_paths(args));
    bar.finish_and_clear();
    if list.is_empty() {
        return Err(Error::Absent("the list contains no targets".into()));
    }
    let mut repository = context.open(output)?;
    let immutable = if args.replace { Immutable::none() } else { repository.config.immutable.clone() };
    let list = list.with_immutable(immutable);
    repository.prefetch_keys(&[RoleName::TARGETS]);
    let bar = output.bar("listing", list.len());
    let (draft, ()) = repository.prepare(|repository, draft| {
        let mut edit = repository.edit(draft);
        edit.fill(role, &list, &|done| bar.set_position(done as u64))?;
        Ok((edit.finish()?, ()))
    })?;
    bar.finish_and_clear();
    drop(list);
    conclude(context, &mut repository, draft, output)
}

/// Refuses two files with the same target path.
fn sources(args: &Add, own: &OwnFiles, output: &Output) -> Result<Vec<Source>, Error> {
    let mut refused = Vec::new();
    let with_hidden = if args.include_hidden { Hidden::Include } else { Hidden::Skip };
    for path in &args.paths {
        let kind = path.symlink_metadata().map_err(|error| Error::file("read", path, error))?;
        if kind.is_dir() {
            refused.extend(own.unpublishable_folder(path)?);
        }
    }
    own_files::refuse(refused)?;
    let FoundFiles { mut sources, hidden } = intake::find(&args.paths, args.under.as_deref(), with_hidden)?;
    if hidden > 0 {
        let (skipped, them) = if hidden == 1 { ("file or folder", "it") } else { ("files or folders", "them") };
        output.note(&format!("Skipped {hidden} hidden {skipped}; --include-hidden publishes {them} too."));
    }
    if args.allow_private_key_material {
        sources = sources.into_iter().map(Source::allow_private_keys).collect();
    }
    if let Some(name) = &args.name {
        match sources.as_mut_slice() {
            [only] => only.name = names::target_path(name)?,
            _ => {
                return Err(Error::Usage(format!(
                    "--name requires exactly one file, but {} were found",
                    sources.len()
                )));
            }
        }
    }
    if sources.is_empty() {
        return Err(Error::Absent("there are no files to add in the given paths".into()));
    }
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    let twice = sources.windows(2).find_map(|pair| match pair {
        [one, other] if one.name == other.name => Some((one, other)),
        _ => None,
    });
    match twice {
        Some((one, other)) => Err(Error::Failed(format!(
            "{} and {} would both be published as `{}`",
            printable_path(&one.file),
            printable_path(&other.file),
            one.name
        ))),
        None => Ok(sources),
    }
}
