//! A small test server that sends exactly the given bytes over real sockets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An action of the server on a connection. The server closes the connection after the last action.
#[derive(Clone)]
pub(crate) enum ServerAction {
    Send(Vec<u8>),
    /// Sends these bytes repeatedly until the client closes the connection.
    Endless(Vec<u8>),
    /// Sends nothing more, but keeps the connection open.
    Hang,
}

/// The server stops when the runtime of the test ends.
pub(crate) struct Server {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// `answer` receives the complete head of each request, and returns the actions with which the server answers.
    pub(crate) async fn start(answer: impl Fn(&str) -> Vec<ServerAction> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&log), Arc::clone(&answer)));
            }
        });
        Server { url, requests, connections: Arc::default() }
    }

    /// Starts a server that serves `files`, supports ranges, and responds with 404 to requests for other paths.
    pub(crate) async fn of_files(files: Vec<(&'static str, Vec<u8>)>) -> Server {
        Server::start(move |head| {
            let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
            let Some((_, body)) = files.iter().find(|(name, _)| *name == path) else {
                return status("404 Not Found");
            };
            match offset(head) {
                0 => ok(body),
                offset => vec![ServerAction::Send(partial(body, offset))],
            }
        })
        .await
    }

    /// Starts a server that serves `files`, delays each answer by `delay`, and keeps connections open.
    pub(crate) async fn far_away(files: BTreeMap<String, Vec<u8>>, delay: Duration) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = Server { url, requests: Arc::default(), connections: Arc::default() };
        let log = Arc::clone(&server.requests);
        let connections = Arc::clone(&server.connections);
        let files = Arc::new(files);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let log = Arc::clone(&log);
                let files = Arc::clone(&files);
                tokio::spawn(async move {
                    while let Some(head) = read_head(&mut stream).await {
                        let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
                        log.lock().unwrap().push(head);
                        tokio::time::sleep(delay).await;
                        let (status, body) = match files.get(&path) {
                            Some(body) => ("200 OK", body.as_slice()),
                            None => ("404 Not Found", b"<h1>Not Found</h1>".as_slice()),
                        };
                        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
                        if stream.write_all(head.as_bytes()).await.is_err() {
                            return;
                        }
                        // Send the body a little after the head, as distant servers do.
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        if stream.write_all(body).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        server
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Returns the heads of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        let path = |head: &String| head.split(' ').nth(1).unwrap_or_default().to_owned();
        self.requests().iter().map(path).collect()
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Vec<String>>>, answer: Arc<impl Fn(&str) -> Vec<ServerAction>>) {
    let Some(head) = read_head(&mut stream).await else { return };
    log.lock().unwrap().push(head.clone());
    for act in answer(&head) {
        match act {
            ServerAction::Send(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            ServerAction::Endless(bytes) => while stream.write_all(&bytes).await.is_ok() {},
            ServerAction::Hang => std::future::pending().await,
        }
    }
    let _ = stream.shutdown().await;
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// Returns the first byte position of the requested range, or 0 if the request has no range.
pub(crate) fn offset(head: &str) -> usize {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("range: bytes="));
    line.and_then(|line| line[13..].trim_end_matches('-').parse().ok()).unwrap_or(0)
}

pub(crate) fn send(text: impl Into<Vec<u8>>) -> ServerAction {
    ServerAction::Send(text.into())
}

pub(crate) fn status(status: &str) -> Vec<ServerAction> {
    vec![send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))]
}

pub(crate) fn ok(body: &[u8]) -> Vec<ServerAction> {
    vec![ServerAction::Send(reply("200 OK", "", body))]
}

pub(crate) fn partial(body: &[u8], offset: usize) -> Vec<u8> {
    let range = format!("Content-Range: bytes {offset}-{}/{}\r\n", body.len() - 1, body.len());
    reply("206 Partial Content", &range, &body[offset..])
}

pub(crate) fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}
