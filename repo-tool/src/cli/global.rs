//! The options that all commands share.

use std::path::PathBuf;

use clap::Args;

use crate::root_digest::RootDigest;

/// The options that all commands share.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The repository's folder [env: LASTMILE_REPOSITORY=]
    // If LASTMILE_REPOSITORY is set, `parsed` in mod.rs makes its value the default. clap cannot read the variable
    // itself, because it reads only the environment of the process, and tests pass a different environment.
    #[arg(long, short = 'C', global = true, value_name = "DIR", default_value = ".")]
    pub(crate) repository: PathBuf,
    /// Show what the command would do, without changing anything.
    #[arg(long, short = 'n', global = true)]
    pub(crate) dry_run: bool,
    /// Print the result as JSON on standard output.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Read the pass-phrase of the keys from the first line of FILE, or of standard input if FILE is `-` [default:
    /// $LASTMILE_PASS_PHRASE, or a prompt]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) pass_phrase_file: Option<PathBuf>,
    /// Your configuration file, with pinned roots, allowed keys and URLs. It must not be in a repository's folder
    /// [default: $LASTMILE_REPO_CONFIG, or lastmile-repo/config.toml in the platform's configuration folder]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Trust the root metadata in FILE, and pin it for later commands
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) root: Option<PathBuf>,
    /// Trust the root metadata with this SHA-256, and pin it for later commands. To trust a root without pinning it,
    /// set LASTMILE_REPO_ROOT_SHA256 instead
    #[arg(long, global = true, value_name = "DIGEST", conflicts_with = "root")]
    pub(crate) root_sha256: Option<RootDigest>,
    /// Allow this command to use FILE, a private key outside the repository's folder. To allow several files, repeat
    /// this option, or list the files in LASTMILE_REPO_ALLOWED_KEYS, separated as in PATH. To allow a file permanently,
    /// use `key allow`
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
    /// Sign even if the metadata contains the unknown member or unusable key with this NAME. If a command refuses to
    /// sign for this reason, its error message shows the NAME.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) accept: Vec<String>,
    /// Print only errors, the requested data, and the reason for a non-zero exit status.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

impl Global {
    /// Returns whether this is a dry run.
    pub(super) fn run(&self) -> Run {
        if self.dry_run { Run::Dry } else { Run::Real }
    }
}

/// Whether a command makes its changes or only shows them (`--dry-run`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    Real,
    Dry,
}

impl Run {
    /// Returns whether this is a dry run.
    pub(super) fn is_dry(self) -> bool {
        self == Self::Dry
    }
}
