//! `attack-lab`: puts a client, whoever made it, before the attacks of the project's own tests.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use lastmile_client::text::printable;
use lastmile_tests::scenario::{self, Play, Scenario, outside, outside::Verdict};
use serde_json::json;

use super::Exit;
use super::output::Output;
use crate::Error;

/// Each attack gets a server on loopback, a client in folders of its own, and an honest history that the client follows first.
/// A client has to refuse the attack with exit code 1, keep what it trusted and downloaded as it was, refuse it again, and
/// then follow an honest repository to its newest release.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lastmile-repo attack-lab -- lastmile-conformance
  lastmile-repo attack-lab --only CVE-2020-6174 -- python3 client.py
  lastmile-repo attack-lab --json -- ./client > report.json

The client is called as the community's conformance suite calls it:
  CLIENT --metadata-dir M init ROOT
  CLIENT --metadata-dir M --metadata-url U refresh
  CLIENT --metadata-dir M --metadata-url U --target-name N --target-dir T --target-base-url B download
with exit code 0 for success and 1 for refusal; M/ROLE.json are the roles that it trusts.

Verdicts: refused and served (odd, but legal) are good; accepted, crashed, hung and not recovered are not.
Exit codes: 0 all good, 1 some are not, 2 usage, 3 no such attack.")]
pub(crate) struct AttackLab {
    /// This attack alone; may be repeated.
    #[arg(long, value_name = "ID")]
    pub(crate) only: Vec<String>,
    /// How many at once; 0: two for each processor, for clients wait for disks.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) jobs: usize,
    /// How long one run of the client may take before it counts as hung.
    #[arg(long, value_name = "N", default_value_t = outside::PATIENCE.as_secs())]
    pub(crate) seconds: u64,
    /// The client and its first arguments.
    #[arg(last = true, required = true, value_name = "CLIENT")]
    pub(crate) client: Vec<OsString>,
}

/// What came of one attack: the worst of its samples' verdicts counts.
struct Line {
    scenario: Scenario,
    samples: Vec<(String, Verdict, String)>,
}

impl Line {
    fn verdict(&self) -> Verdict {
        self.samples.iter().map(|(_, verdict, _)| *verdict).max().unwrap_or(Verdict::Refused)
    }
}

pub(super) fn attack(args: &AttackLab, output: &mut Output) -> Result<Exit, Error> {
    let chosen = chosen(&args.only)?;
    let program = args.client.first().map(Path::new).unwrap_or_else(|| Path::new(""));
    let bar = output.bar("attacks", chosen.len());
    let work = |scenario: &Scenario, play: &Play| {
        let number = chosen.iter().position(|one| one.id == scenario.id).unwrap_or_default();
        bar.set_position(number as u64);
        play.is_for_others().then(|| outside::run(play, &args.client, Duration::from_secs(args.seconds)))
    };
    let mut lines: Vec<Line> = Vec::new();
    for (scenario, play, result) in scenario::side_by_side(args.jobs, &chosen, work) {
        let Some(result) = result else { continue };
        let (verdict, seen) = result.map_err(|error| Error::file("start", program, error))?;
        match lines.last_mut().filter(|line| line.scenario.id == scenario.id) {
            Some(line) => line.samples.push((play.sample, verdict, seen)),
            None => lines.push(Line { scenario, samples: vec![(play.sample, verdict, seen)] }),
        }
    }
    bar.finish_and_clear();
    if lines.is_empty() {
        return Err(Error::NotFound("none of these attacks can be told from outside".to_owned()));
    }
    let is_good = lines.iter().all(|line| line.verdict().is_good());
    output.data(&document(&lines), &table(&lines))?;
    Ok(if is_good { Exit::Done } else { Exit::Failed })
}

fn chosen(only: &[String]) -> Result<Vec<Scenario>, Error> {
    let all = scenario::all();
    if let Some(unknown) = only.iter().find(|id| all.iter().all(|scenario| scenario.id != id.as_str())) {
        return Err(Error::NotFound(format!(
            "there is no attack `{unknown}`; without `--only` all are run, and named"
        )));
    }
    Ok(all.into_iter().filter(|scenario| only.is_empty() || only.iter().any(|id| id == scenario.id)).collect())
}

fn totals(lines: &[Line]) -> BTreeMap<String, usize> {
    let count = |verdict| lines.iter().filter(|line| line.verdict() == verdict).count();
    Verdict::ALL.map(|verdict| (verdict.to_string(), count(verdict))).into()
}

fn document(lines: &[Line]) -> serde_json::Value {
    let totals = totals(lines);
    let lines = lines.iter().map(|line| {
        let samples = line
            .samples
            .iter()
            .map(|(sample, verdict, seen)| json!({ "sample": sample, "verdict": verdict.to_string(), "seen": seen }));
        json!({
            "id": line.scenario.id, "rows": line.scenario.rows, "attack": line.scenario.attack,
            "source": line.scenario.source, "verdict": line.verdict().to_string(),
            "samples": samples.collect::<Vec<_>>(),
        })
    });
    let listed: Vec<_> = lines.collect();
    json!({ "attacks": listed, "totals": totals })
}

fn table(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| line.scenario.id.len()).max().unwrap_or(0);
    let mut text = String::new();
    for line in lines {
        let (id, verdict) = (line.scenario.id, line.verdict().to_string());
        text.push_str(&format!("{verdict:13}  {id:width$}  {}\n", line.scenario.attack));
        for (sample, verdict, seen) in line.samples.iter().filter(|(_, verdict, _)| !verdict.is_good()) {
            text.push_str(&format!(
                "{:13}  {:width$}  {verdict}: [{}] {}\n",
                "",
                "",
                printable(sample),
                printable(seen)
            ));
        }
    }
    let totals = totals(lines);
    let counted = Verdict::ALL.map(|verdict| {
        let word = verdict.to_string();
        format!("{} {word}", totals.get(&word).copied().unwrap_or_default())
    });
    format!("{text}\nattacks: {}\n", counted.join(", "))
}
