//! An HTTP/1.0 server on 127.0.0.1 that serves a [`FakeNetwork`]. The server accepts only `GET` requests, and closes
//! the connection after each response.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use crate::fake_network::{Answer, FakeNetwork, NetworkFault};

/// An HTTP request, as the client sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method, such as `GET`.
    pub method: String,
    /// The request target as the client sent it (percent-encoded), without the leading `/`.
    pub path: String,
    /// The header lines, without line ends.
    pub header: Vec<String>,
}

/// The connection to a client. A [`Responder`] can write any bytes to the connection; [`Server::sent`] counts these
/// bytes too.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    sent: Arc<AtomicU64>,
}

impl Connection {
    /// Waits until the client closes the connection.
    ///
    /// # Errors
    ///
    /// Any I/O error on the connection.
    pub fn wait_for_close(&mut self) -> io::Result<()> {
        io::copy(&mut self.stream, &mut io::sink()).map(drop)
    }

    /// Returns the TCP stream, for example to shut down only one direction.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream().write(bytes)?;
        self.sent.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream().flush()
    }
}

/// A function that answers a request. The function either returns an [`Answer`], which the server then sends, or writes
/// to the [`Connection`] itself and returns `None`.
pub type Responder = dyn Fn(&Request, &mut Connection) -> io::Result<Option<Answer>> + Send + Sync;

/// An HTTP server on 127.0.0.1. The server stops when this value is dropped.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
///
/// use lastmile_testkit::{Repository, Server};
///
/// let repository = Repository::new();
/// let server = Server::start(repository.network());
/// let address = server.url().replace("http://", "").replace('/', "");
/// let mut stream = TcpStream::connect(address).unwrap();
/// stream.write_all(b"GET /metadata/1.root.json HTTP/1.0\r\n\r\n").unwrap();
/// let mut answer = Vec::new();
/// stream.read_to_end(&mut answer).unwrap();
/// assert!(answer.starts_with(b"HTTP/1.0 200 "));
/// assert_eq!(repository.network().requests(), ["metadata/1.root.json"]);
/// ```
pub struct Server {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    acceptor: Option<JoinHandle<()>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.address)
    }
}

impl Server {
    /// Starts a server for `network` on a free port.
    ///
    /// # Panics
    ///
    /// Panics if no port is free.
    #[must_use]
    pub fn start(network: &FakeNetwork) -> Server {
        let network = network.clone();
        Server::answering(move |request| network.answer(&request.path))
    }

    /// Starts an HTTP proxy on a free port. `hosts` maps each host name to the network that answers the requests for
    /// this host. The proxy answers requests for other hosts with status 502.
    ///
    /// # Panics
    ///
    /// Panics if no port is free.
    #[must_use]
    pub fn proxy(hosts: BTreeMap<String, FakeNetwork>) -> Server {
        Server::answering(move |request| {
            let asked = request.path.strip_prefix("http://").and_then(|address| address.split_once('/'));
            match asked.and_then(|(host, path)| Some(hosts.get(host)?.answer(path))) {
                Some(answer) => answer,
                None => Answer::Fault(NetworkFault::Status(502), Vec::new()),
            }
        })
    }

    fn answering(answers: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
        Server::responding(Arc::new(move |request: &Request, _: &mut Connection| Ok(Some(answers(request)))))
    }

    /// Starts a server on a free port. `responder` answers every `GET` request.
    ///
    /// # Panics
    ///
    /// Panics if no port is free.
    #[must_use]
    pub fn responding(responder: Arc<Responder>) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound listener has an address");
        let stopped = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let stop = Arc::clone(&stopped);
        let count = Arc::clone(&sent);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let responder = Arc::clone(&responder);
                let sent = Arc::clone(&count);
                // Ignore errors, because the client may close the connection at any time.
                thread::spawn(move || stream.and_then(|stream| reply(stream, sent, &*responder)));
            }
        });
        Server { address, stopped, sent, acceptor: Some(acceptor) }
    }

    /// Returns the URL of the server's root, which ends in `/`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Returns the number of bytes sent so far, including headers. The system may still buffer some of these bytes.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wake the accepting thread, which then reads `stopped`.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
    }
}

fn reply(stream: TcpStream, sent: Arc<AtomicU64>, responder: &Responder) -> io::Result<()> {
    let mut connection = Connection { stream: BufReader::new(stream), sent };
    let mut line = String::new();
    connection.stream.read_line(&mut line)?;
    let mut words = line.split(' ');
    let method = words.next().unwrap_or("");
    let path = words.next().unwrap_or("/");
    let path = path.strip_prefix('/').unwrap_or(path);
    let mut request = Request { method: method.to_owned(), path: path.to_owned(), header: Vec::new() };
    loop {
        let mut line = String::new();
        if connection.stream.read_line(&mut line)? <= 2 {
            break;
        }
        request.header.push(line.trim_end().to_owned());
    }
    if request.method != "GET" {
        return send(&mut connection, 405, b"GET only");
    }
    match responder(&request, &mut connection)? {
        None => Ok(()),
        Some(Answer::File(bytes) | Answer::Fault(NetworkFault::Body(bytes), _)) => send(&mut connection, 200, &bytes),
        Some(Answer::Absent) => send(&mut connection, 404, b"not here"),
        Some(Answer::Fault(fault, bytes)) => misbehave(&mut connection, &fault, &bytes),
    }
}

fn misbehave(connection: &mut Connection, fault: &NetworkFault, bytes: &[u8]) -> io::Result<()> {
    match fault {
        NetworkFault::Status(status) => send(connection, *status, b"no"),
        NetworkFault::Body(body) => send(connection, 200, body),
        NetworkFault::Reset => Ok(()),
        NetworkFault::Timeout => connection.wait_for_close(),
        NetworkFault::Truncated(kept) => {
            head(connection, 200, Some(bytes.len()))?;
            connection.write_all(&bytes[..(*kept).min(bytes.len())])
        }
        NetworkFault::Endless => {
            head(connection, 200, None)?;
            connection.write_all(bytes)?;
            loop {
                connection.write_all(&[b' '; 4096])?;
            }
        }
    }
}

fn send(connection: &mut Connection, status: u16, body: &[u8]) -> io::Result<()> {
    head(connection, status, Some(body.len()))?;
    connection.write_all(body)
}

fn head(connection: &mut Connection, status: u16, length: Option<usize>) -> io::Result<()> {
    let length = length.map(|length| format!("Content-Length: {length}\r\n")).unwrap_or_default();
    let head = format!(
        "HTTP/1.0 {status} Word\r\nContent-Type: application/octet-stream\r\n{length}Connection: close\r\n\r\n"
    );
    connection.write_all(head.as_bytes())
}
