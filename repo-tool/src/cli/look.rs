//! `status` and `verify`: looking without changing.

use std::path::Path;

use lastmile_client::text::printable;

use super::args::Verify;
use super::{Context, ExitStatus, Output};
use crate::config::Config;
use crate::files::layout;
use crate::publish::transaction;
use crate::report::status::{RoleStatus, Status};
use crate::report::verify::{self, Verification};
use crate::{Error, NotFound, Repository, check};

pub(super) fn status(context: &Context<'_>, output: &Output) -> Result<ExitStatus, Error> {
    let mut repository = Repository::open(&context.global.repository, &context.invocation)?;
    let status = Status::of(&mut repository)?;
    let mut text = String::new();
    for role in &status.roles {
        text += &line(role, &repository);
    }
    for waiting in &status.waiting {
        text += &format!("pending: {} version {}", waiting.role, waiting.version);
        match waiting.missing.is_empty() {
            true => text += ", has all signatures; run `lastmile-repo publish`\n",
            false => {
                for missing in &waiting.missing {
                    text += &format!(", {missing}");
                }
                text += "\n";
            }
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
    for advice in &status.advice {
        output.warning(advice);
    }
    Ok(if status.needs_attention() { ExitStatus::Failed } else { ExitStatus::Done })
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

pub(super) fn verify(context: &Context<'_>, args: &Verify, output: &Output) -> Result<ExitStatus, Error> {
    let mut found = match args.place.as_deref() {
        Some(url) if url.starts_with("http://") || url.starts_with("https://") || url.starts_with("file://") => {
            let root = match &context.global.root {
                Some(path) => layout::read_if_there(path)?.ok_or_else(|| NotFound::File { path: path.clone() })?,
                None => check::oldest_root(&context.layout()).map_err(|_| {
                    Error::Usage("give the root that clients of that URL start from with --root FILE".into())
                })?,
            };
            let bar = output.bar("fetching", usize::MAX);
            let found = verify::url(url, root, context.invocation.now, &|done, of| {
                bar.set_length(of as u64);
                bar.set_position(done as u64);
            })?;
            bar.finish_and_clear();
            found
        }
        place => {
            let dir = place.map_or(context.global.repository.as_path(), Path::new);
            let layout = context.invocation.layout(dir);
            let root = verify::first_root(&layout, &context.invocation)?;
            // A folder that is only served has no configuration.
            let hash_prefixed = match Config::read(&layout) {
                Ok(config) => config.hash_prefixed_targets,
                Err(Error::NotFound(_)) => true,
                Err(error) => return Err(error),
            };
            let bar = output.bar("reading", usize::MAX);
            let found = verify::directory_from(&layout, root, context.invocation.now, hash_prefixed, &|done, of| {
                bar.set_length(of as u64);
                bar.set_position(done as u64);
            })?;
            bar.finish_and_clear();
            found
        }
    };
    if args.elsewhere {
        found.served_elsewhere();
    }
    output.data_text(&found.json(), &text(&found))?;
    for note in &found.notes {
        output.note(&format!("note: {note}"));
    }
    Ok(if found.is_good() { ExitStatus::Done } else { ExitStatus::Refused })
}

fn text(found: &Verification) -> String {
    let mut text = String::new();
    for (role, version, expires) in &found.versions {
        text += &format!("{role:<10} version {version}, expires {}\n", expires.format("%Y-%m-%d %H:%M"));
    }
    for (version, failure) in &found.roots {
        match failure {
            None => text += &format!("ok  a client shipped with root {version} reaches the newest state\n"),
            Some(failure) => text += &format!("BAD a client shipped with root {version} fails: {failure}\n"),
        }
    }
    for problem in found.all_problems() {
        text += &format!("BAD {problem}\n");
    }
    if found.is_good() {
        text += &format!("ok  {} targets, {} bytes of files read\n", found.targets, found.bytes);
    }
    text
}
