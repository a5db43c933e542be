//! The command line of `lastmile-repo`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lastmile_keys::Scheme;

use super::add::{Add, Remove};
use super::revoke::Revoke;
use crate::user::RootDigest;

/// Makes, changes, signs and publishes TUF repositories.
///
/// A repository is a folder with the configuration `repo.toml` and the folders `metadata/` and `targets/`, which any web
/// server can serve. Versions, dates, hashes and file names are computed. Nothing is published that a client would
/// refuse.
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

Exit codes: 0 done, 1 failed (status: something is due), 2 usage, 3 no such name, 4 network, 5 refused as untrusted."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The repository's folder [env: LASTMILE_REPOSITORY=]
    // The environment is a value, which `clap` cannot be given: `parsed` makes it the default.
    #[arg(long, short = 'C', global = true, value_name = "DIR", default_value = ".")]
    pub(crate) repository: PathBuf,
    /// Show what would change, and change nothing.
    #[arg(long, short = 'n', global = true)]
    pub(crate) dry_run: bool,
    /// Print the result as JSON on standard output.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Read the pass-phrase of the keys from this file (its first line). Else it is taken from the environment
    /// variable LASTMILE_PASS_PHRASE, or asked for.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) pass_phrase_file: Option<PathBuf>,
    /// Your configuration, outside every repository: pinned roots, allowed keys, URLs [default: $LASTMILE_REPO_CONFIG, or
    /// lastmile-repo/config.toml in the platform's folder for configuration]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Trust this root file of the repository, and pin it for later commands
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) root: Option<PathBuf>,
    /// Trust the root with this SHA-256, and pin it for later commands. LASTMILE_REPO_ROOT_SHA256 does the same for one
    /// command
    #[arg(long, global = true, value_name = "DIGEST", conflicts_with = "root")]
    pub(crate) root_sha256: Option<RootDigest>,
    /// Use this private key outside the repository's folder, which repo.toml names, for this command.
    /// LASTMILE_REPO_ALLOWED_KEYS lists such files like PATH; `key allow` remembers one
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) allow_key: Vec<PathBuf>,
    /// Publish without comparing with what is served at the metadata-url of your configuration
    #[arg(long, global = true)]
    pub(crate) skip_served_check: bool,
    /// How long to wait for another process that changes the repository; 0: not at all.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) wait: u64,
    /// Sign this unknown member or key. The error message prints the name to give.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) accept: Vec<String>,
    /// Print nothing on standard error but errors.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a signed repository that can be served at once.
    Init(Init),
    /// Make, list, show and take in keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Publish files, or whole folders of them.
    Add(Add),
    /// Publish no longer.
    Remove(Remove),
    /// Let another role vouch for some targets.
    Delegate(Delegate),
    /// Take a delegation back.
    Undelegate(Undelegate),
    /// Spread a role's targets over bins by the hash of their names, so that clients fetch little.
    Bins(Bins),
    /// Sign again what is due: timestamp and snapshot, which needs only the online keys.
    Renew(Renew),
    /// Change the keys of a role.
    Rotate(Rotate),
    /// Change how many keys of a role must sign.
    SetThreshold(SetThreshold),
    /// Change after how many days a role's metadata expires.
    SetExpiry(SetExpiry),
    /// Throw out a key that is lost or stolen, everywhere, and prove it.
    Revoke(Revoke),
    /// Add a signature to a change that waits for it.
    Sign(Sign),
    /// Publish a change that has all its signatures.
    Publish(Publish),
    /// Drop a change that waits for signatures.
    Discard,
    /// Bring a folder that was restored or copied in line with what is served.
    CatchUp(CatchUp),
    /// Show versions, expiry, who can sign and what is due.
    Status(Status),
    /// Check a repository as a new client and as every older client would.
    Verify(Verify),
    /// Serve metadata/ and targets/ over HTTP, for trying things.
    Serve(Serve),
    /// Run any TUF client against the attack suite and report which attacks it withstands.
    #[cfg(feature = "attack-lab")]
    AttackLab(super::lab::AttackLab),
    /// Play releases and attacks with real packages, and show what the client says.
    Demo(Demo),
    /// Print a completion script.
    Completions(Completions),
    /// Write manual pages.
    Man(Man),
}

/// `init`
#[derive(Debug, Args)]
#[command(after_help = "\
Makes three root keys, of which two must sign (so that one may get lost), and one key each for targets, snapshot and
timestamp. All are encrypted under your pass-phrase. Afterwards move the root keys to places apart from each other.

Examples:
  lastmile-repo init packages
  lastmile-repo init packages --unencrypted-online-keys      # so that cron can renew
  lastmile-repo init packages --metadata-url https://example.org/packages/metadata/
  lastmile-repo init packages --threshold targets=2 --expiry timestamp=3")]
