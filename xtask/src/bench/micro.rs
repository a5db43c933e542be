//! The inner loops of `tests/perf`, timed.

use super::Place;
use super::report::Report;
use crate::counts;
use crate::steps::run_quietly;
use std::process::Command;

/// Times them and lists the medians.
pub(crate) fn run(place: &Place, report: &mut Report) -> Result<(), String> {
    let program = counts::build(&place.project)?;
    let times = run_quietly(&mut Command::new(program))?.stdout;
    report.part(
        "Inner loops",
        "Medians of 31 samples. Their instructions are counted by `cargo xtask test`, and may not grow unnoticed \
         (`tests/perf/instructions.txt`).",
    );
    report.line("| | median |");
    report.line("|---|---|");
    for line in times.lines() {
        let mut columns = line.split('\t').skip(1);
        let nanoseconds = columns.clone().nth(1).and_then(|column| column.parse().ok()).ok_or("not a line of times")?;
        report.line(&format!("| {} | {} |", columns.next().unwrap_or_default(), time(nanoseconds)));
    }
    Ok(())
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
    use super::time;

    #[test]
    fn a_time_has_the_unit_that_fits() {
        assert_eq!(time(12_345), "12.3 µs");
        assert_eq!(time(999), "999 ns");
        assert_eq!(time(20_988_678), "20.9 ms");
    }
}
