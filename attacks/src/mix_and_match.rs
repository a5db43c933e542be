//! Mix-and-match attacks (TUF specification 1.5.2).

use lastmile_testkit::{METADATA, Repository, hash};
use serde_json::json;

use crate::forgery::newer;
use crate::{Case, EVIL, GOOD, Scenario, release};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "3.7-M1",
        &["3.7-M1", "3.7-M2"],
        "the server sends the targets or snapshot file of the previous release under the file name of the new release",
        "specification 1.5.2, mix-and-match",
        mixed_releases,
    ),
    Scenario::new(
        "3.7-M4",
        &["3.7-M4"],
        "a repository without consistent snapshots publishes a new release between two requests of the client",
        "specification 5.5, 5.6, mix-and-match",
        changed_on_the_way,
    ),
    Scenario::new(
        "3.7-M5",
        &["3.7-M5"],
        "the snapshot does not list the targets file",
        "specification 5.6",
        no_targets_listed,
    ),
    Scenario::new(
        "3.7-M7",
        &["3.7-M7", "3.7-M6"],
        "the snapshot lists versions but neither lengths nor hashes, and the server sends an older targets file",
        "specification 5.6.4, mix-and-match",
        versions_alone,
    ),
];

fn mixed_releases() -> Vec<Case> {
    let honest = release(3);
    let mut new = honest.fork();
    // The new file has the same length as the previous file, so only the hash differs.
    new.signed("targets")["targets"]["package"]["hashes"]["sha256"] = json!(hash(EVIL));
    new.publish(&["targets"]);
    let mixed = |role: &str, advances: &[&str]| {
        let network = new.network().fork();
        network.put(&format!("{METADATA}{}.{role}.json", new.version(role)), honest.written(role));
        let case = Case::against(&honest).attacker(&network).honest(newer_release(&honest).network()).sample(role);
        case.refused(role, "HashMismatch").advances(advances)
    };
    vec![mixed("targets", &["snapshot", "timestamp"]), mixed("snapshot", &["timestamp"])]
}

fn newer_release(honest: &Repository) -> Repository {
    let mut newer = honest.fork();
    for _ in 0..3 {
        newer.publish(&["team", "targets"]);
    }
    newer
}

fn changed_on_the_way() -> Vec<Case> {
    let mut honest = Repository::without_consistent_snapshots();
    honest.add_target("targets", "package", GOOD);
    honest.publish(&["targets"]);
    let mut new = honest.fork();
    new.publish(&["targets"]);
    let between = new.network().fork();
    let mut later = new.fork();
    later.publish(&["targets"]);
    between.put(&format!("{METADATA}targets.json"), later.written("targets"));
    let case = Case::against(&honest).packages(&["package"]).attacker(&between).honest(later.network());
    vec![case.refused("targets", "HashMismatch").advances(&["snapshot", "timestamp"])]
}

fn no_targets_listed() -> Vec<Case> {
    let honest = release(3);
    let mut attacker = honest.fork();
    attacker.signed("snapshot")["meta"].as_object_mut().unwrap().remove("targets.json");
    attacker.publish(&["snapshot"]);
    vec![
        Case::against(&honest)
            .attacker(attacker.network())
            .sample("removed")
            .refused("snapshot", "Removed")
            .advances(&["timestamp"]),
        Case::new_client(&honest)
            .attacker(attacker.network())
            .sample("new client")
            .refused("targets", "NotListed")
            .advances(&["root", "snapshot", "timestamp"]),
    ]
}

fn versions_alone() -> Vec<Case> {
    let mut honest = release(1);
    honest.lists_hashes = false;
    honest.publish(&["team", "targets"]);
    let mut new = honest.fork();
    new.publish(&["team", "targets"]);
    let network = new.network().fork();
    network.put(&format!("{METADATA}{}.targets.json", new.version("targets")), honest.written("targets"));
    let case = Case::against(&honest).honest(new.network());
    vec![
        case.clone()
            .attacker(&network)
            .sample("the previous targets file")
            .refused("targets", "WrongVersion")
            .advances(&["snapshot", "timestamp"]),
        case.attacker(new.network()).honest(newer(&new).network()).sample("the new targets file").get("package"),
    ]
}
