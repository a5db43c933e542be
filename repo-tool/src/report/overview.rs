//! The state of a repository: whether the repository could be verified, its roles, and its problems. Monitoring
//! results, metrics, calendars, HTML pages and notifications are generated from this state.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use lastmile_cli_support::MonitorState;
use lastmile_client::BaseUrl;
use lastmile_client::text::printable;
use lastmile_metadata::format_time;
use serde_json::{Value, json};

use crate::Renewal;
use crate::report::counts::some_of;
use crate::report::roles::RoleStatus;
use crate::report::status::Status;

#[derive(Clone, Debug)]
pub(crate) struct Overview {
    /// The metadata URL, without credentials, or the folder.
    pub(crate) repository: String,
    pub(crate) checked: DateTime<Utc>,
    /// Whether the repository could be read and verified.
    pub(crate) is_up: bool,
    /// The roles, with the top-level roles first. If the repository could not be verified, this list contains at most
    /// the root.
    pub(crate) roles: Vec<RoleStatus>,
    /// The problems, with the problems of roles first.
    pub(crate) problems: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Warning or critical.
    pub(crate) state: MonitorState,
    pub(crate) kind: ProblemKind,
    /// The affected role, if the problem affects only one role.
    pub(crate) role: Option<String>,
    /// The URL at which the problem was found, without credentials.
    pub(crate) url: Option<String>,
    /// A one-line description.
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProblemKind {
    Expired,
    Overdue,
    NoSigners,
    Pending,
    Interrupted,
    Unreachable,
    Unverified,
    WentBack,
    StaleCache,
    StaleMirror,
    ForkedMirror,
    NotServed,
    NotFromFolder,
}

impl ProblemKind {
    pub(crate) const ALL: [Self; 13] = [
        Self::Expired,
        Self::Overdue,
        Self::NoSigners,
        Self::Pending,
        Self::Interrupted,
        Self::Unreachable,
        Self::Unverified,
        Self::WentBack,
        Self::StaleCache,
        Self::StaleMirror,
        Self::ForkedMirror,
        Self::NotServed,
        Self::NotFromFolder,
    ];

    /// Returns the name of the kind, as it appears in JSON and in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Overdue => "overdue",
            Self::NoSigners => "no-signers",
            Self::Pending => "pending",
            Self::Interrupted => "interrupted",
            Self::Unreachable => "unreachable",
            Self::Unverified => "unverified",
            Self::WentBack => "went-back",
            Self::StaleCache => "stale-cache",
            Self::StaleMirror => "stale-mirror",
            Self::ForkedMirror => "forked-mirror",
            Self::NotServed => "not-served",
            Self::NotFromFolder => "not-from-folder",
        }
    }
}

impl Problem {
    pub(crate) fn new(state: MonitorState, kind: ProblemKind, text: impl Into<String>) -> Self {
        Self { state, kind, role: None, url: None, text: text.into() }
    }

    pub(crate) fn of_role(self, role: &str) -> Self {
        Self { role: Some(role.to_string()), ..self }
    }

    pub(crate) fn at(self, url: &BaseUrl) -> Self {
        Self { url: Some(url.to_string()), ..self }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "kind": self.kind.name(), "state": state_name(self.state), "role": self.role, "url": self.url, "text": self.text,
        })
    }
}

impl Overview {
    pub(crate) fn of_folder(repository: String, status: &Status, checked: DateTime<Utc>) -> Self {
        let mut problems = role_problems(&status.roles);
        if !status.pending.is_empty() {
            let pending: Vec<String> = status.pending.iter().map(|document| document.role.to_string()).collect();
            let text = format!("a change is pending ({})", some_of(pending));
            problems.push(Problem::new(MonitorState::Warning, ProblemKind::Pending, text));
        }
        if status.interrupted {
            let text = "a publication was interrupted";
            problems.push(Problem::new(MonitorState::Warning, ProblemKind::Interrupted, text));
        }
        Self { repository, checked, is_up: true, roles: status.roles.clone(), problems }
    }

    pub(crate) fn unreadable(repository: String, reason: String, checked: DateTime<Utc>) -> Self {
        let problem = Problem::new(MonitorState::Critical, ProblemKind::Unverified, reason);
        Self { repository, checked, is_up: false, roles: Vec::new(), problems: vec![problem] }
    }

    /// Returns the state of the most severe problem, or OK if there is no problem.
    pub(crate) fn state(&self) -> MonitorState {
        self.problems.iter().map(|problem| problem.state).max().unwrap_or(MonitorState::Ok)
    }

    /// Returns the reasons for the state. If there is no problem, returns one line about the role that expires first.
    pub(crate) fn reasons(&self) -> Vec<String> {
        if !self.problems.is_empty() {
            return self.problems.iter().map(|problem| problem.text.clone()).collect();
        }
        let first = self.roles.iter().min_by_key(|role| role.expires);
        let reason = |role: &RoleStatus| {
            format!("{} is the first role to expire, {}", printable(&role.name), minute(role.expires))
        };
        first.map(reason).into_iter().collect()
    }

