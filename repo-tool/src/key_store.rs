//! The keys that can sign on this machine. They are private keys in PEM files, which are read on first use, and signers
//! that the calling program provides.
//!
//! The file `root-1.pub` next to `root-1.pem` contains the public key in the format of TUF metadata. With this file,
//! the tool can identify the key without asking for a pass-phrase, and a maintainer can send the public key to other
//! maintainers. The file is only a hint, because anyone could have created it. Therefore, the tool opens the private
//! key and compares its public key with the file before it signs with the key, publishes it, rotates it or revokes it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind::PermissionDenied;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use lastmile_keys::{KeyMaterial, PemError, PrivateKey, PublicKey, Signer, Zeroizing};
use lastmile_metadata::Key;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::config::{Config, KeyUri};
use crate::files::access;
use crate::files::folder::Folder;
use crate::files::links::{self, Links};
use crate::named_signer::NamedSigner;
use crate::pass_phrases::{NoPassPhrases, PassPhrases};
use crate::{Error, InvalidInput, KeyReason, PathError, cosign_key, key_formats};

/// The maximum length of a key file, in bytes.
const MAX_LENGTH: u64 = 1 << 20;
/// The maximum length of a key's name, which is its file name without the extension.
const MAX_NAME_LENGTH: usize = 240;
/// The maximum length of the stem that [`file_stem`] derives from a role name.
const MAX_STEM: usize = 200;

struct KeyFile {
    name: String,
    path: PathBuf,
    /// Whether to follow symbolic links to the file. See [`links_of`].
    links: Links,
    public: OnceLock<PublicKey>,
    private: Mutex<Option<Arc<PrivateKey>>>,
}

/// The keys that can sign on this machine. They are private key files that `repo.toml` names and that the user has
/// allowed, private key files that the user specifies, and signers that the calling program provides.
///
/// A signer has a name, but no URI. If a signer and a key file have the same key, the store uses the signer.
#[derive(Clone)]
pub struct KeyStore {
    files: Vec<Arc<KeyFile>>,
    signers: Vec<NamedSigner>,
    avoided: Vec<KeyMaterial>,
    phrases: Arc<dyn PassPhrases>,
}

impl KeyStore {
    /// Creates a store with the keys at `uris`. Each file is read only when it is needed.
    pub fn new(repository: &Path, uris: impl IntoIterator<Item = KeyUri>, phrases: Arc<dyn PassPhrases>) -> Self {
        let mut store = Self { files: Vec::new(), signers: Vec::new(), avoided: Vec::new(), phrases };
        for uri in uris {
            store.add(repository, &uri);
        }
        store
    }

    /// Adds a key file.
    pub fn add(&mut self, repository: &Path, uri: &KeyUri) {
        let path = uri.path(repository);
        if self.files.iter().all(|file| file.path != path) {
            let public = OnceLock::new();
            let private = Mutex::new(None);
            let links = links_of(repository, uri);
            self.files.push(Arc::new(KeyFile { name: uri.to_string(), path, links, public, private }));
        }
    }

    /// Adds a key file whose private key is already open.
    pub fn add_open(&mut self, repository: &Path, uri: &KeyUri, key: PrivateKey) {
        let path = uri.path(repository);
        let public = OnceLock::from(key.public_key().clone());
        self.files.retain(|file| file.path != path);
        let private = Mutex::new(Some(Arc::new(key)));
        let links = links_of(repository, uri);
        self.files.push(Arc::new(KeyFile { name: uri.to_string(), path, links, public, private }));
    }

    /// Adds a signer other than a key file, such as a hardware token, a key service or an agent. `name` identifies the
    /// signer in messages. The signer replaces an earlier signer that has the same key.
    ///
    /// The signer is added to this store only. Use [`Invocation::signers`](crate::Invocation::signers) to add a signer
    /// to every repository that the run opens, for example to publish changes for other processes.
    pub fn add_signer(&mut self, name: impl Into<String>, signer: Arc<dyn Signer>) {
        self.add_named(NamedSigner::new(name, signer));
    }

