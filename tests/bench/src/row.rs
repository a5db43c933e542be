//! A row of the table in docs/performance.md: the measurements of several programs that do the same work, and the bar,
//! which is the performance that lastmile must reach.

use crate::process::Used;

pub(crate) const OURS: &str = "lastmile";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Bytes,
    Publications,
}

/// The measurements of one program.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) program: &'static str,
    values: Vec<f64>,
    /// The largest memory use in any round, in bytes, or zero if memory is not measured.
    memory: f64,
    failed: Option<String>,
}

impl Series {
    pub(crate) fn once(program: &'static str, value: Result<f64, String>) -> Self {
        let (values, failed) = match value {
            Ok(value) => (vec![value], None),
            Err(why) => (Vec::new(), Some(why)),
        };
        Self { program, values, memory: 0.0, failed }
    }

    /// Returns the median of the values, or `None` if the program failed or did not run.
    pub(crate) fn median(&self) -> Option<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().filter(|_| self.failed.is_none())
    }

    /// Returns the text for this program in a row of the table.
    pub(crate) fn text(&self, unit: Unit) -> String {
        match (&self.failed, self.median()) {
            (Some(why), _) => why.clone(),
            (None, None) => "not run".to_owned(),
            (None, Some(value)) => {
                let memory = if self.memory > 0.0 { format!(", {}", megabytes(self.memory)) } else { String::new() };
                let once = if unit == Unit::Seconds && self.values.len() == 1 { " (once)" } else { "" };
                unit.text(value) + &memory + once
            }
        }
    }
}

/// A program that is compared with others in a row of the table, and a function that runs it once.
pub(crate) struct Contestant<'a> {
    pub(crate) program: &'static str,
    /// The number of rounds, or 0 if the program is not run. Slow programs have fewer rounds.
    pub(crate) rounds: usize,
    pub(crate) turn: Box<dyn FnMut() -> Result<Used, String> + 'a>,
}

/// Runs the programs in turn, so other work on the machine slows down all of them alike. After a program has failed, it
/// is not run again.
pub(crate) fn in_turns(mut contestants: Vec<Contestant<'_>>) -> Vec<Series> {
    contestants.retain(|contestant| contestant.rounds > 0);
    let rounds = contestants.iter().map(|contestant| contestant.rounds).max().unwrap_or(0);
    let series = |contestant: &Contestant<'_>| Series {
        program: contestant.program,
        values: Vec::new(),
        memory: 0.0,
        failed: None,
    };
    let mut all: Vec<_> = contestants.into_iter().map(|contestant| (series(&contestant), contestant)).collect();
    for round in 0..rounds {
        for (series, contestant) in &mut all {
            if series.failed.is_some() || round >= contestant.rounds {
                continue;
            }
            match (contestant.turn)() {
                Ok(used) => {
                    series.values.push(used.seconds);
                    series.memory = series.memory.max(used.memory);
                }
                Err(why) => series.failed = Some(why),
            }
        }
    }
    all.into_iter().map(|(series, _)| series).collect()
}

/// The bar for a row: the ratios and limits that lastmile must meet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bar {
    pub(crate) text: &'static str,
    /// The minimum ratio to each of these programs. A ratio is the value of the other program divided by the value of
    /// lastmile.
    pub(crate) ratios: &'static [(&'static str, f64)],
    /// The highest median that lastmile may have, in the unit of the row.
    pub(crate) most: Option<f64>,
    /// The most memory that lastmile may use, in bytes.
    pub(crate) memory: Option<f64>,
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) cells: String,
    /// `Some(true)` if the bar is met, `Some(false)` if the bar is not met, and `None` if the result is unknown.
    pub(crate) kept: Option<bool>,
}

