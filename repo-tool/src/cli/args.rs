//! The command line of `lastmile-repo`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lastmile_keys::Scheme;

use super::add::Add;
use super::remove::Remove;
use super::revoke::Revoke;
use crate::config::{MOST_DAYS, MOST_KEYS};
use crate::root_digest::RootDigest;

/// Create, change, sign and publish TUF repositories.
///
/// A repository is a folder with the configuration file `repo.toml` and the folders `metadata/` and `targets/`, which
/// any web server can serve. The tool computes versions, dates, hashes and file names. It never publishes metadata that
/// clients would refuse.
#[derive(Debug, Parser)]
#[command(
    name = "lastmile-repo",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  lastmile-repo init packages && cd packages
  lastmile-repo add ../dist
  lastmile-repo serve
  lastmile-repo renew            # from cron: signs timestamp and snapshot when they are due

Exit codes:
  0  done
  1  failed on this machine
  2  wrong usage
  3  no such target, role, key or repository
  4  the network or a server failed
  5  refused as untrusted
  6  not published yet: signatures are missing
  7  status: something is overdue, expired or pending; verify --strict: warnings; attack-lab: an attack succeeded"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The options that all commands share.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The repository's folder [env: LASTMILE_REPOSITORY=]
    // clap reads only the environment of the process, but tests pass a different one, so `parsed` sets the default.
    #[arg(long, short = 'C', global = true, value_name = "DIR", default_value = ".")]
    pub(crate) repository: PathBuf,
    /// Show what the command would do, without changing anything.
    #[arg(long, short = 'n', global = true)]
    pub(crate) dry_run: bool,
    /// Print the result as JSON on standard output.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Read the pass-phrase of the keys from the first line of FILE; `-` is standard input [default:
    /// $LASTMILE_PASS_PHRASE, or a prompt]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) pass_phrase_file: Option<PathBuf>,
    /// Configuration file of the user, outside every repository: pinned roots, allowed keys, URLs [default:
    /// $LASTMILE_REPO_CONFIG, or lastmile-repo/config.toml in the platform's configuration folder]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Trust FILE as the repository's root, and pin it for later commands
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) root: Option<PathBuf>,
    /// Trust the root with this SHA-256, and pin it for later commands. To trust a root without pinning it, set
    /// LASTMILE_REPO_ROOT_SHA256 instead
    #[arg(long, global = true, value_name = "DIGEST", conflicts_with = "root")]
    pub(crate) root_sha256: Option<RootDigest>,
    /// Allow this command to use FILE, a private key outside the repository's folder that repo.toml names. To allow
    /// several files, list them in LASTMILE_REPO_ALLOWED_KEYS as in PATH; to allow a file permanently, use `key allow`
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) allow_key: Vec<PathBuf>,
    /// Publish without first comparing the repository with the server at the metadata-url in your configuration
    #[arg(long, global = true)]
    pub(crate) skip_served_check: bool,
    /// Sign even if this machine's clock is far behind the dates in the published metadata
    #[arg(long, global = true)]
    pub(crate) skip_clock_check: bool,
    /// Seconds to wait for another process that is changing the repository; 0 disables waiting
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) wait: u64,
    /// Accept this unknown member or key when signing. The error message prints the NAME to use.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) accept: Vec<String>,
    /// Print only errors and the requested data.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a signed repository that is ready to serve.
    Init(Init),
    /// Generate, list, show and import keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Publish files or folders.
    Add(Add),
    /// Remove targets from the repository.
    Remove(Remove),
    /// Delegate some target paths to another role.
    Delegate(Delegate),
    /// Change the paths, order or threshold of a delegation, or whether it is terminating.
    SetDelegation(super::set_delegation::Args),
    /// Remove a delegation.
    Undelegate(Undelegate),
    /// Distribute a role's targets into hash bins, so that clients download less metadata.
    Bins(Bins),
    /// Sign timestamp and snapshot again when they are due, using only the online keys.
    Renew(Renew),
    /// Change the keys of a role.
    Rotate(Rotate),
    /// Change how many keys of a role must sign.
    SetThreshold(SetThreshold),
    /// Change the number of days after which a role's metadata expires.
    SetExpiry(SetExpiry),
    /// Undo the last publication by publishing the earlier content again.
    Revert(super::revert::Args),
    /// Revoke a lost or stolen key in all roles, and prove that clients refuse it.
    Revoke(Revoke),
    /// Sign the pending change.
    Sign(Sign),
    /// Publish the pending change once it has all signatures.
    Publish(Publish),
    /// Discard the pending change.
    Discard(super::discard::Args),
    /// Synchronize a restored or copied repository with the server.
    CatchUp(CatchUp),
    /// Show versions, expiry dates, keys, and the roles that are due for renewal.
    Status(super::status::Args),
    /// Check a repository as new and existing clients would.
    Verify(Verify),
    /// Serve metadata/ and targets/ over HTTP, for testing.
    Serve(Serve),
    /// Run any TUF client against the attack suite and report which attacks it withstands.
    #[cfg(feature = "attack-lab")]
    AttackLab(super::attack_lab::AttackLab),
    /// Demonstrate releases and attacks with real packages, and show how the client responds.
    Demo(Demo),
    /// Print a shell completion script.
    Completions(Completions),
    /// Write manual pages.
    Man(Man),
}

