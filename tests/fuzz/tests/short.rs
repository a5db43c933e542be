//! A short run of every fuzz target with reproducible inputs, and with all inputs that once failed.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use lastmile_fuzz::{Chance, TARGETS, Target, mutated, target};

#[test]
fn a_short_run_of_every_target_finds_nothing() {
    std::thread::scope(|scope| {
        let runs: Vec<_> = TARGETS.iter().map(|target| scope.spawn(|| short_run(target))).collect();
        let found: Vec<String> = runs.into_iter().filter_map(|run| run.join().expect("caught")).collect();
        assert!(found.is_empty(), "add these inputs to tests/fuzz/found:\n{}", found.join("\n"));
    });
}

/// Runs a target with its seeds and with random inputs. Returns the message and the input of the first panic, if any.
fn short_run(target: &Target) -> Option<String> {
    let seeds = (target.seeds)();
    let mut chance = Chance(u64::from_be_bytes(*b"lastmile"));
    let made = (0..target.short).map(|_| mutated(&seeds, &mut chance));
    let inputs = seeds.iter().cloned().chain(made);
    inputs.into_iter().find_map(|input| {
        let panic = catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).err()?;
        let why =
            panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|why| (*why).into()));
        Some(format!("{}: {} {:?}", target.name, why.unwrap_or_default(), input.escape_ascii().to_string()))
    })
}

#[test]
fn inputs_that_once_failed_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("found");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the folder `found` must be readable") {
        let path = entry.expect("an entry").path();
        let file_name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let name = file_name.split_once('-').map_or(file_name, |(name, _)| name);
        // The target `http` exists only if the feature `http` is enabled.
        if file_name == "README.md" || (name == "http" && !cfg!(feature = "http")) {
            continue;
        }
        let target = target(name).unwrap_or_else(|| panic!("{}: there is no target `{name}`", path.display()));
        (target.run)(&fs::read(&path).expect("a find"));
        count += 1;
    }
    assert!(count > 0, "the folder `found` must contain inputs");
}
