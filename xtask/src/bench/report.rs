//! What was measured, as a page: the table first, then what needs more words.

use super::row::Row;
use crate::say;
use std::fmt::Write as _;

const HEAD: &str = "| work | bar | lastmile | beside it | times as good | |\n|---|---|---|---|---|---|";

/// How the rows came about.
const HOW: &str = "
## How

* `get` is a process from its start to its end, over HTTP on loopback; nothing was there before the first but the root. At
  the second, what it fetched is there. python-tuf and tuf-js are driven as their own examples do it
  (`tests/perf/`). tough reads the repository from the disk, which is the shorter way.
* Repositories are made by python-tuf, byte for byte as it writes them (`tests/perf/make.py`), where ours are not named.
* tuf-js and tough are waited for only so long where they were seen to take minutes: tuf-js copies what it has read for
  every target that it reads, tough loads every bin.
* Bytes are what the server sent, heads of answers included. It compresses metadata for whoever accepts that: with gzip as
  any web server can, for our own repository as `publish` wrote it.
* The road is a proxy on loopback that passes everything on half a round trip later, in each direction; opening a
  connection costs one round trip more. The refresh is a second one in the same process.
* `lastmile get` of the large target verifies, writes to the disk and syncs; curl and openssl write nothing.
* `lastmile-repo init` and `add` make keys, sign, copy every file, read the result with the client, and sync; `tuftool
  create` has its keys and root already, signs and copies. In all rows keys lie there unencrypted: deriving a key from a
  pass-phrase is slow on purpose.
";

/// The page, part by part.
pub(crate) struct Report {
    table: String,
    parts: String,
    /// Rows that did not clear their bar, or could not be measured.
    broken: usize,
    /// How many programs wanted to run before any of ours did.
    load_before: f64,
}

impl Report {
    pub(crate) fn new(load_before: f64) -> Self {
        Self { table: String::new(), parts: String::new(), broken: 0, load_before }
    }

    /// A row of the table, shown at once too.
    pub(crate) fn row(&mut self, row: &Row) {
        self.broken += usize::from(row.kept != Some(true));
        say::line(&row.cells);
        let _ = writeln!(self.table, "| {} |", row.cells);
    }

    /// Begins a part.
    pub(crate) fn part(&mut self, title: &str, introduction: &str) {
        let _ = writeln!(self.parts, "\n## {title}\n\n{introduction}\n");
    }

    /// A line of the part, shown at once too.
    pub(crate) fn line(&mut self, text: &str) {
        say::line(text);
        let _ = writeln!(self.parts, "{text}");
    }

    pub(crate) fn all_kept(&self) -> bool {
        self.broken == 0
    }

    /// All rows so far.
    pub(crate) fn table(&self) -> String {
        format!("{HEAD}\n{}", self.table)
    }

    /// The page, with the machine it was measured on.
    pub(crate) fn page(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let kilobytes = std::fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| text.lines().next().and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()));
        let memory = kilobytes.map_or(String::new(), |kilobytes| format!(" and {} GiB of memory", kilobytes >> 20));
        let busy = if self.load_before > 0.5 {
            let load = self.load_before;
            format!(" The machine was busy with other work (load {load:.1}): alone, everything here is quicker.")
        } else {
            String::new()
        };
        format!(
            "# Performance\n\n\
             Written by `cargo xtask bench --peers`: release builds, on a machine with {cores} cores{memory}. All of it \
             comes from one run, in which what is compared took turns; times are medians, memory is the largest of all \
             turns (less than 11 MB cannot be told apart). Measure again on your own machine before you quote a number.{busy} How costs \
             grow is drawn in [curves.md](curves.md).\n\n## Side by side\n\n{}{}{HOW}",
            self.table(),
            self.parts
        )
    }
}
