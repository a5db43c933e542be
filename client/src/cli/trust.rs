//! `lastmile trust`: adds, lists, removes and resets trusted repositories.

use lastmile_metadata::{Key, KeyId, Limits, RoleName, Root, Verified, format_time};
use serde_json::{Value, json};

use super::args::{Add, Change, Trust};
use super::setup::{read_at_most, usable};
use super::{App, ExitStatus, Failure};
use crate::cli::repositories::{MirrorUrls, Repositories, Repository, RepositoryName, RepositorySettings};
use crate::error::Error;
use crate::net::base_url::{BaseUrl, BaseUrlProblem};
use crate::text::hide_possible_credentials;

impl App<'_> {
    pub(super) async fn trust(&self, trust: Trust) -> Result<ExitStatus, Failure> {
        match trust {
            Trust::Add(add) => self.add(&add).await,
            Trust::Set(change) => self.set(&change),
            Trust::List => self.list_trusted(),
            Trust::Remove { name } => self.remove(&name),
            Trust::Reset { name } => self.reset(&name).await,
        }
    }

    async fn add(&self, add: &Add) -> Result<ExitStatus, Failure> {
        let name = RepositoryName::new(&add.name).ok_or_else(|| {
            Failure::usage(format!("`{}` is not a valid repository name", add.name))
                .with_hint("use up to 64 letters, digits, `.`, `_` and `-`, with a letter or a digit at either end")
        })?;
        let settings = RepositorySettings {
            mirrors: mirrors(&add.metadata_urls, &add.targets_urls)?,
            forbidden_means_absent: add.forbidden_means_absent,
            hash_prefixed_targets: !add.plain_target_names,
            #[cfg(feature = "attest")]
            policy: add.policy.as_deref().map(super::policy::checked).transpose()?,
            #[cfg(not(feature = "attest"))]
            policy: None,
        };
        let bytes = read_at_most(&add.root, self.common.network.limits().root_length)?;
        let root = verified(bytes)?;
        if root.expires <= self.now {
            self.output.note(&format!(
                "this root expired at {}; the repository must provide a newer root",
                format_time(&root.expires)
            ));
        }
        let all = self.repositories()?;
        let repository = match all.open(&name, self.common.network.limits().root_length)? {
            Some(known) if known.shipped_root == **root.bytes() && known.settings == settings => {
                self.output
                    .note(&format!("the repository `{name}` is already trusted with the same root and settings"));
                known
            }
            Some(known) => return Err(taken(&known, &root)),
            None => all.add(&name, root.bytes(), &settings)?,
        };
        self.updater(&repository)?.prepare_at(self.now).await?;
        self.output.report(&document(&repository, &root), lines(&name, &root))?;
        Ok(ExitStatus::Done)
    }

    fn set(&self, change: &Change) -> Result<ExitStatus, Failure> {
        let all = self.repositories()?;
        let mut repository = self.named(&all, &change.name)?;
        let settings = &mut repository.settings;
        if change.metadata_urls.is_empty() && !change.targets_urls.is_empty() {
            let metadata: Vec<String> = settings.mirrors.iter().map(|mirror| mirror.metadata_url.clone()).collect();
            settings.mirrors = mirrors(&metadata, &change.targets_urls)?;
        } else if !change.metadata_urls.is_empty() {
            settings.mirrors = mirrors(&change.metadata_urls, &change.targets_urls)?;
        }
        if let Some(is_absent) = change.forbidden_means_absent {
            settings.forbidden_means_absent = is_absent;
        }
        if let Some(is_plain) = change.plain_target_names {
            settings.hash_prefixed_targets = !is_plain;
        }
        #[cfg(feature = "attest")]
        if change.no_policy {
            settings.policy = None;
        } else if let Some(file) = &change.policy {
            settings.policy = Some(super::policy::checked(file)?);
        }
        all.set(&repository)?;
        let root = verified(repository.shipped_root.clone())?;
        let lines = repository.settings.mirrors.iter().flat_map(|mirror| {
            [format!("metadata: {}", shown(&mirror.metadata_url)), format!("targets:  {}", shown(&mirror.targets_url))]
        });
        self.output.data(&document(&repository, &root), lines)?;
        self.output.note(&format!("changed the settings of `{}`; its trusted metadata is unchanged", repository.name));
        Ok(ExitStatus::Done)
    }

    fn list_trusted(&self) -> Result<ExitStatus, Failure> {
        let all = self.repositories()?;
        let mut text = Vec::new();
        let mut documents = Vec::new();
        let mut failures = Vec::new();
        for name in all.names()? {
            match self.trusted_root(&all, &name) {
                Ok((repository, root)) => {
                    let urls = repository.settings.mirrors.iter().map(|mirror| shown(&mirror.metadata_url));
                    let urls: Vec<_> = urls.collect();
                    text.push(format!("{name}: shipped root version {}, {}", root.version, urls.join(", ")));
                    documents.push(document(&repository, &root));
                }
                // One damaged repository must not hide the others.
                Err(failure) => {
                    text.push(format!("{name}: cannot be used"));
                    let error = failure.json().get("error").cloned();
                    documents.push(json!({ "repository": name.as_str(), "error": error }));
                    failures.push(failure);
                }
            }
        }
        if documents.is_empty() {
            self.output.note("no repository is trusted yet");
        }
        self.output.data(&json!({ "repositories": documents }), &text)?;
        let mut status = ExitStatus::Done;
        for failure in &failures {
            status = self.output.failure(failure);
        }
        Ok(status)
    }

    fn trusted_root(&self, all: &Repositories, name: &RepositoryName) -> Result<(Repository, Verified<Root>), Failure> {
        let repository = self.named(all, name.as_str())?;
        let root = verified(repository.shipped_root.clone())?;
        Ok((repository, root))
    }

    fn remove(&self, name: &str) -> Result<ExitStatus, Failure> {
        let all = self.repositories()?;
        // The repository is not opened here, so a damaged repository can also be removed.
        let known = RepositoryName::new(name).filter(|name| all.path().join(name.as_str()).is_dir());
        let name = known.ok_or_else(|| {
            Failure::usage(format!("no repository `{name}` is trusted"))
                .with_hint("list the trusted repositories with `lastmile trust list`")
        })?;
        all.remove(&name)?;
        self.output.note(&format!("the repository `{name}` is no longer trusted"));
        self.output.data(&json!({ "removed": name.as_str() }), [""; 0])?;
        Ok(ExitStatus::Done)
    }

    async fn reset(&self, name: &str) -> Result<ExitStatus, Failure> {
        let repository = self.named(&self.repositories()?, name)?;
        let root = verified(repository.shipped_root.clone())?;
        repository.forget()?;
        self.updater(&repository)?.prepare_at(self.now).await?;
        let version = root.version;
        self.output.note(&format!("the repository `{name}` starts again from its shipped root, version {version}"));
        self.output.data(&json!({ "reset": name, "root_version": version.get() }), [""; 0])?;
        Ok(ExitStatus::Done)
    }
}

