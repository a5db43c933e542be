//! Operations on files and folders over SFTP.

use std::io::SeekFrom;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use openssh_sftp_client::Error as SftpError;
use openssh_sftp_client::error::SftpErrorKind;
use openssh_sftp_client::file::File;
use openssh_sftp_client::metadata::{MetaData, Permissions};
use tokio::io::AsyncSeekExt as _;

use crate::push::ssh::session::{Session, invalid};
use crate::{Error, PathError};

/// The maximum number of bytes of a file in one request.
pub(super) const CHUNK_SIZE: usize = 128 * 1024;
/// The maximum number of requests for one file that wait for a reply at the same time.
pub(super) const AHEAD: usize = 16;
/// The maximum number of names that the server may list for one folder.
const MAX_NAMES: usize = 10_000;

/// Returns whether the error means that the file, or a folder in its path, does not exist.
pub(super) fn is_missing(error: &SftpError) -> bool {
    matches!(error, SftpError::SftpError(SftpErrorKind::NoSuchFile, _))
}

/// Converts the error for a missing file to `None`.
fn if_there<T>(result: Result<T, SftpError>) -> Result<Option<T>, SftpError> {
    match result {
        Err(error) if is_missing(&error) => Ok(None),
        result => result.map(Some),
    }
}

impl Session {
    /// Returns the attributes of a file or folder, or `None` if it does not exist. Follows symbolic links. The server
    /// decides which files its users can reach, so this program need not check where a link leads.
    pub(super) fn attributes(&self, path: &str) -> Result<Option<MetaData>, Error> {
        let found = if_there(self.run(self.sftp().fs().metadata(path)));
        found.map_err(|error| self.error("look at", path, &error))
    }

    /// Reads a file. Returns `None` if the file does not exist, and fails if the file is longer than `most` bytes.
    pub(super) fn read(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>, Error> {
        let read = self.run(async {
            let mut file = self.sftp().open(path).await?;
            let mut content = Vec::new();
            while content.len() as u64 <= most
                && let Some(part) = read_part(&mut file, content.len() as u64, CHUNK_SIZE).await?
            {
                content.extend_from_slice(&part);
            }
            Ok(content)
        });
        match if_there(read).map_err(|error| self.error("read", path, &error))? {
            Some(content) if content.len() as u64 > most => Err(PathError::TooLong { path: path.into(), most }.into()),
            content => Ok(content),
        }
    }

    /// Returns the names in a folder, or `None` if it does not exist.
    pub(super) fn list(&self, path: &str) -> Result<Option<Vec<String>>, Error> {
        let listed = self.run(async {
            let mut names = Vec::new();
            let mut entries = Box::pin(self.sftp().fs().open_dir(path).await?.read_dir());
            while let Some(entry) = entries.next().await {
                if names.len() == MAX_NAMES {
                    return Err(invalid("the server lists more than 10000 names"));
                }
                names.push(entry?.filename().to_string_lossy().into_owned());
            }
            Ok(names)
        });
        let names = if_there(listed).map_err(|error| self.error("list", path, &error))?;
        Ok(names.map(|names| names.into_iter().filter(|name| !matches!(name.as_str(), "." | "..")).collect()))
    }

    /// Creates a folder, and the folders above it, unless they exist. The server's umask applies to `mode`.
    pub(super) fn make_folder(&self, path: &str, mode: u16) -> Result<(), Error> {
        let make = || self.run(self.sftp().fs().dir_builder().permissions(Permissions::from(mode)).create(path));
        let mut made = make();
        if made.as_ref().is_err_and(is_missing)
            && let Some((parent, _)) = path.rsplit_once('/')
        {
            self.make_folder(parent, mode)?;
            made = make();
        }
        let Err(error) = made else { return Ok(()) };
        // SFTP has no error code for a folder that already exists.
        let is_folder = |found: MetaData| found.file_type().is_some_and(|kind| kind.is_dir());
        if self.attributes(path)?.is_some_and(is_folder) {
            return Ok(());
        }
        Err(self.error("create", path, &error))
    }

    /// Fails if a file or folder with this name exists.
    pub(super) fn create_file(&self, path: &str) -> Result<File, SftpError> {
        self.run(self.sftp().options().write(true).create_new(true).open(path))
    }

    /// Makes the content of a file durable if the server supports this, and closes the file.
    pub(super) fn finish_file(&self, path: &str, mut file: File) -> Result<(), Error> {
        let finished = self.run(async {
            if self.sftp().support_fsync() {
                file.sync_all().await?;
            }
            file.close().await
        });
        finished.map_err(|error| self.error("sync", path, &error))
    }

    /// Removes a file if it exists.
    pub(super) fn remove_file(&self, path: &str) -> Result<(), Error> {
        let removed = if_there(self.run(self.sftp().fs().remove_file(path)));
        removed.map(drop).map_err(|error| self.error("remove", path, &error))
    }

    /// Removes an empty folder if it exists.
    pub(super) fn remove_folder(&self, path: &str) -> Result<(), Error> {
        let removed = if_there(self.run(self.sftp().fs().remove_dir(path)));
        removed.map(drop).map_err(|error| self.error("remove", path, &error))
    }
}

/// Sends several requests before the first reply arrives.
pub(super) async fn write_at(file: &File, offset: u64, bytes: &[u8]) -> Result<(), SftpError> {
    let parts = bytes.chunks(CHUNK_SIZE).zip((offset..).step_by(CHUNK_SIZE));
    let written = parts.map(|(part, offset)| {
        let mut file = file.clone();
        async move {
            file.seek(SeekFrom::Start(offset)).await?;
            let mut rest = part;
            while !rest.is_empty() {
                // The server may limit the length of a write.
                let count = file.write(rest).await?;
                if count == 0 {
                    return Err(invalid("the server limits writes to 0 bytes"));
                }
                rest = rest.get(count..).unwrap_or_default();
            }
            Ok(())
        }
    });
    join_all(written).await.into_iter().collect()
}

/// Fails if the file has fewer than `count` bytes from `offset` on.
pub(super) async fn read_at(mut file: File, offset: u64, count: usize) -> Result<Bytes, SftpError> {
    let mut bytes = BytesMut::with_capacity(count);
    while bytes.len() < count {
        let part = read_part(&mut file, offset + bytes.len() as u64, count - bytes.len()).await?;
        bytes.extend_from_slice(&part.ok_or_else(|| invalid("the file became shorter"))?);
    }
    Ok(bytes.freeze())
}

/// Reads 1 to `most` bytes at `offset`, or returns `None` at the end of the file.
async fn read_part(file: &mut File, offset: u64, most: usize) -> Result<Option<BytesMut>, SftpError> {
    file.seek(SeekFrom::Start(offset)).await?;
    let part = file.read(u32::try_from(most).unwrap_or(u32::MAX), BytesMut::new()).await?;
    match &part {
        Some(part) if part.is_empty() => Err(invalid("the server sent an empty part of the file")),
        Some(part) if part.len() > most => Err(invalid("the server sent more of the file than requested")),
        _ => Ok(part),
    }
}
