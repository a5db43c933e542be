//! `sign`, `publish` and `discard`: changes whose keys sit elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use lastmile_keys::PublicKey;
use lastmile_metadata::{Key, KeyId, RoleName};
use serde_json::json;

use super::args::Sign;
use super::change::{conclude, say};
use super::keys::resolve_all;
use super::{Context, ExitStatus, Output};
use crate::check::lint;
use crate::document::Document;
use crate::draft::Draft;
use crate::edit::keys::short;
use crate::key_store::KeyStore;
use crate::publish::staged;
use crate::report::diff;
use crate::revoke::proof::{Before, is_refuted, prove, table};
use crate::{Error, Outcome, Repository, Signing, names};

pub(super) fn sign(context: &Context<'_>, args: &Sign, output: &Output) -> Result<ExitStatus, Error> {
    let wanted: BTreeSet<RoleName> = args.roles.iter().map(|role| names::role(role)).collect::<Result<_, _>>()?;
    let mut repository = match context.global.dry_run {
        true => context.open(output)?,
        false => Repository::open_for_signing(&context.global.repository, &context.invocation)?,
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
    if !args.yes {
        confirm(context, output)?;
    }
    let signed = repository.sign_staged(&plan.draft, &keys, &wanted)?;
    if signed.is_empty() {
        return Err(Error::Failed(
            "these keys cannot add a signature: they have signed already, or the roles do not trust them"
                .into(),
        ));
    }
    for (role, by) in &signed {
        output.note(&format!("Signed {role} with {}.", by.join(", ")));
    }
    if let Some(advice) = lint::root_keys_together(&repository.published.root, &repository.layout, &repository.keys) {
        output.warning(&advice);
    }
    let draft = repository.staged()?;
    let missing: Vec<Document> =
        repository.staged_documents(&draft)?.into_iter().filter(|document| !document.missing().is_empty()).collect();
    match missing.is_empty() {
        true => output.note("The pending change has all signatures. Run `lastmile-repo publish` to publish it."),
        false => say(&Outcome::Staged(missing), output),
    }
    Ok(ExitStatus::Done)
}

/// The keys to sign with: those that are named, else those of the configuration.
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

fn confirm(context: &Context<'_>, output: &Output) -> Result<(), Error> {
    if !context.stdin_is_terminal {
        return Err(Error::Usage("no terminal to ask for confirmation; add --yes to sign without asking".into()));
    }
    output.note("Sign this? Type yes:");
    let mut answer = String::new();
    let read = context.stdin().read_line(&mut answer);
    read.map_err(|error| Error::Usage(format!("cannot read an answer: {error}")))?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(Error::Failed("not signed".into())),
    }
}

pub(super) fn publish(context: &Context<'_>, output: &Output) -> Result<ExitStatus, Error> {
    let mut repository = context.open(output)?;
    if !staged::is_staged(&repository.layout) {
        return Err(Error::Absent("there is no pending change to publish".into()));
    }
    let mut draft = repository.staged()?;
    draft.config = Some(repository.config_without_unused_keys(&draft)?);
    let thrown_out = remember_thrown_out(&mut repository, &draft)?;
    // Nothing that somebody else publishes stops a revocation.
    repository.is_emergency = !thrown_out.is_empty();
    let exit = conclude(context, &mut repository, draft, output)?;
    if context.global.dry_run {
        return Ok(exit);
    }
    // A script must not take what still waits for published.
    if staged::is_staged(&repository.layout) {
        return Ok(ExitStatus::Failed);
    }
    let mut exit = exit;
    for (key, before) in thrown_out {
        let rows = prove(&mut repository, &key, &before)?;
        output.note(&format!("No role trusts the key {} any more.\n{}", short(&key), table(&rows)));
        if is_refuted(&rows) {
            output.warning("the proof failed: see the lines marked NO");
            exit = ExitStatus::Refused;
        }
    }
    Ok(exit)
}

/// The keys that nobody trusts any more once `draft` is published, with what there is to prove that with then.
fn remember_thrown_out(repository: &mut Repository, draft: &Draft) -> Result<Vec<(PublicKey, Before)>, Error> {
    let publics = |keys: &BTreeMap<KeyId, Key>| -> BTreeSet<PublicKey> {
        keys.values().filter_map(|key| key.public_key().ok().cloned()).collect()
    };
    let mut gone = BTreeSet::new();
    if let Some(root) = &draft.root {
        gone.extend(&publics(&repository.published.root.keys) - &publics(&root.keys));
    }
    for (role, targets) in &draft.targets {
        let before = match repository.published.role(role) {
            Ok(before) => before.delegations.as_ref(),
            Err(Error::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        let after = targets.delegations.as_ref().map_or_else(BTreeSet::new, |after| publics(&after.keys));
        gone.extend(before.into_iter().flat_map(|before| publics(&before.keys)).filter(|key| !after.contains(key)));
    }
    let mut thrown_out = Vec::new();
    for key in gone {
        if repository.edit(draft.clone()).roles_trusting(&key)?.is_empty() {
            let roles = repository.published.roles_trusting(&key)?;
            thrown_out.push((key, Before::remember(repository, &roles)?));
        }
    }
    Ok(thrown_out)
}

pub(super) fn discard(context: &Context<'_>, output: &Output) -> Result<ExitStatus, Error> {
    let repository = context.open(output)?;
    if !staged::is_staged(&repository.layout) {
        return Err(Error::Absent("there is no pending change".into()));
    }
    let dropped: Vec<String> =
        staged::documents(&repository.layout)?.into_iter().map(|(role, _)| role.to_string()).collect();
    if !context.global.dry_run {
        staged::clear(&repository.layout)?;
    }
    let text = format!("discarded the pending change of {}", dropped.join(", "));
    output.data_text(&json!({ "dropped": dropped, "dry_run": context.global.dry_run }), &text)?;
    Ok(ExitStatus::Done)
}
