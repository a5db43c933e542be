//! `revoke`: the change, and the proof that it holds.

use lastmile_metadata::RoleName;
use serde_json::{Value, json};

use super::args::Revoke;
use super::change::{say, tell_of_staged};
use super::keys::resolve_public;
use super::output::Output;
use super::{Context, Exit};
use crate::edit::keys::short;
use crate::key_store::Protection;
use crate::proof::{Before, ProofRow, Verdict, is_refuted, prove, table};
use crate::publication::Unobserved;
use crate::revoke::{Revocation, revoke as revoke_key};
use crate::{Error, Outcome, Repository, Signing, diff};

/// So many of the roles that a key served are named: bins are many.
const NAMED: usize = 20;

pub(super) fn revoke(context: &Context<'_>, args: &Revoke, output: &mut Output) -> Result<Exit, Error> {
    let mut repository = context.open(output)?;
    let key = resolve_public(&mut repository, &args.key)?;
    if context.global.dry_run {
        return look(&mut repository, &key, output);
    }
    let offline = Protection::PassPhrase(context.setting.phrases.new_pass_phrase()?);
    let online = if args.unencrypted_online_keys { Protection::None } else { offline.clone() };
    let roles = repository.published.roles_trusting(&key)?;
    let before = Before::remember(&mut repository, &roles)?;
    let was_unattended = is_unattended(&repository);
    let revocation = revoke_key(&mut repository, &key, &offline, &online)?;
    tell(&revocation, &short(&key), output);
    if was_unattended && revocation.recovers_fast_forward && !args.unencrypted_online_keys {
        output.warning(
            "the new snapshot and timestamp keys are encrypted, and the old ones were not: `renew` now needs the \
             pass-phrase, or the repository expires (--unencrypted-online-keys would have left them as they were)",
        );
    }
    let plan = repository.plan(revocation.draft, Signing::Now)?;
    tell_of_staged(&plan.draft, output);
    let outcome = repository.conclude(&plan, &mut Unobserved)?;
    let text = diff::text(&plan.diff);
    let report = |proof: Value| json!({ "key": short(&key), "changes": diff::json(&plan.diff), "proof": proof });
    say(&outcome, output);
    if matches!(outcome, Outcome::Staged(_)) {
        output.data(&report(Value::Null), &text)?;
        output.note(&format!(
            "The key is trusted until this is published; `lastmile-repo publish` then proves that {} serves no role.",
            short(&key)
        ));
        return Ok(Exit::Failed);
    }
    let rows = prove(&mut repository, &key, &before)?;
    let proof = rows.iter().map(row_json).collect();
    output.data(&report(proof), &format!("{text}\n{}", table(&rows)))?;
    if is_refuted(&rows) {
        output.warning("the proof failed: see the lines that say NO");
        return Ok(Exit::Refused);
    }
    if repository.keys.has(&key) {
        output.note("The file of the revoked key is still there. Destroy it if it is yours alone.");
    }
    Ok(Exit::Done)
}

/// Whether snapshot and timestamp can be signed without a pass-phrase, say from cron.
fn is_unattended(repository: &Repository) -> bool {
    [RoleName::SNAPSHOT, RoleName::TIMESTAMP].iter().all(|role| {
        let ring = repository.published.root.key_ring(role);
        ring.is_ok_and(|ring| ring.keys().any(|(_, key)| repository.keys.is_encrypted(key) == Some(false)))
    })
}

/// What would change. The new keys that are shown are made up, and forgotten.
fn look(repository: &mut Repository, key: &lastmile_keys::PublicKey, output: &mut Output) -> Result<Exit, Error> {
    let revocation = revoke_key(repository, key, &Protection::NotWritten, &Protection::NotWritten)?;
    tell(&revocation, &short(key), output);
    let roles: Vec<&str> = revocation.roles.iter().map(|(role, _)| role.as_str()).collect();
    let roles = json!(roles);
    let plan = repository.plan(revocation.draft, Signing::Never)?;
    let report = json!({ "key": short(key), "roles": roles, "changes": diff::json(&plan.diff), "dry_run": true });
    output.data(&report, &diff::text(&plan.diff))?;
    output.note("Nothing was changed (--dry-run). The new keys are examples: others are made then.");
    Ok(Exit::Done)
}

fn tell(revocation: &Revocation, key: &str, output: &mut Output) {
    for (role, delegator) in revocation.roles.iter().take(NAMED) {
        let by = delegator.as_ref().map_or("root".to_string(), ToString::to_string);
        output.note(&format!("The key {key} served {role} (named by {by})."));
    }
    if let Some(more) = revocation.roles.len().checked_sub(NAMED).filter(|more| *more > 0) {
        output.note(&format!("The key {key} served {more} more roles."));
    }
    for (role, uri) in &revocation.replacements {
        output.note(&format!("New key for {role}: {uri}."));
    }
    if revocation.recovers_fast_forward {
        output.note(
            "Timestamp and snapshot get new keys, so that clients drop the versions they stored: whoever had the key may \
             have driven them up (5.3.11).",
        );
    }
}

fn row_json(row: &ProofRow) -> Value {
    let scenes = row.scenes.iter().map(|(scene, verdict)| match verdict {
        Verdict::Good(said) => json!({ "scene": scene, "good": true, "client": said }),
        Verdict::Bad(said) => json!({ "scene": scene, "good": false, "client": said }),
        Verdict::NotTried(why) => json!({ "scene": scene, "good": null, "why": why }),
    });
    json!({ "root": row.root.get(), "scenes": scenes.collect::<Vec<_>>() })
}
