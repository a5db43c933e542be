//! The client under test for two public conformance suites. For the TUF conformance suite, the program uses
//! `lastmile-client`; for the Sigstore conformance suite, it uses `lastmile-attest`.
//!
//! ```text
//! lastmile-conformance --metadata-dir M init ROOT
//! lastmile-conformance --metadata-dir M --metadata-url U refresh
//! lastmile-conformance --metadata-dir M --metadata-url U --target-name N … --target-dir T --target-base-url B download
//! lastmile-conformance verify-bundle --bundle F (--certificate-identity I --certificate-oidc-issuer U | --key F)
//!     [--staging | --trusted-root F] FILE_OR_DIGEST
//! ```
//!
//! The client writes the file of each trusted role, as received, to `M/ROLE.json`, with a percent-encoded role name. It
//! stores its own state in subfolders of `M`. It writes each target directly into the folder `T`, and uses the
//! percent-encoded path of the target as the file name. The exit code is 0 on success and 1 on any failure.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand};
use lastmile_client::metadata::{Algorithm, Hashes, TargetPath};
use lastmile_client::{
    DirectoryStore, FetchByScheme, HttpFetch, HttpSettings, ProxyChoice, RetryPolicy, Updater, blocking,
};
use lastmile_keys::PublicKey;
use lastmile_tests::{BundleCheck, ExpectedSigner, predicate_type};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Client under test for the TUF and Sigstore conformance suites
#[derive(Parser)]
struct Arguments {
    /// Folder for trusted metadata
    #[arg(long, value_name = "DIR")]
    metadata_dir: Option<PathBuf>,
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
    /// Trust a root, without using the network
    Init {
        /// Root metadata file
        root: PathBuf,
    },
    /// Update the trusted metadata
    Refresh,
    /// Refresh, then download the targets in the order of the `--target-name` options
    Download,
    /// Verify a Sigstore bundle
    VerifyBundle(VerifyBundle),
}

#[derive(Args)]
struct VerifyBundle {
    /// Bundle to verify
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// Expected subject of the certificate
    #[arg(long, value_name = "IDENTITY", requires = "certificate_oidc_issuer", required_unless_present = "key")]
    certificate_identity: Option<String>,
    /// Expected OpenID Connect issuer of the certificate
    #[arg(long, value_name = "URL", requires = "certificate_identity")]
    certificate_oidc_issuer: Option<String>,
    /// Public key with which the signature must verify
    #[arg(long, value_name = "FILE", conflicts_with = "certificate_identity")]
    key: Option<PathBuf>,
    /// Trusted root [default: the trusted root of Sigstore's public instance]
    #[arg(long, value_name = "FILE", conflicts_with = "staging")]
    trusted_root: Option<PathBuf>,
    /// Trust Sigstore's staging instance
    #[arg(long)]
    staging: bool,
    /// Verify the bundle this number of times, and print the average duration in seconds
    #[arg(long, value_name = "NUMBER", hide = true)]
    rounds: Option<NonZeroU32>,
    /// Signed file, or `sha256:` followed by the digest of that file
    file: String,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // For `--help`, the exit code is 0. For errors, it is 1, although clap itself would exit with 2.
            drop(error.print());
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    // After a panic, print nothing more: the panic has already printed its message.
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
    // If standard error is closed, the exit code stays the same.
    drop(writeln!(stderr, "{}", lines.join("\n")));
}