impl Row {
    /// The first element of `series` has the measurements of lastmile. `also` is an additional condition of the bar:
    /// its text, and whether it is met.
    pub(crate) fn new(work: &str, bar: &Bar, unit: Unit, series: &[Series], also: Option<(String, bool)>) -> Self {
        let Some((ours, peers)) = series.split_first() else {
            return Self::not_measured(work, bar, "no program ran");
        };
        let Some(value) = ours.median() else {
            return Self::not_measured(work, bar, &ours.text(unit));
        };
        let ratio = |peer: &Series| peer.median().map(|theirs| theirs / value);
        let ratios: Vec<String> =
            peers.iter().filter_map(|peer| Some(format!("{} {}", number(ratio(peer)?), peer.program))).collect();
        let cleared = |(program, least): &(&str, f64)| {
            let peer = peers.iter().find(|peer| peer.program == *program)?;
            // If another program exceeds the time limit, the required ratio to that program counts as reached. If that
            // program did not run, the result is unknown.
            let is_late = || peer.failed.as_ref().filter(|why| why.contains("timed out")).map(|_| true);
            ratio(peer).map(|ratio| ratio >= *least).or_else(is_late)
        };
        let conditions: Vec<Option<bool>> = (bar.ratios.iter().map(cleared))
            .chain(bar.most.map(|most| Some(value <= most)))
            .chain(bar.memory.map(|memory| Some(ours.memory <= memory)))
            .chain(also.iter().map(|(_, so)| Some(*so)))
            .collect();
        let kept = if conditions.contains(&Some(false)) {
            Some(false)
        } else {
            conditions.into_iter().collect::<Option<Vec<_>>>().map(|_| true)
        };
        let also = also.map_or(String::new(), |(found, _)| format!("; {found}"));
        let peers: Vec<_> = peers.iter().map(|peer| format!("{}: {}", peer.program, peer.text(unit))).collect();
        let word = match kept {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "unknown",
        };
        let cells = [work, bar.text, &(ours.text(unit) + &also), &peers.join("<br>"), &ratios.join("<br>"), word];
        Self { cells: cells.join(" | "), kept }
    }

    pub(crate) fn not_measured(work: &str, bar: &Bar, why: &str) -> Self {
        let why = why.replace(['\n', '|'], " ");
        Self { cells: format!("{work} | {} | not measured: {why} | | | **not measured**", bar.text), kept: None }
    }
}

impl Unit {
    pub(crate) fn text(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 0.01 => format!("{:.2} ms", value * 1e3),
            Self::Seconds if value < 1.0 => format!("{:.3} s", value),
            Self::Seconds => format!("{value:.2} s"),
            Self::Bytes if value < 1e6 => format!("{:.1} kB", value / 1e3),
            Self::Bytes => megabytes(value),
            Self::Publications => format!("{value:.0} publications"),
        }
    }
}

fn megabytes(bytes: f64) -> String {
    match bytes {
        0.0..1e7 => format!("{:.2} MB", bytes / 1e6),
        1e7..1e9 => format!("{:.0} MB", bytes / 1e6),
        _ => format!("{:.2} GB", bytes / 1e9),
    }
}

fn number(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}×") } else { format!("{ratio:.0}×") }
}

#[cfg(test)]
mod tests {
    use super::{Bar, Contestant, OURS, Row, Series, Unit, in_turns};
    use crate::process::Used;

    const BAR: Bar = Bar { text: "10× python-tuf", ratios: &[("python-tuf", 10.0)], most: None, memory: Some(5e6) };

    fn taking(program: &'static str, mut seconds: Vec<f64>) -> Contestant<'static> {
        let turn = move || Ok(Used { seconds: seconds.pop().ok_or("no more")?, memory: 4e6 });
        Contestant { program, rounds: 3, turn: Box::new(turn) }
    }

    #[test]
    fn the_median_is_in_the_middle_of_all_turns() {
        let series = in_turns(vec![taking(OURS, vec![3.0, 1.0, 2.0]), taking("python-tuf", vec![20.0; 3])]);
        assert_eq!(series[0].text(Unit::Seconds), "2.00 s, 4.00 MB");
        let row = Row::new("work", &BAR, Unit::Seconds, &series, None);
        assert_eq!(row.kept, Some(true));
        assert_eq!(
            row.cells,
            "work | 10× python-tuf | 2.00 s, 4.00 MB | python-tuf: 20.00 s, 4.00 MB | 10× python-tuf | met"
        );
    }

    #[test]
    fn the_result_is_unknown_if_a_peer_fails() {
        let series = in_turns(vec![taking(OURS, vec![1.0, 2.0, 1.0]), taking("python-tuf", vec![])]);
        let row = Row::new("work", &BAR, Unit::Seconds, &series, None);
        assert_eq!(row.kept, None);
        assert!(row.cells.contains("python-tuf: no more"));
        let broken = Row::new("work", &BAR, Unit::Seconds, &series, Some(("4 files".into(), false)));
        assert_eq!(broken.kept, Some(false));
    }

    #[test]
    fn a_peer_that_exceeds_its_time_limit_is_slower() {
        let late = Series::once("python-tuf", Err("timed out after 120 s".into()));
        let row = Row::new("work", &BAR, Unit::Bytes, &[Series::once(OURS, Ok(2000.0)), late], None);
        assert_eq!(row.kept, Some(true));
    }

    #[test]
    fn the_row_says_why_nothing_was_measured() {
        let series = [Series::once(OURS, Err("no such command".into()))];
        let row = Row::new("work", &BAR, Unit::Seconds, &series, None);
        assert_eq!(row.cells, "work | 10× python-tuf | not measured: no such command | | | **not measured**");
    }
}
