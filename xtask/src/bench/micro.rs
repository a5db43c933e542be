//! The small benches (criterion, in tests/benches), read back from what criterion writes.

use super::Place;
use super::report::Report;
use crate::steps::{Outcome, cargo, status};
use std::fs;
use std::path::Path;

/// Runs them and lists the medians.
pub(crate) fn run(place: &Place, report: &mut Report) -> Result<(), String> {
    let bench = ["bench", "--locked", "-p", "lastmile-tests", "--bench", "micro"];
    if let Outcome::Failed(why) = status(&mut cargo(&place.project, &bench)) {
        return Err(why);
    }
    let mut medians = Vec::new();
    collect(&place.project.join("target/criterion"), "", &mut medians);
    if medians.is_empty() {
        return Err("criterion wrote no results".into());
    }
    medians.sort();
    report.part("Small things", "Medians by criterion.");
    report.line("| | median |");
    report.line("|---|---|");
    for (name, nanoseconds) in medians {
        report.line(&format!("| {name} | {} |", time(nanoseconds)));
    }
    Ok(())
}

/// Every `NAME/new/estimates.json` below `folder`.
fn collect(folder: &Path, name: &str, medians: &mut Vec<(String, u64)>) {
    if let Ok(text) = fs::read_to_string(folder.join("new/estimates.json")) {
        medians.extend(median_of(&text).map(|nanoseconds| (name.replace('_', " "), nanoseconds)));
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let below = entry.file_name().to_string_lossy().into_owned();
        let name = if name.is_empty() { below } else { format!("{name}: {below}") };
        if entry.path().is_dir() {
            collect(&entry.path(), &name, medians);
        }
    }
}

/// `"median":{…,"point_estimate":123.4,…}`, in whole nanoseconds.
fn median_of(text: &str) -> Option<u64> {
    let median = text.split("\"median\":").nth(1)?;
    let estimate = median.split("\"point_estimate\":").nth(1)?;
    let whole: String = estimate.chars().take_while(char::is_ascii_digit).collect();
    whole.parse().ok()
}

fn time(nanoseconds: u64) -> String {
    let scaled = |unit: u64| format!("{}.{}", nanoseconds / unit, nanoseconds % unit * 10 / unit);
    match nanoseconds {
        0..10_000 => format!("{nanoseconds} ns"),
        10_000..1_000_000 => format!("{} µs", scaled(1_000)),
        _ => format!("{} ms", scaled(1_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::{median_of, time};

    #[test]
    fn criterions_file_is_read() {
        let text = r#"{"mean":{"point_estimate":9.0},"median":{"confidence_interval":{"lower_bound":1.5},"point_estimate":12345.6,"standard_error":2.0}}"#;
        assert_eq!(median_of(text), Some(12345));
        assert_eq!(time(12_345), "12.3 µs");
        assert_eq!(time(999), "999 ns");
    }
}
