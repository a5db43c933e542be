//! Compares the folder with the server at the configured metadata URL before each publication. Without this check, a
//! command in a restored folder or in a second copy could reuse a version number: clients would already have a file
//! with the same version but different content.

mod adoption;
pub(crate) mod catch_up;
mod caught_up;
pub(crate) mod connections;
pub(crate) mod download;
pub(crate) mod server;
pub(crate) mod transport;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures_util::StreamExt as _;
use futures_util::stream;
use lastmile_client::{
    BaseUrl, Error as ClientError, Fetch, FetchError, MemoryStore, Store as _, StoredFile, Updater, blocking,
};
use lastmile_metadata::{Limits, MetaFile, RoleName, TargetNames, TrustedMetadata, Version};

use crate::check::simulated_client::{self, from_client};
use crate::draft::Draft;
use crate::files::roots;
use crate::invocation::ServedState;
use crate::publish::snapshot::{has_same_online_keys, is_complete, list_with_hash};
use crate::publish::versions::LARGEST_JUMP;
use crate::published::Published;
use crate::served::transport::Transport;
use crate::{Error, NetworkError, Repository, ServedError};

/// The maximum number of simultaneous requests.
const MAX_SIMULTANEOUS: usize = 16;

/// The state that a client trusts after it has updated from the server.
pub(crate) struct Served {
    pub(crate) session: blocking::Session,
    memory: MemoryStore,
    transport: Transport,
    metadata_url: BaseUrl,
}

impl Served {
    /// Updates a client that was shipped with `root`. The client's clock is set to 1970, so that the client does not
    /// refuse expired metadata.
    pub(crate) fn fetch(metadata_url: &BaseUrl, root: Vec<u8>) -> Result<Self, Error> {
        Self::fetch_with(&Transport::by_scheme()?, metadata_url, root, TargetNames::HashPrefixed)
    }

    /// Like [`Served::fetch`], but reads through `transport`, and the client can also download targets. `names`
    /// specifies how target files are named.
    pub(crate) fn fetch_with(
        transport: &Transport,
        metadata_url: &BaseUrl,
        root: Vec<u8>,
        names: TargetNames,
    ) -> Result<Self, Error> {
        let memory = MemoryStore::default();
        let client = client(metadata_url, root, names, &memory, transport.clone())
            .map_err(|error| NetworkError::Setup(error.into()))?;
        let session = client.refresh_at(DateTime::<Utc>::UNIX_EPOCH).map_err(|error| match from_client(error) {
            Error::Network(error) => Error::from(NetworkError::Compare(error.into())),
            error => ServedError::Unverified { url: metadata_url.clone(), error: error.into() }.into(),
        })?;
        Ok(Self { session, memory, transport: transport.clone(), metadata_url: metadata_url.clone() })
    }

    pub(crate) fn trusted(&self) -> &TrustedMetadata {
        self.session.trusted()
    }

    /// For root, timestamp and snapshot, returns the version on the server, the version in the folder, and whether the
    /// two files are equal.
    pub(crate) fn versions_of_both(&self, ours: &Published) -> [(RoleName, Version, Version, bool); 3] {
        let theirs = self.trusted();
        let root = theirs.root();
        let timestamp = theirs.timestamp();
        let snapshot = theirs.snapshot();
        [
            (RoleName::ROOT, root.version, ours.root.version, root.bytes() == ours.root.bytes()),
            (
                RoleName::TIMESTAMP,
                timestamp.version,
                ours.timestamp.version,
                timestamp.bytes() == ours.timestamp.bytes(),
            ),
            (RoleName::SNAPSHOT, snapshot.version, ours.snapshot.version, snapshot.bytes() == ours.snapshot.bytes()),
        ]
    }

    /// Returns the versions of the top-level roles and of all roles that the snapshot lists.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (RoleName, Version)> {
        let trusted = self.trusted();
        let top = [
            (RoleName::ROOT, trusted.root().version),
            (RoleName::TIMESTAMP, trusted.timestamp().version),
            (RoleName::SNAPSHOT, trusted.snapshot().version),
        ];
        top.into_iter().chain(trusted.snapshot().roles().map(|(role, listed)| (role, listed.version)))
    }

    pub(crate) fn file(&self, file: &StoredFile) -> Result<Option<Vec<u8>>, Error> {
        self.memory.read(file, u64::MAX).map_err(|error| ServedError::Memory(error).into())
    }

    /// Returns the roles whose entry in `entries` has the same version as the file on the server, but does not match
    /// that file.
    pub(crate) fn differing(&self, entries: Vec<(RoleName, MetaFile)>) -> Result<Vec<RoleName>, Error> {
        let root = self.trusted().root();
        let served = |role: &RoleName| self.trusted().snapshot().meta(role).map(|listed| listed.version);
        let entries = entries.into_iter().filter(|(role, entry)| served(role) == Some(entry.version));
        let wanted = entries.map(|(role, entry)| {
            let url = self.metadata_url.file(&role.file_name(root.version_in_name(&role, entry.version)));
            (role, entry, url)
        });
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(NetworkError::Runtime)?;
        let compared = stream::iter(wanted.collect::<Vec<_>>()).map(|(role, entry, url)| {
            let fetch = &self.transport;
            async move {
                let most = entry.length.unwrap_or(Limits::default().targets_length).saturating_add(1);
                let response = fetch.fetch_metadata(url.as_str(), most).await.map_err(unreached)?;
                let is_other = match response.read_all(most).await {
                    Ok(bytes) => entry.check(&bytes).is_err(),
                    Err(FetchError::TooLong { .. }) => true,
                    Err(error) => return Err(unreached(error)),
                };
                Ok(is_other.then_some(role))
            }
        });
        let compared: Vec<Result<Option<RoleName>, Error>> =
            runtime.block_on(compared.buffer_unordered(MAX_SIMULTANEOUS).collect());
        compared.into_iter().filter_map(Result::transpose).collect()
    }
}

