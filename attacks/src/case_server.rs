//! The server for a case, and functions that read the client's files and compare them before and after the attack.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use lastmile_testkit::{Connection, FakeNetwork, METADATA, Request, Responder, Server};

use crate::Case;

/// A server that acts as an honest repository or as an attacker, and can switch between the two without changing its
/// address.
pub(super) struct CaseServer {
    server: Server,
    responder: Arc<Mutex<Arc<Responder>>>,
}

impl CaseServer {
    pub(super) fn new() -> CaseServer {
        let responder: Arc<Mutex<Arc<Responder>>> = Arc::new(Mutex::new(serving(FakeNetwork::new())));
        let shared = Arc::clone(&responder);
        let server = Server::responding(Arc::new(move |request: &Request, connection: &mut Connection| {
            let current = Arc::clone(&shared.lock().expect("no code panics while it holds this lock"));
            current(request, connection)
        }));
        CaseServer { server, responder }
    }

    /// Returns the server's base URL, with a `/` at the end.
    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    pub(super) fn serve(&self, network: &FakeNetwork) {
        self.respond_with(serving(network.fork()));
    }

    pub(super) fn attack(&self, case: &Case) {
        self.respond_with(case.responder.clone().unwrap_or_else(|| serving(case.attacker.fork())));
    }

    fn respond_with(&self, responder: Arc<Responder>) {
        *self.responder.lock().expect("no code panics while it holds this lock") = responder;
    }

    /// Calls `work` and returns its result. Returns an error if the server sent more bytes during the call than the
    /// case allows.
    pub(super) fn counted<T>(&self, case: &Case, work: impl FnOnce() -> T) -> Result<T, String> {
        let before = self.server.sent();
        let result = work();
        let sent = self.server.sent() - before;
        if sent > case.max_bytes {
            return Err(format!("the client read {sent} bytes, more than the limit of {}", case.max_bytes));
        }
        Ok(result)
    }
}

fn serving(network: FakeNetwork) -> Arc<Responder> {
    Arc::new(move |request: &Request, _: &mut Connection| Ok(Some(network.answer(&request.path))))
}

/// Returns the version of the timestamp that `network` publishes.
pub(super) fn newest(network: &FakeNetwork) -> u64 {
    let bytes = network.file(&format!("{METADATA}timestamp.json")).expect("a timestamp");
    let timestamp: serde_json::Value = serde_json::from_slice(&bytes).expect("a timestamp in JSON");
    timestamp["signed"]["version"].as_u64().expect("a version")
}

/// Returns the names of the files that were added, changed or removed between `before` and `after`.
pub(super) fn changed(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// Returns the content of each file below `folder`, keyed by its path relative to `folder`, with `/` as the separator.
/// Symbolic links are not followed.
pub(super) fn below(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            files.extend(below(&entry.path()).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else if kind.is_file() {
            files.insert(name, fs::read(entry.path()).unwrap_or_default());
        } else {
            files.insert(name, b"no file".to_vec());
        }
    }
    files
}
