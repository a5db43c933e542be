//! The `key` commands, and the lookup of keys that are named on the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_client::text::{printable, printable_path};
use lastmile_keys::Scheme;
use lastmile_keys::{KeyMaterial, PrivateKey, PublicKey};
use lastmile_metadata::RoleName;
use serde_json::{Value, json};

use super::context::Context;
use super::{findings, signer_toml};
use crate::check::finding::Finding;
use crate::check::lint;
use crate::config::{Config, KeyUri, RoleConfig};
use crate::draft::Draft;
use crate::files::layout::Layout;
use crate::files::links::Links;
use crate::files::own_files;
use crate::init::{check_key_is_new, key_file_uri, key_uri};
use crate::key_store::{self, Protection, is_private_key, keyid_of, open_private_key, read_public_key};
use crate::pass_phrases::NoPassPhrases;
use crate::trusting::{OddKeyId, OddKind};
use crate::{Error, Repository};

/// `key …`
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Generate a key. It is not trusted until `rotate` or `delegate` assigns it to a role.
    Generate {
        /// Name of the key; NAME.pem and NAME.pub are written.
        name: String,
        /// Signature scheme of the key.
        #[arg(long, default_value = "ed25519")]
        scheme: Scheme,
        /// Folder to write to [default: keys/ of the repository]
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
        /// Leave the key unencrypted.
        #[arg(long)]
        unencrypted: bool,
    },
    /// List the trusted keys and the keys on this machine, with their roles.
    List,
    /// Allow the use of a private key file for this repository, even if repo.toml does not name the file.
    Allow {
        /// The key file.
        file: PathBuf,
    },
    /// Show one key.
    Show {
        /// Key ID or its first digits, a URI such as file:keys/root-1.pem, or a key file.
        key: String,
        /// Print the key as TOML for a policy, with the signer name NAME.
        #[arg(long, value_name = "NAME")]
        signer: Option<String>,
    },
    /// Import a private key from another tool (PKCS#8 PEM, or cosign) and encrypt it. For other formats, print the
    /// command that converts them.
    Import {
        /// The key file.
        file: PathBuf,
        /// Name of the key [default: the name of the file]
        #[arg(long)]
        name: Option<String>,
        /// Leave the key unencrypted.
        #[arg(long)]
        unencrypted: bool,
    },
}

/// A key that was named on the command line.
pub(super) struct Resolved {
    pub(super) public: PublicKey,
    /// The URI of the private key file, or `None` if no such file was found on this machine.
    pub(super) uri: Option<KeyUri>,
}

pub(super) fn publics(keys: &[Resolved]) -> Vec<PublicKey> {
    keys.iter().map(|key| key.public.clone()).collect()
}

/// Refuses a key that is named twice.
pub(super) fn resolve_all(repository: &mut Repository, names: &[String]) -> Result<Vec<Resolved>, Error> {
    let mut all: Vec<Resolved> = Vec::new();
    for name in names {
        let resolved = resolve(repository, name)?;
        if all.iter().any(|other| other.public == resolved.public) {
            return Err(Error::Usage(format!("the key `{name}` is given twice")));
        }
        all.push(resolved);
    }
    Ok(all)
}

/// How the user named a key.
enum Named {
    /// A URI, a private key file, or the name of a key in the key folder.
    Private(KeyUri),
    /// A public key file, with the URI of the private key file next to it in the key folder, if there is one. The
    /// private key is not opened, because it may belong to another maintainer.
    Public(PublicKey, Option<KeyUri>),
    /// Any other text, which is treated as the first digits of a key ID.
    Id,
}

fn named(repository: &Repository, name: &str) -> Result<Named, Error> {
    let layout = &repository.layout;
    if let Ok(uri) = name.parse::<KeyUri>() {
        return Ok(Named::Private(uri));
    }
    let path = Path::new(name);
    if path.is_file() {
        if !is_private_key(path)? {
            return Ok(Named::Public(read_public_key(path, Links::Follow)?, uri_beside(layout, path)));
        }
        return Ok(Named::Private(key_file_uri(layout, path)?));
    }
    if layout.keys().join(format!("{name}.pem")).is_file() {
        return Ok(Named::Private(key_uri(layout, &layout.keys(), name)?));
    }
    Ok(Named::Id)
}