pub(crate) struct Init {
    /// Where to make it; created if need be. Otherwise the folder of --repository.
    pub(crate) dir: Option<PathBuf>,
    /// How many keys of a role must sign; one key more than that is made for root.
    #[arg(long, value_name = "ROLE=N", value_parser = role_number)]
    pub(crate) threshold: Vec<(String, u32)>,
    /// Days after which a role's metadata expires.
    #[arg(long, value_name = "ROLE=DAYS", value_parser = role_number)]
    pub(crate) expiry: Vec<(String, u32)>,
    /// Kind of the keys.
    #[arg(long, default_value = "ed25519", value_name = "SCHEME")]
    pub(crate) scheme: Scheme,
    /// Where the private keys go, if not into DIR/keys.
    #[arg(long, value_name = "DIR")]
    pub(crate) keys: Option<PathBuf>,
    /// Where the metadata will be served. It is remembered in your configuration, and compared before each publication
    #[arg(long, value_name = "URL")]
    pub(crate) metadata_url: Option<String>,
    /// Write metadata without versions in file names. Clients that update while you publish may then fail.
    #[arg(long)]
    pub(crate) no_consistent_snapshot: bool,
    /// Write target files under their own names. A name can then be published only once.
    #[arg(long)]
    pub(crate) no_hash_prefix: bool,
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
    /// Make a key. It can do nothing until `rotate` or `delegate` gives it a role.
    Generate {
        /// Its name: NAME.pem and NAME.pub are written.
        name: String,
        /// Kind of the key.
        #[arg(long, default_value = "ed25519")]
        scheme: Scheme,
        /// Where to write it, if not into the repository's keys/.
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
        /// Leave it unencrypted.
        #[arg(long)]
        unencrypted: bool,
    },
    /// List the keys that published metadata trusts, their roles, and which of them are here.
    List,
    /// Allow the use of a private key file outside the repository's folder that repo.toml names.
    Allow {
        /// The file.
        file: PathBuf,
    },
    /// Show one key.
    Show {
        /// A key id (its beginning is enough), a URI such as file:keys/root-1.pem, or a file.
        key: String,
    },
    /// Take in a private key that was made elsewhere (PKCS#8 PEM), encrypting it anew.
    Import {
        /// The file.
        file: PathBuf,
        /// Its name here; otherwise the file's.
        #[arg(long)]
        name: Option<String>,
        /// Leave it unencrypted.
        #[arg(long)]
        unencrypted: bool,
    },
}

/// `delegate`
#[derive(Debug, Args)]
#[command(after_help = "\
`*` stands for anything within one folder, `?` for one character; nothing else is special.

Examples:
  lastmile-repo key generate plugins-1
  lastmile-repo delegate plugins-team --paths 'plugins/*' --key file:keys/plugins-1.pem
  lastmile-repo delegate partner --paths 'partner/*' --key partner.pub --terminating")]
pub(crate) struct Delegate {
    /// Name of the new role.
    pub(crate) name: String,
    /// Patterns of target paths.
    #[arg(long, num_args = 1.., required_unless_present = "hash_prefixes", conflicts_with = "hash_prefixes")]
    pub(crate) paths: Vec<String>,
    /// First digits of the SHA-256 of target paths.
    #[arg(long, num_args = 1..)]
    pub(crate) hash_prefixes: Vec<String>,
    /// Its keys: a key id, a URI, a private key file or a .pub file.
    #[arg(long, required = true, num_args = 1.., value_name = "KEY")]
    pub(crate) key: Vec<String>,
    /// How many of them must sign.
    #[arg(long, default_value_t = 1)]
    pub(crate) threshold: u32,
    /// Search no further role for targets that fit.
    #[arg(long)]
    pub(crate) terminating: bool,
    /// The role that delegates.
    #[arg(long, default_value = "targets", value_name = "ROLE")]
    pub(crate) from: String,
}

/// `undelegate`
#[derive(Debug, Args)]
#[command(after_help = "Example: lastmile-repo undelegate plugins-team")]
pub(crate) struct Undelegate {
    /// The role.
    pub(crate) name: String,
    /// The role that delegates to it; otherwise wherever it is found.
    #[arg(long, value_name = "ROLE")]
    pub(crate) from: Option<String>,
}

/// `bins`
#[derive(Debug, Args)]
#[command(after_help = "\
Targets that the role lists already, itself or in other bins, move into their bins. 2^N bins are made.

Examples:
  lastmile-repo bins                                # proposes N, says why, and changes nothing
  lastmile-repo bins --bit-length 8
  lastmile-repo bins --bit-length 4 --prefixes      # for clients without succinct bins (TAP 15)")]