    /// Combines all roles of the same name into one, for formats in which each name may occur only once. `roles`
    /// contains a role several times if several roles delegate to it.
    pub(crate) fn roles_by_name(&self) -> Vec<RoleStatus> {
        let mut places = BTreeMap::new();
        let mut combined: Vec<RoleStatus> = Vec::new();
        for role in &self.roles {
            let place = *places.entry(printable(&role.name)).or_insert(combined.len());
            match combined.get_mut(place) {
                Some(same) => same.combine(role.clone()),
                None => combined.push(role.clone()),
            }
        }
        combined
    }

    /// Returns a JSON object with the members that every document about the state of a repository contains.
    pub(crate) fn json(&self) -> Value {
        json!({
            "repository": self.repository, "checked": format_time(&self.checked), "state": state_name(self.state()),
            "up": self.is_up, "roles": self.roles.iter().map(RoleStatus::json).collect::<Vec<_>>(),
            "problems": self.problems.iter().map(Problem::json).collect::<Vec<_>>(),
        })
    }
}

/// Returns a problem for each role that has expired, was not renewed in time, or cannot be signed any more.
pub(crate) fn role_problems(roles: &[RoleStatus]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for role in roles {
        let name = printable(&role.name);
        let expires = minute(role.expires);
        let problem = match role.renewal {
            Renewal::Expired => {
                Some((MonitorState::Critical, ProblemKind::Expired, format!("{name} expired {expires}")))
            }
            Renewal::Urgent | Renewal::Overdue => {
                let state =
                    if role.renewal == Renewal::Urgent { MonitorState::Critical } else { MonitorState::Warning };
                Some((state, ProblemKind::Overdue, format!("{name} was not renewed in time and expires {expires}")))
            }
            Renewal::Due | Renewal::Later => None,
        };
        problems.extend(problem.map(|(state, kind, text)| Problem::new(state, kind, text).of_role(&role.name)));
    }
    let unsignable = roles.iter().filter(|role| !role.can_be_signed());
    problems.extend(unsignable.map(|role| no_signers(&role.name, role.threshold, role.usable_keys)));
    problems
}

pub(crate) fn no_signers(role: &str, threshold: u32, usable: usize) -> Problem {
    let mut text = format!("nobody can sign for {} any more: {threshold} keys must sign, but ", printable(role));
    let _ = match usable {
        0 => write!(text, "no listed key is usable"),
        1 => write!(text, "only 1 listed key is usable"),
        usable => write!(text, "only {usable} listed keys are usable"),
    };
    Problem::new(MonitorState::Critical, ProblemKind::NoSigners, text).of_role(role)
}

/// Returns the name of a state, as it appears in JSON and in the line that `status --monitor` prints.
pub(crate) fn state_name(state: MonitorState) -> &'static str {
    match state {
        MonitorState::Ok => "OK",
        MonitorState::Warning => "WARNING",
        MonitorState::Critical => "CRITICAL",
        MonitorState::Unknown => "UNKNOWN",
    }
}

/// Formats a time to the minute, as in `2030-01-01 12:00 UTC`.
pub(crate) fn minute(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use lastmile_metadata::Version;

    use super::*;

    #[test]
    fn a_role_with_two_delegating_roles_occurs_once_in_metrics_and_calendars() {
        let day = |days| DateTime::UNIX_EPOCH + TimeDelta::days(days);
        let role = |name: &str, days, threshold, usable_keys| RoleStatus {
            name: name.to_string(),
            version: Version::new(1).unwrap(),
            expires: day(days),
            threshold,
            keys: Vec::new(),
            usable_keys,
            odd: Vec::new(),
            renewal: Renewal::Later,
            renew_from: day(days - 1),
        };
        let roles = vec![role("a", 9, 1, 3), role("b\u{1b}", 8, 1, 1), role("a", 7, 1, 2), role("b\\u{1b}", 8, 3, 2)];
        let repository = "r".to_string();
        let overview = Overview { repository, checked: day(0), is_up: true, roles, problems: Vec::new() };
        let combined = overview.roles_by_name();
        let seen = |role: &RoleStatus| (role.expires, role.renew_from, role.threshold, role.usable_keys);
        assert_eq!(combined.iter().map(seen).collect::<Vec<_>>(), [(day(7), day(6), 1, 2), (day(8), day(7), 3, 2)]);
        let metrics = crate::report::prometheus::text(&overview, &[]);
        let labels = metrics.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        let mut labels: Vec<&str> = labels.map(|(labels, _)| labels).collect();
        assert!(labels.contains(&"lastmile_role_version{repository=\"r\",role=\"a\"}"), "{metrics}");
        let count = labels.len();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), count, "{metrics}");
        let calendar = crate::report::calendar::text(&overview);
        assert_eq!(calendar.matches("BEGIN:VEVENT").count(), 2, "{calendar}");
    }
}
