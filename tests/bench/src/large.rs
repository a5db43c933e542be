//! Measures clients with repositories of a million targets, which are listed either in one file or in bins.

use crate::clients::{Clients, PYTHON_TUF, TOUGH, TUF_JS};
use crate::generated::{Generated, names};
use crate::process::{self, TIME_LIMIT};
use crate::report::Report;
use crate::row::{Bar, OURS, Row, Unit, in_turns};
use crate::{Setup, server::Server};
use std::path::Path;

pub(crate) const FIRST_FLAT: Bar = Bar {
    text: "20× python-tuf and tough, under 350 MB",
    ratios: &[(PYTHON_TUF, 20.0), (TOUGH, 20.0)],
    most: None,
    memory: Some(350e6),
};
/// The bar for the second `get`. It does not compare lastmile with tough, because the second `get` of tough is not
/// faster than its first.
const SECOND_FLAT: Bar =
    Bar { text: "50× python-tuf, under 64 MB", ratios: &[(PYTHON_TUF, 50.0)], most: None, memory: Some(64e6) };
const FIRST_BINS: Bar =
    Bar { text: "15× python-tuf, under 48 MB", ratios: &[(PYTHON_TUF, 15.0)], most: None, memory: Some(48e6) };
const SECOND_BINS: Bar =
    Bar { text: "15× python-tuf, under 32 MB", ratios: &[(PYTHON_TUF, 15.0)], most: None, memory: Some(32e6) };

/// Measures repositories with all targets in one targets.json, once for each of two key types.
pub(crate) fn flat(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let targets = setup.sizes.targets;
    for (key, rounds) in [("ed25519", 3), ("ecdsa", 1)] {
        let made = Generated::flat(targets, key).folder(setup)?;
        let server = Server::start(&made)?;
        let clients = Clients::new(setup, &made, &server.url, &format!("flat-{key}"));
        let names = names(&made)?.into_iter().take(1).collect::<Vec<_>>();
        let mut first = vec![clients.first(OURS, 5, &names), clients.first(PYTHON_TUF, rounds, &names)];
        if key == "ed25519" {
            // tuf-js is slow: for each target that it reads, it copies all targets that it has read before.
            first.extend([clients.first(TOUGH, 1, &names), clients.tries(TUF_JS, &names)]);
        }
        let bar = if key == "ed25519" { FIRST_FLAT } else { Bar { ratios: &[(PYTHON_TUF, 20.0)], ..FIRST_FLAT } };
        let work = format!("first `get`, {} flat targets ({key})", thousands(targets));
        report.row(&Row::new(&work, &bar, Unit::Seconds, &in_turns(first), None));
        let second = vec![clients.second(OURS, 5, &names), clients.second(PYTHON_TUF, rounds, &names)];
        let work = format!("second `get` of the same target ({key})");
        report.row(&Row::new(&work, &SECOND_FLAT, Unit::Seconds, &in_turns(second), None));
    }
    limits(setup, report)
}

/// Measures repositories with bins that python-tuf generated, once with hash prefixes and once with succinct
/// delegations.
pub(crate) fn bins(setup: &Setup, report: &mut Report) -> Result<(), String> {
    for form in ["prefix", "succinct"] {
        let made = Generated::bins(setup.sizes.targets, setup.sizes.bits, form).folder(setup)?;
        let names = names(&made)?.into_iter().take(1).collect::<Vec<_>>();
        gets_from_bins(setup, report, &made, &format!("{form} bins"), &names)?;
    }
    Ok(())
}

pub(crate) fn gets_from_bins(
    setup: &Setup,
    report: &mut Report,
    repository: &Path,
    what: &str,
    names: &[String],
) -> Result<(), String> {
    let server = Server::start(repository)?;
    let clients = Clients::new(setup, repository, &server.url, &what.replace([' ', ','], "-"));
    let mut first: Vec<_> = [OURS, PYTHON_TUF].map(|program| clients.first(program, 5, names)).into();
    if what.starts_with("prefix") {
        // tuf-js is slow: for each bin that it reads, it copies all bins that it has read before. tough is slow because
        // it loads every bin.
        first.extend([TUF_JS, TOUGH].map(|program| clients.tries(program, names)));
    }
    let targets = thousands(setup.sizes.targets);
    let bins = thousands(1 << setup.sizes.bits);
    let work = format!("first `get`, {targets} targets in {bins} {what}");
    report.row(&Row::new(&work, &FIRST_BINS, Unit::Seconds, &in_turns(first), None));
    let second = [OURS, PYTHON_TUF].map(|program| clients.second(program, 5, names));
    let work = format!("second `get` of the same target ({what})");
    report.row(&Row::new(&work, &SECOND_BINS, Unit::Seconds, &in_turns(second.into()), None));
    Ok(())
}