pub(crate) fn client(
    metadata_url: &BaseUrl,
    root: Vec<u8>,
    names: TargetNames,
    memory: &MemoryStore,
    fetch: impl Fetch,
) -> Result<blocking::Updater, ClientError> {
    let updater = Updater::builder(root)
        .mirror(metadata_url.as_str(), metadata_url.targets().as_str())
        .fetch(fetch)
        .store(memory.clone())
        .limits(simulated_client::reading_limits())
        .target_names(names)
        // The files are copied, not installed, so no evidence is needed.
        .ignore_policies()
        .build()?;
    blocking::Updater::new(updater)
}

fn refuse_first(differing: Vec<RoleName>) -> Result<(), Error> {
    match differing.into_iter().next() {
        Some(role) => Err(ServedError::Differs { role }.into()),
        None => Ok(()),
    }
}

fn unreached(error: FetchError) -> Error {
    NetworkError::Compare(NetworkError::Fetch(error).into()).into()
}

impl Repository {
    /// Refuses to continue if the server has a newer version of root, timestamp or snapshot than this folder, or a
    /// different file with the same version. `entries` are the new entries for published files that had no hash in the
    /// snapshot until now. The files on the server must match these entries.
    ///
    /// During a revocation, whoever stole the key may be publishing with it. Therefore only a newer or different root
    /// on the server stops the revocation. New versions are issued above those on the server. If the server cannot be
    /// reached during a revocation, there is only a warning. There is also only a warning if a file on the server does
    /// not match an entry that gets its first hash, because clients refuse the file after the hash is published.
    ///
    /// # Errors
    /// [`Error::Served`] if the server differs from the folder as described above, and [`Error::Network`] if the server
    /// cannot be reached.
    pub(crate) fn compare_with_served(
        &mut self,
        draft: &Draft,
        entries: &BTreeMap<RoleName, MetaFile>,
    ) -> Result<(), Error> {
        if self.invocation.served == ServedState::Ignore || self.is_compared {
            return Ok(());
        }
        let Some(url) = self.invocation.user.metadata_url(self.digest)? else { return Ok(()) };
        let served = match Served::fetch(&url, roots::oldest_root(&self.layout)?) {
            Err(error) if self.is_emergency => {
                self.warnings.push(format!("{error}; the revocation continues"));
                self.is_compared = true;
                return Ok(());
            }
            served => served?,
        };
        // Clients with the newest root ignore files that are signed with removed online keys.
        let is_void = served.trusted().root().version < self.published.root.version
            && !has_same_online_keys(served.trusted().root(), &self.published.root);
        for (role, theirs, ours, is_same) in served.versions_of_both(&self.published) {
            if is_void || (theirs <= ours && (theirs < ours || is_same)) {
                continue;
            }
            let is_driven_up = theirs.get().saturating_sub(ours.get()) > LARGEST_JUMP;
            if self.is_emergency && role != RoleName::ROOT {
                if is_driven_up {
                    self.warnings.push(format!(
                        "the server has {role} version {theirs}, far above the version in this folder: the key of \
                         {role} was stolen too, so revoke it as well"
                    ));
                }
                continue;
            }
            if is_driven_up {
                return Err(ServedError::InflatedVersion { role, served: theirs, published: ours }.into());
            }
            let difference = if theirs == ours {
                ServedError::OtherFile { role, version: ours }
            } else {
                ServedError::Newer { role, served: theirs, published: ours }
            };
            return Err(difference.into());
        }
        let first_listed = self.first_listed(draft, entries);
        match served.differing(first_listed).and_then(refuse_first) {
            Err(error) if self.is_emergency => self.warnings.push(format!("{error}; the revocation continues")),
            compared => compared?,
        }
        if self.is_emergency {
            let versions = served.versions().filter(|(role, theirs)| {
                let ours = self.published.version(role).map_or(0, Version::get);
                // Ignore a version that is much higher, because an attacker has inflated it. Clients recover from this
                // attack when the online keys are replaced (TUF specification 5.3.11).
                theirs.get().saturating_sub(ours) <= LARGEST_JUMP
            });
            self.seen.extend(versions);
        }
        self.is_compared = true;
        Ok(())
    }

    /// Returns all entries that get their first hash: `entries`, and an entry for the published file of each role in
    /// the draft that the published snapshot lists without a hash.
    fn first_listed(&self, draft: &Draft, entries: &BTreeMap<RoleName, MetaFile>) -> Vec<(RoleName, MetaFile)> {
        let changed = draft.targets.keys().filter_map(|role| {
            let listed = self.published.snapshot.meta(role).filter(|listed| !is_complete(listed))?;
            Some((role.clone(), list_with_hash(listed.version, self.published.file(role)?)))
        });
        entries.iter().map(|(role, entry)| (role.clone(), entry.clone())).chain(changed).collect()
    }
}
