//! The definition of the command line, from which help, completions and manual pages are generated.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use lastmile_metadata::Limits;

use crate::net::http::HttpSettings;

const EXAMPLES: &str = "\
Examples:
  lastmile trust add example --root root.json --metadata-url https://example.org/metadata/
  lastmile get example-1.0.tar.gz
  lastmile list 'docs/*'
  lastmile verify example-1.0.tar.gz --as example-1.0.tar.gz
  lastmile status --json
  lastmile help trust add

Exit codes:
  0  done
  1  failed on this machine
  2  wrong usage
  3  no such target
  4  the network or the server failed
  5  refused as untrusted because of signatures, versions, expiry, hashes or policies
  7  `status`: a role expires soon

The root file given to `trust add` must come from the maintainers through a channel you trust:
all other metadata is verified starting from this file.";

#[cfg(feature = "attest")]
const VERIFY_EXAMPLES: &str = "\
Examples:
  lastmile verify example-1.0.tar.gz --as example-1.0.tar.gz
  lastmile verify --explain example-1.0.tar.gz";

#[cfg(not(feature = "attest"))]
const VERIFY_EXAMPLES: &str = "Example: lastmile verify example-1.0.tar.gz --as example-1.0.tar.gz";

/// Fetch and verify updates with The Update Framework (TUF).
#[derive(Debug, Parser)]
#[command(name = "lastmile", version, after_help = EXAMPLES, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Common {
    /// The name of the repository; required only if several are trusted
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(super) repository: Option<String>,

    /// The directory for trusted metadata and settings [default: $LASTMILE_STATE_DIR, or lastmile in
    /// the user's state directory]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) state_dir: Option<PathBuf>,

    /// Write one JSON document to standard output
    #[arg(long, global = true)]
    pub(super) json: bool,

    /// Do not print progress, notes, warnings or reports
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,

    #[cfg_attr(feature = "attest", doc = "Show every request and, with `get`, every satisfied rule")]
    #[cfg_attr(not(feature = "attest"), doc = "Show every request")]
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,

    #[command(flatten)]
    pub(super) network: Network,
}

/// Network options.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Network options")]
pub(super) struct Network {
    /// Abort a request when the server does not respond for this long
    #[arg(long, global = true, hide_short_help = true, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(super) timeout: Duration,

    /// Give up on fetching a file from a mirror after this long; large targets get additional time
    #[arg(long, global = true, hide_short_help = true, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    pub(super) deadline: Duration,

    /// How many times to retry a temporary failure
    #[arg(long, global = true, hide_short_help = true, value_name = "N", default_value_t = 3)]
    pub(super) retries: u32,

    /// The proxy for all requests (http, https, socks4, socks4a, socks5 or socks5h); `none` for no proxy [default: as
    /// set by $HTTPS_PROXY, $HTTP_PROXY, $ALL_PROXY and $NO_PROXY]
    #[arg(long, global = true, hide_short_help = true, value_name = "URL", value_hint = ValueHint::Url)]
    pub(super) proxy: Option<String>,

    /// Also trust the certificate authorities in this PEM file; can be repeated
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) ca_file: Vec<PathBuf>,

    /// Set a limit; can be repeated. The limits whose names end in `length` are in bytes, and all others are counts.
    /// Names: root_length, timestamp_length, snapshot_length, targets_length, listed_length, root_updates,
    /// roles_visited, roles_listed, list_steps, delegation_depth, signatures, keys, redirects
    #[arg(long = "limit", global = true, hide_short_help = true, value_name = "NAME=VALUE", value_parser = limit)]
    pub(super) limits: Vec<Limit>,
}

impl Network {
    /// Returns all limits: the defaults, changed by the `--limit` options.
    pub(super) fn all_limits(&self) -> AllLimits {
        let mut all = AllLimits::default();
        for Limit { set, value } in &self.limits {
            set.set(&mut all, *value);
        }
        all
    }

    pub(super) fn limits(&self) -> Limits {
        self.all_limits().metadata
    }
}

/// All limits that `--limit` can set: the limits on metadata, and the maximum number of redirects.
#[derive(Debug)]
pub(super) struct AllLimits {
    pub(super) metadata: Limits,
    pub(super) redirects: u32,
}

