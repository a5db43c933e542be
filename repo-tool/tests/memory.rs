//! Tests that `add --from-list` uses little more memory than the list and the new metadata occupy.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a panic fails the test, and the test uses the real disk"
)]

use std::fmt::Write as _;

use chrono::Utc;
use lastmile_metadata::RoleName;
use lastmile_repo_tool::internal::list::List;
use lastmile_repo_tool::{
    Draft, Edit, Error, Invocation, NewBins, NewRepository, Outcome, Protection, Repository, Signing, Trust,
    Unobserved, UserConfig,
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const TARGETS: usize = 100_000;
/// The base-2 logarithm of the number of bins: there are 1024 bins.
const BIT_LENGTH: u8 = 10;
/// The maximum memory that the command may use, in bytes per target. The list occupies 91 bytes per target, and the new
/// metadata occupies 137.
const MAX_PER_TARGET: usize = 250;

fn publish(repository: &mut Repository, change: impl FnOnce(&mut Edit<'_>) -> Result<(), Error>) {
    let mut edit = repository.edit(Draft::default());
    change(&mut edit).unwrap();
    let draft = edit.finish().unwrap();
    let plan = repository.plan(draft, Signing::Now).unwrap();
    assert!(matches!(repository.conclude(&plan, &mut Unobserved).unwrap(), Outcome::Published { .. }));
}

#[test]
fn b14_a_long_list_is_published_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("repository");
    let invocation = Invocation::new(Utc::now(), UserConfig::at(&folder.path().join("config.toml")));
    NewRepository::new(Protection::None).create(&dir, &invocation, &mut Unobserved).unwrap();
    let mut repository = Repository::open_for_change(&dir, &invocation).unwrap();
    publish(&mut repository, |edit| {
        let (keys, threshold) = edit.trust(&RoleName::TARGETS)?;
        let trust = Trust { keys, threshold };
        let bins = NewBins { bit_length: BIT_LENGTH, name_prefix: "bin".into(), trust, succinct: true };
        edit.make_bins(&RoleName::TARGETS, &bins, &|_| {})
    });
    let list = folder.path().join("list");
    let mut text = String::new();
    for number in 0..TARGETS {
        writeln!(text, "{number:064x} {number} packages/{number}").unwrap();
    }
    std::fs::write(&list, text).unwrap();

    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    publish(&mut repository, |edit| {
        let list = List::read(&list, &dir, &|_| {})?;
        assert_eq!(edit.fill(&RoleName::TARGETS, &list, &|_| {})?, TARGETS);
        Ok(())
    });
    let used = ALLOCATOR.peak_usage() - before;
    println!("{} bytes per target", used / TARGETS);
    assert!(used < TARGETS * MAX_PER_TARGET, "{used} bytes for {TARGETS} targets");
}
