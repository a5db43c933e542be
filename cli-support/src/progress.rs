//! Progress bars on standard error. They are shown only if standard error is a terminal and `--quiet` is not given.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::Output;

/// The minimum number of files for which progress is shown.
const LONG: usize = 100;
/// The interval at which a bar is redrawn even if there is no progress.
const TICK: Duration = Duration::from_millis(100);

impl Output {
    /// Returns a progress bar with the label `what` for `length` steps. The bar is hidden if there are fewer than two
    /// steps.
    #[must_use]
    pub fn bar(&self, what: &'static str, length: usize) -> ProgressBar {
        let Some(bars) = &self.bars else { return ProgressBar::hidden() };
        if length < 2 {
            return ProgressBar::hidden();
        }
        let bar = bars.add(ProgressBar::new(length as u64).with_style(style("{msg} {bar:40} {pos}/{len} {eta}")));
        bar.set_message(what);
        bar.enable_steady_tick(TICK);
        bar
    }

    /// Returns a spinner that shows the label `what` and the elapsed time. The spinner is hidden if `count`, the number
    /// of files, is small.
    #[must_use]
    pub fn spinner(&self, what: &'static str, count: usize) -> ProgressBar {
        let Some(bars) = &self.bars else { return ProgressBar::hidden() };
        if count < LONG {
            return ProgressBar::hidden();
        }
        let bar = bars.add(ProgressBar::no_length().with_style(style("{msg} {spinner} {elapsed}")));
        bar.set_message(format!("{what} {count} files"));
        bar.enable_steady_tick(TICK);
        bar
    }

    /// Returns a progress bar for publishing `count` files. Each file takes two steps: it is written, and then moved
    /// into the repository. The bar is hidden if `count` is small.
    #[must_use]
    pub fn publication_bar(&self, count: usize) -> ProgressBar {
        if count < LONG { ProgressBar::hidden() } else { self.bar("checking and publishing", 2 * count) }
    }

    /// Returns a progress bar for a download of `length` bytes.
    #[must_use]
    pub fn download_bar(&self, name: String, length: u64) -> ProgressBar {
        let Some(bars) = &self.bars else { return ProgressBar::hidden() };
        let style = style("{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}").progress_chars("=> ");
        let bar = bars.add(ProgressBar::new(length).with_style(style));
        bar.set_message(name);
        bar
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
