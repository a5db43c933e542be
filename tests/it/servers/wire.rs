//! Raw HTTP requests, which show the exact response of a server, and a proxy that breaks one connection.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters to percent-encode in a URL path: all except ASCII letters, digits and `-._~/`.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The time limit for a response.
const TIMEOUT: Option<Duration> = Some(Duration::from_secs(30));

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// Returns the value of the header with the lower-case name `name`, or an empty string if the header is missing.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Returns the percent-encoded URL path of a file, with a leading `/`.
pub(super) fn encoded(file: &str) -> String {
    format!("/{}", utf8_percent_encode(file, IN_PATH))
}

/// Requests `path` exactly as given, with the header lines `headers`.
pub(crate) fn get(port: u16, path: &str, headers: &[&str]) -> Reply {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(TIMEOUT).unwrap();
    let lines = headers.iter().map(|line| format!("{line}\r\n")).collect::<String>();
    let host = format!("Host: 127.0.0.1:{port}");
    let request = format!("GET {path} HTTP/1.1\r\n{host}\r\nConnection: close\r\n{lines}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    reply(&answer)
}

fn reply(answer: &[u8]) -> Reply {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a response must have a header");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let (first, lines) = head.split_once("\r\n").unwrap();
    let headers = lines.split("\r\n").map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_lowercase(), value.trim().to_owned())
    });
    let status = first.split(' ').nth(1).unwrap().parse().unwrap();
    let mut reply = Reply { status, headers: headers.collect(), body: answer[end + 4..].to_vec() };
    if reply.header("transfer-encoding") == "chunked" {
        reply.body = joined(&reply.body);
    }
    reply
}

/// Decodes the chunked transfer coding (RFC 9112, 7.1).
fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|two| two == b"\r\n").unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&chunks[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return body;
        }
        let start = end + 2;
        body.extend_from_slice(&chunks[start..start + length]);
        chunks = &chunks[start + length + 2..];
    }
}

/// Starts a proxy to `port` that closes the first connection on which the server sends more than `bytes` bytes. Returns
/// the port of the proxy.
pub(super) fn proxy_that_breaks_once(port: u16, bytes: u64) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let has_broken = Arc::new(AtomicBool::new(false));
    // The thread ends when the test process ends.
    thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let mut asked = client.try_clone().unwrap();
            let mut asks = server.try_clone().unwrap();
            thread::spawn(move || drop(io::copy(&mut asked, &mut asks)));
            let has_broken = Arc::clone(&has_broken);
            thread::spawn(move || carry(server, client, bytes, &has_broken));
        }
    });
    own
}

/// Forwards responses until the server or the client closes the connection. If no connection has been broken yet,
/// closes this one after `bytes` bytes.
fn carry(server: TcpStream, mut client: TcpStream, bytes: u64, has_broken: &AtomicBool) {
    let limit = if has_broken.load(Ordering::SeqCst) { u64::MAX } else { bytes };
    let carried = io::copy(&mut server.take(limit), &mut client).unwrap_or(0);
    has_broken.fetch_or(carried == limit, Ordering::SeqCst);
    drop(client.shutdown(Shutdown::Both));
}
