//! The status of a repository at the URLs that clients use. This module runs a client against each URL. For an HTTP
//! URL, the client runs twice: first with ordinary requests, which caches may answer, and then with requests that
//! bypass caches.
//!
//! The client's clock is set to the Unix epoch. The client therefore accepts expired metadata, whose status can then be
//! reported.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_cli_support::MonitorState;
use lastmile_client::{
    BaseUrl, CacheReport, CacheReports, Error as ClientError, FetchByScheme, FetchError, HttpFetch, HttpSettings,
    MemoryStore, RetryPolicy, Store as _, StoredFile, blocking,
};
use lastmile_metadata::{RoleName, Root, Snapshot, StoredFloors, TargetNames, Timestamp, UpdateRoot, Verified};
use serde_json::{Value, json};

use crate::check::overlay::Overlay;
use crate::check::simulated_client;
use crate::error::chain;
use crate::files::layout::Layout;
use crate::published::Published;
use crate::report::overview::{Overview, Problem, ProblemKind, minute, no_signers, role_problems};
use crate::report::roles::{RoleContext, RoleStatus, Schedule, usable_keys};
use crate::report::seen::{SeenVersions, Versions};
use crate::served::transport::Transport;
use crate::{Error, Repository, served};

/// Reading the delegated roles takes one request for each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delegated {
    Skip,
    Read,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remember {
    Yes,
    No,
}

pub(crate) struct ServedCheck<'a> {
    /// The metadata URLs of the repository and its mirrors.
    pub(crate) urls: &'a [BaseUrl],
    /// The root that the user trusts.
    pub(crate) root: Vec<u8>,
    /// The repository's folder, if it is on this machine.
    pub(crate) folder: Option<&'a mut Repository>,
    pub(crate) delegated: Delegated,
    /// If the folder is not on this machine, a role is overdue if it expires within this time.
    pub(crate) within: TimeDelta,
    pub(crate) now: DateTime<Utc>,
    pub(crate) seen: &'a SeenVersions,
    pub(crate) remember: Remember,
}

pub(crate) struct ServedStatus {
    pub(crate) overview: Overview,
    pub(crate) mirrors: Vec<MirrorStatus>,
    /// The folder with which the served files were compared, if there is one.
    pub(crate) folder: Option<PathBuf>,
}

pub(crate) struct MirrorStatus {
    pub(crate) url: BaseUrl,
    /// The versions that clients get, if the repository could be verified.
    pub(crate) versions: Option<Versions>,
    /// The versions that the server sends when requests bypass all caches. `None` if these are the versions that
    /// clients get, if the check made no such request, or if the request failed.
    pub(crate) behind_caches: Option<Versions>,
    /// The versions that earlier checks found.
    pub(crate) before: Option<Versions>,
    /// The headers in which caches report how they answered the request for `timestamp.json`.
    pub(crate) caches: CacheReport,
}

impl ServedStatus {
    pub(crate) fn json(&self) -> Value {
        let mut document = self.overview.json();
        if let Some(members) = document.as_object_mut() {
            members.insert("mirrors".to_string(), self.mirrors.iter().map(MirrorStatus::json).collect());
            let folder = self.folder.as_ref().map(|folder| folder.to_string_lossy());
            members.insert("folder".to_string(), json!(folder));
        }
        document
    }
}

impl MirrorStatus {
    fn json(&self) -> Value {
        let versions = |versions: &Option<Versions>| {
            versions.as_ref().map(|versions| {
                versions
                    .by_role()
                    .into_iter()
                    .map(|(role, version)| (role.to_string(), json!(version)))
                    .collect::<Value>()
            })
        };
        let caches: Value =
            self.caches.headers().map(|(name, value)| (name.to_ascii_lowercase(), json!(value))).collect();
        json!({
            "url": self.url.to_string(), "up": self.versions.is_some(), "versions": versions(&self.versions),
            "versions_behind_caches": versions(&self.behind_caches), "versions_before": versions(&self.before),
            "cache_headers": caches,
        })
    }
}

/// The result of a successful check of one URL.
struct MirrorCheck {
    url: BaseUrl,
    session: blocking::Session,
    memory: MemoryStore,
    versions: Versions,
}

impl MirrorCheck {
    fn files(&self) -> [File<'_>; 3] {
        let trusted = self.session.trusted();
        files(trusted.root(), trusted.timestamp(), trusted.snapshot())
    }

