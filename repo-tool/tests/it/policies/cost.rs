//! The cost of the check before publication is proportional to the change: the check evaluates the policies only for
//! packages that the change affects, and reads only the evidence for these packages.

use std::fs;

use lastmile_cli_support::ExitStatus;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Maintainer, policy, signature};

const PACKAGES: usize = 24;

/// Creates a repository with a policy, and with packages and their evidence.
fn many_packages() -> Maintainer {
    let maintainer = Maintainer::new();
    maintainer.set("targets", &policy("signed", "app-*", &[1], 1)).text(ExitStatus::Done);
    for number in 0..PACKAGES {
        let content = number.to_string();
        maintainer.add(&format!("app-{number}"), &content, &[&signature(1, &content)]).text(ExitStatus::Done);
    }
    maintainer
}

/// Overwrites all published packages and evidence files, so that the check fails if it reads one of them. Returns the
/// number of files.
fn spoil_targets(maintainer: &Maintainer) -> usize {
    let files = fs::read_dir(maintainer.path("repository/targets")).unwrap().map(|entry| entry.unwrap().path());
    files.map(|file| fs::write(file, "changed").unwrap()).count()
}

/// Overwrites all bins except those of the targets in `paths`. There are 16 bins, so the first hexadecimal digit of the
/// SHA-256 of a path is the number of its bin. Returns how many bins were overwritten.
fn spoil_bins_but(maintainer: &Maintainer, paths: &[&str]) -> usize {
    let digit = |path: &&str| hex::encode(Sha256::digest(path))[..1].to_string();
    let spared: Vec<String> = paths.iter().map(digit).map(|digit| format!(".bin-{digit}.json")).collect();
    let files = fs::read_dir(maintainer.path("repository/metadata")).unwrap().map(|entry| entry.unwrap().path());
    let is_spoiled = |name: &str| name.contains(".bin-") && !spared.iter().any(|spared| name.ends_with(spared));
    let spoiled = files.filter(|file| is_spoiled(file.to_str().unwrap()));
    spoiled.map(|file| fs::write(file, "not metadata").unwrap()).count()
}

/// Checks that packages can be added and changed, although the files of all other packages are damaged.
fn only_the_change_is_judged(maintainer: &Maintainer) {
    maintainer.add("app-new", "new", &[]).text(ExitStatus::Refused);
    maintainer.add("app-new", "new", &[&signature(1, "new")]).text(ExitStatus::Done);
    maintainer.add("app-new", "new", &[&signature(2, "new")]).text(ExitStatus::Done);
    maintainer.add("lib-new", "new", &[]).text(ExitStatus::Done);
}

#[test]
fn a_new_package_is_judged_without_the_others() {
    let maintainer = many_packages();
    assert_eq!(spoil_targets(&maintainer), 2 * PACKAGES);
    only_the_change_is_judged(&maintainer);
    // `policy test` reads the other packages, and refuses them. The check before publication did not read them.
    let tested = maintainer.run(&["policy", "test", "--json"]);
    assert_eq!(tested.status, ExitStatus::Findings);
    assert_eq!(tested.json().pointer("/refused").and_then(Value::as_array).unwrap().len(), PACKAGES);
}

#[test]
fn a_new_package_is_judged_without_reading_other_bins() {
    let maintainer = many_packages();
    maintainer.done(&["bins", "--bit-length", "4"]);
    assert!(spoil_targets(&maintainer) >= 2 * PACKAGES);
    // These are the targets that will be added. `app-new.2.intoto.jsonl` is the second evidence file for `app-new`.
    let added = ["app-new", "app-new.intoto.jsonl", "app-new.2.intoto.jsonl", "lib-new"];
    assert!(spoil_bins_but(&maintainer, &added) >= 12);
    only_the_change_is_judged(&maintainer);
}