pub(crate) struct Bins {
    /// Bits of the hash that choose the bin, 1 to 16. Without it a number is proposed.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) bit_length: Option<u8>,
    /// Write every bin as a delegation by hash prefix, which every client understands.
    #[arg(long)]
    pub(crate) prefixes: bool,
    /// The role whose targets are spread.
    #[arg(long, default_value = "targets", value_name = "ROLE")]
    pub(crate) role: String,
    /// Names of the bins: PREFIX-00, PREFIX-01, …
    #[arg(long, default_value = "bin", value_name = "PREFIX")]
    pub(crate) name_prefix: String,
    /// Keys of the bins; otherwise those of the role.
    #[arg(long, num_args = 1.., value_name = "KEY")]
    pub(crate) key: Vec<String>,
    /// How many of them must sign; otherwise as many as of the role's.
    #[arg(long)]
    pub(crate) threshold: Option<u32>,
}

/// `renew`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lastmile-repo renew               # timestamp and snapshot, when they are due
  lastmile-repo renew root targets  # these too; needs their keys
  lastmile-repo renew 'bin-*'       # all roles whose names begin so
  lastmile-repo renew --force       # though not due yet")]
pub(crate) struct Renew {
    /// Further roles to renew when due; with a `*` at the end all delegated ones that begin so.
    pub(crate) roles: Vec<String>,
    /// Sign even what is not due.
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
    /// Keys that it gets: a key id, a URI, a private key file or a .pub file.
    #[arg(long, value_name = "KEY")]
    pub(crate) add: Vec<String>,
    /// Keys that it loses.
    #[arg(long, value_name = "KEY")]
    pub(crate) remove: Vec<String>,
}

/// `set-threshold`
#[derive(Debug, Args)]
#[command(after_help = "Example: lastmile-repo set-threshold root 2")]
pub(crate) struct SetThreshold {
    /// The role.
    pub(crate) role: String,
    /// How many of its keys must sign.
    pub(crate) threshold: u32,
}

/// `set-expiry`
#[derive(Debug, Args)]
#[command(after_help = "\
Counts from the next signature; `renew --force ROLE` signs now.

Example: lastmile-repo set-expiry timestamp 3")]
pub(crate) struct SetExpiry {
    /// The role.
    pub(crate) role: String,
    /// Days from signing to expiry, 1 to 36500.
    #[arg(value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: u32,
}

/// `sign`
#[derive(Debug, Args)]
#[command(after_help = "\
Shows what you sign, and asks.

Examples:
  lastmile-repo sign --key /media/usb/root-2.pem
  lastmile-repo sign root")]
pub(crate) struct Sign {
    /// Roles to sign; otherwise all that wait and that your keys can sign.
    pub(crate) roles: Vec<String>,
    /// Private key files to sign with; otherwise those that the configuration names.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<String>,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// `publish`
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 1: signatures are still missing, and nothing was published.

Example: lastmile-repo publish")]
pub(crate) struct Publish {}

/// `catch-up`
#[derive(Debug, Args)]
#[command(after_help = "\
Verifies what is served from the root that you pinned, and shows how it differs from this folder. New snapshots and
timestamps are adopted. Where this folder has published more than the server has, everything is signed again above
the versions of the server. Content that was not published from this folder is refused unless --adopt is given.

Examples:
  lastmile-repo catch-up --metadata-url https://example.org/packages/metadata/
  lastmile-repo catch-up --adopt       # after a restore: the newer releases on the server are yours")]
pub(crate) struct CatchUp {
    /// Where the metadata is served; remembered in your configuration
    #[arg(long, value_name = "URL")]
    pub(crate) metadata_url: Option<String>,
    /// Adopt content that was published from another copy
    #[arg(long)]
    pub(crate) adopt: bool,
}

/// `status`
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 0: nothing to do; 1: something is due, expired or waits for signatures; others as everywhere.

Example: lastmile-repo status || mail -s 'repository needs you' me")]
pub(crate) struct Status {}

/// `verify`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lastmile-repo verify
  lastmile-repo verify /backup/packages
  lastmile-repo verify https://example.org/packages --root 1.root.json

A folder is verified from the root that --root names, else from its oldest one; if you have pinned a root of it, the folder
must have that root. A URL is verified from the root that --root names, else from metadata/1.root.json of --repository.")]
pub(crate) struct Verify {
    /// A repository's folder or URL; metadata/ and targets/ are below it.
    pub(crate) place: Option<String>,
    /// Target files that are not in the folder are served elsewhere (`add --from-list`): check those that are.
    #[arg(long)]
    pub(crate) elsewhere: bool,
}

/// `serve`
#[derive(Debug, Args)]
#[command(after_help = "Example: lastmile-repo serve --port 8080")]
pub(crate) struct Serve {
    /// The port; 0 takes a free one.
    #[arg(long, default_value_t = 8000)]
    pub(crate) port: u16,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
}

/// `demo`
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Keep the folder in which it plays, and say where it is.
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
    /// Where to write one page for each command.
    pub(crate) folder: PathBuf,
}

/// Parses `ROLE=NUMBER` for a top-level role.
fn role_number(text: &str) -> Result<(String, u32), String> {
    let (role, number) = text.split_once('=').ok_or("must be of the form ROLE=NUMBER")?;
    let number = number.parse().ok().filter(|number| *number > 0).ok_or("the number must be at least 1")?;
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
