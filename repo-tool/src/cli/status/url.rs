//! `status URL`: show the status of a repository as clients see it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use lastmile_cli_support::Output;
use lastmile_client::BaseUrl;
use lastmile_client::text::{printable, printable_path};
use serde_json::Value;

use super::{Args, Places, lines, note_due};
use crate::cli::context::Context;
use crate::cli::global::Run;
use crate::cli::url::base_url;
use crate::files::roots;
use crate::pin::{GivenRoot, Start};
use crate::report::overview::state_name;
use crate::report::seen::SeenVersions;
use crate::report::served_status::{Delegated, Remember, ServedCheck, ServedStatus, fetch_root};
use crate::root_digest::RootDigest;
use crate::{Error, PinError, Repository};

/// The maximum number of root versions to request when searching for the root with the digest that the user gave.
const MAX_ROOTS: u64 = 1024;

/// The root from which a check starts, and the repository's folder if it is on this machine.
struct Found {
    root: Vec<u8>,
    folder: Option<PathBuf>,
}

pub(super) fn show(status: &ServedStatus, output: &Output) -> Result<(), Error> {
    let overview = &status.overview;
    let places = if status.folder.is_some() { Places::Known } else { Places::Unknown };
    let mut text: String = overview.roles.iter().map(|role| lines(role, overview.checked, places)).collect();
    for problem in &overview.problems {
        let state = state_name(problem.state).to_ascii_lowercase();
        text += &format!("{state}: {}\n", printable(&problem.text));
    }
    output.data_text(&status.json(), &text)?;
    if places == Places::Known {
        note_due(&overview.roles, output);
    }
    if overview.problems.is_empty() {
        output.note(&format!("{} serves a valid repository.", printable(&overview.repository)));
    }
    Ok(())
}

pub(super) fn check(context: &Context<'_>, args: &Args, output: &Output) -> Result<ServedStatus, Error> {
    let urls = distinct(&args.urls)?;
    let found = find(context, &urls)?;
    let mut folder = found.folder.and_then(|folder| match Repository::open(&folder, &context.invocation) {
        Ok(repository) => Some(repository),
        Err(error) => {
            let folder = printable_path(&folder);
            output.warning(&format!("not comparing with the folder {folder}: {error}"));
            None
        }
    });
    let seen = SeenVersions::below(context.state_dir.as_deref());
    let check = ServedCheck {
        urls: &urls,
        root: found.root,
        folder: folder.as_mut(),
        delegated: if args.delegated { Delegated::Read } else { Delegated::Skip },
        within: TimeDelta::days(args.within.into()),
        now: context.invocation.now,
        seen: &seen,
        remember: if context.run() == Run::Dry { Remember::No } else { Remember::Yes },
    };
    check.run()
}

/// Parses the URLs of the mirrors. If two URLs differ only in their credentials, keeps only the first, because metrics
/// identify a mirror by its URL without credentials.
fn distinct(texts: &[String]) -> Result<Vec<BaseUrl>, Error> {
    let mut urls: Vec<BaseUrl> = Vec::new();
    for text in texts {
        let url = base_url(text)?;
        if urls.iter().all(|other| other.to_string() != url.to_string()) {
            urls.push(url);
        }
    }
    Ok(urls)
}