    pub(crate) fn add_named(&mut self, signer: NamedSigner) {
        self.signers.retain(|other| other.public_key() != signer.public_key());
        self.signers.push(signer);
    }

    /// Returns whether the store contains the key file at `uri`.
    #[must_use]
    pub fn contains(&self, uri: &KeyUri) -> bool {
        let name = uri.to_string();
        self.files.iter().any(|file| file.name == name)
    }

    /// Marks a key that is being revoked. The tool signs with such a key only if the threshold cannot be reached
    /// without it.
    pub fn avoid(&mut self, key: &KeyMaterial) {
        self.avoided.push(key.clone());
    }

    /// Returns whether `public` was marked as a key to avoid.
    #[must_use]
    pub fn is_avoided(&self, public: &PublicKey) -> bool {
        self.avoided.contains(&public.into())
    }

    /// Returns whether this store can sign with `public`. Asks for a pass-phrase only if an encrypted key file has no
    /// valid `.pub` file. For a key file, the result is only a hint.
    #[must_use]
    pub fn has(&self, public: &PublicKey) -> bool {
        self.signer_of(public).is_some() || self.file_of(public).is_some()
    }

    /// Returns the URI of the private key file of `public` on this machine, or `None` if there is no such file. The
    /// result is only a hint, as in [`KeyStore::has`].
    #[must_use]
    pub fn uri_of(&self, public: &PublicKey) -> Option<&str> {
        self.file_of(public).map(|file| file.name.as_str())
    }

    /// Returns a name for the key `public` to show in messages. This is the name of its signer or, if there is no
    /// signer, the URI of its key file. The URI is only a hint, as in [`KeyStore::has`].
    #[must_use]
    pub fn name_of(&self, public: &PublicKey) -> Option<&str> {
        self.signer_of(public).map(NamedSigner::name).or_else(|| self.uri_of(public))
    }

    /// Returns the URIs of the private key files that contain the key `public`. Opens each file to confirm that it
    /// contains the key. Ignores signers, and files that cannot be opened.
    #[must_use]
    pub fn confirmed_uris_of(&self, public: &PublicKey) -> Vec<&str> {
        let phrases = self.phrases.as_ref();
        let hinted = self.files.iter().filter(|file| file.public(phrases).as_ref() == Some(public) && file.is_here());
        let confirmed = hinted.filter(|file| file.private(phrases).is_ok_and(|key| key.public_key() == public));
        confirmed.map(|file| file.name.as_str()).collect()
    }

    /// Adds the private key file at `uri`, which the user specified, and opens it. Returns its public key.
    ///
    /// # Errors
    /// Returns an error if the file cannot be opened, or if the `.pub` file next to it contains a different key.
    pub fn open(&mut self, repository: &Path, uri: &KeyUri) -> Result<PublicKey, Error> {
        self.add(repository, uri);
        let path = uri.path(repository);
        let file = self.files.iter().find(|file| file.path == path);
        let file = file.ok_or_else(|| Error::key(uri, KeyReason::Missing))?;
        let public = file.private(self.phrases.as_ref())?.public_key().clone();
        if file.public(self.phrases.as_ref()).as_ref() != Some(&public) {
            return Err(Error::key(&file.name, KeyReason::Replaced));
        }
        Ok(public)
    }

    /// Returns a store that contains only the key files at `uris`, and no signers.
    #[must_use]
    pub fn restricted_to(&self, repository: &Path, uris: &[KeyUri]) -> Self {
        let paths: BTreeSet<PathBuf> = uris.iter().map(|uri| uri.path(repository)).collect();
        let files = self.files.iter().filter(|file| paths.contains(&file.path)).map(Arc::clone);
        let files = files.collect();
        let avoided = self.avoided.clone();
        Self { files, signers: Vec::new(), avoided, phrases: Arc::clone(&self.phrases) }
    }

