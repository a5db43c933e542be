//! Large repositories made by python-tuf, kept below `target/bench-data` from one run to the next.

use super::{Place, process};
use crate::say;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const SCRIPT: &str = "tests/perf/make.py";

/// A repository that `tests/perf/make.py` makes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    pub(crate) targets: usize,
    /// How many of the targets' files are there.
    pub(crate) real: usize,
    /// `ed25519` or `ecdsa`.
    pub(crate) key: &'static str,
    /// Bits of the hash that choose the bin; 0 is a flat list.
    pub(crate) bits: u32,
    /// How bins are written: `prefix` or `succinct`.
    pub(crate) form: &'static str,
}

/// Ten million targets take some minutes.
const LONGEST: Duration = Duration::from_secs(900);

/// Bytes of each target.
const LENGTH: usize = 10_240;

impl Made {
    pub(crate) fn flat(targets: usize, key: &'static str) -> Self {
        Self { targets, real: 5, key, bits: 0, form: "flat" }
    }

    pub(crate) fn bins(targets: usize, bits: u32, form: &'static str) -> Self {
        Self { targets, real: 5, key: "ed25519", bits, form }
    }

    /// Its folder with `metadata/`, `targets/` and `names`, made now unless it is there. All of it is in its first state.
    pub(crate) fn folder(&self, place: &Place) -> Result<PathBuf, String> {
        let Self { targets, real, key, bits, form } = self;
        let kept = place.project.join("target/bench-data");
        let folder = kept.join(format!("{form}-{targets}-{bits}-{key}-{real}"));
        let stamp = folder.join("made-by");
        let script = place.project.join(SCRIPT);
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
        process::measure(&place.python, process::command(&place.python, &kept).args(arguments), LONGEST)?;
        fs::write(&stamp, wanted).map_err(|error| error.to_string())?;
        say::line(format!("made in {:.0} s", started.elapsed().as_secs_f64()));
        Ok(folder)
    }
}

/// Puts a repository of bins into its first or second state.
pub(crate) fn state(folder: &std::path::Path, number: u32) -> Result<(), String> {
    let metadata = folder.join("metadata");
    let copied = fs::copy(metadata.join(format!("timestamp.{number}.json")), metadata.join("timestamp.json"));
    copied.map(drop).map_err(|error| format!("{}: {error}", metadata.display()))
}

/// The targets whose files are there.
pub(crate) fn names(folder: &std::path::Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(folder.join("names")).map_err(|error| error.to_string())?;
    Ok(text.lines().map(str::to_owned).collect())
}
