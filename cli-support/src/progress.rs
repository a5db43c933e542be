//! Progress bars on standard error, where that is a terminal and nobody asked for quiet.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::Output;

/// From so many files on, a person wants to see that work goes on.
const LONG: usize = 100;
/// How often a bar moves by itself.
const TICK: Duration = Duration::from_millis(100);

impl Output {
    /// A bar for `length` steps of `what`.
    #[must_use]
    pub fn bar(&self, what: &'static str, length: usize) -> ProgressBar {
        let Some(bars) = self.bars.as_ref().filter(|_| length >= 2) else { return ProgressBar::hidden() };
        let bar = bars.add(ProgressBar::new(length as u64).with_style(style("{msg} {bar:40} {pos}/{len} {eta}")));
        bar.set_message(what);
        bar.enable_steady_tick(TICK);
        bar
    }

    /// Shows that `what` goes on and for how long, where `count` files make it long.
    #[must_use]
    pub fn spinner(&self, what: &'static str, count: usize) -> ProgressBar {
        let Some(bars) = self.bars.as_ref().filter(|_| count >= LONG) else { return ProgressBar::hidden() };
        let bar = bars.add(ProgressBar::no_length().with_style(style("{msg} {spinner} {elapsed}")));
        bar.set_message(format!("{what} {count} files"));
        bar.enable_steady_tick(TICK);
        bar
    }

    /// A bar for the files of a publication, where `count` makes it long: each is written, and moved.
    #[must_use]
    pub fn publication_bar(&self, count: usize) -> ProgressBar {
        if count < LONG { ProgressBar::hidden() } else { self.bar("checking and publishing", 2 * count) }
    }

    /// A bar for a download of `length` bytes.
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
