//! The progress bar that commands show while they publish.

use std::io;

use indicatif::ProgressBar;
use lastmile_cli_support::Output;

use crate::publish::observer::{Observer, PublishEvent};

/// A progress bar that counts written and moved files.
pub(super) struct Publishing(ProgressBar);

impl Publishing {
    pub(super) fn new(output: &Output, count: usize) -> Self {
        Self(output.publication_bar(count))
    }
}

impl Observer for Publishing {
    fn before(&mut self, event: PublishEvent<'_>) -> io::Result<()> {
        match event {
            PublishEvent::Write(_) | PublishEvent::Move(_) => self.0.inc(1),
            _ => {}
        }
        Ok(())
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
