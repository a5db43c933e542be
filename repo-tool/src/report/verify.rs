//! A full check of a repository. The check runs a client for every root version that clients may have been shipped
//! with, and reads all target files. If there are very many root versions, it skips each root with the same keys and
//! roles as the previous root, because a client would perform the same update.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use lastmile_client::text::printable_path;
use lastmile_client::{Error as ClientError, FetchError, MemoryStore, blocking};
use lastmile_metadata::{
    Envelope, Limits, RoleName, Root, TargetFile, TargetNames, TrustedMetadata, Version, format_time,
};
use serde_json::{Value, json};

use crate::check::finding::{Finding, Rule, Severity};
use crate::check::folder_state;
use crate::check::overlay::Overlay;
use crate::check::practice;
use crate::check::simulated_client::{client, from_client, refresh};
use crate::check::{MANY_ROOTS, hidden_by, is_alike, lint};
use crate::edit::intake;
use crate::error::chain;
use crate::files::access::{self, MAX_METADATA_LENGTH};
use crate::files::layout::Layout;
use crate::files::roots;
use crate::pin::{self, Start};
use crate::publish::compress::Coding;
use crate::published::Published;
use crate::report::status::RolePolicy;
use crate::{Error, Invocation, parallel};

/// The result of a full check.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// The root versions that clients may have been shipped with. Each version comes with the error message of a client
    /// that started from this root, or with `None` if that client succeeded.
    pub roots: Vec<(Version, Option<String>)>,
    /// The version and the expiry date of each top-level role.
    pub versions: Vec<(RoleName, Version, DateTime<Utc>)>,
    /// The number of targets.
    pub targets: usize,
    /// The number of bytes of target files that were read.
    pub bytes: u64,
    /// All findings. Each missing target file is a finding of severity [`Severity::Problem`], unless
    /// [`Verification::allow_absent_files`] was called.
    pub findings: Vec<Finding>,
    /// The roles that have a policy.
    pub policies: Vec<RolePolicy>,
}

impl Verification {
    /// Returns whether the repository is free of problems.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.most_severe() != Some(Severity::Problem)
    }

    /// Returns the highest severity of all findings.
    #[must_use]
    pub fn most_severe(&self) -> Option<Severity> {
        self.findings.iter().map(Finding::severity).max()
    }

    /// Accepts missing target files. Call this method if the target files are on another server. Replaces the findings
    /// about missing target files with one note that gives their number.
    pub fn allow_absent_files(&mut self) {
        let before = self.findings.len();
        self.findings.retain(|finding| finding.rule != Rule::MissingTargetFile);
        let count = before - self.findings.len();
        if count > 0 {
            let text = if count == 1 {
                "1 target file is not in this folder and was not checked".to_string()
            } else {
                format!("{count} target files are not in this folder and were not checked")
            };
            self.findings.push(Finding::new(Rule::UncheckedTargetFiles, text));
        }
    }

    /// Returns whether network errors are the only problems.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        !self.is_good() && self.problems().all(|problem| problem.rule == Rule::UnreachableFile)
    }

    /// Returns the findings whose severity is [`Severity::Problem`].
    pub fn problems(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity() == Severity::Problem)
    }

    fn add(&mut self, rule: Rule, text: impl Into<String>) {
        self.findings.push(Finding::new(rule, text));
    }

    /// Records the result of a client that was shipped with the root version `shipped`. `failure` is `None` if the
    /// client reached the newest state. Otherwise, it contains the rule under which the failure is reported, and the
    /// client's error.
    fn add_client(&mut self, shipped: Version, failure: Option<(Rule, String)>) {
        if let Some((rule, failure)) = &failure {
            let text = format!("a client shipped with root {shipped} fails: {failure}");
            self.findings.push(Finding::about(*rule, &RoleName::ROOT, text));
        }
        self.roots.push((shipped, failure.map(|(_, failure)| failure)));
    }

    /// Returns whether the check ended early because the network failed.
    fn ended_early(&self) -> bool {
        self.findings.iter().any(|finding| finding.rule == Rule::UnreachableFile)
    }

    /// Returns the result as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let roots = self.roots.iter().map(|(version, failure)| json!({ "root": version.get(), "failure": failure }));
        let versions = self.versions.iter().map(|(role, version, expires)| {
            json!({ "role": role.as_str(), "version": version.get(), "expires": format_time(expires) })
        });
        let mut verification = json!({
            "good": self.is_good(), "clients": roots.collect::<Vec<_>>(), "roles": versions.collect::<Vec<_>>(),
            "targets": self.targets, "bytes": self.bytes, "findings": self.findings.iter().map(Finding::json).collect::<Vec<_>>(),
        });
        if let (false, Some(members)) = (self.policies.is_empty(), verification.as_object_mut()) {
            members.insert("policies".to_string(), self.policies.iter().map(RolePolicy::json).collect());
        }
        verification
    }
}

