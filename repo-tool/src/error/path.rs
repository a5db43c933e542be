//! Errors about files and folders with the wrong type, owner, mode or name.

use std::path::PathBuf;

use lastmile_client::text::printable_path;
use lastmile_fs::Exposure;

use super::unpublishable::{Unpublishable, listed};

/// The reason why a file or folder is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The name is not a single path component.
    #[error("{} is not a valid folder name", printable_path(path))]
    NoFolderName {
        /// The path that ends in the invalid name.
        path: PathBuf,
    },
    /// Something other than a folder has the name of a working folder, such as `.publishing`.
    #[error("{} is not a folder (links are not followed); check what it is, and remove it", printable_path(path))]
    NoWorkingFolder {
        /// The path.
        path: PathBuf,
    },
    /// The path is not a folder.
    #[error("{} is not a folder (links are not followed)", printable_path(path))]
    NoFolder {
        /// The path.
        path: PathBuf,
    },
    /// A file that the tool uses is not a regular file.
    #[error("{} is not a regular file (links are not followed); check what it is, and remove it", printable_path(path))]
    NoRegularFile {
        /// The path.
        path: PathBuf,
    },
    /// A relative path leads out of the repository's folder.
    #[error("{} leads out of the repository", printable_path(path))]
    LeadsOut {
        /// The path.
        path: PathBuf,
    },
    /// A file is outside the repository's folder.
    #[error("{} is not in the repository", printable_path(path))]
    Outside {
        /// The file.
        path: PathBuf,
    },
    /// The tool does not use a file with this path or name.
    #[error("{} is not a file name that lastmile-repo uses", printable_path(path))]
    ForeignName {
        /// The path.
        path: PathBuf,
    },
    /// A file is longer than the limit for its kind.
    #[error("{} has more than {most} bytes, the limit for such a file", printable_path(path))]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        most: u64,
    },
    /// A working folder belongs to another user.
    #[error(
        "{path} belongs to user {owner}, but this command runs as user {user}: run it as user {owner}, or, if that user no \
         longer exists, check the folder and remove it",
        path = printable_path(path)
    )]
    WrongOwner {
        /// The folder.
        path: PathBuf,
        /// The user ID of the folder's owner.
        owner: u32,
        /// The user ID of this process.
        user: u32,
    },
    /// The file that locks the repository belongs to another user.
    #[error(
        "{} belongs to user {owner}, but this command runs as user {user}: run it as user {owner}; if a group shares the \
         repository, set shared-with-group in the configuration of each user; if user {owner} no longer exists, remove the file",
        printable_path(path)
    )]
    WrongLockOwner {
        /// The file.
        path: PathBuf,
        /// The user ID of the file's owner.
        owner: u32,
        /// The user ID of this process.
        user: u32,
    },
    /// A working folder belongs neither to this user nor to the group that shares the repository.
    #[error(
        "{} belongs to user {owner} and group {owner_group}, not to the group {group} that shares the repository: check its \
         content, and remove it or change its group",
        printable_path(path)
    )]
    WrongGroup {
        /// The folder.
        path: PathBuf,
        /// The user ID of the folder's owner.
        owner: u32,
        /// The group ID of the folder.
        owner_group: u32,
        /// The ID of the group that shares the repository.
        group: u32,
    },
    /// A working folder of another user is readable only by that user, and may contain an interrupted publication.
    #[error(
        "only user {owner} can read {}, which may contain an interrupted publication: because the repository is \
         shared, user {owner} must set shared-with-group in their configuration and then run `lastmile-repo renew`; \
         if user {owner} no longer exists, remove the folder and run `lastmile-repo verify`",
        printable_path(path)
    )]
    NotShared {
        /// The folder.
        path: PathBuf,
        /// The user ID of the folder's owner.
        owner: u32,
    },
    /// The permissions of a working folder allow users other than the owner to write to it.
    #[error(
        "{path} is writable by other users (mode {mode:o}): check its content, then run `chmod go-w {path}`",
        path = printable_path(path)
    )]
    WritableByOthers {
        /// The folder.
        path: PathBuf,
        /// The permissions of the folder.
        mode: u32,
    },
    /// The permissions of a working folder allow all users to write to it.
    #[error(
        "{path} is writable by all users (mode {mode:o}): check its content, then run `chmod o-w {path}`",
        path = printable_path(path)
    )]
    WritableByAll {
        /// The folder.
        path: PathBuf,
        /// The permissions of the folder.
        mode: u32,
    },
    /// Other users can change a file that only this user may change, or read a file that must stay secret.
    #[error("cannot rely on {}: {exposure}; {}", printable_path(path), exposure.remedy(&printable_path(path)))]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Which users have access, and whether they can read or change the file.
        exposure: Exposure,
    },
    /// The path is not UTF-8, so the configuration cannot contain it.
    #[error("{} is not UTF-8", printable_path(path))]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// Some of the files cannot become targets, because their names are not allowed or they are not regular files.
    #[error("{}", unpublishable(.files))]
    Unpublishable {
        /// The refused files, each with the reason.
        files: Vec<Unpublishable>,
    },
    /// The folder already contains a repository.
    #[error("{} already exists; create the repository in another folder", printable_path(path))]
    RepositoryExists {
        /// The existing file.
        path: PathBuf,
    },
    /// An earlier command was interrupted while it created the repository. This command finished the creation, so the
    /// repository now exists.
    #[error(
        "{} now exists: an earlier command was interrupted while it created the repository, and this command finished \
         the creation",
        printable_path(path)
    )]
    RepositoryFinished {
        /// The repository's folder.
        path: PathBuf,
    },
    /// The creation of the repository was interrupted. Running `init` again finishes it.
    #[error(
        "the creation of a repository in {} was interrupted; run `lastmile-repo init` there to finish it",
        printable_path(path)
    )]
    RepositoryUnfinished {
        /// The repository's folder.
        path: PathBuf,
    },
    /// The key file already exists, and key files are never replaced.
    #[error("{} already exists, and keys are never replaced: choose another name", printable_path(path))]
    KeyExists {
        /// The existing key file.
        path: PathBuf,
    },
    /// Private keys would be written to a folder that is served.
    #[error(
        "no private key was written: {} is in {}, which is served to everyone; choose another folder",
        printable_path(folder),
        printable_path(served)
    )]
    KeysServed {
        /// The folder for the keys.
        folder: PathBuf,
        /// The folder that is served.
        served: PathBuf,
    },
}

fn unpublishable(files: &[Unpublishable]) -> String {
    let text = match files.len() {
        1 => String::from("nothing was published, because this file cannot be a target:"),
        count => format!("nothing was published, because {count} files cannot be targets:"),
    };
    listed(text, files)
}