/// `init`
#[derive(Debug, Args)]
#[command(after_help = "\
Generates three root keys; two of them must sign, so you can lose one. Generates one key each for targets, snapshot and
timestamp. Encrypts all keys with your pass-phrase. Afterwards, store each root key in a different place.

Examples:
  lastmile-repo init packages
  lastmile-repo init packages --unencrypted-online-keys      # so that cron can renew
  lastmile-repo init packages --metadata-url https://example.org/packages/metadata/
  lastmile-repo init packages --threshold targets=2 --expiry timestamp=3")]
pub(crate) struct Init {
    /// Folder of the repository, created if it does not exist [default: the folder of --repository]
    pub(crate) dir: Option<PathBuf>,
    /// Number of keys that must sign for a role, 1 to 100; root gets one spare key.
    #[arg(long, value_name = "ROLE=N", value_parser = |text: &str| role_number(text, MOST_KEYS))]
    pub(crate) threshold: Vec<(String, u32)>,
    /// Number of days after which a role's metadata expires, 1 to 36500.
    #[arg(long, value_name = "ROLE=DAYS", value_parser = |text: &str| role_number(text, MOST_DAYS))]
    pub(crate) expiry: Vec<(String, u32)>,
    /// Signature scheme of the keys.
    #[arg(long, default_value = "ed25519", value_name = "SCHEME")]
    pub(crate) scheme: Scheme,
    /// Folder for the private keys [default: DIR/keys]
    #[arg(long, value_name = "DIR")]
    pub(crate) keys: Option<PathBuf>,
    /// URL at which the metadata is served; stored in your configuration. Before each publication, this folder is
    /// compared with the files at the URL
    #[arg(long, value_name = "URL")]
    pub(crate) metadata_url: Option<String>,
    /// Write metadata files without version numbers in their names. Clients that update during a publication may fail.
    #[arg(long)]
    pub(crate) no_consistent_snapshot: bool,
    /// Write target files without hashes in their names. Each name can be published only once.
    #[arg(long)]
    pub(crate) no_hash_prefix: bool,
    /// Pattern of target names whose published content must never change; `!PATTERN` excludes names [default: *]
    #[arg(long, value_name = "PATTERN")]
    pub(crate) immutable: Vec<String>,
    /// Leave the snapshot and timestamp keys unencrypted, for unattended renewal.
    #[arg(long)]
    pub(crate) unencrypted_online_keys: bool,
    /// Leave all keys unencrypted. For tests only.
    #[arg(long, conflicts_with = "unencrypted_online_keys")]
    pub(crate) unencrypted_keys: bool,
}

/// `key …`
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Generate a key. It is trusted only after `rotate` or `delegate` assigns it to a role.
    Generate {
        /// Name of the key; NAME.pem and NAME.pub are written.
        name: String,
        /// Signature scheme of the key.
        #[arg(long, default_value = "ed25519")]
        scheme: Scheme,
        /// Folder to write to [default: keys/ of the repository]
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
        /// Leave the key unencrypted.
        #[arg(long)]
        unencrypted: bool,
    },
    /// List the trusted keys and the keys on this machine, with their roles.
    List,
    /// Allow repo.toml to name a private key file outside the repository's folder.
    Allow {
        /// The key file.
        file: PathBuf,
    },
    /// Show one key.
    Show {
        /// Key ID or its first digits, a URI such as file:keys/root-1.pem, or a key file.
        key: String,
    },
    /// Import a private key from another tool (PKCS#8 PEM) and encrypt it. For other formats, prints the command that
    /// converts them.
    Import {
        /// The key file.
        file: PathBuf,
        /// Name of the key [default: the name of the file]
        #[arg(long)]
        name: Option<String>,
        /// Leave the key unencrypted.
        #[arg(long)]
        unencrypted: bool,
    },
}

