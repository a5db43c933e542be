//! `revoke`: revoke a lost or stolen key, and prove that clients refuse it.

use std::path::Path;

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_client::text::printable;
use lastmile_keys::{KeyMaterial, PublicKey};
use lastmile_metadata::RoleName;
use serde_json::{Value, json};

use super::context::Context;
use super::counts::counted;
use super::dates::{State, note_dates};
use super::findings;
use super::global::Run;
use super::keys::{Removal, Resolved, resolve, resolve_removal};
use super::outcome::{carry_out, note_outcome, note_pending, status};
use crate::check::lint;
use crate::edit::keys::short;
use crate::key_store::Protection;
use crate::report::diff;
use crate::revoke::proof::{Before, ProofRow, Verdict, is_refuted, prove, refutations, table};
use crate::revoke::{KeyCount, Replacement, Replacements, Revocation, revoke as revoke_key};
use crate::trusting::OddKind;
use crate::{Error, Outcome, Repository, Signing, shell};

/// The maximum number of roles that are reported individually, because there may be many bins.
const MAX_NAMED: usize = 20;

/// `revoke`
#[derive(Debug, Args)]
#[command(after_help = "\
Removes the key from every role, at any depth of delegation, and signs the changed roles again.
Then tests, for each root version, that clients shipped with it reach the new state. If the revoked
private key is on this machine, also tests that these clients refuse files forged with the key.

If snapshot or timestamp loses the key, the command generates new keys for both roles. For other
roles, the key holder generates the new key and sends you the public key (--replace-with). Without a
new key, a role keeps its remaining keys; they must reach the threshold.

Examples:
  lastmile-repo revoke file:keys/timestamp-1.pem
  lastmile-repo revoke 3a7f --replace-with alice-2.pub
  lastmile-repo revoke 3a7f --replace-with root=alice-2.pub --replace-with partner=partner-2.pub
  lastmile-repo revoke 3a7f --generate")]
pub(crate) struct Revoke {
    /// Key to revoke: a key ID or its first digits, a URI, or a key file.
    pub(super) key: String,
    /// Add KEY to ROLE, or to all roles that need a new key; can be repeated. Without ROLE, snapshot and timestamp get
    /// KEY only if no other role loses a key
    #[arg(long, value_name = "[ROLE=]KEY")]
    pub(super) replace_with: Vec<String>,
    /// Generate new keys on this machine for all roles that need one, not only for snapshot and timestamp.
    #[arg(long)]
    pub(super) generate: bool,
    /// Leave new snapshot and timestamp keys unencrypted, for unattended renewal.
    #[arg(long)]
    pub(super) unencrypted_online_keys: bool,
}

struct RevokedKey {
    /// The key material, which is the same in every encoding of the key.
    material: KeyMaterial,
    /// `None` if lastmile cannot use the key.
    public: Option<PublicKey>,
    /// The name of the key in messages.
    name: String,
}

/// Finds the key to revoke. `name` may be the ID of a key that lastmile cannot use.
fn revoked_key(repository: &mut Repository, name: &str) -> Result<RevokedKey, Error> {
    let draft = repository.staged()?;
    let odd = repository.edit(draft).all_odd_ids()?.into_iter().map(|(_, odd)| odd);
    let unusable = odd.filter(|odd| matches!(odd.kind, OddKind::Unusable(_))).collect();
    let removal = resolve_removal(repository, unusable, name)?;
    let material = removal.material().ok_or_else(|| Error::Absent(format!("`{name}` is not a key")))?;
    Ok(match removal {
        Removal::Key(public) => RevokedKey { material, name: short(&public), public: Some(public) },
        Removal::OddKeyId(odd) => {
            let mut publics = repository.keys.publics().into_keys();
            let public = publics.find(|public| KeyMaterial::from(public) == material);
            RevokedKey { material, name: printable(&odd.id.as_str().chars().take(8).collect::<String>()), public }
        }
    })
}

