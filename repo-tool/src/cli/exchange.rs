//! The exchange of changes with other machines: the options `--catch-up` and `--push`, and the messages about copying a
//! pending change to another machine.

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_client::text::printable_path;
use lastmile_metadata::RoleName;

use super::context::Context;
use super::global::Run;
use super::key_names::KeyNames;
use super::pull;
use super::push::{self, Push};
use crate::publish::received::Receipt;
use crate::{Error, Repository};

/// `--catch-up` and `--push`
#[derive(Debug, Args)]
pub(crate) struct Exchange {
    /// Before the change, update this folder with the state that other machines have published, as `pull --adopt` does.
    #[arg(long, conflicts_with = "dry_run")]
    catch_up: bool,
    /// Like --catch-up, but also push to the stored destination after the change, as `push --catch-up` does. If this
    /// folder already has changes that are not pushed, it is not updated before the change.
    #[arg(long, conflicts_with = "dry_run")]
    push: bool,
}

impl Exchange {
    /// Runs `command`. With `--catch-up` or `--push`, first updates the folder with the newest published state. With
    /// `--push`, afterwards pushes the change that the command has published.
    ///
    /// # Errors
    /// Returns [`Error::Usage`] if there is no destination to push to. With `--catch-up`, returns [`Error::Failed`] if
    /// the folder may have unpushed changes, because the update would lose them.
    pub(super) fn around(
        &self,
        context: &Context<'_>,
        output: &Output,
        command: impl FnOnce() -> Result<ExitStatus, Error>,
    ) -> Result<ExitStatus, Error> {
        if !self.catch_up && !self.push {
            return command();
        }
        let option = if self.push { "--push" } else { "--catch-up" };
        if self.push {
            push::require_stored(context, option)?;
        }
        if !pull::has_unpushed(context, option)? {
            pull::adopt(context, &output.without_data())?;
        } else if !self.push {
            return Err(Error::Failed(
                "this folder has changes that are not pushed: run `lastmile-repo push --catch-up` first".into(),
            ));
        }
        match command()? {
            ExitStatus::Done if self.push => push::push(context, &Push::with_catch_up(), &output.without_data()),
            status => Ok(status),
        }
    }
}

impl From<Run> for Receipt {
    fn from(run: Run) -> Self {
        match run {
            Run::Real => Self::Copy,
            Run::Dry => Self::Check,
        }
    }
}

/// Tells the user how to publish a pending change that has all signatures, except possibly the signatures of snapshot
/// and timestamp.
pub(super) fn how_to_publish(repository: &Repository) -> Vec<String> {
    let missing: Vec<RoleName> = RoleName::ONLINE.into_iter().filter(|role| !repository.can_sign(role)).collect();
    if missing.is_empty() {
        return vec!["Run `lastmile-repo publish` to publish it.".to_string()];
    }
    let names = KeyNames::of(repository);
    let keys = missing.iter().filter_map(|role| {
        let ring = repository.published.key_ring(role).ok()?;
        let keys: Vec<String> = ring.keys().map(|(id, _)| names.shown(id)).collect();
        Some(format!("  {role}: {}", keys.join(", ")))
    });
    let folder = pending_folder(repository);
    let mut lines = vec![format!("Copy the folder {folder} to a machine that has the private keys of these roles:")];
    lines.extend(keys);
    lines.push("On that machine, run: lastmile-repo publish --from FOLDER".to_string());
    lines
}

pub(super) fn pending_folder(repository: &Repository) -> String {
    let folder = repository.layout.staged();
    printable_path(&std::path::absolute(&folder).unwrap_or(folder)).to_string()
}
