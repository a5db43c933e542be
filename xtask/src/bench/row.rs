//! A row of the table: the same work by several programs, measured in turns, and the bar that ours has to clear.

use super::process::Used;

/// Ours, wherever programs are named.
pub(crate) const OURS: &str = "lastmile";

/// What is counted in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Bytes,
    Publications,
}

/// One program and what it took in each turn.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) program: &'static str,
    values: Vec<f64>,
    /// Largest of all turns, in bytes; zero where it is not measured.
    memory: f64,
    /// Why there is no figure.
    failed: Option<String>,
}

impl Series {
    /// One figure, without turns.
    pub(crate) fn once(program: &'static str, value: Result<f64, String>) -> Self {
        let (values, failed) = match value {
            Ok(value) => (vec![value], None),
            Err(why) => (Vec::new(), Some(why)),
        };
        Self { program, values, memory: 0.0, failed }
    }

    /// The median; none where the program could not do the work.
    pub(crate) fn median(&self) -> Option<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().filter(|_| self.failed.is_none())
    }

    /// What stands in the table.
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

/// One of the programs that do the work of a row.
pub(crate) struct Contestant<'a> {
    pub(crate) program: &'static str,
    /// An odd number. Slow ones get fewer than quick ones.
    pub(crate) rounds: usize,
    pub(crate) turn: Box<dyn FnMut() -> Result<Used, String> + 'a>,
}

/// Lets each do the work in turns: what disturbs the machine for a while disturbs all. Whoever fails does not try again.
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

/// What is asked of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bar {
    /// For people.
    pub(crate) text: &'static str,
    /// At least so many times better than each of these.
    pub(crate) ratios: &'static [(&'static str, f64)],
    /// Most of the row's unit.
    pub(crate) most: Option<f64>,
    /// Most bytes of memory.
    pub(crate) memory: Option<f64>,
}

/// The row as it will stand in the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) cells: String,
    /// None where it could not be judged.
    pub(crate) kept: Option<bool>,
}

impl Row {
    /// `series` begins with ours; `also` is what the bar asks besides, found to be so or not.
    pub(crate) fn new(work: &str, bar: &Bar, unit: Unit, series: &[Series], also: Option<(String, bool)>) -> Self {
        let Some((ours, peers)) = series.split_first() else {
            return Self::not_measured(work, bar, "nothing ran");
        };
        let Some(value) = ours.median() else {
            return Self::not_measured(work, bar, &ours.text(unit));
        };
        let ratio = |peer: &Series| peer.median().map(|theirs| theirs / value);
        let ratios: Vec<String> =
            peers.iter().filter_map(|peer| Some(format!("{} {}", number(ratio(peer)?), peer.program))).collect();
        let cleared = |(program, least): &(&str, f64)| {
            let peer = peers.iter().find(|peer| peer.program == *program)?;
            // A peer that cannot do the work in time has lost by more than can be said; one that was not run has not.
            let is_late = || peer.failed.as_ref().filter(|why| why.contains("not in")).map(|_| true);
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
            Some(true) => "kept",
            Some(false) => "**not kept**",
            None => "not judged",
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

/// Two digits that matter.
fn number(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}×") } else { format!("{ratio:.0}×") }
}

#[cfg(test)]
mod tests {
    use super::{Bar, Contestant, OURS, Row, Series, Unit, in_turns};
    use crate::bench::process::Used;

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
            "work | 10× python-tuf | 2.00 s, 4.00 MB | python-tuf: 20.00 s, 4.00 MB | 10× python-tuf | kept"
        );
    }

    #[test]
    fn one_that_fails_says_so_and_is_not_judged() {
        let series = in_turns(vec![taking(OURS, vec![1.0, 2.0, 1.0]), taking("python-tuf", vec![])]);
        let row = Row::new("work", &BAR, Unit::Seconds, &series, None);
        assert_eq!(row.kept, None);
        assert!(row.cells.contains("python-tuf: no more"));
        let broken = Row::new("work", &BAR, Unit::Seconds, &series, Some(("4 files".into(), false)));
        assert_eq!(broken.kept, Some(false));
    }

    #[test]
    fn one_that_is_late_has_lost() {
        let late = Series::once("python-tuf", Err("not in 120 s".into()));
        let row = Row::new("work", &BAR, Unit::Bytes, &[Series::once(OURS, Ok(2000.0)), late], None);
        assert_eq!(row.kept, Some(true));
    }

    #[test]
    fn what_could_not_be_measured_is_told() {
        let series = [Series::once(OURS, Err("no such command".into()))];
        let row = Row::new("work", &BAR, Unit::Seconds, &series, None);
        assert_eq!(row.cells, "work | 10× python-tuf | not measured: no such command | | | **not measured**");
    }
}
