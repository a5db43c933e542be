//! The transport for `file://` URLs, which reads a repository in a local directory.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use lastmile_cli_support::text::hide_possible_credentials;
use percent_encoding::percent_decode_str;
use rustix::fs::OFlags;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::net::fetch::{Fetch, FetchError, Response};
use crate::text::printable_path;

/// The number of bytes per read.
const CHUNK_SIZE: usize = 256 * 1024;

/// Fetches `file:///absolute/path` URLs.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileFetch;

impl Fetch for FileFetch {
    fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let paths = paths_of(url);
        Box::pin(async move {
            let (decoded, literal) = paths?;
            match open(&decoded, offset).await {
                Err(FetchError::NotFound) if literal != decoded => open(&literal, offset).await,
                answer => answer,
            }
        })
    }
}

/// Returns the two paths at which the requested file may exist. The first path is percent-decoded, because a web server
/// decodes the path of a URL. The second path is not decoded, because some tools store files under their encoded names.
fn paths_of(url: &str) -> Result<(PathBuf, PathBuf), FetchError> {
    let rest = url.strip_prefix("file://").unwrap_or_default();
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        let message = format!("`{}` does not have the form `file:///absolute/path`", hide_possible_credentials(url));
        return Err(FetchError::Url(message));
    }
    let decoded: Vec<String> = path.split('/').map(decoded_segment).collect();
    Ok((PathBuf::from(decoded.join("/")), PathBuf::from(path)))
}

/// Percent-decodes a path segment, unless the result would contain a separator or be `.` or `..`.
fn decoded_segment(segment: &str) -> String {
    match percent_decode_str(segment).decode_utf8() {
        Ok(text) if text != "." && text != ".." && !text.contains(['/', '\\', '\0']) => text.into_owned(),
        _ => segment.to_owned(),
    }
}

async fn open(path: &Path, offset: u64) -> Result<Response, FetchError> {
    // Without NONBLOCK, opening a FIFO would wait for a writer, and the check for a regular file would not be reached.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path).await;
    let mut file = opened.map_err(|error| FetchError::from_io(&error))?;
    let found = file.metadata().await.map_err(|error| FetchError::from_io(&error))?;
    if !found.is_file() {
        return Err(FetchError::Io(format!("`{}` is not a regular file", printable_path(path))));
    }
    let offset = if offset <= found.len() { offset } else { 0 };
    file.seek(SeekFrom::Start(offset)).await.map_err(|error| FetchError::from_io(&error))?;
    file.set_max_buf_size(CHUNK_SIZE);
    Ok(Response { offset, body: stream::try_unfold(file, next_part).boxed() })
}

async fn next_part(mut file: File) -> Result<Option<(Bytes, File)>, FetchError> {
    let mut part = BytesMut::with_capacity(CHUNK_SIZE);
    let read = file.read_buf(&mut part).await.map_err(|error| FetchError::from_io(&error))?;
    Ok((read > 0).then(|| (part.freeze(), file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(dir: &tempfile::TempDir, name: &str) -> String {
        format!("file://{}/{name}", dir.path().display())
    }

    async fn read(url: &str, offset: u64) -> Result<Vec<u8>, FetchError> {
        let mut response = FileFetch.fetch(url, offset).await?;
        let mut read = Vec::new();
        while let Some(part) = response.body.next().await {
            read.extend_from_slice(&part?);
        }
        Ok(read)
    }

    #[tokio::test]
    async fn a_file_is_read_whole_and_from_an_offset() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a b"), b"hello").unwrap();
        assert_eq!(read(&url(&dir, "a%20b"), 0).await.unwrap(), b"hello");
        assert_eq!(read(&url(&dir, "a%20b"), 3).await.unwrap(), b"lo");
        assert_eq!(FileFetch.fetch(&url(&dir, "a%20b"), 99).await.unwrap().offset, 0);
    }

    #[tokio::test]
    async fn a_file_stored_under_its_encoded_name_is_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("1.a%2Fb.json"), b"{}").unwrap();
        std::fs::write(dir.path().join("1.%C3%A9.json"), b"[]").unwrap();
        assert_eq!(read(&url(&dir, "1.a%2Fb.json"), 0).await.unwrap(), b"{}");
        assert_eq!(read(&url(&dir, "1.%C3%A9.json"), 0).await.unwrap(), b"[]");
    }

    #[tokio::test]
    async fn an_encoded_name_never_leads_to_a_parent_directory() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("m")).unwrap();
        std::fs::write(dir.path().join("secret.json"), b"{}").unwrap();
        assert_eq!(read(&url(&dir, "m/..%2Fsecret.json"), 0).await, Err(FetchError::NotFound));
        assert_eq!(read(&url(&dir, "m/%2e%2e/secret.json"), 0).await, Err(FetchError::NotFound));
    }

    #[tokio::test]
    async fn a_fifo_a_socket_and_a_device_are_errors_and_do_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        for url in [url(&dir, "fifo"), url(&dir, "socket"), "file:///dev/zero".to_owned(), "file:///dev/tty".to_owned()]
        {
            let answer = tokio::time::timeout(std::time::Duration::from_secs(10), read(&url, 0)).await;
            assert!(matches!(answer, Ok(Err(FetchError::Io(_)))), "{url}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn a_missing_file_is_not_found_and_a_directory_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(&url(&dir, "none"), 0).await, Err(FetchError::NotFound));
        assert!(matches!(read(&url(&dir, ""), 0).await, Err(FetchError::Io(_))));
        assert!(matches!(read("file://relative", 0).await, Err(FetchError::Url(_))));
    }
}