fn run(arguments: &Arguments) -> Result<()> {
    // The suite runs this program under `faketime`, which replaces libc's clock functions. `Utc::now` calls libc.
    let now = Utc::now();
    match &arguments.command {
        Command::Init { root } => {
            let root = fs::read(root)?;
            let metadata_url = "http://unused.invalid/";
            let metadata_dir = needed(arguments.metadata_dir.as_ref(), "--metadata-dir")?;
            updater(metadata_dir, root.clone(), metadata_url, metadata_url)?.prepare_at(now)?;
            keep_shipped_root(metadata_dir, &root)
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
        Command::VerifyBundle(arguments) => verify_bundle(arguments, now),
    }
}

const PUBLIC_ROOT: &[u8] = include_bytes!("../../../attest/tests/fixtures/public-root.json");
const STAGING_ROOT: &[u8] = include_bytes!("../../../attest/tests/fixtures/staging-root.json");

fn verify_bundle(arguments: &VerifyBundle, now: DateTime<Utc>) -> Result<()> {
    let bundle = fs::read(&arguments.bundle)?;
    let signer = match (&arguments.key, &arguments.certificate_identity, &arguments.certificate_oidc_issuer) {
        (Some(key), ..) => ExpectedSigner::Key(PublicKey::from_text(&fs::read_to_string(key)?)?),
        (None, Some(subject), Some(issuer)) => {
            ExpectedSigner::Identity { subject: subject.clone(), issuer: issuer.clone() }
        }
        _ => return Err("give either --key, or both --certificate-identity and --certificate-oidc-issuer".into()),
    };
    let trusted_root = match &arguments.trusted_root {
        Some(file) => fs::read(file)?,
        None if arguments.staging => STAGING_ROOT.to_vec(),
        None => PUBLIC_ROOT.to_vec(),
    };
    // The suite does not specify which types of statements it expects, so any type of statement about the file is
    // accepted.
    let check = BundleCheck { signer, attestation: predicate_type(&bundle), trusted_root: Some(trusted_root) };
    let hashes = hashes(&arguments.file)?;
    let Some(rounds) = arguments.rounds else { return check.judge(&bundle, hashes, now) };
    let seconds = check.judge_repeatedly(&bundle, hashes, now, rounds.get())?.as_secs_f64();
    Ok(writeln!(io::stdout(), "{}", seconds / f64::from(rounds.get()))?)
}

/// Returns the hashes of the signed file. `file` is its path, or `sha256:` followed by its digest.
fn hashes(file: &str) -> Result<Hashes> {
    let digest = file.strip_prefix("sha256:").and_then(|digits| hex::decode(digits).ok());
    if let Some(digest) = digest.filter(|digest| digest.len() == 32 && !Path::new(file).exists()) {
        return Hashes::new([(Algorithm::Sha256, digest)]).ok_or_else(|| "a digest is needed".into());
    }
    let algorithms = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];
    Hashes::of(&fs::read(file)?, &algorithms).ok_or_else(|| "digests are needed".into())
}

fn needed<'a, T: ?Sized>(value: Option<&'a T>, option: &str) -> Result<&'a T> {
    value.ok_or_else(|| format!("{option} is required before this command").into())
}

fn open(arguments: &Arguments, metadata_url: &str, targets_url: &str) -> Result<blocking::Updater> {
    let metadata_dir = needed(arguments.metadata_dir.as_ref(), "--metadata-dir")?;
    let root = fs::read(shipped_root(metadata_dir))?;
    updater(metadata_dir, root, metadata_url, targets_url)
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

/// Returns the path of the file in which `init` stores the root. This file belongs neither to the trusted roles in `M`
/// nor to the client's own state.
fn shipped_root(store: &Path) -> PathBuf {
    store.join("shipped").join("root.json")
}

/// Stores `root` for later runs, atomically.
fn keep_shipped_root(store: &Path, root: &[u8]) -> Result<()> {
    let goal = shipped_root(store);
    let folder = goal.parent().ok_or("the path of the shipped root has no parent folder")?;
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(root)?;
    file.persist(&goal)?;
    Ok(())
}

/// The characters to percent-encode in the name of a downloaded file: all except ASCII letters, digits and `-._~`.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns the file name of a target, which is its percent-encoded path. If that name is longer than 255 bytes, returns
/// `%.sha256-` followed by the path's digest instead. No percent-encoded path starts with `%.`, so no other target has
/// this file name. If the path consists only of dots, encodes the dots as well, because a file cannot be named `.` or
/// `..`.
fn file_name(target: &str) -> String {
    let name = utf8_percent_encode(target, UNRESERVED).to_string();
    if name.len() > 255 {
        return format!("%.sha256-{}", hex::encode(Sha256::digest(target)));
    }
    if name.bytes().all(|byte| byte == b'.') { name.replace('.', "%2E") } else { name }
}
