//! Temporary storage for text that may not fit into memory, such as the metadata of roles to which one command adds
//! many targets.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lastmile_fs::disk::TemporaryFile;

use crate::Error;

/// A temporary file that contains many pieces of text.
#[derive(Debug)]
pub(crate) struct Spool {
    file: TemporaryFile,
    /// The length of the file in bytes, including text that is still being written.
    end: AtomicU64,
}

/// A piece of text in a [`Spool`]. A clone of the value refers to the same text.
#[derive(Clone, Debug)]
pub(crate) struct SpooledText {
    spool: Arc<Spool>,
    start: u64,
    length: usize,
}

impl Spool {
    /// Creates an empty spool on the file system of `folder`.
    pub(crate) fn create_in(folder: &Path) -> Result<Arc<Self>, Error> {
        let file = TemporaryFile::create_in(folder);
        let file = file.map_err(|error| Error::file("create a temporary file in", folder, error))?;
        Ok(Arc::new(Self { file, end: AtomicU64::new(0) }))
    }

    pub(crate) fn add(self: &Arc<Self>, text: &str) -> Result<SpooledText, Error> {
        let start = self.end.fetch_add(text.len() as u64, Ordering::Relaxed);
        let written = self.file.write_all_at(text.as_bytes(), start);
        written.map_err(|error| Error::file("write", self.file.path(), error))?;
        Ok(SpooledText { spool: Arc::clone(self), start, length: text.len() })
    }
}

impl SpooledText {
    pub(crate) fn read(&self) -> Result<String, Error> {
        let file = &self.spool.file;
        let failed = |error| Error::file("read", file.path(), error);
        let mut bytes = vec![0; self.length];
        file.read_exact_at(&mut bytes, self.start).map_err(failed)?;
        String::from_utf8(bytes).map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    pub(crate) fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel;

    #[test]
    fn texts_written_at_the_same_time_are_read_back_separately() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::create_in(folder.path()).unwrap();
        let texts: Vec<String> = (0..100).map(|number| format!("text {number}").repeat(number)).collect();
        let spooled = parallel::try_map(&texts, |text| spool.add(text)).unwrap();
        for (text, spooled) in texts.iter().zip(&spooled) {
            assert_eq!(spooled.read().unwrap(), *text);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