/// Checks the repository in `dir` from its oldest root, which is not authenticated. `names` specifies whether the names
/// of target files contain hashes.
///
/// # Errors
/// Fails if there is no repository or a file cannot be read. Problems of the repository are part of the result.
pub fn directory(
    dir: &Path,
    now: DateTime<Utc>,
    names: TargetNames,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Verification, Error> {
    let layout = Layout::new(dir);
    let oldest = roots::oldest_root(&layout)?;
    directory_from(&layout, oldest, now, names, progress)
}

/// Returns the root from which the check starts: the root that the user specified for this run or, if there is none,
/// the oldest root in the folder.
///
/// # Errors
/// [`Error::Pin`] if the folder lacks the root that the user pinned or specified.
pub fn first_root(layout: &Layout, invocation: &Invocation) -> Result<Vec<u8>, Error> {
    let given = invocation.given_root.as_ref();
    // Check that the folder contains the pinned root.
    Start::find(layout, &invocation.user, given)?;
    match given {
        Some(given) => pin::find_root(layout, given.digest),
        None => roots::oldest_root(layout),
    }
}

/// Checks the repository in `layout` with clients that were shipped with the root `oldest` or a later root.
///
/// # Errors
/// Fails under the same conditions as [`directory`].
pub fn directory_from(
    layout: &Layout,
    oldest: Vec<u8>,
    now: DateTime<Utc>,
    names: TargetNames,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Verification, Error> {
    let make =
        |shipped: Vec<u8>| client(shipped, Overlay::published(layout), MemoryStore::default(), Limits::default(), None);
    let read =
        |version: Version| access::read_if_there(&layout.metadata().join(RoleName::ROOT.file_name(Some(version))));
    let mut found = Verification::default();
    let (session, targets) = match clients(&mut found, oldest, now, make, read) {
        Ok(Some(arrived)) => arrived,
        Ok(None) => {
            add_damaged(&mut found, layout);
            return Ok(found);
        }
        // The client reads the files from the folder, so this error means that a file is missing or unreadable.
        Err(Error::Network(error)) => {
            found.add(Rule::UnreadableFile, error.to_string());
            add_damaged(&mut found, layout);
            return Ok(found);
        }
        Err(error) => return Err(error),
    };
    found.targets = targets.len();
    let names = session.trusted().root().target_names(names);
    let done = AtomicUsize::new(0);
    let checked = parallel::try_map(&targets, |target| {
        let result = check_target(layout, target, names);
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, targets.len());
        result
    })?;
    for checked in checked {
        found.bytes += checked.bytes;
        found.findings.extend(checked.findings);
    }
    for interrupted in layout.interrupted()? {
        found.add(Rule::InterruptedPublication, interrupted.advice());
    }
    check_copies(&mut found, layout)?;
    count_unlisted(&mut found, layout, &targets, names);
    found.findings.extend(practice::target_names(targets.iter().map(|target| &target.path)));
    match read_published(layout) {
        Ok(published) => {
            find_hidden(&mut found, &published, &targets, session.trusted());
            found.findings.extend(lint::of_published(&published, now));
        }
        Err(error) => found.add(Rule::UnreadableFile, error.to_string()),
    }
    Ok(found)
}

/// Checks the repository at a URL. `root` is the root that clients were shipped with.
///
/// # Errors
/// Fails if the network fails while the first client updates or while a root file is fetched, or if an operation fails
/// on this machine. Other network errors and the problems of the repository are part of the result. A network error
/// ends the check.
#[cfg(feature = "http")]
#[expect(clippy::disallowed_methods, reason = "targets are fetched into a temporary folder, which is then deleted")]
pub fn url(
    base: &lastmile_client::BaseUrl,
    root: Vec<u8>,
    now: DateTime<Utc>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Verification, Error> {
    use crate::NetworkError;
    use lastmile_client::{Fetch as _, FetchByScheme, HttpFetch, HttpSettings, Updater};

    // Each client gets its own fetcher, because pooled connections belong to the runtime that opened them.
    let connect = || {
        Ok::<_, Error>(FetchByScheme::new(
            HttpFetch::new(&HttpSettings::default()).map_err(|error| NetworkError::Setup(error.into()))?,
        ))
    };
    let metadata = base.folder("metadata");
    let files = base.folder("targets");
    let make = |shipped: Vec<u8>| {
        let builder = Updater::builder(shipped).mirror(metadata.as_str(), files.as_str()).fetch(connect()?);
        // This client only compares the files with their hashes and installs nothing, so it needs no evidence for them.
        let updater = builder.ignore_policies().build().map_err(|error| NetworkError::Setup(error.into()))?;
        Ok(blocking::Updater::new(updater).map_err(|error| NetworkError::Setup(error.into()))?)
    };
    let fetch = connect()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::file("start", Path::new("a runtime"), error))?;
    let read = |version: Version| {
        let url = metadata.file(&RoleName::ROOT.file_name(Some(version)));
        runtime.block_on(async {
            match fetch.fetch(url.as_str(), 0).await {
                Ok(response) => {
                    Ok(Some(response.read_all(Limits::default().root_length).await.map_err(NetworkError::Fetch)?))
                }
                Err(FetchError::NotFound) => Ok(None),
                Err(error) => Err(NetworkError::Fetch(error).into()),
            }
        })
    };
    let mut found = Verification::default();
    let Some((mut session, targets)) = clients(&mut found, root, now, make, read)? else {
        return Ok(found);
    };
    found.targets = targets.len();
    let folder = tempfile::tempdir().map_err(|error| Error::file("create", &std::env::temp_dir(), error))?;
    for (number, target) in targets.iter().enumerate() {
        let to = folder.path().join("target");
        match session.target(target.path.as_str()).and_then(|target| session.download(&target, &to)) {
            Ok(_) => found.bytes += target.length,
            Err(error) => {
                let (rule, text) = fault(error, Rule::MissingTargetFile, Rule::WrongTargetFile)?;
                found.add(rule, format!("target {}: {text}", target.path));
                if found.ended_early() {
                    break;
                }
            }
        }
        let _ = std::fs::remove_file(&to);
        progress(number + 1, targets.len());
    }
    found.findings.extend(practice::target_names(targets.iter().map(|target| &target.path)));
    found.findings.extend(practice::Subject::trusted(session.trusted()).findings(now));
    Ok(found)
}

/// Runs a client for every root version that clients may have been shipped with. If there are many roots, skips each
/// root that has the same keys and roles as the previous root, but only if the client with the previous root succeeded.
///
/// Returns the session of the client with the oldest root, and all targets. Returns `None` if that client fails or
/// cannot list all targets, or if a network error ends the check.
fn clients(
    found: &mut Verification,
    oldest: Vec<u8>,
    now: DateTime<Utc>,
    make: impl Fn(Vec<u8>) -> Result<blocking::Updater, Error>,
    read: impl Fn(Version) -> Result<Option<Vec<u8>>, Error>,
) -> Result<Option<(blocking::Session, Vec<TargetFile>)>, Error> {
    let shipped = oldest.clone();
    let oldest = Envelope::<Root>::parse(&RoleName::ROOT, oldest)?.unverified(&RoleName::ROOT)?;
    let first = oldest.version;
    let mut session = match refresh(&make(shipped)?, now) {
        Ok(session) => session,
        Err(error @ ClientError::Network(_)) => return Err(from_client(error)),
        Err(error) => {
            found.add_client(first, Some(fault(error, Rule::ClientFails, Rule::ClientFails)?));
            return Ok(None);
        }
    };
    found.add_client(first, None);
    let trusted = session.trusted();
    found.versions = vec![
        (RoleName::ROOT, trusted.root().version, trusted.root().expires),
        (RoleName::TIMESTAMP, trusted.timestamp().version, trusted.timestamp().expires),
        (RoleName::SNAPSHOT, trusted.snapshot().version, trusted.snapshot().expires),
        (RoleName::TARGETS, trusted.targets().version(), trusted.targets().expires()),
    ];
    let last = trusted.root().version;
    let timestamp = trusted.timestamp().version;
    let many = last.get() - first.get() >= MANY_ROOTS;
    let mut before = oldest;
    let mut next = first.next();
    while let Some(version) = next.filter(|version| *version <= last) {
        let failure = match read(version)? {
            None => Some((Rule::ClientFails, "the root file does not exist".to_string())),
            Some(shipped) => {
                let root = Envelope::<Root>::parse(&RoleName::ROOT, shipped.clone())?.unverified(&RoleName::ROOT)?;
                let has_succeeded = found.roots.last().is_some_and(|(_, failure)| failure.is_none());
                // The client with the previous root succeeded, and a client with this root would perform the same
                // update, so do not run it.
                let is_covered = many && has_succeeded && is_alike(&before, &root);
                before = root;
                if is_covered { None } else { failure_of(&make(shipped)?, now, (last, timestamp))? }
            }
        };
        found.add_client(version, failure);
        if found.ended_early() {
            return Ok(None);
        }
        next = version.next();
    }
    match session.list() {
        Ok(targets) => {
            let trusted = session.trusted();
            let top = std::iter::once((&RoleName::TARGETS, trusted.targets()));
            let roles = top.chain(trusted.delegated()).map(|(role, targets)| (role, targets.header()));
            found.policies = RolePolicy::of(roles);
            Ok(Some((session, targets)))
        }
        Err(error) => {
            let (rule, text) = fault(error, Rule::UnreadableFile, Rule::UnreadableFile)?;
            found.add(rule, text);
            Ok(None)
        }
    }
}

/// Returns `None` if `client` updates to the root version `root`, and to at least the timestamp version `timestamp`.
/// Otherwise, returns the rule under which the failure is reported, and the reason for the failure.
fn failure_of(
    client: &blocking::Updater,
    now: DateTime<Utc>,
    (root, timestamp): (Version, Version),
) -> Result<Option<(Rule, String)>, Error> {
    let failure = match refresh(client, now) {
        Ok(session) if session.trusted().root().version != root => "it does not reach the newest root".into(),
        Ok(session) if session.trusted().timestamp().version < timestamp => "it reaches an older state".into(),
        Ok(_) => return Ok(None),
        Err(error) => return fault(error, Rule::ClientFails, Rule::ClientFails).map(Some),
    };
    Ok(Some((Rule::ClientFails, failure)))
}

/// Returns the rule under which a client's error is reported, and describes the error. The rule is `missing` if a file
/// does not exist, and `refused` if the client refused a file or reached one of its limits. If a file cannot be read
/// or fetched for another reason, the error has a rule of its own.
///
/// # Errors
/// Returns `error` if the cause is on this machine, rather than in the repository or on its server.
fn fault(error: ClientError, missing: Rule, refused: Rule) -> Result<(Rule, String), Error> {
    let rule = match &error {
        ClientError::Refused(_) | ClientError::Limit(_) => refused,
        ClientError::Network(error) => match error.cause {
            FetchError::NotFound => missing,
            FetchError::Io(_) => Rule::UnreadableFile,
            _ => Rule::UnreachableFile,
        },
        _ => return Err(from_client(error)),
    };
    Ok((rule, chain(&error)))
}

#[derive(Default)]
pub(crate) struct CheckedTarget {
    bytes: u64,
    pub(crate) findings: Vec<Finding>,
}

/// Reads a target file and compares it with its target entry. If the file is published under several names, checks each
/// copy.
pub(crate) fn check_target(layout: &Layout, target: &TargetFile, names: TargetNames) -> Result<CheckedTarget, Error> {
    let mut found = CheckedTarget::default();
    for place in intake::published_paths(target, names) {
        let mut verifier = target.verifier();
        let path = layout.targets().join(&place);
        let read = intake::read_parts(&path, |part| {
            found.bytes += part.len() as u64;
            verifier.update(part).is_ok()
        })?;
        let name = printable_path(&place);
        let (rule, text) = match read.map(|()| verifier.finish()) {
            None => (Rule::MissingTargetFile, format!("targets/{name}: the file does not exist")),
            Some(Err(error)) => (Rule::WrongTargetFile, format!("targets/{name}: {error}")),
            Some(Ok(())) => continue,
        };
        found.findings.push(Finding::new(rule, text));
    }
    Ok(found)
}

fn check_copies(found: &mut Verification, layout: &Layout) -> Result<(), Error> {
    let folder = layout.metadata();
    let entries = std::fs::read_dir(&folder).map_err(|error| Error::file("list", &folder, error))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
    let names = names.collect::<Result<Vec<_>, _>>().map_err(|error| Error::file("list", &folder, error))?;
    let mut copies: Vec<(String, String, Coding)> = names
        .into_iter()
        .flatten()
        .filter_map(|name| {
            let (plain, coding) = Coding::ALL.into_iter().find_map(|coding| {
                Some((name.strip_suffix(coding.ending())?.strip_suffix('.')?.to_string(), coding))
            })?;
            Some((name, plain, coding))
        })
        .collect();
    copies.sort();
    let wrong = parallel::try_map(&copies, |(name, plain, coding)| {
        let read = |name: &str| access::read_small(&folder.join(name), MAX_METADATA_LENGTH);
        let is_good = match (read(name)?, read(plain)?) {
            (Some(copy), Some(plain)) => coding.is_copy(&copy, &plain),
            _ => false,
        };
        let text = || format!("metadata/{name} is not a compressed copy of {plain}");
        Ok((!is_good).then(|| Finding::new(Rule::WrongCopy, text())))
    })?;
    found.findings.extend(wrong.into_iter().flatten());
    Ok(())
}

/// Adds a finding for every metadata file that is missing or was changed.
fn add_damaged(found: &mut Verification, layout: &Layout) {
    let damaged = folder_state::damaged_files(layout);
    found.findings.extend(damaged.iter().map(|file| Finding::new(Rule::DamagedMetadata, file.to_string())));
}

/// Counts the target files that no role lists, such as the files of older releases.
fn count_unlisted(found: &mut Verification, layout: &Layout, targets: &[TargetFile], names: TargetNames) {
    let listed: BTreeSet<PathBuf> = targets.iter().flat_map(|target| intake::published_paths(target, names)).collect();
    let folder = layout.targets();
    let files =
        walkdir::WalkDir::new(&folder).into_iter().filter_map(Result::ok).filter(|entry| !entry.file_type().is_dir());
    let count =
        files.filter(|entry| entry.path().strip_prefix(&folder).is_ok_and(|path| !listed.contains(path))).count();
    if count > 0 {
        let text = format!("no role lists {count} of the files in targets/ (files of older releases are kept)");
        found.add(Rule::UnlistedFiles, text);
    }
}

fn read_published(layout: &Layout) -> Result<Published, Error> {
    let mut published = Published::open(layout, roots::oldest_root(layout)?)?;
    published.read_all()?;
    Ok(published)
}

/// Reports targets that a role lists, but that clients do not find. `trusted` must contain all roles that clients
/// visit.
fn find_hidden(found: &mut Verification, published: &Published, targets: &[TargetFile], trusted: &TrustedMetadata) {
    let first: BTreeMap<_, _> = targets.iter().map(|target| (&target.path, target)).collect();
    for (role, targets) in published.read_roles() {
        for target in targets.targets().filter(|target| first.get(&target.path) != Some(&target)) {
            let path = &target.path;
            let reason = hidden_by(path, trusted)
                .map_or_else(|error| format!("a search for it fails: {error}"), |reason| reason.to_string());
            let text = format!("clients do not find {path} of {role}: {reason}");
            found.findings.push(Finding::about(Rule::HiddenTarget, role, text));
        }
    }
}
