//! A small server on loopback: HTTP/1.0, closing after each reply, GET only, names taken as they were sent.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::road::{Answer, Fault, Road};

/// What a request for this address meets.
type Answers = dyn Fn(&str) -> Answer + Send + Sync;

/// Serves a [`Road`] until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
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
        Server::answering(move |address| road.answer(address.trim_start_matches('/')))
    }

    /// A proxy for `http://`, behind which there are these hosts and no others.
    ///
    /// # Panics
    ///
    /// When no port can be had.
    #[must_use]
    pub fn proxy(hosts: BTreeMap<String, Road>) -> Server {
        Server::answering(move |address| {
            let asked = address.strip_prefix("http://").and_then(|address| address.split_once('/'));
            match asked.and_then(|(host, path)| Some(hosts.get(host)?.answer(path))) {
                Some(answer) => answer,
                None => Answer::Fault(Fault::Status(502), Vec::new()),
            }
        })
    }

    fn answering(answers: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound listener has an address");
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        let answers: Arc<Answers> = Arc::new(answers);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let answers = Arc::clone(&answers);
                // A connection that breaks is the client's affair.
                thread::spawn(move || stream.and_then(|stream| reply(&stream, &*answers)));
            }
        });
        Server { address, stopped, acceptor: Some(acceptor) }
    }

    /// Its own address, ending in `/`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
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

fn reply(stream: &TcpStream, answers: &Answers) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or("/"));
    if method != "GET" {
        return send(stream, 405, b"GET only");
    }
    match answers(path) {
        Answer::File(bytes) | Answer::Fault(Fault::Body(bytes), _) => send(stream, 200, &bytes),
        Answer::Absent => send(stream, 404, b"not here"),
        Answer::Fault(fault, bytes) => misbehave(stream, &mut reader, &fault, &bytes),
    }
}

fn misbehave(stream: &TcpStream, reader: &mut impl Read, fault: &Fault, bytes: &[u8]) -> io::Result<()> {
    match fault {
        Fault::Status(status) => send(stream, *status, b"no"),
        Fault::Body(body) => send(stream, 200, body),
        Fault::Reset => Ok(()),
        Fault::Timeout => {
            // Ends when the client gives up and closes.
            io::copy(reader, &mut io::sink()).map(drop)
        }
        Fault::Truncated(kept) => {
            head(stream, 200, Some(bytes.len()))?;
            (&mut &*stream).write_all(&bytes[..*kept])
        }
        Fault::Endless => {
            head(stream, 200, None)?;
            (&mut &*stream).write_all(bytes)?;
            loop {
                (&mut &*stream).write_all(&[b' '; 4096])?;
            }
        }
    }
}

fn send(stream: &TcpStream, status: u16, body: &[u8]) -> io::Result<()> {
    head(stream, status, Some(body.len()))?;
    (&mut &*stream).write_all(body)
}

fn head(mut stream: &TcpStream, status: u16, length: Option<usize>) -> io::Result<()> {
    write!(stream, "HTTP/1.0 {status} Word\r\nContent-Type: application/octet-stream\r\n")?;
    if let Some(length) = length {
        write!(stream, "Content-Length: {length}\r\n")?;
    }
    write!(stream, "Connection: close\r\n\r\n")
}
