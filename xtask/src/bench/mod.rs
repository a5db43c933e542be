//! `cargo xtask bench`: measures, side by side, what the project promises, and writes docs/performance.md.

mod download;
mod micro;
mod process;
mod publish;
mod report;
mod requests;
mod server;

use crate::say;
use crate::steps::{Outcome, cargo, status};
use report::Report;
use std::path::{Path, PathBuf};

/// A bench adds its part to the report, or says why it could not.
type Bench = fn(&Place, &mut Report) -> Result<(), String>;

const BENCHES: [(&str, Bench); 4] =
    [("requests", requests::run), ("download", download::run), ("publish", publish::run), ("micro", micro::run)];

/// Where the benches work and what they run.
pub(crate) struct Place {
    project: PathBuf,
    /// Fresh for each run of the benches, and removed after it.
    scratch: PathBuf,
    client: PathBuf,
    repo_tool: PathBuf,
}

/// Runs the named benches, or all; true when each could be measured and kept its promise.
pub(crate) fn run(project: &Path, names: &[&str]) -> bool {
    if let Some(unknown) = names.iter().find(|name| !BENCHES.iter().any(|(known, _)| known == *name)) {
        say::warn(format!("there is no bench called {unknown}"));
        return false;
    }
    // Before the build, whose load would be taken for that of others.
    let mut report = Report::new();
    let place = match Place::prepare(project) {
        Ok(place) => place,
        Err(error) => {
            say::warn(error);
            return false;
        }
    };
    let mut measured = true;
    for (name, bench) in BENCHES {
        if names.is_empty() || names.contains(&name) {
            say::line(format!("\n== {name}"));
            if let Err(error) = bench(&place, &mut report) {
                say::warn(format!("{name} could not be measured: {error}"));
                measured = false;
            }
        }
    }
    let _ = std::fs::remove_dir_all(&place.scratch);
    // A part of the benches would overwrite the page with a part of the truth.
    if names.is_empty() && measured {
        let page = project.join("docs/performance.md");
        if let Err(error) = std::fs::write(&page, report.page()) {
            say::warn(format!("{}: {error}", page.display()));
            return false;
        }
        say::line(format!("\nwritten: {}", page.display()));
    }
    measured && report.all_kept()
}

impl Place {
    fn prepare(project: &Path) -> Result<Self, String> {
        let build = ["build", "--release", "--locked", "-p", "lastmile-client", "-p", "lastmile-repo-tool", "--bins"];
        if let Outcome::Failed(why) = status(&mut cargo(project, &build)) {
            return Err(format!("the release build failed: {why}"));
        }
        // Of its own, so that two runs do not take each other's files away.
        let scratch = project.join(format!("target/bench/{}", std::process::id()));
        std::fs::create_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
        Ok(Self {
            project: project.to_path_buf(),
            scratch,
            client: project.join("target/release/lastmile"),
            repo_tool: project.join("target/release/lastmile-repo"),
        })
    }
}

/// The middle value; half-way between the two middle ones of an even number.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.get(middle.wrapping_sub(1))) {
        (Some(upper), Some(lower)) if sorted.len().is_multiple_of(2) => f64::midpoint(*lower, *upper),
        (Some(value), _) => *value,
        (None, _) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_string(), "2");
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]).to_string(), "2.5");
        assert!(median(&[]).is_nan());
    }
}
