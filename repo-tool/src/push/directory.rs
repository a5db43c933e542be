//! A destination in the file system: the folder of a web server, or a checkout of a website.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lastmile_client::BaseUrl;
use lastmile_fs::disk::{self, NewFile};
use lastmile_metadata::{TargetFile, TargetNames};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::files::access;
use crate::files::folder::Folder;
use crate::files::sharing::Sharing;
use crate::invocation::LockWait;
use crate::names;
use crate::push::destination::{Destination, Lease, LocalTarget, Object};
use crate::served::transport::Transport;
use crate::{Error, PathError, PushError};

const LOCK: &str = ".lastmile-lock";
/// The folder for files that are being written.
const WORKING: &str = ".lastmile-push";
/// The time between two attempts to take the lock.
const PAUSE: Duration = Duration::from_millis(50);
/// The mode of new folders. The umask applies.
const FOLDER_MODE: u32 = 0o777;
/// The mode of new files. The umask applies.
const FILE_MODE: u32 = 0o666;
/// The characters that are not encoded in the path of a `file` URL.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    url: BaseUrl,
    /// The number in the name of the next file in the working folder.
    next: AtomicU64,
}

impl Directory {
    /// `path` must be absolute. The folder need not exist.
    pub(crate) fn new(path: &Path) -> Result<Self, Error> {
        let text = path.to_str().ok_or_else(|| PathError::NotUtf8 { path: path.to_path_buf() })?;
        let encoded = utf8_percent_encode(text, PLAIN);
        let url = BaseUrl::new(&format!("file://{encoded}")).map_err(PushError::from)?;
        Ok(Self { path: path.to_path_buf(), url, next: AtomicU64::new(0) })
    }

    /// `url` must be a `file` URL.
    pub(crate) fn at(url: &BaseUrl) -> Result<Self, Error> {
        let path = url.as_str().strip_prefix("file://").unwrap_or_default();
        let path = path.strip_prefix("localhost").unwrap_or(path);
        let decoded = percent_decode_str(path).decode_utf8();
        let decoded = decoded.map_err(|_| PathError::NotUtf8 { path: PathBuf::from(path) })?;
        Self::new(Path::new(&*decoded))
    }

    /// Returns `None` if the folder does not exist.
    fn open(&self) -> Result<Option<Folder>, Error> {
        match Folder::open(&self.path) {
            Err(Error::File { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Opens the folder that contains the object `name`. Returns `None` if this folder does not
    /// exist.
    fn find(&self, name: &str) -> Result<Option<Folder>, Error> {
        let Some(folder) = self.open()? else { return Ok(None) };
        folder.find(Path::new(name).parent().unwrap_or(Path::new("")))
    }

    /// Opens the folder that contains the object `name`. Creates this folder if it does not exist.
    fn make(&self, name: &str) -> Result<Folder, Error> {
        let parent = Path::new(name).parent().unwrap_or(Path::new(""));
        Folder::open(&self.path)?.descend(parent, FOLDER_MODE, Sharing::Private)
    }

    /// Writes a new file with `write`, and renames it to `name` once it is complete and durable.
    fn write(&self, name: &str, write: impl FnOnce(&mut NewFile) -> Result<(), Error>) -> Result<(), Error> {
        let working = Folder::open(&self.path)?.enter_or_make(WORKING, 0o700, Sharing::Private)?;
        working.check_ours()?;
        let new = format!("new-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let goal = self.make(name)?;
        let goal_name = names::of_file(Path::new(name))?;
        let path = goal.path_of(goal_name);
        let mut file = working.create(&new, FILE_MODE)?;
        let written = write(&mut file).and_then(|()| {
            file.sync().map_err(|error| Error::file("sync", &path, error))?;
            let replaced = disk::replace(working.place(&new), goal.place(goal_name));
            replaced.map_err(|error| Error::file("write", &path, error))
        });
        if written.is_err() {
            let _ = disk::remove(working.place(&new));
        }
        written?;
        goal.sync()
    }
}

impl Destination for Directory {
    fn url(&self) -> &BaseUrl {
        &self.url
    }

    fn transport(&self) -> Result<Transport, Error> {
        Transport::by_scheme()
    }

    fn lock(&self, wait: &LockWait) -> Result<Box<dyn Lease>, Error> {
        let made = disk::make_folders_of_owner(&self.path, FOLDER_MODE);
        made.map_err(|error| Error::file("create", &self.path, error))?;
        let folder = Folder::open(&self.path)?;
        let start = Instant::now();
        let mut has_waited = false;
        loop {
            let taken = disk::try_lock_at(folder.place(LOCK), disk::lock_file_of_owner);
            if let Some(file) = taken.map_err(|error| Error::file("lock", &folder.path_of(LOCK), error))? {
                if let Some(working) = folder.enter(WORKING)? {
                    working.check_ours()?;
                    working.clear()?;
                }
                return Ok(Box::new(FileLock { folder, _file: file }));
            }
            if start.elapsed() >= wait.at_most {
                return Err(PushError::Busy { url: self.url.clone() }.into());
            }
            if !has_waited {
                has_waited = true;
                (wait.on_wait)();
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn read(&self, name: &str, most: u64) -> Result<Option<Object>, Error> {
        let Some(folder) = self.find(name)? else { return Ok(None) };
        let bytes = folder.read(names::of_file(Path::new(name))?, most)?;
        Ok(bytes.map(|bytes| Object { bytes, e_tag: None, version: None }))
    }

    fn length(&self, name: &str) -> Result<Option<u64>, Error> {
        let Some(folder) = self.find(name)? else { return Ok(None) };
        let path = folder.path_of(names::of_file(Path::new(name))?);
        match access::open_regular(&path).and_then(|file| file.metadata()) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("look at", &path, error)),
        }
    }

    fn has_target(&self, name: &str, target: &TargetFile, _: TargetNames) -> Result<bool, Error> {
        if self.length(name)? != Some(target.length) {
            return Ok(false);
        }
        let Some(folder) = self.find(name)? else { return Ok(false) };
        let mut verifier = target.verifier();
        let mut is_target = true;
        folder.digest(names::of_file(Path::new(name))?, |bytes| {
            is_target = is_target && verifier.update(bytes).is_ok();
        })?;
        Ok(is_target && verifier.finish().is_ok())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path.join(name);
        self.write(name, |file| file.write_all(bytes).map_err(|error| Error::file("write", &path, error)))
    }

    fn put_target(&self, name: &str, target: LocalTarget) -> Result<(), Error> {
        let path = self.path.join(name);
        self.write(name, |file| {
            target.read(|bytes| file.write_all(bytes).map_err(|error| Error::file("write", &path, error)))
        })
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let Some(folder) = self.find(name)? else { return Ok(()) };
        match disk::remove(folder.place(names::of_file(Path::new(name))?)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::file("remove", &self.path.join(name), error))
            }
            _ => folder.sync(),
        }
    }
}

/// The lock on a folder. The operating system releases it when the process ends.
struct FileLock {
    folder: Folder,
    _file: std::fs::File,
}

impl Lease for FileLock {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Errors can be ignored, because the next holder of the lock also removes these entries. A process that has
        // already opened the lock file notices that the file was removed, and opens the new one.
        let _ = disk::remove_all(self.folder.place(WORKING));
        let _ = disk::remove(self.folder.place(LOCK));
    }
}
