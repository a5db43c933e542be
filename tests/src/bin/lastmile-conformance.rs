//! The client under test of the TUF community's conformance suite: its protocol, spoken with `lastmile-client`.
//!
//! ```text
//! lastmile-conformance --metadata-dir M init ROOT
//! lastmile-conformance --metadata-dir M --metadata-url U refresh
//! lastmile-conformance --metadata-dir M --metadata-url U --target-name N … --target-dir T --target-base-url B download
//! ```
//!
//! `M/ROLE.json` are the roles that are trusted, as received, with the role's name percent-encoded; what the client
//! keeps for itself lies in folders of `M`. A target goes to one file directly in `T`, its whole path percent-encoded.
//! The exit code is 0 or 1 and nothing else, whatever happens.

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
    /// Where trusted metadata is kept.
    #[arg(long, value_name = "DIR")]
    metadata_dir: PathBuf,
    /// Where the repository's metadata is, with a final `/`.
    #[arg(long, value_name = "URL")]
    metadata_url: Option<String>,
    /// A target to download; may be repeated.
    #[arg(long, value_name = "PATH", allow_hyphen_values = true)]
    target_name: Vec<String>,
    /// Where downloaded targets go.
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
    /// Where the repository's targets are, with a final `/`.
    #[arg(long, value_name = "URL")]
    target_base_url: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Trusts a root from now on; makes no request.
    Init {
        /// The root metadata.
        root: PathBuf,
    },
    /// Updates the trusted metadata.
    Refresh,
    /// Refreshes, then downloads each target in the order of the options.
    Download,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help is no failure; everything else is one, and not clap's exit code 2.
            drop(error.print());
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    // A panic has printed its message already.
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
    // Nobody may be listening, which is no reason to fail otherwise.
    drop(writeln!(stderr, "{}", lines.join("\n")));
}

fn run(arguments: &Arguments) -> Result<()> {
    // The one clock of a run, read through libc.
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
            opened(arguments, metadata_url, metadata_url)?.refresh_at(now)?;
            Ok(())
        }
        Command::Download => {
            let metadata_url = needed(arguments.metadata_url.as_ref(), "--metadata-url")?;
            let targets_url = needed(arguments.target_base_url.as_ref(), "--target-base-url")?;
            let target_dir = needed(arguments.target_dir.as_ref(), "--target-dir")?;
            let mut session = opened(arguments, metadata_url, targets_url)?.refresh_at(now)?;
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
    value.ok_or_else(|| format!("{option} is needed before this command").into())
}

fn opened(arguments: &Arguments, metadata_url: &str, targets_url: &str) -> Result<blocking::Updater> {
    let root = fs::read(shipped_root(&arguments.metadata_dir))?;
    updater(&arguments.metadata_dir, root, metadata_url, targets_url)
}

fn updater(store: &Path, shipped: Vec<u8>, metadata_url: &str, targets_url: &str) -> Result<blocking::Updater> {
    let settings = HttpSettings { proxy: ProxyChoice::Direct, ..HttpSettings::default() };
    let updater = Updater::builder(shipped)
        .mirror(metadata_url, targets_url)
        .store(DirectoryStore::open(store)?)
        .fetch(FetchByScheme::new(HttpFetch::new(&settings)?))
        // The suite counts requests, and looks at their order.
        .retry_policy(RetryPolicy { retries: 0, ..RetryPolicy::default() })
        .sequential(true)
        .build()?;
    Ok(blocking::Updater::new(updater)?)
}

/// The root that `init` was given, apart from the trusted roles and from the store's own folder.
fn shipped_root(store: &Path) -> PathBuf {
    store.join("shipped").join("root.json")
}

/// Keeps `root` for later runs, whole or not at all.
fn keep_shipped_root(store: &Path, root: &[u8]) -> Result<()> {
    let goal = shipped_root(store);
    let folder = goal.parent().ok_or("a file has a folder")?;
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(root)?;
    file.persist(&goal)?;
    Ok(())
}

/// What stays as it is in the name of a downloaded file.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One name per target: its whole path percent-encoded. Where that is no name for a file, a name that no
/// percent-encoding has.
fn file_name(target: &str) -> String {
    let name = utf8_percent_encode(target, UNRESERVED).to_string();
    if name.len() > 255 {
        return format!("%.sha256-{}", hex::encode(Sha256::digest(target)));
    }
    if name.bytes().all(|byte| byte == b'.') { name.replace('.', "%2E") } else { name }
}
