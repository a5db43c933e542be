//! Opens files that the user names on the command line or in a configuration. These functions accept pipes, and follow
//! links because containers mount secrets as links.
//!
//! Files in a client's store or in a repository are never opened with these functions, because other users may have
//! placed links there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use crate::read_at_most;

/// Opens a regular file, a pipe, or a character device such as `/dev/stdin`. Links are followed. Opening a FIFO waits
/// for a writer.
///
/// # Errors
///
/// Any I/O error; [`io::ErrorKind::IsADirectory`] for a directory, and [`io::ErrorKind::InvalidInput`] for other kinds
/// of files.
pub fn open(path: &Path) -> io::Result<File> {
    let kind = path.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    if !kind.is_file() && !kind.is_fifo() && !kind.is_char_device() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a regular file nor a pipe"));
    }
    File::open(path)
}

/// Reads an open file of at most `max_length` bytes.
///
/// # Errors
///
/// Any I/O error; [`io::ErrorKind::InvalidData`] if the file is empty or too long.
pub fn read(file: File, max_length: u64) -> io::Result<Vec<u8>> {
    let Some(bytes) = read_at_most(file, max_length)? else {
        let problem = format!("the file is longer than the allowed {max_length} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    };
    if bytes.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty"));
    }
    Ok(bytes)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests create the files that they need")]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn read_at(path: &Path) -> io::Result<Vec<u8>> {
        read(open(path)?, 6)
    }

    #[test]
    fn links_are_followed_and_pipes_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        // Kubernetes mounts a secret as a link to a path that contains a second link.
        fs::create_dir(path("..2026")).unwrap();
        fs::write(path("..2026/pass"), b"secret").unwrap();
        symlink("..2026", path("..data")).unwrap();
        symlink("..data/pass", path("pass")).unwrap();
        assert_eq!(read_at(&path("pass")).unwrap(), b"secret");
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), rustix::fs::Mode::RWXU).unwrap();
        let fifo = path("fifo");
        let writer = std::thread::spawn(move || fs::write(fifo, b"piped").unwrap());
        assert_eq!(read_at(&path("fifo")).unwrap(), b"piped");
        writer.join().unwrap();
    }

    #[test]
    fn empty_files_long_files_and_folders_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("empty"), b"").unwrap();
        fs::write(path("long"), b"1234567").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        let failed = |path: &Path| read_at(path).unwrap_err();
        assert_eq!(failed(&path("empty")).to_string(), "it is empty");
        assert_eq!(failed(Path::new("/dev/null")).to_string(), "it is empty");
        assert_eq!(failed(&path("long")).kind(), io::ErrorKind::InvalidData);
        assert_eq!(failed(Path::new("/dev/zero")).kind(), io::ErrorKind::InvalidData);
        assert_eq!(failed(dir.path()).kind(), io::ErrorKind::IsADirectory);
        assert_eq!(failed(&path("socket")).kind(), io::ErrorKind::InvalidInput);
        assert_eq!(failed(&path("none")).kind(), io::ErrorKind::NotFound);
    }
}
