//! Finds the repository that a command uses, and creates an [`Updater`] for this repository.

use std::path::{Path, PathBuf};

use lastmile_fs::named;

use super::terminal::EventPrinter;
use super::{App, Failure, args};
use crate::builder::UpdaterBuilder;
use crate::cli::repositories::{Repositories, Repository, RepositoryName};
use crate::error::LocalError;
use crate::net::base_url::BaseUrl;
use crate::net::http::{HttpFetch, HttpSettings};
use crate::net::proxy::{ProxyChoice, ProxyVariables};
use crate::net::retry::RetryPolicy;
use crate::net::scheme::FetchByScheme;
use crate::open_directory::ensure_unwritable;
use crate::session::Session;
use crate::store::directory::DirectoryStore;
use crate::text::printable_path;
use crate::updater::Updater;

/// The maximum length of a `--ca-file`, in bytes.
const MAX_CA_FILE_LENGTH: u64 = 16 * 1024 * 1024;

impl App<'_> {
    pub(super) fn repositories(&self) -> Result<Repositories, Failure> {
        Ok(Repositories::at(self.state_dir()?))
    }

    fn state_dir(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.common.state_dir {
            return Ok(path.clone());
        }
        if let Some(path) = self.world.variable("LASTMILE_STATE_DIR") {
            return Ok(path.into());
        }
        let dir = self.world.base_dir("XDG_STATE_HOME", ".local/state").filter(|dir| {
            // If $HOME is not set, `base_dir` takes the home directory from the system's user database. Ignore a
            // directory that was found in this way.
            let named = self.world.variable("XDG_STATE_HOME");
            self.world.variable("HOME").is_some() || named.is_some_and(|named| named == *dir)
        });
        dir.map(|dir| dir.join("lastmile")).ok_or_else(|| {
            Failure::failed("there is no state directory: neither $HOME nor an absolute $XDG_STATE_HOME is set")
                .with_hint("set one with `--state-dir DIR` or $LASTMILE_STATE_DIR")
        })
    }

    /// Returns the repository that `--repository` names, or the only trusted repository.
    pub(super) fn repository(&self) -> Result<Repository, Failure> {
        let all = self.repositories()?;
        if let Some(name) = &self.common.repository {
            return self.named(&all, name);
        }
        let names = all.names()?;
        match names.as_slice() {
            [only] => self.named(&all, only.as_str()),
            [] => Err(Failure::failed(format!("no repository is trusted yet in `{}`", printable_path(all.path())))
                .with_hint("add one with `lastmile trust add NAME --root FILE --metadata-url URL`")),
            names => {
                let names: Vec<_> = names.iter().map(RepositoryName::as_str).collect();
                let names = names.join(", ");
                Err(Failure::usage("several repositories are trusted")
                    .with_hint(format!("choose one with `--repository NAME`: {names}")))
            }
        }
    }

    pub(super) fn named(&self, all: &Repositories, name: &str) -> Result<Repository, Failure> {
        let longest_root = self.common.network.limits().root_length;
        let found = match RepositoryName::new(name) {
            Some(name) => all.open(&name, longest_root)?,
            None => None,
        };
        found.ok_or_else(|| {
            Failure::usage(format!("no repository `{name}` is trusted"))
                .with_hint("list the trusted repositories with `lastmile trust list`")
        })
    }

    /// Returns an updater that writes accepted files to the store.
    pub(super) fn updater(&self, repository: &Repository) -> Result<Updater, Failure> {
        self.updater_with(repository, repository.store()?)
    }

    pub(super) fn reader(&self, repository: &Repository) -> Result<Updater, Failure> {
        self.updater_with(repository, repository.read_only_store()?)
    }

    /// Refreshes the selected repository or, with `--offline`, verifies its stored metadata.
    pub(super) async fn session(&self, source: &args::MetadataSource) -> Result<Session, Failure> {
        let repository = self.repository()?;
        if source.offline {
            return Ok(self.reader(&repository)?.offline_at(self.now).await?);
        }
        Ok(self.updater(&repository)?.refresh_at(self.now).await?)
    }

    pub(super) async fn session_with_policy(
        &self,
        source: &args::MetadataSource,
        policy: &args::PolicyFile,
    ) -> Result<Session, Failure> {
        let repository = self.repository()?;
        if source.offline {
            return self.offline_session(&repository, policy).await;
        }
        let builder = self.with_local_policy(self.builder(&repository, repository.store()?)?, &repository, policy)?;
        Ok(builder.build()?.refresh_at(self.now).await?)
    }

    /// Verifies the stored metadata of the repository, and enforces the local policy.
    pub(super) async fn offline_session(
        &self,
        repository: &Repository,
        policy: &args::PolicyFile,
    ) -> Result<Session, Failure> {
        let builder = self.builder(repository, repository.read_only_store()?)?;
        Ok(self.with_local_policy(builder, repository, policy)?.build()?.offline_at(self.now).await?)
    }

    /// Returns an error if the settings specify a local policy, because this build cannot enforce it.
    #[cfg(not(feature = "attest"))]
    fn with_local_policy(
        &self,
        builder: UpdaterBuilder,
        repository: &Repository,
        _policy: &args::PolicyFile,
    ) -> Result<UpdaterBuilder, Failure> {
        if repository.settings.policy.is_none() {
            return Ok(builder);
        }
        let name = &repository.name;
        Err(Failure::failed(format!(
            "the settings of `{name}` specify a local policy, but this program was built without the feature `attest`"
        ))
        .with_kind("config")
        .with_hint("install a build of lastmile with the feature `attest`"))
    }

    fn updater_with(&self, repository: &Repository, store: DirectoryStore) -> Result<Updater, Failure> {
        Ok(self.builder(repository, store)?.build()?)
    }

    fn builder(&self, repository: &Repository, store: DirectoryStore) -> Result<UpdaterBuilder, Failure> {
        let network = &self.common.network;
        let mut builder = Updater::builder(repository.shipped_root.clone())
            .store(store)
            .limits(network.limits())
            .retry_policy(RetryPolicy {
                retries: network.retries,
                deadline: network.deadline,
                ..RetryPolicy::default()
            })
            .event_sink(EventPrinter(self.output.clone()))
            .fetch(self.fetch(network, repository)?)
            .target_names(repository.settings.target_names());
        for mirror in &repository.settings.mirrors {
            match usable(&mirror.metadata_url).and_then(|metadata| Ok((metadata, usable(&mirror.targets_url)?))) {
                Ok((metadata, targets)) => builder = builder.mirror(metadata.as_str(), targets.as_str()),
                // Print only a warning, because an earlier version of this program accepted this URL, and the stored
                // metadata is usable without the mirror.
                Err(problem) => self.output.warning(&format!(
                    "the settings of `{name}`: {problem}; skipping this mirror; set another URL with `lastmile trust set {name} \
                     --metadata-url URL`",
                    name = repository.name
                )),
            }
        }
        Ok(builder)
    }

    fn fetch(&self, network: &args::Network, repository: &Repository) -> Result<FetchByScheme, Failure> {
        let settings = HttpSettings {
            connect_timeout: network.timeout,
            gap_timeout: network.timeout,
            redirects: network.all_limits().redirects,
            proxy: match network.proxy.as_deref() {
                None => ProxyChoice::Variables(ProxyVariables::read(|name| self.world.variable(name))?),
                Some("none") => ProxyChoice::Direct,
                Some(url) => ProxyChoice::Url(url.to_owned()),
            },
            extra_ca: network.ca_file.iter().map(|path| read_file(path)).collect::<Result<_, _>>()?,
            forbidden_means_absent: repository.settings.forbidden_means_absent,
            ..HttpSettings::default()
        };
        Ok(FetchByScheme::new(HttpFetch::new(&settings)?))
    }
}

/// Parses a base URL, and checks that there is a transport for its scheme. Returns a description of the problem if the
/// URL is unusable.
pub(super) fn usable(url: &str) -> Result<BaseUrl, String> {
    let base = BaseUrl::new(url).map_err(|error| error.to_string())?;
    if base.is_supported() {
        Ok(base)
    } else {
        Err(format!("`{base}` is not a URL with the scheme http, https or file"))
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, LocalError> {
    read_at_most(path, MAX_CA_FILE_LENGTH)
}

/// Follows links and accepts pipes, because the user chose the path, but refuses a file that other users can change.
pub(super) fn read_at_most(path: &Path, max_length: u64) -> Result<Vec<u8>, LocalError> {
    let failed = |error| LocalError::new("read", path, error).naming_the_owner();
    let file = named::open(path).map_err(failed)?;
    ensure_unwritable(&file, path)?;
    named::read(file, max_length).map_err(failed)
}
