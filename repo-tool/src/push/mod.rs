//! Uploads a published repository to the place from which it is served (`push`), and downloads a
//! repository from such a place (`pull`).
//!
//! A push requires a pinned root. It first verifies the published metadata in the folder, and then
//! uploads only files that this metadata names. It uploads them in the order of spec 6.3: target
//! files, delegated roles, role `targets`, snapshot, and `timestamp.json` last. A push that is
//! interrupted before the timestamp therefore changes nothing for clients, and can be repeated. The
//! exception is a push that uploads new roots before the timestamp; see [`plan::RootPlace`].

mod base;
#[cfg(any(feature = "object-store", feature = "ssh"))]
mod clock;
#[cfg(feature = "object-store")]
mod credentials;
pub(crate) mod destination;
mod directory;
mod guard;
#[cfg(any(feature = "object-store", feature = "ssh"))]
mod lease;
pub(crate) mod merge;
#[cfg(feature = "object-store")]
mod object_store;
mod plan;
mod public;
pub(crate) mod pull;
pub(crate) mod settings;
#[cfg(feature = "ssh")]
mod ssh;
#[cfg(test)]
mod tests;
mod upload;
#[cfg(feature = "object-store")]
mod write_guard;

use std::path::Path;

use lastmile_client::BaseUrl;
use lastmile_client::text::hide_possible_credentials;
use lastmile_metadata::{RoleName, Version};

use crate::edit::revert::MissingFiles;
use crate::files::roots;
use crate::published::Published;
use crate::push::destination::Destination;
use crate::push::directory::Directory;
use crate::push::guard::Standing;
use crate::push::plan::Plan;
pub(crate) use crate::push::public::{PublicState, wait_until_public};
use crate::push::settings::{DestinationSettings, ServedSnapshot};
use crate::push::upload::{Upload, Uploading};
use crate::{Error, PushError, Repository};

/// The schemes of destinations, for messages.
const SCHEMES: &str = match (cfg!(feature = "object-store"), cfg!(feature = "ssh")) {
    (true, true) => "file, ssh, s3, gs or az",
    (true, false) => "file, s3, gs or az",
    (false, true) => "file or ssh",
    (false, false) => "file",
};

/// Parses a destination from the command line: a URL or the path of a folder.
///
/// # Errors
/// Returns an error if the text is neither the path of a folder nor the URL of a supported
/// destination, or if the URL contains credentials.
pub(crate) fn parse(text: &str) -> Result<BaseUrl, Error> {
    if !text.contains("://") {
        if text.split('/').next().is_some_and(|first| first.contains(':')) {
            return Err(PushError::NoUrl.into());
        }
        let path = std::path::absolute(text).map_err(|error| Error::file("find", Path::new(text), error))?;
        return Ok(Directory::new(&path)?.url().clone());
    }
    let url = BaseUrl::new(text).map_err(PushError::from)?;
    #[cfg(feature = "ssh")]
    if url.scheme() == "ssh" {
        return ssh::Address::parse(&url).map(|_| url);
    }
    // A name of a bucket contains no colon. A secret key may contain a slash, so the name can be a part of credentials.
    let bucket = url.as_str().split('/').nth(2).filter(|_| matches!(url.scheme(), "s3" | "gs" | "az"));
    if bucket.is_some_and(|bucket| bucket.contains(':')) {
        return Err(PushError::Credentials { url: format!("{}://***", url.scheme()) }.into());
    }
    let shown = hide_possible_credentials(url.as_str());
    if url.to_string() != url.as_str() {
        return Err(PushError::Credentials { url: shown }.into());
    }
    match url.scheme() {
        "file" => Directory::at(&url).map(|_| url),
        "s3" | "gs" | "az" if cfg!(feature = "object-store") => Ok(url),
        _ => Err(PushError::Scheme { url: shown, supported: SCHEMES }.into()),
    }
}

/// A function that reads an environment variable.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Does not access the destination.
///
/// # Errors
/// [`PushError::Scheme`] if the scheme is not supported.
pub(crate) fn open(settings: &DestinationSettings, variables: Variables<'_>) -> Result<Box<dyn Destination>, Error> {
    let url = &settings.url;
    #[cfg(not(any(feature = "object-store", feature = "ssh")))]
    let _ = variables;
    match url.scheme() {
        "file" => Ok(Box::new(Directory::at(url)?)),
        #[cfg(feature = "object-store")]
        "s3" | "gs" | "az" => Ok(Box::new(credentials::open(url, &settings.options, variables)?)),
        #[cfg(feature = "ssh")]
        "ssh" => Ok(Box::new(ssh::Ssh::new(url, settings.options.lease, variables)?)),
        _ => Err(PushError::Scheme { url: hide_possible_credentials(url.as_str()), supported: SCHEMES }.into()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Upload,
    /// Only determine which files would be uploaded.
    Preview,
}

/// What to do if a destination that has served a repository no longer has a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emptied {
    /// Upload nothing. Without the timestamp, the push cannot check that the destination served an
    /// earlier state of the folder.
    Refuse,
    /// Upload everything, because the user has given the URL of the destination.
    Refill,
}

#[derive(Clone, Copy)]
pub(crate) struct Options<'a> {
    pub(crate) mode: Mode,
    /// Whether target files may be missing from the folder, because another server has them.
    pub(crate) missing: MissingFiles,
    /// The name of the destination in the user's configuration.
    pub(crate) name: &'a str,
    /// The settings that are stored under this name.
    pub(crate) settings: &'a DestinationSettings,
    pub(crate) emptied: Emptied,
    pub(crate) progress: &'a dyn Progress,
}

