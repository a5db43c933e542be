//! What was measured, as a page.

use crate::say;
use std::fmt::Write as _;

/// The page, part by part.
pub(crate) struct Report {
    parts: String,
    broken: usize,
    /// How many programs wanted to run before any of ours did.
    load_before: f64,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { parts: String::new(), broken: 0, load_before: load() }
    }

    /// Begins a part.
    pub(crate) fn part(&mut self, title: &str, introduction: &str) {
        let _ = writeln!(self.parts, "\n## {title}\n\n{introduction}\n");
    }

    /// A line of the page, shown at once too.
    pub(crate) fn line(&mut self, text: &str) {
        say::line(text);
        let _ = writeln!(self.parts, "{text}");
    }

    /// A promise, and whether what was measured keeps it.
    pub(crate) fn promise(&mut self, promise: &str, kept: bool) {
        if !kept {
            self.broken += 1;
        }
        self.line("");
        self.line(&format!("Promised: {promise}. **{}**", if kept { "Kept." } else { "Not kept." }));
    }

    pub(crate) fn all_kept(&self) -> bool {
        self.broken == 0
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
             Written by `cargo xtask bench`: release builds, on a machine with {cores} cores{memory}. Times are medians; \
             everything that is compared ran in the same run, in turns. Measure again on your own machine before you \
             quote a number.{busy}\n{}",
            self.parts
        )
    }
}

/// The system's load average of the last minute.
fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default()
}
