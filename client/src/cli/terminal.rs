//! Prints events and the progress of downloads.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;
use lastmile_cli_support::Output;
use lastmile_metadata::{TargetFile, TargetPath};

use crate::event::{Event, EventSink, Progress, Transfer};
use crate::text::printable;

pub(super) struct EventPrinter(pub(super) Output);

impl EventSink for EventPrinter {
    fn handle(&self, event: &Event) {
        // The text may contain names from the repository, which must not be able to add lines or control the terminal.
        let text = printable(&event.to_string());
        match event {
            Event::AlreadyThere { .. } => {}
            Event::Waiting { .. } => self.0.note(&format!("note: {text}")),
            _ => self.0.warning(&text),
        }
    }
}

/// Shows a progress bar for each running download.
pub(super) struct Bars {
    output: Output,
    each: Mutex<BTreeMap<TargetPath, ProgressBar>>,
}

impl Bars {
    pub(super) fn new(output: &Output) -> Bars {
        Bars { output: output.clone(), each: Mutex::default() }
    }
}

impl Progress for Bars {
    fn report(&self, target: &TargetFile, event: Transfer) {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Transfer::Started => {
                let bar = self.output.download_bar(target.path.to_string(), target.length);
                each.insert(target.path.clone(), bar);
            }
            Transfer::Advanced(bytes) => {
                if let Some(bar) = each.get(&target.path) {
                    bar.set_position(bytes);
                }
            }
            Transfer::Finished | Transfer::Failed => {
                if let Some(bar) = each.remove(&target.path) {
                    bar.finish_and_clear();
                }
            }
        }
    }
}
