//! `policy trust-root`: publish the trust root of a Sigstore instance.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_client::text::printable;
use lastmile_metadata::{RoleName, TargetPath};

use crate::cli::context::Context;
use crate::cli::outcome::conclude;
use crate::cli::url::base_url;
use crate::edit::intake::Source;
use crate::files::access::write_new;
use crate::files::links::read_named_root;
use crate::names::target_path;
use crate::policy::contents::TargetContents;
use crate::policy::trust_root::{Memory, TrustRootSource, described};
use crate::{AddOptions, Error, Repository, names};

/// `policy trust-root …`
#[derive(Debug, Subcommand)]
pub(crate) enum TrustRootCommand {
    /// Fetch a trust root from the TUF repository of a Sigstore instance, and publish it as a target.
    Update(Update),
}

/// `policy trust-root update`
#[derive(Debug, Args)]
#[command(after_help = "\
Verifies the trust root as any TUF client would. Verification starts from the first root of the
instance's TUF repository; this root is pinned in your configuration folder. Shows which logs and
authorities change. Run the command regularly, for example every month: a Sigstore instance replaces
its trust root when it changes its keys.

Examples:
  lastmile-repo policy trust-root update https://tuf-repo-cdn.sigstore.dev \\
      --first-root sigstore-root.json
  lastmile-repo policy trust-root update https://tuf-repo-cdn.sigstore.dev \\
      --path trust/sigstore-public.json")]
pub(crate) struct Update {
    /// URL of the TUF repository. The metadata is fetched from this URL, and the targets from targets/ below it.
    url: String,
    /// File with the first root of the TUF repository, obtained through a channel that you trust. Needed only once.
    #[arg(long, value_name = "FILE")]
    first_root: Option<PathBuf>,
    /// Target in the TUF repository that contains the trust root.
    #[arg(long, value_name = "NAME", default_value = "trusted_root.json")]
    target: String,
    /// Target path in your repository.
    #[arg(long, value_name = "PATH", default_value = "trust/sigstore-public.json")]
    path: String,
    /// Role that lists the trust root. If the policy of a different role names the trust root, that policy must contain
    /// the SHA-256 of the trust root.
    #[arg(long, default_value = "targets", value_name = "ROLE")]
    role: String,
    /// Publish even if clients will refuse packages that are already published.
    #[arg(long)]
    even_so: bool,
}

pub(super) fn run(context: &Context<'_>, command: &TrustRootCommand, output: &Output) -> Result<ExitStatus, Error> {
    match command {
        TrustRootCommand::Update(args) => update(context, args, output),
    }
}

#[expect(clippy::disallowed_methods, reason = "this temporary folder is not part of the repository")]
fn update(context: &Context<'_>, args: &Update, output: &Output) -> Result<ExitStatus, Error> {
    let url = base_url(&args.url)?;
    let role = names::role(&args.role)?;
    let path = target_path(&args.path)?;
    let target = TargetPath::new(args.target.as_str()).map_err(|error| Error::Usage(error.to_string()))?;
    let first = args.first_root.as_deref().map(read_named_root).transpose()?;
    let config = context.invocation.user.file().ok_or_else(|| {
        Error::Usage(
            "the first root is pinned next to your configuration file, whose path is unknown; give its path with \
             --config FILE"
                .into(),
        )
    })?;
    let source = TrustRootSource::open(&url, first, config)?;
    let now = context.invocation.now;
    let is_dry = context.run().is_dry();
    let content = source.fetch(&target, now, if is_dry { Memory::Ignored } else { Memory::Kept })?;
    let mut repository = context.open_accepting(args.even_so, output)?;
    show_changes(&mut repository, (&role, &path), &content, output)?;
    let at = std::env::temp_dir();
    let folder = tempfile::tempdir().map_err(|error| Error::file("create a folder in", &at, error))?;
    let file = folder.path().join("root");
    write_new(&file, &content, 0o600)?;
    let sources = [Source::new(file, path)];
    let options = AddOptions::default().replace_published();
    let (draft, ()) = repository.prepare(|repository, draft| {
        let draft = if is_dry {
            repository.preview_files(draft, &role, &sources, &options, &|_| {})?
        } else {
            repository.forget_incoming()?;
            repository.add_files(draft, &role, &sources, &options, &|_| {})?
        };
        Ok((draft, ()))
    })?;
    if !is_dry {
        source.remember(&target, now)?;
    }
    conclude(context, &mut repository, draft, output)
}

/// Shows which logs and authorities the new trust root adds and removes.
fn show_changes(
    repository: &mut Repository,
    (role, path): (&RoleName, &TargetPath),
    content: &[u8],
    output: &Output,
) -> Result<(), Error> {
    let contents = TargetContents::new(&repository.layout, repository.target_names(), &[]);
    let listed = repository.published.role(role)?.target(path);
    let before = listed.map_or(Ok(None), |listed| contents.read(&listed))?;
    let old = described(before.as_deref().unwrap_or_default());
    let new = described(content);
    let lines: Vec<String> = old
        .difference(&new)
        .map(|line| format!("- {line}"))
        .chain(new.difference(&old).map(|line| format!("+ {line}")))
        .collect();
    if lines.is_empty() {
        output.note(&format!("The logs and authorities in `{}` are unchanged.", printable(path.as_str())));
    } else {
        output.note(&format!("Changes to `{}`:", printable(path.as_str())));
        output.note_lines(lines);
    }
    Ok(())
}
