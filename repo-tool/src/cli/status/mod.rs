//! `status`: show versions, expiry dates, keys, and the roles that are due for renewal.

mod listen;
mod monitor;
mod outputs;
mod url;

use std::path::Path;

use chrono::{DateTime, Utc};
use lastmile_cli_support::{ExitStatus, MonitorState, Output};
use lastmile_client::text::{printable, printable_path};
use serde_json::Value;

use super::context::Context;
use super::exchange::how_to_publish;
use super::findings;
use super::key_names::KeyNames;
use super::missing::missing_lines;
use super::url::base_url;
use crate::error::chain;
use crate::publish::transaction;
use crate::report::counts::{counted, some_of};
use crate::report::overview::{Overview, minute};
use crate::report::served_status::{MirrorStatus, ServedStatus};
use crate::report::status::{RoleStatus, Status};
use crate::{Error, Renewal, Repository};
pub(super) use monitor::unknown;
use outputs::Outputs;

/// The options of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit code 0 means that nothing needs your attention yet, although roles may be due for renewal. Exit
code 7 means that half of a role's renewal period has passed without a renewal, a role has expired,
a change is pending, or a publication was interrupted.

With --monitor, the exit codes are 0 for OK, 1 for a warning, 2 for critical (for example, a role
has expired, or at most a quarter of its renewal period is left) and 3 for unknown.

With a URL, the command shows the state that clients get from this URL. It compares this state with:
  * the state that clients get if they bypass caches
  * the states at the other URLs
  * the state in the repository's folder
  * the versions that earlier checks stored in $XDG_STATE_HOME/lastmile-repo
The trusted root is the one given with --root, --root-sha256 or $LASTMILE_REPO_ROOT_SHA256. The
default is the pinned root of the repository that has this metadata-url in your configuration. If
there is no such repository, the default is the pinned root of the repository in the folder (-C).

Exit code 7 can also mean that the comparison found a problem, or that clients cannot reach the
repository or refuse it.

With --listen, the command repeats the check until it is stopped, and writes all outputs after each
check. It prints a line when the result has changed. With --json, it prints a line after each check.

Examples:
  lastmile-repo status || mail -s 'repository needs you' me
  lastmile-repo status https://example.org/metadata/ --monitor
  lastmile-repo status https://example.org/metadata/ --notify --html status.html \\
      --prometheus repository.prom
  lastmile-repo status https://example.org/metadata/ --listen 127.0.0.1:9469 --notify
  lastmile-repo status https://example.org/metadata/ --root root.json --within 3")]
pub(crate) struct Args {
    /// URL from which clients get the metadata; give several URLs for mirrors [default: check the folder instead]
    #[arg(value_name = "URL")]
    pub(crate) urls: Vec<String>,
    /// Print one line, and exit with code 0, 1, 2 or 3, as monitoring systems expect.
    #[arg(long, conflicts_with = "listen")]
    pub(crate) monitor: bool,
    /// Also fetch and show all delegated roles.
    #[arg(long, requires = "urls")]
    pub(crate) delegated: bool,
    /// Report roles that expire within this number of days. If the repository's folder is on this machine, the renewal
    /// periods in its repo.toml are used instead.
    #[arg(long, requires = "urls", value_name = "DAYS", default_value_t = 0)]
    pub(crate) within: u32,
    #[command(flatten)]
    pub(crate) outputs: Outputs,
}

/// Whether the locations of the private keys are known, because the repository's folder is on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Places {
    Known,
    Unknown,
}

pub(super) fn status(context: &mut Context<'_>, args: &Args, output: &Output) -> Result<ExitStatus, Error> {
    args.outputs.check(context)?;
    if let Some(address) = args.outputs.listen {
        return listen::listen(context, args, address, output);
    }
    let checked = match check(context, args, output) {
        Ok(checked) => checked,
        // An error in the command line or in the user's configuration says nothing about the repository, so the outputs
        // are not written.
        Err(error) if is_about_invocation(&error, context) => return Err(error),
        Err(error) => {
            // Write the outputs, so that monitoring does not keep showing the result of an earlier check.
            let overview = unreadable(context, args, &error);
            let written = args.outputs.write(&overview, &[], context, output);
            if args.monitor && !args.urls.is_empty() && matches!(error, Error::Network(_)) {
                written?;
                return monitor::monitor(&overview, output);
            }
            // The error of the check is more important than an error of the outputs.
            return Err(error);
        }
    };
    args.outputs.write(checked.overview(), checked.mirrors(), context, output)?;
    if args.outputs.prints_metrics() {
        return Ok(checked.exit_status());
    }
    if args.monitor {
        return monitor::monitor(checked.overview(), output);
    }
    match &checked {
        Checked::Folder(folder) => show_folder(folder, output)?,
        Checked::Urls(status) => url::show(status, output)?,
    }
    Ok(checked.exit_status())
}

/// The result of a completed check, which may have found problems in the repository.
enum Checked {
    Folder(Box<FolderCheck>),
    Urls(ServedStatus),
}

struct FolderCheck {
    repository: Repository,
    status: Status,
    overview: Overview,
}

impl Checked {
    fn overview(&self) -> &Overview {
        match self {
            Self::Folder(folder) => &folder.overview,
            Self::Urls(status) => &status.overview,
        }
    }

