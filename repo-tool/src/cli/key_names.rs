//! The names by which messages refer to keys. They are taken from the signers and from the private and public key files
//! on this machine.

use std::collections::BTreeMap;
use std::path::Path;

use lastmile_client::text::printable;
use lastmile_metadata::KeyId;

use crate::Repository;
use crate::files::links::Links;
use crate::key_store::{keyid_of, read_public_key};

/// The names of known keys, by key ID. The names are only hints, because anyone can create a public key file with any
/// name.
#[derive(Default)]
pub(super) struct KeyNames(BTreeMap<String, String>);

impl KeyNames {
    /// Collects the names of the public key files in the key folder, and of all keys that can sign on this machine.
    pub(super) fn of(repository: &Repository) -> Self {
        let mut names = BTreeMap::new();
        for entry in std::fs::read_dir(repository.layout.keys()).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "pub")
                && let Ok(public) = read_public_key(&path, Links::Refuse)
            {
                names.insert(keyid_of(&public), stem(&path));
            }
        }
        for (public, name) in repository.keys.publics() {
            let name = name.strip_prefix("file:").map_or_else(|| name.clone(), |path| stem(Path::new(path)));
            names.insert(keyid_of(&public), name);
        }
        Self(names)
    }

    /// Returns the name of a key, or the first 8 digits of its ID if the name is unknown.
    pub(super) fn shown(&self, id: &KeyId) -> String {
        let start = KeyId::new(id.as_str().chars().take(8).collect::<String>());
        self.get(id).map_or_else(|| start.to_string(), |name| printable(&name))
    }

    pub(super) fn get(&self, id: &KeyId) -> Option<String> {
        self.0.get(id.as_str()).cloned()
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
