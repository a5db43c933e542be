//! Finds repositories by their metadata URL, and folders by their repository, in the user's configuration.

use std::path::PathBuf;

use lastmile_client::BaseUrl;
use toml_edit::Item;

use super::UserConfig;
use crate::Error;
use crate::root_digest::RootDigest;

impl UserConfig {
    /// Returns the digest that identifies the repository with this metadata URL, or `None` if the configuration does
    /// not contain the URL.
    ///
    /// # Errors
    /// Returns the errors of [`UserConfig::pinned_root`].
    pub fn repository_at(&self, url: &BaseUrl) -> Result<Option<RootDigest>, Error> {
        let document = self.read()?;
        let all = document.get("repositories").and_then(Item::as_table_like);
        for (name, _) in all.into_iter().flat_map(toml_edit::TableLike::iter) {
            let Ok(digest) = name.parse() else { continue };
            if self.metadata_url(digest)?.as_ref() == Some(url) {
                return Ok(Some(digest));
            }
        }
        Ok(None)
    }

    /// Returns the folder that contained this repository when its root was pinned, or `None` if the configuration
    /// contains no folder of this repository.
    ///
    /// # Errors
    /// Returns the errors of [`UserConfig::pinned_root`].
    pub fn folder_of(&self, repository: RootDigest) -> Result<Option<PathBuf>, Error> {
        let document = self.read()?;
        let folders = document.get("folders").and_then(Item::as_table_like);
        for (folder, _) in folders.into_iter().flat_map(toml_edit::TableLike::iter) {
            let folder = PathBuf::from(folder);
            if self.repository_in(&folder)? == Some(repository) {
                return Ok(Some(folder));
            }
        }
        Ok(None)
    }
}