/// `delegate`
#[derive(Debug, Args)]
#[command(override_usage = super::delegate::USAGE, after_help = "\
`*` matches any characters except `/`, and `?` matches one character. No other character is special.

Examples:
  lastmile-repo key generate plugins-1
  lastmile-repo delegate plugins-team --paths 'plugins/*' --key file:keys/plugins-1.pem
  lastmile-repo delegate partner --paths 'partner/*' --key partner.pub --terminating")]
pub(crate) struct Delegate {
    /// Name of the new role.
    pub(crate) name: String,
    /// Patterns of the target paths to delegate.
    #[arg(long, num_args = 1.., required_unless_present = "hash_prefixes", conflicts_with = "hash_prefixes", value_name = "PATTERN")]
    pub(crate) paths: Vec<String>,
    /// Hash prefixes to delegate: first hexadecimal digits of the SHA-256 of target paths.
    #[arg(long, num_args = 1.., value_name = "PREFIX")]
    pub(crate) hash_prefixes: Vec<String>,
    /// Keys of the role: a key ID, a URI, a private key file or a .pub file.
    #[arg(long, required = true, num_args = 1.., value_name = "KEY")]
    pub(crate) key: Vec<String>,
    /// Number of these keys that must sign.
    #[arg(long, default_value_t = 1)]
    pub(crate) threshold: u32,
    /// Make the delegation terminating: for matching paths, clients search no further roles.
    #[arg(long)]
    pub(crate) terminating: bool,
    /// Role that delegates.
    #[arg(long, default_value = "targets", value_name = "ROLE")]
    pub(crate) from: String,
}

/// `undelegate`
#[derive(Debug, Args)]
#[command(after_help = "Example: lastmile-repo undelegate plugins-team")]
pub(crate) struct Undelegate {
    /// The delegated role.
    pub(crate) name: String,
    /// Role that delegates to NAME [default: the first such role that is found]
    #[arg(long, value_name = "ROLE")]
    pub(crate) from: Option<String>,
}

/// `bins`
#[derive(Debug, Args)]
#[command(after_help = "\
Creates 2^N bins, and moves the targets of the role and of its earlier bins into the new bins.

Examples:
  lastmile-repo bins                                # recommends N and explains why; changes nothing
  lastmile-repo bins --bit-length 8
  lastmile-repo bins --bit-length 4 --prefixes      # for clients without succinct bins (TAP 15)")]
pub(crate) struct Bins {
    /// Number of hash bits that select the bin, 1 to 16. Without this option, the tool recommends a number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) bit_length: Option<u8>,
    /// Write each bin as a delegation by hash prefix, which every client supports.
    #[arg(long)]
    pub(crate) prefixes: bool,
    /// Role whose targets to distribute.
    #[arg(long, default_value = "targets", value_name = "ROLE")]
    pub(crate) role: String,
    /// Names of the bins: PREFIX-00, PREFIX-01, …
    #[arg(long, default_value = "bin", value_name = "PREFIX")]
    pub(crate) name_prefix: String,
    /// Keys of the bins [default: the keys of the role]
    #[arg(long, num_args = 1.., value_name = "KEY")]
    pub(crate) key: Vec<String>,
    /// Number of keys that must sign for a bin [default: the threshold of the role]
    #[arg(long)]
    pub(crate) threshold: Option<u32>,
}

/// `renew`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lastmile-repo renew               # timestamp and snapshot, when they are due
  lastmile-repo renew root targets  # root and targets too; needs their keys
  lastmile-repo renew 'bin-*'       # all roles whose names start with bin-
  lastmile-repo renew --force       # even if they are not due")]
pub(crate) struct Renew {
    /// Other roles to renew if they are due; PREFIX* matches all delegated roles with that prefix.
    pub(crate) roles: Vec<String>,
    /// Also sign roles that are not due.
    #[arg(long)]
    pub(crate) force: bool,
}

/// `rotate`
#[derive(Debug, Args)]
#[command(after_help = "\
A new root is signed by the old root keys and the new ones.

Examples:
  lastmile-repo rotate timestamp --add file:keys/timestamp-2.pem --remove file:keys/timestamp-1.pem
  lastmile-repo rotate root --add alice.pub")]
pub(crate) struct Rotate {
    /// The role.
    pub(crate) role: String,
    /// Keys to add: a key ID, a URI, a private key file or a .pub file.
    #[arg(long, value_name = "KEY")]
    pub(crate) add: Vec<String>,
    /// Keys to remove.
    #[arg(long, value_name = "KEY")]
    pub(crate) remove: Vec<String>,
}

