//! Rollback attacks (TUF specification 1.5.2).

use lastmile_testkit::{METADATA, TestKey, file_name, sign};

use crate::forgery::newer;
use crate::{Case, Scenario, release, stranger};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "3.2-R3",
        &["3.2-R3"],
        "the server sends the previous timestamp again",
        "specification 5.4.3.1, rollback",
        last_timestamp,
    ),
    Scenario::new(
        "3.2-R8",
        &["3.2-R8"],
        "the server sends an older timestamp with newer files, with a root that lists new targets keys, or after the client has failed to update",
        "specification 5.3.11, rollback",
        floors_survive,
    ),
    Scenario::new(
        "3.2-R9",
        &["3.2-R9", "3.2-R10"],
        "the server sends an older release after some of the client's stored files were damaged or deleted",
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
    // The timestamp is from the release `honest`. All other files are from the release `next`, which the client already
    // has.
    let next = newer(&honest);
    let failed = next.network().fork();
    failed.put(&format!("{METADATA}timestamp.json"), honest.written("timestamp"));
    let mut cases = vec![
        Case::against(&honest)
            .attacker(&network)
            .honest(after.network())
            .sample("with new targets keys")
            .refused("timestamp", "Rollback")
            .advances(&["root"]),
        Case::against(&next).attacker(&failed).sample("with the newest files").refused("timestamp", "Rollback"),
    ];
    // The client has the release `honest`. It accepts the timestamp of `newest`, but not the snapshot that this
    // timestamp lists. After that, the client must refuse the timestamps of `honest` and of `next`, the release between
    // the two.
    let newest = newer(&next);
    let snapshot = format!("{METADATA}{}", file_name("snapshot", Some(newest.version("snapshot"))));
    let missing = newest.network().fork();
    missing.remove(&snapshot);
    let forged = newest.network().fork();
    forged.put(&snapshot, sign(newest.fork().signed("snapshot"), &[stranger()]));
    for (broken, how) in [(&missing, "missing"), (&forged, "forged")] {
        for (older, which) in [(&next, "the release between the two"), (&honest, "the release that the client has")] {
            let case = Case::against(&honest).failed_update(broken).attacker(older.network());
            let case = case.may_trust(next.network()).honest(newer(&newest).network());
            let sample = format!("{which}, after an update with a {how} snapshot");
            cases.push(case.sample(sample).refused("timestamp", "Rollback"));
        }
    }
    cases
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
        [("missing", None), ("empty", Some("")), ("cut off", Some("{\"signed\":{")), ("garbage", Some("\0\0"))]
    {
        let change = move |folder: &std::path::Path| {
            let file = folder.join("timestamp.json");
            match damage {
                None => std::fs::remove_file(file).unwrap(),
                Some(text) => std::fs::write(file, text).unwrap(),
            }
        };
        // lastmile also stores the trusted versions in a separate file, so it notices the rollback. Other clients
        // cannot notice it, so the case runs in process only.
        let case = Case::against(&honest).tamper(change).attacker(old.network()).sample(format!("timestamp {sample}"));
        cases.push(case.in_process_only().refused("timestamp", "Rollback"));
    }
    let gone = |folder: &std::path::Path| std::fs::remove_file(folder.join("snapshot.json")).unwrap();
    let case =
        Case::against(&honest).tamper(gone).attacker(lower.network()).sample("snapshot missing").in_process_only();
    cases.push(case.refused("snapshot", "ListedRollback").advances(&["timestamp"]));
    // The new timestamp lists a different hash for the snapshot. The client must still compare the new snapshot with
    // the versions in the stored snapshot.
    let case = Case::against(&honest).attacker(lower.network()).sample("another hash");
    cases.push(case.refused("snapshot", "ListedRollback").advances(&["timestamp"]));
    cases
}
