//! The client under test for the TUF community's conformance suite. It implements the protocol of the suite with
//! `lastmile-client`.
//!
//! ```text
//! lastmile-conformance --metadata-dir M init ROOT
//! lastmile-conformance --metadata-dir M --metadata-url U refresh
//! lastmile-conformance --metadata-dir M --metadata-url U --target-name N … --target-dir T --target-base-url B download
//! ```
//!
//! `M/ROLE.json` are the trusted roles as received, with percent-encoded role names. The client's own state is in folders of `M`. A
//! target is written to one file directly in `T`, with its whole path percent-encoded. The exit code is always 0 or 1.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::panic;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::Utc;
use clap::{Parser, Subcommand};
use lastmile_client::metadata::TargetPath;
use lastmile_client::{
    DirectoryStore, FetchByScheme, HttpFetch, HttpSettings, ProxyChoice, RetryPolicy, Updater, blocking,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The client under test of the TUF conformance suite.
#[derive(Parser)]
struct Arguments {
    /// Folder for trusted metadata
    #[arg(long, value_name = "DIR")]
    metadata_dir: PathBuf,
    /// URL of the repository's metadata, ending in `/`
    #[arg(long, value_name = "URL")]
    metadata_url: Option<String>,
    /// Target to download; may be repeated
    #[arg(long, value_name = "PATH", allow_hyphen_values = true)]
    target_name: Vec<String>,
    /// Folder for downloaded targets
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
    /// URL of the repository's targets, ending in `/`
    #[arg(long, value_name = "URL")]
    target_base_url: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Trust a root, without a request
    Init {
        /// Root metadata file
        root: PathBuf,
    },
    /// Update the trusted metadata
    Refresh,
    /// Refresh, then download each target in the order of the options
    Download,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // `--help` succeeds. Errors have exit code 1 instead of clap's 2.
            drop(error.print());
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    // A panic has already printed its message.
    let outcome = panic::catch_unwind(|| run(&arguments));
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            complain(error.as_ref());
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn complain(error: &dyn Error) {
    let mut stderr = io::stderr().lock();
    let mut lines = vec![format!("error: {error}")];
    let mut cause = error.source();
    while let Some(error) = cause {
        lines.push(format!("caused by: {error}"));
        cause = error.source();
    }
    // A closed standard error does not change the exit code.
    drop(writeln!(stderr, "{}", lines.join("\n")));
}

fn run(arguments: &Arguments) -> Result<()> {
    // The clock is read once, through libc, so that a faked clock works.
    let now = Utc::now();
    match &arguments.command {
        Command::Init { root } => {
            let root = fs::read(root)?;
            let metadata_url = "http://unused.invalid/";
            updater(&arguments.metadata_dir, root.clone(), metadata_url, metadata_url)?.prepare_at(now)?;
            keep_shipped_root(&arguments.metadata_dir, &root)
        }
        Command::Refresh => {
            let metadata_url = needed(arguments.metadata_url.as_ref(), "--metadata-url")?;
            open(arguments, metadata_url, metadata_url)?.refresh_at(now)?;
            Ok(())
        }
        Command::Download => {
            let metadata_url = needed(arguments.metadata_url.as_ref(), "--metadata-url")?;
            let targets_url = needed(arguments.target_base_url.as_ref(), "--target-base-url")?;
            let target_dir = needed(arguments.target_dir.as_ref(), "--target-dir")?;
            let mut session = open(arguments, metadata_url, targets_url)?.refresh_at(now)?;
            for name in &arguments.target_name {
                let path = TargetPath::new(name)?;
                let no_such_target = || lastmile_client::Error::NoSuchTarget(path.clone());
                let target = session.find(&path)?.ok_or_else(no_such_target)?;
                session.download(&target, target_dir.join(file_name(name)))?;
            }
            Ok(())
        }
    }
}

fn needed<'a, T: ?Sized>(value: Option<&'a T>, option: &str) -> Result<&'a T> {
    value.ok_or_else(|| format!("{option} is required before this command").into())
}

fn open(arguments: &Arguments, metadata_url: &str, targets_url: &str) -> Result<blocking::Updater> {
    let root = fs::read(shipped_root(&arguments.metadata_dir))?;
    updater(&arguments.metadata_dir, root, metadata_url, targets_url)
}

fn updater(store: &Path, shipped: Vec<u8>, metadata_url: &str, targets_url: &str) -> Result<blocking::Updater> {
    let settings = HttpSettings { proxy: ProxyChoice::Direct, ..HttpSettings::default() };
    let updater = Updater::builder(shipped)
        .mirror(metadata_url, targets_url)
        .store(DirectoryStore::open(store)?)
        .fetch(FetchByScheme::new(HttpFetch::new(&settings)?))
        // The suite checks the number and the order of requests, so the client must neither retry nor send concurrent
        // requests.
        .retry_policy(RetryPolicy { retries: 0, ..RetryPolicy::default() })
        .sequential()
        .build()?;
    Ok(blocking::Updater::new(updater)?)
}

/// Returns the path of the file that contains the root from `init`. This file is separate from the trusted roles and
/// the store.
fn shipped_root(store: &Path) -> PathBuf {
    store.join("shipped").join("root.json")
}

/// Stores `root` for later runs, atomically.
fn keep_shipped_root(store: &Path, root: &[u8]) -> Result<()> {
    let goal = shipped_root(store);
    let folder = goal.parent().ok_or("a file has a folder")?;
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(root)?;
    file.persist(&goal)?;
    Ok(())
}

/// The characters that are not percent-encoded in the name of a downloaded file.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns the file name of a target, which is its percent-encoded path. If that is not a valid file name, returns a
/// name that no percent-encoded path can have.
fn file_name(target: &str) -> String {
    let name = utf8_percent_encode(target, UNRESERVED).to_string();
    if name.len() > 255 {
        return format!("%.sha256-{}", hex::encode(Sha256::digest(target)));
    }
    if name.bytes().all(|byte| byte == b'.') { name.replace('.', "%2E") } else { name }
}
