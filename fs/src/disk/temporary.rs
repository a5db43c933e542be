//! Temporary files without a name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::inject_fault;
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
        inject_fault(Syscall::Write, Place::from(&self.path))?;
        self.file.write_all_at(bytes, position)
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
