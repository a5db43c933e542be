//! The environment of the demo: a temporary folder, a server on loopback, and the commands of the maintainer and the
//! client.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_cli_support::{Captured, ExitStatus, Output, World};
use lastmile_client::cli::run;
use lastmile_client::text::printable_path;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::files::access;
use crate::served::server::Server;
use crate::{Error, NetworkError};

/// If a command prints more lines than this, only the first and the last lines are shown.
const LINES: usize = 26;
const FIRST: usize = 6;
const LAST: usize = 3;
/// The maximum number of command-line arguments that are shown.
const ARGUMENTS: usize = 10;

pub(super) struct Runner {
    output: Output,
    folder: Option<TempDir>,
    keep: bool,
    path: PathBuf,
    runtime: Runtime,
    address: SocketAddr,
    server: Option<JoinHandle<()>>,
    requests: Arc<Mutex<Vec<String>>>,
    today: DateTime<Utc>,
    now: DateTime<Utc>,
    client: &'static str,
    parts: u32,
    failed: u32,
}

impl Runner {
    pub(super) fn build(today: DateTime<Utc>, output: &Output) -> Result<Self, Error> {
        let failed = |error| Error::file("create a folder in", &std::env::temp_dir(), error);
        let folder = tempfile::Builder::new().prefix("lastmile-demo-").tempdir().map_err(failed)?;
        let path = folder.path().to_path_buf();
        let runtime = Runtime::new().map_err(|error| Error::file("start", Path::new("a runtime"), error))?;
        let phrase = path.join("pass-phrase");
        access::write_new(&phrase, b"three blind mice\n", 0o600)?;
        Ok(Self {
            output: output.clone(),
            folder: Some(folder),
            keep: false,
            path,
            runtime,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            server: None,
            requests: Arc::default(),
            today,
            now: today,
            client: "client",
            parts: 0,
            failed: 0,
        })
    }

    /// Makes [`Self::clear`] keep the folder.
    pub(super) fn keep_folder(&mut self) {
        self.keep = true;
    }