/// Returns the error for a name that is already used by a repository with a different root or different settings.
fn taken(known: &Repository, root: &Verified<Root>) -> Failure {
    let name = &known.name;
    let failure = |difference: &str| {
        Failure::failed(format!("the repository `{name}` is already trusted with {difference}")).with_kind("local")
    };
    if known.shipped_root == **root.bytes() {
        return failure("other settings").with_hint(format!(
            "change its URLs and options with `lastmile trust set {name}`, or choose another name"
        ));
    }
    failure("another root")
        .with_hint(format!("choose another name, or remove that repository and all its trusted metadata with `lastmile trust remove {name}`"))
}

/// If there are no targets URLs, derives them from the metadata URLs.
fn mirrors(metadata: &[String], targets: &[String]) -> Result<Vec<MirrorUrls>, Failure> {
    if !targets.is_empty() && targets.len() != metadata.len() {
        return Err(Failure::usage(format!(
            "there are {} metadata URLs, but {} targets URLs",
            metadata.len(),
            targets.len()
        ))
        .with_hint("omit `--targets-url`, or give it once for each `--metadata-url`, in the same order"));
    }
    let mut mirrors = Vec::new();
    for (index, url) in metadata.iter().enumerate() {
        let metadata_url = base_url(url)?;
        let targets_url = match targets.get(index) {
            Some(url) => base_url(url)?,
            None => metadata_url.targets(),
        };
        let metadata_url = metadata_url.as_str().to_owned();
        let targets_url = targets_url.as_str().to_owned();
        mirrors.push(MirrorUrls { metadata_url, targets_url });
    }
    Ok(mirrors)
}

