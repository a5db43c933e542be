//! Large repositories that python-tuf generates. The repositories are kept in `target/bench-data` for later runs.

use crate::{Setup, process};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use xtask::say;

const SCRIPT: &str = "tests/perf/make.py";

/// The parameters of a repository that `tests/perf/make.py` generates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Generated {
    pub(crate) targets: usize,
    /// The number of targets that can be downloaded. The others are listed, but have no files.
    pub(crate) real: usize,
    /// The key type: `ed25519` or `ecdsa`.
    pub(crate) key: &'static str,
    /// There are 2^`bits` bins; 0 means that the repository has no bins.
    pub(crate) bits: u32,
    /// The form of the delegations to bins: `prefix` or `succinct`.
    pub(crate) form: &'static str,
}

/// The time limit for generating a repository. Generating ten million targets takes some minutes.
const MAX_DURATION: Duration = Duration::from_secs(900);

/// The length of each target, in bytes.
const LENGTH: usize = 10_240;

impl Generated {
    pub(crate) fn flat(targets: usize, key: &'static str) -> Self {
        Self { targets, real: 5, key, bits: 0, form: "flat" }
    }

    pub(crate) fn bins(targets: usize, bits: u32, form: &'static str) -> Self {
        Self { targets, real: 5, key: "ed25519", bits, form }
    }

    /// Returns the folder of the repository, which contains `metadata/`, `targets/` and `names`. Generates the
    /// repository if it does not exist, or if the script has changed since it was generated. Switches a repository with
    /// bins to state 1, see [`state`].
    pub(crate) fn folder(&self, setup: &Setup) -> Result<PathBuf, String> {
        let Self { targets, real, key, bits, form } = self;
        let kept = setup.project.join("target/bench-data");
        let folder = kept.join(format!("{form}-{targets}-{bits}-{key}-{real}"));
        let stamp = folder.join("made-by");
        let script = setup.project.join(SCRIPT);
        let wanted = fs::read_to_string(&script).map_err(|error| format!("{SCRIPT}: {error}"))?;
        if fs::read_to_string(&stamp).is_ok_and(|made_by| made_by == wanted) {
            if *bits > 0 {
                state(&folder, 1)?;
            }
            return Ok(folder);
        }
        say::line(format!("making {}", folder.display()));
        let started = Instant::now();
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&kept).map_err(|error| error.to_string())?;
        let [targets, real, length, bits] = [*targets, *real, LENGTH, *bits as usize].map(|number| number.to_string());
        let arguments =
            [&script.to_string_lossy(), &folder.to_string_lossy(), &*targets, &real, &length, key, &bits, form];
        process::measure(&setup.python, process::command(&setup.python, &kept).args(arguments), MAX_DURATION)?;
        fs::write(&stamp, wanted).map_err(|error| error.to_string())?;
        say::line(format!("made in {:.0} s", started.elapsed().as_secs_f64()));
        Ok(folder)
    }
}

/// Switches a repository with bins to state 1, or to state 2, which has one target more.
pub(crate) fn state(folder: &std::path::Path, number: u32) -> Result<(), String> {
    let metadata = folder.join("metadata");
    let copied = fs::copy(metadata.join(format!("timestamp.{number}.json")), metadata.join("timestamp.json"));
    copied.map(drop).map_err(|error| format!("{}: {error}", metadata.display()))
}

/// Returns the names of the targets that can be downloaded.
pub(crate) fn names(folder: &std::path::Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(folder.join("names")).map_err(|error| error.to_string())?;
    Ok(text.lines().map(str::to_owned).collect())
}
