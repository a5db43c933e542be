//! `cargo xtask bench`: measures, side by side, what the project promises; the whole of it is docs/performance.md.

mod clients;
mod curves;
mod data;
mod download;
mod large;
mod micro;
mod plot;
mod process;
mod proxy;
mod publish;
mod report;
mod requests;
mod road;
mod row;
mod scale;
mod server;

use crate::steps::{Outcome, cargo, status};
use crate::{say, setup};
use process::{PATIENCE, Used};
use report::Report;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A bench adds its rows and parts to the report, or says why it could not.
type Bench = fn(&Place, &mut Report) -> Result<(), String>;

const BENCHES: [(&str, Bench); 8] = [
    ("flat", large::flat),
    ("bins", large::bins),
    ("scale", scale::run),
    ("road", road::run),
    ("download", download::run),
    ("publish", publish::run),
    ("requests", requests::run),
    ("loops", micro::run),
];

/// What is to be measured, from the command line.
pub(crate) struct Wanted<'a> {
    /// Other programs beside ours.
    peers: bool,
    /// How costs grow, and nothing else.
    curves: bool,
    sizes: Sizes,
    /// Only these benches; all when there are none.
    names: Vec<&'a str>,
}

/// How large everything is.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sizes {
    targets: usize,
    /// Bits of the hash that choose the bin.
    bits: u32,
    /// Small targets fetched over a long road.
    small_files: usize,
    /// Small targets published.
    files: usize,
    /// Of the large target.
    mebibytes: usize,
    publishers: usize,
    /// How long to wait for a program that will probably not do it.
    slow: Duration,
}

const FULL: Sizes = Sizes {
    targets: 1_000_000,
    bits: 14,
    small_files: 1_000,
    files: 10_000,
    mebibytes: 1024,
    publishers: 100,
    slow: Duration::from_secs(15),
};
/// For trying the benches themselves.
const QUICK: Sizes = Sizes {
    targets: 10_000,
    bits: 8,
    small_files: 50,
    files: 500,
    mebibytes: 64,
    publishers: 10,
    slow: Duration::from_secs(5),
};

impl<'a> Wanted<'a> {
    /// None for words that no one knows.
    pub(crate) fn parse(words: &[&'a str]) -> Option<Self> {
        let mut wanted = Self { peers: false, curves: false, sizes: FULL, names: Vec::new() };
        for word in words {
            match *word {
                "--peers" => wanted.peers = true,
                "--curves" => wanted.curves = true,
                "--quick" => wanted.sizes = QUICK,
                name if BENCHES.iter().any(|(known, _)| *known == name) => wanted.names.push(name),
                _ => return None,
            }
        }
        Some(wanted)
    }

    /// A part of the benches would overwrite the page with a part of the truth.
    fn is_full(&self) -> bool {
        self.peers && self.sizes == FULL && self.names.is_empty()
    }
}

/// Where the benches work and what they run.
pub(crate) struct Place {
    project: PathBuf,
    /// Fresh for each run of the benches, and removed after it.
    scratch: PathBuf,
    peers: bool,
    sizes: Sizes,
    client: PathBuf,
    repo_tool: PathBuf,
    /// Programs around the libraries, ours and tough.
    refresh: PathBuf,
    tough: PathBuf,
    /// With python-tuf; it measures, too.
    python: PathBuf,
    /// How many programs wanted to run before any of ours did.
    load_before: f64,
}

/// Runs the benches; true when each could be measured and cleared its bar.
pub(crate) fn run(project: &Path, wanted: &Wanted<'_>) -> bool {
    let done = Place::prepare(project, wanted).and_then(|place| {
        let done = if wanted.curves {
            curves::run(&place, wanted.sizes == QUICK).map(|()| true)
        } else {
            rows(&place, wanted)
        };
        let _ = std::fs::remove_dir_all(&place.scratch);
        done
    });
    done.unwrap_or_else(|error| {
        say::warn(error);
        false
    })
}

fn rows(place: &Place, wanted: &Wanted<'_>) -> Result<bool, String> {
    let mut report = Report::new(place.load_before);
    let (started, mut measured) = (Instant::now(), true);
    for (name, bench) in BENCHES {
        if wanted.names.is_empty() || wanted.names.contains(&name) {
            say::line(format!("\n== {name}"));
            let started = Instant::now();
            if let Err(error) = bench(place, &mut report) {
                report.line(&format!("\n{name} could not be measured: {error}"));
                measured = false;
            }
            say::line(format!("({:.0} s)", started.elapsed().as_secs_f64()));
        }
    }
    say::line(format!("\n{}\nin all {:.0} s", report.table(), started.elapsed().as_secs_f64()));
    if wanted.is_full() {
        let page = place.project.join("docs/performance.md");
        std::fs::write(&page, report.page()).map_err(|error| format!("{}: {error}", page.display()))?;
        say::line(format!("written: {}", page.display()));
    }
    Ok(measured && report.all_kept())
}

impl Place {
    fn prepare(project: &Path, wanted: &Wanted<'_>) -> Result<Self, String> {
        // Before the build, whose load would be taken for that of others.
        let load_before = load();
        if !setup::others(project) {
            return Err("the other clients are not there, see above".into());
        }
        // In two steps, so that the one's features do not become the other's.
        let programs =
            ["build", "--release", "--locked", "-p", "lastmile-client", "-p", "lastmile-repo-tool", "--bins"];
        let examples = ["build", "--release", "--locked", "-p", "lastmile-perf", "--examples"];
        for build in [programs.as_slice(), &examples] {
            if let Outcome::Failed(why) = status(&mut cargo(project, build)) {
                return Err(format!("the release build failed: {why}"));
            }
        }
        // Of its own, so that two runs do not take each other's files away.
        let scratch = project.join(format!("target/bench/{}", std::process::id()));
        std::fs::create_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
        let release = project.join("target/release");
        Ok(Self {
            project: project.to_path_buf(),
            scratch,
            peers: wanted.peers || wanted.curves,
            sizes: wanted.sizes,
            client: release.join("lastmile"),
            repo_tool: release.join("lastmile-repo"),
            refresh: release.join("examples/refresh"),
            tough: release.join("examples/tough"),
            python: project.join("target/interop/venv/bin/python"),
            load_before,
        })
    }

    /// Makes `FOLDER/repository` and publishes `FOLDER/FILES` in it.
    fn repository(&self, folder: &Path, files: &str) -> Result<(), String> {
        process::run(&self.repo_tool, &["init", "repository"], folder)?;
        process::run(&self.repo_tool, &["--repository", "repository", "add", files], folder).map(drop)
    }

    fn measure_repo_tool(&self, arguments: &[&str], folder: &Path) -> Result<Used, String> {
        process::measure(&self.python, process::command(&self.repo_tool, folder).args(arguments), PATIENCE)
    }
}

/// The system's load average of the last minute.
fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default()
}
