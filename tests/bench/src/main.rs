//! `cargo xtask bench`: measures lastmile and other TUF implementations side by side, and writes docs/performance.md.

mod clients;
mod curves;
mod download;
mod evidence;
mod generated;
mod large;
mod micro;
mod network;
mod plot;
mod process;
mod proxy;
mod publish;
mod report;
mod requests;
mod row;
mod scale;
mod server;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use process::{TIME_LIMIT, Used};
use report::Report;
use xtask::command::{Outcome, cargo, status};
use xtask::{say, setup};

const USAGE: &str = "\
usage: cargo xtask bench [--peers] [--quick] [NAME…]
       cargo xtask bench --curves [--quick]

names: flat, bins, scale, network, download, publish, requests, evidence, loops";

/// Adds rows and sections to the report. The error is the reason why the bench could not run.
type Bench = fn(&Setup, &mut Report) -> Result<(), String>;

const BENCHES: [(&str, Bench); 9] = [
    ("flat", large::flat),
    ("bins", large::bins),
    ("scale", scale::run),
    ("network", network::run),
    ("download", download::run),
    ("publish", publish::run),
    ("requests", requests::run),
    ("evidence", evidence::run),
    ("loops", micro::run),
];

struct Arguments<'a> {
    /// If set, other implementations are measured too.
    peers: bool,
    /// If set, the program only measures how costs grow with the number of targets. It runs no benches.
    curves: bool,
    sizes: Sizes,
    /// If the list is empty, all benches run.
    names: Vec<&'a str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Sizes {
    targets: usize,
    /// There are 2^`bits` bins.
    bits: u32,
    /// The number of small targets that are fetched over a slow network.
    small_files: usize,
    /// The number of small targets that the bench `publish` adds to a repository.
    files: usize,
    /// The size of the large target.
    mebibytes: usize,
    publishers: usize,
    /// The time limit for a program that may be too slow to finish.
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
/// Sizes for testing the benches themselves.
const QUICK: Sizes = Sizes {
    targets: 10_000,
    bits: 8,
    small_files: 50,
    files: 500,
    mebibytes: 64,
    publishers: 10,
    slow: Duration::from_secs(5),
};

impl<'a> Arguments<'a> {
    fn parse(words: &[&'a str]) -> Option<Self> {
        let mut arguments = Self { peers: false, curves: false, sizes: FULL, names: Vec::new() };
        for word in words {
            match *word {
                "--peers" => arguments.peers = true,
                "--curves" => arguments.curves = true,
                "--quick" => arguments.sizes = QUICK,
                name if BENCHES.iter().any(|(known, _)| *known == name) => arguments.names.push(name),
                _ => return None,
            }
        }
        Some(arguments)
    }

    /// Returns `true` if all benches run in full size and with all programs. Otherwise, docs/performance.md is not
    /// written, because the page would lose rows.
    fn is_full(&self) -> bool {
        self.peers && self.sizes == FULL && self.names.is_empty()
    }
}

struct Setup {
    project: PathBuf,
    /// A temporary folder, which is new in each run of the benches and removed at the end.
    scratch: PathBuf,
    peers: bool,
    sizes: Sizes,
    client: PathBuf,
    repo_tool: PathBuf,
    /// The example program that refreshes with the library lastmile-client.
    refresh: PathBuf,
    /// The example program that fetches targets with the library tough.
    tough: PathBuf,
    /// A Python interpreter with python-tuf. The interpreter also measures the time and memory of all programs.
    python: PathBuf,
    /// The system's load average before the benches started.
    load_before: f64,
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some(arguments) = Arguments::parse(&words) else {
        say::warn(USAGE);
        return ExitCode::from(2);
    };
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say::warn(error);
            ExitCode::FAILURE
        }
    }
}

/// Returns `true` if all benches ran and lastmile met the [`Bar`](row::Bar) of each row.
fn run(arguments: &Arguments<'_>) -> Result<bool, String> {
    let setup = Setup::prepare(arguments)?;
    let result = if arguments.curves {
        curves::run(&setup, arguments.sizes == QUICK).map(|()| true)
    } else {
        rows(&setup, arguments)
    };
    // A failure to remove the folder does no harm, because the folder is inside target/.
    let _ = fs::remove_dir_all(&setup.scratch);
    result
}

fn rows(setup: &Setup, arguments: &Arguments<'_>) -> Result<bool, String> {
    let mut report = Report::new(setup.load_before);
    let started = Instant::now();
    let mut all_measured = true;
    for (name, bench) in BENCHES {
        if arguments.names.is_empty() || arguments.names.contains(&name) {
            say::line(format!("\n== {name}"));
            let bench_started = Instant::now();
            if let Err(error) = bench(setup, &mut report) {
                report.line(&format!("\n{name} could not be measured: {error}"));
                all_measured = false;
            }
            say::line(format!("({:.0} s)", bench_started.elapsed().as_secs_f64()));
        }
    }
    say::line(format!("\n{}\ntotal: {:.0} s", report.table(), started.elapsed().as_secs_f64()));
    if arguments.is_full() {
        let page = setup.project.join("docs/performance.md");
        fs::write(&page, report.page()).map_err(|error| format!("{}: {error}", page.display()))?;
        say::line(format!("written: {}", page.display()));
    }
    Ok(all_measured && report.all_kept())
}

impl Setup {
    fn prepare(arguments: &Arguments<'_>) -> Result<Self, String> {
        // The load is read before the programs are built, because the build would increase it.
        let load_before = load();
        let project = project_folder();
        if !setup::others(&project) {
            return Err("other TUF implementations are missing, see above".into());
        }
        // Build the programs separately from the examples. If cargo built them together, it would unify their features,
        // and the measured programs would differ from the released ones.
        let programs =
            ["build", "--release", "--locked", "-p", "lastmile-client", "-p", "lastmile-repo-tool", "--bins"];
        let examples = ["build", "--release", "--locked", "-p", "lastmile-perf", "--examples"];
        // The bench `evidence` builds its own program.
        let builds = if arguments.names == ["evidence"] { &[][..] } else { &[programs.as_slice(), &examples] };
        for build in builds {
            if let Outcome::Failed(why) = status(&mut cargo(&project, build)) {
                return Err(format!("the release build failed: {why}"));
            }
        }
        // The folder contains the process ID, so two concurrent runs do not remove each other's files.
        let scratch = project.join(format!("target/bench/{}", std::process::id()));
        fs::create_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
        let release = project.join("target/release");
        Ok(Self {
            scratch,
            peers: arguments.peers || arguments.curves,
            sizes: arguments.sizes,
            client: release.join("lastmile"),
            repo_tool: release.join("lastmile-repo"),
            refresh: release.join("examples/refresh"),
            tough: release.join("examples/tough"),
            python: project.join("target/interop/venv/bin/python"),
            project,
            load_before,
        })
    }

    /// Creates the repository `FOLDER/repository`, and publishes the files in `FOLDER/FILES`.
    fn repository(&self, folder: &Path, files: &str) -> Result<(), String> {
        process::run(&self.repo_tool, &["init", "repository"], folder)?;
        process::run(&self.repo_tool, &["--repository", "repository", "add", files], folder).map(drop)
    }

    fn measure_repo_tool(&self, arguments: &[&str], folder: &Path) -> Result<Used, String> {
        process::measure(&self.python, process::command(&self.repo_tool, folder).args(arguments), TIME_LIMIT)
    }
}

fn project_folder() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_path_buf()
}

/// Returns the system's load average of the last minute.
fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default()
}
