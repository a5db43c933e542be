//! A destination on a machine that is reached over SSH.
//!
//! The system's `ssh` program makes the connection, so the user's keys, agents, known hosts and
//! jump hosts work as usual. The server needs only SFTP: an account that is restricted to
//! `internal-sftp` suffices.

mod address;
mod files;
mod lock;
mod packets;
mod session;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use lastmile_client::{BaseUrl, BoxFuture, Fetch, FetchError, Response};
use lastmile_metadata::{TargetFile, TargetNames};
use openssh_sftp_client::Error as SftpError;
use percent_encoding::percent_decode_str;

use crate::invocation::LockWait;
use crate::push::Variables;
use crate::push::clock::Clock;
use crate::push::destination::{Destination, Lease, LocalTarget, Object};
use crate::push::lease::{self, LOCK, StoreLease};
use crate::push::ssh::lock::SshLock;
use crate::push::ssh::session::{SILENCE, Session};
use crate::served::transport::Transport;
use crate::{Error, PushError};
pub(crate) use address::Address;

/// The environment variable that names the program to run instead of `ssh`.
const PROGRAM: &str = "LASTMILE_SSH";
/// The folder for files that are being written. It contains one folder for each process.
const WORKING: &str = ".lastmile-push";
/// The modes of new folders. The umask of the server applies.
const FOLDER_MODE: u16 = 0o777;
const WORKING_MODE: u16 = 0o700;
/// The number of attempts to remove the folder of a process that may still be writing to it.
const REMOVALS: usize = 10;

pub(crate) struct Ssh {
    url: BaseUrl,
    address: Address,
    program: OsString,
    lease: Duration,
    /// The connection, which is made when it is first needed. All threads share it, but the lock
    /// has a connection of its own.
    session: Mutex<Option<Arc<Session>>>,
    /// The name of the folder for the files that this process is writing.
    working: String,
    /// The number that is the name of the next file in this folder.
    next: AtomicU64,
}

impl Ssh {
    /// Does not connect.
    pub(crate) fn new(url: &BaseUrl, lease: Duration, variables: Variables<'_>) -> Result<Self, Error> {
        let program = variables(PROGRAM).filter(|program| !program.is_empty()).unwrap_or_else(|| "ssh".to_string());
        Ok(Self {
            url: url.clone(),
            address: Address::parse(url)?,
            program: program.into(),
            lease,
            session: Mutex::new(None),
            working: format!("{WORKING}/{}", lease::random_name()?),
            next: AtomicU64::new(0),
        })
    }

    fn session(&self) -> Result<Arc<Session>, Error> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = &*session {
            return Ok(Arc::clone(session));
        }
        Ok(Arc::clone(session.insert(Arc::new(self.connect()?))))
    }

    fn connect(&self) -> Result<Session, Error> {
        Session::connect(&self.program, &self.address, SILENCE)
    }

    /// Removes the folders of earlier holders of the lock. An earlier holder may still be running, but without its
    /// folder it can no longer change the destination: a holder writes each file to its own folder first, and then
    /// moves the file to the final path. Call this function before reading the state of the destination.
    fn clear_working(&self, session: &Session) -> Result<(), Error> {
        let working = self.address.path(WORKING)?;
        for name in session.list(&working)?.unwrap_or_default() {
            let folder = format!("{working}/{name}");
            let mut removed = Ok(());
            for _ in 0..REMOVALS {
                for file in session.list(&folder)?.unwrap_or_default() {
                    session.remove_file(&format!("{folder}/{file}"))?;
                }
                removed = session.remove_folder(&folder);
                if removed.is_ok() {
                    break;
                }
            }
            removed?;
        }
        Ok(())
    }

    fn working_file(&self) -> Result<String, Error> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.address.path(&format!("{}/{number}", self.working))
    }

    /// Writes a new file from the parts that `write` provides, and renames it to `name` once it is
    /// complete and durable.
    fn write(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let session = self.session()?;
        let path = self.address.path(name)?;
        let new = self.working_file()?;
        let file = session.create_file(&new).map_err(|error| self.failed(&session, &new, &error))?;
        let mut offset = 0;
        let mut buffer = Vec::new();
        let mut send = |buffer: &mut Vec<u8>| {
            let sent = session.run(files::write_at(&file, offset, buffer));
            offset += buffer.len() as u64;
            buffer.clear();
            sent.map_err(|error| session.error("write", &path, &error))
        };
        let written = write(&mut |bytes| {
            buffer.extend_from_slice(bytes);
            if buffer.len() < files::CHUNK_SIZE * files::AHEAD { Ok(()) } else { send(&mut buffer) }
        });
        let written = written.and_then(|()| send(&mut buffer));
        let written = written.and_then(|()| session.finish_file(&path, file));
        let written = written.and_then(|()| self.rename(&session, &new, &path));
        if written.is_err() {
            let _ = session.remove_file(&new);
        }
        written
    }

    /// Renames a new file to its final path. Creates the folder of the final path if it does not exist.
    fn rename(&self, session: &Session, new: &str, path: &str) -> Result<(), Error> {
        let rename = || session.run(session.sftp().fs().rename(new, path));
        let mut renamed = rename();
        if renamed.as_ref().is_err_and(files::is_missing)
            && let Some((parent, _)) = path.rsplit_once('/')
        {
            session.make_folder(parent, FOLDER_MODE)?;
            renamed = rename();
        }
        renamed.map_err(|error| self.failed(session, path, &error))
    }

    /// Returns the error for a file that could not be written. A missing folder shows that the lock
    /// was lost, because only another holder of the lock removes the folder of this process.
    fn failed(&self, session: &Session, path: &str, error: &SftpError) -> Error {
        if files::is_missing(error) {
            return PushError::LeaseLost { url: self.url.clone() }.into();
        }
        session.error("write", path, error)
    }
}

