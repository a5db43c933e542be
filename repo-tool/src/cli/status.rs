//! `status`: show versions, expiry dates, keys, and the roles that are due.

use lastmile_client::text::printable;

use super::key_names::KeyNames;
use super::{Context, ExitStatus, Output, findings};
use crate::publish::transaction;
use crate::report::status::{RoleStatus, Status};
use crate::{Error, Repository};

pub(super) fn status(context: &Context<'_>, output: &Output) -> Result<ExitStatus, Error> {
    let mut repository = Repository::open(&context.global.repository, &context.invocation)?;
    let status = Status::of(&mut repository)?;
    let mut text = String::new();
    for role in &status.roles {
        text += &line(role, &repository);
    }
    let names = KeyNames::of(&repository);
    for document in &status.pending {
        let (role, version) = (&document.role, document.version);
        if document.missing.is_empty() {
            text += &format!("pending: {role} version {version} has all signatures; run `lastmile-repo publish`\n");
            continue;
        }
        for missing in &document.missing {
            let needed = missing.describe(|id| names.get(id));
            text +=
                &format!("pending: {role} version {version} needs {needed}. They run: lastmile-repo sign --key FILE\n");
        }
    }
    for interrupted in transaction::interrupted(&repository.layout)? {
        text += &format!("{}\n", interrupted.advice());
    }
    output.data_text(&status.json(), &text)?;
    if !status.pinned {
        output.warning(&format!(
            "the root of this repository (SHA-256 {}) is not pinned, so you cannot sign content for it: compare the SHA-256 with \
             the one its owners give, then pass it with --root-sha256",
            repository.digest
        ));
    }
    findings::print_warnings(&status.findings, output);
    Ok(if status.needs_attention() { ExitStatus::Findings } else { ExitStatus::Done })
}

fn line(role: &RoleStatus, repository: &Repository) -> String {
    let days = (role.expires - repository.now()).num_days();
    let state = match (role.expired, role.due) {
        (true, _) => "EXPIRED".to_string(),
        (false, true) => format!("due, expires in {days} days"),
        (false, false) => format!("expires in {days} days"),
    };
    let mut text = format!(
        "{:<12} version {:<5} {state}, {} ({} of {} keys)\n",
        printable(&role.name),
        role.version,
        role.expires.format("%Y-%m-%d %H:%M"),
        role.threshold,
        role.keys.len()
    );
    for key in &role.keys {
        let place = key.uri.as_deref().unwrap_or("not on this machine");
        let id: String = key.id.chars().take(8).collect();
        text += &format!("             {} {} {place}\n", printable(&id), key.keytype);
    }
    for odd in &role.odd {
        text += &format!("             {odd}\n");
    }
    text
}
