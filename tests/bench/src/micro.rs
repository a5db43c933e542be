//! Measures the inner loops in `tests/perf`.

use crate::Setup;
use crate::report::Report;
use std::process::Command;
use xtask::command::{Outcome, cargo, run_quietly, status};

pub(crate) fn run(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let build = ["build", "--release", "--locked", "-p", "lastmile-perf", "--bin", "loops"];
    if let Outcome::Failed(why) = status(&mut cargo(&setup.project, &build)) {
        return Err(format!("the loops could not be built: {why}"));
    }
    let program = setup.project.join("target/release/loops");
    let times = run_quietly(&mut Command::new(program))?.stdout;
    report.part(
        "Inner loops",
        "The times are medians of 31 samples. `cargo xtask test` also counts the instructions that each loop executes, \
         and fails if a count has grown by more than 5 % (`tests/perf/instructions.txt`).",
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
    fn a_time_is_shown_in_a_suitable_unit() {
        assert_eq!(time(12_345), "12.3 µs");
        assert_eq!(time(999), "999 ns");
        assert_eq!(time(20_988_678), "20.9 ms");
    }
}
