//! The command line as it is typed; help, completions and manual pages are made from it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};
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

Exit codes:
  0  done
  1  failed, by something on this machine
  2  wrong usage
  3  no such target
  4  the network or the server failed
  5  refused as untrusted: signatures, versions, expiry, hashes

The root file given to `trust add` must come from the maintainers themselves: everything else is
verified from it.";

/// Fetches and verifies updates under The Update Framework (TUF).
#[derive(Debug, Parser)]
#[command(name = "lastmile", version, after_help = EXAMPLES, max_term_width = 100, disable_help_subcommand = true)]
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
    /// The repository's name; needed only where several are trusted
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(super) repository: Option<String>,

    /// Where trust and settings are kept [default: the platform's place for state, or
    /// $LASTMILE_STATE_DIR]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) state_dir: Option<PathBuf>,

    /// Write one JSON document to standard output
    #[arg(long, global = true)]
    pub(super) json: bool,

    /// No progress, notes and warnings
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,

    /// Show every request
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,

    #[command(flatten)]
    pub(super) network: Network,
}

/// Options of the network.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Network options")]
pub(super) struct Network {
    /// How long a server may be silent
    #[arg(long, global = true, hide_short_help = true, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(super) timeout: Duration,

    /// How long one file may take from one mirror; targets get more according to their length
    #[arg(long, global = true, hide_short_help = true, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    pub(super) deadline: Duration,

    /// How often to try again what may pass
    #[arg(long, global = true, hide_short_help = true, value_name = "N", default_value_t = 3)]
    pub(super) retries: u32,

    /// The proxy for everything; `none` for no proxy [default: $HTTPS_PROXY, $HTTP_PROXY,
    /// $ALL_PROXY, $NO_PROXY]
    #[arg(long, global = true, hide_short_help = true, value_name = "URL", value_hint = ValueHint::Url)]
    pub(super) proxy: Option<String>,

    /// PEM file with certificate authorities to trust besides the system's; may be repeated
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) ca_file: Vec<PathBuf>,

    /// A limit of what is read and followed, in bytes or as a count; may be repeated. Names:
    /// root_length, timestamp_length, snapshot_length, targets_length, listed_length, root_updates,
    /// roles_visited, roles_listed, delegation_depth, signatures, keys, redirects
    #[arg(long = "limit", global = true, hide_short_help = true, value_name = "NAME=VALUE", value_parser = limit)]
    pub(super) limits: Vec<Limit>,
}

impl Network {
    /// What is limited, as it was set.
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

/// The limits of the judge, and those of the road that are counts as well.
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

/// One limit that was raised or lowered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    set: Set,
    value: u64,
}

/// Where a limit is kept.
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

/// Every limit by its name; `docs/clients.md` explains them.
pub(super) const LIMITS: [(&str, Set); 12] = [
    ("root_length", Set::Bytes(|limits| &mut limits.root_length)),
    ("timestamp_length", Set::Bytes(|limits| &mut limits.timestamp_length)),
    ("snapshot_length", Set::Bytes(|limits| &mut limits.snapshot_length)),
    ("targets_length", Set::Bytes(|limits| &mut limits.targets_length)),
    ("listed_length", Set::Bytes(|limits| &mut limits.listed_length)),
    ("root_updates", Set::Count(|all| &mut all.metadata.root_updates)),
    ("roles_visited", Set::Count(|all| &mut all.metadata.roles_visited)),
    ("roles_listed", Set::Count(|all| &mut all.metadata.roles_listed)),
    ("delegation_depth", Set::Count(|all| &mut all.metadata.delegation_depth)),
    ("signatures", Set::Count(|all| &mut all.metadata.signatures)),
    ("keys", Set::Count(|all| &mut all.metadata.keys)),
    ("redirects", Set::Count(|all| &mut all.redirects)),
];

fn limit(text: &str) -> Result<Limit, String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let value = value.parse().map_err(|_| format!("`{value}` is not a number"))?;
    let (_, set) =
        LIMITS.iter().find(|(limit, _)| *limit == name).ok_or_else(|| format!("there is no limit `{name}`"))?;
    Ok(Limit { set: *set, value })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected a number of seconds above 0".to_owned())
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Which repositories are trusted, and from which root on
    #[command(subcommand)]
    Trust(Trust),

    /// Fetch what is new of the repository's metadata, and verify it
    Refresh,

    /// Fetch targets and verify them; prints where they are
    #[command(after_help = "Example: lastmile get docs/guide.pdf docs/notes.txt --output downloads --jobs 2")]
    Get(Get),

    /// List the targets that `get` would find
    List {
        /// Only targets whose path matches: `*` is anything within one segment, `?` one character
        pattern: Option<String>,
        /// Use what is trusted already, without a request
        #[arg(long)]
        offline: bool,
    },

    /// Check that a file is a target, without a request
    Verify {
        /// The file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// The target's path
        #[arg(long = "as", value_name = "TARGET")]
        target: String,
    },

    /// What is trusted at present: versions, expiry and age of each role. The exit code is 0 when
    /// all of it is good, 5 when something has expired or cannot be trusted, 1 otherwise
    Status {
        /// Fail with exit code 1 when something expires within so many days
        #[arg(long, value_name = "DAYS", default_value_t = 0)]
        within: u32,
    },

    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },

    /// Print the manual page of the program, or of one command
    Man {
        /// The command, such as `trust add`
        command: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Trust {
    /// Trust a repository, from the root that its maintainers gave you
    #[command(after_help = "Example: lastmile trust add example --root root.json \\\n           \
        --metadata-url https://example.org/metadata/ --targets-url https://example.org/targets/")]
    Add(Add),

    /// List the repositories that are trusted
    List,

    /// Forget a repository and all that was trusted of it
    Remove {
        /// The repository's name
        name: String,
    },

    /// Start anew from the shipped root: forget all versions that were seen since. Only for when
    /// what this machine knew is damaged: an older state cannot be recognised for once
    Reset {
        /// The repository's name
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// What to call the repository: letters, digits, `.`, `_` and `-`
    pub(super) name: String,

    /// The root metadata, from the maintainers themselves
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) root: PathBuf,

    /// Where the metadata lies (http, https or file); may be repeated for mirrors, in the order of
    /// priority
    #[arg(long = "metadata-url", value_name = "URL", required = true, value_hint = ValueHint::Url)]
    pub(super) metadata_urls: Vec<String>,

    /// Where the targets lie; once for each metadata URL [default: `targets/` beside a metadata URL
    /// that ends in `/metadata/`, else below it]
    #[arg(long = "targets-url", value_name = "URL", value_hint = ValueHint::Url)]
    pub(super) targets_urls: Vec<String>,

    /// HTTP 403 says that a file is absent: some object stores answer so
    #[arg(long)]
    pub(super) forbidden_means_absent: bool,

    /// Targets have no hash before their names although snapshots are consistent
    #[arg(long)]
    pub(super) plain_target_names: bool,
}

#[derive(Debug, Args)]
pub(super) struct Get {
    /// The targets' paths
    #[arg(required = true, value_name = "TARGET")]
    pub(super) targets: Vec<String>,

    /// The folder below which each target gets its own path
    #[arg(short, long, value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(super) output: PathBuf,

    /// Exactly this file, for a single target
    #[arg(long, value_name = "FILE", conflicts_with = "output", value_hint = ValueHint::FilePath)]
    pub(super) output_file: Option<PathBuf>,

    /// How many targets to fetch at once
    #[arg(short, long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) jobs: u16,

    /// Use the metadata that is trusted already; only targets are fetched
    #[arg(long)]
    pub(super) offline: bool,
}