    /// Returns whether the private key file of `public` is encrypted, or `None` if this machine has no such file or the
    /// file cannot be read.
    #[must_use]
    pub fn is_encrypted(&self, public: &PublicKey) -> Option<bool> {
        let file = self.file_of(public)?;
        let pem = links::read_through(&file.path, file.links, MAX_LENGTH).ok()??;
        let pem = String::from_utf8_lossy(&pem);
        Some(pem.contains("ENCRYPTED PRIVATE KEY") || cosign_key::is_cosign(&pem))
    }

    /// Starts opening the key files of `keys` in the background. Each file is opened in its own thread, because opening
    /// an encrypted key takes a third of a second. Skips keys for which there is a signer.
    pub fn prefetch<'k>(&self, keys: impl IntoIterator<Item = &'k PublicKey>) {
        let keys = keys.into_iter().filter(|key| self.signer_of(key).is_none());
        for file in keys.filter_map(|key| self.file_of(key)) {
            let file = Arc::clone(file);
            let phrases = Arc::clone(&self.phrases);
            // Ignore errors here. If a key cannot be opened, this is reported when the key is used.
            thread::spawn(move || file.private(phrases.as_ref()).map(|_| ()));
        }
    }

    /// Returns a signer for `public`: the signer that the calling program provided or, if there is none, the key in the
    /// private key file. Returns `None` if neither exists.
    ///
    /// # Errors
    /// [`Error::Key`] if the file cannot be opened.
    pub fn signer(&self, public: &PublicKey) -> Result<Option<Arc<dyn Signer>>, Error> {
        match self.signer_of(public) {
            Some(signer) => Ok(Some(Arc::new(signer.clone()))),
            None => self.file_signer(public),
        }
    }

    /// Returns a signer that uses the key file of `public`, never a signer that the program provided.
    /// [`crate::revoke::proof`] uses the returned signer to sign forged files, which a hardware token or key service
    /// should never sign.
    ///
    /// # Errors
    /// Returns the errors of [`KeyStore::signer`].
    pub(crate) fn file_signer(&self, public: &PublicKey) -> Result<Option<Arc<dyn Signer>>, Error> {
        let Some(file) = self.file_of(public) else {
            return Ok(None);
        };
        let private = file.private(self.phrases.as_ref())?;
        if private.public_key() == public {
            Ok(Some(private))
        } else {
            Err(Error::key(&file.name, KeyReason::Replaced))
        }
    }

    /// Returns the public keys of all signers and key files, each with its name or URI. If a signer and a key
    /// file have the same key, returns the file's URI, unlike [`KeyStore::name_of`]. The key of a file is only a hint.
    #[must_use]
    pub fn publics(&self) -> BTreeMap<PublicKey, String> {
        let signers = self.signers.iter().map(|signer| (signer.public_key().clone(), signer.name().to_string()));
        let mut publics: BTreeMap<PublicKey, String> = signers.collect();
        publics.extend(self.file_publics());
        publics
    }

    /// Returns the public keys of the key files, each with its URI. The results are only hints.
    pub(crate) fn file_publics(&self) -> impl Iterator<Item = (PublicKey, String)> {
        self.files.iter().filter_map(|file| Some((file.public(self.phrases.as_ref())?, file.name.clone())))
    }

    fn signer_of(&self, public: &PublicKey) -> Option<&NamedSigner> {
        self.signers.iter().find(|signer| signer.public_key() == public)
    }

    fn file_of(&self, public: &PublicKey) -> Option<&Arc<KeyFile>> {
        let mut fitting = self.files.iter().filter(|file| file.public(self.phrases.as_ref()).as_ref() == Some(public));
        // Skip keys whose private key file was moved to another machine.
        fitting.find(|file| file.is_here())
    }
}