/// Measures a lower bound for the time of the second `get`. To verify the signature, any client must hash the whole
/// stored file.
fn limits(setup: &Setup, report: &mut Report) -> Result<(), String> {
    report.part(
        "Lower bounds for the second `get`",
        "The client does not trust its disk, so it verifies the signatures of stored files again at each start. To \
         verify a signature, the client hashes the whole file: with SHA-512 for an ed25519 key, and with SHA-256 for \
         an ecdsa-p256 key. Therefore no client that verifies the signature can be faster than the hash function. The \
         table shows the length of the file, and how long openssl took in the same run to hash as many bytes.",
    );
    report.line("| | bytes | hash | openssl | minimum time |");
    report.line("|---|---|---|---|---|");
    for (key, hash) in [("ed25519", "sha512"), ("ecdsa", "sha256")] {
        let file = Generated::flat(setup.sizes.targets, key).folder(setup)?.join("metadata/1.targets.json");
        let bytes = file.metadata().map_err(|error| error.to_string())?.len() as f64;
        let speed = hash_speed(setup, hash)?;
        report.line(&format!(
            "| {key} | {:.0} MB | {hash} | {:.0} MB/s | **{:.3} s** |",
            bytes / 1e6,
            speed / 1e6,
            bytes / speed
        ));
    }
    Ok(())
}

/// Returns the speed of `hash` in openssl, in bytes per second. The last line of `openssl speed` ends with the speed
/// for the largest size, in thousands of bytes per second.
fn hash_speed(setup: &Setup, hash: &str) -> Result<f64, String> {
    let arguments = ["speed", "-seconds", "2", "-bytes", "1048576", "-evp", hash];
    let printed = process::run(Path::new("openssl"), &arguments, &setup.scratch)?;
    let last = printed.lines().last().and_then(|line| line.split_whitespace().last());
    let thousands = last.and_then(|number| number.trim_end_matches('k').parse::<f64>().ok());
    thousands.map(|thousands| thousands * 1e3).ok_or_else(|| "unexpected output of openssl speed".to_owned())
}

/// Measures how many bytes a client downloads when it refreshes after `change`.
pub(crate) fn returning(
    setup: &Setup,
    report: &mut Report,
    repository: &Path,
    what: &str,
    change: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    const BAR: Bar = Bar { text: "at most 1/5 of python-tuf", ratios: &[(PYTHON_TUF, 5.0)], most: None, memory: None };
    let server = Server::compressing(repository)?;
    let clients = Clients::new(setup, repository, &server.url, &format!("returning-{}", what.replace(' ', "-")));
    let programs: &[&'static str] = if setup.peers { &[OURS, PYTHON_TUF] } else { &[OURS] };
    for program in programs {
        clients.forget(program)?;
        clients.measure(&clients.get(program, &[]), TIME_LIMIT)?;
    }
    change()?;
    let bytes = |program: &&'static str| crate::row::Series::once(program, clients.bytes_of_refresh(program, &server));
    let series: Vec<_> = programs.iter().map(bytes).collect();
    let work =
        format!("bytes that a refresh downloads if the snapshot is new, {} {what}", thousands(1 << setup.sizes.bits));
    report.row(&Row::new(&work, &BAR, Unit::Bytes, &series, None));
    Ok(())
}

/// Formats a number with a comma after every three digits, such as `1,000,000`.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn thousands_are_separated_by_commas() {
        assert_eq!([1, 999, 1000, 16_384, 1_000_000].map(thousands), ["1", "999", "1,000", "16,384", "1,000,000"]);
    }
}