/// Finds the root that the user trusts. If a root or digest is given for this run, uses this root. Otherwise, uses the
/// pinned root of the repository with one of these metadata URLs. If there is no such repository, uses the pinned root
/// of the repository in the folder.
fn find(context: &Context<'_>, urls: &[BaseUrl]) -> Result<Found, Error> {
    let Some(first) = urls.first() else { return Err(Error::Usage("a URL is required".to_string())) };
    let user = &context.invocation.user;
    let mut known = None;
    for url in urls {
        known = known.or(user.repository_at(url)?);
    }
    let here = oldest_root_here(context);
    if let Some(root) = &context.root {
        return Ok(Found { root: root.clone(), folder: folder_with(context, RootDigest::of(root), here) });
    }
    if let Some(GivenRoot { digest, .. }) = context.invocation.given_root {
        let folder = folder_with(context, digest, here);
        let root = match &folder {
            Some(_) => Start::find(&context.layout(), user, context.invocation.given_root.as_ref())?.root,
            None => from_any(urls, |url| served_root(url, digest))?,
        };
        return Ok(Found { root, folder });
    }
    let Some(known) = known else {
        return match here {
            Some(digest) if user.pinned_root(digest)?.is_some() => {
                let root = Start::find(&context.layout(), user, None)?.root;
                Ok(Found { root, folder: Some(context.global.repository.clone()) })
            }
            _ => Err(PinError::UnknownUrl { url: first.clone() }.into()),
        };
    };
    let pinned = user.pinned_root(known)?.ok_or_else(|| PinError::UnknownUrl { url: first.clone() })?;
    let folder = if here == Some(known) { Some(context.global.repository.clone()) } else { user.folder_of(known)? };
    let layout = folder.as_ref().map(|folder| context.invocation.layout(folder));
    let here = layout.and_then(|layout| Start::find(&layout, user, None).ok());
    if let Some(start) = here.filter(|start| start.is_pinned && start.repository == known) {
        return Ok(Found { root: start.root, folder });
    }
    let version = pinned.version;
    let root = from_any(urls, |url| {
        let root = fetch_root(url, version.get())?.filter(|root| RootDigest::of(root) == pinned.digest);
        root.ok_or_else(|| PinError::NotServed { url: url.clone(), version, digest: pinned.digest }.into())
    })?;
    Ok(Found { root, folder })
}

/// Returns the root from the first URL for which `get` succeeds, or else the error for the last URL.
fn from_any(urls: &[BaseUrl], get: impl Fn(&BaseUrl) -> Result<Vec<u8>, Error>) -> Result<Vec<u8>, Error> {
    let mut result = Err(Error::Usage("a URL is required".to_string()));
    for url in urls {
        result = get(url);
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Returns the digest that identifies the repository in the folder given on the command line, if that folder contains a
/// repository.
fn oldest_root_here(context: &Context<'_>) -> Option<RootDigest> {
    let layout = context.layout();
    if !layout.config().exists() {
        return None;
    }
    roots::oldest_root(&layout).ok().map(|root| RootDigest::of(&root))
}

/// Returns the folder given on the command line, if the folder contains a root with this digest.
fn folder_with(context: &Context<'_>, digest: RootDigest, here: Option<RootDigest>) -> Option<PathBuf> {
    here?;
    let given = GivenRoot { digest, remember: false };
    let found = Start::find(&context.layout(), &context.invocation.user, Some(&given));
    found.is_ok().then(|| context.global.repository.clone())
}

/// The time limit for the search for a root.
const SEARCH: Duration = Duration::from_secs(120);

/// Returns whether a file looks like the root with this version.
fn has_version(root: &[u8], version: u64) -> bool {
    let root: Value = serde_json::from_slice(root).unwrap_or_default();
    root.pointer("/signed/version").and_then(Value::as_u64) == Some(version)
}

/// Requests the roots at a URL one after the other, for at most [`SEARCH`], until it finds the root with this digest.
/// The earlier roots are not verified. However, a file that does not look like the requested root version ends the
/// search.
fn served_root(url: &BaseUrl, digest: RootDigest) -> Result<Vec<u8>, Error> {
    let start = Instant::now();
    for version in 1..=MAX_ROOTS {
        match fetch_root(url, version)? {
            Some(root) if RootDigest::of(&root) == digest => return Ok(root),
            Some(root) if !has_version(&root, version) || start.elapsed() > SEARCH => break,
            Some(_) => {}
            // The server may lack root version 1. Any other missing version means that the chain of roots has ended.
            None if version > 1 => break,
            None => {}
        }
    }
    Err(PinError::GivenRootNotServed { url: url.clone(), digest }.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_is_not_a_root_ends_the_search_for_a_digest() {
        let folder = tempfile::tempdir().unwrap();
        let url = BaseUrl::new(&format!("file://{}/", folder.path().display())).unwrap();
        let wanted = br#"{"signed":{"version":3}}"#;
        fs::write(folder.path().join("1.root.json"), r#"{"signed":{"version":1}}"#).unwrap();
        fs::write(folder.path().join("2.root.json"), r#"{"signed":{"version":2}}"#).unwrap();
        fs::write(folder.path().join("3.root.json"), wanted).unwrap();
        let digest = RootDigest::of(wanted);
        assert_eq!(served_root(&url, digest).unwrap(), wanted);
        fs::write(folder.path().join("2.root.json"), "{}").unwrap();
        assert!(matches!(served_root(&url, digest), Err(Error::Pin(PinError::GivenRootNotServed { .. }))));
    }
}
