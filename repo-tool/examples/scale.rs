//! Measures how many bytes clients fetch, for the tables in docs/scale.md: `cargo run --release -p lastmile-repo-tool
//! --example scale`.
//!
//! The example makes signed metadata for 10⁴, 10⁵, 10⁶ and 10⁷ targets. The arguments, if any, replace these numbers.
//! The targets are listed in a single file, and then in 2⁸, 2¹⁰, 2¹², 2¹⁴ and 2¹⁶ bins. For each case, the example adds
//! up the sizes of the files that a client fetches, before and after compression with `gzip -9` and with `zstd -19`. If
//! one of these programs is not installed, the compressed size is 0. `lastmile-repo` recommends a number of bins with a
//! formula that estimates these sizes. The last column is the error of this formula in percent. For more than 10⁶
//! targets in a single file, only the formula is evaluated. The bins of 10⁷ targets take 1.75 GB of memory.

#![expect(clippy::disallowed_methods, reason = "examples are not part of the library")]

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use chrono::Utc;
use lastmile_metadata::{Algorithm, Hashes, MetaFile, Role as _, RoleName, Snapshot, Version, assemble};
use lastmile_repo_tool::internal::bin_advice::Workload;
use lastmile_repo_tool::internal::list::List;
use lastmile_repo_tool::{
    Draft, Invocation, NewBins, NewRepository, Plan, Protection, Repository, Signing, Trust, Unobserved, UserConfig,
};
use sha2::{Digest as _, Sha256};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The number of targets for which a new client searches.
const LOOKED_FOR: usize = 10;
/// With more targets than this, the single file with all targets is not made. Only the formula is evaluated.
const LARGEST_FILE: usize = 1_000_000;
const SHAPES: [Option<u8>; 6] = [None, Some(8), Some(10), Some(12), Some(14), Some(16)];

fn main() -> Result<()> {
    let sizes: Vec<usize> = std::env::args().skip(1).map(|size| size.parse()).collect::<std::result::Result<_, _>>()?;
    let sizes = if sizes.is_empty() { vec![10_000, 100_000, 1_000_000, 10_000_000] } else { sizes };
    let mut out = io::stdout().lock();
    writeln!(out, "| targets | bins | listed with | first | gzip | zstd | returning | gzip | zstd | formula error |")?;
    writeln!(out, "|---:|---:|---|---:|---:|---:|---:|---:|---:|---|")?;
    for (targets, shape) in sizes.into_iter().flat_map(|targets| SHAPES.map(|shape| (targets, shape))) {
        let bins = shape.map_or("–".to_string(), |bits| format!("2^{bits}"));
        if shape.is_none() && targets > LARGEST_FILE {
            let computed = load(targets as u64, false).cost(shape);
            let [first, returning] = [computed.first, computed.returning].map(|size| shown(size as usize));
            writeln!(out, "| {targets} | {bins} | hash | {first} | | | {returning} | | | not measured |")?;
            continue;
        }
        let plan = make(targets, shape)?;
        let entries: &[bool] = if shape.is_some() { &[false, true] } else { &[false] };
        for by_version in entries {
            let computed = load(targets as u64, *by_version).cost(shape);
            let sizes = measure(&plan, *by_version)?;
            let [first, returning] = [sizes.first, sizes.returning].map(|sizes| sizes.map(shown).join(" | "));
            let off = |found: usize, computed: u64| (computed as f64 / found as f64 - 1.0) * 100.0;
            let off_first = off(sizes.first[0], computed.first);
            let off_returning = off(sizes.returning[0], computed.returning);
            let note = format!("{off_first:+.0} %, {off_returning:+.0} %");
            let listed = if *by_version { "version" } else { "hash" };
            writeln!(out, "| {targets} | {bins} | {listed} | {first} | {returning} | {note} |")?;
        }
    }
    Ok(())
}

fn load(targets: u64, by_version: bool) -> Workload {
    Workload { targets, bytes_per_target: 175, succinct: true, by_version }
}

/// The number of bytes that a client fetches: uncompressed, with gzip, and with zstd.
struct Sizes {
    first: [usize; 3],
    returning: [usize; 3],
}

