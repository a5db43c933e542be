//! A static file server on loopback that records the requests.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A server for one folder. It runs until the program ends.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) address: SocketAddrV4,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The paths, in the order of the requests.
    pub(crate) paths: Vec<String>,
    /// The number of bytes sent, including headers.
    pub(crate) bytes: u64,
}

impl Server {
    pub(crate) fn start(folder: &Path) -> Result<Self, String> {
        Self::listen(folder, false).map_err(|error| format!("no server on loopback: {error}"))
    }

    /// Starts a server that compresses metadata for clients that accept compression, as many web servers do.
    pub(crate) fn compressing(folder: &Path) -> Result<Self, String> {
        Self::listen(folder, true).map_err(|error| format!("no server on loopback: {error}"))
    }

    fn listen(folder: &Path, compresses: bool) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr()?.port());
        let log = Arc::new(Mutex::new(Log::default()));
        let folder = folder.to_path_buf();
        let shared_log = Arc::clone(&log);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let folder = folder.clone();
                let log = Arc::clone(&shared_log);
                // If the connection breaks, the client reports the error.
                thread::spawn(move || serve(&stream, &folder, compresses, &log));
            }
        });
        Ok(Self { url: format!("http://{address}/"), address, log })
    }

    pub(crate) fn take_log(&self) -> Log {
        std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn serve(stream: &TcpStream, folder: &Path, compresses: bool, log: &Mutex<Log>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut header = String::new();
        let mut accepted = String::new();
        while reader.read_line(&mut header)? > 2 {
            let lower = header.to_ascii_lowercase();
            if let Some(encodings) = lower.strip_prefix("accept-encoding:") {
                encodings.clone_into(&mut accepted);
            }
            header.clear();
        }
        let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
        let answer = Answer::find(&file_of(folder, &path), &accepted, compresses);
        {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.paths.push(path);
            log.bytes += answer.head.len() as u64 + answer.length;
        }
        answer.send(stream)?;
    }
}

struct Answer {
    head: String,
    length: u64,
    body: Body,
}

enum Body {
    File(File),
    Bytes(Vec<u8>),
}

/// The content encodings, each with the extension of the names of compressed files.
const ENCODINGS: [(&str, &str); 2] = [("zstd", "zst"), ("gzip", "gz")];

impl Answer {
    fn find(path: &Path, accepted: &str, compresses: bool) -> Self {
        let precompressed = |(encoding, ending): &(&str, &str)| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{ending}"));
            accepted.contains(encoding).then(|| Self::file(Path::new(&name), encoding)).flatten()
        };
        let compressed_now = || {
            (compresses && path.extension().is_some_and(|ending| ending == "json") && accepted.contains("gzip"))
                .then(|| Self::gzip(path))
                .flatten()
        };
        let encoded = ENCODINGS.iter().find_map(precompressed).or_else(compressed_now);
        encoded.or_else(|| Self::file(path, "")).unwrap_or_else(|| Self {
            head: "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
            length: 0,
            body: Body::Bytes(Vec::new()),
        })
    }

    fn file(path: &Path, encoding: &str) -> Option<Self> {
        let file = File::open(path).ok()?;
        let length = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
        Some(Self { head: head(length, encoding), length, body: Body::File(file) })
    }

    fn gzip(path: &Path) -> Option<Self> {
        let output = Command::new("gzip").args(["--best", "--stdout"]).arg(path).stderr(Stdio::null()).output().ok()?;
        let length = output.stdout.len() as u64;
        output.status.success().then(|| Self { head: head(length, "gzip"), length, body: Body::Bytes(output.stdout) })
    }

    fn send(self, mut stream: &TcpStream) -> io::Result<()> {
        stream.write_all(self.head.as_bytes())?;
        match self.body {
            // On Linux, `io::copy` calls `sendfile` here, so the server does not copy the file through its own memory.
            Body::File(mut file) => io::copy(&mut file, &mut stream).map(drop),
            Body::Bytes(bytes) => stream.write_all(&bytes),
        }
    }
}

fn head(length: u64, encoding: &str) -> String {
    let encoding = if encoding.is_empty() { String::new() } else { format!("Content-Encoding: {encoding}\r\n") };
    format!("HTTP/1.1 200 OK\r\n{encoding}Content-Length: {length}\r\n\r\n")
}

/// Decodes no escapes, because the benches use only names without special characters.
fn file_of(folder: &Path, path: &str) -> PathBuf {
    path.split('/').filter(|segment| *segment != "..").fold(folder.to_path_buf(), |path, segment| path.join(segment))
}
