//! Fetches a target through a custom transport: plain HTTP/1.0 over a TCP connection.
//!
//! ```console
//! $ cargo run --example custom_transport -- root.json http://127.0.0.1:8931/ app-1.2.tar.gz
//! 13 bytes
//! ```
//!
//! A transport only transfers bytes. The updater retries, enforces the length limits and verifies the files, so a bug
//! in a transport cannot make the updater accept an untrusted file.

#![expect(clippy::disallowed_methods, reason = "an example is a program and may use the file system directly")]
#![expect(clippy::print_stdout, reason = "an example prints to the terminal")]

use std::io;

use futures_util::stream;
use lastmile_client::{BoxFuture, Bytes, Fetch, FetchError, Response, Updater};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [root, url, name] = args.as_slice() else {
        return Err("usage: custom_transport ROOT URL TARGET".into());
    };
    // No store is set, so trusted metadata is kept in memory only. A real update client must keep trusted metadata
    // between runs.
    let updater = Updater::builder(std::fs::read(root)?)
        .mirror(format!("{url}metadata/"), format!("{url}targets/"))
        .fetch(PlainHttp)
        .build()?;
    let mut session = updater.refresh().await?;
    let target = session.target(name).await?;
    let bytes = session.read(&target).await?;
    println!("{} bytes", bytes.len());
    Ok(())
}

/// A transport that speaks HTTP/1.0 and opens one connection for each file.
struct PlainHttp;

impl Fetch for PlainHttp {
    /// Always returns the file from byte 0, because HTTP/1.0 has no range requests. The offset of the response is
    /// therefore 0.
    fn fetch(&self, url: &str, _offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let url = url.to_owned();
        Box::pin(async move {
            let unusable = || FetchError::Url(url.clone());
            let (host, path) =
                url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).ok_or_else(unusable)?;
            let connected = TcpStream::connect(host).await;
            let mut stream = BufReader::new(connected.map_err(|error| FetchError::Connect(error.to_string()))?);
            let request = format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.map_err(cut)?;
            match status(&mut stream).await? {
                200 => Ok(Response { offset: 0, body: Box::pin(stream::try_unfold(stream, next_part)) }),
                // Return `NotFound` only if the server reports that the file does not exist, not for any other failure.
                404 => Err(FetchError::NotFound),
                status => Err(FetchError::Status(status)),
            }
        })
    }
}

/// The maximum length of a response head in bytes.
const MAX_HEAD: u64 = 16 * 1024;

async fn status(stream: &mut BufReader<TcpStream>) -> Result<u16, FetchError> {
    let mut head = stream.take(MAX_HEAD);
    let mut first = String::new();
    head.read_line(&mut first).await.map_err(cut)?;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if head.read_line(&mut line).await.map_err(cut)? == 0 {
            return Err(FetchError::Cut("the response head is incomplete".to_owned()));
        }
    }
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| FetchError::Cut("the response is not HTTP".to_owned()))
}

/// Returns the next part of the body, or `None` at the end of the body.
async fn next_part(mut stream: BufReader<TcpStream>) -> Result<Option<(Bytes, BufReader<TcpStream>)>, FetchError> {
    let mut part = vec![0; 64 * 1024];
    let read = stream.read(&mut part).await.map_err(cut)?;
    part.truncate(read);
    Ok((read > 0).then(|| (Bytes::from(part), stream)))
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` passes the error by value")]
fn cut(error: io::Error) -> FetchError {
    FetchError::Cut(error.to_string())
}
