//! `sign`: sign the pending change.

use std::collections::BTreeSet;

use lastmile_metadata::RoleName;
use serde_json::json;

use super::args::Sign;
use super::confirm::Confirmation;
use super::keys::resolve_all;
use super::outcome::note_outcome;
use super::{Context, ExitStatus, Output, findings};
use crate::check::lint;
use crate::document::Document;
use crate::key_store::KeyStore;
use crate::publish::staged;
use crate::report::diff;
use crate::{Error, Outcome, Repository, Signing, names};

pub(super) fn sign(context: &Context<'_>, args: &Sign, output: &Output) -> Result<ExitStatus, Error> {
    let wanted: BTreeSet<RoleName> = args.roles.iter().map(|role| names::role(role)).collect::<Result<_, _>>()?;
    let mut repository = if context.global.dry_run {
        context.open(output)?
    } else {
        Repository::open_for_signing(&context.global.repository, &context.invocation)?
    };
    if !staged::is_staged(&repository.layout) {
        return Err(Error::Absent("there is no pending change to sign".into()));
    }
    let keys = signing_keys(&mut repository, &args.key)?;
    let draft = repository.staged()?;
    let plan = repository.plan(draft, Signing::Never)?;
    output.data_text(&json!({ "changes": diff::json(&plan.diff) }), &diff::full_text(&plan.diff))?;
    if context.global.dry_run {
        output.note("Nothing was signed (--dry-run).");
        return Ok(ExitStatus::Done);
    }
    repository.review_staged(&plan.draft, &wanted)?;
    Confirmation::of(args.yes).require(context, "Sign this?", "not signed", output)?;
    let signed = repository.sign_staged(&plan.draft, &keys, &wanted)?;
    if signed.is_empty() {
        return Err(Error::Failed(
            "these keys cannot add a signature: they have already signed, or the roles do not trust them".into(),
        ));
    }
    for (role, by) in &signed {
        output.note(&format!("Signed {role} with {}.", by.join(", ")));
    }
    let together = lint::root_keys_together(&repository.published.root, &repository.layout, &repository.keys);
    findings::print_warnings(&together, output);
    let draft = repository.staged()?;
    let missing: Vec<Document> =
        repository.staged_documents(&draft)?.into_iter().filter(|document| !document.missing().is_empty()).collect();
    if missing.is_empty() {
        output.note("The pending change has all signatures. Run `lastmile-repo publish` to publish it.")
    } else {
        note_outcome(&repository, &Outcome::Staged(missing), output)
    }
    Ok(ExitStatus::Done)
}

/// Returns the keys to sign with: the given ones, or else those of the configuration.
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