    /// Returns a problem for each top-level role that has expired at this mirror. These problems are only warnings,
    /// because clients can use another mirror.
    fn expired(&self, now: DateTime<Utc>) -> Vec<Problem> {
        let trusted = self.session.trusted();
        let roles = [
            (RoleName::ROOT, trusted.root().expires),
            (RoleName::TIMESTAMP, trusted.timestamp().expires),
            (RoleName::SNAPSHOT, trusted.snapshot().expires),
            (RoleName::TARGETS, trusted.targets().expires()),
        ];
        let expired = roles.into_iter().filter(|(_, expires)| *expires <= now);
        let problem = |(role, expires): (RoleName, _)| {
            let text = format!("{role} at {} expired {}, so clients refuse this mirror", self.url, minute(expires));
            Problem::new(MonitorState::Warning, ProblemKind::Expired, text).at(&self.url).of_role(role.as_str())
        };
        expired.map(problem).collect()
    }
}

impl ServedCheck<'_> {
    /// Checks all URLs. A problem of the repository or its servers is not an error, but is part of the result.
    ///
    /// # Errors
    /// Returns an error if the check fails on this machine, for example because the state folder cannot be written.
    pub(crate) fn run(mut self) -> Result<ServedStatus, Error> {
        let mut problems = Vec::new();
        let mut mirrors = Vec::new();
        let mut looks = Vec::new();
        let mut root_seen = None;
        for url in self.urls {
            let (mirror, look) = self.look(url, &mut problems, &mut root_seen)?;
            mirrors.push(mirror);
            looks.extend(look);
        }
        let newest = looks.iter().max_by_key(|look| (look.versions.root, look.versions.timestamp));
        if let Some(newest) = newest {
            let newest = (newest.url.to_string(), newest.versions.clone());
            problems.extend(mirrors.iter().filter_map(|mirror| mirror.stale_mirror(&newest.0, &newest.1)));
            // If one mirror cannot be reached, clients use the other mirrors.
            for problem in problems.iter_mut().filter(|problem| problem.kind == ProblemKind::Unreachable) {
                problem.state = MonitorState::Warning;
            }
        }
        let is_up = newest.is_some();
        let at = newest.map(|look| look.url.clone());
        looks.sort_by_key(|look| Some(&look.url) != at.as_ref());
        let roles = match looks.first() {
            Some(_) => {
                problems.extend(forks(&looks));
                problems.extend(looks.iter().skip(1).flat_map(|look| look.expired(self.now)));
                for (index, look) in looks.iter().enumerate() {
                    let found = self.folder.iter().flat_map(|folder| compare(folder, look));
                    // An older mirror already has a problem of kind `StaleMirror`, so report `NotServed` only for the
                    // newest mirror.
                    problems.extend(found.filter(|problem| index == 0 || problem.kind != ProblemKind::NotServed));
                }
                self.roles(looks.swap_remove(0), &mut problems)?
            }
            None => self.root_alone(root_seen.as_ref(), &mut problems)?,
        };
        let mut all = role_problems(&roles);
        all.append(&mut problems);
        let repository = self.urls.first().map(ToString::to_string).unwrap_or_default();
        let overview = Overview { repository, checked: self.now, is_up, roles, problems: all };
        let folder = self.folder.take().map(|folder| folder.layout.dir().to_path_buf());
        Ok(ServedStatus { overview, mirrors, folder })
    }

    /// Checks one URL as clients would. If the URL is not a `file` URL, checks it again with requests that bypass
    /// caches. If the repository cannot be verified, stores the newest verified root in `root_seen`.
    fn look(
        &self,
        url: &BaseUrl,
        problems: &mut Vec<Problem>,
        root_seen: &mut Option<Verified<Root>>,
    ) -> Result<(MirrorStatus, Option<MirrorCheck>), Error> {
        let memory = MemoryStore::default();
        let reports = CacheReports::default();
        let before = self.seen.read(url)?;
        let session = self.refresh(url, &memory, &HttpSettings::default(), &reports);
        let caches = reports.of(url.file("timestamp.json").as_str()).unwrap_or_default();
        let mut mirror = MirrorStatus { url: url.clone(), versions: None, behind_caches: None, before, caches };
        let session = match session {
            Ok(session) => session,
            Err(error) => {
                let newest = newest_root(&self.root, &memory, &error);
                problems.push(failed(url, error)?);
                *root_seen = root_seen.take().into_iter().chain(newest).max_by_key(|root| root.version);
                return Ok((mirror, None));
            }
        };
        let versions = Versions::of(session.trusted());
        if let Some(problem) = mirror.went_back(&versions, self.seen) {
            problems.push(problem);
        }
        if self.remember == Remember::Yes {
            self.seen.write(url, &versions, mirror.before.as_ref())?;
        }
        mirror.versions = Some(versions.clone());
        if url.scheme() != "file" {
            // The second refresh uses a copy of the client's store. If nothing has changed, it therefore requests only
            // the next root and the timestamp.
            let settings = HttpSettings { bypass_caches: true, ..HttpSettings::default() };
            match self.refresh(url, &memory.fork(), &settings, &CacheReports::default()) {
                Ok(fresh) => {
                    let fresh = Versions::of(fresh.trusted());
                    problems.extend(mirror.stale_cache(&versions, &fresh));
                    mirror.behind_caches = (fresh != versions).then_some(fresh);
                }
                Err(error) => {
                    let problem = failed(url, error)?;
                    problems.push(Problem { text: format!("when caches are bypassed, {}", problem.text), ..problem });
                }
            }
        }
        Ok((mirror, Some(MirrorCheck { url: url.clone(), session, memory, versions })))
    }

    fn refresh(
        &self,
        url: &BaseUrl,
        memory: &MemoryStore,
        settings: &HttpSettings,
        reports: &CacheReports,
    ) -> Result<blocking::Session, ClientError> {
        let fetch = FetchByScheme::new(HttpFetch::new(settings)?.cache_reports(reports.clone()));
        let client = served::client(url, self.root.clone(), TargetNames::HashPrefixed, memory, fetch)?;
        client.refresh_at(DateTime::UNIX_EPOCH)
    }

    fn context(&self) -> RoleContext<'_> {
        let folder = self.folder.as_deref();
        let schedule = folder.map_or(Schedule::Within(self.within), |folder| Schedule::Config(&folder.config));
        RoleContext { keys: folder.map(|folder| &folder.keys), schedule, now: self.now }
    }

    fn roles(&self, mut look: MirrorCheck, problems: &mut Vec<Problem>) -> Result<Vec<RoleStatus>, Error> {
        let files = match self.delegated {
            Delegated::Skip => Ok(Vec::new()),
            Delegated::Read => look.session.list().map(drop).and_then(|()| delegated_files(&look)),
        };
        let is_complete = files.is_ok();
        let files = match files {
            Ok(files) => files,
            Err(error) => {
                problems.push(failed(&look.url, error)?);
                Vec::new()
            }
        };
        // This folder need not exist. The client has already fetched and verified every role that is needed, so no file
        // is read from the folder.
        let nowhere = Layout::new(std::path::Path::new("/nonexistent"));
        let overlay = Overlay::new(&nowhere, files.into_iter().collect());
        let mut published = Published::new(overlay, look.session.trusted(), self.root.clone(), look.memory)?;
        let context = self.context();
        let mut roles = context.top_level(&published)?;
        if self.delegated == Delegated::Read && is_complete {
            roles.extend(context.delegated(&mut published)?);
        }
        Ok(roles)
    }

    /// Returns the status of `root`, for a repository in which at most the root could be verified. Also adds a problem
    /// for each other top-level role that nobody can sign for. Returns an empty list if `root` is `None`.
    fn root_alone(&self, root: Option<&Verified<Root>>, problems: &mut Vec<Problem>) -> Result<Vec<RoleStatus>, Error> {
        let Some(root) = root else { return Ok(Vec::new()) };
        for role in RoleName::TOP_LEVEL.iter().filter(|role| **role != RoleName::ROOT) {
            let ring = root.key_ring(role)?;
            let usable = usable_keys(&ring);
            if usable < ring.threshold().get() as usize {
                problems.push(no_signers(role.as_str(), ring.threshold().get(), usable));
            }
        }
        let ring = root.key_ring(&RoleName::ROOT)?;
        let name = RoleName::ROOT;
        Ok(vec![self.context().role(name.to_string(), &name, root.version, root.expires, &ring)])
    }
}