impl Default for AllLimits {
    fn default() -> AllLimits {
        AllLimits { metadata: Limits::default(), redirects: HttpSettings::default().redirects }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    set: Set,
    value: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Set {
    Bytes(fn(&mut Limits) -> &mut u64),
    Count(fn(&mut AllLimits) -> &mut u32),
}

impl Set {
    fn set(self, all: &mut AllLimits, value: u64) {
        match self {
            Set::Bytes(field) => *field(&mut all.metadata) = value,
            Set::Count(field) => *field(all) = u32::try_from(value).unwrap_or(u32::MAX),
        }
    }

    #[cfg(test)]
    pub(super) fn value(self, all: &mut AllLimits) -> u64 {
        match self {
            Set::Bytes(field) => *field(&mut all.metadata),
            Set::Count(field) => (*field(all)).into(),
        }
    }
}

/// The name and the field of each limit. `docs/clients.md` explains the limits.
pub(super) const LIMITS: [(&str, Set); 13] = [
    ("root_length", Set::Bytes(|limits| &mut limits.root_length)),
    ("timestamp_length", Set::Bytes(|limits| &mut limits.timestamp_length)),
    ("snapshot_length", Set::Bytes(|limits| &mut limits.snapshot_length)),
    ("targets_length", Set::Bytes(|limits| &mut limits.targets_length)),
    ("listed_length", Set::Bytes(|limits| &mut limits.listed_length)),
    ("root_updates", Set::Count(|all| &mut all.metadata.root_updates)),
    ("roles_visited", Set::Count(|all| &mut all.metadata.roles_visited)),
    ("roles_listed", Set::Count(|all| &mut all.metadata.roles_listed)),
    ("list_steps", Set::Bytes(|limits| &mut limits.list_steps)),
    ("delegation_depth", Set::Count(|all| &mut all.metadata.delegation_depth)),
    ("signatures", Set::Count(|all| &mut all.metadata.signatures)),
    ("keys", Set::Count(|all| &mut all.metadata.keys)),
    ("redirects", Set::Count(|all| &mut all.redirects)),
];

fn limit(text: &str) -> Result<Limit, String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let value = value.parse().map_err(|_| format!("`{value}` is not a number"))?;
    let (_, set) =
        LIMITS.iter().find(|(limit, _)| *limit == name).ok_or_else(|| format!("there is no limit named `{name}`"))?;
    Ok(Limit { set: *set, value })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected a positive number of seconds".to_owned())
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add, change, list, remove or reset trusted repositories
    #[command(subcommand)]
    Trust(Trust),

    /// Fetch and verify new metadata
    Refresh {
        /// First wait for a random time of up to this many seconds, so that scheduled jobs on many machines do not all
        /// contact the server at the same moment
        #[arg(long, value_name = "SECONDS", value_parser = seconds)]
        jitter: Option<Duration>,
    },

    /// Download and verify targets, and print their paths
    #[command(after_help = "Example: lastmile get docs/guide.pdf docs/notes.txt --output downloads --jobs 2")]
    Get(Get),

    /// List all targets that `get` can download
    List {
        /// List only targets whose path matches this pattern; `*` matches any characters except `/`, and `?` matches
        /// one character
        pattern: Option<String>,
        #[command(flatten)]
        source: MetadataSource,
    },

    /// Check a local file against the trusted metadata and the policies, offline
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(Verify),

    /// Show the version, expiry and age of each trusted role
    ///
    /// The exit code is 5 if a role has expired or cannot be trusted, and 7 if a role expires within the number of days
    /// given by `--within`. For the other exit codes, see `lastmile --help`.
    Status {
        /// Fail with exit code 7 if a role expires within this number of days
        #[arg(long, value_name = "DAYS", default_value_t = 0)]
        within: u32,
    },

    /// Print shell completions
    Completions {
        /// The shell
        shell: Shell,
    },

    /// Print the manual page of the program or of a command
    Man {
        /// The command, such as `trust add`
        command: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Trust {
    /// Trust a repository, starting from the root that its maintainers gave you
    #[command(after_help = "Example: lastmile trust add example --root root.json \\\n           \
        --metadata-url https://example.org/metadata/ --targets-url https://example.org/targets/")]
    Add(Add),

    /// Change the URLs and options of a trusted repository, and keep its trusted metadata
    #[command(after_help = "Example: lastmile trust set example --metadata-url https://mirror.example.org/metadata/")]
    Set(Change),

    /// List the trusted repositories
    List,

    /// Remove a repository and all its trusted metadata
    Remove {
        /// The name of the repository
        name: String,
    },

    /// Forget all trusted versions and start again from the shipped root
    ///
    /// Use this only if the stored state is damaged: the next refresh cannot detect a rollback to an older state of the
    /// repository.
    Reset {
        /// The name of the repository
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// A name for the repository: letters, digits, `.`, `_` and `-`
    pub(super) name: String,

    /// The root metadata file that you got from the maintainers
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) root: PathBuf,

    /// The base URL of the metadata (http, https or file); repeat it for mirrors, in order of
    /// priority
    #[arg(long = "metadata-url", value_name = "URL", required = true, value_hint = ValueHint::Url)]
    pub(super) metadata_urls: Vec<String>,

    /// The base URL of the targets, once for each metadata URL [default: the metadata URL with its final `/metadata/`
    /// replaced by `/targets/`, or with `targets/` appended if it does not end in `/metadata/`]
    #[arg(long = "targets-url", value_name = "URL", value_hint = ValueHint::Url)]
    pub(super) targets_urls: Vec<String>,

    /// Treat HTTP 403 as "not found", as some object stores do
    #[arg(long)]
    pub(super) forbidden_means_absent: bool,

    /// Fetch targets by their plain names, without the hash prefix, even if the repository uses
    /// consistent snapshots
    #[arg(long)]
    pub(super) plain_target_names: bool,

    /// Also enforce the local policy in this file (TOML or JSON), and allow the exceptions that it makes; every command
    /// that evaluates policies reads the file again
    #[cfg(feature = "attest")]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) policy: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
pub(super) struct Change {
    /// The name of the repository
    pub(super) name: String,

    /// The base URL of the metadata, as in `trust add`; replaces all mirrors
    #[arg(long = "metadata-url", value_name = "URL", group = "change", value_hint = ValueHint::Url)]
    pub(super) metadata_urls: Vec<String>,

    /// The base URL of the targets, as in `trust add`, once for each metadata URL
    #[arg(long = "targets-url", value_name = "URL", group = "change", value_hint = ValueHint::Url)]
    pub(super) targets_urls: Vec<String>,

    /// Whether to treat HTTP 403 as "not found" (true) or as an error (false)
    #[arg(long, value_name = "BOOL", group = "change")]
    pub(super) forbidden_means_absent: Option<bool>,

    /// Whether to fetch targets by their plain names even if the repository uses consistent snapshots
    #[arg(long, value_name = "BOOL", group = "change")]
    pub(super) plain_target_names: Option<bool>,

    /// The file with the local policy, as in `trust add`; replaces the file that was set before
    #[cfg(feature = "attest")]
    #[arg(long, value_name = "FILE", group = "change", value_hint = ValueHint::FilePath)]
    pub(super) policy: Option<PathBuf>,

    /// Use no local policy
    #[cfg(feature = "attest")]
    #[arg(long, group = "change", conflicts_with = "policy")]
    pub(super) no_policy: bool,
}

#[derive(Debug, Args)]
pub(super) struct Get {
    /// The paths of the targets
    #[arg(required = true, value_name = "TARGET")]
    pub(super) targets: Vec<String>,

    /// Save each target under its own path below this folder
    #[arg(short, long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(super) output: PathBuf,

    /// Save a single target to exactly this file
    #[arg(long, value_name = "FILE", conflicts_with = "output", value_hint = ValueHint::FilePath)]
    pub(super) output_file: Option<PathBuf>,

    /// How many targets to download at the same time
    #[arg(short, long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) jobs: u16,

    #[command(flatten)]
    pub(super) policy: PolicyFile,

    #[command(flatten)]
    pub(super) source: MetadataSource,
}

/// The arguments of `verify`. Exactly one of `--as`, `--explain` and `--below` is required. This option says which
/// target to check each file against.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("named").required(true))]
pub(super) struct Verify {
    /// The file to verify; with `--below`, one or more files
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[cfg_attr(feature = "attest", arg(required_unless_present = "explain"))]
    #[cfg_attr(not(feature = "attest"), arg(required = true))]
    pub(super) files: Vec<PathBuf>,

    /// The path of the target that the file must match
    #[arg(long = "as", value_name = "TARGET", group = "named")]
    pub(super) target: Option<String>,

    /// Verify files that were saved with `get --output DIR`: each file's path relative to this folder is its target
    /// path
    #[arg(long, value_name = "DIR", group = "named", value_hint = ValueHint::DirPath)]
    pub(super) below: Option<PathBuf>,

    /// Show each rule that applies to this target, with the evidence that satisfies the rule or with what was found
    /// instead; the exit code is 5 if the target is refused
    #[cfg(feature = "attest")]
    #[arg(long, value_name = "TARGET", group = "named")]
    pub(super) explain: Option<String>,

    #[command(flatten)]
    pub(super) policy: PolicyFile,
}

/// The option that sets the local policy for one run.
#[derive(Debug, Args)]
pub(super) struct PolicyFile {
    /// Also enforce the local policy in this file (TOML or JSON), and allow the exceptions that it makes [default: the
    /// file set with `trust set NAME --policy FILE`]
    #[cfg(feature = "attest")]
    #[arg(long = "policy", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) path: Option<PathBuf>,
}

/// The option that chooses between new and stored metadata.
#[derive(Debug, Args)]
pub(super) struct MetadataSource {
    /// Use the stored metadata instead of requesting new metadata
    #[arg(long)]
    pub(super) offline: bool,
}
