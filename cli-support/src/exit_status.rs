//! The exit statuses of `lastmile` and `lastmile-repo`.

use std::process::ExitCode;

/// The exit status of a command. The help texts of both programs list the numbers, and so do the pages in `docs/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// The command succeeded.
    Done = 0,
    /// The command failed because of a problem on this machine.
    Failed = 1,
    /// The command line is invalid.
    Usage = 2,
    /// The target, role, key or repository does not exist.
    NoSuchName = 3,
    /// The network or a server failed.
    Network = 4,
    /// The command refused something to protect clients or keys. For example, metadata is invalid or has expired, a
    /// target does not match the metadata, clients would refuse a change, the root of the repository is not pinned, or
    /// a file that would be published must stay private.
    Refused = 5,
    /// The change was not published, because signatures are missing. It is pending.
    Pending = 6,
    /// The command succeeded, but found something that needs attention. For example, a role is overdue or has expired,
    /// a change is pending, `verify --strict` printed warnings, or the tested client did not withstand an attack.
    Findings = 7,
}

/// The result of `status --monitor` for the monitoring system that runs the command as a plug-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MonitorState {
    /// Nothing needs attention.
    Ok,
    /// Something needs attention soon.
    Warning,
    /// Clients fail now or will fail soon.
    Critical,
    /// The state could not be determined.
    Unknown,
}

/// Monitoring systems expect the exit codes 0 to 3, in the order of the states. Only the codes matter: for example,
/// `MonitorState::Critical` becomes `ExitStatus::Usage`, because the code of `Usage` is 2.
impl From<MonitorState> for ExitStatus {
    fn from(state: MonitorState) -> Self {
        match state {
            MonitorState::Ok => Self::Done,
            MonitorState::Warning => Self::Failed,
            MonitorState::Critical => Self::Usage,
            MonitorState::Unknown => Self::NoSuchName,
        }
    }
}

impl ExitStatus {
    /// Returns the exit code of the process.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Returns the default `kind` of an error with this status in JSON output. `Failure::with_kind` replaces it.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            ExitStatus::Done => "done",
            ExitStatus::Failed => "failed",
            ExitStatus::Usage => "usage",
            ExitStatus::NoSuchName => "no-such-name",
            ExitStatus::Network => "network",
            ExitStatus::Refused => "untrusted",
            ExitStatus::Pending => "pending",
            ExitStatus::Findings => "findings",
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> ExitCode {
        ExitCode::from(status.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_never_change() {
        use ExitStatus::{Done, Failed, Findings, Network, NoSuchName, Pending, Refused, Usage};
        let statuses = [Done, Failed, Usage, NoSuchName, Network, Refused, Pending, Findings];
        assert_eq!(statuses.map(ExitStatus::code), [0, 1, 2, 3, 4, 5, 6, 7]);
        let answers = [MonitorState::Ok, MonitorState::Warning, MonitorState::Critical, MonitorState::Unknown];
        assert_eq!(answers.map(|state| ExitStatus::from(state).code()), [0, 1, 2, 3]);
    }
}