impl KeyFile {
    /// Returns whether the private key is available to this user. If this user cannot read the file, because it belongs
    /// to another maintainer, the key is treated like a key on another machine.
    fn is_here(&self) -> bool {
        let is_of_another =
            || matches!(access::open_regular(&self.path), Err(error) if error.kind() == PermissionDenied);
        let is_readable = self.path.symlink_metadata().is_ok() && !is_of_another();
        is_readable || self.private.lock().is_ok_and(|open| open.is_some())
    }

    /// Returns the public key. Tries the private key file without a pass-phrase, then the `.pub` file, which is only a
    /// hint, and then the private key file with a pass-phrase.
    fn public(&self, phrases: &dyn PassPhrases) -> Option<PublicKey> {
        if let Some(public) = self.public.get() {
            return Some(public.clone());
        }
        let public = match open_private_key(&self.path, &self.name, self.links, &NoPassPhrases) {
            Ok(private) => private.public_key().clone(),
            Err(_) => match read_public_key(&self.path.with_extension("pub"), self.links) {
                Ok(public) => public,
                Err(_) => self.private(phrases).ok()?.public_key().clone(),
            },
        };
        Some(self.public.get_or_init(|| public).clone())
    }

    /// Opens the private key. Returns an error if the `.pub` file contains a different key. In this case, other
    /// maintainers may have received the wrong public key.
    fn private(&self, phrases: &dyn PassPhrases) -> Result<Arc<PrivateKey>, Error> {
        // Hold the lock while the key is opened, so that other threads wait for the key instead of opening it again.
        let mut opened = self.private.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(private) = opened.as_ref() {
            return Ok(Arc::clone(private));
        }
        let private = Arc::new(open_private_key(&self.path, &self.name, self.links, phrases)?);
        let public_file = self.path.with_extension("pub");
        if let Ok(other) = read_public_key(&public_file, self.links)
            && other != *private.public_key()
        {
            let other = shortened(&other);
            let private = shortened(private.public_key());
            return Err(Error::key(
                &self.name,
                KeyReason::OtherPublicKey { path: public_file, beside: other, private },
            ));
        }
        *opened = Some(Arc::clone(&private));
        Ok(private)
    }
}

/// Refuses symbolic links to key files in the repository's folder. Follows links to other key files, because the user
/// has specified or allowed these files.
fn links_of(repository: &Path, uri: &KeyUri) -> Links {
    if uri.is_below(repository) { Links::Refuse } else { Links::Follow }
}

/// Reads a private key file. Asks for the pass-phrase if the key is encrypted.
pub fn open_private_key(path: &Path, name: &str, links: Links, phrases: &dyn PassPhrases) -> Result<PrivateKey, Error> {
    let bytes = links::read_secret(path, links, MAX_LENGTH)?.ok_or_else(|| Error::key(name, KeyReason::Missing))?;
    if let Some(reason) = key_formats::foreign(&bytes, path) {
        return Err(Error::key(name, reason));
    }
    let pem = std::str::from_utf8(&bytes).map_err(|_| Error::key(name, KeyReason::NotPem))?;
    if cosign_key::is_cosign(pem) {
        let sealed = cosign_key::parse(pem).map_err(|error| Error::key(name, error))?;
        return open_with(name, phrases, |phrase| sealed.open(phrase));
    }
    match PrivateKey::from_pem(pem, None) {
        Err(PemError::PassPhraseNeeded) => {}
        other => return other.map_err(|error| Error::key(name, error)),
    }
    open_with(name, phrases, |phrase| PrivateKey::from_pem(pem, Some(phrase)))
}

/// Tries pass-phrases until one of them decrypts the key, or until there are no more pass-phrases.
fn open_with(
    name: &str,
    phrases: &dyn PassPhrases,
    open: impl Fn(&[u8]) -> Result<PrivateKey, PemError>,
) -> Result<PrivateKey, Error> {
    for attempt in 0.. {
        let phrase = phrases.pass_phrase(name, attempt)?;
        match open(&phrase) {
            Err(PemError::WrongPassPhrase) => {}
            other => return other.map_err(|error| Error::key(name, error)),
        }
    }
    Err(Error::key(name, PemError::WrongPassPhrase))
}

