//! A simulated attacker who controls the server. The attacker serves a modified copy of the repository and may sign it
//! with stolen keys.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use lastmile_keys::{PrivateKey, Signer as _};
use lastmile_metadata::{
    Algorithm, Envelope, Hashes, Key, MetaFile, Role, RoleName, Signature, Snapshot, TargetFile, TargetPath, Targets,
    Timestamp, Version, assemble,
};

use super::copies::copy_folder;
use super::runner::Runner;
use crate::Error;

/// The number that the attacker adds to version numbers.
const VERSION_JUMP: u64 = 1_000_000;

pub(super) struct Attacker {
    folder: PathBuf,
    stolen: Option<Stolen>,
}

struct Stolen {
    snapshot: PrivateKey,
    timestamp: PrivateKey,
}

impl Attacker {
    /// Copies the maintainer's published files into a new folder.
    pub(super) fn copy(runner: &Runner, name: &str) -> Result<Self, Error> {
        let folder = runner.path(&name.replace(' ', "-"));
        for part in ["metadata", "targets"] {
            copy_folder(&runner.path("packages").join(part), &folder.join(part))?;
        }
        Ok(Self { folder, stolen: None })
    }

    pub(super) fn with_stolen_keys(self, runner: &Runner) -> Result<Self, Error> {
        let phrase = read(&runner.path("pass-phrase"))?;
        let steal = |name: &str| {
            let pem = String::from_utf8(read(&runner.path("packages/keys").join(name))?).unwrap_or_default();
            PrivateKey::from_pem(&pem, Some(phrase.trim_ascii())).map_err(|error| Error::key(name, error))
        };
        let stolen = Stolen { snapshot: steal("snapshot-1.pem")?, timestamp: steal("timestamp-1.pem")? };
        Ok(Self { stolen: Some(stolen), ..self })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Replaces the content of the snapshot file with the snapshot of `other`, and keeps the file name.
    pub(super) fn put_snapshot_of(&self, other: &Self) -> Result<(), Error> {
        let old: Timestamp = other.read_metadata(&RoleName::TIMESTAMP, None)?;
        let new: Timestamp = self.read_metadata(&RoleName::TIMESTAMP, None)?;
        let name = |timestamp: &Timestamp| RoleName::SNAPSHOT.file_name(Some(timestamp.snapshot.version));
        let bytes = read(&other.metadata().join(name(&old)))?;
        replace(&self.metadata().join(name(&new)), &bytes)
    }

    pub(super) fn flip_a_bit(&self, package: &str) -> Result<(), Error> {
        let folder = self.folder.join("targets");
        let entries = fs::read_dir(&folder).map_err(|error| Error::file("read", &folder, error))?;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.to_string_lossy().ends_with(package) {
                let mut bytes = read(&path)?;
                if let Some(byte) = bytes.last_mut() {
                    *byte ^= 1;
                }
                replace(&path, &bytes)?;
            }
        }
        Ok(())
    }

    /// Lists a forged package in a new targets file, and updates snapshot and timestamp. The targets file is signed
    /// with the stolen snapshot key, which is not trusted for targets.
    pub(super) fn forge_package(&self) -> Result<(), Error> {
        let Some(keys) = &self.stolen else { return Ok(()) };
        let (timestamp, snapshot) = self.read_online()?;
        let listed = snapshot.meta(&RoleName::TARGETS).map_or(Version::ONE, |file| file.version);
        let mut targets: Targets = self.read_metadata(&RoleName::TARGETS, Some(listed))?;
        let hashes = Hashes::of(b"malware", &[Algorithm::Sha256]);
        if let (Ok(path), Some(hashes)) = (TargetPath::new("malware.crate"), hashes) {
            targets.insert(TargetFile::new(path, 7, hashes));
        }
        targets.version = next(listed);
        self.write_metadata(&RoleName::TARGETS, &targets, &keys.snapshot)?;
        self.write_online(timestamp, snapshot, targets.version, 2 * VERSION_JUMP)
    }

    pub(super) fn inflate_versions(&self) -> Result<(), Error> {
        let (timestamp, snapshot) = self.read_online()?;
        let listed = snapshot.meta(&RoleName::TARGETS).map_or(Version::ONE, |file| file.version);
        self.write_online(timestamp, snapshot, listed, VERSION_JUMP)
    }

    fn read_online(&self) -> Result<(Timestamp, Snapshot), Error> {
        let timestamp: Timestamp = self.read_metadata(&RoleName::TIMESTAMP, None)?;
        let snapshot = self.read_metadata(&RoleName::SNAPSHOT, Some(timestamp.snapshot.version))?;
        Ok((timestamp, snapshot))
    }

    fn write_online(
        &self,
        mut timestamp: Timestamp,
        mut snapshot: Snapshot,
        targets: Version,
        ahead: u64,
    ) -> Result<(), Error> {
        let Some(keys) = &self.stolen else { return Ok(()) };
        let far = |version: Version| Version::new(version.get().saturating_add(ahead)).unwrap_or(version);
        snapshot.version = far(snapshot.version);
        snapshot.expires += TimeDelta::days(3650);
        snapshot.insert(&RoleName::TARGETS, MetaFile::new(targets));
        timestamp.version = far(timestamp.version);
        timestamp.expires += TimeDelta::days(3650);
        timestamp.snapshot = MetaFile::new(snapshot.version);
        self.write_metadata(&RoleName::SNAPSHOT, &snapshot, &keys.snapshot)?;
        self.write_metadata(&RoleName::TIMESTAMP, &timestamp, &keys.timestamp)
    }

    fn metadata(&self) -> PathBuf {
        self.folder.join("metadata")
    }

    fn read_metadata<R: Role>(&self, role: &RoleName, version: Option<Version>) -> Result<R, Error> {
        let file = Envelope::<R>::parse(role, read(&self.metadata().join(role.file_name(version)))?)?;
        Ok(file.unverified(role)?)
    }

    fn write_metadata<R: Role>(&self, role: &RoleName, metadata: &R, key: &PrivateKey) -> Result<(), Error> {
        let signed = metadata.write();
        let sig = key.sign(signed.as_bytes()).map_err(|error| Error::key(role, error))?;
        let signature = Signature::new(Key::from_public(key.public_key()).keyid(), sig);
        let version = (*role != RoleName::TIMESTAMP).then_some(metadata.version);
        replace(&self.metadata().join(role.file_name(version)), &assemble(&signed, &[signature]))
    }
}

fn next(version: Version) -> Version {
    version.next().unwrap_or(version)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| Error::file("read", path, error))
}

/// Writes a new file instead of changing the old one, because the old one may be a hard link to the maintainer's file.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if path.exists() {
        fs::remove_file(path).map_err(|error| Error::file("remove", path, error))?;
    }
    fs::write(path, bytes).map_err(|error| Error::file("write", path, error))
}