pub(super) fn revoke(context: &Context<'_>, args: &Revoke, output: &Output) -> Result<ExitStatus, Error> {
    let mut repository = context.open(output)?;
    let key = revoked_key(&mut repository, &args.key)?;
    let given = args.replace_with.iter().map(|text| replacement(&mut repository, text)).collect::<Result<_, _>>()?;
    let mut replacements = Replacements { given, ..Replacements::default() };
    let roles = repository.published.roles_trusting(key.material.clone())?;
    protect_new_keys(context, args, &mut repository, &key.material, &mut replacements)?;
    let encrypts_online = matches!(replacements.online, Some(Protection::PassPhrase(_)));
    if context.run().is_dry() {
        replacements = replacements.not_written();
    }
    let before = Before::remember(&mut repository, &roles)?;
    let was_unattended = is_unattended(&repository);
    let revocation = revoke_key(&mut repository, key.material.clone(), &replacements)?;
    report_revocation(&revocation, &key.name, context.run(), output);
    if was_unattended && revocation.recovers_fast_forward && encrypts_online {
        output.warning(
            "the new snapshot and timestamp keys are encrypted, but the old ones were not: from now on, `renew` \
             needs the pass-phrase, and without it, the repository will expire. Use --unencrypted-online-keys to \
             leave new keys unencrypted",
        );
    }
    let has_examples = context.run().is_dry() && !revocation.made.is_empty();
    let revoked: Vec<String> = revocation.roles.iter().map(|(role, _)| role.as_str().to_string()).collect();
    let plan = repository.plan(revocation.draft, Signing::Now)?;
    repository.warnings.iter().for_each(|warning| output.warning_lines(warning.lines()));
    let outcome = carry_out(context, &mut repository, &plan, output)?;
    note_pending(&plan, &outcome, context.run(), output);
    let text = diff::text(&plan.diff);
    let report = |proof: Value| {
        json!({
            "key": key.name, "roles": revoked, "changes": diff::json(&plan.diff), "proof": proof,
            "dry_run": context.run().is_dry(),
        })
    };
    note_outcome(&repository, &outcome, context.run(), output);
    note_dates(&repository, &plan, State::of(&outcome, context.run()), output);
    if has_examples {
        output.note("The new keys shown are examples; without --dry-run, other keys are generated.");
    }
    let root = plan.draft.root.as_ref().unwrap_or(&repository.published.root);
    findings::print_warnings(&lint::root_keys_together(root, &repository.layout, &repository.keys), output);
    if matches!(outcome, Outcome::Staged(_)) {
        output.report(&report(Value::Null), text.lines())?;
        output.note(&format!(
            "The key is trusted until the change is published; `lastmile-repo publish` then proves that {} is no longer trusted.",
            key.name
        ));
        return Ok(status(&outcome));
    }
    let Some(public) = &key.public else {
        output.report(&report(Value::Null), text.lines())?;
        output.note("lastmile cannot use this key, so it cannot test whether clients refuse files forged with it.");
        return Ok(ExitStatus::Done);
    };
    let rows = prove(&mut repository, public, &before)?;
    let proof = rows.iter().map(row_json).collect();
    output.report(&report(proof), format!("{text}\n{}", table(&rows)).lines())?;
    if is_refuted(&rows) {
        warn_of_refutation(&rows, output);
        return Ok(ExitStatus::Refused);
    }
    if let Some(uri) = repository.keys.uri_of(public) {
        let file = printable(uri.trim_start_matches("file:"));
        output.note(&match context.run() {
            Run::Real => {
                format!("The private key file {file} still exists. Delete it unless another repository uses it.")
            }
            Run::Dry => {
                format!("After the revocation, delete the private key file {file}, unless another repository uses it.")
            }
        });
    }
    Ok(ExitStatus::Done)
}

pub(super) fn warn_of_refutation(rows: &[ProofRow], output: &Output) {
    output.despite_quiet().warning_lines([vec!["the proof failed:".to_string()], refutations(rows)].concat());
}