/// The protection of a new private key on disk.
#[derive(Clone)]
pub enum Protection {
    /// The private key file is encrypted with this pass-phrase.
    PassPhrase(Zeroizing<Vec<u8>>),
    /// The key is not encrypted, so anyone who can read the file can use the key.
    None,
    /// The key is used only in a dry run and is not written to disk.
    NotWritten,
}

/// Writes `NAME.pem` with mode 0600 and `NAME.pub` with mode 0644 to `folder`. Creates the folder with mode 0700 if it
/// does not exist. Never replaces a file. Writes nothing with [`Protection::NotWritten`].
pub fn write(folder: &Path, name: &str, key: &PrivateKey, protection: &Protection) -> Result<PublicKey, Error> {
    check_name(name)?;
    let pem = match protection {
        Protection::PassPhrase(phrase) => key.to_encrypted_pem(phrase),
        Protection::None => key.to_pem(),
        Protection::NotWritten => return Ok(key.public_key().clone()),
    };
    access::create_private_folder(folder)?;
    let folder = Folder::open_real(folder)?;
    let pem = pem.map_err(|error| Error::key(name, error))?;
    let public_name = format!("{name}.pub");
    // If a private key was moved to another machine, its `.pub` file may still exist. A new key must not get the name
    // of such a key.
    if folder.look(&public_name)?.is_some() {
        let there = folder.path_of(&public_name);
        return Err(PathError::KeyExists { path: there }.into());
    }
    write_new(&folder, &format!("{name}.pem"), pem.as_bytes(), 0o600)?;
    let public = key.public_key().clone();
    write_new(&folder, &public_name, public_key_text(&public).as_bytes(), 0o644)?;
    folder.sync()?;
    Ok(public)
}

/// Refuses key names that are empty, too long, or not simple file names.
///
/// # Errors
/// [`Error::InvalidInput`] if the name is refused.
pub fn check_name(name: &str) -> Result<(), Error> {
    let is_plain = !name.is_empty()
        && name.len() <= MAX_NAME_LENGTH
        && !name.starts_with(['.', '-'])
        && !name.contains(['/', '\\'])
        && !name.chars().any(char::is_control);
    if is_plain { Ok(()) } else { Err(InvalidInput::KeyFileName { name: name.to_string() }.into()) }
}

/// Returns the stem of file names for the keys of `role`. A delegating role can choose any text as the name of `role`.
/// Unsafe bytes are percent-encoded, and a long name is truncated and followed by the hash of the whole name.
#[must_use]
pub fn file_stem(role: &str) -> String {
    let mut stem = String::new();
    for byte in role.bytes() {
        let is_safe = byte.is_ascii_alphanumeric() || byte == b'_' || (matches!(byte, b'.' | b'-') && !stem.is_empty());
        if is_safe { stem.push(char::from(byte)) } else { stem.push_str(&format!("%{byte:02X}")) }
    }
    if stem.len() > MAX_STEM {
        let hash = hex::encode(Sha256::digest(role));
        stem = format!("{}-{}", stem.get(..MAX_STEM / 2).unwrap_or_default(), hash.get(..16).unwrap_or_default());
    }
    stem
}

/// Returns the first of the names `ROLE-1`, `ROLE-2` … that no file in `folder` and no key URI in `config` uses.
#[must_use]
pub fn free_name(folder: &Path, role: &str, config: &Config) -> String {
    let named: BTreeSet<PathBuf> =
        config.key_uris().iter().filter_map(|KeyUri::File(path)| Some(PathBuf::from(path.file_stem()?))).collect();
    let taken = |name: &String| {
        let exists = |end: &str| folder.join(format!("{name}.{end}")).symlink_metadata().is_ok();
        exists("pem") || exists("pub") || named.contains(Path::new(name))
    };
    let stem = file_stem(role);
    #[expect(clippy::expect_used, reason = "no folder has a file for each of 2^64 numbers")]
    (1_u64..).map(|number| format!("{stem}-{number}")).find(|name| !taken(name)).expect("one of 2^64 names is free")
}

