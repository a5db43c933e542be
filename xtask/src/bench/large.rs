//! A million targets: in one file, and in bins.

use super::clients::{PYTHON_TUF, TOUGH, TUF_JS, Visit};
use super::data::{Made, names};
use super::process::{self, PATIENCE};
use super::report::Report;
use super::row::{Bar, OURS, Row, Unit, in_turns};
use super::{Place, server::Server};
use std::path::Path;

pub(crate) const FIRST_FLAT: Bar = Bar {
    text: "20× python-tuf and tough, under 350 MB",
    ratios: &[(PYTHON_TUF, 20.0), (TOUGH, 20.0)],
    most: None,
    memory: Some(350e6),
};
/// tough starts no quicker the second time.
const SECOND_FLAT: Bar =
    Bar { text: "50× python-tuf, under 64 MB", ratios: &[(PYTHON_TUF, 50.0)], most: None, memory: Some(64e6) };
const FIRST_BINS: Bar =
    Bar { text: "15× python-tuf, under 48 MB", ratios: &[(PYTHON_TUF, 15.0)], most: None, memory: Some(48e6) };
const SECOND_BINS: Bar =
    Bar { text: "15× python-tuf, under 32 MB", ratios: &[(PYTHON_TUF, 15.0)], most: None, memory: Some(32e6) };

/// One targets.json, signed in two ways.
pub(crate) fn flat(place: &Place, report: &mut Report) -> Result<(), String> {
    let targets = place.sizes.targets;
    for (key, rounds) in [("ed25519", 3), ("ecdsa", 1)] {
        let made = Made::flat(targets, key).folder(place)?;
        let server = Server::start(&made)?;
        let visit = Visit::new(place, &made, &server.url, &format!("flat-{key}"));
        let names = names(&made)?.into_iter().take(1).collect::<Vec<_>>();
        let mut first = vec![visit.first(OURS, 5, &names), visit.first(PYTHON_TUF, rounds, &names)];
        if key == "ed25519" {
            // tuf-js copies all that it has read for each target that it reads.
            first.extend([visit.first(TOUGH, 1, &names), visit.tries(TUF_JS, &names)]);
        }
        let bar = if key == "ed25519" { FIRST_FLAT } else { Bar { ratios: &[(PYTHON_TUF, 20.0)], ..FIRST_FLAT } };
        let work = format!("first `get`, {} flat targets ({key})", thousands(targets));
        report.row(&Row::new(&work, &bar, Unit::Seconds, &in_turns(first), None));
        let second = vec![visit.second(OURS, 5, &names), visit.second(PYTHON_TUF, rounds, &names)];
        let work = format!("second `get`, the same ({key})");
        report.row(&Row::new(&work, &SECOND_FLAT, Unit::Seconds, &in_turns(second), None));
    }
    limits(place, report)
}

/// Bins that python-tuf made, of both forms.
pub(crate) fn bins(place: &Place, report: &mut Report) -> Result<(), String> {
    for form in ["prefix", "succinct"] {
        let made = Made::bins(place.sizes.targets, place.sizes.bits, form).folder(place)?;
        let names = names(&made)?.into_iter().take(1).collect::<Vec<_>>();
        gets_from_bins(place, report, &made, &format!("{form} bins"), &names)?;
    }
    Ok(())
}

