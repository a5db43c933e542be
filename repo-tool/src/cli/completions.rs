//! `completions` and `man`: shell completion scripts and manual pages.

use super::args::{Completions, Man};
use super::outcome::Run;
use super::{ExitStatus, Output};
use crate::Error;
use crate::files::access;

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