/// Returns `None` unless `public` is in the repository's key folder and a private key file is next to it.
fn uri_beside(layout: &Layout, public: &Path) -> Option<KeyUri> {
    let private = layout.keys().join(public.with_extension("pem").file_name()?);
    let is_in_folder = public.parent()?.canonicalize().ok()? == layout.keys().canonicalize().ok()?;
    (is_in_folder && private.is_file()).then(|| key_file_uri(layout, &private).ok()).flatten()
}

/// A key or key ID to remove from a role.
pub(super) enum Removal {
    /// A key that lastmile can use. All entries for this key are removed, in any encoding.
    Key(PublicKey),
    /// A key ID in the role's key list that has no key, has a key that lastmile cannot use, or is listed more than
    /// once.
    OddKeyId(OddKeyId),
}

impl Removal {
    /// Returns `None` for a key ID that has no key or is listed more than once.
    pub(super) fn material(&self) -> Option<KeyMaterial> {
        match self {
            Self::Key(public) => Some(KeyMaterial::from(public)),
            Self::OddKeyId(OddKeyId { kind: OddKind::Unusable(key), .. }) => Some(key.material()),
            Self::OddKeyId(_) => None,
        }
    }
}

/// Looks up a key to remove. `name` may be a key ID in `odd`, the first digits of such a key ID, or any name that
/// [`resolve_public`] accepts.
pub(super) fn resolve_removal(repository: &mut Repository, odd: Vec<OddKeyId>, name: &str) -> Result<Removal, Error> {
    let mut fitting: Vec<OddKeyId> = odd.into_iter().filter(|odd| odd.id.as_str().starts_with(name)).collect();
    fitting.sort_by(|one, other| one.id.cmp(&other.id));
    fitting.dedup_by(|one, other| one.id == other.id);
    // A name with fewer than 4 digits must be the complete ID.
    fitting.retain(|odd| name.len() >= 4 || odd.id.as_str() == name);
    if fitting.is_empty() {
        return resolve_public(repository, name).map(Removal::Key);
    }
    let exact = fitting.iter().position(|odd| odd.id.as_str() == name);
    let others = known(repository)?.into_keys().map(|key| keyid_of(&key));
    let is_ambiguous = |id: &str| id.starts_with(name) && fitting.iter().all(|odd| odd.id.as_str() != id);
    if exact.is_none() && (fitting.len() > 1 || others.into_iter().any(|id| is_ambiguous(&id))) {
        return Err(Error::Usage(format!("several key IDs start with `{name}`; give more digits")));
    }
    Ok(Removal::OddKeyId(fitting.swap_remove(exact.unwrap_or(0))))
}

/// Looks up a key to sign with or to trust. If `name` specifies a private key, opens the private key to get its public
/// key. The `.pub` file next to a private key file is not trusted.
pub(super) fn resolve(repository: &mut Repository, name: &str) -> Result<Resolved, Error> {
    match named(repository, name)? {
        Named::Private(uri) => {
            let dir = repository.layout.dir().to_path_buf();
            Ok(Resolved { public: repository.keys.open(&dir, &uri)?, uri: Some(uri) })
        }
        Named::Public(public, uri) => Ok(Resolved { public, uri }),
        Named::Id => {
            let (public, roles) = by_id(repository, name)?;
            let uri = repository.keys.confirmed_uris_of(&public).first().and_then(|uri| uri.parse().ok());
            if uri.is_none() && roles.is_empty() {
                return Err(Error::Failed(format!(
                    "no role lists the key `{name}`, and its private key could not be opened: give its public key file"
                )));
            }
            Ok(Resolved { public, uri })
        }
    }
}

/// Looks up a key to remove. Opens a private key only if `name` specifies its file. Unlike [`resolve`], accepts a key
/// ID even if no role lists the key and its private key cannot be opened.
pub(super) fn resolve_public(repository: &mut Repository, name: &str) -> Result<PublicKey, Error> {
    match named(repository, name)? {
        Named::Id => Ok(by_id(repository, name)?.0),
        _ => Ok(resolve(repository, name)?.public),
    }
}