impl MirrorStatus {
    fn went_back(&self, versions: &Versions, seen: &SeenVersions) -> Option<Problem> {
        let behind = versions.behind(self.before.as_ref()?);
        let url = &self.url;
        let changes = changes(&behind)?;
        let mut text = format!("{url} serves an older state than at an earlier check: {changes}");
        if let Some(file) = seen.file(&self.url) {
            let file = lastmile_client::text::printable_path(&file);
            text += &format!("; if you restored the repository on purpose, delete {file}");
        }
        Some(Problem::new(MonitorState::Critical, ProblemKind::WentBack, text).at(url))
    }

    fn stale_cache(&self, versions: &Versions, fresh: &Versions) -> Option<Problem> {
        let url = &self.url;
        let changes = changes(&versions.behind(fresh))?;
        let text =
            format!("a cache in front of {url} serves an older state than the server: {changes}{}", self.headers());
        Some(Problem::new(MonitorState::Warning, ProblemKind::StaleCache, text).at(url))
    }

    fn stale_mirror(&self, newest_url: &str, newest: &Versions) -> Option<Problem> {
        let url = &self.url;
        let changes = changes(&self.versions.as_ref()?.behind(newest))?;
        let text = format!("{url} serves an older state than {newest_url}: {changes}{}", self.headers());
        Some(Problem::new(MonitorState::Warning, ProblemKind::StaleMirror, text).at(url))
    }

