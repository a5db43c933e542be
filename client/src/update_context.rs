//! The state shared by all parts of an update: the mirrors, the store, the transport, the limits and the retry policy.

use std::sync::Arc;

use lastmile_metadata::{FileContent, Limits, Request, RoleName, TargetNames};

use crate::error::{LocalError, MirrorFailure};
use crate::event::{Event, EventSink};
use crate::net::fetch::Fetch;
use crate::net::mirrors::Mirrors;
use crate::net::retry::RetryPolicy;
use crate::open_directory::CleanedDirs;
use crate::policies::Policies;
use crate::store::StoredFile;
use crate::store::shared::SharedStore;

/// What a refresh does if no mirror can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unreachable {
    /// The refresh fails with [`Error::Network`](crate::Error::Network).
    #[default]
    Refuse,
    /// If all stored metadata is still valid, the refresh succeeds with this metadata, and sends
    /// [`Event::UsingStored`]. Choose this for applications that must work without a network. With this choice, an
    /// attacker who blocks the network can withhold updates without causing an error, until the first stored role
    /// expires. Received metadata that fails verification is still an error.
    UseStored,
}

pub(crate) struct UpdateContext {
    pub(crate) mirrors: Mirrors,
    pub(crate) store: SharedStore,
    pub(crate) fetch: Box<dyn Fetch>,
    pub(crate) limits: Limits,
    pub(crate) retry_policy: RetryPolicy,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) unreachable: Unreachable,
    /// How target files are named in a repository with consistent snapshots.
    pub(crate) target_names: TargetNames,
    /// Whether metadata files are fetched one after the other, without prefetching.
    pub(crate) sequential: bool,
    pub(crate) cleaned_dirs: CleanedDirs,
    pub(crate) policies: Policies,
}

impl UpdateContext {
    /// Returns the limit for the length of `role`. This limit applies if no trusted metadata lists the length.
    pub(crate) fn longest(&self, role: &RoleName) -> u64 {
        match role.as_str() {
            "root" => self.limits.root_length,
            "timestamp" => self.limits.timestamp_length,
            "snapshot" => self.limits.snapshot_length,
            _ => self.limits.targets_length,
        }
    }

    /// Returns the stored file for a request, and its maximum length.
    pub(crate) fn stored_file(&self, request: &Request) -> (StoredFile, u64) {
        let file = match request.version {
            Some(version) if request.role == RoleName::ROOT => StoredFile::Root(version),
            // Spec 5.5.7: the name in the store has no version.
            _ => StoredFile::Role(request.role.clone()),
        };
        (file, self.longest(&request.role).max(request.max_length))
    }

    /// Calls `open` to open the stored copy of the requested file. If the copy is unusable, for example because it is a
    /// link, returns an empty file. Verification then refuses this file as damaged.
    pub(crate) fn stored(
        &self,
        request: &Request,
        open: impl FnOnce(&StoredFile, u64) -> Result<Option<FileContent>, LocalError>,
    ) -> Result<Option<FileContent>, LocalError> {
        let (file, longest) = self.stored_file(request);
        match open(&file, longest) {
            Err(error) if error.is_unusable_content() => {
                let reason = format!("{error}: {}", error.error);
                self.events.handle(&Event::UnusableFile { reason });
                Ok(Some(FileContent::Bytes(Vec::new())))
            }
            answer => answer,
        }
    }

    pub(crate) fn report_failure(&self, failure: Option<&MirrorFailure>) {
        if let Some(MirrorFailure { url, reason }) = failure {
            let url = url.clone();
            let reason = reason.to_string();
            self.events.handle(&Event::MirrorFailed { url, reason });
        }
    }
}