impl Destination for Ssh {
    fn url(&self) -> &BaseUrl {
        &self.url
    }

    fn transport(&self) -> Result<Transport, Error> {
        Ok(Transport::new(SshFetch { session: self.session()?, url: self.url.clone(), address: self.address.clone() }))
    }

    fn lock(&self, wait: &LockWait) -> Result<Box<dyn Lease>, Error> {
        let session = self.session()?;
        if !session.sftp().support_posix_rename() {
            return Err(PushError::NoRename { url: self.url.clone() }.into());
        }
        session.make_folder(self.address.root(), FOLDER_MODE)?;
        let lock = SshLock { session: self.connect()?, url: self.url.clone(), folder: self.address.path(LOCK)? };
        let lease = StoreLease::take(Arc::new(lock), self.lease, wait, Clock::of_system())?;
        self.clear_working(&session)?;
        let (all, own) = (self.address.path(WORKING)?, self.address.path(&self.working)?);
        session.make_folder(&all, WORKING_MODE)?;
        session.make_folder(&own, WORKING_MODE)?;
        let held = SshLease { session, working: [own, all], lease };
        // If another process took the lock before this folder existed, the other process did not remove the folder, so
        // this process could still change the destination. Therefore check that this process still holds the lock.
        held.lease.confirm()?;
        Ok(Box::new(held))
    }

    fn read(&self, name: &str, most: u64) -> Result<Option<Object>, Error> {
        let bytes = self.session()?.read(&self.address.path(name)?, most)?;
        Ok(bytes.map(|bytes| Object { bytes, e_tag: None, version: None }))
    }

    fn length(&self, name: &str) -> Result<Option<u64>, Error> {
        let found = self.session()?.attributes(&self.address.path(name)?)?;
        Ok(found.and_then(|found| found.len()))
    }

    fn has_target(&self, name: &str, target: &TargetFile, names: TargetNames) -> Result<bool, Error> {
        // A name with a hash prefix identifies the content. A plain name does not identify the content. In that case,
        // return false instead of downloading the file to compare its content.
        Ok(names == TargetNames::HashPrefixed && self.length(name)? == Some(target.length))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.write(name, |each| each(bytes))
    }

    fn put_target(&self, name: &str, target: LocalTarget) -> Result<(), Error> {
        self.write(name, |each| target.read(each))
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        let session = self.session()?;
        let (path, old) = (self.address.path(name)?, self.working_file()?);
        // Before removing the file, move it to the folder of this process. If this process has lost
        // the lock, the move fails, because the next holder of the lock has removed that folder.
        let moved = session.run(session.sftp().fs().rename(&path, &old));
        if moved.as_ref().is_err_and(files::is_missing) {
            let is_held = session.attributes(&self.address.path(&self.working)?)?.is_some();
            return if is_held { Ok(()) } else { Err(PushError::LeaseLost { url: self.url.clone() }.into()) };
        }
        moved.map_err(|error| session.error("remove", &path, &error))?;
        session.remove_file(&old)
    }
}

/// The lock, and the folder in which its holder writes new files.
struct SshLease {
    session: Arc<Session>,
    /// The paths of the folder of this process, and of the folder that contains it.
    working: [String; 2],
    lease: StoreLease,
}

impl Lease for SshLease {
    fn check(&self) -> Result<(), Error> {
        self.lease.check()
    }
}

impl Drop for SshLease {
    fn drop(&mut self) {
        // The next holder of the lock also removes these folders, so errors can be ignored. The
        // lock is released after this, when the field `lease` is dropped.
        for folder in &self.working {
            let _ = self.session.remove_folder(folder);
        }
    }
}

struct SshFetch {
    session: Arc<Session>,
    url: BaseUrl,
    address: Address,
}

impl Fetch for SshFetch {
    fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let name = url.strip_prefix(self.url.as_str()).map(|name| percent_decode_str(name).decode_utf8_lossy());
        let path = name.and_then(|name| self.address.path(&name).ok()).ok_or_else(|| FetchError::Url(url.to_string()));
        let session = Arc::clone(&self.session);
        Box::pin(async move {
            let path = path?;
            let opened = async {
                let mut file = session.sftp().open(&path).await?;
                let length = file.metadata().await?.len();
                Ok((file, length.unwrap_or_default()))
            };
            let (file, length) = match session.limit(opened).await {
                Err(error) if files::is_missing(&error) => return Err(FetchError::NotFound),
                opened => opened.map_err(|error| FetchError::Io(session.error("read", &path, &error).to_string()))?,
            };
            let parts = futures_util::stream::iter((offset..length).step_by(files::CHUNK_SIZE));
            let reading = Arc::clone(&session);
            let parts = parts.map(move |at| {
                let count = usize::try_from(length - at).unwrap_or(usize::MAX).min(files::CHUNK_SIZE);
                let (session, file) = (Arc::clone(&reading), file.clone());
                async move { session.limit(files::read_at(file, at, count)).await }
            });
            let cut = move |error| FetchError::Cut(session.error("read", &path, &error).to_string());
            let body = parts.buffered(files::AHEAD).map(move |part| part.map_err(&cut));
            Ok(Response { offset, body: body.boxed() })
        })
    }
}
