//! The exit statuses of `lastmile` and `lastmile-repo`.

use std::process::ExitCode;

/// The exit status of a command. The help texts of both programs and `docs/` list the numbers.
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
    /// To protect clients or keys, the command refused something: metadata or a target that is invalid or has expired,
    /// a change that clients would refuse, a repository whose root is not pinned, or the publication of files that must
    /// stay private.
    Refused = 5,
    /// The change is pending and has not been published, because signatures are missing.
    Pending = 6,
    /// The command succeeded, but found something that needs attention: a role is overdue or has expired, a change is
    /// pending, `verify --strict` printed warnings, or a client that was tested did not withstand an attack.
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

/// Converts the state into the status with the exit code that monitoring systems expect: 0, 1, 2 or 3. Only the exit
/// code matters, not the name of the status.
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

    /// Returns the `kind` that an error with this status has in JSON output by default.
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
