//! A small server on loopback: HTTP/1.0, closing after each reply, GET only, names taken as they were sent.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use crate::road::{Answer, Fault, Road};

/// A request as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET` and the like.
    pub method: String,
    /// What stands behind the method, as it was sent, without a first `/`.
    pub path: String,
    /// The lines of the header, without their ends.
    pub header: Vec<String>,
}

/// The connection on which a reply is written. What is written is counted by the server.
#[derive(Debug)]
pub struct Wire {
    stream: BufReader<TcpStream>,
    sent: Arc<AtomicU64>,
}

impl Wire {
    /// Waits until the client closes the connection.
    ///
    /// # Errors
    ///
    /// When it breaks instead.
    pub fn wait_for_the_end(&mut self) -> io::Result<()> {
        io::copy(&mut self.stream, &mut io::sink()).map(drop)
    }

    /// The connection itself, for what no method here does: to be reset, or half closed.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream().write(bytes)?;
        self.sent.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream().flush()
    }
}

/// Answers a request on the wire, byte by byte as it likes; or gives the answer, which the server then writes.
pub type Responder = dyn Fn(&Request, &mut Wire) -> io::Result<Option<Answer>> + Send + Sync;

/// Serves a [`Road`] until it is dropped.
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
    /// Serves `road` on a free port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When no port can be had.
    #[must_use]
    pub fn start(road: &Road) -> Server {
        let road = road.clone();
        Server::answering(move |request| road.answer(&request.path))
    }

    /// A proxy for `http://`, behind which there are these hosts and no others.
    ///
    /// # Panics
    ///
    /// When no port can be had.
    #[must_use]
    pub fn proxy(hosts: BTreeMap<String, Road>) -> Server {
        Server::answering(move |request| {
            let asked = request.path.strip_prefix("http://").and_then(|address| address.split_once('/'));
            match asked.and_then(|(host, path)| Some(hosts.get(host)?.answer(path))) {
                Some(answer) => answer,
                None => Answer::Fault(Fault::Status(502), Vec::new()),
            }
        })
    }

    fn answering(answers: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
        Server::responding(Arc::new(move |request: &Request, _: &mut Wire| Ok(Some(answers(request)))))
    }

    /// Has `responder` answer on a free port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When no port can be had.
    #[must_use]
    pub fn responding(responder: Arc<Responder>) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (stopped, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stop, count) = (Arc::clone(&stopped), Arc::clone(&sent));
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let (responder, sent) = (Arc::clone(&responder), Arc::clone(&count));
                // A connection that breaks is the client's affair.
                thread::spawn(move || stream.and_then(|stream| reply(stream, sent, &*responder)));
            }
        });
        Server { address, stopped, sent, acceptor: Some(acceptor) }
    }

    /// Its own address, ending in `/`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// How many bytes were sent so far, heads included. The system may hold some that no client has read.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then sees that it is to stop.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
    }
}

fn reply(stream: TcpStream, sent: Arc<AtomicU64>, responder: &Responder) -> io::Result<()> {
    let mut wire = Wire { stream: BufReader::new(stream), sent };
    let mut line = String::new();
    wire.stream.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or("/"));
    let path = path.strip_prefix('/').unwrap_or(path);
    let mut request = Request { method: method.to_owned(), path: path.to_owned(), header: Vec::new() };
    loop {
        let mut line = String::new();
        if wire.stream.read_line(&mut line)? <= 2 {
            break;
        }
        request.header.push(line.trim_end().to_owned());
    }
    if request.method != "GET" {
        return send(&mut wire, 405, b"GET only");
    }
    match responder(&request, &mut wire)? {
        None => Ok(()),
        Some(Answer::File(bytes) | Answer::Fault(Fault::Body(bytes), _)) => send(&mut wire, 200, &bytes),
        Some(Answer::Absent) => send(&mut wire, 404, b"not here"),
        Some(Answer::Fault(fault, bytes)) => misbehave(&mut wire, &fault, &bytes),
    }
}

fn misbehave(wire: &mut Wire, fault: &Fault, bytes: &[u8]) -> io::Result<()> {
    match fault {
        Fault::Status(status) => send(wire, *status, b"no"),
        Fault::Body(body) => send(wire, 200, body),
        Fault::Reset => Ok(()),
        Fault::Timeout => wire.wait_for_the_end(),
        Fault::Truncated(kept) => {
            head(wire, 200, Some(bytes.len()))?;
            wire.write_all(&bytes[..*kept])
        }
        Fault::Endless => {
            head(wire, 200, None)?;
            wire.write_all(bytes)?;
            loop {
                wire.write_all(&[b' '; 4096])?;
            }
        }
    }
}

fn send(wire: &mut Wire, status: u16, body: &[u8]) -> io::Result<()> {
    head(wire, status, Some(body.len()))?;
    wire.write_all(body)
}

fn head(wire: &mut Wire, status: u16, length: Option<usize>) -> io::Result<()> {
    let length = length.map(|length| format!("Content-Length: {length}\r\n")).unwrap_or_default();
    let head = format!(
        "HTTP/1.0 {status} Word\r\nContent-Type: application/octet-stream\r\n{length}Connection: close\r\n\r\n"
    );
    wire.write_all(head.as_bytes())
}