/// `set-threshold`
#[derive(Debug, Args)]
#[command(after_help = "Example: lastmile-repo set-threshold root 2")]
pub(crate) struct SetThreshold {
    /// The role.
    pub(crate) role: String,
    /// Number of the role's keys that must sign.
    pub(crate) threshold: u32,
}

/// `set-expiry`
#[derive(Debug, Args)]
#[command(after_help = "\
Takes effect at the next signature; `renew --force ROLE` signs now.

Example: lastmile-repo set-expiry timestamp 3")]
pub(crate) struct SetExpiry {
    /// The role.
    pub(crate) role: String,
    /// Number of days from signing to expiry, 1 to 36500.
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_DAYS)))]
    pub(crate) days: u32,
}

/// `sign`
#[derive(Debug, Args)]
#[command(after_help = "\
Shows every change and asks for confirmation before signing.

Examples:
  lastmile-repo sign --key /media/usb/root-2.pem
  lastmile-repo sign root")]
pub(crate) struct Sign {
    /// Roles to sign for [default: every role of the pending change for which you have a key]
    pub(crate) roles: Vec<String>,
    /// Private key files to sign with [default: the keys that repo.toml lists]
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<String>,
    /// Sign without asking.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// `publish`
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 6: signatures are still missing; nothing was published.

Example: lastmile-repo publish")]
pub(crate) struct Publish {}

/// `catch-up`
#[derive(Debug, Args)]
#[command(after_help = "\
Verifies the served repository from the root that you pinned, and shows how it differs from this folder. Adopts new
snapshots and timestamps. If this folder has newer content than the server, signs everything again with versions above
those of the server. Refuses content that was not published from this folder, unless --adopt is given.

Examples:
  lastmile-repo catch-up --metadata-url https://example.org/packages/metadata/
  lastmile-repo catch-up --adopt       # after a restore, if the newer releases on the server are yours")]
pub(crate) struct CatchUp {
    /// URL of the served metadata; stored in your configuration
    #[arg(long, value_name = "URL")]
    pub(crate) metadata_url: Option<String>,
    /// Adopt content that was published from another copy of the repository
    #[arg(long)]
    pub(crate) adopt: bool,
}

/// `verify`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lastmile-repo verify
  lastmile-repo verify /backup/packages
  lastmile-repo verify https://example.org/packages --root 1.root.json

Verification of a folder starts from the root given with --root, or from the oldest root in the folder. If you pinned a root,
the folder must contain it. Verification of a URL starts from the root given with --root, or from metadata/1.root.json of
--repository.")]
pub(crate) struct Verify {
    /// Folder or URL that contains metadata/ and targets/ [default: the folder of --repository]
    pub(crate) place: Option<String>,
    /// Accept missing target files that another server has (`add --from-list`); existing files are still checked.
    #[arg(long)]
    pub(crate) elsewhere: bool,
    /// Exit with status 7 if there are warnings.
    #[arg(long)]
    pub(crate) strict: bool,
}

/// `serve`
#[derive(Debug, Args)]
#[command(after_help = "Example: lastmile-repo serve --port 8080")]
pub(crate) struct Serve {
    /// Port to listen on; 0 chooses a free port.
    #[arg(long, default_value_t = 8000)]
    pub(crate) port: u16,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
}

/// `demo`
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Keep the temporary folder of the demo, and print its path.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// `completions`
#[derive(Debug, Args)]
#[command(
    after_help = "Example: lastmile-repo completions bash > ~/.local/share/bash-completion/completions/lastmile-repo"
)]
pub(crate) struct Completions {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

/// `man`
#[derive(Debug, Args)]
#[command(after_help = "Example: lastmile-repo man ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// Folder for the man pages, one for each command.
    pub(crate) folder: PathBuf,
}

/// Parses `ROLE=NUMBER`, where ROLE is a top-level role and NUMBER is from 1 to `most`.
fn role_number(text: &str, most: u32) -> Result<(String, u32), String> {
    let (role, number) = text.split_once('=').ok_or("must be of the form ROLE=NUMBER")?;
    let number = number.parse().ok().filter(|number| (1..=most).contains(number));
    let number = number.ok_or_else(|| format!("the number must be from 1 to {most}"))?;
    let is_called = |known: &TopLevel| known.to_possible_value().is_some_and(|known| known.matches(role, false));
    if !TopLevel::value_variants().iter().any(is_called) {
        return Err("the role must be root, targets, snapshot or timestamp".into());
    }
    Ok((role.to_string(), number))
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TopLevel {
    Root,
    Targets,
    Snapshot,
    Timestamp,
}