/// Receives the progress of a push or a pull.
pub(crate) trait Progress: Sync {
    /// Is called once, with the number of files.
    fn begin(&self, files: usize);
    /// Is called once for each file as soon as it is done, even if the file did not have to be transferred or is missing.
    fn uploaded(&self);
}

#[derive(Debug)]
pub(crate) struct Pushed {
    /// The versions that the destination served before, or `None` if it was empty.
    pub(crate) before: Option<Versions>,
    pub(crate) after: Versions,
    /// The uploaded files with their lengths in bytes, in the order of the upload. Files that are uploaded in parallel
    /// are in the order of the plan.
    pub(crate) sent: Vec<(String, u64)>,
    /// The number of files that were already at the destination.
    pub(crate) present: usize,
    /// The target files that are neither in the folder nor at the destination.
    pub(crate) missing: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) root: Version,
    pub(crate) snapshot: Version,
    pub(crate) timestamp: Version,
}

impl Pushed {
    pub(crate) fn is_unchanged(&self) -> bool {
        self.before == Some(self.after) && self.sent.is_empty()
    }
}

/// Uploads the published state of the repository to the destination.
///
/// This function records the snapshot in the user's configuration twice: before and after it uploads the timestamp.
/// From these records, [`merge`] can tell which changes the destination has served, even if the push is interrupted.
/// Both records are written while this process holds the lock on the destination, so they never replace the record of a
/// later push.
///
/// # Errors
/// [`Error::NotPinned`] if the root is not pinned; [`Error::Push`] if the destination serves neither the state of the
/// folder nor an earlier one, or if another process is pushing.
pub(crate) fn push(
    repository: &mut Repository,
    destination: &dyn Destination,
    options: &Options<'_>,
) -> Result<Pushed, Error> {
    repository.authority().require_pin()?;
    let mut ours = Published::open(&repository.layout, roots::oldest_root(&repository.layout)?)?;
    let lease = match options.mode {
        Mode::Upload => Some(destination.lock(&repository.invocation.lock_wait)?),
        Mode::Preview => None,
    };
    let standing = guard::standing(destination, repository, &ours, options.settings)?;
    let after =
        Versions { root: ours.root.version, snapshot: ours.snapshot.version, timestamp: ours.timestamp.version };
    let snapshot = ServedSnapshot::of(&ours.snapshot);
    let record = |served: Option<&ServedSnapshot>, intended: Option<&ServedSnapshot>| {
        let Options { mode: Mode::Upload, name, settings, .. } = *options else { return Ok(()) };
        repository.invocation.user.record_push(repository.digest, name, settings, served, intended)
    };
    let mut pushed = Pushed { before: None, after, sent: Vec::new(), present: 0, missing: Vec::new() };
    let earlier = match &standing {
        Standing::Same => {
            pushed.before = Some(after);
            record(Some(&snapshot), None)?;
            return Ok(pushed);
        }
        Standing::Empty => {
            if let (Emptied::Refuse, Some(known)) = (options.emptied, &options.settings.served) {
                return Err(PushError::Emptied { url: destination.url().clone(), served: known.version }.into());
            }
            None
        }
        Standing::Behind(earlier) => Some(earlier.as_ref()),
    };
    pushed.before = earlier.map(|earlier| {
        let version = |role: &RoleName| earlier.served.versions().find(|(name, _)| name == role).map(|(_, it)| it);
        let of = |role| version(&role).unwrap_or(Version::ONE);
        Versions { root: of(RoleName::ROOT), snapshot: of(RoleName::SNAPSHOT), timestamp: of(RoleName::TIMESTAMP) }
    });
    let served = earlier.map(|earlier| ServedSnapshot::of(earlier.served.trusted().snapshot()));
    let names = repository.target_names();
    let plan = Plan::new(&mut ours, earlier.map(|earlier| &earlier.served), names)?;
    options.progress.begin(plan.len());
    let mut upload = Upload {
        destination,
        lease: lease.as_deref(),
        layout: &repository.layout,
        names,
        earlier,
        options,
        uploading: Uploading::default(),
    };
    upload.run(&plan, || record(served.as_ref(), Some(&snapshot)))?;
    record(Some(&snapshot), None)?;
    let Uploading { sent, present, missing } = upload.uploading;
    Ok(Pushed { sent, present, missing, ..pushed })
}