struct Shown {
    public: PublicKey,
    /// Set if the key was read from the `.pub` file next to a private key that could not be opened.
    according_to: Option<PathBuf>,
}

impl From<PublicKey> for Shown {
    fn from(public: PublicKey) -> Self {
        Self { public, according_to: None }
    }
}

/// Opens an encrypted private key only if the `.pub` file next to it cannot be read.
fn look_up(repository: &mut Repository, name: &str) -> Result<Shown, Error> {
    match named(repository, name)? {
        Named::Private(uri) => {
            let dir = repository.layout.dir().to_path_buf();
            repository.keys.add(&dir, &uri);
            let path = uri.path(&dir);
            let links = if uri.is_below(&dir) { Links::Refuse } else { Links::Follow };
            let beside = path.with_extension("pub");
            let is_open = open_private_key(&path, name, links, &NoPassPhrases).is_ok();
            match read_public_key(&beside, links) {
                Ok(public) if !is_open => Ok(Shown { public, according_to: Some(beside) }),
                // `resolve_public` opens the private key, and refuses a `.pub` file that contains a different key.
                _ => resolve_public(repository, name).map(Shown::from),
            }
        }
        Named::Public(public, _) => Ok(public.into()),
        Named::Id => Ok(by_id(repository, name)?.0.into()),
    }
}

/// `start` must have at least 4 digits. Also returns the roles that list the key in published metadata.
fn by_id(repository: &mut Repository, start: &str) -> Result<(PublicKey, Vec<String>), Error> {
    let known = known(repository)?.into_iter();
    let mut fitting: Vec<(PublicKey, Vec<String>)> =
        known.filter(|(key, _)| start.len() >= 4 && keyid_of(key).starts_with(start)).collect();
    match (fitting.pop(), fitting.is_empty()) {
        (Some(found), true) => Ok(found),
        (Some(_), false) => Err(Error::Usage(format!("several key IDs start with `{start}`; give more digits"))),
        (None, _) => Err(Error::Absent(format!(
            "no key matches `{start}`; give a key file, a URI such as file:keys/root-1.pem, or at least 4 digits of a key ID"
        ))),
    }
}

/// Returns the trusted keys and the keys on this machine, each with the roles for which it is trusted.
fn known(repository: &mut Repository) -> Result<BTreeMap<PublicKey, Vec<String>>, Error> {
    let mut keys: BTreeMap<PublicKey, Vec<String>> = BTreeMap::new();
    for role in RoleName::TOP_LEVEL {
        for (_, key) in repository.published.root.key_ring(&role)?.keys() {
            keys.entry(key.clone()).or_default().push(role.to_string());
        }
    }
    for (role, delegator) in repository.published.read_all()? {
        let delegations = delegator.as_ref().and_then(|name| repository.published.known(name)?.delegations.as_ref());
        if let (Some(delegator), Some(delegations)) = (&delegator, delegations) {
            for (_, key) in delegations.key_ring(delegator, &role)?.keys() {
                keys.entry(key.clone()).or_default().push(role.to_string());
            }
        }
    }
    for key in repository.keys.publics().into_keys().chain(in_folder(&repository.layout)) {
        keys.entry(key).or_default();
    }
    Ok(keys)
}

fn in_folder(layout: &Layout) -> Vec<PublicKey> {
    let entries = std::fs::read_dir(layout.keys()).into_iter().flatten().filter_map(Result::ok);
    let publics = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "pub"));
    publics.filter_map(|entry| read_public_key(&entry.path(), Links::Refuse).ok()).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    PassPhrase,
    None,
}