    fn headers(&self) -> String {
        let headers = self.caches.headers().map(|(name, value)| format!("{name}: {}", plain(value)));
        let headers: Vec<String> = headers.collect();
        if headers.is_empty() { String::new() } else { format!(" ({})", headers.join("; ")) }
    }
}

/// Makes untrusted text safe to display. Replaces each character with `?` if it is not printable ASCII, or if chat
/// services could interpret it as mark-up.
pub(crate) fn plain(value: &str) -> String {
    let is_plain = |character: char| matches!(character, ' '..='~') && !"<>|&@`".contains(character);
    value.chars().map(|character| if is_plain(character) { character } else { '?' }).collect()
}

/// The role, the version and the bytes of a file.
type File<'a> = (RoleName, u64, &'a [u8]);

fn files<'a>(
    root: &'a Verified<Root>,
    timestamp: &'a Verified<Timestamp>,
    snapshot: &'a Verified<Snapshot>,
) -> [File<'a>; 3] {
    [
        (RoleName::ROOT, root.version.get(), root.bytes()),
        (RoleName::TIMESTAMP, timestamp.version.get(), timestamp.bytes()),
        (RoleName::SNAPSHOT, snapshot.version.get(), snapshot.bytes()),
    ]
}

/// Compares the files with the same role, and returns the roles whose files have the same version but different
/// content.
fn conflicts(ours: &[File<'_>], theirs: &[File<'_>]) -> Vec<RoleName> {
    let pairs = ours.iter().zip(theirs);
    let conflicts = pairs.filter(|(ours, theirs)| ours.1 == theirs.1 && ours.2 != theirs.2);
    conflicts.map(|(ours, _)| ours.0.clone()).collect()
}

fn forks(looks: &[MirrorCheck]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, look) in looks.iter().enumerate() {
        for other in looks.iter().take(index) {
            for role in conflicts(&other.files(), &look.files()) {
                let text = format!(
                    "{} and {} serve different files of {role} with the same version: two copies of the repository \
                     published them, or a key was stolen",
                    look.url, other.url
                );
                let problem = Problem::new(MonitorState::Critical, ProblemKind::ForkedMirror, text).at(&look.url);
                problems.push(problem.of_role(role.as_str()));
            }
        }
    }
    problems
}

/// Describes roles whose versions are too low. `behind` contains each role with its lower and its higher version.
/// Returns `None` if `behind` is empty.
fn changes(behind: &[(RoleName, u64, u64)]) -> Option<String> {
    let changes = behind.iter().map(|(role, low, high)| format!("{role} version {low} instead of {high}"));
    let changes: Vec<String> = changes.collect();
    (!changes.is_empty()).then(|| changes.join(", "))
}

/// Describes why a client could not update from `url`.
///
/// # Errors
/// Returns `error` if the cause is on this machine, rather than in the repository or on its server.
fn failed(url: &BaseUrl, error: ClientError) -> Result<Problem, Error> {
    let reason = error.verdict().map_or_else(|| chain(&error), |verdict| chain(verdict));
    let (kind, text) = match error {
        ClientError::Network(_) => (ProblemKind::Unreachable, format!("{url} cannot be reached: {reason}")),
        ClientError::Refused(_) => (
            ProblemKind::Unverified,
            format!("the repository at {url} does not verify, so clients refuse it: {reason}"),
        ),
        ClientError::Limit(_) => (
            ProblemKind::Unverified,
            format!("the repository at {url} exceeds a limit of this check, so it was not verified: {reason}"),
        ),
        error => return Err(simulated_client::from_client(error)),
    };
    Ok(Problem::new(MonitorState::Critical, kind, text).at(url))
}