    pub(super) fn folder(&self) -> &Path {
        &self.path
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn failed(&self) -> u32 {
        self.failed
    }

    pub(super) fn say(&self, text: &str) {
        // If standard output is closed, the demo continues, because its exit code still shows whether the checks
        // passed.
        let _ = self.output.raw(format!("{text}\n").as_bytes());
    }

    pub(super) fn start_part(&mut self, title: &str) {
        self.parts += 1;
        self.say(&format!("\n{}. {title}", self.parts));
    }

    pub(super) fn check(&mut self, holds: bool, claim: &str) {
        self.failed += u32::from(!holds);
        self.say(&format!("  {} {claim}", if holds { "ok:" } else { "FAILED:" }));
    }

    /// Runs a command as the maintainer. The command must succeed.
    pub(super) fn maintainer(&mut self, arguments: &[&str]) -> Result<(), Error> {
        let output = self.run_maintainer(arguments)?;
        self.quote(&output.stdout);
        self.quote(&output.stderr);
        success(&output)
    }

    /// Runs a command as the maintainer, and returns its standard output.
    pub(super) fn output_of(&mut self, arguments: &[&str]) -> Result<String, Error> {
        let output = self.run_maintainer(arguments)?;
        self.quote(&output.stdout);
        success(&output)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command as the maintainer, and checks that it refuses to publish.
    pub(super) fn refused_maintainer(&mut self, arguments: &[&str]) -> Result<(), Error> {
        let output = self.run_maintainer(arguments)?;
        self.quote(&output.stdout);
        self.quote(&output.stderr);
        let refused = output.status.code() == Some(ExitStatus::Refused.code().into());
        self.check(refused, "nothing was published");
        Ok(())
    }

    fn run_maintainer(&mut self, arguments: &[&str]) -> Result<std::process::Output, Error> {
        self.show("lastmile-repo", arguments);
        let program =
            std::env::current_exe().map_err(|error| Error::file("find", Path::new("lastmile-repo"), error))?;
        Command::new(&program)
            .args(arguments)
            .arg("--config")
            .arg(self.path("config.toml"))
            .arg("--pass-phrase-file")
            .arg(self.path("pass-phrase"))
            .current_dir(&self.path)
            .output()
            .map_err(|error| Error::file("run", &program, error))
    }

    /// Runs a command as the client, and checks that it exits with `expected` and prints `word`.
    pub(super) fn client(&mut self, arguments: &[&str], expected: ExitStatus, word: &str) -> Result<(), Error> {
        self.show("lastmile", arguments);
        // Standard output and standard error are captured together, in the order in which they are written.
        let printed = Captured::default();
        let world =
            World { stdout: Box::new(printed.clone()), stderr: Box::new(printed.clone()), ..World::isolated(self.now) };
        let state = self.path(self.client).into_os_string();
        let arguments = arguments.iter().map(|argument| self.in_folder(argument));
        let program = ["lastmile".into(), "--state-dir".into(), state].into_iter();
        let status = run(program.chain(arguments), world);
        let text = printed.take();
        self.quote(&text);
        let text = String::from_utf8_lossy(&text);
        let holds = status == expected && text.contains(word);
        let claim = match expected {
            ExitStatus::Done => "the client accepts".to_string(),
            other => format!("the client refuses: exit code {}", other.code()),
        };
        self.check(holds, &claim);
        Ok(())
    }

    /// Makes a path argument absolute. The client's commands run in this process, whose current folder is not the
    /// demo's folder.
    fn in_folder(&self, argument: &str) -> std::ffi::OsString {
        let is_path = ["packages/", "downloads", "tampered-download"].iter().any(|start| argument.starts_with(start));
        if is_path { self.path(argument).into_os_string() } else { argument.into() }
    }

    /// Switches to a new client that was shipped with the first root.
    pub(super) fn use_new_client(&mut self) -> Result<(), Error> {
        self.client = "new-client";
        let (metadata, targets) = self.addresses();
        let root = "packages/metadata/1.root.json";
        let trust = ["trust", "add", "demo", "--root", root, "--metadata-url", &metadata, "--targets-url", &targets];
        self.client(&trust, ExitStatus::Done, "")
    }

    /// Switches to a copy of the client, and moves the clock of the copy `days` forward.
    pub(super) fn use_client_after(&mut self, days: i64) -> Result<(), Error> {
        super::copies::copy_folder(&self.path(self.client), &self.path("client-later"))?;
        self.client = "client-later";
        self.now = self.today + TimeDelta::days(days);
        self.say(&format!("  {days} days pass."));
        Ok(())
    }

    pub(super) fn use_original_client(&mut self) {
        self.client = "client";
        self.now = self.today;
    }

    /// Makes the server serve `folder` instead of the previous folder, at the same address.
    pub(super) fn serve(&mut self, folder: &Path) -> Result<(), Error> {
        if let Some(server) = self.server.take() {
            server.abort();
            // The task was aborted, so it returns a cancellation error.
            drop(self.runtime.block_on(server));
        }
        let requests = Arc::clone(&self.requests);
        let bound = self.runtime.block_on(async { Server::bind(folder, self.address).await });
        let server = bound.map_err(|error| NetworkError::Listen { address: self.address, error })?;
        self.address = server.address().map_err(NetworkError::Runtime)?;
        self.server = Some(self.runtime.spawn(server.run(move |answered| {
            let mut requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
            requests.push(answered.path);
        })));
        Ok(())
    }

    pub(super) fn addresses(&self) -> (String, String) {
        (format!("http://{}/metadata/", self.address), format!("http://{}/targets/", self.address))
    }

    pub(super) fn forget_requests(&self) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns the file names that were requested since the last call of [`Self::forget_requests`].
    pub(super) fn requests(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.iter().map(|path| path.rsplit('/').next().unwrap_or_default().to_string()).collect()
    }

    fn show(&self, program: &str, arguments: &[&str]) {
        let mut shown = arguments.iter().take(ARGUMENTS).copied().collect::<Vec<_>>().join(" ");
        if arguments.len() > ARGUMENTS {
            shown += &format!(" … ({} more)", arguments.len() - ARGUMENTS);
        }
        self.say(&format!("  $ {program} {shown}"));
    }

    /// Shows the output of a command, with paths relative to the demo's folder.
    fn quote(&self, printed: &[u8]) {
        let printed = String::from_utf8_lossy(printed).replace(&format!("{}/", self.path.to_string_lossy()), "");
        let lines: Vec<&str> = printed.lines().collect();
        let omitted = if lines.len() > LINES { FIRST..lines.len() - LAST } else { 0..0 };
        for (number, line) in lines.iter().enumerate() {
            if number == omitted.start && !omitted.is_empty() {
                self.say(&format!("  | … {} more lines", omitted.len()));
            }
            if !omitted.contains(&number) {
                self.say(&format!("  | {line}"));
            }
        }
    }

    pub(super) fn clear(&mut self) -> Result<(), Error> {
        let Some(folder) = self.folder.take() else { return Ok(()) };
        if self.keep {
            self.say(&format!("Kept: {}", printable_path(&folder.keep())));
            return Ok(());
        }
        folder.close().map_err(|error| Error::file("remove", &self.path, error))
    }
}

fn success(output: &std::process::Output) -> Result<(), Error> {
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Failed(format!("the maintainer's command failed: {}", output.status)))
}