pub(super) fn run(context: &Context<'_>, command: &KeyCommand, output: &Output) -> Result<ExitStatus, Error> {
    match command {
        KeyCommand::Generate { name, scheme, folder, unencrypted } => {
            let key = PrivateKey::generate(*scheme).map_err(|error| Error::key(name, error))?;
            let layout = context.layout();
            let folder = folder.clone().unwrap_or_else(|| layout.keys());
            let encryption = if *unencrypted { Encryption::None } else { Encryption::PassPhrase };
            write(context, &folder, name, &key, encryption, output)
        }
        KeyCommand::Import { file, name, unencrypted } => {
            let key =
                open_private_key(file, &file.to_string_lossy(), Links::Follow, context.invocation.phrases.as_ref())?;
            let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let name =
                name.clone().or(stem).ok_or_else(|| Error::Usage("the key needs a name: add --name NAME".into()))?;
            let folder = context.layout().keys();
            let encryption = if *unencrypted { Encryption::None } else { Encryption::PassPhrase };
            write(context, &folder, &name, &key, encryption, output)
        }
        KeyCommand::Allow { file } => allow(context, file, output),
        KeyCommand::List => list(context, output),
        KeyCommand::Show { key, signer: None } => show(context, key, output),
        KeyCommand::Show { key, signer: Some(signer) } => signer_toml::show(context, key, signer, output),
    }
}

fn write(
    context: &Context<'_>,
    folder: &Path,
    name: &str,
    key: &PrivateKey,
    encryption: Encryption,
    output: &Output,
) -> Result<ExitStatus, Error> {
    use lastmile_keys::Signer as _;
    key_store::check_name(name)?;
    own_files::refuse_served(&context.layout(), folder)?;
    let file: PathBuf = folder.join(format!("{name}.pem"));
    let protection = match encryption {
        Encryption::None => Protection::None,
        Encryption::PassPhrase => Protection::PassPhrase(context.invocation.phrases.new_pass_phrase()?),
    };
    if context.run().is_dry() {
        check_key_is_new(folder, name)?;
    } else {
        key_store::write(folder, name, key, &protection)?;
    }
    if encryption == Encryption::None {
        output.warning("the key is not encrypted: anyone who can read the file can sign with it");
    }
    findings::print_warnings(&root_keys_together(context, key.public_key()), output);
    let id = keyid_of(key.public_key());
    let public = file.with_extension("pub");
    let json = json!({
        "keyid": id, "private": file.to_string_lossy(), "public": public.to_string_lossy(),
        "dry_run": context.run().is_dry(),
    });
    let paths = [format!("  private: {}", printable_path(&file)), format!("  public:  {}", printable_path(&public))];
    output.report(&json, [id].into_iter().chain(paths))?;
    if context.run().is_dry() {
        output.note("Nothing was written (--dry-run).");
    }
    Ok(ExitStatus::Done)
}

fn allow(context: &Context<'_>, file: &Path, output: &Output) -> Result<ExitStatus, Error> {
    let repository = Repository::open(&context.global.repository, &context.invocation)?;
    let file = std::path::absolute(file).map_err(|error| Error::file("find", file, error))?;
    if context.run().is_dry() {
        context.invocation.user.check_creatable()?;
    } else {
        context.invocation.user.allow_key(repository.digest, &file)?;
    }
    let json = json!({ "allowed": file.to_string_lossy(), "dry_run": context.global.dry_run });
    output.report(&json, [format!("{} may be used for this repository", printable_path(&file))])?;
    Ok(ExitStatus::Done)
}

/// Returns a finding if `new` is a root key and the root keys on this machine reach the threshold of root. Returns
/// `None` if there is no repository.
fn root_keys_together(context: &Context<'_>, new: &PublicKey) -> Option<Finding> {
    let repository = Repository::open(&context.global.repository, &context.invocation).ok()?;
    let root = &repository.published.root;
    let is_root_key = root.key_ring(&RoleName::ROOT).ok()?.keys().any(|(_, key)| key == new);
    is_root_key.then(|| lint::root_keys_together(root, &repository.layout, &repository.keys)).flatten()
}