    fn mirrors(&self) -> &[MirrorStatus] {
        match self {
            Self::Folder(_) => &[],
            Self::Urls(status) => &status.mirrors,
        }
    }

    /// Returns the overview as JSON. If URLs were checked, adds the versions that each URL serves.
    fn json(&self) -> Value {
        match self {
            Self::Folder(folder) => folder.overview.json(),
            Self::Urls(status) => status.json(),
        }
    }

    fn exit_status(&self) -> ExitStatus {
        let needs_attention = match self {
            Self::Folder(folder) => folder.status.needs_attention(),
            Self::Urls(status) => status.overview.state() != MonitorState::Ok,
        };
        if needs_attention { ExitStatus::Findings } else { ExitStatus::Done }
    }
}

fn check(context: &Context<'_>, args: &Args, output: &Output) -> Result<Checked, Error> {
    if !args.urls.is_empty() {
        return url::check(context, args, output).map(Checked::Urls);
    }
    let folder = &context.global.repository;
    let mut repository = Repository::open(folder, &context.invocation)?;
    let status = Status::of(&mut repository)?;
    let overview = Overview::of_folder(name_of(folder), &status, repository.now());
    Ok(Checked::Folder(Box::new(FolderCheck { repository, status, overview })))
}

/// Returns whether an error was caused by the command line or the user's configuration, not by the repository.
fn is_about_invocation(error: &Error, context: &Context<'_>) -> bool {
    match error {
        Error::Usage(_) => true,
        Error::Config { path, .. } => context.invocation.user.file() == Some(path),
        _ => false,
    }
}

/// Returns the state of a repository that could not be checked, for example because the server cannot be reached.
fn unreadable(context: &Context<'_>, args: &Args, error: &Error) -> Overview {
    let url = args.urls.first().and_then(|url| base_url(url).ok());
    let (repository, reason) = match url {
        Some(url) => (url.to_string(), format!("{url}: {}", chain(error))),
        None => (name_of(&context.global.repository), chain(error)),
    };
    Overview::unreadable(repository, reason, context.invocation.now)
}

fn show_folder(folder: &FolderCheck, output: &Output) -> Result<(), Error> {
    let FolderCheck { repository, status, .. } = folder;
    let mut text = String::new();
    for role in &status.roles {
        text += &lines(role, repository.now(), Places::Known);
    }
    for policy in &status.policies {
        text += &format!("policy: {}\n", policy.text());
    }
    let names = KeyNames::of(repository);
    let pending = status.pending.iter().map(|it| (it.role.clone(), it.version, it.missing.clone()));
    for line in missing_lines(pending, &names) {
        text += &match line.needed {
            Some(needed) => {
                format!("pending: {} {needed}. They run: lastmile-repo sign --key FILE\n", line.documents)
            }
            None => format!("pending: {} all signatures\n", line.documents),
        };
    }
    if !status.pending.is_empty() && status.pending.iter().all(|it| it.missing.is_empty()) {
        text.extend(how_to_publish(repository).iter().map(|line| line.clone() + "\n"));
    }
    for interrupted in transaction::interrupted(&repository.layout)? {
        text += &format!("{}\n", interrupted.advice());
    }
    output.data_text(&status.json(), &text)?;
    if !status.pinned {
        output.warning(&format!(
            "the root of this repository (SHA-256 {}) is not pinned, so you cannot sign anything for this repository: \
             compare the SHA-256 with the one that the owners publish, then pass it with --root-sha256",
            repository.digest
        ));
    }
    findings::print_warnings(&status.findings, output);
    note_due(&status.roles, output);
    Ok(())
}

/// Returns the folder as messages show it: its absolute path if it exists, or else the path that the user gave.
fn name_of(folder: &Path) -> String {
    printable_path(&folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf()))
}

fn note_due(roles: &[RoleStatus], output: &Output) {
    let due = roles.iter().filter(|role| role.renewal == Renewal::Due);
    let due: Vec<String> = due.map(|role| printable(&role.name)).collect();
    if !due.is_empty() {
        output.note(&format!(
            "Due for renewal: {}. Run `lastmile-repo renew` for timestamp and snapshot, and `lastmile-repo renew ROLE` \
             for other roles.",
            some_of(due)
        ));
    }
}

/// Describes a role in one line, and each of its keys in another line.
fn lines(role: &RoleStatus, now: DateTime<Utc>, places: Places) -> String {
    let days = counted((role.expires - now).num_days(), "day");
    let state = match role.renewal {
        Renewal::Expired => "EXPIRED".to_string(),
        Renewal::Overdue | Renewal::Urgent => format!("OVERDUE, expires in {days}"),
        Renewal::Due => format!("due, expires in {days}"),
        Renewal::Later => format!("expires in {days}"),
    };
    let mut text = format!(
        "{:<12} version {:<5} {state}, {} ({} of {} keys)\n",
        printable(&role.name),
        role.version,
        minute(role.expires),
        role.threshold,
        role.keys.len()
    );
    for key in &role.keys {
        let id: String = key.id.chars().take(8).collect();
        text += &format!("             {} {}", printable(&id), key.keytype);
        match (&key.uri, places) {
            (Some(uri), _) => text += &format!(" {}\n", printable(uri)),
            (None, Places::Known) => text += " not on this machine\n",
            (None, Places::Unknown) => text += "\n",
        }
    }
    for odd in &role.odd {
        text += &format!("             {odd}\n");
    }
    text
}
