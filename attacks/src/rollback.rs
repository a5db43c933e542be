//! Rollback attacks (TUF specification 1.5.2).

use lastmile_testkit::{METADATA, TestKey};

use crate::forgery::newer;
use crate::{Case, Scenario, release};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new("3.2-R3", &["3.2-R3"], "the previous timestamp", "specification 5.4.3.1, rollback", last_timestamp),
    Scenario::new(
        "3.2-R8",
        &["3.2-R8"],
        "an older release after a failed update, and after a rotation of the targets keys",
        "specification 5.3.11, rollback",
        floors_survive,
    ),
    Scenario::new(
        "3.2-R9",
        &["3.2-R9", "3.2-R10"],
        "an older release, after stored files were damaged or deleted",
        "specification 5.4.3, 5.5.5, rollback",
        damaged_floors,
    ),
];

fn last_timestamp() -> Vec<Case> {
    let old = release(3);
    let mut honest = old.fork();
    honest.publish(&["timestamp"]);
    vec![Case::against(&honest).attacker(old.network()).refused("timestamp", "Rollback")]
}

fn floors_survive() -> Vec<Case> {
    let old = release(3);
    let mut honest = old.fork();
    honest.publish(&["team", "targets"]);
    let mut rotated = honest.fork();
    rotated.set_keys("targets", &[TestKey::new("fresh targets")], 1);
    rotated.publish(&["root"]);
    let network = rotated.network().fork();
    network.put(&format!("{METADATA}timestamp.json"), old.written("timestamp"));
    let mut after = rotated.fork();
    after.publish(&["team", "targets"]);
    // The timestamp of the next release counts although its snapshot was never received.
    let next = newer(&honest);
    let failed = next.network().fork();
    failed.put(&format!("{METADATA}timestamp.json"), honest.written("timestamp"));
    vec![
        Case::against(&honest)
            .attacker(&network)
            .honest(after.network())
            .sample("new targets keys")
            .refused("timestamp", "Rollback")
            .advances(&["root"]),
        Case::against(&next).attacker(&failed).sample("the newest timestamp").refused("timestamp", "Rollback"),
    ]
}

fn damaged_floors() -> Vec<Case> {
    let old = release(3);
    let mut honest = old.fork();
    honest.publish(&["team", "targets"]);
    let mut lower = honest.fork();
    lower.signed("snapshot")["meta"]["team.json"] = old.fork().signed("snapshot")["meta"]["team.json"].clone();
    lower.publish(&["snapshot"]);
    let mut cases = Vec::new();
    for (sample, damage) in
        [("gone", None), ("empty", Some("")), ("cut off", Some("{\"signed\":{")), ("garbage", Some("\0\0"))]
    {
        let change = move |folder: &std::path::Path| {
            let file = folder.join("timestamp.json");
            match damage {
                None => std::fs::remove_file(file).unwrap(),
                Some(text) => std::fs::write(file, text).unwrap(),
            }
        };
        // Only lastmile records versions separately from the file.
        let case = Case::against(&honest).tamper(change).attacker(old.network()).sample(format!("timestamp {sample}"));
        cases.push(case.in_process_only().refused("timestamp", "Rollback"));
    }
    let gone = |folder: &std::path::Path| std::fs::remove_file(folder.join("snapshot.json")).unwrap();
    let case = Case::against(&honest).tamper(gone).attacker(lower.network()).sample("snapshot gone").in_process_only();
    cases.push(case.refused("snapshot", "ListedRollback").advances(&["timestamp"]));
    // The timestamp no longer matches the stored snapshot, whose versions still count.
    let case = Case::against(&honest).attacker(lower.network()).sample("another hash");
    cases.push(case.refused("snapshot", "ListedRollback").advances(&["timestamp"]));
    cases
}