fn base_url(url: &str) -> Result<BaseUrl, Failure> {
    usable(url).map_err(|problem| {
        let hint = match BaseUrl::new(url).map_err(|error| error.problem) {
            Err(BaseUrlProblem::NoScheme | BaseUrlProblem::NotAbsolute) => {
                "for a directory, use `file:///absolute/path/`"
            }
            _ => "give a URL such as `https://HOST/metadata/`, percent-encoded and without `?` and `#`",
        };
        Failure::usage(problem).with_hint(hint)
    })
}

/// Returns a stored URL for output, without its user name and password.
fn shown(url: &str) -> String {
    BaseUrl::new(url).map_or_else(|_| hide_possible_credentials(url), |url| url.to_string())
}

/// Verifies that a root is signed by its own keys (spec 5.2).
fn verified(bytes: Vec<u8>) -> Result<Verified<Root>, Error> {
    Ok(Verified::of_itself(bytes, &Limits::default())?)
}

fn lines(name: &RepositoryName, root: &Root) -> Vec<String> {
    let mut lines = vec![
        format!("repository {name}"),
        format!("root version {}, expires {}", root.version, format_time(&root.expires)),
    ];
    for role in RoleName::TOP_LEVEL {
        let Some(keys) = root.roles.get(&role) else { continue };
        lines.push(format!("{role}: {} of {} keys must sign", keys.threshold, keys.keyids.len()));
        lines.extend(keys.keyids.iter().map(|id| format!("  {}", key_line(id, root.keys.get(id)))));
    }
    lines
}

fn key_line(id: &KeyId, key: Option<&Key>) -> String {
    let Some(key) = key else { return format!("{id} missing") };
    // A key ID may be any text (TAP 12). If the key ID is not the hash of the key, show the hash as well.
    let fingerprint = if key.keyid() == *id { String::new() } else { format!(", fingerprint {}", key.keyid()) };
    match key.public_key() {
        Ok(key) => format!("{id} {}{fingerprint}", key.scheme()),
        Err(error) => format!("{id} unusable: {error}{fingerprint}"),
    }
}

fn document(repository: &Repository, root: &Root) -> Value {
    let mirror = |mirror: &MirrorUrls| json!({ "metadata_url": shown(&mirror.metadata_url), "targets_url": shown(&mirror.targets_url) });
    let mirrors: Vec<_> = repository.settings.mirrors.iter().map(mirror).collect();
    let role = |role: &RoleName| {
        let keys = root.roles.get(role)?;
        let listed: Vec<_> = keys.keyids.iter().map(|id| key_document(id, root.keys.get(id))).collect();
        let value = json!({ "threshold": keys.threshold.get(), "keys": listed });
        Some((role.as_str().to_owned(), value))
    };
    let roles: serde_json::Map<_, _> = RoleName::TOP_LEVEL.iter().filter_map(role).collect();
    json!({
        "repository": repository.name.as_str(),
        "root": { "version": root.version.get(), "expires": format_time(&root.expires), "roles": roles },
        "mirrors": mirrors,
        "forbidden_means_absent": repository.settings.forbidden_means_absent,
        "hash_prefixed_targets": repository.settings.hash_prefixed_targets,
        "policy": repository.settings.policy.as_ref().map(|path| path.to_string_lossy()),
    })
}

fn key_document(id: &KeyId, key: Option<&Key>) -> Value {
    let usable = key.and_then(|key| key.public_key().ok());
    json!({
        "keyid": id.as_str(),
        "fingerprint": key.map(|key| key.keyid().as_str().to_owned()),
        "keytype": usable.map(|key| key.keytype()),
        "scheme": usable.map(|key| key.scheme()),
    })
}
