//! `sign`: sign the pending change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_metadata::RoleName;
use serde_json::json;

use super::confirm::Confirmation;
use super::context::Context;
use super::counts::some_of;
use super::exchange::how_to_publish;
use super::findings;
use super::global::Run;
use super::keys::resolve_all;
use super::outcome::note_outcome;
use crate::check::lint;
use crate::config::Config;
use crate::document::Document;
use crate::draft::Draft;
use crate::key_store::KeyStore;
use crate::publish::observer::Unobserved;
use crate::publish::staged;
use crate::report::diff;
use crate::{Error, Outcome, PublicationError, Repository, Signing, names};

/// `sign`
#[derive(Debug, Args)]
#[command(after_help = "\
Shows every change and asks for confirmation before signing.

Examples:
  lastmile-repo sign --key /media/usb/root-2.pem
  lastmile-repo sign root
  lastmile-repo sign --from /home/alice/staged")]
pub(crate) struct Sign {
    /// Roles whose metadata to sign [default: every role of the pending change for which you have a key]
    pub(crate) roles: Vec<String>,
    /// Private key files to sign with [default: the keys that repo.toml lists]
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<String>,
    /// Sign the change in FOLDER, which is a copy of the folder `staged` from the machine where the change was made.
    /// The change becomes the pending change of this repository, or is added to the existing pending change.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) from: Option<PathBuf>,
    /// Sign without asking.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

pub(super) fn sign(context: &Context<'_>, args: &Sign, output: &Output) -> Result<ExitStatus, Error> {
    let wanted: BTreeSet<RoleName> = args.roles.iter().map(|role| names::role(role)).collect::<Result<_, _>>()?;
    let run = context.run();
    let mut repository = open(context, run)?;
    let keys = signing_keys(&mut repository, &args.key)?;
    let draft = match &args.from {
        Some(folder) => repository.receive(folder, run.into())?,
        None if staged::is_staged(&repository.layout) => repository.staged()?,
        None => return Err(Error::Absent("there is no pending change to sign".into())),
    };
    let plan = repository.plan(draft, Signing::Never)?;
    let json = json!({ "changes": diff::json(&plan.diff), "dry_run": run.is_dry() });
    let confirmation = if args.yes { Confirmation::Given } else { Confirmation::Ask };
    confirmation.show(&json, &diff::full_text(&plan.diff), output)?;
    repository.review_staged(&plan.draft, &wanted)?;
    confirmation.require(context, "Sign this?", "not signed", output)?;
    let signed = repository.signed_documents(&plan.draft, &keys, &wanted)?;
    if signed.iter().all(|(_, by)| by.is_empty()) {
        return Err(Error::Failed(
            "these keys cannot add a signature: they have already signed, or are not trusted for the roles".into(),
        ));
    }
    if !run.is_dry() {
        if args.from.is_some() {
            // `Signing::Never` leaves the snapshot and the timestamp unsigned, so `conclude` only stores the change as
            // the pending change.
            repository.conclude(&plan, &mut Unobserved)?;
        }
        repository.write_signed(&signed)?;
    }
    if run.is_dry() {
        output.note("Nothing was signed (--dry-run).");
    }
    let mut by_keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (document, by) in signed.iter().filter(|(_, by)| !by.is_empty()) {
        by_keys.entry(by.join(", ")).or_default().push(document.role.to_string());
    }
    for (keys, roles) in by_keys {
        let verb = if run.is_dry() { "This would sign" } else { "Signed" };
        output.note(&format!("{verb} {} with {keys}.", some_of(roles)));
    }
    let together = lint::root_keys_together(&repository.published.root, &repository.layout, &repository.keys);
    findings::print_warnings(&together, output);
    if !run.is_dry() {
        note_missing(&repository, &plan.draft, signed, output)?;
    }
    Ok(ExitStatus::Done)
}

/// A dry run makes the same checks as a real run, but opens the repository only for reading.
fn open(context: &Context<'_>, run: Run) -> Result<Repository, Error> {
    let dir = &context.global.repository;
    if !run.is_dry() {
        return Repository::open_for_signing(dir, &context.invocation);
    }
    let layout = context.layout();
    Config::read(&layout)?;
    layout.check_writable()?;
    match layout.interrupted()?.first() {
        Some(interrupted) => Err(PublicationError::Interrupted(interrupted.clone()).into()),
        None => Repository::open(dir, &context.invocation),
    }
}

/// Tells the user which signatures are still missing, or how to publish the change if none are missing.
fn note_missing(
    repository: &Repository,
    draft: &Draft,
    signed: Vec<(Document, Vec<String>)>,
    output: &Output,
) -> Result<(), Error> {
    let mut documents: BTreeMap<RoleName, Document> =
        repository.staged_documents(draft)?.into_iter().map(|document| (document.role.clone(), document)).collect();
    documents.extend(signed.into_iter().map(|(document, _)| (document.role.clone(), document)));
    let missing: Vec<Document> = documents.into_values().filter(|document| !document.missing().is_empty()).collect();
    if missing.is_empty() {
        output.note("The pending change has all signatures.");
        output.note_lines(how_to_publish(repository));
    } else {
        note_outcome(repository, &Outcome::Staged(missing), Run::Real, output);
    }
    Ok(())
}

/// Returns the keys to sign with: the keys given on the command line, or else the keys in the configuration.
fn signing_keys(repository: &mut Repository, named: &[String]) -> Result<KeyStore, Error> {
    if named.is_empty() {
        return Ok(repository.keys.clone());
    }
    let resolved = resolve_all(repository, named)?;
    let uris: Vec<_> = resolved.iter().filter_map(|key| key.uri.clone()).collect();
    if uris.len() < named.len() {
        return Err(Error::Usage("--key must be a private key file: a public key cannot sign".into()));
    }
    Ok(repository.keys.restricted_to(repository.layout.dir(), &uris))
}