/// Makes signed metadata for this number of targets, without publishing the metadata.
fn make(targets: usize, shape: Option<u8>) -> Result<Plan> {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("repository");
    let invocation = Invocation::new(Utc::now(), UserConfig::at(&folder.path().join("config.toml")));
    NewRepository::new(Protection::None).create(&dir, &invocation, &mut Unobserved)?;
    let mut repository = Repository::open_for_change(&dir, &invocation)?;
    let mut edit = repository.edit(Draft::default());
    if let Some(bit_length) = shape {
        let (keys, threshold) = edit.trust(&RoleName::TARGETS)?;
        let trust = Trust { keys, threshold };
        let new = NewBins { bit_length, name_prefix: "bin".into(), trust, succinct: true };
        edit.make_bins(&RoleName::TARGETS, &new, &|_| {})?;
    }
    let list = List::read_from(list(targets).as_bytes(), Path::new("list"), &dir, &|_| {})?;
    edit.fill(&RoleName::TARGETS, &list, &|_| {})?;
    let draft = edit.finish()?;
    Ok(repository.plan(draft, Signing::Now)?)
}

fn measure(plan: &Plan, by_version: bool) -> Result<Sizes> {
    let timestamp = file(plan, "timestamp")?;
    let snapshot = lived_in(plan, by_version)?;
    let top = file(plan, "targets")?;
    let bins: Vec<Vec<u8>> = plan
        .completed
        .documents
        .iter()
        .filter(|document| !document.role.is_top_level())
        .map(|document| Ok(document.file()?.to_vec()))
        .collect::<Result<_>>()?;
    let looked_for = bins.iter().take(LOOKED_FOR);
    let first = sum([&timestamp, &snapshot, &top].into_iter().chain(looked_for))?;
    // If there are no bins, the new target is in the top-level role.
    let changed = bins.first().unwrap_or(&top);
    Ok(Sizes { first, returning: sum([&timestamp, &snapshot, changed].into_iter())? })
}

fn sum<'a>(files: impl Iterator<Item = &'a Vec<u8>>) -> Result<[usize; 3]> {
    let mut all = [0; 3];
    for file in files {
        let sizes = [file.len(), compressed("gzip", "-9", file)?, compressed("zstd", "-19", file)?];
        all.iter_mut().zip(sizes).for_each(|(all, size)| *all += size);
    }
    Ok(all)
}

fn compressed(program: &str, level: &str, bytes: &[u8]) -> Result<usize> {
    let started = Command::new(program)
        .args([level, "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut started) = started else { return Ok(0) };
    let mut input = started.stdin.take().ok_or("no standard input")?;
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = started.wait_with_output()?;
    writer.join().map_err(|_| "the writer failed")??;
    Ok(output.stdout.len())
}

fn file(plan: &Plan, role: &str) -> Result<Vec<u8>> {
    let document = plan.completed.documents.iter().find(|document| document.role.as_str() == role);
    Ok(document.ok_or("a role is missing")?.file()?.to_vec())
}

/// Makes the snapshot of a repository that has been in use for a long time. Its bins have many different versions, so
/// it compresses less well than a new snapshot. It lists the bins either by version only or with length and hash.
fn lived_in(plan: &Plan, by_version: bool) -> Result<Vec<u8>> {
    let document = plan.completed.documents.iter().find(|document| document.role == RoleName::SNAPSHOT);
    let document = document.ok_or("the snapshot is missing")?;
    let mut snapshot = Snapshot::new(Version::ONE, document.expires);
    for document in
        plan.completed.documents.iter().filter(|document| !matches!(document.role.as_str(), "snapshot" | "timestamp"))
    {
        let [digit, other, ..]: [u8; 32] = Sha256::digest(document.role.as_str()).into();
        let version = Version::new(1 + u64::from(digit) * 3 + u64::from(other) % 3).ok_or("no version")?;
        let mut entry = MetaFile::new(version);
        if !by_version || document.role.is_top_level() {
            let bytes = document.file()?;
            entry.length = Some(bytes.len() as u64);
            entry.hashes = Hashes::of(&bytes, &[Algorithm::Sha256]);
        }
        snapshot.insert(&document.role, entry);
    }
    Ok(assemble(&snapshot.write(), document.signatures()))
}

/// Makes a list of targets with names like those in package registries.
fn list(targets: usize) -> String {
    let line = |number: usize| {
        let name = format!("packages/{:03}/some-package-{number}-1.{}.0-py3-none-any.whl", number % 1000, number % 10);
        format!("{}  {}  {name}\n", hex::encode(Sha256::digest(&name)), 1000 + number)
    };
    (0..targets).map(line).collect()
}

fn shown(bytes: usize) -> String {
    match bytes {
        0 => "–".into(),
        1..10_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        10_000..1_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
