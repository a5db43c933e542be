//! Temporary files without a name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::inject_fault;
#[cfg(feature = "faults")]
use crate::faults;
use crate::{Place, Syscall};

/// A temporary file without a name. Other users cannot open the file, and its disk space is freed when the file is
/// closed.
#[derive(Debug)]
pub struct TemporaryFile {
    file: File,
    /// The path that error messages show for the file.
    path: PathBuf,
}

impl TemporaryFile {
    /// Creates an empty file on the file system of `folder`.
    ///
    /// # Errors
    ///
    /// Any I/O error.
    pub fn create_in(folder: &Path) -> io::Result<TemporaryFile> {
        let path = folder.join("(temporary file)");
        inject_fault(Syscall::Create, Place::from(&path))?;
        Ok(TemporaryFile { file: tempfile::tempfile_in(folder)?, path })
    }

    /// Writes bytes at a position. Several threads may write at the same time.
    ///
    /// # Errors
    ///
    /// Any I/O error. Some of the bytes may have been written before the error occurred.
    pub fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let injected = inject_fault(Syscall::Write, Place::from(&self.path));
        #[cfg(feature = "faults")]
        faults::write_torn(&injected, bytes, |half| self.file.write_all_at(half, position));
        injected?;
        self.file.write_all_at(bytes, position)?;
        #[cfg(feature = "faults")]
        faults::wrote(&self.path, &self.file);
        Ok(())
    }

    /// Reads bytes at a position.
    ///
    /// # Errors
    ///
    /// Any I/O error. [`io::ErrorKind::UnexpectedEof`] if the file ends too early.
    pub fn read_exact_at(&self, bytes: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, position)
    }

    /// Returns the path that error messages show for the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the file for reading.
    pub fn into_file(self) -> File {
        self.file
    }
}

#[cfg(test)]
#[cfg(feature = "faults")]
mod tests {
    use super::*;
    use crate::faults::{Fault, arm};

    /// Creates a temporary file (call 0), and writes `abcd` (call 1) and `efgh` (call 2). The fault occurs at call
    /// `at`. Returns the content of the file after the first error.
    fn content_after(fault: Fault, at: usize) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let armed = arm(folder.path(), at, fault);
        let file = TemporaryFile::create_in(folder.path()).unwrap();
        let written = file.write_all_at(b"abcd", 0).and_then(|()| file.write_all_at(b"efgh", 4));
        assert_eq!((written.is_ok(), armed.has_struck()), (false, true));
        let mut bytes = vec![0; usize::try_from(file.file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn faults_tear_and_lose_writes() {
        let full = rustix::io::Errno::NOSPC.raw_os_error();
        for (fault, first, second) in [
            (Fault::Die, "", "abcd"),
            (Fault::Torn, "ab", "abcdef"),
            (Fault::Once(full), "ab", "abcdef"),
            (Fault::FromNowOn(full), "ab", "abcdef"),
            (Fault::Power, "", "ab"),
        ] {
            let found = [1, 2].map(|at| String::from_utf8(content_after(fault, at)).unwrap());
            assert_eq!(found, [first, second], "{fault:?}");
        }
    }
}
