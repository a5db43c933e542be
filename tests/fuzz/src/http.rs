//! The fuzz target for HTTP: the client receives arbitrary bytes as a response, over loopback.

use std::time::Duration;

use lastmile_client::{Fetch, FetchError, HttpFetch, HttpSettings, ProxyChoice};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::time::timeout;

/// The maximum length of a response body, in bytes.
const LIMIT: u64 = 4_096;

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-4/5\r\nContent-Length: 4\r\n\r\nello",
        "HTTP/1.1 301 Moved Permanently\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\u{1f}\u{8b}\u{8}",
        "HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: 9\r\n\r\n(\u{b5}/\u{fd}",
    ];
    seeds.map(|seed| seed.chars().map(|byte| u8::try_from(u32::from(byte)).unwrap()).collect()).to_vec()
}

/// Checks that a request ends soon, either with an error or with at most [`LIMIT`] bytes.
pub(crate) fn http(input: &[u8]) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // The client uses the server as its proxy, so that even a request to another host, after a redirect, goes to
        // this server.
        let proxy = ProxyChoice::Url(format!("http://{address}"));
        let connect_timeout = Duration::from_secs(2);
        let gap_timeout = Duration::from_secs(2);
        let settings = HttpSettings { proxy, connect_timeout, gap_timeout, ..HttpSettings::default() };
        let fetch = HttpFetch::new(&settings).unwrap();
        let client = async {
            let metadata = fetch.fetch_metadata("http://repository.test/1.root.json", LIMIT).await;
            judge(match metadata {
                Ok(answer) => answer.read_all(LIMIT).await,
                Err(error) => Err(error),
            });
            let target = fetch.fetch("http://repository.test/target", 0).await;
            judge(match target {
                Ok(answer) => answer.read_all(LIMIT).await,
                Err(error) => Err(error),
            });
        };
        tokio::select! {
            ended = timeout(Duration::from_secs(60), client) => ended.expect("the request must end within a minute"),
            () = serve(&listener, input) => {}
        }
    });
}

fn judge(answer: Result<Vec<u8>, FetchError>) {
    if let Ok(bytes) = answer {
        assert!(bytes.len() as u64 <= LIMIT, "{} bytes were read", bytes.len());
    }
}

/// Answers every request with the input and closes the connection.
async fn serve(listener: &TcpListener, input: &[u8]) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {}
        // The client may close the connection early.
        let _ = stream.write_all(input).await;
        let _ = stream.shutdown().await;
    }
}
