//! What was measured, as a page: the table first, then what needs more words.

use super::row::Row;
use crate::say;
use std::fmt::Write as _;

const HEAD: &str = "| work | bar | lastmile | beside it | times as good | |\n|---|---|---|---|---|---|";

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
             turns (less than 11 MB cannot be told apart). Measure again on your own machine before you quote a number.{busy} How costs grow is in \
             [curves.md](curves.md).\n\n## Side by side\n\n{}{}",
            self.table(),
            self.parts
        )
    }
}
