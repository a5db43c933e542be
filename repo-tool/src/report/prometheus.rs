//! The state of a repository as metrics in the Prometheus text format. `status` writes the metrics to a file or serves
//! them over HTTP.

use std::fmt::Write as _;

use lastmile_client::text::printable;

use crate::report::overview::{Overview, ProblemKind};
use crate::report::served_status::MirrorStatus;

/// `mirrors` contains the status of each URL that was checked.
pub(crate) fn text(overview: &Overview, mirrors: &[MirrorStatus]) -> String {
    let repository = ("repository", overview.repository.as_str());
    let roles = overview.roles_by_name();
    let mut metrics = Metrics(String::new());
    metrics.gauge("lastmile_up", "Whether the repository could be read and verified.");
    metrics.value("lastmile_up", &[repository], i64::from(overview.is_up));
    metrics.gauge("lastmile_state", "The state of the repository. 0: OK, 1: warning, 2: critical.");
    metrics.value("lastmile_state", &[repository], overview.state() as i64);
    metrics.gauge("lastmile_last_check_timestamp_seconds", "The time of the last check.");
    metrics.value("lastmile_last_check_timestamp_seconds", &[repository], overview.checked.timestamp());
    metrics.gauge("lastmile_problems", "The number of problems of each kind.");
    for kind in ProblemKind::ALL {
        let count = overview.problems.iter().filter(|problem| problem.kind == kind).count();
        metrics.value("lastmile_problems", &[repository, ("kind", kind.name())], count);
    }
    metrics.gauge("lastmile_role_expires_timestamp_seconds", "The expiry date of a role.");
    for role in &roles {
        let labels = [repository, ("role", &role.name)];
        metrics.value("lastmile_role_expires_timestamp_seconds", &labels, role.expires.timestamp());
    }
    metrics.gauge("lastmile_role_renew_timestamp_seconds", "The time from which a role should be renewed.");
    for role in &roles {
        let labels = [repository, ("role", &role.name)];
        metrics.value("lastmile_role_renew_timestamp_seconds", &labels, role.renew_from.timestamp());
    }
    metrics.gauge("lastmile_role_version", "The version of a role.");
    for role in &roles {
        metrics.value("lastmile_role_version", &[repository, ("role", &role.name)], role.version.get());
    }
    metrics.gauge("lastmile_role_threshold", "The number of keys that must sign for a role.");
    for role in &roles {
        metrics.value("lastmile_role_threshold", &[repository, ("role", &role.name)], role.threshold);
    }
    metrics.gauge("lastmile_role_usable_keys", "The number of different keys that can sign for a role.");
    for role in &roles {
        metrics.value("lastmile_role_usable_keys", &[repository, ("role", &role.name)], role.usable_keys);
    }
    if !mirrors.is_empty() {
        of_mirrors(&mut metrics, repository, mirrors);
    }
    metrics.0
}

fn of_mirrors(metrics: &mut Metrics, repository: Label<'_>, mirrors: &[MirrorStatus]) {
    metrics.gauge("lastmile_mirror_up", "Whether clients can fetch and verify the repository at a URL.");
    for mirror in mirrors {
        let url = mirror.url.to_string();
        metrics.value("lastmile_mirror_up", &[repository, ("url", &url)], i64::from(mirror.versions.is_some()));
    }
    metrics.gauge("lastmile_mirror_version", "The version of a role that clients get from a URL.");
    for mirror in mirrors {
        let url = mirror.url.to_string();
        for (role, version) in mirror.versions.iter().flat_map(|versions| versions.by_role()) {
            let labels = [repository, ("url", &url), ("role", role.as_str())];
            metrics.value("lastmile_mirror_version", &labels, version);
        }
    }
}

type Label<'a> = (&'static str, &'a str);

struct Metrics(String);

impl Metrics {
    fn gauge(&mut self, name: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn value(&mut self, name: &str, labels: &[Label<'_>], value: impl std::fmt::Display) {
        let labels = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
        let _ = writeln!(self.0, "{name}{{{}}} {value}", labels.collect::<Vec<_>>().join(","));
    }
}

/// Escapes the value of a label: first the unprintable characters, and then the characters that have a meaning in the
/// Prometheus text format.
fn escaped(value: &str) -> String {
    printable(value).replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(escaped("a\"} 1\nb\\n\u{1b}"), "a\\\"} 1\\\\u{a}b\\\\n\\\\u{1b}");
    }
}
