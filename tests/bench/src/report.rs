//! The page docs/performance.md: a table, then one section for each subject.

use crate::row::Row;
use std::fmt::Write as _;
use xtask::say;

const HEAD: &str = "| work | bar | lastmile | other programs | ratio | bar met? |\n|---|---|---|---|---|---|";

const HOW: &str = "
## How

* `get` is measured from the start of the process to its end, over HTTP on loopback. Before the first `get`, the client has only
  the root. Before the second `get`, the client has all files that the first `get` fetched. python-tuf and tuf-js are called as in
  their own examples (`tests/perf/`). tough reads the repository from the disk, which is faster than HTTP.
* Unless a row names lastmile-repo, python-tuf generated the repository (`tests/perf/make.py`).
* tuf-js and tough have a short time limit in rows for which they would take minutes. tuf-js is slow because it copies all earlier
  targets for each target that it reads. tough is slow because it loads every bin.
* Byte counts include everything that the server sent, with headers. The server compresses metadata with gzip for clients that
  accept gzip. For repositories of lastmile-repo, the server sends the files that lastmile-repo compressed.
* The slow network is a proxy on loopback that delays bytes by half a round trip in each direction. Opening a connection takes
  one more round trip. A process refreshes twice on this network, and only the second refresh is measured.
* For the large target, `lastmile get` verifies the file, writes it to the disk and calls fsync. The other program in
  this row is a pipeline: curl downloads the file, and openssl hashes it. The pipeline writes nothing to the disk.
* `lastmile-repo init` and `add` make keys, sign, copy every file, read the result with the client, and call fsync. `tuftool
  create` uses existing keys and an existing root, and only signs and copies. The private keys are never encrypted,
  because encryption with a pass-phrase is slow by design, and the time for it would be part of the measured time.
";

pub(crate) struct Report {
    table: String,
    parts: String,
    /// The number of rows in which lastmile did not meet its bar, or which could not be measured.
    broken: usize,
    /// The system's load average before the benches started.
    load_before: f64,
}

/// Explains the bars of the rows that use repositories with 16,384 bins.
const BINS: &str = "\nSome rows measure repositories of lastmile-repo with 16,384 succinct bins. The bars of these \
rows were set when the snapshot listed only the versions of the bins. The snapshot now also lists the length and the \
hash of each bin. Its size is therefore 2.15 MB instead of 0.5 MB, and hashes do not compress. lastmile-repo proposes \
at most 8,192 succinct bins; [scale.md](scale.md) has the figures for this number.\n";

impl Report {
    pub(crate) fn new(load_before: f64) -> Self {
        Self { table: String::new(), parts: String::new(), broken: 0, load_before }
    }

    /// Adds a row to the table at the top of the page, and prints it.
    pub(crate) fn row(&mut self, row: &Row) {
        self.broken += usize::from(row.kept != Some(true));
        say::line(&row.cells);
        let _ = writeln!(self.table, "| {} |", row.cells);
    }

    /// Begins a table of rows in the current section.
    pub(crate) fn table_head(&mut self) {
        let _ = writeln!(self.parts, "{HEAD}");
    }

    /// Adds a row to the table in the current section and prints it.
    pub(crate) fn table_row(&mut self, row: &Row) {
        self.broken += usize::from(row.kept != Some(true));
        self.line(&format!("| {} |", row.cells));
    }

    /// Begins a section.
    pub(crate) fn part(&mut self, title: &str, introduction: &str) {
        let _ = writeln!(self.parts, "\n## {title}\n\n{introduction}\n");
    }

    /// Adds a line to the current section and prints it.
    pub(crate) fn line(&mut self, text: &str) {
        say::line(text);
        let _ = writeln!(self.parts, "{text}");
    }

    pub(crate) fn all_kept(&self) -> bool {
        self.broken == 0
    }

    pub(crate) fn table(&self) -> String {
        format!("{HEAD}\n{}", self.table)
    }

    pub(crate) fn page(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let kilobytes = std::fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| text.lines().next().and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()));
        let memory = kilobytes.map_or(String::new(), |kilobytes| format!(" and {} GiB of memory", kilobytes >> 20));
        let busy = if self.load_before > 0.5 {
            let load = self.load_before;
            format!(
                " The machine was busy with other work (load {load:.1}), so all of these times are longer than on an idle machine."
            )
        } else {
            String::new()
        };
        format!(
            "# Performance\n\n\
             This page is written by `cargo xtask bench --peers`. The release builds were measured on a machine with {cores} \
             cores{memory}. All numbers come from one run, in which the programs ran alternately. Times are medians \
             of several runs. A time marked \"(once)\" comes from a single run. Memory is the highest value in any \
             run of the program (values below 11 MB cannot be measured). A ratio is the value of the other program \
             divided by the value of lastmile. The column \"bar\" shows the performance that lastmile must reach: \
             for example, \"20× python-tuf\" requires a ratio of at least 20. Measure again on your own machine before \
             you quote a number.{busy} [curves.md](curves.md) shows how the costs grow with the number of \
             targets.\n\n## Side by side\n\n{}{BINS}{}{HOW}",
            self.table(),
            self.parts
        )
    }
}