/// Returns the newest root that a client accepted before its refresh failed with `error`. The client stores only roots
/// that it has verified. If the network failed and the client still had the root that it was shipped with, returns
/// `None`, because newer roots may exist.
fn newest_root(shipped: &[u8], memory: &MemoryStore, error: &ClientError) -> Option<Verified<Root>> {
    let read = |bytes: Vec<u8>| {
        let limits = simulated_client::reading_limits();
        let start = UpdateRoot::start(bytes, StoredFloors::FirstRun, DateTime::UNIX_EPOCH, limits);
        start.ok().map(|stage| stage.root().clone())
    };
    let shipped = read(shipped.to_vec())?;
    let mut newest = shipped.clone();
    while let Some(version) = newest.version.next() {
        let Ok(Some(stored)) = memory.read(&StoredFile::Root(version), u64::MAX) else { break };
        newest = read(stored)?;
    }
    let is_unknown = matches!(error, ClientError::Network(_)) && newest.version == shipped.version;
    (!is_unknown).then_some(newest)
}

fn delegated_files(look: &MirrorCheck) -> Result<Vec<(String, Vec<u8>)>, ClientError> {
    let trusted = look.session.trusted();
    let mut files = Vec::new();
    for (role, listed) in trusted.snapshot().roles().filter(|(role, _)| !role.is_top_level()) {
        let stored = look.memory.read(&StoredFile::Role(role.clone()), u64::MAX)?;
        let name = role.file_name(trusted.root().version_in_name(&role, listed.version));
        files.extend(stored.map(|bytes| (name, bytes)));
    }
    Ok(files)
}

fn compare(folder: &Repository, look: &MirrorCheck) -> Vec<Problem> {
    let published = &folder.published;
    let Ok(ours) = Versions::of_published(published) else { return Vec::new() };
    let url = &look.url;
    let mut problems = Vec::new();
    if let Some(changes) = changes(&look.versions.behind(&ours)) {
        let text = format!("{url} does not serve the newest versions in the folder: {changes}; upload the folder");
        problems.push(Problem::new(MonitorState::Warning, ProblemKind::NotServed, text).at(url));
    }
    if let Some(changes) = changes(&ours.behind(&look.versions)) {
        let text = format!(
            "{url} serves files that were not published from the folder (the folder has {changes}): another copy \
             published them, the folder was restored, or a key was stolen; run `lastmile-repo catch-up`"
        );
        problems.push(Problem::new(MonitorState::Critical, ProblemKind::NotFromFolder, text).at(url));
    }
    let ours = files(&published.root, &published.timestamp, &published.snapshot);
    for role in conflicts(&ours, &look.files()) {
        let text = format!(
            "{url} and the folder have different files of {role} with the same version: another copy published one of them, \
             or a key was stolen; run `lastmile-repo catch-up`"
        );
        let problem = Problem::new(MonitorState::Critical, ProblemKind::NotFromFolder, text).at(url);
        problems.push(problem.of_role(role.as_str()));
    }
    problems
}

pub(crate) fn fetch_root(url: &BaseUrl, version: u64) -> Result<Option<Vec<u8>>, Error> {
    let fetch = Transport::by_scheme()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(crate::NetworkError::Runtime)?;
    let most = simulated_client::reading_limits().root_length;
    let name = RoleName::ROOT.file_name(lastmile_metadata::Version::new(version));
    let fetched = runtime.block_on(async {
        use lastmile_client::Fetch as _;
        let read = async { fetch.fetch_metadata(url.file(&name).as_str(), most).await?.read_all(most).await };
        let late = |_| Err(FetchError::Timeout(format!("{name} was not received in time")));
        tokio::time::timeout(RetryPolicy::default().deadline, read).await.unwrap_or_else(late)
    });
    match fetched {
        Ok(bytes) => Ok(Some(bytes)),
        Err(FetchError::NotFound) => Ok(None),
        Err(error) => Err(crate::NetworkError::Fetch(error).into()),
    }
}
