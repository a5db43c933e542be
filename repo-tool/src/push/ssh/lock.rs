//! The lock on a destination that is reached over SSH.
//!
//! SFTP has no conditional writes, but a client can ask the server to create a file only if no file with this name
//! exists. The lock is therefore a folder with numbered files, and the file with the highest number is the lock object.
//! To replace the lock object in file `N`, a process creates file `N + 1`, which only one process can do. Old files are
//! removed, so a slow process may create a file whose number was already used. The slow process then notices that there
//! is a file with a higher number, and removes its own file.

use lastmile_client::BaseUrl;

use crate::push::destination::{Object, Written};
use crate::push::lease::{LockObject, MAX_LOCK_LENGTH};
use crate::push::ssh::files::write_at;
use crate::push::ssh::session::Session;
use crate::{Error, PushError};

/// The mode of the folder. The umask of the server applies.
const FOLDER_MODE: u16 = 0o777;
/// The number of attempts to read the lock object while other processes keep replacing it.
const READS: usize = 10;

pub(super) struct SshLock {
    /// The lock has its own connection, so that its renewal does not wait behind the data of large files.
    pub(super) session: Session,
    pub(super) url: BaseUrl,
    pub(super) folder: String,
}

impl SshLock {
    fn path(&self, number: u64) -> String {
        format!("{}/{number}", self.folder)
    }

    fn numbers(&self) -> Result<Vec<u64>, Error> {
        let names = self.session.list(&self.folder)?.unwrap_or_default();
        let numbers = names.iter().filter_map(|name| {
            let number: u64 = name.parse().ok()?;
            (number.to_string() == *name).then_some(number)
        });
        Ok(numbers.collect())
    }

    /// Creates the file with this number. The file becomes the lock object, unless a file with a
    /// higher number exists. In that case, the new file is removed.
    fn write(&self, number: u64, bytes: &[u8]) -> Result<Written, Error> {
        let path = self.path(number);
        let file = match self.session.create_file(&path) {
            Ok(file) => file,
            // SFTP has no error code for a file that already exists.
            Err(_) if self.session.attributes(&path)?.is_some() => return Ok(Written::Refused),
            Err(error) => return Err(self.session.error("create", &path, &error)),
        };
        let written = self.session.run(async {
            write_at(&file, 0, bytes).await?;
            file.close().await
        });
        written.map_err(|error| self.session.error("write", &path, &error))?;
        let numbers = self.numbers()?;
        if numbers.iter().any(|other| *other > number) {
            self.session.remove_file(&path)?;
            return Ok(Written::Refused);
        }
        // Keep the previous file. The server may read the folder in several steps, and a process that lists the folder
        // at the same time must see at least one of the two files.
        for old in numbers.into_iter().filter(|old| *old < number.saturating_sub(1)) {
            self.session.remove_file(&self.path(old))?;
        }
        Ok(Written::Done)
    }
}

impl LockObject for SshLock {
    fn url(&self) -> &BaseUrl {
        &self.url
    }

    fn read(&self) -> Result<Option<Object>, Error> {
        for _ in 0..READS {
            let Some(number) = self.numbers()?.into_iter().max() else { return Ok(None) };
            if let Some(bytes) = self.session.read(&self.path(number), MAX_LOCK_LENGTH)? {
                return Ok(Some(Object { bytes, e_tag: Some(number.to_string()), version: None }));
            }
        }
        Err(PushError::Busy { url: self.url.clone() }.into())
    }

    fn create(&self, bytes: &[u8]) -> Result<Written, Error> {
        self.session.make_folder(&self.folder, FOLDER_MODE)?;
        self.write(1, bytes)
    }

    fn replace(&self, bytes: &[u8], expected: &Object) -> Result<Written, Error> {
        let number = expected.e_tag.as_ref().and_then(|number| number.parse::<u64>().ok()?.checked_add(1));
        number.map_or(Ok(Written::Refused), |number| self.write(number, bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::push::ssh::address::Address;
    use crate::push::ssh::session::SILENCE;
    use crate::push::ssh::tests::sftp_server;

    /// Returns `None` if no SFTP server is installed.
    fn lock(folder: &Path) -> Option<SshLock> {
        let program = sftp_server(folder)?;
        let url = BaseUrl::new("ssh://h/a").unwrap();
        let session = Session::connect(program.as_os_str(), &Address::parse(&url).unwrap(), SILENCE).unwrap();
        Some(SshLock { session, url, folder: folder.join("lock").to_str().unwrap().to_string() })
    }

    #[test]
    fn a_slow_process_that_creates_a_removed_number_again_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let Some(lock) = lock(folder.path()) else { return };
        assert!(lock.read().unwrap().is_none());
        assert_eq!(lock.create(b"first").unwrap(), Written::Done);
        let first = lock.read().unwrap().unwrap();
        for content in [b"2", b"3", b"4"] {
            let current = lock.read().unwrap().unwrap();
            assert_eq!(lock.replace(content, &current).unwrap(), Written::Done);
        }
        let mut numbers = lock.numbers().unwrap();
        numbers.sort_unstable();
        assert_eq!(numbers, [3, 4]);
        assert_eq!(lock.create(b"slow").unwrap(), Written::Refused);
        assert_eq!(lock.replace(b"slow", &first).unwrap(), Written::Refused);
        assert_eq!(lock.numbers().unwrap().len(), 2, "a process that is refused must remove its file");
        assert_eq!(lock.read().unwrap().unwrap().bytes, b"4");
    }

    #[test]
    fn only_one_of_several_processes_replaces_the_lock_object() {
        let folder = tempfile::tempdir().unwrap();
        let Some(first) = lock(folder.path()) else { return };
        let locks: Vec<SshLock> = (0..4).filter_map(|_| lock(folder.path())).collect();
        assert_eq!(first.create(b"0").unwrap(), Written::Done);
        for round in 0..20 {
            let current = first.read().unwrap().unwrap();
            let written: Vec<Written> = std::thread::scope(|scope| {
                let replace = |number: usize| locks[number].replace(&[number as u8], &current).unwrap();
                let running: Vec<_> = (0..locks.len()).map(|number| scope.spawn(move || replace(number))).collect();
                running.into_iter().map(|running| running.join().unwrap()).collect()
            });
            let winners: Vec<usize> = (0..written.len()).filter(|at| written[*at] == Written::Done).collect();
            assert_eq!(winners.len(), 1, "round {round}: {written:?}");
            assert_eq!(first.read().unwrap().unwrap().bytes, [winners[0] as u8]);
        }
    }
}
