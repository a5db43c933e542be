//! `completions` and `man`: shell completion scripts and manual pages.

use std::path::PathBuf;

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};

use super::global::Run;
use crate::Error;
use crate::files::access;

/// `completions`
#[derive(Debug, Args)]
#[command(
    after_help = "Example: lastmile-repo completions bash > ~/.local/share/bash-completion/completions/lastmile-repo"
)]
pub(crate) struct Completions {
    /// Shell that the script is for.
    pub(crate) shell: clap_complete::Shell,
}

/// `man`
#[derive(Debug, Args)]
#[command(after_help = "Example: lastmile-repo man ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// Folder to write the man pages to, one page for each command.
    pub(crate) folder: PathBuf,
}

pub(super) fn completions(
    command: &mut clap::Command,
    args: &Completions,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "lastmile-repo", &mut script);
    output.raw(&script)?;
    Ok(ExitStatus::Done)
}

pub(super) fn man(command: clap::Command, args: &Man, run: Run, output: &Output) -> Result<ExitStatus, Error> {
    let folder = &args.folder;
    if run.is_dry() {
        access::check_creatable(folder)?;
        output.note("Nothing was written (--dry-run).");
        return Ok(ExitStatus::Done);
    }
    lastmile_fs::disk::make_folders(folder, 0o777).map_err(|error| Error::file("create", folder, error))?;
    clap_mangen::generate_to(command, folder).map_err(|error| Error::file("write manual pages into", folder, error))?;
    Ok(ExitStatus::Done)
}