fn list(context: &Context<'_>, output: &Output) -> Result<ExitStatus, Error> {
    let mut repository = Repository::open(&context.global.repository, &context.invocation)?;
    let mut text = String::new();
    let mut all = Vec::new();
    for (key, roles) in known(&mut repository)? {
        let (json, line) = described(&repository, &key, &roles);
        text += &format!("{line}\n");
        all.push(json);
    }
    let mut odd: BTreeMap<String, (OddKeyId, Vec<String>)> = BTreeMap::new();
    for (role, found) in repository.edit(Draft::default()).all_odd_ids()? {
        let id = found.id.as_str().to_string();
        odd.entry(id).or_insert_with(|| (found, Vec::new())).1.push(role.to_string());
    }
    for (id, (found, roles)) in &odd {
        let key = match &found.kind {
            OddKind::Unusable(key) => key.to_json().to_text(),
            OddKind::Dangling | OddKind::Twice => String::new(),
        };
        text += &format!("{found}\n  listed:  {}\n", shortened(roles));
        if !key.is_empty() {
            text += &format!("  key:     {key}\n");
        }
        let key: Value = serde_json::from_str(&key).unwrap_or_default();
        all.push(json!({ "keyid": id, "roles": roles, "warning": found.to_string(), "key": key }));
    }
    output.data_text(&json!({ "keys": all }), &text)?;
    if !odd.is_empty() {
        output
            .warning("some roles list keys that lastmile cannot use; remove each with `rotate ROLE --remove KEYID` or `revoke KEYID`");
    }
    Ok(ExitStatus::Done)
}

fn show(context: &Context<'_>, name: &str, output: &Output) -> Result<ExitStatus, Error> {
    // A public key file can be shown without a repository.
    if let Ok(public) = read_public_key(Path::new(name), Links::Follow) {
        let json = json!({ "keyid": keyid_of(&public), "keytype": public.keytype(), "scheme": public.scheme() });
        output.data_text(&json, &format!("{} {}\n{}", keyid_of(&public), public.scheme(), public.public()))?;
        return Ok(ExitStatus::Done);
    }
    let mut repository = Repository::open(&context.global.repository, &context.invocation)?;
    let Shown { public, according_to } = look_up(&mut repository, name)?;
    let roles = known(&mut repository)?.remove(&public).unwrap_or_default();
    let (mut json, line) = described(&repository, &public, &roles);
    let file = according_to.as_ref().map(|file| file.to_string_lossy().into_owned());
    let source = file.as_ref().map(|file| format!("\n  according to {}, not verified", printable(file)));
    if let Some(json) = json.as_object_mut() {
        json.insert("verified".into(), file.is_none().into());
        json.insert("according_to".into(), file.into());
    }
    output.data_text(
        &json,
        &format!("{line}\n  public:  {}{}", public.public().trim_end(), source.unwrap_or_default()),
    )?;
    Ok(ExitStatus::Done)
}

fn described(repository: &Repository, key: &PublicKey, roles: &[String]) -> (Value, String) {
    let id = keyid_of(key);
    let uri = repository.keys.uri_of(key);
    let place = match (uri, repository.keys.is_encrypted(key)) {
        (Some(uri), Some(false)) => format!("{}, unencrypted", printable(uri)),
        (Some(uri), Some(true)) => printable(uri),
        (Some(uri), None) => format!("{}, which does not exist", printable(uri)),
        (None, _) => "not on this machine".to_string(),
    };
    let serves = if roles.is_empty() { "no role".to_string() } else { shortened(roles) };
    let json = json!({ "keyid": id, "scheme": key.scheme(), "roles": roles, "uri": uri });
    (json, format!("{id} {}\n  signs for: {serves}\n  private:   {place}", key.scheme()))
}

fn shortened(roles: &[String]) -> String {
    match roles.len() {
        0..=8 => roles.join(", "),
        count => format!("{} … ({count} roles)", roles.iter().take(6).cloned().collect::<Vec<_>>().join(", ")),
    }
}

/// Adds the URIs of the private keys in `keys` to `role`, and allows the use of these private keys. Then stores `role`
/// in the configuration under the name `entry`.
pub(super) fn set_keys(
    repository: &mut Repository,
    config: &mut Config,
    entry: &str,
    mut role: RoleConfig,
    keys: &[Resolved],
) -> Result<(), Error> {
    for uri in keys.iter().filter_map(|key| key.uri.clone()) {
        repository.allow_later(&uri);
        if !role.keys.contains(&uri) {
            role.keys.push(uri);
        }
    }
    config.set_role(entry, role);
    Ok(())
}
