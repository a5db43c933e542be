//! The stage of a case: a server whose network can be switched while its address stays, and what the runners look at.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use lastmile_testkit::{Connection, FakeNetwork, METADATA, Request, Responder, Server};

use crate::Case;

/// A server at one address, behind which honest repositories and attackers take turns.
pub(super) struct CaseServer {
    server: Server,
    actor: Arc<Mutex<Arc<Responder>>>,
}

impl CaseServer {
    pub(super) fn new() -> CaseServer {
        let actor: Arc<Mutex<Arc<Responder>>> = Arc::new(Mutex::new(serving(FakeNetwork::new())));
        let shared = Arc::clone(&actor);
        let server = Server::responding(Arc::new(move |request: &Request, connection: &mut Connection| {
            let now = Arc::clone(&shared.lock().expect("nobody panics with this lock"));
            now(request, connection)
        }));
        CaseServer { server, actor }
    }

    /// Its address, ending in `/`.
    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    pub(super) fn honest(&self, network: &FakeNetwork) {
        self.enter(serving(network.fork()));
    }

    pub(super) fn attack(&self, case: &Case) {
        self.enter(case.responder.clone().unwrap_or_else(|| serving(case.attacker.fork())));
    }

    fn enter(&self, responder: Arc<Responder>) {
        *self.actor.lock().expect("nobody panics with this lock") = responder;
    }

    /// What `work` gives, or that it made the server send more than the case allows.
    pub(super) fn counted<T>(&self, case: &Case, work: impl FnOnce() -> T) -> Result<T, String> {
        let before = self.server.sent();
        let result = work();
        let sent = self.server.sent() - before;
        if sent > case.max_bytes {
            return Err(format!("{sent} bytes were read, more than {}", case.max_bytes));
        }
        Ok(result)
    }
}

fn serving(network: FakeNetwork) -> Arc<Responder> {
    Arc::new(move |request: &Request, _: &mut Connection| Ok(Some(network.answer(&request.path))))
}

/// The newest version of the timestamp on `network`.
pub(super) fn newest(network: &FakeNetwork) -> u64 {
    let bytes = network.file(&format!("{METADATA}timestamp.json")).expect("a timestamp");
    let timestamp: serde_json::Value = serde_json::from_slice(&bytes).expect("an honest one");
    timestamp["signed"]["version"].as_u64().expect("a version")
}

/// The names of what differs.
pub(super) fn changed(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// All files below `folder`, with `/` between the parts of their names; links count as what they are.
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
