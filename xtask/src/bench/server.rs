//! A static file server on loopback, as quick as the system allows, that remembers what it was asked.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Serves one folder until the program ends.
pub(crate) struct Server {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(folder: &Path) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let url = format!("http://{}/", listener.local_addr()?);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (folder, log) = (folder.to_path_buf(), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (folder, log) = (folder.clone(), Arc::clone(&log));
                // A connection that breaks is the client's affair.
                thread::spawn(move || serve(&stream, &folder, &log));
            }
        });
        Ok(Self { url, requests })
    }

    /// The paths asked for since the last time this was called.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn serve(stream: &TcpStream, folder: &Path, log: &Mutex<Vec<String>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut header = String::new();
        while reader.read_line(&mut header)? > 2 {
            header.clear();
        }
        let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
        log.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
        answer(stream, &file_of(folder, &path))?;
    }
}

fn answer(mut stream: &TcpStream, path: &Path) -> io::Result<()> {
    match File::open(path).and_then(|file| file.metadata().map(|about| (file, about))) {
        Ok((mut file, about)) if about.is_file() => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", about.len())?;
            // On Linux this is sendfile.
            io::copy(&mut file, &mut stream).map(drop)
        }
        _ => write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    }
}

/// Benches serve plain names only.
fn file_of(folder: &Path, path: &str) -> PathBuf {
    path.split('/').filter(|segment| *segment != "..").fold(folder.to_path_buf(), |path, segment| path.join(segment))
}
