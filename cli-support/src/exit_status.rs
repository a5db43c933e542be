//! The exit statuses: one table for both programs.

use std::process::ExitCode;

/// How a command ended. `--help` of both programs and `docs/` list the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// Done.
    Done = 0,
    /// Failed, for a reason on this machine.
    Failed = 1,
    /// The command line does not make sense.
    Usage = 2,
    /// There is no such target, role, key or repository.
    NoSuchName = 3,
    /// The network or a server failed.
    Network = 4,
    /// Refused as untrusted: metadata or a target that does not verify, something that has expired, a draft that clients
    /// would refuse, a repository whose root is not pinned, or files that must stay private.
    Refused = 5,
    /// Accepted, but not public yet: signatures are missing.
    Pending = 6,
    /// The command worked and found something that needs attention: a role is due or expires soon, a change is pending, or a
    /// client did not withstand an attack.
    Findings = 7,
}

impl ExitStatus {
    /// The number that the process exits with.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What an error that ends so is called with `--json`, if nothing more precise is known.
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
    fn scripts_can_rely_on_the_numbers() {
        use ExitStatus::{Done, Failed, Findings, Network, NoSuchName, Pending, Refused, Usage};
        let statuses = [Done, Failed, Usage, NoSuchName, Network, Refused, Pending, Findings];
        assert_eq!(statuses.map(ExitStatus::code), [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