/// Decides whether new keys will be encrypted. Asks for a pass-phrase if encrypted keys may be generated.
fn protect_new_keys(
    context: &Context<'_>,
    args: &Revoke,
    repository: &mut Repository,
    key: &KeyMaterial,
    replacements: &mut Replacements,
) -> Result<(), Error> {
    let draft = repository.staged()?;
    let roles = repository.edit(draft).roles_trusting(key.clone())?;
    let is_online = roles.iter().any(|(role, _)| role.is_online());
    let asks = args.generate || (is_online && !args.unencrypted_online_keys);
    let encrypted = asks.then(|| context.invocation.phrases.new_pass_phrase()).transpose()?.map(Protection::PassPhrase);
    replacements.offline = if args.generate { encrypted.clone() } else { None };
    if is_online {
        replacements.online = if args.unencrypted_online_keys { Some(Protection::None) } else { encrypted };
    }
    Ok(())
}

/// Parses `KEY` or `ROLE=KEY`.
fn replacement(repository: &mut Repository, text: &str) -> Result<Replacement, Error> {
    let (role, name) = match text.split_once('=') {
        Some((role, name)) if !Path::new(text).exists() => (Some(role.to_string()), name),
        _ => (None, text),
    };
    let Resolved { public, uri } = resolve(repository, name)?;
    Ok(Replacement { role, key: public, uri })
}

/// Returns whether snapshot and timestamp can be signed without a pass-phrase, for example by cron.
fn is_unattended(repository: &Repository) -> bool {
    RoleName::ONLINE.iter().all(|role| {
        repository.published.root.key_ring(role).is_ok_and(|ring| {
            let unencrypted = ring.keys().filter(|(_, key)| repository.keys.is_encrypted(key) == Some(false));
            unencrypted.count() >= ring.threshold().get() as usize
        })
    })
}

fn report_revocation(revocation: &Revocation, key: &str, run: Run, output: &Output) {
    for (role, delegator) in revocation.roles.iter().take(MAX_NAMED) {
        let by = delegator.as_ref().map_or("root".to_string(), ToString::to_string);
        output.note(&format!("The key {key} signed for {role} (key listed in {by})."));
    }
    if let Some(more) = revocation.roles.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
        output.note(&format!("The key {key} signed for {more} more roles."));
    }
    for (role, uri) in &revocation.made {
        output.note(&format!("New key for {role}: {uri}."));
    }
    for count in revocation.counts.iter().take(MAX_NAMED) {
        if revocation.made.iter().any(|(role, _)| *role == count.role) {
            note_keys_here(count, run, output);
        }
        note_fewer_keys(count, run, output);
    }
    if revocation.recovers_fast_forward {
        output.note(
            "The timestamp and snapshot keys are both replaced so that clients forget the version numbers they stored; \
             an attacker may have inflated them (TUF specification 5.3.11).",
        );
    }
}

fn note_keys_here(count: &KeyCount, run: Run, output: &Output) {
    let KeyCount { role, keys, here, threshold, .. } = count;
    let verb = match (run, *here) {
        (Run::Dry, _) => "would be",
        (Run::Real, 1) => "is now",
        (Run::Real, _) => "are now",
    };
    output.note(&format!("{here} of {keys} {role} keys {verb} on this machine, and {threshold} must sign."));
}

/// Prints a note if a role has fewer keys than before, or a warning if it also has no spare key.
fn note_fewer_keys(count: &KeyCount, run: Run, output: &Output) {
    let KeyCount { role, keys, threshold, is_fewer, .. } = count;
    let left = counted(*keys, "key");
    let verb = if run.is_dry() { "would have" } else { "has" };
    if *is_fewer && *keys <= *threshold as usize {
        output.warning(&format!(
            "{role} {verb} {left} left, and {threshold} must sign: if one is lost, nobody can sign for the role. Run \
             `lastmile-repo rotate --add KEY.pub {}` to add a key",
            shell::arguments([role])
        ));
    } else if *is_fewer {
        output.note(&format!("{role} {verb} {left} left, and {threshold} must sign."));
    }
}

fn row_json(row: &ProofRow) -> Value {
    let cases = row.cases.iter().map(|(case, verdict)| match verdict {
        Verdict::Good(outcome) => json!({ "case": case, "good": true, "client": outcome }),
        Verdict::Bad(outcome) => json!({ "case": case, "good": false, "client": outcome }),
        Verdict::NotTried(why) => json!({ "case": case, "good": null, "why": why }),
    });
    json!({ "root": row.root.get(), "until": row.until.get(), "cases": cases.collect::<Vec<_>>() })
}
