//! `attack-lab`: runs any TUF client against the attack suite and reports which attacks it withstands.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use lastmile_attacks::external::{self, Program, Verdict};
use lastmile_attacks::{Case, Scenario};
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_client::text::printable;
use serde_json::json;

use super::context::Context;
use crate::Error;

/// An attack has one or more samples, which are variants of the attack. For each sample, starts a server on 127.0.0.1
/// and a new installation of the client. The client first updates from an honest repository. It must then refuse the
/// sample twice, each time with exit code 1, and leave its trusted and downloaded files unchanged. If the sample is
/// unusual but valid input, the client must accept it instead. Finally, the client must update to the newest release of
/// an honest repository.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lastmile-repo attack-lab -- lastmile-conformance
  lastmile-repo attack-lab --only CVE-2020-6174 -- python3 client.py
  lastmile-repo attack-lab --json -- ./client > report.json

The client is called as the TUF conformance suite calls it:
  CLIENT --metadata-dir M init ROOT
  CLIENT --metadata-dir M --metadata-url U refresh
  CLIENT --metadata-dir M --metadata-url U --target-name N --target-dir T \\
      --target-base-url B download
The client must exit with code 0 if it succeeds and with code 1 if it refuses the files, and must
store each role that it trusts as M/ROLE.json.

The client gets only these environment variables, so that it does not see pass-phrases and tokens:
  PATH HOME USER LOGNAME LANG LC_ALL LC_CTYPE TZ TMPDIR
Set other variables in the command: lastmile-repo attack-lab -- env NAME=VALUE ./client

Security: the client withstood an attack unless it gets one of these verdicts:
  accepted       installed wrong bytes, an older or incomplete state, or files outside its folders
  crashed        ended by a signal, or with an exit code other than 0 and 1
  hung           did not end in time, read too many bytes, or used too much memory
  not recovered  did not update from an honest repository, before or after the attack
Strictness: the client was less or more strict than expected, without harm:
  harmless       accepted a file that it should refuse, but has the right packages and versions
  too strict     refused a valid file, or a feature that not every client supports

Exit codes (strictness does not matter):
  0  the client withstood all attacks
  1  the client could not be started
  2  wrong usage
  3  no such attack
  7  an attack succeeded, or the client crashed, hung or did not recover")]
pub(crate) struct AttackLab {
    /// Run only the attack with this ID; can be repeated
    #[arg(long, value_name = "ID")]
    pub(crate) only: Vec<String>,
    /// Run this many attacks in parallel; 0 means two for each processor
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) jobs: usize,
    /// Count a run of the client as hung after this many seconds
    #[arg(long, value_name = "N", default_value_t = external::TIME_LIMIT.as_secs())]
    pub(crate) seconds: u64,
    /// Command that runs the client
    #[arg(last = true, required = true, value_name = "CLIENT")]
    pub(crate) client: Vec<OsString>,
}

/// The results of one attack, with one entry for each sample. A sample is a variant of the attack.
struct AttackResult {
    scenario: Scenario,
    samples: Vec<(String, Verdict, String)>,
}

impl AttackResult {
    /// Returns the worst verdict, or `None` if the client withstood the attack in every sample.
    fn failure(&self) -> Option<Verdict> {
        self.samples.iter().map(|(_, verdict, _)| *verdict).filter(|verdict| !verdict.is_safe()).max()
    }

    fn has(&self, wanted: Verdict) -> bool {
        self.samples.iter().any(|(_, verdict, _)| *verdict == wanted)
    }

    fn samples_with(&self, is_wanted: impl Fn(Verdict) -> bool) -> Vec<&(String, Verdict, String)> {
        self.samples.iter().filter(|(_, verdict, _)| is_wanted(*verdict)).collect()
    }
}

const WITHSTOOD: &str = "withstood";

pub(super) fn attack(context: &Context<'_>, args: &AttackLab, output: &Output) -> Result<ExitStatus, Error> {
    let chosen = chosen(&args.only)?;
    let program = Program::new(&args.client, &context.env).time_limit(Duration::from_secs(args.seconds));
    let file = args.client.first().map_or(Path::new(""), Path::new);
    let bar = output.bar("attacks", chosen.len());
    let work = |scenario: &Scenario, case: &Case| {
        let number = chosen.iter().position(|one| one.id == scenario.id).unwrap_or_default();
        bar.set_position(number as u64);
        case.runs_externally().then(|| external::run(case, &program))
    };
    let mut results: Vec<AttackResult> = Vec::new();
    for (scenario, case, result) in lastmile_attacks::run_cases(args.jobs, &chosen, work) {
        let Some(result) = result else { continue };
        let (verdict, seen) = result.map_err(|error| Error::file("start", file, error))?;
        match results.last_mut().filter(|line| line.scenario.id == scenario.id) {
            Some(line) => line.samples.push((case.sample, verdict, seen)),
            None => results.push(AttackResult { scenario, samples: vec![(case.sample, verdict, seen)] }),
        }
    }
    bar.finish_and_clear();
    if results.is_empty() {
        return Err(Error::Absent("none of the chosen attacks can be run against an external program".to_owned()));
    }
    output.data_text(&document(&results), &table(&results))?;
    Ok(if results.iter().all(|line| line.failure().is_none()) { ExitStatus::Done } else { ExitStatus::Findings })
}

