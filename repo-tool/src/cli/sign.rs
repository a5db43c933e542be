//! `sign`, `publish` and `discard`: changes whose keys sit elsewhere.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};

use lastmile_metadata::RoleName;
use serde_json::json;

use super::args::Sign;
use super::change::{conclude, say};
use super::keys::resolve_all;
use super::output::Output;
use super::{Context, Exit};
use crate::document::Document;
use crate::key_store::KeyStore;
use crate::{Error, Outcome, Repository, Signing, diff, names, staged};

pub(super) fn sign(context: &Context<'_>, args: &Sign, output: &mut Output) -> Result<Exit, Error> {
    let wanted: BTreeSet<RoleName> = args.roles.iter().map(|role| names::role(role)).collect::<Result<_, _>>()?;
    let mut repository = Repository::open_for_change(&context.global.repository, &context.setting)?;
    if !staged::is_staged(&repository.layout) {
        return Err(Error::NotFound("nothing waits for signatures".into()));
    }
    let keys = signing_keys(&mut repository, &args.key)?;
    let draft = repository.staged()?;
    let plan = repository.plan(draft, Signing::Never)?;
    output.data(&json!({ "changes": diff::json(&plan.diff) }), &diff::full_text(&plan.diff))?;
    if context.global.dry_run {
        output.note("Nothing was signed (--dry-run).");
        return Ok(Exit::Done);
    }
    confirm(args.yes, output)?;
    let signed = repository.sign_staged(&plan.draft, &keys, &wanted)?;
    if signed.is_empty() {
        return Err(Error::Refused(
            "there is nothing that these keys could add: they have signed already, or the roles do not trust them"
                .into(),
        ));
    }
    for (role, by) in &signed {
        output.note(&format!("Signed {role} with {}.", by.join(", ")));
    }
    let draft = repository.staged()?;
    let missing: Vec<Document> =
        repository.staged_documents(&draft)?.into_iter().filter(|document| !document.missing().is_empty()).collect();
    match missing.is_empty() {
        true => output.note("It has all its signatures: `lastmile-repo publish` publishes it."),
        false => say(&Outcome::Staged(missing), output),
    }
    Ok(Exit::Done)
}

/// The keys to sign with: those that are named, else those of the policy.
fn signing_keys(repository: &mut Repository, named: &[String]) -> Result<KeyStore, Error> {
    if named.is_empty() {
        return Ok(repository.keys.clone());
    }
    let resolved = resolve_all(repository, named)?;
    let uris: Vec<_> = resolved.iter().filter_map(|key| key.uri.clone()).collect();
    if uris.len() < named.len() {
        return Err(Error::Usage("--key must be private key files: a public key signs nothing".into()));
    }
    Ok(KeyStore::new(repository.layout.dir(), uris, repository.pass_phrases()))
}

fn confirm(yes: bool, output: &mut Output) -> Result<(), Error> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::Usage("there is no terminal to ask at; --yes signs without asking".into()));
    }
    output.note("Sign this? Type yes:");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| Error::Usage(format!("cannot read an answer: {error}")))?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(Error::Refused("not signed".into())),
    }
}

pub(super) fn publish(context: &Context<'_>, output: &mut Output) -> Result<Exit, Error> {
    let mut repository = Repository::open_for_change(&context.global.repository, &context.setting)?;
    if !staged::is_staged(&repository.layout) {
        return Err(Error::NotFound("nothing waits to be published".into()));
    }
    let mut draft = repository.staged()?;
    draft.policy = Some(repository.policy_without_unused_keys(&draft)?);
    let exit = conclude(context, &mut repository, draft, output)?;
    // A script must not take what still waits for published.
    let waits = !context.global.dry_run && staged::is_staged(&repository.layout);
    Ok(if waits { Exit::Failed } else { exit })
}

pub(super) fn discard(context: &Context<'_>, output: &mut Output) -> Result<Exit, Error> {
    let repository = Repository::open_for_change(&context.global.repository, &context.setting)?;
    if !staged::is_staged(&repository.layout) {
        return Err(Error::NotFound("nothing waits".into()));
    }
    let dropped: Vec<String> =
        staged::documents(&repository.layout)?.into_iter().map(|(role, _)| role.to_string()).collect();
    if !context.global.dry_run {
        staged::clear(&repository.layout)?;
    }
    let text = format!("dropped the waiting change of {}", dropped.join(", "));
    output.data(&json!({ "dropped": dropped, "dry_run": context.global.dry_run }), &text)?;
    Ok(Exit::Done)
}
