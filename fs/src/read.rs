//! Reads files up to a maximum length.

use std::fs::File;
use std::io::{self, Read as _};

/// Reads an open file of at most `max_length` bytes. Returns `None` if the file is longer.
///
/// # Errors
///
/// Any I/O error.
pub fn read_at_most(file: File, max_length: u64) -> io::Result<Option<Vec<u8>>> {
    // The length of a pipe or a device is reported as 0.
    let length = file.metadata()?.len();
    if length > max_length {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    bytes.reserve_exact(usize::try_from(length).unwrap_or_default().saturating_add(1));
    // Read one more byte than allowed, to detect that the file is longer.
    file.take(max_length.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= max_length))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests create the files that they need")]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn read(path: &Path) -> Option<Vec<u8>> {
        read_at_most(File::open(path).unwrap(), 6).unwrap()
    }

    #[test]
    fn a_file_of_the_maximum_length_is_read_and_a_longer_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for (content, expected) in [("", Some(&b""[..])), ("123456", Some(b"123456")), ("1234567", None)] {
            fs::write(&path, content).unwrap();
            assert_eq!(read(&path).as_deref(), expected, "{content}");
        }
        assert_eq!(read(Path::new("/dev/null")).as_deref(), Some(&b""[..]));
        assert_eq!(read(Path::new("/dev/zero")), None);
    }
}