/// First and second `get` from the bins in `repository`.
pub(crate) fn gets_from_bins(
    place: &Place,
    report: &mut Report,
    repository: &Path,
    what: &str,
    names: &[String],
) -> Result<(), String> {
    let server = Server::start(repository)?;
    let visit = Visit::new(place, repository, &server.url, &what.replace([' ', ','], "-"));
    let mut first: Vec<_> = [OURS, PYTHON_TUF].map(|program| visit.first(program, 5, names)).into();
    if what.starts_with("prefix") {
        // tuf-js copies all that it has read for each bin of the snapshot; tough loads every bin.
        first.extend([TUF_JS, TOUGH].map(|program| visit.tries(program, names)));
    }
    let (targets, bins) = (thousands(place.sizes.targets), thousands(1 << place.sizes.bits));
    let work = format!("first `get`, {targets} targets in {bins} {what}");
    report.row(&Row::new(&work, &FIRST_BINS, Unit::Seconds, &in_turns(first), None));
    let second = [OURS, PYTHON_TUF].map(|program| visit.second(program, 5, names));
    let work = format!("second `get`, the same ({what})");
    report.row(&Row::new(&work, &SECOND_BINS, Unit::Seconds, &in_turns(second.into()), None));
    Ok(())
}

/// What no client can undercut: the stored file has to be hashed for its signature to be checked.
fn limits(place: &Place, report: &mut Report) -> Result<(), String> {
    report.part(
        "Limits of the second `get`",
        "Nothing on the disk is trusted, so signatures are verified again from the stored bytes at each start. For that the \
         whole file is hashed: with SHA-512 where the key is ed25519, with SHA-256 where it is ecdsa-p256. This is how long \
         openssl hashes as many bytes, in this very run.",
    );
    report.line("| | bytes | hash | openssl | least time |");
    report.line("|---|---|---|---|---|");
    for (key, hash) in [("ed25519", "sha512"), ("ecdsa", "sha256")] {
        let file = Made::flat(place.sizes.targets, key).folder(place)?.join("metadata/1.targets.json");
        let bytes = file.metadata().map_err(|error| error.to_string())?.len() as f64;
        let speed = hash_speed(place, hash)?;
        report.line(&format!(
            "| {key} | {:.0} MB | {hash} | {:.0} MB/s | **{:.3} s** |",
            bytes / 1e6,
            speed / 1e6,
            bytes / speed
        ));
    }
    Ok(())
}

/// Bytes a second: the last line of `openssl speed` ends in the last size's thousands of bytes a second.
fn hash_speed(place: &Place, hash: &str) -> Result<f64, String> {
    let arguments = ["speed", "-seconds", "2", "-bytes", "1048576", "-evp", hash];
    let said = process::run(Path::new("openssl"), &arguments, &place.scratch)?;
    let last = said.lines().last().and_then(|line| line.split_whitespace().last());
    let thousands = last.and_then(|number| number.trim_end_matches('k').parse::<f64>().ok());
    thousands.map(|thousands| thousands * 1e3).ok_or_else(|| "openssl speed said something else".to_owned())
}

/// How many bytes a client is sent that was here before the last change.
pub(crate) fn returning(
    place: &Place,
    report: &mut Report,
    repository: &Path,
    what: &str,
    change: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    const BAR: Bar = Bar { text: "1/5 of python-tuf's", ratios: &[(PYTHON_TUF, 5.0)], most: None, memory: None };
    let server = Server::compressing(repository)?;
    let visit = Visit::new(place, repository, &server.url, &format!("returning-{}", what.replace(' ', "-")));
    let programs: &[&'static str] = if place.peers { &[OURS, PYTHON_TUF] } else { &[OURS] };
    for program in programs {
        visit.forget(program)?;
        visit.measure(&visit.get(program, &[]), PATIENCE)?;
    }
    change()?;
    let bytes = |program: &&'static str| super::row::Series::once(program, visit.bytes_of_refresh(program, &server));
    let series: Vec<_> = programs.iter().map(bytes).collect();
    let work = format!("bytes for a returning client with a new snapshot, {} {what}", thousands(1 << place.sizes.bits));
    report.row(&Row::new(&work, &BAR, Unit::Bytes, &series, None));
    Ok(())
}

/// `1,000,000`
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
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
    fn thousands_are_apart() {
        assert_eq!([1, 999, 1000, 16_384, 1_000_000].map(thousands), ["1", "999", "1,000", "16,384", "1,000,000"]);
    }
}
