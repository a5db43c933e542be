//! The cost of a change is proportional to its size: only the bins that change are read and written.

use std::collections::BTreeMap;
use std::path::Path;

use lastmile_metadata::{RoleName, TargetNames, TargetPath};
use lastmile_repo_tool::{Draft, NewBins, Signing, Trust, Unobserved};

use lastmile_repo_tool::internal::verify;

use crate::world::{World, is_published};

const BITS: u8 = 6;

fn make_bins(world: &World, succinct: bool) {
    let trust = Trust { keys: vec![world.public("targets-1")], threshold: 1 };
    let new = NewBins { bit_length: BITS, name_prefix: "bin".into(), trust, succinct };
    world.change(|edit| edit.make_bins(&RoleName::TARGETS, &new, &|_| {}).unwrap()).unwrap();
}

/// Overwrites all bins except `spared` with invalid metadata, so that a change fails if it reads one of these bins.
/// Returns the number of overwritten bins.
fn spoil_bins_but(world: &World, spared: &[String]) -> usize {
    let bins = world.files("metadata").into_iter().filter(|name| name.contains(".bin-") && !spared.contains(name));
    bins.map(|name| std::fs::write(world.layout().metadata().join(name), "not metadata").unwrap()).count()
}

fn contents(world: &World, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let read = |name: String| {
        let bytes = std::fs::read(world.dir().join(folder).join(&name)).unwrap();
        (name, bytes)
    };
    world.files(folder).into_iter().map(read).collect()
}

/// Returns the names of new and changed files.
fn written(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    after.iter().filter(|(name, bytes)| before.get(*name) != Some(bytes)).map(|(name, _)| name.clone()).collect()
}

fn bin_of(world: &World, name: &str) -> RoleName {
    let mut repository = world.open();
    let found = repository.published.find(&TargetPath::new(name).unwrap()).unwrap().unwrap();
    let names: Vec<RoleName> = found.chain.into_iter().map(|(role, _)| role).collect();
    let [top, bin] = names.try_into().unwrap();
    assert_eq!(top, RoleName::TARGETS);
    bin
}

#[test]
fn a_release_reads_and_writes_only_its_bin() {
    for succinct in [false, true] {
        let world = World::new();
        world.add("old", "1");
        make_bins(&world, succinct);
        let bin = bin_of(&world, "old");
        let spared = format!("1.{bin}.json");
        assert_eq!(spoil_bins_but(&world, std::slice::from_ref(&spared)), (1 << BITS) - 1, "{succinct}");
        let metadata = contents(&world, "metadata");
        let targets = contents(&world, "targets");
        // Replace the target. The path of the target determines its bin, so the bin stays the same.
        assert!(is_published(&world.add("old", "2")), "{succinct}");
        let expected = [format!("2.{bin}.json"), "4.snapshot.json".to_string(), "timestamp.json".to_string()];
        assert_eq!(written(&metadata, &contents(&world, "metadata")), expected, "{succinct}");
        assert_eq!(written(&targets, &contents(&world, "targets")).len(), 1, "{succinct}");
        assert_eq!(world.fetch("old").unwrap().unwrap(), b"2", "{succinct}");
    }
}

#[test]
fn a_renewal_reads_no_bin_and_writes_two_files() {
    for succinct in [false, true] {
        let world = World::new();
        make_bins(&world, succinct);
        assert_eq!(spoil_bins_but(&world, &[]), 1 << BITS, "{succinct}");
        let metadata = contents(&world, "metadata");
        assert!(is_published(&world.renew().unwrap()), "{succinct}");
        let expected = ["3.snapshot.json", "timestamp.json"];
        assert_eq!(written(&metadata, &contents(&world, "metadata")), expected, "{succinct}");
        assert!(Path::new(&world.dir()).join(".publishing").read_dir().unwrap().next().is_none(), "{succinct}");
    }
}

#[test]
fn all_bins_are_signed_again_in_one_publication() {
    for succinct in [false, true] {
        let world = World::new();
        world.add("old", "1");
        make_bins(&world, succinct);
        let mut repository = world.open();
        let bins = repository.published.named("bin-*").unwrap();
        let mut edit = repository.edit(Draft::default());
        bins.iter().for_each(|bin| edit.sign_again(bin).unwrap());
        let draft = edit.finish().unwrap();
        let plan = repository.plan(draft, Signing::Now).unwrap();
        let metadata = contents(&world, "metadata");
        assert!(is_published(&repository.conclude(&plan, &mut Unobserved).unwrap()), "{succinct}");
        drop(repository);
        let mut expected: Vec<String> = bins.iter().map(|bin| format!("2.{bin}.json")).collect();
        expected.extend(["4.snapshot.json".to_string(), "timestamp.json".to_string()]);
        assert_eq!(written(&metadata, &contents(&world, "metadata")), expected, "{succinct}");
        let verified = verify::directory(&world.dir(), world.now, TargetNames::HashPrefixed, &|_, _| {}).unwrap();
        assert!(verified.is_good() && verified.targets == 1, "{succinct}: {verified:?}");
    }
}