fn chosen(only: &[String]) -> Result<Vec<Scenario>, Error> {
    let all = lastmile_attacks::all();
    if let Some(unknown) = only.iter().find(|id| all.iter().all(|scenario| scenario.id != id.as_str())) {
        return Err(Error::Absent(format!(
            "there is no attack `{unknown}`; omit `--only` to run and list all attacks"
        )));
    }
    Ok(all.into_iter().filter(|scenario| only.is_empty() || only.iter().any(|id| id == scenario.id)).collect())
}

/// Counts the attacks by security result, in the order of the report.
fn security(results: &[AttackResult]) -> Vec<(String, usize)> {
    let count = |wanted| results.iter().filter(|line| line.failure() == wanted).count();
    let failures = Verdict::UNSAFE.map(|verdict| (verdict.to_string(), count(Some(verdict))));
    [(WITHSTOOD.to_owned(), count(None))].into_iter().chain(failures).collect()
}

/// An attack whose samples have different verdicts is counted once for each verdict.
fn strictness(results: &[AttackResult]) -> Vec<(String, usize)> {
    let count = |verdict| results.iter().filter(|line| line.has(verdict)).count();
    Verdict::STRICTNESS.map(|verdict| (verdict.to_string(), count(verdict))).into()
}

fn document(results: &[AttackResult]) -> serde_json::Value {
    let attacks = results.iter().map(|line| {
        let samples = line
            .samples
            .iter()
            .map(|(sample, verdict, seen)| json!({ "sample": sample, "verdict": verdict.to_string(), "seen": seen }));
        let strictness = Verdict::STRICTNESS.into_iter().filter(|verdict| line.has(*verdict));
        json!({
            "id": line.scenario.id, "rows": line.scenario.rows, "attack": line.scenario.attack,
            "source": line.scenario.source,
            "security": line.failure().map_or_else(|| WITHSTOOD.to_owned(), |verdict| verdict.to_string()),
            "strictness": strictness.map(|verdict| verdict.to_string()).collect::<Vec<_>>(),
            "samples": samples.collect::<Vec<_>>(),
        })
    });
    let totals = |counted: Vec<(String, usize)>| counted.into_iter().collect::<BTreeMap<_, _>>();
    let is_secure = results.iter().all(|line| line.failure().is_none());
    json!({
        "attacks": attacks.collect::<Vec<_>>(),
        "security": { "passed": is_secure, "totals": totals(security(results)) },
        "strictness": { "totals": totals(strictness(results)) },
    })
}

fn table(results: &[AttackResult]) -> String {
    let width = results.iter().map(|line| line.scenario.id.len()).max().unwrap_or(0);
    let row = |label: &str, line: &AttackResult, samples: Vec<&(String, Verdict, String)>| {
        let mut text = format!("{label:13}  {:width$}  {}\n", line.scenario.id, line.scenario.attack);
        for (sample, verdict, seen) in samples {
            let sample = printable(sample);
            let seen = printable(seen);
            text.push_str(&format!("{:13}  {:width$}  {verdict}: [{sample}] {seen}\n", "", ""));
        }
        text
    };
    let mut text = "Security: did an attack succeed?\n\n".to_owned();
    for line in results {
        let label = line.failure().map_or_else(|| WITHSTOOD.to_owned(), |verdict| verdict.to_string());
        text.push_str(&row(&label, line, line.samples_with(|verdict| !verdict.is_safe())));
    }
    let differing: Vec<&AttackResult> =
        results.iter().filter(|line| Verdict::STRICTNESS.iter().any(|verdict| line.has(*verdict))).collect();
    if !differing.is_empty() {
        text.push_str("\nStrictness: was the client more or less strict than expected, without harm?\n\n");
    }
    for line in differing {
        for verdict in Verdict::STRICTNESS.into_iter().filter(|verdict| line.has(*verdict)) {
            text.push_str(&row(&verdict.to_string(), line, line.samples_with(|found| found == verdict)));
        }
    }
    let counted = |totals: Vec<(String, usize)>| {
        totals.into_iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
    };
    format!("{text}\nsecurity: {}\nstrictness: {}\n", counted(security(results)), counted(strictness(results)))
}