/// Returns the public key in the format of TUF metadata, on one line.
#[must_use]
pub fn public_key_text(key: &PublicKey) -> String {
    let object = json!({
        "keytype": key.keytype(), "scheme": key.scheme(), "keyval": { "public": key.public() },
    });
    format!("{object}\n")
}

/// Reads a public key file. The format is determined from its content: JSON in the format of TUF metadata or
/// securesystemslib, PEM, an X.509 certificate in PEM, or an OpenSSH public key line.
pub fn read_public_key(path: &Path, links: Links) -> Result<PublicKey, Error> {
    let name = path.to_string_lossy();
    let bytes = links::read_through(path, links, MAX_LENGTH)?;
    let bytes = bytes.ok_or_else(|| Error::key(name.to_string(), KeyReason::Missing))?;
    let text = String::from_utf8(bytes).map_err(|_| Error::key(name.to_string(), KeyReason::NotText))?;
    parse_public_key(&text).map_err(|reason| Error::key(name.to_string(), reason))
}

/// Returns whether the file at `path` contains a private key in PEM, regardless of the name of the file.
pub(crate) fn is_private_key(path: &Path) -> Result<bool, Error> {
    let bytes = Zeroizing::new(links::read_through(path, Links::Follow, MAX_LENGTH)?.unwrap_or_default());
    Ok(String::from_utf8_lossy(&bytes).contains("PRIVATE KEY-----"))
}

fn parse_public_key(text: &str) -> Result<PublicKey, KeyReason> {
    if !text.trim_start().starts_with('{') {
        return Ok(PublicKey::from_text(text)?);
    }
    let object: Value = serde_json::from_str(text).map_err(|_| KeyReason::NoJson)?;
    let member = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(ToString::to_string);
    let public = object.get("keyval").and_then(|keyval| member(keyval, "public"));
    match (member(&object, "keytype"), member(&object, "scheme"), public) {
        (Some(keytype), Some(scheme), Some(public)) => Ok(PublicKey::from_tuf(&keytype, &scheme, &public)?),
        _ => Err(KeyReason::IncompletePublicKey),
    }
}

/// Returns the key ID, which is the SHA-256 of the canonical form of the key.
#[must_use]
pub fn keyid_of(key: &PublicKey) -> String {
    Key::from_public(key).keyid().as_str().to_string()
}

fn shortened(key: &PublicKey) -> String {
    keyid_of(key).chars().take(8).collect()
}

fn write_new(folder: &Folder, name: &str, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let mut file = folder.create(name, mode)?;
    let written = file.write_all(bytes).and_then(|()| file.sync());
    written.map_err(|error| Error::file("write", &folder.path_of(name), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_role_name_makes_a_path_outside_the_key_folder() {
        let long = "é".repeat(300);
        let names =
            ["../metadata/x", "a/b", "..", ".", ".x", "-x", "", "\\", "a\0b", "\n", "é", "%2F", "a b", "~", &long];
        let mut seen = BTreeSet::new();
        for name in names {
            let stem = file_stem(name);
            check_name(&format!("{stem}-1"))
                .or_else(|error| if name.is_empty() { Ok(()) } else { Err(error) })
                .unwrap();
            assert!(stem.len() <= MAX_STEM && seen.insert(stem.clone()), "{name:?}: {stem}");
        }
        assert_eq!(file_stem("../a"), "%2E.%2Fa");
        assert_eq!(file_stem("team-1.x_y"), "team-1.x_y");
    }
}
